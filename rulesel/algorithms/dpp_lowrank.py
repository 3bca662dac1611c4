"""Determinantal point processes over many items of few features: the kernel B B^T is never formed.

Item i is the row b_i = quality_i * x_i / |x_i|, so that L = diag(quality) * cosine * diag(quality) has rank at most d.
Kulesza and Taskar 2012 (arXiv 1207.6083), section 3.3: B^T B has the eigenvalues that matter, and one pass over the
items turns its eigenvectors into those of L. Greedy: Chen, Zhang, Zhou 2018 (arXiv 1709.05135), with its window of the
latest items; here the residual of an item is taken against directions in R^d, so that memory is n + k d beside B. No
residual exceeds the square of its row, so that rows of low quality are left alone until one of them could be picked.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rulesel.algorithms import ties
from rulesel.algorithms.given import Given, Progress, checked_given, checked_k
from rulesel.algorithms.kdpp import log_esp, numerical_rank
from rulesel.algorithms.neighbors import Zero, check_rows, directions, unit_rows

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

BLOCK = 8192

STOP = 1e-10
"""Greedy stops at a residual below this share of the largest row's square: what is left is rounding."""

SLACK = 1e-5
"""More than float32 products are off in a squared residual, relative to the largest row's square."""

RENEW = 256
"""Steps after which residuals are taken afresh: with a window they are added to and subtracted from all along."""


def lowrank_map(
    X: npt.NDArray[np.floating],
    k: int,
    *,
    quality: npt.NDArray[np.floating] | None = None,
    window: int | None = None,
    given: Given = (),
    zero: Zero = "error",
    progress: Progress | None = None,
) -> tuple[Ints, Floats]:
    """Greedy for the largest det(L_Y): each pick has the largest residual against the picks before it.

    Args:
        X: rows, shape (n, d), finite; read only, scaled to unit length here.
        k: rows to pick; fewer when the rest depends linearly on what was picked.
        quality: factor of each row (n,), at least 0; higher is better. ln det(L_Y) gains 2 ln quality with a row.
        window: only the latest `window` picks repel, so that more than d rows can be picked; below d. None lets all
            picks repel.
        given: rows already chosen: they repel like picks (under a window the latest do), and are never picked.
        zero: what to do with a row of zeros; "isolate" leaves it without volume, so that it is never picked.
        progress: told (picked, k) now and then.

    Returns:
        Indices (k,) in the order picked, the lowest index among equals, and the natural log of each residual (k,):
        without `given` and window these sum to ln det(L_Y).

    Raises:
        ValueError: NaN or infinity, a zero row, arguments out of range, or more than d rows wanted without a window.
    """
    rows = _Rows(X, quality, zero)
    already = checked_given(given, len(X))
    k = checked_k(k, len(X), already)
    d = X.shape[1]
    if window is not None and not 1 <= window < d:
        raise ValueError(f"window must lie in 1..{d - 1} for rows of {d} numbers, got {window}.")
    if window is None and len(already) + k > d:
        raise ValueError(
            f"{len(already) + k} rows of {d} numbers are always linearly dependent: at most {d} can be chosen. Pass a "
            f"window below {d} to let only the latest picks repel, or choose within clusters."
        )
    search = _Residuals(rows, window)
    for row in already.tolist():
        search.take(row)
    picks: list[int] = []
    gains: list[float] = []
    while len(picks) < k and (found := search.largest()) is not None:
        row, residual = found
        picks.append(row)
        gains.append(float(np.log(residual)))
        search.take(row)
        if progress is not None and len(picks) % 64 == 0:
            progress(len(picks), k)
    return np.array(picks, dtype=np.int64), np.array(gains)


