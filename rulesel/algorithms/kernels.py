"""Similarity of rows to all rows, computed where it is asked for, or read from a kernel that is given.

Three similarities:

cosine     x.y / |x||y|, float32; of few rows float64 in whole multiples of 2**-40, whose sums are exact: gains that are
           equal on paper are equal here, and the lowest row wins.
rbf        exp(-|x - y|^2 / (2 sigma^2)), float64; sigma defaults to the median distance to the tenth neighbour, as in
           experimental design for instruction tuning (G. Bhatt et al., arXiv 2401.06692).
published  exp(-|x - y| / d) with d the number of dimensions: what submodlib calls "euclidean" and the released code of
           Superfiltering (M. Li et al., arXiv 2402.00530) selects with. On unit rows of 384 dimensions it lies in
           [.9948, 1]: the mean distance to the nearest chosen row, up to scale. float64 here, because float32 leaves
           4 digits of that range.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rulesel.algorithms import ties
from rulesel.algorithms.greedy import IntArray
from rulesel.algorithms.neighbors import Zero, check_rows, directions, first_copies, unit_rows

Similarity = Literal["cosine", "rbf", "published"]
Vector = NDArray[Any]

FEW = 2048
"""Rows whose cosines are taken in float64; so many add up to less than 2**52 steps."""
STEP = 2.0**-40
COINCIDENT = 1e-12
"""Squared distance, as a share of the largest squared length, below which only the rounding of products parts rows."""

BANDWIDTH_SAMPLE = 1000
BANDWIDTH_NEIGHBOR = 10


@dataclass(frozen=True, slots=True)
class Kernel:
    """Similarity of candidates to the rows they represent.

    Attributes:
        rows: the similarities of some candidates, (len, represented), float32 or float64.
        candidates: number of rows that can be picked.
        represented: number of rows that are to be covered.
        dtype: of the similarities.
        ceiling: sum over represented rows of the highest similarity any candidate has to them, where it is known.
        copies: the lowest candidate equal to each candidate, int64; None where it is not known.
        matrix: all similarities, where they are in memory; else every call of `rows` computes them.
        tolerance: by which similarities that are equal on paper differ; see `ties`.
    """

    rows: Callable[[IntArray], NDArray[Any]]
    candidates: int
    represented: int
    dtype: np.dtype[Any]
    ceiling: float | None = None
    copies: NDArray[np.int64] | None = None
    matrix: NDArray[Any] | None = None
    tolerance: float = ties.TOLERANCE


def given_kernel(similarity: NDArray[Any]) -> Kernel:
    """A kernel held in memory, (candidates, represented); float32 is read as it is, all else as float64.

    Raises:
        ValueError: not two-dimensional, or NaN or infinity in it; the message names the first such row.
    """
    if similarity.ndim != 2:
        raise ValueError(f"A kernel must have shape (candidates, represented), got {similarity.shape}.")
    held = similarity if similarity.dtype == np.float32 else similarity.astype(np.float64, copy=False)
    finite = np.isfinite(held @ np.ones(held.shape[1], dtype=held.dtype))
    if not finite.all():
        raise ValueError(f"Row {int(finite.argmin())} of the kernel has NaN or infinity; drop it first.")
    candidates, represented = held.shape
    return Kernel(held.__getitem__, candidates, represented, held.dtype, matrix=held)


def embedding_kernel(
    embeddings: NDArray[Any],
    similarity: Similarity = "cosine",
    *,
    bandwidth: float | None = None,
    zero: Zero = "error",
    center: bool = False,
) -> Kernel:
    """Similarities among rows, computed on the fly: no n x n array.

    Args:
        embeddings: (n, d), finite.
        similarity: see the head of this module; cosine scales rows to length 1, the other two take them as they are.
        bandwidth: sigma of rbf.
        zero: a zero row under cosine: an error, or "isolate" (similarity 0 to everything).
        center: subtract the mean row first (cosine only; distances do not feel it).

    Raises:
        ValueError: NaN, infinity, wrong shape, a zero row under "error", or a bandwidth that is not positive.
    """
    if similarity == "cosine":
        unit = unit_rows(embeddings, zero=zero, center=center)
        covered = float(unit.any(axis=1).sum())
        block = _stepped(embeddings, center=center) if len(unit) <= FEW else lambda rows: unit[rows] @ unit.T
        if len(unit) <= FEW:
            return _among(block, unit, covered, np.dtype(np.float64))
        return replace(_among(block, unit, covered, np.dtype(np.float32)), tolerance=ties.SINGLE)
    check_rows(embeddings)
    points = embeddings.astype(np.float64)
    points -= points.sum(axis=0) / max(1, len(points))
    n, dimensions = points.shape
    if similarity == "published":
        return _among(lambda rows: np.exp(_distances(points, rows) / -dimensions), points, n, points.dtype)
    sigma = neighbor_bandwidth(points) if bandwidth is None else bandwidth
    if not 0 < sigma < np.inf:
        raise ValueError(f"The bandwidth of rbf must be positive and finite, got {sigma}.")
    narrow = -1 / (2 * sigma**2)
    return _among(lambda rows: np.exp(narrow * _distances(points, rows) ** 2), points, n, points.dtype)


def neighbor_bandwidth(points: NDArray[Any]) -> float:
    """Median Euclidean distance to the tenth nearest other row, over at most 1000 evenly spaced rows.

    Rows with ten copies are left out of the median; 1 where no row is left.
    """
    n = len(points)
    sample = np.unique(np.linspace(0, max(0, n - 1), min(n, BANDWIDTH_SAMPLE)).astype(np.int64))
    tenth = min(BANDWIDTH_NEIGHBOR, n - 1)
    found = [
        np.partition(_distances(points, part), tenth, axis=1)[:, tenth]
        for part in np.array_split(sample, max(1, len(sample) * n >> 24))
        if tenth > 0
    ]
    apart = np.concatenate([np.empty(0), *found])
    apart = apart[apart > 0]
    return float(np.median(apart)) if len(apart) else 1.0


def _distances(points: NDArray[Any], rows: IntArray) -> NDArray[Any]:
    """Euclidean distances of some rows to all rows, exactly 0 from a row to itself and to its copies."""
    near = points[rows]
    squared = near @ points.T
    squared *= -2
    lengths = np.einsum("ij,ij->i", points, points)
    squared += lengths
    squared += np.einsum("ij,ij->i", near, near)[:, None]
    squared[squared < COINCIDENT * lengths.max(initial=0.0)] = 0.0
    squared[np.arange(len(rows)), rows] = 0
    distances: NDArray[Any] = np.sqrt(squared, out=squared)
    return distances


def _stepped(embeddings: NDArray[Any], *, center: bool) -> Callable[[IntArray], NDArray[Any]]:
    """Cosines in float64, rounded to whole steps."""
    points = embeddings.astype(np.float64)
    unit = directions(points - points.mean(axis=0) if center and len(points) else points, zero="isolate", name="rows")
    return lambda rows: np.rint(unit[rows] @ unit.T / STEP) * STEP


def _among(
    block: Callable[[IntArray], NDArray[Any]], points: NDArray[Any], ceiling: float, dtype: np.dtype[Any]
) -> Kernel:
    """The kernel of rows with themselves."""
    n = len(points)
    return Kernel(block, n, n, dtype, ceiling=ceiling, copies=first_copies(points))
