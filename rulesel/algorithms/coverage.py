"""Coverage of rows by chosen rows, the objective of facility location, on a kernel or on a graph of neighbours.

f(A) = sum over represented rows v of max(baseline, max over a in A of s(v, a)); with the baseline 0, negative
similarities count as 0. Monotone and submodular (G. Nemhauser et al., 1978).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rulesel.algorithms.compiled import compiled
from rulesel.algorithms.greedy import FloatArray, IntArray, Objective, Probe
from rulesel.algorithms.kernels import Kernel
from rulesel.algorithms.neighbors import KnnGraph

FETCH = 1 << 22
"""Similarities computed at a time."""
SHARED = 1 << 20
"""Similarities from which on threads share the work."""
THREADS = min(8, os.cpu_count() or 1)
FEW = 4
"""A candidate useful to fewer than one row in so many is remembered by these rows."""
GLANCE = 512
"""Represented rows looked at to estimate that share."""


def coverage(
    source: Kernel | KnnGraph, *, baseline: float = 0.0, weight: float = 1.0, bonus: FloatArray | None = None
) -> Objective:
    """The objective weight * f(A) + sum of bonus over A, for any of the greedy algorithms."""
    mixture = Mixture(weight, np.zeros(candidates_of(source)) if bonus is None else bonus)
    if isinstance(source, KnnGraph):
        return _Sparse(source, baseline, mixture)
    if source.matrix is not None:
        return _Held(source.matrix, baseline, mixture)
    return _Computed(source, baseline, mixture)


def facility_value(kernel: Kernel, subset: Sequence[int] | IntArray, *, baseline: float = 0.0) -> float:
    """F of a set of rows, exact; between baseline * represented rows and the number of rows for a cosine kernel."""
    rows = np.unique(np.asarray(subset, dtype=np.int64))
    best = np.full(kernel.represented, baseline, dtype=np.float64)
    for part in _parts(rows, kernel.represented, FETCH):
        np.maximum(best, kernel.rows(part).max(axis=0), out=best)
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


class _Held:
    """Facility location over a kernel in memory; the similarity to the nearest chosen row is kept per covered row."""

    def __init__(self, matrix: NDArray[Any], baseline: float, mixture: Mixture) -> None:
        self._matrix = matrix
        self._mixture = mixture
        self._covered = np.full(matrix.shape[1], baseline, dtype=matrix.dtype)
        self._threads = ThreadPoolExecutor(THREADS)

    @property
    def n(self) -> int:
        return len(self._matrix)

    def probe(self, candidates: IntArray) -> Probe:
        return lambda: self._mixture.score(candidates, self._gains(candidates))

    def accept(self, candidate: int) -> None:
        np.maximum(self._covered, self._matrix[candidate], out=self._covered)

    def _gains(self, candidates: IntArray) -> FloatArray:
        """Gains; many candidates are shared out among threads, which changes no bit of them."""
        gains = np.empty(len(candidates))
        if len(candidates) * len(self._covered) < SHARED:
            _added(self._matrix, candidates, self._covered, gains)
        else:
            parts = np.array_split(candidates, THREADS), np.array_split(gains, THREADS)
            list(self._threads.map(lambda rows, out: _added(self._matrix, rows, self._covered, out), *parts))
        return gains


class _Computed:
    """Facility location over a kernel that has to be computed.

    A candidate adds something only where it is more similar than what is chosen, and these places only become fewer.
    Once they are few, they and the similarities there are kept, and the candidate's row is not computed again.
    """

    def __init__(self, kernel: Kernel, baseline: float, mixture: Mixture) -> None:
        self._kernel = kernel
        self._mixture = mixture
        self._covered = np.full(kernel.represented, baseline, dtype=kernel.dtype)
        self._few = np.zeros(kernel.candidates, dtype=bool)
        self._places = [np.empty(0, dtype=np.int32)] * kernel.candidates
        self._similar = [np.empty(0, dtype=kernel.dtype)] * kernel.candidates

    @property
    def n(self) -> int:
        return self._kernel.candidates

    def probe(self, candidates: IntArray) -> Probe:
        def gains() -> FloatArray:
            found = np.empty(len(candidates))
            few = self._few[candidates]
            for part in _parts(np.flatnonzero(~few), self._kernel.represented, FETCH):
                found[part] = self._compute(candidates[part])
            for part in _parts(np.flatnonzero(few), self._kernel.represented // FEW, FETCH):
                found[part] = self._remember(candidates[part].tolist())
            return self._mixture.score(candidates, found)

        return gains

    def accept(self, candidate: int) -> None:
        if self._few[candidate]:
            places = self._places[candidate]
            self._covered[places] = np.maximum(self._covered[places], self._similar[candidate])
        else:
            np.maximum(self._covered, self._kernel.rows(np.array([candidate]))[0], out=self._covered)

    def _compute(self, candidates: IntArray) -> FloatArray:
        """Gains from computed rows; of rows with few useful places, these are kept."""
        rows = self._kernel.rows(candidates)
        stretch = slice(0, None, max(1, self._kernel.represented // GLANCE))
        glance = rows[:, stretch] > self._covered[stretch]
        for index in np.flatnonzero(glance.mean(axis=1) * FEW <= 1).tolist():
            places = np.flatnonzero(rows[index] > self._covered)
            self._places[candidates[index]] = places.astype(np.int32)
            self._similar[candidates[index]] = rows[index][places]
            self._few[candidates[index]] = True
        gains = np.empty(len(rows))
        _added(rows, np.arange(len(rows)), self._covered, gains)
        return gains

    def _remember(self, candidates: list[int]) -> FloatArray:
        """Gains from the places kept, which are brought up to date."""
        kept = [self._places[candidate] for candidate in candidates]
        places, similar = np.concatenate(kept), np.concatenate([self._similar[candidate] for candidate in candidates])
        added = similar - self._covered[places]
        useful = np.flatnonzero(added > 0)
        places, similar, added = places[useful], similar[useful], added[useful]
        ends = np.searchsorted(useful, np.cumsum([0, *map(len, kept)])).tolist()
        for candidate, start, end in zip(candidates, ends[:-1], ends[1:], strict=True):
            self._places[candidate], self._similar[candidate] = places[start:end].copy(), similar[start:end].copy()
        owner = np.repeat(np.arange(len(candidates)), np.diff(ends))
        return np.bincount(owner, added, len(candidates)).astype(np.float64, copy=False)


class _Sparse:
    """Facility location over a graph: a candidate covers the rows that have it among their neighbours."""

    def __init__(self, graph: KnnGraph, baseline: float, mixture: Mixture) -> None:
        from scipy.sparse import csr_array

        by_row = csr_array((graph.similarity, graph.indices, graph.indptr), shape=(graph.n, graph.n))
        by_candidate = by_row.tocsc()
        self._covers, self._similarity = by_candidate.indices.astype(np.uint32), by_candidate.data
        self._bounds = by_candidate.indptr.astype(np.int64)
        self._covered = np.full(graph.n, baseline, dtype=np.float32)
        self._mixture = mixture

    @property
    def n(self) -> int:
        return len(self._covered)

    def probe(self, candidates: IntArray) -> Probe:
        return lambda: self._mixture.score(candidates, self._gains(candidates))

    def accept(self, candidate: int) -> None:
        edges = slice(self._bounds[candidate], self._bounds[candidate + 1])
        covers = self._covers[edges]
        self._covered[covers] = np.maximum(self._covered[covers], self._similarity[edges])

    def _gains(self, candidates: IntArray) -> FloatArray:
        gains = np.empty(len(candidates))
        _added_along(self._bounds, self._covers, self._similarity, candidates, self._covered, gains)
        return gains


@compiled
def _added(matrix: NDArray[Any], rows: IntArray, covered: NDArray[Any], gains: FloatArray) -> None:
    """Sum over columns of max(0, similarity - covered) for some rows of a matrix, added in float64."""
    for i in range(len(rows)):
        row = matrix[rows[i]]
        total = 0.0
        for column in range(len(covered)):
            total += max(row[column] - covered[column], 0)
        gains[i] = total


@compiled
def _added_along(
    bounds: IntArray,
    covers: NDArray[np.uint32],
    similarity: NDArray[Any],
    candidates: IntArray,
    covered: NDArray[Any],
    gains: FloatArray,
) -> None:
    """The same along the edges of candidates: those of c are at bounds[c] : bounds[c + 1]."""
    for i in range(len(candidates)):
        total = 0.0
        for edge in range(np.uint64(bounds[candidates[i]]), np.uint64(bounds[candidates[i] + 1])):  # never from the end
            total += max(similarity[edge] - covered[covers[edge]], 0)
        gains[i] = total


def _parts(rows: IntArray, represented: int, cells: int) -> list[IntArray]:
    """Rows in pieces of about that many similarities."""
    step = max(1, cells // max(represented, 1))
    return [rows[start : start + step] for start in range(0, len(rows), step)]
