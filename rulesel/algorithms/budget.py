"""Cutting a ranking at a number of tokens instead of a number of rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def token_prefix(order: npt.NDArray[np.int64], token_counts: npt.ArrayLike, max_tokens: int, *, strict: bool) -> int:
    """How many rows of a ranking a token budget buys.

    Args:
        order: row numbers, best first.
        token_counts: tokens of every row, shape (n,).
        max_tokens: the budget.
        strict: stop before the row that would exceed the budget; otherwise keep it, so that at least the budget is
            used (the convention of QuRating, arXiv 2402.09739).

    Returns:
        Length of the prefix of `order`; all of it where the pool holds fewer tokens than the budget.
    """
    counts = np.asarray(token_counts)[order]
    if (counts < 0).any():
        raise ValueError("A token count is negative.")
    if max_tokens < 0:
        raise ValueError(f"max_tokens must be at least 0, got {max_tokens}.")
    spent = np.cumsum(counts, dtype=np.int64)
    if strict:
        return int(np.searchsorted(spent, max_tokens, side="right"))
    return min(int(np.searchsorted(spent, max_tokens, side="left")) + (max_tokens > 0), len(order))
