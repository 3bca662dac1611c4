"""How rows stand for one another: all pairs where these can be afforded, else each row's nearest neighbours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rulesel.algorithms.inverted_lists import knn_graph
from rulesel.algorithms.kernels import Kernel, Similarity, embedding_kernel, given_kernel
from rulesel.algorithms.neighbors import QUERIES, KnnGraph, Zero, unit_rows

Neighbors = int | Literal["auto", "all"]

DENSE = 20_000
"""Most rows of which all pairs are compared unless told otherwise."""
HELD = 2**31
"""Most bytes of a kernel that is computed once and kept: greedy reads a row several times."""
MOST_DENSE = 60_000
"""Most rows of which all pairs are compared at all: above, one pass over them takes minutes."""
NEIGHBORS = 64
PAIRS = 2.5e11
"""Most pairs of rows of 384 numbers compared for a graph: about half an hour of two cores."""


def likeness(
    embeddings: NDArray[Any],
    similarity: Similarity = "cosine",
    *,
    neighbors: Neighbors = "auto",
    bandwidth: float | None = None,
    center: bool = False,
    zero: Zero = "error",
    seed: int = 0,
) -> Kernel | KnnGraph:
    """A kernel of all pairs, kept up to 2 GiB and else computed as it is read, or a graph of nearest neighbours.

    Args:
        embeddings: (n, d), finite.
        similarity: "cosine", "rbf" or "published", as in `kernels`; a graph is for cosine only.
        neighbors: edges a row of the graph, "all" for all pairs, "auto" for all pairs up to 20 000 rows and 64 edges a
            row above.
        bandwidth: sigma of rbf.
        center: subtract the mean row before rows are scaled to length 1 (cosine).
        zero: what to do with a row of zeros (cosine).
        seed: of the search for neighbours.

    Raises:
        ValueError: more rows than can be compared, with what to do instead; or NaN, infinity, a zero row.
    """
    n = len(embeddings)
    dense = neighbors == "all" or (neighbors == "auto" and (n <= DENSE or similarity != "cosine"))
    if dense and n > MOST_DENSE:
        way = "neighbors=64" if similarity == "cosine" else 'similarity="cosine", which has a graph of neighbours'
        raise ValueError(f"All pairs of {n:,} rows are too many (at most {MOST_DENSE:,}). Use {way}.")
    if dense:
        return _held(embedding_kernel(embeddings, similarity, bandwidth=bandwidth, center=center, zero=zero))
    if similarity != "cosine":
        raise ValueError(f'neighbors={neighbors} needs similarity="cosine", not {similarity!r}.')
    unit = unit_rows(embeddings, zero=zero, center=center)
    count = NEIGHBORS if neighbors == "auto" else int(neighbors)
    return knn_graph(unit, count, seed=seed, max_pairs=PAIRS * 384 / unit.shape[1])


def _held(kernel: Kernel) -> Kernel:
    if kernel.candidates * kernel.represented * kernel.dtype.itemsize > HELD:
        return kernel
    table = np.empty((kernel.candidates, kernel.represented), dtype=kernel.dtype)
    for start in range(0, len(table), QUERIES):
        part = np.arange(start, min(start + QUERIES, len(table)))
        table[part] = kernel.rows(part)
    return replace(given_kernel(table), ceiling=kernel.ceiling, copies=kernel.copies, tolerance=kernel.tolerance)
