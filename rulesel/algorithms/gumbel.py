"""Sampling without replacement in proportion to exp(score / tau), by perturbed keys.

The k largest of s_i / tau + G_i, with G_i independent standard Gumbel, are an ordered Plackett-Luce sample (Kool, van
Hoof, Welling 2019, arXiv 1903.06059). G_i comes from the row's id, so a draw does not depend on order or sharding,
a larger k extends a smaller one, and new rows never change an old row's key.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rulesel.algorithms.keyed import Ids, uniform

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


LEAST = 1e-6
"""The lowest automatic temperature: the best scores first, equal ones in random order."""

NO_INFLUENCE = 0.99
"""Effective share from which on a draw is all but uniform."""


class AutoTau(NamedTuple):
    """A temperature in units of the scores' standard deviation, and the share of effective rows it leaves."""

    tau: float
    ess: float


def gumbel_keys(scores: npt.ArrayLike, tau: float, *, ids: Ids | None = None, seed: int = 0) -> Floats:
    """Sampling keys, higher is picked first, shape (n,); NaN where the score is NaN.

    Args:
        scores: higher is better, any scale, shape (n,).
        tau: temperature in units of the scores' population standard deviation; 0 gives the scores themselves
            (the exact top), inf keys without regard to the score (uniform).
        ids: stable ids, shape (n,); the row number where None.
        seed: names the draw.

    Raises:
        ValueError: a negative or NaN tau, an infinite score, or as many ids as there are not scores.
    """
    s = _scores(scores)
    if not tau >= 0:
        raise ValueError(f"tau is a temperature >= 0, got {tau}.")
    if ids is not None and len(ids) != len(s):
        raise ValueError(f"{len(ids)} ids for {len(s)} scores.")
    if tau == 0:
        return s.copy()
    noise = -np.log(-np.log(uniform(len(s) if ids is None else ids, seed)))
    return _standard(s) / tau + noise


def top_k(keys: npt.ArrayLike, k: int, ids: Ids | None = None) -> Ints:
    """Rows of the k largest keys, largest first; ties by lower id, or by lower row number without ids.

    NaN keys are never picked, so fewer than k rows come back where fewer have a key.
    """
    values = np.asarray(keys, dtype=np.float64)
    if k < 0:
        raise ValueError(f"k must be at least 0, got {k}.")
    rows = np.flatnonzero(~np.isnan(values))
    k = min(k, len(rows))
    if k == 0:
        return np.empty(0, dtype=np.int64)
    if k < len(rows):
        cut = np.partition(values[rows], len(rows) - k)[len(rows) - k]
        rows = rows[values[rows] >= cut]
    if ids is not None:
        rows = rows[np.argsort(np.array([ids[row] for row in rows.tolist()], dtype=object), kind="stable")]
    return rows[np.argsort(-values[rows], kind="stable")][:k].astype(np.int64)


def ties_at_cut(keys: npt.ArrayLike, picked: Ints) -> int:
    """How many picks a tie decided: picked rows whose key equals that of a row left out."""
    values = np.asarray(keys, dtype=np.float64)
    if len(picked) == 0:
        return 0
    cut = values[picked].min()
    inside = int((values[picked] == cut).sum())
    return inside if int((values == cut).sum()) > inside else 0


def effective_share(scores: npt.ArrayLike, tau: float) -> float:
    """Effective sample size of the weights exp(score / (tau * sd)), over n: 1 is uniform, 1/n one row.

    NaN scores are left out. tau = 0 gives the share of rows that tie for the best score.
    """
    s = _scores(scores)
    return _share(_standard(s[~np.isnan(s)]), tau)


def auto_tau(scores: npt.ArrayLike, k: int, c: float = 2.0) -> AutoTau:
    """The temperature at which the effective number of rows is c times k, or halfway from k to n where that is less.

    Without the second limit the scores would have no influence from k = n / c on.

    Args:
        scores: higher is better, shape (n,); NaN scores are left out.
        k: rows to be picked.
        c: how many times more rows than k keep a fair chance; 1.5 is sharp, 5 is mild.

    Returns:
        tau in units of the standard deviation: inf where all scores are equal, `LEAST` where ties for the best already
        exceed that number, so that they are drawn from at random.
    """
    s = _scores(scores)
    z = _standard(s[~np.isnan(s)])
    if len(z) == 0 or k < 1:
        raise ValueError(f"auto_tau needs scores and k >= 1, got {len(z)} scores and k = {k}.")
    if not z.any():
        return AutoTau(math.inf, 1.0)
    k = min(k, len(z) - 1)
    target = min(c * k, (k + len(z)) / 2) / len(z)
    low, high = math.log(LEAST), math.log(1e6)
    if _share(z, LEAST) >= target:
        return AutoTau(LEAST, _share(z, LEAST))
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if _share(z, math.exp(middle)) < target else (low, middle)
    tau = math.exp(high)
    return AutoTau(tau, _share(z, tau))


def _scores(scores: npt.ArrayLike) -> Floats:
    s = np.asarray(scores, dtype=np.float64)
    if s.ndim != 1:
        raise ValueError(f"Scores have shape (n,), got {s.shape}.")
    if np.isinf(s).any():
        raise ValueError("A score is infinite; give NaN for a row that cannot be picked.")
    return s


def _standard(s: Floats) -> Floats:
    """Scores minus their mean over their standard deviation; 0 where they do not vary."""
    valid = s[~np.isnan(s)]
    if len(valid) == 0:
        return s
    sd = float(valid.std())
    if sd <= 1e-12 * float(np.abs(valid).max()):
        return s * 0.0
    return np.asarray((s - valid.mean()) / sd)


def _share(z: Floats, tau: float) -> float:
    if tau == 0:
        return float((z == z.max()).mean())
    weight = np.exp((z - z.max()) / tau)
    return float(weight.sum() ** 2 / (len(z) * (weight**2).sum()))
