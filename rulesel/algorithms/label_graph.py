"""Labels of rows as numbers: the graph of labels that mean nearly the same, and what each row puts on each label.

Y. Chen et al., "MIG: Automatic Data Selection for Instruction Tuning by Maximizing Information Gain in Semantic Space"
(arXiv 2504.13835), section 3.2 and eq. 6.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from rulesel.algorithms.greedy import IntArray
from rulesel.algorithms.neighbors import Zero, check_rows, directions

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Direction = Literal["target", "source"]

LABELS = 2048
"""Labels compared with all labels at a time."""
ROUNDING = 1e-12
"""A cosine this far below the threshold equals it."""


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Quality that each row puts on each label.

    Attributes:
        amounts: (n, labels), float64.
        unlabelled: rows without any known label, ascending; they gain nothing.
        unknown: how many labels of rows were not in the vocabulary and dropped.
    """

    amounts: csr_array[Any, Any]
    unlabelled: IntArray
    unknown: int


def label_graph(embeddings: NDArray[Any], *, threshold: float = 0.9, zero: Zero = "error") -> csr_array[Any, Any]:
    """Edges between labels of cosine at least `threshold`, weighted by it; every label has an edge of 1 to itself.

    Args:
        embeddings: (labels, d), one vector a label.
        threshold: least cosine of an edge, above 0; above 1 leaves each label alone.
        zero: a label whose vector is all zeros is an error, or "isolate": it has no neighbours.

    Returns:
        (labels, labels), float64, symmetric.

    Raises:
        ValueError: NaN, infinity, a zero vector under "error", or a threshold that is not above 0.
    """
    from scipy.sparse import csr_array

    if not threshold > 0:
        raise ValueError(f"threshold must be above 0 (a negative edge would take information away), got {threshold}.")
    check_rows(embeddings, name="label embeddings")
    unit = directions(embeddings.astype(np.float64), zero=zero, name="label embeddings")
    count = len(unit)
    source, target, weight = [np.arange(count)], [np.arange(count)], [np.ones(count)]
    for start in range(0, count, LABELS):
        cosines = unit[start : start + LABELS] @ unit.T
        near, other = np.divmod(np.flatnonzero(cosines >= threshold - ROUNDING), count)
        apart = near + start != other
        near, other = near[apart], other[apart]
        source.append(near + start)
        target.append(other)
        weight.append(np.minimum(cosines[near, other], 1))
    edges = (np.concatenate(source), np.concatenate(target))
    return csr_array((np.concatenate(weight), edges), shape=(count, count))


def label_rows(
    tags: Sequence[Sequence[Hashable]],
    quality: NDArray[Any],
    labels: Mapping[Any, int] | int,
    *,
    normalise_quality: bool = False,
    count_repeats: bool = False,
) -> LabelledRows:
    """Put the quality of each row on each of its labels, once a label however often it is named.

    Args:
        tags: n sequences of labels.
        quality: (n,), finite, at least 0.
        labels: place of each label in the graph; or their number, where tags are places already.
        normalise_quality: divide a row's quality by the number of its labels, so that rows with many labels are not
            favoured. The released command line does not, its class does.
        count_repeats: count a label named twice as two in that division, as the released code does.

    Raises:
        ValueError: lengths differ, or a quality is negative, NaN or infinite.
    """
    from scipy.sparse import csr_array

    n, values = len(tags), np.asarray(quality, dtype=np.float64)
    if values.shape != (n,) or not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(f"quality must be {n} finite numbers of at least 0, one a row of tags.")
    sizes = np.fromiter(map(len, tags), dtype=np.int64, count=n)
    place, count = _places(chain.from_iterable(tags), int(sizes.sum()), labels)
    known = (place >= 0) & (place < count)
    named = np.bincount(np.repeat(np.arange(n), sizes)[known], minlength=n)
    bounds = np.concatenate([[0], np.cumsum(named)])
    amounts = csr_array((np.ones(bounds[-1]), place[known], bounds), shape=(n, count))
    amounts.sum_duplicates()
    distinct = np.diff(amounts.indptr)
    if normalise_quality:
        values = values / np.maximum(named if count_repeats else distinct, 1)
    amounts.data = np.repeat(values, distinct)
    return LabelledRows(amounts, np.flatnonzero(distinct == 0), int(len(place) - known.sum()))


def propagation(
    graph: csr_array[Any, Any], *, weight: float = 1.0, normalised_by: Direction = "target"
) -> csr_array[Any, Any]:
    """The share of an amount on one label (row) that arrives at another (column), arXiv 2504.13835, eq. 6.

    Args:
        graph: (labels, labels) with 1 on the diagonal, as `label_graph` gives it.
        weight: of the edges against the 1 that stays; 0 propagates nothing.
        normalised_by: divide by the sum of the edges into the "target", as published, or out of the "source", which
            keeps the sum of a row's amounts.

    Returns:
        (labels, labels), float64.

    Raises:
        ValueError: weight is negative or infinite.
    """
    from scipy.sparse import csr_array

    if not 0 <= weight < np.inf:
        raise ValueError(f"The weight of propagation must be finite and at least 0, got {weight}.")
    edges = graph.tocoo()
    flow = np.where(edges.row == edges.col, edges.data, weight * edges.data)
    end = edges.col if normalised_by == "target" else edges.row
    flow /= np.bincount(end, weights=flow, minlength=graph.shape[0])[end]
    kept = flow > 0
    return csr_array((flow[kept], (edges.row[kept], edges.col[kept])), shape=graph.shape)


def _places(named: Iterable[Hashable], count: int, labels: Mapping[Any, int] | int) -> tuple[IntArray, int]:
    """Place of every label named, -1 where there is none, and the number of labels of the graph."""
    if isinstance(labels, int):
        return np.fromiter(named, dtype=np.int64, count=count), labels
    return np.fromiter(map(labels.get, named, repeat(-1)), dtype=np.int64, count=count), len(labels)
