"""Graph of nearest neighbours for many rows: only rows of nearby lists are compared, and the recall is measured first.

Inverted lists: rows are assigned to the nearest of a few thousand centroids (J. Sivic and A. Zisserman, "Video Google",
2003; H. Jegou et al., "Product quantization for nearest neighbor search", 2011, section IV). All rows of a list look
through the same lists, so that each list is one matrix product.

How many lists to look through is not guessed. The true neighbours of a sample of rows are found exactly; the place of
each neighbour's list in the order of search gives the recall of every number of lists at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rulesel.algorithms.given import Progress
from rulesel.algorithms.neighbors import BASE, KnnGraph, Rows, as_graph, checked_neighbors, exact_knn, nearest

EXACT = 50_000
"""Rows up to which comparing all pairs is quicker than preparing lists."""
SAMPLE = 1000
TRAIN = 40
"""Rows a list that the centroids are learned from, and rounds of learning."""
ROUNDS = 6


@dataclass(frozen=True, slots=True)
class Lists:
    """Rows in lists, and for each list the order in which lists are searched.

    Attributes:
        order: rows, list after list, int64 (n,).
        bounds: list l is order[bounds[l]:bounds[l + 1]], int64 (lists + 1,).
        search: lists by similarity of centroid to list l, l itself first, int32 (lists, lists).
    """

    order: NDArray[np.int64]
    bounds: NDArray[np.int64]
    search: NDArray[np.int32]

    def pairs(self, probes: int) -> int:
        """Pairs of rows compared when each list looks through `probes` lists."""
        sizes = np.diff(self.bounds)
        return int(sizes @ sizes[self.search[:, :probes]].sum(axis=1))


def knn_graph(
    unit: Rows,
    neighbors: int,
    *,
    seed: int = 0,
    min_recall: float = 0.95,
    max_pairs: float | None = None,
    progress: Progress | None = None,
) -> KnnGraph:
    """The most similar rows of each row: exact for up to 50 000 rows, else through inverted lists at a given recall.

    Args:
        unit: unit (or zero) rows, float32 (n, d).
        neighbors: edges a row, self included.
        seed: of the sample and the centroids.
        min_recall: share of the true neighbours that has to be found, in (0, 1]; 1 compares all pairs.
        max_pairs: refuse, before the work, to compare more pairs of rows than this (2 d flops each).
        progress: told (rows done, n) now and then.

    Returns:
        The graph; its `recall` is measured on 1000 random rows, ties within 1e-6 counted as found.

    Raises:
        ValueError: min_recall is outside (0, 1], neighbors is less than 1, or more than max_pairs would be needed.
    """
    if not 0 < min_recall <= 1:
        raise ValueError(f"min_recall must lie in (0, 1], got {min_recall}.")
    n, m = len(unit), checked_neighbors(neighbors, len(unit))
    if n <= EXACT or min_recall == 1:
        _refuse(n * n, max_pairs, n, min_recall)
        return exact_knn(unit, neighbors, progress=progress)
    rng = np.random.default_rng(seed)
    lists = build_lists(unit, 4 * math.isqrt(n), rng)
    sample = np.sort(rng.choice(n, size=SAMPLE, replace=False))
    truth, values = nearest(unit[sample], unit, m, own=sample)
    probes = _probes(lists, sample, truth, min_recall)
    pairs = lists.pairs(probes)
    _refuse(min(pairs, n * n), max_pairs, n, min_recall)
    if 2 * pairs > n * n:
        return exact_knn(unit, neighbors, progress=progress)
    indices, similarity = _search(unit, lists, probes, m, progress)
    recall = _recall(similarity[sample], values)
    return as_graph(unit, indices, similarity, recall=recall)


def build_lists(unit: Rows, count: int, rng: np.random.Generator) -> Lists:
    """Assign unit rows to `count` centroids learned on a sample by spherical k-means; empty lists are dropped."""
    train = unit[np.sort(rng.choice(len(unit), size=min(len(unit), TRAIN * count), replace=False))]
    centroids = train[np.sort(rng.choice(len(train), size=min(count, len(train)), replace=False))]
    for _ in range(ROUNDS):
        centroids = _means(train, _closest(train, centroids), len(centroids))
    label = _closest(unit, centroids)
    kept, label = np.unique(label, return_inverse=True)
    sizes = np.bincount(label, minlength=len(kept))
    centroids = centroids[kept]
    closeness = centroids @ centroids.T
    np.fill_diagonal(closeness, np.inf)
    search = np.argsort(-closeness, axis=1, kind="stable").astype(np.int32)
    return Lists(np.argsort(label, kind="stable"), np.concatenate([[0], np.cumsum(sizes)]), search)


def _closest(rows: Rows, centroids: Rows) -> NDArray[np.int64]:
    """The most similar centroid of each row."""
    label = np.empty(len(rows), dtype=np.int64)
    for start in range(0, len(rows), BASE):
        label[start : start + BASE] = (rows[start : start + BASE] @ centroids.T).argmax(axis=1)
    return label


def _means(rows: Rows, label: NDArray[np.int64], count: int) -> Rows:
    """Mean direction of each label's rows; a label without rows keeps a zero centroid, which attracts nothing near."""
    order = np.argsort(label, kind="stable")
    used, start = np.unique(label[order], return_index=True)
    means = np.zeros((count, rows.shape[1]), dtype=np.float32)
    means[used] = np.add.reduceat(rows[order], start, axis=0)
    norms = np.sqrt(np.einsum("ij,ij->i", means, means))
    means /= np.where(norms > 0, norms, 1)[:, None]
    return means


