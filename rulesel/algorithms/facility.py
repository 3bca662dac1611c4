"""Facility location: choose rows so that every row has a similar one among the chosen; and its mixture with quality.

f(A) = sum over represented rows v of max(baseline, max over a in A of s(v, a)); with the baseline 0, negative
similarities count as 0. Monotone submodular, so greedy reaches 1 - 1/e of the optimum (G. Nemhauser et al., 1978).

QDIT (A. Bukharin and T. Zhao, arXiv 2311.14736) takes at each step the row of highest
(1 - alpha) * gain + alpha * quality. In that raw sum the gain starts near n times the mean similarity and falls below 1
while the quality stays, so alpha means something else for every n; the normalised scale puts both on [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rulesel.algorithms.given import Given, Progress
from rulesel.algorithms.greedy import FloatArray, IntArray, Objective, Picks, Probe, batched_lazy_greedy
from rulesel.algorithms.kernels import Kernel
from rulesel.algorithms.neighbors import KnnGraph

Scale = Literal["raw", "normalised"]

CELLS = 1 << 17
"""Similarities in a block of gains: it stays in the cache of one core."""
LANES = 256
"""Similarities summed in their own precision; these sums are added in float64."""
DENSE_BATCH = 16
GRAPH_BATCH = 256
"""Rows evaluated together."""
FETCH = 1 << 20
"""Similarities fetched from a kernel at a time."""


def facility_location(
    source: Kernel | KnnGraph,
    k: int,
    *,
    given: Given = (),
    baseline: float = 0.0,
    progress: Progress | None = None,
) -> Picks:
    """Greedy facility location, exact for its source.

    Args:
        source: a kernel (dense or on the fly), or a graph of nearest neighbours, where a row is covered only by its
            neighbours: less than 1 % of the value is lost from 16 neighbours on.
        k: rows to pick; fewer are returned only when fewer are left.
        given: rows already chosen.
        baseline: similarity that every row starts with. Above 0 (the median similarity, say) it tells rows apart where
            all cosines are large.
        progress: told (picked, k) now and then.

    Returns:
        Picks, best first, with what each added to f.

    Raises:
        ValueError: the kernel has NaN or infinity, or k or given do not fit.
    """
    return batched_lazy_greedy(
        coverage(source, baseline=baseline), k, given=given, batch=_batch(source), progress=progress
    )


def qdit(
    source: Kernel | KnnGraph,
    quality: NDArray[Any],
    k: int,
    *,
    alpha: float,
    scale: Scale = "normalised",
    given: Given = (),
    baseline: float = 0.0,
    progress: Progress | None = None,
) -> Picks:
    """Greedy on (1 - alpha) * facility location + alpha * quality.

    Args:
        source: a kernel or a graph of nearest neighbours.
        quality: (n,), finite, higher is better.
        k: rows to pick.
        alpha: weight of quality in [0, 1]; 0 is facility location, 1 is top k.
        scale: "raw" adds the two as they are, as published; "normalised" maximises
            (1 - alpha) f(A) / f(all) + alpha * mean over A of the quality's percentile, so that picks depend on k.
        given: rows already chosen.
        baseline: as in `facility_location`.
        progress: told (picked, k) now and then.

    Returns:
        Picks, best first, with the score of each step.

    Raises:
        ValueError: quality has the wrong length, NaN or infinity, alpha is outside [0, 1], or as `facility_location`.
    """
    values = np.asarray(quality, dtype=np.float64)
    if values.shape != (_size(source),) or not np.isfinite(values).all():
        raise ValueError(f"quality must be {_size(source)} finite numbers, got shape {values.shape}.")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie in [0, 1], got {alpha}.")
    if scale == "raw":
        weight, bonus = 1 - alpha, alpha * values
    else:
        weight = (1 - alpha) / max(ceiling(source, baseline=baseline), np.finfo(np.float64).tiny)
        bonus = alpha * percentile(values) / max(k, 1)
    objective = coverage(source, baseline=baseline, weight=weight, bonus=bonus)
    return _pick(source, objective, k, bonus, given, progress)


def coverage(
    source: Kernel | KnnGraph, *, baseline: float = 0.0, weight: float = 1.0, bonus: FloatArray | None = None
) -> Objective:
    """The objective weight * f(A) + sum of bonus over A, for any of the greedy algorithms."""
    mixture = Mixture(weight, np.zeros(_size(source)) if bonus is None else bonus)
    if isinstance(source, KnnGraph):
        return _Sparse(source, baseline, mixture)
    return _Dense(source, baseline, mixture)


def facility_value(kernel: Kernel, subset: Sequence[int] | IntArray, *, baseline: float = 0.0) -> float:
    """F of a set of rows, exact; between baseline * represented rows and the number of rows for a cosine kernel."""
    rows = np.unique(np.asarray(subset, dtype=np.int64))
    best = np.full(kernel.represented, baseline, dtype=np.float64)
    for part in _parts(rows, kernel.represented):
        for row in kernel.rows(part, slice(None)):
            np.maximum(best, row, out=best)
    return float(best.sum())


def ceiling(source: Kernel | KnnGraph, *, baseline: float = 0.0) -> float:
    """What all rows together add to the empty set: f(all) - f(empty)."""
    if isinstance(source, KnnGraph):
        return float(np.maximum(source.similarity[source.indptr[:-1]] - baseline, 0).sum())
    if source.ceiling is not None:
        return source.ceiling - baseline * source.represented
    everything = np.arange(source.candidates, dtype=np.int64)
    return facility_value(source, everything, baseline=baseline) - baseline * source.represented


def percentile(values: FloatArray) -> FloatArray:
    """Mean rank of each value among all, from 0 (lowest) to 1 (highest); .5 where all are equal."""
    distinct, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2
    return middle[place] / (len(values) - 1) if len(distinct) > 1 else np.full(len(values), 0.5)


@dataclass(frozen=True, slots=True)
class Mixture:
    """Score of a row: weight * gain + bonus[row]."""

    weight: float
    bonus: FloatArray

    def score(self, candidates: IntArray, gains: FloatArray) -> FloatArray:
        """Scores of candidates with these gains."""
        return self.weight * gains + self.bonus[candidates]


class _Dense:
    """Facility location over a kernel; the similarity to the nearest chosen row is kept per represented row.

    A gain is kept in pieces, one for each stretch of represented rows. Each stale piece is an upper bound, so a
    candidate is given up as soon as its fresh and stale pieces add up to less than the floor.
    """

    def __init__(self, kernel: Kernel, baseline: float, mixture: Mixture) -> None:
        self._kernel = kernel
        self._mixture = mixture
        self._covered = np.full(kernel.represented, baseline, dtype=kernel.dtype)
        self._edges = _edges(kernel.represented)
        self._pieces = np.full((kernel.candidates, len(self._edges)), np.inf)
        self._scratch = np.empty(max(CELLS, kernel.represented + LANES), dtype=kernel.dtype)

    @property
    def n(self) -> int:
        return self._kernel.candidates

    def probe(self, candidates: IntArray) -> Probe:
        def gains(floor: float) -> FloatArray:
            if floor == -np.inf or len(candidates) * self._kernel.represented <= FETCH:
                self._refresh(candidates, 0, len(self._edges))
                return self._scores(candidates)
            rows = candidates
            for piece in range(len(self._edges)):
                self._refresh(rows, piece, piece + 1)
                rows = rows[self._scores(rows) >= floor]
                if not len(rows):
                    break
            return self._scores(candidates)

        return gains

    def _refresh(self, candidates: IntArray, first: int, last: int) -> None:
        """Compute pieces first..last - 1 of some candidates anew."""
        edges = self._edges[first:last]
        stretch = slice(edges[0], self._edges[last] if last < len(self._edges) else self._kernel.represented)
        for part in _parts(candidates, stretch.stop - stretch.start):
            rows = self._kernel.rows(part, stretch)
            self._pieces[part, first:last] = _gains(rows, self._covered[stretch], edges - edges[0], self._scratch)

    def accept(self, candidate: int) -> None:
        row = self._kernel.rows(np.array([candidate]), slice(None))[0]
        np.maximum(self._covered, row, out=self._covered)

    def _scores(self, candidates: IntArray) -> FloatArray:
        return self._mixture.score(candidates, self._pieces[candidates].sum(axis=1))


class _Sparse:
    """Facility location over a graph: a candidate covers the rows that have it among their neighbours."""

    def __init__(self, graph: KnnGraph, baseline: float, mixture: Mixture) -> None:
        order = np.argsort(graph.indices, kind="stable")
        self._covers = np.repeat(np.arange(graph.n, dtype=np.int32), np.diff(graph.indptr))[order]
        self._similarity = graph.similarity[order]
        self._bounds = np.zeros(graph.n + 1, dtype=np.int64)
        np.cumsum(np.bincount(graph.indices, minlength=graph.n), out=self._bounds[1:])
        self._covered = np.full(graph.n, baseline, dtype=np.float32)
        self._mixture = mixture

    @property
    def n(self) -> int:
        return len(self._covered)

    def probe(self, candidates: IntArray) -> Probe:
        counts = self._bounds[candidates + 1] - self._bounds[candidates]
        owner = np.repeat(np.arange(len(candidates)), counts)
        edges = np.arange(len(owner)) + np.repeat(self._bounds[candidates] - (np.cumsum(counts) - counts), counts)
        covers, similarity = self._covers[edges], self._similarity[edges]

        def gains(floor: float) -> FloatArray:  # noqa: ARG001 - all are exact
            added = np.maximum(similarity - self._covered[covers], 0)
            return self._mixture.score(candidates, np.bincount(owner, weights=added, minlength=len(candidates)))

        return gains

    def accept(self, candidate: int) -> None:
        edges = slice(self._bounds[candidate], self._bounds[candidate + 1])
        covers = self._covers[edges]
        self._covered[covers] = np.maximum(self._covered[covers], self._similarity[edges])


def _gains(rows: Sequence[NDArray[Any]], covered: NDArray[Any], edges: IntArray, scratch: NDArray[Any]) -> FloatArray:
    """Sum of max(0, similarity - covered) of each row over the stretches that start at the edges: (rows, stretches)."""
    columns = len(covered)
    lanes = -(-columns // LANES)
    held = scratch[: len(scratch) // (lanes * LANES) * lanes * LANES].reshape(-1, lanes * LANES)
    held[:, columns:] = 0
    gains = np.empty((len(rows), len(edges)))
    for start in range(0, len(rows), len(held)):
        part = rows[start : start + len(held)]
        added = held[: len(part), :columns]
        for row, place in zip(part, added, strict=True):
            np.maximum(row, covered, out=place)
        np.subtract(added, covered, out=added)
        sums = np.einsum("ijk->ij", held[: len(part)].reshape(len(part), lanes, LANES))
        gains[start : start + len(part)] = np.add.reduceat(sums, edges // LANES, axis=1, dtype=np.float64)
    return gains


def _edges(represented: int) -> IntArray:
    """Where the stretches of represented rows start: an eighth, an eighth, a quarter and the rest, in whole lanes."""
    return np.unique([represented * share // (8 * LANES) * LANES for share in (0, 1, 2, 4)]).astype(np.int64)


def _parts(rows: IntArray, represented: int) -> list[IntArray]:
    """Rows in pieces that are fetched from the kernel at a time."""
    step = max(1, FETCH // max(represented, 1))
    return [rows[start : start + step] for start in range(0, len(rows), step)]


def _pick(
    source: Kernel | KnnGraph,
    objective: Objective,
    k: int,
    bonus: FloatArray,
    given: Given,
    progress: Progress | None,
) -> Picks:
    """Greedy; of copies with the same bonus the lowest rows are named, however their products were rounded."""
    batch = GRAPH_BATCH if isinstance(source, KnnGraph) else DENSE_BATCH
    picks = batched_lazy_greedy(objective, k, given=given, batch=batch, progress=progress)
    if source.copies is None:
        return picks
    alike = np.lexsort((np.arange(len(bonus)), bonus, source.copies))
    alike = alike[~np.isin(alike, np.asarray(given, dtype=np.int64))]
    new = np.ones(len(alike), dtype=bool)
    new[1:] = (np.diff(source.copies[alike]) != 0) | (np.diff(bonus[alike]) != 0)
    group = np.empty(len(bonus), dtype=np.int64)
    group[alike] = np.cumsum(new) - 1
    turn = np.argsort(group[picks.indices], kind="stable")
    picked = group[picks.indices][turn]
    place = np.arange(len(picked)) - np.searchsorted(picked, picked)
    named = np.empty(len(picked), dtype=np.int64)
    named[turn] = alike[np.flatnonzero(new)[picked] + place]
    return Picks(named, picks.gains)


def _size(source: Kernel | KnnGraph) -> int:
    return source.n if isinstance(source, KnnGraph) else source.candidates
