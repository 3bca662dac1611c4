"""Greedy k-center: each pick is the row farthest from everything chosen so far.

Gonzalez 1985, "Clustering to minimize the maximum intercluster distance": the covering radius is at most twice the
best possible, for a metric. Used to select data by Sener and Savarese (arXiv 1708.00489) and by DiverseEvol (arXiv
2311.08182).

The picks are exact, ties included. A row's distance to the chosen set only shrinks, so an old value is an upper bound:
each row remembers how many of the chosen rows it has been compared with, and is compared with the others only when it
could be the farthest. Those comparisons are float32 matrix products; rows that rounding cannot tell apart are settled
by float64 differences, the same whatever the number of threads.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from rulesel.algorithms import ties
from rulesel.algorithms.given import Given, Progress, checked_first, checked_given, checked_k
from rulesel.algorithms.neighbors import Zero, check_rows, unit_rows

Metric = Literal["euclidean", "cosine"]
Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

CELLS = 2**23
"""Distances held at once, 32 MiB of float32."""

GROUP = 64
"""Fewest rows of a product, and the step in which progress is counted: smaller products waste the processor."""

TOGETHER = 32
"""Rows settled in float64 at once, the farthest of a batch."""


def kcenter(
    X: npt.NDArray[np.floating],
    k: int,
    *,
    first: int | None = None,
    given: Given = (),
    metric: Metric = "euclidean",
    robust: float = 0.0,
    zero: Zero = "error",
    progress: Progress | None = None,
) -> tuple[Ints, Floats]:
    """Pick k rows, each the farthest from those before it.

    Args:
        X: rows, shape (n, d), finite; read only.
        k: rows to pick; fewer are returned only when fewer are left.
        first: the first pick; without one it is the row nearest the mean, or, after `given`, the farthest row.
        given: rows already chosen: they count as centers and are never picked.
        metric: "euclidean" distance, or "cosine" distance 1 - cos; both give one order on rows of unit length.
        robust: share in [0, 1) of the rows, the farthest ones, that are passed over at each step as outliers.
        zero: for "cosine", what to do with a row of zeros; "isolate" puts it at distance 1 from everything.
        progress: told (picked, k) now and then.

    Returns:
        Indices (k,) in the order picked, the lowest index among equals, and the covering radius after each pick
        (k,): the largest distance of a row (outliers passed over) to the chosen set. Lower is better; it never grows.

    Raises:
        ValueError: NaN or infinity, a zero row under "cosine", values too large for float32, or arguments out of range.
    """
    check_rows(X)
    already = checked_given(given, len(X))
    k = checked_k(k, len(X), already)
    start = checked_first(first, len(X), already)
    if not 0 <= robust < 1:
        raise ValueError(f"robust must lie in [0, 1), got {robust}.")
    if k == 0:
        return np.empty(0, dtype=np.int64), np.empty(0)
    space = _Space(X, metric, zero)
    if start is None and len(already) == 0:
        start = space.nearest_mean()
    search = _Search(space, already if start is None else np.append(already, start), int(robust * len(X)), k + 1)
    picked = 0 if start is None else 1
    while picked <= k and search.left:  # one more than asked: its distance is the radius that the last pick leaves
        picked += search.round(k + 1 - picked)
        if progress is not None:
            progress(min(picked, k), k)
    squares = np.append(search.squares(len(already))[1:], 0.0)[:k]
    return search.centers[len(already) :][:k], np.sqrt(squares) if metric == "euclidean" else squares / 2


class _Space:
    """Rows as float32 features for fast bounds and as float64 for the last word; distances are squared."""

    def __init__(self, X: npt.NDArray[np.floating], metric: Metric, zero: Zero) -> None:
        self.rows, self.cosine = X, metric == "cosine"
        self.features = unit_rows(X, zero=zero) if self.cosine else _centred(X)
        self.square: Singles = np.einsum("ij,ij->i", self.features, self.features)
        self.lift = (self.square == 0 if self.cosine else np.zeros(len(X), dtype=bool)).astype(np.float64)
        self.square += self.lift.astype(np.float32)  # without a direction: squared chord 2 to everything
        largest = float(self.square.max())
        if not np.isfinite(largest):
            raise ValueError("The squared length of a row overflows float32; scale the rows down first.")
        # Rounding of a float32 product grows like sqrt(d); this is at least ten standard deviations of it.
        self.rounding = np.float32(2.0**-23 * (2 + X.shape[1] ** 0.5 / 2))
        self.largest = np.float32(largest)
        self.noise = largest * ties.TOLERANCE**2  # a squared distance below which rows are copies

    def slack(self, square: Singles, bound: Singles) -> Singles:
        """How far off the squared distance to the nearest center may be, given a row's squared length and the distance.

        The error grows with the squares of both rows; the nearest center's is at most twice the row's plus the bound's.
        """
        slack: Singles = np.minimum(self.largest, 2 * (square + np.maximum(bound, 0)))
        slack += square
        slack *= self.rounding
        return slack

    def exact(self, left: Ints, right: Ints) -> Floats:
        """Squared distance of each pair of rows from float64 differences; 2 where a row has no direction."""
        out = np.empty(len(left))
        for start in range(0, len(left), 4096):
            a, b = left[start : start + 4096], right[start : start + 4096]
            gap = self._double(a) - self._double(b)
            out[start : start + 4096] = np.einsum("ij,ij->i", gap, gap) + self.lift[a] + self.lift[b]
        return out

    def nearest_mean(self) -> int:
        blocks = [np.arange(s, min(s + 4096, len(self.rows))) for s in range(0, len(self.rows), 4096)]
        mean = np.sum([self._double(block).sum(axis=0) for block in blocks], axis=0) / len(self.rows)
        squares = np.concatenate([((self._double(block) - mean) ** 2).sum(axis=1) for block in blocks])
        return int(
            np.argmax(squares <= squares.min() + ties.TOLERANCE * max(float(squares.max()), float(self.largest)))
        )

    def _double(self, rows: Ints) -> Floats:
        block = self.rows[rows].astype(np.float64)
        if self.cosine:
            norms = np.sqrt(np.einsum("ij,ij->i", block, block))
            block /= np.where(norms == 0, 1, norms)[:, None]
        return block


class _Search:
    """The centers so far, and for every other row an upper bound of its squared distance to them."""

    def __init__(self, space: _Space, centers: Ints, ignored: int, more: int) -> None:
        n, d = space.features.shape
        self.space, self.ignored, self.count, self.left = space, ignored, 0, n
        self.batch = self.usual = min(n, ignored + int(np.clip(n // 64, 512, 1024)))
        capacity = min(n, len(centers) + more)
        self._centers = np.empty(capacity, dtype=np.int64)
        self._doubled = np.empty((capacity, d), dtype=np.float32)
        self._square = np.empty(capacity, dtype=np.float32)
        self.bound = np.full(n, np.inf, dtype=np.float32)
        self.known = np.full(n, np.inf)
        self.known_to = np.zeros(n, dtype=np.int64)
        for row in centers.tolist():
            self._take(row)
        for start in range(0, n, CELLS // GROUP):  # from here on every bound is finite
            rows = slice(start, start + CELLS // GROUP)
            near = self._nearest(space.features[rows], space.square[rows], 0, min(GROUP, self.count))
            np.minimum(self.bound[rows], near, out=self.bound[rows])
        self.seen = np.full(n, min(GROUP, self.count), dtype=np.int64)

    @property
    def centers(self) -> Ints:
        """Rows chosen, in order."""
        return self._centers[: self.count]

    def round(self, wanted: int) -> int:
        """Bring the most distant rows up to date and pick among them as long as no other row can be farther."""
        n, size = len(self.bound), self.batch
        upper = self.bound + self.space.slack(self.space.square, self.bound)
        order = np.argpartition(upper, max(n - size - 1, 0))
        outside = -np.inf if size == n else float(upper[order[n - size - 1]])
        rows = order[n - size :]
        rows = rows[np.argsort(self.seen[rows] // GROUP, kind="stable")]
        features, square = self.space.features[rows], self.space.square[rows]
        bound = self._refreshed(rows, features, square)
        slack = self.space.slack(square, bound)  # as bounds only fall, it stays enough
        picked = 0
        while picked < wanted and self.left and (at := self._farthest(rows, bound, slack, outside)) is not None:
            self._take(int(rows[at]))
            picked += 1
            if self.known[rows[at]] <= self.space.noise and not self.ignored:  # all that is left equals a center
                copies = np.flatnonzero(self.bound > -np.inf)[: wanted - picked]
                for row in copies.tolist():
                    self._take(row)
                return picked + len(copies)
            product = features @ self._doubled[self.count - 1]
            product -= self._square[self.count - 1]
            np.minimum(bound, np.subtract(square, product, out=product), out=bound)
            bound[at] = -np.inf
        self.bound[rows], self.seen[rows] = bound, self.count
        self.batch = self.usual if picked else min(n, 2 * size)
        return picked

    def _take(self, row: int) -> None:
        self._centers[self.count] = row
        np.multiply(self.space.features[row], 2, out=self._doubled[self.count])
        self._square[self.count] = self.space.square[row]
        self.bound[row] = -np.inf
        self.count += 1
        self.left -= 1

    def _refreshed(self, rows: Ints, features: Singles, square: Singles) -> Singles:
        """Bounds of rows, ordered by progress, once compared with the centers they have not seen."""
        bound, lag = self.bound[rows], self.seen[rows] // GROUP
        start = 0
        while start < len(rows) and (begin := int(lag[start]) * GROUP) < self.count:
            alike = max(start + GROUP, int(np.searchsorted(lag, lag[start], side="right")))
            block = slice(start, min(alike, start + CELLS // (self.count - begin) + 1))
            near = self._nearest(features[block], square[block], begin, self.count)
            np.minimum(bound[block], near, out=bound[block])
            start = block.stop
        return bound

    def _nearest(self, features: Singles, square: Singles, begin: int, end: int) -> Singles:
        """Squared distance of rows to the nearest of the centers begin..end, as float32 products give it."""
        product = features @ self._doubled[begin:end].T
        product -= self._square[begin:end]
        near: Singles = square - product.max(axis=1)
        return near

    def _all(self, rows: Ints, begin: int, end: int) -> Singles:
        """Squared distances of rows to the centers begin..end, as float32 products give them."""
        product = self.space.features[rows] @ self._doubled[begin:end].T
        product -= self._square[begin:end]
        return np.subtract(self.space.square[rows][:, None], product, out=product)

    def _farthest(self, rows: Ints, bound: Singles, slack: Singles, outside: float) -> int | None:
        """Position in the batch of the next pick, or None where a row outside it could be farther."""
        passed = min(self.ignored, self.left - 1)
        last = len(bound) - 1 - passed
        level = float(np.partition(bound, last)[last]) if passed else float(bound.max())
        near = 2 * float(slack.max())
        tied = np.flatnonzero(np.abs(bound - level) <= near)
        if len(tied) > 1:
            passed -= np.count_nonzero(bound > level + near) if passed else 0
            lower, upper = bound[tied] - slack[tied], bound[tied] + slack[tied]
            least, most = np.sort(lower)[-1 - passed], np.sort(upper)[-1 - passed]
            passed -= np.count_nonzero(lower > most)
            tied = tied[(upper >= least) & (lower <= most)]
        else:
            least = level - slack[tied[0]]
        if least <= outside:
            return None
        if len(tied) > 1:
            tied = tied[np.argsort(rows[tied])]
            if (self.known_to[rows[tied]] < self.count - GROUP).any():  # one product for those that will be in doubt
                self._settle(rows[np.argpartition(bound, -min(TOGETHER, len(bound)))[-TOGETHER:]])
            exact = self._settle(rows[tied])
            exact[exact <= self.space.noise] = 0.0
            tied = tied[ties.order(exact)[passed:]]
        return int(tied[0])

    def _settle(self, rows: Ints) -> Floats:
        """Exact squared distances of a few rows to the centers."""
        for begin in np.unique(self.known_to[rows]).tolist():
            behind = rows[self.known_to[rows] == begin] if begin < self.count else rows[:0]
            for start in range(0, len(behind), step := 1 + CELLS // (1 + self.count - begin)):
                some = behind[start : start + step]
                near = self._all(some, begin, self.count)
                edge = np.minimum(near.min(axis=1), self.known[some].astype(np.float32))
                edge += 2 * self.space.slack(self.space.square[some], edge)
                row, center = np.nonzero(near <= edge[:, None])
                np.minimum.at(self.known, some[row], self.space.exact(some[row], self._centers[begin + center]))
        self.known_to[rows] = self.count
        return self.known[rows]

    def squares(self, base: int) -> Floats:
        """Exact squared distance of every center from position `base` on to those before it (infinite if none)."""
        out = np.full(self.count - base, np.inf)
        for start in range(base, self.count, step := 1 + CELLS // self.count):
            own = np.arange(start, min(start + step, self.count))
            near = self._all(self._centers[own], 0, own[-1] + 1)
            near[np.arange(own[-1] + 1) >= own[:, None]] = np.inf
            edge = near.min(axis=1)
            edge += 2 * self.space.slack(self.space.square[self._centers[own]], edge)
            row, center = np.nonzero((near <= edge[:, None]) & np.isfinite(near))
            np.minimum.at(out, own[row] - base, self.space.exact(self._centers[own[row]], self._centers[center]))
        out[len(self.bound) - np.arange(base, self.count) <= self.ignored] = 0  # only outliers were left
        return out


def _centred(X: npt.NDArray[np.floating]) -> Singles:
    """Float32 rows, moved to their mean where a common offset would swallow their differences."""
    mean = X.mean(axis=0, dtype=np.float64)
    blocks = [slice(start, start + 4096) for start in range(0, len(X), 4096)]
    length = sum(float((X[block].astype(np.float64) ** 2).sum()) for block in blocks) / len(X)
    if 2 * (mean @ mean) <= length:
        return X.astype(np.float32, copy=False)
    features = np.empty(X.shape, dtype=np.float32)
    for block in blocks:
        features[block] = X[block] - mean
    return features
