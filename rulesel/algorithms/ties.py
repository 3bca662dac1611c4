"""Which of computed numbers is the largest, the same on every machine.

Two numbers that are equal on paper come out of sums and products a few last bits apart, and which is the larger then
depends on the processor, the number of threads and the order of rows. So computed numbers that lie within `TOLERANCE` of
the largest magnitude among them are ties, and the lower id wins. Data (ratings, columns) are no computed numbers: they
compare exactly, then by id.

Ties are taken with the largest number that is left, not with one another: a chain of close numbers is cut where it is
farther than the tolerance from its first link. What float32 products made is less exact: there the tolerance is `SINGLE`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Ids = Sequence[str] | Sequence[int] | npt.NDArray[np.generic]

TOLERANCE = 1e-9
"""Largest share of the largest magnitude by which two numbers that are equal on paper differ."""

SINGLE = 1e-6
"""The same for numbers that come out of products in float32."""


def width(values: Floats, tolerance: float = TOLERANCE) -> float:
    """How far apart ties are at most: that share of the largest finite magnitude."""
    finite = values[np.isfinite(values)]
    return tolerance * float(np.abs(finite).max(initial=0.0))


def tied(values: Floats, tolerance: float = TOLERANCE) -> Ints:
    """Positions of those that tie with the largest, ascending; values (n,), n > 0, no NaN."""
    return np.flatnonzero(values >= values.max() - width(values, tolerance))


def best(values: Floats, ids: Ids | None = None, tolerance: float = TOLERANCE) -> int:
    """Position of the largest of the values (n,), n > 0, no NaN; of ties the one of the lowest id, or position."""
    level = tied(values, tolerance)
    if ids is None or len(level) == 1:
        return int(level[0])
    lowest: int = min(level.tolist(), key=lambda place: ids[place])
    return lowest


def order(values: Floats, ids: Ids | None = None, tolerance: float = TOLERANCE) -> Ints:
    """Positions from the largest of the values (n,) down, no NaN; ties by lower id, or position."""
    rank = np.arange(len(values)) if ids is None else np.argsort(np.argsort(np.asarray(ids), kind="stable"))
    down, level = _levels(values, rank, tolerance)
    return down[np.lexsort((rank[down], level))].astype(np.int64)


def levelled(values: Floats, tolerance: float = TOLERANCE) -> Floats:
    """The values (n,), no NaN, each as large as the largest it ties with, so that ties are equal."""
    down, level = _levels(values, np.arange(len(values)), tolerance)
    same = np.empty(len(values))
    same[down] = values[down][np.searchsorted(level, level)]
    return same


def _levels(values: Floats, rank: Ints, tolerance: float) -> tuple[Ints, Ints]:
    """Positions from the largest value down, and the number of the level each of these is on, ascending."""
    down = np.lexsort((rank, -values))
    ranked, apart = values[down], width(values, tolerance)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        begins = np.append(True, ranked[:-1] - ranked[1:] > apart)[: len(values)]
        starts = np.append(np.flatnonzero(begins), len(values))
        long = np.flatnonzero(ranked[starts[:-1]] - ranked[starts[1:] - 1] > apart)  # chains to be cut
    for chain in long.tolist():
        first = int(starts[chain])
        for place in range(first + 1, int(starts[chain + 1])):
            if ranked[first] - ranked[place] > apart:
                begins[place], first = True, place
    return down, np.cumsum(begins)
