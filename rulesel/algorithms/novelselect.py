"""NovelSelect: greedy choice of the row that is most novel to the rows chosen so far.

Yang et al. 2025, "Measuring Data Diversity for Instruction Tuning" (arXiv 2502.17184), section 6. The novelty of x to a
set is a sum over its members s of weight * density * cosine distance, where the member that is rank-th nearest to x
weighs rank ** -distance_power.

    corrected   distance(x, s) * density(s), ranked by the distance: the paper's formula
    published   distance(x, s) * (density(x) + density(s)), ranked by that product, and the mean instead of the sum

The objective is not submodular, but a chosen row can raise another row's novelty by little, and by how much at most is
one product away. So every row carries an upper bound, and only rows whose bound reaches the best novelty known are
worked out, in float64. The picks are those of the full computation, ties included.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rulesel.algorithms import ties
from rulesel.algorithms.density import Mode, local_density
from rulesel.algorithms.given import Given, Progress, checked_first, checked_given, checked_k
from rulesel.algorithms.neighbors import Zero, unit_rows
from rulesel.algorithms.novelty_terms import SLACK, Corrected, Published

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

CELLS = 2**23
"""Similarities held at once, 32 MiB of float32."""

TOGETHER = 128
"""Rows worked out at a time."""


def novelselect(
    X: npt.NDArray[np.floating],
    k: int,
    *,
    first: int | None = None,
    given: Given = (),
    neighbors: int = 10,
    density_power: float = 0.5,
    distance_power: float = 1.0,
    mode: Mode = "corrected",
    density: Floats | None = None,
    quality: Floats | None = None,
    seed: int = 42,
    zero: Zero = "error",
    progress: Progress | None = None,
) -> tuple[Ints, Floats]:
    """Pick k rows, each the most novel to those before it.

    Args:
        X: rows, shape (n, d), finite; read only. Distances are 1 - cos.
        k: rows to pick; fewer are returned only when fewer are left.
        first: the first pick. Without one, and without `given`, "corrected" starts from the row nearest the mean
            direction and "published" from the authors' draw, `RandomState(seed).randint(n)`.
        given: rows already chosen: novelty counts them, and they are never picked.
        neighbors: of the density; see `local_density`.
        density_power: at least 0; 0 leaves density out.
        distance_power: at least 0; 0 weighs near and far members alike.
        mode: see the module. The authors' half precision and their chance of picking a row twice are not followed.
        density: what `local_density` gives, where it is known already (n,), positive.
        quality: factor of the novelty of each row (n,), at least 0; higher is better.
        seed: of the authors' first draw; nothing else is random.
        zero: what to do with a row of zeros; "isolate" puts it at distance 1 from everything.
        progress: told (picked, k) now and then.

    Returns:
        Indices (k,) in the order picked, the lowest index among equals, and the novelty each had when picked (k,),
        the factor `quality` included; 0 for the first pick when nothing was chosen before it.

    Raises:
        ValueError: NaN or infinity, a zero row, or arguments out of range.
    """
    if not 0 <= distance_power < np.inf:
        raise ValueError(f"distance_power must be finite and at least 0, got {distance_power}.")
    features = unit_rows(X, zero=zero)
    already = checked_given(given, len(X))
    k = checked_k(k, len(X), already)
    start = checked_first(first, len(X), already)
    if k == 0:
        return np.empty(0, dtype=np.int64), np.empty(0)
    if density is None:
        density = local_density(X, neighbors=neighbors, power=density_power, mode=mode, zero=zero)
    density = _factor(density, len(X), "density")
    factor = np.ones(len(X)) if quality is None else _factor(quality, len(X), "quality")
    if start is None and len(already) == 0:
        start = _start(features, mode, seed)
    weight = np.arange(1, len(already) + k + 1, dtype=np.float64) ** -distance_power
    kind = Published if mode == "published" else Corrected
    search = _Search(X, features, kind(features, density, weight), factor)
    for row in already.tolist():
        search.take(row, 0.0)
    if start is not None:
        search.take(start, float(search.total(np.array([start]))[0]))
    search.sync()
    while search.count < len(already) + k:
        search.round(len(already) + k)
        if progress is not None:
            progress(search.count - len(already), k)
    return search.chosen[len(already) :], search.novelty[len(already) :]


def _factor(values: Floats, n: int, name: str) -> Floats:
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (n,) or not np.isfinite(values).all() or values.min() < 0:
        raise ValueError(f"{name} must be {n} finite numbers of at least 0.")
    return values


def _start(features: Singles, mode: Mode, seed: int) -> int:
    if mode == "published":
        return int(np.random.RandomState(seed).randint(len(features)))
    mean = features.mean(axis=0, dtype=np.float64)
    rough = features @ mean.astype(np.float32)
    near = np.flatnonzero(rough >= rough.max() - 2 * SLACK)
    closeness = features[near].astype(np.float64) @ mean
    return int(near[closeness >= closeness.max() - ties.TOLERANCE][0])


class _Search:
    """The chosen rows, and for every row an upper bound of its sum of weighted terms."""

    def __init__(
        self, X: npt.NDArray[np.floating], features: Singles, kind: Published | Corrected, factor: Floats
    ) -> None:
        (n, d), room = features.shape, len(kind.weight)
        self.X, self.features, self.kind, self.factor = X, features, kind, factor
        self.count = self.synced = 0
        self._chosen = np.empty(room, dtype=np.int64)
        self.novelty = np.zeros(room)
        self._single = np.empty((room, d), dtype=np.float32)
        self._double = np.empty((room, d))
        self.bound = np.zeros(n)
        self.taken = np.zeros(n, dtype=bool)
        self.active = n if isinstance(kind, Corrected) else min(n, max(2048, n // 10))
        self.stuck = False
        self.nothing = 1e-12 * float(kind.density.max() * kind.weight.sum())  # below it a sum is rounding

    @property
    def chosen(self) -> Ints:
        """Rows chosen, in order."""
        return self._chosen[: self.count]

    def take(self, row: int, total: float) -> None:
        """Choose a row."""
        self.novelty[self.count] = self.kind.novelty(total, self.count) * self.factor[row]
        self._chosen[self.count] = row
        self._single[self.count] = self.features[row]
        self._double[self.count] = self._exact(np.array([row]))[0]
        self.taken[row] = True
        self.count += 1

    def round(self, limit: int) -> None:
        """Pick among the rows of highest bound as long as no other row can be more novel."""
        n, before = len(self.bound), self.count
        size = n if self.stuck else self.active
        key = np.where(self.taken, -1.0, self.bound * self.factor)
        order = np.argpartition(key, n - size - 1) if size < n else np.arange(n)
        outside, most = (float(key[order[n - size - 1]]), float(self.factor.max())) if size < n else (-1.0, 0.0)
        rows = np.sort(order[n - size :])
        some: Ints | slice = rows if size < n else slice(None)
        bound, features = self.bound[rows], self.features[some]
        while self.count < (before + 1 if self.stuck else limit):
            best = self._best(rows, bound, outside)
            if best is None:
                break
            if bound[best] <= self.nothing and self.factor.min() > 0:
                self._take_copies(limit)
                return
            self.take(int(rows[best]), float(bound[best]))
            similarity = features @ self._single[self.count - 1 : self.count].T
            bound += self.kind.growth(some, similarity, self.chosen, self.count - 1)
            if size < n:
                outside += most * self.kind.growth_anywhere(self.chosen)
        self.stuck = self.count == before
        if size == n:
            self.bound, self.synced = bound, self.count
        elif self.count < limit:
            self.sync()
            self.bound[rows] = bound

    def sync(self) -> None:
        """Bring every bound up to the rows chosen since."""
        if self.count == self.synced:
            return
        for start in range(0, len(self.bound), step := 1 + CELLS // (self.count - self.synced)):
            some = slice(start, start + step)
            similarity = self.features[some] @ self._single[self.synced : self.count].T
            self.bound[some] += self.kind.growth(some, similarity, self.chosen, self.synced)
        self.synced = self.count

    def _best(self, rows: Ints, bound: Floats, outside: float) -> int | None:
        """Position of the most novel of the rows, worked out, or None where a row outside could be as novel."""
        factor = self.factor[rows]
        key = np.where(self.taken[rows], -1.0, bound * factor)
        if key.max() <= outside:
            return None
        known = np.zeros(len(rows), dtype=bool)
        least = -0.5  # what the most novel row has at least
        while len(open_ := np.flatnonzero(~known & (key >= least))):
            if len(open_) > TOGETHER:
                open_ = open_[np.argpartition(-key[open_], TOGETHER)[:TOGETHER]]
            bound[open_], margin = self._estimate(rows[open_])
            key[open_] = bound[open_] * factor[open_]
            known[open_] = True
            least = max(least, float((key[open_] - margin * factor[open_]).max()) * (1 - ties.TOLERANCE))
        rivals = np.flatnonzero(known & (key >= least))
        bound[rivals] = self.total(rows[rivals])
        key[rivals] = bound[rivals] * factor[rivals]
        best = float(key[rivals].max()) * (1 - ties.TOLERANCE)
        return None if best <= outside else int(rivals[key[rivals] >= best][0])

    def _estimate(self, rows: Ints) -> tuple[Floats, Floats]:
        """Upper bounds of the sums of a few rows, and how far above the sums they are at most."""
        distance = np.maximum(1 - self.features[rows] @ self._single[: self.count].T, np.float32(0))
        total, off = self.kind.estimate(rows, distance, self.chosen)
        odd = np.isinf(off)
        if odd.any():
            total[odd], off[odd] = self.total(rows[odd]), 0
        return total + off, 2 * off

    def total(self, rows: Ints) -> Floats:
        """Sums of a few rows, in float64."""
        distance = np.maximum(1 - self._exact(rows) @ self._double[: self.count].T, 0)
        return self.kind.total(rows, distance, self.chosen)

    def _take_copies(self, limit: int) -> None:
        """All that is left equals a chosen row: take the lowest rows, none of which is novel."""
        for row in np.flatnonzero(~self.taken)[: limit - self.count].tolist():
            self.take(row, 0.0)

    def _exact(self, rows: Ints) -> Floats:
        """Float64 rows of unit length."""
        block = self.X[rows].astype(np.float64)
        length = np.sqrt(np.einsum("ij,ij->i", block, block))
        return np.asarray(block / np.where(length == 0, 1, length)[:, None])
