"""Which of computed numbers is the largest, the same on every machine.

Two numbers that are equal on paper come out of sums and products a few last bits apart, and which is the larger then
depends on the processor, the number of threads and the order of rows. So computed numbers that lie within `TOLERANCE` of
the largest magnitude among them are ties, and the lower id wins. Data (ratings, columns) are no computed numbers: they
compare exactly, then by id.

Ties are taken with the largest number that is left, not with one another: a chain of close numbers is cut where it is
farther than the tolerance from its first link.
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


def width(values: Floats) -> float:
    """How far apart ties are at most: `TOLERANCE` of the largest finite magnitude."""
    finite = values[np.isfinite(values)]
    return TOLERANCE * float(np.abs(finite).max(initial=0.0))


def tied(values: Floats) -> Ints:
    """Positions of those that tie with the largest, ascending; values (n,), n > 0, no NaN."""
    return np.flatnonzero(values >= values.max() - width(values))


def best(values: Floats, ids: Ids | None = None) -> int:
    """Position of the largest of the values (n,), n > 0, no NaN; of ties the one of the lowest id, or position."""
    level = tied(values)
    if ids is None or len(level) == 1:
        return int(level[0])
    lowest: int = min(level.tolist(), key=lambda place: ids[place])
    return lowest


def order(values: Floats, ids: Ids | None = None) -> Ints:
    """Positions from the largest of the values (n,) down, no NaN; ties by lower id, or position."""
    rank = np.arange(len(values)) if ids is None else np.argsort(np.argsort(np.asarray(ids), kind="stable"))
    down = np.lexsort((rank, -values))
    ranked, apart = values[down], width(values)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        begins = np.append(True, ranked[:-1] - ranked[1:] > apart)[: len(values)]
        starts = np.append(np.flatnonzero(begins), len(values))
        long = np.flatnonzero(ranked[starts[:-1]] - ranked[starts[1:] - 1] > apart)  # chains to be cut
    for chain in long.tolist():
        first = int(starts[chain])
        for place in range(first + 1, int(starts[chain + 1])):
            if ranked[first] - ranked[place] > apart:
                begins[place], first = True, place
    level = np.cumsum(begins)
    return down[np.lexsort((rank[down], level))].astype(np.int64)
