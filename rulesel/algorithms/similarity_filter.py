"""Score first, then similarity: walk down the scores and keep what is not too similar to anything kept.

Liu et al. 2024, "What Makes Good Data for Alignment?" (DEITA, arXiv 2312.15685), section 2.4. What is kept is a maximal
independent set of the graph of pairs above the threshold: every row passed over has a kept row of higher score that is
too similar to it. Rows are compared in blocks; the result is that of the row-by-row loop, since within a block only
accepted rows count. Most pairs are told apart by their leading coordinates, as what is left of two rows adds at most the
product of its lengths to their cosine. Cosines that float32 cannot tell from the threshold are taken in float64.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from rulesel.algorithms.given import Given, Progress, checked_given, checked_k
from rulesel.algorithms.neighbors import Zero, check_rows, unit_rows

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

BLOCK = 256

LEADING = 0.4
"""Share of the coordinates, the leading ones, that is looked at first."""

CELLS = 2**23
"""Similarities held at once, 32 MiB of float32."""

LEAST = 1e-12
"""Squares of lengths up to this may have been added from numbers that float32 holds few digits of."""

SLACK = 4e-6
"""More than a float32 cosine is ever off."""

ROUNDING = 1e-12
"""A cosine must exceed the threshold by more than this: equality is not excess."""


class Filtered(NamedTuple):
    """Rows kept; unpacks as (indices, score, scanned)."""

    indices: Ints
    """In the order kept, highest score first, shape (k,)."""
    score: Floats
    """Of each, falling; shape (k,)."""
    scanned: int
    """Rows looked at until k were kept; the others of them were too similar."""


def score_first(
    X: npt.NDArray[np.floating],
    score: npt.NDArray[np.floating],
    k: int,
    *,
    threshold: float = 0.9,
    given: Given = (),
    mode: Literal["corrected", "published"] = "corrected",
    batch: int = 1,
    zero: Zero = "error",
    progress: Progress | None = None,
) -> Filtered:
    """Keep the highest scores whose cosine to every row kept so far is at most the threshold.

    Args:
        X: rows, shape (n, d), finite; read only.
        score: of each row (n,), finite; higher is better, the lower index first among equals.
        k: rows to keep; fewer when the rows run out.
        threshold: cosine above which a row is too similar; the authors' .9 is a similarity, whatever they call it.
        given: rows already chosen: nothing too similar to them is kept, and they are not kept again.
        mode: "published" passes over a row also when it is too similar to an earlier row of its batch that was itself
            passed over, as the authors' code does when their batch is larger than 1; at 1 the modes are the same.
        batch: rows in a batch of the authors' code, after the first row; for "published" only.
        zero: what to do with a row of zeros; "isolate" makes it similar to nothing, so that it is kept.
        progress: told (kept, k) now and then.

    Raises:
        ValueError: NaN or infinity, a zero row, or arguments out of range.
    """
    length = _lengths(X, zero)
    worth: Floats = np.asarray(score, dtype=np.float64)
    if worth.shape != (len(X),) or not np.isfinite(worth).all():
        raise ValueError(f"score must be {len(X)} finite numbers; leave rows without one out.")
    if not np.isfinite(threshold) or batch < 1:
        raise ValueError(f"threshold must be finite and batch at least 1, got {threshold} and {batch}.")
    already = checked_given(given, len(X))
    k = checked_k(k, len(X), already)
    order = _highest(worth, 2 * k, already)
    keep = _Kept(X, length, already, k, threshold, zero)
    at = 0
    together = mode == "published" and batch > 1
    left = len(X) - len(already)
    while keep.count < len(already) + k and at < left:
        size = (batch if at else 1) if together else BLOCK
        if at + size > len(order) and len(order) < left:
            order = _highest(worth, len(X), already)
        keep.offer(order[at : at + size], together=together)
        at += size
        if progress is not None:
            progress(min(keep.count - len(already), k), k)
    indices = keep.rows[len(already) : keep.count]
    scanned = int(np.flatnonzero(order == indices[-1])[0]) + 1 if len(indices) == k and k else min(at, len(order))
    return Filtered(indices, worth[indices], scanned)


def _highest(worth: Floats, count: int, already: Ints) -> Ints:
    """The rows of highest score in falling order, `count` and those equal to the last; without those chosen already."""
    rows = np.arange(len(worth))
    if count < len(worth):
        rows = np.flatnonzero(worth >= np.partition(worth, -count)[-count])
    rows = rows[np.argsort(-worth[rows], kind="stable")]
    return rows[~np.isin(rows, already)]


def _lengths(X: npt.NDArray[np.floating], zero: Zero) -> Singles | None:
    """Check the rows in one pass; their lengths, where float32 has them, else None.

    Raises:
        ValueError: NaN or infinity, or a zero row under "error"; found by slower checks, which name it.
    """
    if X.ndim == 2 and X.dtype == np.float32:
        with np.errstate(all="ignore"):
            square = np.einsum("ij,ij->i", X, X)
        if np.isfinite(square).all() and square.min(initial=1) > LEAST:
            return np.asarray(np.sqrt(square)[:, None])
    check_rows(X)
    if zero == "error" and len(X) and not (some := X.any(axis=1)).all():
        unit_rows(X[: int(some.argmin()) + 1])  # raises, with the row's number
    return None


class _Kept:
    """The rows kept so far: unit rows, and their leading coordinates followed by the length of the others."""

    def __init__(
        self,
        X: npt.NDArray[np.floating],
        length: Singles | None,
        already: Ints,
        k: int,
        threshold: float,
        zero: Zero,
    ) -> None:
        self.X, self.length, self.threshold, self.zero = X, length, threshold, zero
        self.edge = threshold - SLACK
        self.room = len(already) + k
        self.width = int(LEADING * X.shape[1])
        self.short = self.width >= 16
        self.count = 0
        self.rows = np.empty(self.room, dtype=np.int64)
        self.unit = np.empty((self.room, X.shape[1]), dtype=np.float32)
        self.front = np.empty((self.room, self.width + 1), dtype=np.float32)
        self._keep(already, unit := self._unit(already), self._front(unit))

    def offer(self, rows: Ints, *, together: bool) -> None:
        """Keep those of a block of rows that are not too similar."""
        unit = self._unit(rows)
        front = self._front(unit)
        ok = self._clear(rows, unit, front)
        if not together and not ok.all():  # rows that lost to an earlier block do not matter to this one
            rows, unit, front, ok = rows[ok], unit[ok], front[ok], ok[ok]
        hit = self._similar(rows, unit, front)
        for later in np.flatnonzero(hit.any(axis=1)).tolist():
            others = hit[later, :later]
            ok[later] = ok[later] and not (others if together else others & ok[:later]).any()
        if not ok.all():
            rows, unit, front = rows[ok], unit[ok], front[ok]
        room = self.room - self.count
        self._keep(rows[:room], unit[:room], front[:room])

    def _keep(self, rows: Ints, unit: Singles, front: Singles) -> None:
        stop = self.count + len(rows)
        self.rows[self.count : stop], self.unit[self.count : stop] = rows, unit
        self.front[self.count : stop] = front
        self.count = stop

    def _unit(self, rows: Ints) -> Singles:
        if self.length is None:
            return unit_rows(self.X[rows], zero=self.zero)
        return np.asarray(self.X[rows] / self.length[rows])

    def _front(self, unit: Singles) -> Singles:
        rest = unit[:, self.width :]
        front = np.empty((len(unit), self.width + 1), dtype=np.float32)
        front[:, : self.width] = unit[:, : self.width]
        np.sqrt(np.einsum("ij,ij->i", rest, rest), out=front[:, self.width])
        return front

    def _clear(self, rows: Ints, unit: Singles, front: Singles) -> Flags:
        """Which rows are not too similar to anything kept."""
        ok = np.ones(len(rows), dtype=bool)
        for start in range(0, self.count, step := CELLS // BLOCK):
            kept = slice(start, min(start + step, self.count))
            some = np.flatnonzero(ok)
            if self.short:
                some = some[(front[some] @ self.front[kept].T).max(axis=1, initial=-1) >= self.edge]
                self.short = 2 * len(some) <= len(rows)  # else the leading coordinates tell too little
            product = unit[some] @ self.unit[kept].T
            most = product.max(axis=1, initial=-1)
            for at in np.flatnonzero(most >= self.edge).tolist():
                ok[some[at]] = most[at] <= self.threshold + SLACK and not self._exactly(
                    rows[some[at]], self.rows[kept][product[at] >= self.edge]
                )
        return ok

    def _similar(self, rows: Ints, unit: Singles, front: Singles) -> Flags:
        """Which pairs (later, earlier) of a block are too similar."""
        hit = np.zeros((len(rows), len(rows)), dtype=bool)
        place = np.arange(len(rows))
        maybe = (front @ front.T >= self.edge) & (place[:, None] > place) if self.short else ~hit
        some = np.flatnonzero(maybe.any(axis=0) | maybe.any(axis=1))
        product = unit[some] @ unit[some].T
        for later, earlier in np.argwhere(np.tril(product >= self.edge, -1)).tolist():
            hit[some[later], some[earlier]] = product[later, earlier] > self.threshold + SLACK or self._exactly(
                rows[some[later]], rows[some[earlier : earlier + 1]]
            )
        return hit

    def _exactly(self, row: np.int64, others: Ints) -> bool:
        """Whether a row is too similar to any of the others, in float64."""
        one, many = self.X[row].astype(np.float64), self.X[others].astype(np.float64)
        length = np.sqrt((one @ one) * np.einsum("ij,ij->i", many, many))
        cosine = np.minimum(many @ one / np.where(length == 0, 1, length), 1)
        return bool((cosine > self.threshold + ROUNDING).any())
