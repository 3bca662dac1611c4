"""NovelSum: how diverse a set of rows is, near neighbours weighing most and dense regions counting for more.

Yang et al. 2025, "Measuring Data Diversity for Instruction Tuning" (arXiv 2502.17184), section 3. The novelty of row i
is a sum over the other rows j of rank(i, j) ** -distance_power * density(j) * distance(i, j): distance is 1 - cos, and
rank counts from the nearest row.

    corrected   the paper's formula: the row itself left out, the density of the neighbour, a plain sum
    published   the authors' code: the row is its own nearest neighbour at distance 0 and takes rank 1, the density is
                the row's own, the sum is divided by the sum of weights, and the rows are averaged
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from rulesel.algorithms.density import Mode, local_density
from rulesel.algorithms.neighbors import Zero, check_rows
from rulesel.algorithms.novelty_terms import nearest_first

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Reduce = Literal["sum", "mean", "average"]

EXACT = 50_000
"""Most rows for which every row's novelty is worked out; above, `SAMPLED` rows are, against all."""

SAMPLED = 2_000
CELLS = 2**22


class NovelSum(NamedTuple):
    """Diversity of a set; unpacks as (value, novelty, standard_error)."""

    value: float
    """Higher is more diverse."""
    novelty: Floats
    """Of every row, or of the rows sampled; shape (n,) or (2000,)."""
    standard_error: float
    """Of the value, from the sampling of rows; 0 when every row was worked out."""


def novelsum(
    X: npt.NDArray[np.floating],
    reference: npt.NDArray[np.floating] | None = None,
    *,
    neighbors: int = 10,
    density_power: float = 0.5,
    distance_power: float = 1.0,
    mode: Mode = "corrected",
    reduce: Reduce | None = None,
    density: Floats | None = None,
    seed: int = 0,
    zero: Zero = "error",
) -> NovelSum:
    """NovelSum of the rows of X; higher is more diverse.

    Args:
        X: rows of the set, shape (n, d), finite.
        reference: rows in which density is measured, shape (m, d); X itself when None, which the authors advise
            against: density_power=0 leaves density out.
        neighbors: of the density; see `local_density`.
        density_power: at least 0; 0 leaves density out.
        distance_power: at least 0; 0 weighs all rows alike.
        mode: see the module.
        reduce: of rows: "sum" (the paper's; grows with n), its "mean" over the rows, or the mean of "average"s, where
            each row's sum is divided by its weights, as the authors' code does. None takes the mode's own.
        density: of each row to the power density_power (n,), where it is known already.
        seed: of the sample of rows that stands for more than `EXACT` rows.
        zero: what to do with a row of zeros; "isolate" puts it at distance 1 from everything.

    Raises:
        ValueError: fewer than two rows, NaN or infinity, a zero row, or arguments out of range.
    """
    check_rows(X)
    if len(X) < 2:
        raise ValueError(f"Diversity needs at least two rows, got {len(X)}.")
    if not 0 <= distance_power < np.inf:
        raise ValueError(f"distance_power must be finite and at least 0, got {distance_power}.")
    if density is None:
        density = local_density(X, reference, neighbors=neighbors, power=density_power, mode=mode, zero=zero)
    rows = np.arange(len(X))
    if len(X) > EXACT:
        rows = np.sort(np.random.default_rng(seed).choice(len(X), SAMPLED, replace=False))
    weight = np.arange(1, len(X) + (mode == "published"), dtype=np.float64) ** -distance_power
    novelty = _novelty(_unit(X, zero), rows, density, weight, mode)
    how = reduce or ("average" if mode == "published" else "sum")
    if how == "average":
        novelty /= weight.sum()
    spread = float(novelty.std(ddof=1)) / len(rows) ** 0.5 if len(rows) < len(X) else 0.0
    count = len(X) if how == "sum" else 1
    return NovelSum(float(novelty.mean()) * count, novelty, spread * count)


def _unit(X: npt.NDArray[np.floating], zero: Zero) -> Floats:
    unit = X.astype(np.float64)
    length = np.sqrt(np.einsum("ij,ij->i", unit, unit))
    if zero == "error" and not length.all():
        raise ValueError(f"Row {int(length.argmin())} is all zeros and has no direction; drop it, or isolate it.")
    unit /= np.where(length == 0, 1, length)[:, None]
    return unit


def _novelty(unit: Floats, rows: Ints, density: Floats, weight: Floats, mode: Mode) -> Floats:
    """Weighted sums of the rows named, against all rows."""
    out = np.empty(len(rows))
    for start in range(0, len(rows), step := 1 + CELLS // len(unit)):
        own = rows[start : start + step]
        distance = np.maximum(1 - unit[own] @ unit.T, 0)
        at = np.arange(len(own))
        if mode == "published":
            distance[at, own] = 0
            distance.sort(axis=1)
            out[start : start + step] = density[own] * (distance @ weight)
        else:
            distance[at, own] = np.inf
            out[start : start + step] = nearest_first(distance, density)[:, :-1] @ weight
    return out
