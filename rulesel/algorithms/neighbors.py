"""Cosine similarity in blocks and the exact graph of nearest neighbours; nothing of size n x n is ever held.

A row is its own first neighbour by index, not by rank: an exact duplicate may be as similar, so "drop the first hit"
would drop the wrong one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rulesel.algorithms.given import Progress

Zero = Literal["error", "isolate"]
Rows = NDArray[np.float32]

QUERIES = 512
BASE = 8192
"""Rows of a block of queries and of a block of the base: 16 MiB of float32 similarities at a time."""
SEED = 512
"""Rows of the first base block; the blocks double, so that few entries of each can still be among the nearest."""


@dataclass(frozen=True, slots=True)
class KnnGraph:
    """Directed graph in compressed rows: row i lists the neighbours of i, the most similar first, i itself in front.

    Attributes:
        indptr: int64 (n + 1,).
        indices: int32 (edges,).
        similarity: float32 (edges,), cosine in [-1, 1]; 1 from a row to itself (0 where the row is zero).
        recall: share of the true neighbours (self left out) that the graph has; 1 when exact, else measured.
        copies: the lowest row equal to each row, int64 (n,).
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    similarity: Rows
    recall: float
    copies: NDArray[np.int64]

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.indptr) - 1


def check_rows(rows: NDArray[Any], *, name: str = "embeddings") -> None:
    """Refuse anything but a finite (n, d) array.

    Raises:
        ValueError: not two-dimensional, or NaN or infinity in a row; the message names the first such row.
    """
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise ValueError(f"{name} must have shape (n, d) with d > 0, got {rows.shape}.")
    for start in range(0, len(rows), BASE):
        finite = np.isfinite(rows[start : start + BASE]).all(axis=1)
        if not finite.all():
            raise ValueError(f"{name}: row {start + int(finite.argmin())} has NaN or infinity; drop it first.")


def unit_rows(rows: NDArray[Any], *, zero: Zero = "error", center: bool = False, name: str = "embeddings") -> Rows:
    """Rows scaled to length 1, float32 (n, d), contiguous; norms are taken in float64.

    Args:
        rows: (n, d), finite.
        zero: a row of zeros has no direction: "error" refuses it, "isolate" leaves it zero, so that its cosine to
            everything is 0.
        center: subtract the mean row first. Embeddings of one model share a large common direction that makes all
            cosines alike; without it coverage tells rows apart better.
        name: of the array, for the message.

    Raises:
        ValueError: NaN, infinity, wrong shape, or a zero row under "error".
    """
    check_rows(rows, name=name)
    unit = np.empty(rows.shape, dtype=np.float32)
    mean = rows.mean(axis=0, dtype=np.float64) if center else 0.0
    for start in range(0, len(rows), BASE):
        block = rows[start : start + BASE].astype(np.float64) - mean
        unit[start : start + BASE] = directions(block, zero=zero, name=name, first=start)
    return unit


def directions(rows: NDArray[np.float64], *, zero: Zero, name: str, first: int = 0) -> NDArray[np.float64]:
    """Rows scaled to length 1 in float64; `first` is the number of the first one, for the message.

    Raises:
        ValueError: a zero row under "error".
    """
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    empty = norms == 0
    if zero == "error" and empty.any():
        raise ValueError(
            f"{name}: row {first + int(empty.argmax())} is all zeros and has no direction; drop it, or pass "
            'zero="isolate" to give it similarity 0 to everything.'
        )
    norms[empty] = 1
    scaled: NDArray[np.float64] = rows / norms[:, None]
    return scaled


def first_copies(rows: NDArray[Any]) -> NDArray[np.int64]:
    """The lowest row with the same content, int64 (n,): rows are told apart by a random hash, then compared.

    Products of matrices round differently from block to block; copies found here can be treated alike all the same.
    """
    n = len(rows)
    hashes = np.empty(n, dtype=np.uint64)
    width = rows.shape[1] * rows.itemsize // 4
    factors = 2 * np.random.default_rng(0).integers(1 << 63, size=width, dtype=np.uint64) + 1
    for start in range(0, n, BASE):
        words = (np.ascontiguousarray(rows[start : start + BASE]) + 0).view(np.uint32)  # + 0 makes -0 a 0
        hashes[start : start + BASE] = (words * factors).sum(axis=1, dtype=np.uint64)
    _, first, place = np.unique(hashes, return_index=True, return_inverse=True)
    copies = first[place].astype(np.int64)
    doubtful = np.flatnonzero(copies != np.arange(n))
    for start in range(0, len(doubtful), BASE):
        part = doubtful[start : start + BASE]
        differs = (rows[part] != rows[copies[part]]).any(axis=1)
        copies[part[differs]] = part[differs]
    return copies


def highest_cosines(queries: Rows, base: Rows) -> Rows:
    """The cosine of each query to the most similar base row, float32 (q,) in [-1, 1]; all are unit or zero rows.

    Raises:
        ValueError: the base is empty, or the widths differ.
    """
    if len(base) == 0 or queries.shape[1] != base.shape[1]:
        raise ValueError(f"Rows of shape {queries.shape} cannot be compared with rows of shape {base.shape}.")
    highest = np.full(len(queries), -1, dtype=np.float32)
    for start in range(0, len(queries), QUERIES):
        part = highest[start : start + QUERIES]
        for column in range(0, len(base), BASE):
            cosines = queries[start : start + QUERIES] @ base[column : column + BASE].T
            np.maximum(part, cosines.max(axis=1), out=part)
    return np.minimum(highest, 1)