def _probes(lists: Lists, sample: NDArray[np.int64], truth: NDArray[np.int32], min_recall: float) -> int:
    """The fewest lists to look through for the wanted share of the sample's true neighbours, itself left out."""
    label = np.empty(len(lists.order), dtype=np.int64)
    label[lists.order] = np.repeat(np.arange(len(lists.bounds) - 1), np.diff(lists.bounds))
    place = np.argsort(lists.search, axis=1)
    needed = place[label[sample][:, None], label[truth]][truth != sample[:, None]]
    return int(np.quantile(needed, min_recall, method="higher")) + 1 if len(needed) else 1


def _search(unit: Rows, lists: Lists, probes: int, m: int, progress: Progress | None) -> tuple[NDArray[np.int32], Rows]:
    """Fill the table of neighbours list by list."""
    indices = np.empty((len(unit), m), dtype=np.int32)
    similarity = np.empty((len(unit), m), dtype=np.float32)
    ordered = unit[lists.order]
    spans = [slice(a, b) for a, b in zip(lists.bounds[:-1].tolist(), lists.bounds[1:].tolist(), strict=True)]
    sizes = np.diff(lists.bounds)
    for number, span in enumerate(spans):
        enough = max(probes, int(np.searchsorted(np.cumsum(sizes[lists.search[number]]), m)) + 1)
        chosen = [spans[other] for other in lists.search[number, :enough]]
        base = np.concatenate([ordered[other] for other in chosen])
        rows = np.concatenate([lists.order[other] for other in chosen])
        own = rows[: span.stop - span.start]
        found, similarity[own] = nearest(base[: len(own)], base, m, own=np.arange(len(own)))
        indices[own] = rows[found]
        if progress is not None:
            progress(span.stop, len(unit))
    return indices, similarity


def _recall(found: Rows, truth: Rows) -> float:
    """Share of the true neighbours, self left out, that are as similar as what was found."""
    edge = truth.min(axis=1, keepdims=True) - 1e-6
    others = found.size - len(found)
    return float(((found >= edge).sum() - len(found)) / others) if others else 1.0


def _refuse(pairs: int, max_pairs: float | None, n: int, min_recall: float) -> None:
    if max_pairs is not None and pairs > max_pairs:
        raise ValueError(
            f"{n} rows need {pairs:.2g} comparisons for a recall of {min_recall}, more than max_pairs={max_pairs:.2g}; "
            "lower min_recall, or split the rows into parts."
        )
