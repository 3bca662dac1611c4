"""What every selector checks of the rows it is told are chosen already."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Given = Sequence[int] | npt.NDArray[np.integer]
Progress = Callable[[int, int], None]
"""Called now and then with (rows picked, rows wanted)."""


def checked_given(given: Given, n: int) -> Ints:
    """Rows already chosen as int64, in the order given.

    Raises:
        ValueError: a row outside 0..n-1, or one named twice.
    """
    rows = np.asarray(given, dtype=np.int64)
    if rows.ndim != 1 or (len(rows) and (rows.min() < 0 or rows.max() >= n)):
        raise ValueError(f"given must list rows of 0..{n - 1}, got {rows.tolist() if rows.size < 10 else rows.shape}.")
    if len(np.unique(rows)) != len(rows):
        raise ValueError("given names a row twice.")
    return rows


def checked_k(k: int, n: int, given: Ints) -> int:
    """The number of picks, cut to the rows that are left.

    Raises:
        ValueError: k is negative.
    """
    if k < 0:
        raise ValueError(f"k must not be negative, got {k}.")
    return min(k, n - len(given))


def checked_first(first: int | None, n: int, given: Ints) -> int | None:
    """The row that must be picked first, if any.

    Raises:
        ValueError: it is no row of the pool, or is in `given`.
    """
    if first is None:
        return None
    if not 0 <= first < n:
        raise ValueError(f"first must be a row of 0..{n - 1}, got {first}.")
    if (given == first).any():
        raise ValueError(f"first is row {first}, which is in given already.")
    return int(first)
