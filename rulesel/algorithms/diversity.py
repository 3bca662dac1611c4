"""Diversity of a set of rows in the space of their embeddings; higher is more diverse throughout.

Cosine, natural logarithm, and a row is not its own neighbour, unless a parameter says otherwise.

distsum            mean distance of two different rows
knn                mean distance of a row to its nearest others
facility_location  sum over a reference of the cosine to the nearest row of the set: how well the set stands for it
partition_entropy  entropy of the set over clusters of a reference
vendi              effective number of different rows: exp of the entropy of the spectrum (D. Friedman and A. Dieng,
                   "The Vendi Score", arXiv 2210.02410)
logdet             volume the rows span

Y. Yang et al., "Measuring Data Diversity for Instruction Tuning" (arXiv 2502.17184), compare them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rulesel.algorithms.greedy import FloatArray
from rulesel.algorithms.kmeans import kmeans, nearest_center
from rulesel.algorithms.neighbors import (
    BASE,
    QUERIES,
    Zero,
    check_rows,
    directions,
    highest_cosines,
    nearest,
    unit_rows,
)

Distance = Literal["cosine", "euclidean"]


def distsum(rows: NDArray[Any], *, distance: Distance = "cosine", zero: Zero = "error") -> float:
    """Mean distance over pairs of different rows: cosine in [0, 2] in O(n d), Euclidean in O(n^2 d); NaN for one row.

    Raises:
        ValueError: NaN, infinity, or a zero row under "error" (cosine).
    """
    check_rows(rows)
    n = len(rows)
    if n < 2:
        return math.nan
    pairs = n * (n - 1)
    if distance == "euclidean":
        return sum(float(block.sum()) for block in _distances(rows)) / pairs
    total, own = np.zeros(rows.shape[1]), 0.0
    for unit in _directions(rows, zero):
        total += unit.sum(axis=0)
        own += float(np.square(unit).sum())
    return 1.0 - (float(total @ total) - own) / pairs


def knn(rows: NDArray[Any], *, neighbors: int = 1, zero: Zero = "error") -> float:
    """Mean cosine distance of a row to its `neighbors` nearest others, in [0, 2]; NaN for one row.

    Raises:
        ValueError: neighbors is less than 1, NaN, infinity, or a zero row under "error".
    """
    if neighbors < 1:
        raise ValueError(f"neighbors must be at least 1, got {neighbors}.")
    unit = unit_rows(rows, zero=zero)
    n = len(unit)
    if n < 2:
        return math.nan
    total = 0.0
    for start in range(0, n, QUERIES):
        own = np.arange(start, min(start + QUERIES, n))
        where, _ = nearest(unit[own], unit, min(neighbors + 1, n), own=own)
        others = where[where != own[:, None]]
        near = directions(rows[others].astype(np.float64), zero="isolate", name="embeddings")
        here = directions(rows[own].astype(np.float64), zero="isolate", name="embeddings")
        cosines = np.einsum("ij,ikj->ik", here, near.reshape(len(own), -1, rows.shape[1]))
        total += float((1 - np.minimum(cosines, 1)).mean(axis=1).sum())
    return total / n


def facility_location(rows: NDArray[Any], reference: NDArray[Any], *, zero: Zero = "error") -> float:
    """Sum over the reference of the highest cosine to a row of the set, at most the size of the reference.

    Raises:
        ValueError: the set is empty, NaN, infinity, widths that differ, or a zero row under "error".
    """
    if len(rows) == 0:
        raise ValueError("The set is empty: it stands for nothing.")
    chosen = unit_rows(rows, zero=zero)
    return float(highest_cosines(unit_rows(reference, zero=zero, name="reference"), chosen).sum(dtype=np.float64))


def partition_entropy(
    rows: NDArray[Any],
    reference: NDArray[Any] | None = None,
    *,
    clusters: int = 100,
    repeats: int = 5,
    relative: bool = False,
    seed: int = 0,
    zero: Zero = "error",
) -> float:
    """Entropy of the set over k-means clusters of the reference, in nats from 0 to ln(clusters).

    Args:
        rows: the set, (n, d).
        reference: what is clustered; the set itself by default.
        clusters: wanted; fewer where the reference has fewer different rows.
        repeats: clusterings, from as many seeds, that the entropy is averaged over: one depends on its start.
        relative: divide by ln(clusters), so that the range is [0, 1].
        seed: of the first clustering.
        zero: what to do with a row of zeros.

    Raises:
        ValueError: the set is empty, clusters or repeats are less than 1, NaN, infinity, or a zero row under "error".
    """
    if len(rows) == 0 or clusters < 1 or repeats < 1:
        raise ValueError(f"Need rows, clusters and repeats of at least 1, got {len(rows)}, {clusters} and {repeats}.")
    chosen = unit_rows(rows, zero=zero)
    whole = chosen if reference is None else unit_rows(reference, zero=zero, name="reference")
    found = []
    for repeat in range(repeats):
        centers = kmeans(whole, clusters, seed=seed + repeat).centers
        value = entropy(np.bincount(nearest_center(chosen, centers)[0]))
        found.append(value / math.log(len(centers)) if relative and len(centers) > 1 else value)
    return math.fsum(found) / repeats


def entropy(counts: NDArray[Any]) -> float:
    """Entropy in nats of counts of at least 0, not all 0."""
    shares = counts[counts > 0] / counts.sum()
    return max(0.0, -float(shares @ np.log(shares)))


def vendi(rows: NDArray[Any], *, zero: Zero = "error") -> float:
    """Effective number of different rows, from 1 (copies) to n (all orthogonal); an isolated zero row counts as one.

    Raises:
        ValueError: the set is empty, NaN, infinity, or a zero row under "error".
    """
    spectrum = _spectrum(rows, zero) / len(rows)
    spectrum = spectrum[spectrum > 0]
    return math.exp(-float(spectrum @ np.log(spectrum)))


def logdet(rows: NDArray[Any], *, epsilon: float = 1e-6, zero: Zero = "error") -> float:
    """Log-volume of the rows; compare sets of one size only.

    With no more rows than dimensions ln det(K + epsilon I), K the matrix of cosines; at most n ln(1 + epsilon). With
    more, K is singular and that is little but (n - d) ln(epsilon): then ln det(I + X'X / (epsilon n)), at least 0.

    Raises:
        ValueError: epsilon is not above 0, the set is empty, NaN, infinity, or a zero row under "error".
    """
    if not epsilon > 0:
        raise ValueError(f"epsilon must be above 0, got {epsilon}.")
    n, d = rows.shape
    spectrum = _spectrum(rows, zero)
    if n <= d:
        return float(np.log(spectrum + epsilon).sum())
    return float(np.log1p(spectrum / (epsilon * n)).sum())


def _spectrum(rows: NDArray[Any], zero: Zero) -> FloatArray:
    """Eigenvalues of the matrix of cosines, but for further zeros; an isolated row has the cosine 1 to itself."""
    check_rows(rows)
    if len(rows) == 0:
        raise ValueError("The set is empty.")
    n, d = rows.shape
    if n <= d:
        unit = directions(rows.astype(np.float64), zero=zero, name="embeddings")
        gram = unit @ unit.T
        np.fill_diagonal(gram, 1)
        spectrum: FloatArray = np.maximum(np.linalg.eigvalsh(gram), 0)
        return spectrum
    moments, isolated = np.zeros((d, d)), 0
    for unit in _directions(rows, zero):
        moments += unit.T @ unit
        isolated += len(unit) - int(np.count_nonzero(unit.any(axis=1)))
    return np.concatenate([np.maximum(np.linalg.eigvalsh(moments), 0), np.ones(isolated)])


def _directions(rows: NDArray[Any], zero: Zero) -> Iterator[FloatArray]:
    """Unit rows in float64, a block at a time."""
    for start in range(0, len(rows), BASE):
        block = rows[start : start + BASE].astype(np.float64)
        yield directions(block, zero=zero, name="embeddings", first=start)


def _distances(rows: NDArray[Any]) -> Iterator[FloatArray]:
    """Euclidean distances of some rows to all rows, a block at a time."""
    points = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    squares = np.einsum("ij,ij->i", points, points)
    for start in range(0, len(points), QUERIES):
        block = slice(start, min(start + QUERIES, len(points)))
        squared = squares[block, None] + squares - 2 * points[block] @ points.T
        squared[np.arange(block.stop - start), np.arange(start, block.stop)] = 0
        yield np.sqrt(np.maximum(squared, 0))
