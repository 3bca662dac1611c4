"""How much a choice changes when the examples it was made on change."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def nogueira(sets: Sequence[npt.ArrayLike], items: int) -> float:
    """Stability of chosen sets: 1 for identical ones, about 0 for random ones, can be slightly negative.

    Nogueira, Sechidis, Brown 2018, On the Stability of Feature Selection Algorithms (JMLR 18), Definition 4:
    one minus the mean unbiased variance of an item's membership, over its value for random sets of the mean size.
    NaN where it is undefined: fewer than two sets, or all sets empty or whole.
    """
    member = membership(sets, items)
    count = len(member)
    share = member.sum() / (count * items) if count else 0.0
    if count < 2 or share in (0.0, 1.0):
        return float("nan")
    frequency = member.mean(axis=0)
    variance = count / (count - 1) * frequency * (1 - frequency)
    return float(1 - variance.mean() / (share * (1 - share)))


def mean_jaccard(sets: Sequence[npt.ArrayLike], items: int) -> float:
    """Mean over all pairs of sets of their intersection over their union, in [0, 1]; two empty sets agree."""
    member = membership(sets, items).astype(np.float64)
    if len(member) < 2:
        return float("nan")
    both = member @ member.T
    size = np.diagonal(both)
    union = size[:, None] + size - both
    overlap = np.divide(both, union, out=np.ones_like(both), where=union > 0)
    return float(overlap[np.triu_indices(len(member), 1)].mean())


def membership(sets: Sequence[npt.ArrayLike], items: int) -> npt.NDArray[np.bool_]:
    """One row a set, one column an item: is it in."""
    member = np.zeros((len(sets), items), dtype=bool)
    for row, chosen in enumerate(sets):
        member[row, np.asarray(chosen, dtype=np.int64)] = True
    return member


def bootstrap(choose: Callable[[Ints], npt.ArrayLike], rows: int, repeats: int, seed: int) -> list[npt.ArrayLike]:
    """What `choose` returns on resampled rows.

    Args:
        choose: takes row numbers drawn with replacement, shape (rows,).
        rows: number of rows to draw from, and to draw.
        repeats: number of resamples.
        seed: resample b depends on (seed, b) only, so more repeats extend fewer.
    """
    return [choose(np.random.default_rng([seed, b]).integers(0, rows, rows)) for b in range(repeats)]