def exact_knn(unit: Rows, neighbors: int, *, progress: Progress | None = None) -> KnnGraph:
    """The `neighbors` most similar rows of each row, itself included: 2 n^2 d flops, 8 * neighbors * n bytes.

    Args:
        unit: unit (or zero) rows, float32 (n, d), as `unit_rows` gives them.
        neighbors: edges a row, self included; cut to n.
        progress: told (rows done, n) now and then.

    Raises:
        ValueError: neighbors is less than 1.
    """
    n, m = len(unit), checked_neighbors(neighbors, len(unit))
    indices = np.empty((n, m), dtype=np.int32)
    similarity = np.empty((n, m), dtype=np.float32)
    for start in range(0, n, QUERIES):
        own = np.arange(start, min(start + QUERIES, n))
        indices[own], similarity[own] = nearest(unit[own], unit, m, own=own)
        if progress is not None:
            progress(int(own[-1]) + 1, n)
    return as_graph(unit, indices, similarity, recall=1.0)


def nearest(queries: Rows, base: Rows, m: int, *, own: NDArray[np.integer[Any]]) -> tuple[NDArray[np.int32], Rows]:
    """The m most similar base rows of each query, in no order; query q is base row own[q], and is always among them.

    Returns:
        Positions in base, int32 (q, m), and cosines (q, m); the cosine of a query to itself reads infinity.
    """
    rows = np.arange(len(queries))
    held = np.empty((len(queries), max(BASE, m)), dtype=np.float32)
    best = np.empty((len(queries), 0), dtype=np.float32)
    where = np.empty((len(queries), 0), dtype=np.int32)
    start, width = 0, max(SEED, m)
    while start < len(base):
        block = held[:, : min(width, len(base) - start)]
        np.matmul(queries, base[start : start + width].T, out=block)
        mine = (own >= start) & (own < start + block.shape[1])
        block[rows[mine], own[mine] - start] = np.inf
        edge = best.min(axis=1) if start else np.full(len(queries), -np.inf, dtype=np.float32)
        found, values = _above(block, edge, start)
        best, where = _keep(np.hstack([best, values]), np.hstack([where, found]), m)
        start, width = start + block.shape[1], min(2 * width, held.shape[1])
    return where, best


def as_graph(unit: Rows, indices: NDArray[np.int32], similarity: Rows, *, recall: float) -> KnnGraph:
    """Graph of a table (n, m) that `nearest` filled: rows ranked by cosine, the lower index among equals, self first."""
    n, m = indices.shape
    for start in range(0, n, BASE):
        block = slice(start, start + BASE)
        order = np.lexsort((indices[block], -similarity[block]), axis=-1)
        indices[block] = np.take_along_axis(indices[block], order, axis=1)
        similarity[block] = np.take_along_axis(similarity[block], order, axis=1)
    similarity[:, :1] = np.einsum("ij,ij->i", unit, unit)[:, None] > 0
    np.clip(similarity, -1, 1, out=similarity)
    indptr = np.arange(n + 1, dtype=np.int64) * m
    return KnnGraph(indptr, indices.reshape(-1), similarity.reshape(-1), recall, first_copies(unit))


def checked_neighbors(neighbors: int, n: int) -> int:
    """The number of neighbours cut to n.

    Raises:
        ValueError: it is less than 1.
    """
    if neighbors < 1:
        raise ValueError(f"neighbors must be at least 1 (the row itself), got {neighbors}.")
    return min(neighbors, n)


def _above(block: Rows, edge: Rows, start: int) -> tuple[NDArray[np.int32], Rows]:
    """Entries above each row's edge, packed to the left of a table; the rest is -inf."""
    row, column = np.divmod(np.flatnonzero(block > edge[:, None]), block.shape[1])
    counts = np.bincount(row, minlength=len(block))
    place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    values = np.full((len(block), int(counts.max(initial=0))), -np.inf, dtype=np.float32)
    found = np.zeros(values.shape, dtype=np.int32)
    values[row, place] = block[row, column]
    found[row, place] = column + start
    return found, values


def _keep(values: Rows, where: NDArray[np.int32], m: int) -> tuple[Rows, NDArray[np.int32]]:
    """The m highest values of each row and where they are."""
    if values.shape[1] <= m:
        return values, where
    top = np.argpartition(values, values.shape[1] - m, axis=1)[:, -m:]
    return np.take_along_axis(values, top, axis=1), np.take_along_axis(where, top, axis=1)


def symmetrise(graph: KnnGraph) -> KnnGraph:
    """Undirected graph: an edge wherever either direction has one, with the larger similarity; self first, as before."""
    n = graph.n
    source = np.repeat(np.arange(n, dtype=np.int64), np.diff(graph.indptr))
    target = graph.indices.astype(np.int64)
    edges = np.concatenate([source * n + target, target * n + source])
    order = np.lexsort((-np.tile(graph.similarity, 2), edges))
    order = order[np.flatnonzero(np.diff(edges[order], prepend=-1))]
    source, target = np.divmod(edges[order], n)
    similarity = np.tile(graph.similarity, 2)[order]
    order = np.lexsort((target, -similarity, source != target, source))
    indptr = np.zeros(n + 1, dtype=np.int64)
    np.cumsum(np.bincount(source, minlength=n), out=indptr[1:])
    return KnnGraph(indptr, target[order].astype(np.int32), similarity[order], graph.recall, graph.copies)
