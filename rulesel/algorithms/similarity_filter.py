"""Score first, then similarity: walk down the scores and keep what is not too similar to anything kept.

Liu et al. 2024, "What Makes Good Data for Alignment?" (DEITA, arXiv 2312.15685), section 2.4. What is kept is a maximal
independent set of the graph of pairs above the threshold: every row passed over has a kept row of higher score that is
too similar to it. Rows are compared in blocks; the result is that of the row-by-row loop, since within a block only
accepted rows count. Cosines that float32 cannot tell from the threshold are taken again in float64.
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
CELLS = 2**23
"""Similarities held at once, 32 MiB of float32."""

SLACK = 4e-6
"""More than a float32 cosine is ever off."""

ROUNDING = 1e-12
"""A cosine must exceed the threshold by more than this: equality is not excess."""


class Filtered(NamedTuple):
    """Rows kept; unpacks as (indices, similarity, scanned)."""

    indices: Ints
    """In the order kept, highest score first, shape (k,)."""
    similarity: Floats
    """Largest cosine of each to the rows kept before it, to six digits; -1 where there were none. Shape (k,)."""
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
    _check(X, zero)
    score = np.asarray(score, dtype=np.float64)
    if score.shape != (len(X),) or not np.isfinite(score).all():
        raise ValueError(f"score must be {len(X)} finite numbers; leave rows without one out.")
    if not np.isfinite(threshold) or batch < 1:
        raise ValueError(f"threshold must be finite and batch at least 1, got {threshold} and {batch}.")
    already = checked_given(given, len(X))
    k = checked_k(k, len(X), already)
    order = np.argsort(-score, kind="stable")
    order = order[~np.isin(order, already)]
    keep = _Kept(X, already, k, threshold, zero)
    similarity, at = [np.empty(0, dtype=np.float32)], 0
    together = mode == "published" and batch > 1
    while keep.count < len(already) + k and at < len(order):
        size = (batch if at else 1) if together else BLOCK
        similarity.append(keep.offer(order[at : at + size], together=together))
        at += size
        if progress is not None:
            progress(min(keep.count - len(already), k), k)
    indices = keep.rows[len(already) : keep.count]
    scanned = int(np.flatnonzero(order == indices[-1])[0]) + 1 if len(indices) == k and k else min(at, len(order))
    return Filtered(indices, np.concatenate(similarity).astype(np.float64), scanned)


def _check(X: npt.NDArray[np.floating], zero: Zero) -> None:
    """One pass over rows that are all well; the slow checks name the one that is not."""
    if X.ndim == 2 and X.dtype == np.float32:
        with np.errstate(all="ignore"):
            square = np.einsum("ij,ij->i", X, X)
        if np.isfinite(square).all() and square.all():
            return
    check_rows(X)
    if zero == "error" and len(X) and not (some := X.any(axis=1)).all():
        unit_rows(X[: int(some.argmin()) + 1])  # raises, with the row's number


class _Kept:
    """The rows kept so far, as unit rows."""

    def __init__(self, X: npt.NDArray[np.floating], already: Ints, k: int, threshold: float, zero: Zero) -> None:
        self.X, self.threshold, self.zero = X, threshold, zero
        self.room = len(already) + k
        self.count = len(already)
        self.rows = np.empty(self.room, dtype=np.int64)
        self.rows[: self.count] = already
        self.unit = np.empty((self.room, X.shape[1]), dtype=np.float32)
        self.unit[: self.count] = unit_rows(X[already], zero=zero)

    def offer(self, rows: Ints, *, together: bool) -> Singles:
        """Keep those of a block of rows that are not too similar; the similarities of those kept."""
        unit = unit_rows(self.X[rows], zero=self.zero)
        top, ok = self._against_kept(rows, unit)
        if not together:  # rows that lost to an earlier block do not matter to this one
            rows, unit, top, ok = rows[ok], unit[ok], top[ok], ok[ok]
        product = unit @ unit.T
        hit = self._exceeds(product, rows)
        for later in np.flatnonzero(hit.any(axis=1)).tolist():
            others = hit[later, :later]
            ok[later] = ok[later] and not (others if together else others & ok[:later]).any()
        chosen = np.flatnonzero(ok)[: self.room - self.count]
        product = np.where(np.tri(len(chosen), k=-1, dtype=bool), product[np.ix_(chosen, chosen)], -1)
        stop = self.count + len(chosen)
        self.rows[self.count : stop], self.unit[self.count : stop] = rows[chosen], unit[chosen]
        self.count = stop
        nearest: Singles = np.maximum(top[chosen], product.max(axis=1, initial=-1))
        return np.minimum(nearest, 1)

    def _against_kept(self, rows: Ints, unit: Singles) -> tuple[Singles, Flags]:
        """Largest cosine of each row to what is kept, and whether none is above the threshold."""
        top = np.full(len(rows), -1, dtype=np.float32)
        ok = np.ones(len(rows), dtype=bool)
        for start in range(0, self.count, step := CELLS // BLOCK):
            stop = min(start + step, self.count)
            product = unit @ self.unit[start:stop].T
            here = product.max(axis=1)
            np.maximum(top, here, out=top)
            for row in np.flatnonzero(ok & (here >= self.threshold - SLACK)).tolist():
                ok[row] = here[row] <= self.threshold + SLACK and not self._exactly(
                    rows[row], self.rows[start:stop][product[row] >= self.threshold - SLACK]
                )
        return top, ok

    def _exceeds(self, product: Singles, rows: Ints) -> Flags:
        """Which pairs (later, earlier) of a block are too similar."""
        hit: Flags = np.tril(product > self.threshold + SLACK, -1)
        for later, earlier in np.argwhere(np.tril(np.abs(product - self.threshold) <= SLACK, -1)).tolist():
            hit[later, earlier] = self._exactly(rows[later], rows[earlier : earlier + 1])
        return hit

    def _exactly(self, row: np.int64, others: Ints) -> bool:
        """Whether a row is too similar to any of the others, in float64."""
        one, many = self.X[row].astype(np.float64), self.X[others].astype(np.float64)
        length = np.sqrt((one @ one) * np.einsum("ij,ij->i", many, many))
        cosine = np.minimum(many @ one / np.where(length == 0, 1, length), 1)
        return bool((cosine > self.threshold + ROUNDING).any())
