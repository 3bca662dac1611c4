"""k-means, seeded: clusters to stratify a selection by.

Lloyd 1982 in blocks of matrix products; starting centers by Arthur and Vassilvitskii 2007 (k-means++) on a sample of
rows; for many rows the mini-batches of Sculley 2010, "Web-scale k-means clustering", with one full pass at the end.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rulesel.algorithms import ties
from rulesel.algorithms.neighbors import check_rows

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

CELLS = 2**22
"""Distances held at once, 16 MiB of float32."""

SEEDING = 16
"""Rows a cluster in the sample from which the starting centers are drawn."""

LARGE = 200_000
"""More rows than this go by mini-batch unless told otherwise."""


class KMeans(NamedTuple):
    """A clustering; unpacks as (labels, centers, inertia)."""

    labels: Ints
    """Nearest center of each row, the lowest number among equals; shape (n,)."""
    centers: Singles
    """Shape (clusters, d); fewer than asked for when there are fewer distinct rows."""
    inertia: float
    """Mean squared distance of a row to its center; lower is tighter."""


def kmeans(
    X: npt.NDArray[np.floating],
    clusters: int,
    *,
    seed: int,
    iterations: int = 25,
    batch: int | None = None,
) -> KMeans:
    """Cluster rows by Euclidean distance; give rows of unit length to cluster by cosine.

    Args:
        X: rows, shape (n, d), finite, n at least 1; read only.
        clusters: how many, at least 1; cut to n.
        seed: of the starting centers and the batches; the same seed gives the same clusters.
        iterations: most passes over the rows (as many rows in mini-batches); it ends sooner when nothing moves.
        batch: rows of a mini-batch, or 0 for full passes; None takes full passes up to `LARGE` rows and mini-batches
            of 16 rows a cluster (at least 4096) above.

    Raises:
        ValueError: NaN or infinity, no rows, or arguments out of range.
    """
    check_rows(X)
    if len(X) == 0 or clusters < 1 or iterations < 0 or (batch is not None and batch < 0):
        raise ValueError(f"Need rows, clusters >= 1 and others >= 0, got {len(X)}, {clusters}, {iterations}, {batch}.")
    rng = np.random.default_rng(seed)
    if batch is None:
        batch = max(SEEDING * clusters, 4096) if len(X) > LARGE else 0
    centers = _seed(X, min(clusters, len(X)), rng)
    if batch:
        centers = _mini_batches(X, centers, rng, batch, -(-iterations * len(X) // batch))
    else:
        centers = _lloyd(X, centers, iterations)
    labels, square = nearest_center(X, centers)
    return KMeans(labels, centers, float(square.mean(dtype=np.float64)))


def nearest_center(X: npt.NDArray[np.floating], centers: Singles) -> tuple[Ints, Singles]:
    """The nearest center of each row (n,), the lowest number among equals, and the squared distance to it (n,)."""
    labels, square = np.empty(len(X), dtype=np.int64), np.empty(len(X), dtype=np.float32)
    half = np.einsum("ij,ij->i", centers, centers) / 2
    for start in range(0, len(X), step := max(64, CELLS // len(centers))):
        rows = X[start : start + step].astype(np.float32, copy=False)
        closeness = rows @ centers.T
        closeness -= half
        top = closeness.max(axis=1, keepdims=True)
        own = (closeness >= top - ties.SINGLE * np.maximum(np.abs(top), half.max())).argmax(axis=1)
        labels[start : start + step] = own
        gap = rows - centers[own]
        square[start : start + step] = np.einsum("ij,ij->i", gap, gap)
    return labels, square


def _seed(X: npt.NDArray[np.floating], clusters: int, rng: np.random.Generator) -> Singles:
    """Starting centers: rows drawn in proportion to their squared distance to those before, the best of a few each."""
    size = min(len(X), max(SEEDING * clusters, 4096))
    rows = X if size == len(X) else X[np.sort(rng.choice(len(X), size, replace=False))]
    rows = rows.astype(np.float32, copy=False)
    length = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
    trials = 2 + int(np.log(clusters))
    chosen = [int(rng.integers(len(rows)))]
    square = np.maximum(length + length[chosen] - 2 * (rows @ rows[chosen[0]]), 0)
    square[chosen] = 0
    while len(chosen) < clusters:
        cumulative = np.cumsum(square)
        if not cumulative[-1] > 1e-6 * length.max():
            break  # nothing but copies of the centers is left
        drawn = np.searchsorted(cumulative, rng.random(trials) * cumulative[-1], side="right")
        drawn = np.minimum(drawn, len(rows) - 1)
        left = np.minimum(np.maximum(length[:, None] + length[drawn] - 2 * (rows @ rows[drawn].T), 0), square[:, None])
        left[drawn, np.arange(trials)] = 0
        best = ties.best(-left.sum(axis=0), tolerance=ties.SINGLE)
        chosen.append(int(drawn[best]))
        square = left[:, best]
    return np.array(rows[chosen])


def _lloyd(X: npt.NDArray[np.floating], centers: Singles, iterations: int) -> Singles:
    before: Ints | None = None
    for _ in range(iterations):
        labels, square = nearest_center(X, centers)
        if before is not None and (labels == before).all():
            break
        before = labels
        total, size = _sums(X, labels, len(centers))
        empty = np.flatnonzero(size == 0)
        centers = (total / np.maximum(size, 1)[:, None]).astype(np.float32)
        if len(empty):  # an empty cluster starts over at a row that lies far from its own center
            centers[empty] = X[ties.order(square.astype(np.float64), tolerance=ties.SINGLE)[: len(empty)]]
    return centers


def _mini_batches(
    X: npt.NDArray[np.floating], centers: Singles, rng: np.random.Generator, batch: int, steps: int
) -> Singles:
    """Move centers by batches of rows; a center moves by less the more rows it has seen."""
    place, seen = centers.astype(np.float64), np.zeros(len(centers))
    for _ in range(steps):
        rows = X[np.sort(rng.choice(len(X), min(batch, len(X)), replace=False))]
        labels, _ = nearest_center(rows, place.astype(np.float32))
        total, size = _sums(rows, labels, len(place))
        seen += size
        here = size > 0
        place[here] += (total[here] - size[here, None] * place[here]) / seen[here, None]
    return place.astype(np.float32)


def _sums(X: npt.NDArray[np.floating], labels: Ints, clusters: int) -> tuple[Floats, Floats]:
    """Sum of the rows of each cluster in float64, and their number."""
    total = np.zeros((clusters, X.shape[1]))
    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[order], np.arange(clusters + 1))
    for cluster in range(clusters):
        rows = order[bounds[cluster] : bounds[cluster + 1]]
        for start in range(0, len(rows), 65536):
            total[cluster] += X[rows[start : start + 65536]].sum(axis=0, dtype=np.float64)
    return total, np.diff(bounds).astype(np.float64)
