"""Coverage of rows by chosen rows, the objective of facility location, on a kernel or on a graph of neighbours.

f(A) = sum over represented rows v of max(baseline, max over a in A of s(v, a)); with the baseline 0, negative
similarities count as 0. Monotone and submodular (G. Nemhauser et al., 1978).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rulesel.algorithms.greedy import FloatArray, IntArray, Objective, Probe
from rulesel.algorithms.kernels import Kernel
from rulesel.algorithms.neighbors import KnnGraph

CELLS = 1 << 17
"""Similarities in a block of gains: it stays in the cache of one core."""
LANES = 256
"""Similarities summed in their own precision; these sums are added in float64."""
FETCH = 1 << 20
"""Similarities fetched from a kernel at a time."""


def coverage(
    source: Kernel | KnnGraph, *, baseline: float = 0.0, weight: float = 1.0, bonus: FloatArray | None = None
) -> Objective:
    """The objective weight * f(A) + sum of bonus over A, for any of the greedy algorithms."""
    mixture = Mixture(weight, np.zeros(candidates_of(source)) if bonus is None else bonus)
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


def candidates_of(source: Kernel | KnnGraph) -> int:
    """Number of rows that can be picked."""
    return source.n if isinstance(source, KnnGraph) else source.candidates


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
            return self._mixture.score(candidates, np.bincount(owner, added, len(candidates)).astype(np.float64))

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
