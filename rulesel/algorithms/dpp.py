"""The most likely subset of a fixed-size determinantal point process: the largest determinant det(L_Y), |Y| = k.

Greedy by incremental Cholesky: Chen, Zhang, Zhou 2018 (arXiv 1709.05135), Algorithm 1. Greedy alone can be far from
the best set, so `map_subset` starts once from every item and then exchanges single items until none improves.
L is a dense symmetric positive semidefinite matrix, shape (items, items); low-rank kernels are not handled here.
Determinants within `ties.TOLERANCE` of the largest (so their logarithms, absolutely) are ties, and the lower index, or
the lower sorted set, wins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations, islice

import numpy as np
import numpy.typing as npt

from rulesel.algorithms import ties
from rulesel.algorithms.kdpp import KDpp, numerical_rank

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

STOP = 1e-10
"""Greedy stops at a residual below this share of the largest diagonal entry: what is left is rounding."""

EXCHANGED = 32
"""How many of the greedy sets, the best first, are improved by exchanges; the others end in the same few sets."""

EXHAUSTIVE_LIMIT = 2_000_000
"""Most subsets that are enumerated."""


def log_det(L: Floats, subset: npt.ArrayLike) -> float:
    """Natural log of det(L_Y); -inf for a singular one, 0 for the empty set."""
    rows = np.asarray(subset, dtype=np.int64)
    if len(rows) == 0:
        return 0.0
    sign, value = np.linalg.slogdet(L[np.ix_(rows, rows)])
    return float(value) if sign > 0 else -math.inf


def greedy_map(L: Floats, k: int, start: int | None = None) -> tuple[Ints, Floats]:
    """Greedy maximisation of det(L_Y): each step takes the item of largest residual variance.

    Args:
        L: kernel.
        k: items wanted.
        start: first item, or None for the one of largest diagonal.

    Returns:
        Items in the order taken, and the natural log of each step's gain; the gains sum to log det(L_Y). Fewer than
        k where the rest is linearly dependent on what was taken.
    """
    _check(L, k)
    starts = np.array([_first_max(np.diagonal(L))[()] if start is None else start], dtype=np.int64)
    if k == 0 or not L[starts[0], starts[0]] > STOP * np.diagonal(L).max(initial=0.0):
        return np.empty(0, dtype=np.int64), np.empty(0)
    taken, gains = _greedy_batch(L, k, starts)
    kept = taken[0] >= 0
    return taken[0][kept], gains[0][kept]


def map_subset(L: Floats, k: int, required: npt.ArrayLike = ()) -> Ints:
    """Greedy from every first item, then single exchanges to a local maximum of det(L_Y); the best set found.

    Args:
        L: kernel.
        k: items wanted, at most the numerical rank.
        required: items that must be in the set.

    Returns:
        The set in greedy order (largest residual variance first), shape (k,).

    Raises:
        ValueError: k exceeds the items or the rank, or the required items are dependent.
    """
    _check(L, k)
    fixed = np.unique(np.asarray(required, dtype=np.int64))
    _check_rank(L, k)
    if len(fixed) > k:
        raise ValueError(f"{len(fixed)} items are required, but only {k} are to be chosen.")
    if len(fixed) and log_det(L, fixed) == -math.inf:
        raise ValueError("The required items are linearly dependent on one another.")
    if k == len(fixed):
        return greedy_order(L, fixed)
    reduced, free = condition(L, fixed)
    found: dict[tuple[int, ...], float] = {}
    seen: set[frozenset[int]] = set()
    for chosen in _starts(reduced, k - len(fixed))[:EXCHANGED]:
        whole = tuple(sorted(exchange(L, np.concatenate([fixed, free[chosen]]), fixed, seen).tolist()))
        found.setdefault(whole, log_det(L, whole))
    if not found:
        raise ValueError(f"No {k} independent items contain the required ones.")
    top = max(found.values())
    best = min(whole for whole, value in found.items() if value >= top - ties.TOLERANCE)
    return greedy_order(L, np.array(best, dtype=np.int64))


def exchange(
    L: Floats, subset: npt.ArrayLike, required: npt.ArrayLike = (), seen: set[frozenset[int]] | None = None
) -> Ints:
    """Exchange one item at a time, the best exchange first, until det(L_Y) no longer grows.

    With A the inverse of L_Y and W = A L_Y,all, putting j in i's place multiplies det(L_Y) by
    A_ii d_j + W_ij^2, where d_j is the variance of j that Y leaves over; so one inverse prices every exchange.

    Args:
        L: kernel.
        subset: where to start.
        required: items that stay.
        seen: sets that earlier searches passed through; the search stops on one of them, since it would go the same
            way, and adds its own.
    """
    passed = set() if seen is None else seen
    chosen = np.asarray(subset, dtype=np.int64).copy()
    locked = np.isin(chosen, np.asarray(required, dtype=np.int64))
    diagonal = np.diagonal(L)
    for _ in range(100 * max(len(chosen), 1)):  # every step grows the determinant: a bound against rounding only
        here = frozenset(chosen.tolist())
        if here in passed:
            return chosen
        passed.add(here)
        block = L[np.ix_(chosen, chosen)]
        try:
            inverse = np.linalg.inv(np.linalg.cholesky(block))
        except np.linalg.LinAlgError:
            return chosen
        a = inverse.T @ inverse
        w = a @ L[chosen]
        residual = np.maximum(diagonal - np.einsum("ij,ij->j", L[chosen], w), 0.0)
        factor = np.diagonal(a)[:, None] * residual + w**2
        factor[:, chosen] = 0.0
        factor[locked] = 0.0
        out, into = np.unravel_index(int(_first_max(factor.ravel())[()]), factor.shape)
        if not factor[out, into] > 1 + ties.TOLERANCE:
            return chosen
        chosen[out] = into
    return chosen


def greedy_order(L: Floats, subset: npt.ArrayLike) -> Ints:
    """The items of a set, ordered by greedy residual variance within the set; ties by lower index."""
    rows = np.sort(np.asarray(subset, dtype=np.int64))
    if len(rows) == 0:
        return rows
    taken, _ = greedy_map(L[np.ix_(rows, rows)], len(rows))
    left = np.setdiff1d(np.arange(len(rows)), taken)
    ordered: Ints = rows[np.concatenate([taken, left])]
    return ordered


def condition(L: Floats, fixed: Ints) -> tuple[Floats, Ints]:
    """Kernel of the other items given that the fixed ones are in (Schur complement), and their indices."""
    free = np.setdiff1d(np.arange(len(L)), fixed)
    if len(fixed) == 0:
        return L, free
    cross = L[np.ix_(fixed, free)]
    return L[np.ix_(free, free)] - cross.T @ np.linalg.solve(L[np.ix_(fixed, fixed)], cross), free


def best_of(L: Floats, k: int, draws: int, rng: np.random.Generator) -> Ints:
    """The largest determinant among exact k-DPP draws, in greedy order."""
    _check_rank(L, k)
    process = KDpp(L, k)
    seen = {tuple(sorted(process.sample(rng).tolist())) for _ in range(draws)}
    values = {subset: log_det(L, subset) for subset in seen}
    top = max(values.values())
    return greedy_order(L, min(subset for subset, value in values.items() if value >= top - ties.TOLERANCE))


def exhaustive(L: Floats, k: int) -> Ints:
    """The largest determinant among all subsets of size k, in greedy order.

    Raises:
        ValueError: more than `EXHAUSTIVE_LIMIT` subsets, or k above the rank.
    """
    _check(L, k)
    _check_rank(L, k)
    top, near = -math.inf, [(-math.inf, np.arange(k))]
    for subsets, values in _enumerate(L, k):  # in the order of sets
        top = max(top, float(values.max()))
        level = np.flatnonzero(values >= top - ties.TOLERANCE)
        near += zip(values[level].tolist(), subsets[level], strict=True)
        near = [one for one in near if one[0] >= top - ties.TOLERANCE]
    return greedy_order(L, near[0][1])


def subset_probabilities(L: Floats, k: int) -> tuple[Ints, Floats]:
    """All subsets of size k in lexicographic order, shape (subsets, k), and their k-DPP probabilities."""
    _check(L, k)
    parts = list(_enumerate(L, k))
    subsets = np.concatenate([part for part, _ in parts])
    values = np.concatenate([value for _, value in parts])
    if not np.isfinite(values.max()):
        raise ValueError(f"Every subset of size {k} is singular.")
    weights = np.exp(values - values.max())
    return subsets, weights / weights.sum()


def _check(L: Floats, k: int) -> None:
    if L.ndim != 2 or L.shape[0] != L.shape[1]:
        raise ValueError(f"A kernel is square, got shape {L.shape}.")
    if not 0 <= k <= len(L):
        raise ValueError(f"Cannot choose {k} of {len(L)} items.")


def _check_rank(L: Floats, k: int) -> None:
    rank = numerical_rank(np.linalg.eigvalsh(L))
    if k > rank:
        raise ValueError(f"Cannot choose {k} independent items: the kernel has rank {rank}. Ask for at most {rank}.")


def _first_max(values: Floats) -> Ints:
    """Index of the maximum along the last axis; the lowest of those within rounding of it."""
    top = values.max(axis=-1, keepdims=True)
    return np.asarray(np.argmax(values >= top - ties.TOLERANCE * np.abs(top), axis=-1), dtype=np.int64)


def _starts(L: Floats, k: int) -> list[Ints]:
    """The distinct sets that greedy reaches from each possible first item, the largest determinant first."""
    usable = np.flatnonzero(np.diagonal(L) > STOP * np.diagonal(L).max())
    chunk = max(1, 4_000_000 // max(1, k * len(L)))  # keeps the Cholesky rows of a batch near 32 MB
    found: dict[tuple[int, ...], float] = {}
    for begin in range(0, len(usable), chunk):
        taken, gains = _greedy_batch(L, k, usable[begin : begin + chunk])
        for row, value in zip(taken, gains.sum(axis=1), strict=True):
            if value > -np.inf:
                found.setdefault(tuple(sorted(row.tolist())), float(value))
    sets = sorted(found)
    return [np.array(sets[at], dtype=np.int64) for at in ties.order(np.array([found[one] for one in sets])).tolist()]


def _greedy_batch(L: Floats, k: int, starts: Ints) -> tuple[Ints, Floats]:
    """Greedy from several first items at once: items (starts, k), -1 where it stopped, and log gains."""
    count, items = len(starts), len(L)
    rows = np.zeros((count, k, items))
    residual = np.repeat(np.diagonal(L)[None, :], count, axis=0)
    floor = STOP * max(float(np.diagonal(L).max()), 0.0)
    taken = np.full((count, k), -1, dtype=np.int64)
    gains = np.full((count, k), -np.inf)
    every = np.arange(count)
    free = np.ones((count, items), dtype=bool)
    for step in range(k):
        pick = starts if step == 0 else _first_max(np.where(free, residual, -1.0))
        variance = residual[every, pick]
        alive = variance > floor
        taken[alive, step] = pick[alive]
        gains[alive, step] = np.log(variance[alive])
        scale = np.sqrt(np.where(alive, variance, 1.0))
        past = rows[:, :step]
        row = (L[pick] - (past[every, :, pick][:, None, :] @ past)[:, 0]) / scale[:, None]
        row[~alive] = 0.0
        rows[:, step] = row
        residual = np.maximum(residual - row**2, 0.0)
        free[every, pick] = False
    return taken, gains


def _enumerate(L: Floats, k: int) -> Iterator[tuple[Ints, Floats]]:
    count = math.comb(len(L), k)
    if count > EXHAUSTIVE_LIMIT:
        raise ValueError(f"{count} subsets are too many to enumerate (limit {EXHAUSTIVE_LIMIT}); use method 'map'.")
    every = combinations(range(len(L)), k)
    while chunk := list(islice(every, 50_000)):
        subsets = np.array(chunk, dtype=np.int64).reshape(len(chunk), k)
        sign, value = np.linalg.slogdet(L[subsets[:, :, None], subsets[:, None, :]])
        yield subsets, np.where(sign > 0, value, -np.inf)