class LowRankDpp:
    """A k-DPP over rows: one d x d decomposition, then any number of exact draws.

    A draw costs a pass of n d k operations and k of n d, in memory n + k d; a row float32 rounding favours is refused
    in proportion, so that draws follow the float64 probabilities.

    Args:
        X: rows, shape (n, d), finite; scaled to unit length here.
        k: size of every draw.
        quality: factor of each row (n,), at least 0; a constant factor changes nothing.
        zero: what to do with a row of zeros; "isolate" leaves it out of every draw.

    Raises:
        ValueError: NaN or infinity, a zero row, or k above the rank of the rows.
    """

    def __init__(
        self,
        X: npt.NDArray[np.floating],
        k: int,
        *,
        quality: npt.NDArray[np.floating] | None = None,
        zero: Zero = "error",
    ) -> None:
        self.rows, self.k = _Rows(X, quality, zero), k
        self.single = self.rows.single(np.arange(len(X)))
        values, self.vectors = np.linalg.eigh(self.rows.gram())
        rank = numerical_rank(values)
        if not 0 <= k <= rank:
            raise ValueError(f"A draw of {k} rows needs rows of at least that rank; these have rank {rank}.")
        values[: len(values) - rank] = 0
        self.values = values
        with np.errstate(divide="ignore"):
            self.log_values: Floats = np.log(values)
        self.log_e = log_esp(self.log_values, k)

    def sample(self, rng: np.random.Generator) -> Ints:
        """One exact draw: k distinct rows, sorted."""
        chosen = self._eigenvectors(rng)
        basis = self.vectors[:, chosen] / np.sqrt(self.values[chosen])  # b @ basis is the row in k dimensions
        weight = _squared(self.single, basis)
        error = 2e-6 * float((basis**2).sum()) ** 0.5  # of a float32 product with a direction of the draw, at most
        slack = 4 * error * (np.sqrt(weight) + error) + 1e-6 * weight
        directions = np.empty((self.k, self.k))
        picks = np.empty(self.k, dtype=np.int64)
        for step in range(self.k):
            most = np.maximum(weight, 0) + slack
            most[picks[:step]] = 0
            picks[step], rest = self._next(rng, most, basis, directions[:step])
            directions[step] = rest
            weight -= _squared(self.single, basis @ rest[:, None])
        return np.sort(picks)

    def _next(self, rng: np.random.Generator, most: Floats, basis: Floats, directions: Floats) -> tuple[int, Floats]:
        """A row in proportion to its exact weight, at most `most`, and the direction that it adds."""
        cumulative = np.cumsum(most)
        while True:
            row = min(int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right")), len(most) - 1)
            rest = _orthogonal(self.rows.exact(np.array([row])) @ basis, directions)[0]
            square = float(rest @ rest)
            if square > STOP and rng.random() * most[row] < square:
                return row, rest / square**0.5

    def _eigenvectors(self, rng: np.random.Generator) -> Ints:
        """Which k eigenvectors span the draw."""
        chosen: list[int] = []
        for m in range(len(self.values), 0, -1):
            wanted = self.k - len(chosen)
            if wanted == 0:
                break
            odds = self.log_values[m - 1] + self.log_e[m - 1, wanted - 1] - self.log_e[m, wanted]
            left = int((self.values[:m] > 0).sum())
            if wanted == left or rng.random() < np.exp(odds):
                chosen.append(m - 1)
        return np.array(chosen, dtype=np.int64)


class _Rows:
    """Rows b_i, scaled by the largest quality: float32 for passes over all, float64 for a few."""

    def __init__(self, X: npt.NDArray[np.floating], quality: npt.NDArray[np.floating] | None, zero: Zero) -> None:
        worth = np.ones(len(X)) if quality is None else np.asarray(quality, dtype=np.float64)
        if worth.shape != (len(X),) or not np.isfinite(worth).all() or worth.min(initial=0) < 0:
            raise ValueError(f"quality must be {len(X)} finite numbers of at least 0.")
        self.scale = float(worth.max(initial=0)) or 1.0
        check_rows(X)
        if zero == "error" and len(X) and not (some := X.any(axis=1)).all():
            empty = int(some.argmin())
            directions(X[empty : empty + 1].astype(np.float64), zero=zero, name="embeddings", first=empty)
        self.X, self.worth, self.zero = X, worth / self.scale, zero

    def single(self, rows: Ints) -> Singles:
        """Float32 rows."""
        unit = unit_rows(self.X[rows], zero=self.zero)
        unit *= self.worth[rows, None].astype(np.float32)
        return unit

    def exact(self, rows: Ints) -> Floats:
        """Float64 rows."""
        block = self.X[rows].astype(np.float64)
        length = np.sqrt(np.einsum("ij,ij->i", block, block))
        return np.asarray(block * (self.worth[rows] / np.where(length == 0, 1, length))[:, None])

    def gram(self) -> Floats:
        """B^T B in float64, shape (d, d)."""
        out = np.zeros((self.X.shape[1], self.X.shape[1]))
        for start in range(0, len(self.X), BLOCK):
            block = self.exact(np.arange(start, min(start + BLOCK, len(self.X))))
            out += block.T @ block
        return out


class _Residuals:
    """Squared length of rows outside the span of the rows taken, or of the latest of them.

    Rows stand in falling order of quality, and only the first `reach` of them are brought up to date.
    """

    def __init__(self, rows: _Rows, window: int | None) -> None:
        n, d = rows.X.shape
        self.rows, self.window = rows, window
        self.order = np.argsort(-rows.worth, kind="stable")
        self.place = np.empty(n, dtype=np.int64)
        self.place[self.order] = np.arange(n)
        self.single = np.empty((n, d), dtype=np.float32)
        self.value = np.empty(n)
        self.open = np.ones(n, dtype=bool)
        self.basis = np.empty((0, d))
        self.latest: list[int] = []
        self.steps = self.reach = 0

    def largest(self) -> tuple[int, float] | None:
        """The row of largest residual and that residual, or None where only rounding is left."""
        while True:
            found, largest = self._largest()
            if (
                self.reach == len(self.order)
                or largest * (1 - ties.TOLERANCE) > self.rows.worth[self.order[self.reach]] ** 2
            ):
                return None if found is None else (found, largest * self.rows.scale**2)
            self._extend(max(BLOCK, 2 * self.reach))

    def _largest(self) -> tuple[int | None, float]:
        """The same among the rows within reach; a row's residual is exact where it matters."""
        value = np.where(self.open[: self.reach], self.value[: self.reach], -np.inf)
        near = np.flatnonzero(value >= value.max(initial=-np.inf) - 2 * SLACK)
        for start in range(0, len(near), BLOCK):
            rest = _orthogonal(self.rows.exact(self.order[near[start : start + BLOCK]]), self.basis)
            self.value[near[start : start + BLOCK]] = np.einsum("ij,ij->i", rest, rest)
        exact = np.where(self.open[near], self.value[near], -np.inf)
        largest = float(exact.max(initial=-np.inf))
        if not largest > STOP:
            return None, 0.0
        return int(self.order[near[exact >= largest * (1 - ties.TOLERANCE)]].min()), largest

    def take(self, row: int) -> None:
        """Let a row repel, and the oldest of a full window no longer."""
        self.open[self.place[row]] = False
        self.steps += 1
        back = np.empty((0, self.basis.shape[1]))
        if self.window is not None and len(self.latest) == self.window:
            oldest = self.rows.exact(np.array([self.latest.pop(0)]))
            self.basis = _spanned(self.rows.exact(np.array(self.latest, dtype=np.int64)))
            back = _direction(oldest, self.basis)  # what it alone took away
        self.latest.append(row)
        new = _direction(self.rows.exact(np.array([row])), self.basis)
        self.basis = np.concatenate([self.basis, new])
        if self.window is not None and self.steps % RENEW == 0:
            self._renew(0)
        else:
            sign = np.repeat([1.0, -1.0], [len(back), len(new)])
            self.value[: self.reach] += _squared(self.single[: self.reach], np.concatenate([back, new]).T, sign)

    def _extend(self, reach: int) -> None:
        """Bring more rows within reach."""
        start, self.reach = self.reach, min(reach, len(self.order))
        for at in range(start, self.reach, BLOCK):
            stop = min(at + BLOCK, self.reach)
            self.single[at:stop] = self.rows.single(self.order[at:stop])
        self._renew(start)

    def _renew(self, start: int) -> None:
        rows = self.single[start : self.reach]
        self.value[start : self.reach] = np.einsum("ij,ij->i", rows, rows) - _squared(rows, self.basis.T)


def _squared(rows: Singles, directions: Floats, sign: Floats | None = None) -> Floats:
    """Sum over directions (d, m) of sign * (row . direction) ** 2 for every row, from float32 products."""
    out, single = np.empty(len(rows)), directions.astype(np.float32)
    signs = np.ones(directions.shape[1], np.float32) if sign is None else sign.astype(np.float32)
    for start in range(0, len(out), BLOCK):
        product = rows[start : start + BLOCK] @ single
        np.multiply(product, product, out=product)
        out[start : start + BLOCK] = product @ signs
    return out


def _orthogonal(rows: Floats, basis: Floats) -> Floats:
    """What is left of rows outside orthonormal directions (m, d); twice is enough."""
    for _ in range(2):
        rows = rows - (rows @ basis.T) @ basis
    return rows


def _direction(row: Floats, basis: Floats) -> Floats:
    """The direction that a row (1, d) adds to a basis, shape (1, d), or (0, d) where it adds none."""
    rest = _orthogonal(row, basis)
    length = float(np.linalg.norm(rest))
    return np.asarray(rest / length) if length**2 > STOP else rest[:0]


def _spanned(rows: Floats) -> Floats:
    """Orthonormal directions (m, d) of the span of rows."""
    directions, triangle = np.linalg.qr(rows.T)
    if (np.diagonal(triangle) ** 2 > STOP).all():
        return np.asarray(directions.T)
    kept = np.empty((0, rows.shape[1]))
    for row in rows:
        kept = np.concatenate([kept, _direction(row[None], kept)])
    return kept
