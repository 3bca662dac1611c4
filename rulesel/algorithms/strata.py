"""How many picks fall to each of several groups, by size or evenly; the total is met exactly."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Allocation = Literal["proportional", "equal"]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def allocate(sizes: Ints, k: int, *, taken: Ints | None = None, allocation: Allocation = "proportional") -> Ints:
    """Picks of each group, int64 (groups,); they sum to k, or to all that is left.

    "proportional" gives every group its share of k by size, rounded by largest remainder (the larger group, then the
    lower number, among equal remainders). "equal" gives all groups the same, and what a small group lacks to the
    others. Rows taken already count towards a group's share; where that exceeds it, the others share what is left.

    Args:
        sizes: rows of each group, those taken included.
        k: picks wanted.
        taken: rows of each group that are chosen already.
        allocation: see above.

    Raises:
        ValueError: k is negative, or more is taken than a group has.
    """
    have = np.zeros(len(sizes), dtype=np.int64) if taken is None else taken
    if k < 0 or (have > sizes).any():
        raise ValueError(f"k must not be negative (got {k}) and no group can have more taken than it holds.")
    room = sizes - have
    k = min(k, int(room.sum()))
    share = _level(sizes, have, k) if allocation == "equal" else _proportional(sizes, have, k)
    return _rounded(share, room, sizes, k)


def shared_out(shares: Floats, k: int) -> Ints:
    """K in proportion to shares above 0, rounded by largest remainder, int64; they sum to k."""
    return _rounded(k * shares / shares.sum(), np.full(len(shares), k), shares, k)


def _proportional(sizes: Ints, have: Ints, k: int) -> Floats:
    """Share of each group: its part of all that will be chosen, less what it has; groups above it share nothing."""
    open_ = sizes > have
    while True:
        total = k + have[open_].sum()
        share = np.where(open_, total * sizes / max(sizes[open_].sum(), 1) - have, 0.0)
        over = open_ & (share < 0)
        if not over.any():
            return np.asarray(share)
        open_ &= ~over


def _level(sizes: Ints, have: Ints, k: int) -> Floats:
    """Share of each group when all are filled to one level, as far as they go."""
    low, high = 0.0, float(sizes.max(initial=0))
    for _ in range(100):
        middle = (low + high) / 2
        filled = np.clip(np.minimum(sizes, middle) - have, 0, None).sum()
        low, high = (middle, high) if filled < k else (low, middle)
    return np.asarray(np.clip(np.minimum(sizes, high) - have, 0, None), dtype=np.float64)


def _rounded(share: Floats, room: Ints, sizes: Ints | Floats, k: int) -> Ints:
    """Whole numbers that sum to k, none above its room."""
    whole = np.minimum(np.floor(share + 1e-9).astype(np.int64), room)
    while (missing := k - int(whole.sum())) > 0:
        order = np.lexsort((np.arange(len(share)), -sizes, -np.round(share - whole, 9)))
        order = order[whole[order] < room[order]][:missing]
        whole[order] += 1
    return whole


def by_group(labels: Ints, keys: Floats, k: int, *, given: Ints, allocation: Allocation = "proportional") -> Ints:
    """Rows of highest key of every group, as many as `allocate` gives it, int64 (k,).

    In turns: first the best of each group, then the second of each, and so on; within a turn by key, then row.

    Args:
        labels: group of each row, from 0, int64 (n,).
        keys: (n,), higher is better.
        k: picks wanted; fewer where fewer are left.
        given: rows chosen already.
        allocation: see `allocate`.
    """
    groups = int(labels.max(initial=-1)) + 1
    taken = np.bincount(labels[given], minlength=groups)
    wanted = allocate(np.bincount(labels, minlength=groups), k, taken=taken, allocation=allocation)
    free = np.ones(len(labels), dtype=bool)
    free[given] = False
    order = np.lexsort((np.arange(len(labels)), -keys, labels))
    order = order[free[order]]
    start = np.searchsorted(labels[order], np.arange(groups))
    turn = np.arange(len(order)) - start[labels[order]]
    order, turn = order[turn < wanted[labels[order]]], turn[turn < wanted[labels[order]]]
    return order[np.lexsort((order, -keys[order], turn))]
