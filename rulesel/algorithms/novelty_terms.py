"""What a chosen row adds to the novelty of others: the sums of NovelSelect, and bounds of how they grow.

Yang et al. 2025 (arXiv 2502.17184), section 6. Both kinds weigh the member that is rank-th nearest by
rank ** -distance_power; they differ in the term and in what is ranked. The sum of a row grows when a member comes in,
but what the member pushes down a rank shrinks; the bounds below follow from that and need the new distance only.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

BINS = 32
"""Distances are counted in so many classes a row, which tells the least rank that a new one can have."""

SLACK = 4e-6
"""More than a float32 cosine is ever off."""


class Published:
    """Terms distance * (density of the row + density of the member), ranked by the term itself.

    A term u put at rank p pushes those at least as large one rank down, so the sum grows by at most
    u * weight(members + 1): the weights fall, and what is pushed is no smaller than u.
    """

    def __init__(self, features: Singles, density: Floats, weight: Floats) -> None:  # noqa: ARG002
        self.density, self.weight = density, weight

    def growth(self, rows: Ints | slice, similarity: Singles, members: Ints, begin: int) -> Floats:
        """At most what the members from number `begin` on add to each row's sum; cosines (rows, those members)."""
        weight = self.weight[begin : len(members)]
        dense = weight * self.density[members[begin:]]
        here = (1 + SLACK) * weight.sum() - similarity @ weight.astype(np.float32)
        there = (1 + SLACK) * dense.sum() - similarity @ dense.astype(np.float32)
        return np.asarray(self.density[rows] * here + there)

    def growth_anywhere(self, members: Ints) -> float:
        """At most what the last member adds to the sum of any row."""
        return float(2 * (self.density.max() + self.density[members[-1]]) * self.weight[len(members) - 1])

    def estimate(self, rows: Ints, distance: Singles, members: Ints) -> tuple[Floats, Floats]:
        """Sums from float32 distances, and how far off they are at most."""
        term = distance * (self.density[rows][:, None] + self.density[members]).astype(np.float32)
        term.sort(axis=1)
        weight = self.weight[: len(members)]
        total = (term @ weight.astype(np.float32)).astype(np.float64)
        return total, SLACK * (total + (self.density[rows] + self.density[members].max()) * weight.sum())

    def total(self, rows: Ints, distance: Floats, members: Ints) -> Floats:
        """Sum of the weighted terms of each row, given its distances to the members."""
        term = distance * (self.density[rows][:, None] + self.density[members])
        term.sort(axis=1)
        return np.asarray(term @ self.weight[: len(members)])

    def novelty(self, total: float, members: int) -> float:
        """The authors take the mean."""
        return total / max(members, 1)


class Corrected:
    """Terms distance * density of the member, ranked by the distance.

    A member of density s at distance d that comes in at rank p adds at most
    d * ((s - least) * weight(p) + least * weight(members + 1)), where `least` is the lowest density of a member: all
    that it pushes down is at least d * least. How many members lie in nearer classes of distance bounds p from below.
    """

    def __init__(self, features: Singles, density: Floats, weight: Floats) -> None:
        self.density, self.weight = density, weight
        some = features[:: max(1, len(features) // 512)]
        self.low, high = np.quantile(1 - some @ some.T, [0.01, 0.99])
        self.step = max(float(high - self.low), SLACK) / BINS
        self.nearer = np.zeros((len(features), BINS), dtype=np.uint16 if len(weight) < 2**16 else np.uint32)

    def growth(self, rows: Ints | slice, similarity: Singles, members: Ints, begin: int) -> Floats:
        """At most what the members from number `begin` on add to each row's sum; cosines (rows, those members)."""
        density = self.density[members]
        least = np.minimum.accumulate(density)
        nearer = self.nearer[rows]  # a view: the search hands over slices, as it never leaves a row outside
        every, classes, out = np.arange(len(nearer)), np.arange(BINS), np.zeros(len(nearer))
        for place in range(begin, len(members)):
            distance = 1 - similarity[:, place - begin]
            rank = nearer[every, self._class(distance - 2 * SLACK)]
            above, floor = density[place] - least[place], least[place] * self.weight[place]
            out += (distance + SLACK) * (above * self.weight[rank] + floor)
            nearer += classes > self._class(distance)[:, None]
        return out

    def _class(self, distance: Singles) -> Ints:
        classes: Ints = np.clip((distance - self.low) / self.step, 0, BINS - 1).astype(np.int64)
        return classes

    def growth_anywhere(self, members: Ints) -> float:  # noqa: ARG002
        """A member near a row can add far more there than elsewhere: no bound is worth having."""
        return np.inf

    def estimate(self, rows: Ints, distance: Singles, members: Ints) -> tuple[Floats, Floats]:  # noqa: ARG002
        """Sums from float32 distances, and how far off they are at most.

        Two members whose distances cannot be told apart may change places, which changes what each weighs; of three or
        more in a row the error is given as infinite.
        """
        density, weight = self.density[members].astype(np.float32), self.weight[: len(members)]
        near, column = _sorted(distance)
        total = ((near * density[column]) @ weight.astype(np.float32)).astype(np.float64)
        off = SLACK * (total + float(density.max()) * weight.sum())
        row, rank = np.nonzero(np.diff(near, axis=1) <= 2 * SLACK)
        swap = (weight[rank] - weight[rank + 1]) * (near[row, rank + 1] + SLACK) * float(np.ptp(density))
        off += np.bincount(row, swap, minlength=len(near))
        off[row[1:][(np.diff(row) == 0) & (np.diff(rank) == 1)]] = np.inf
        return total, off

    def total(self, rows: Ints, distance: Floats, members: Ints) -> Floats:  # noqa: ARG002
        """Sum of the weighted terms of each row, given its distances to the members."""
        return np.asarray(nearest_first(distance, self.density[members]) @ self.weight[: len(members)])

    def novelty(self, total: float, members: int) -> float:  # noqa: ARG002
        """The sum."""
        return total


def nearest_first(distance: Floats, density: Floats) -> Floats:
    """Distance * density of the columns, in each row by growing distance, the lower column first among equals.

    One sort of integers does it: a float of at least 0 sorts like its bits, and the last of these give way to the
    number of the column, so that distances lose less than 1e-10 of themselves.
    """
    last = (1 << distance.shape[1].bit_length()) - 1
    packed = (distance.view(np.int64) & ~last) | np.arange(distance.shape[1])
    packed.sort(axis=1)
    column = packed & last
    packed &= ~last
    return np.asarray(packed.view(np.float64) * density[column])


def _sorted(distance: Singles) -> tuple[Singles, Ints]:
    """Distances of each row by growing size, and their columns: the bits of both in one integer."""
    packed = distance.view(np.int32).astype(np.int64) << 32 | np.arange(distance.shape[1])
    packed.sort(axis=1)
    return (packed >> 32).astype(np.int32).view(np.float32), packed & 0xFFFFFFFF
