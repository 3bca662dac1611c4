"""Strengths from pairwise comparisons: Bradley-Terry with a ridge, and Davidson's model where there are ties.

Bradley and Terry 1952: P(i beats j) = sigma(b_i - b_j). Davidson 1970 adds P(tie) in proportion to
nu * exp((b_i + b_j) / 2). Strengths are log-strengths: the likelihood is convex in them, and a Gaussian prior (ridge)
keeps an undefeated item finite. Ford 1957 tells when a maximum exists without one.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DENSE_LIMIT = 5000
"""Most items solved by Newton's method with a dense Hessian; beyond it L-BFGS, without standard errors."""


class Strengths(NamedTuple):
    """Fitted items; unpacks as (strength, standard_error, component)."""

    strength: Floats
    """Log-strength, higher is better, mean 0 within each component, shape (n,)."""
    standard_error: Floats
    """From the inverse Hessian at the optimum, shape (n,); NaN above `DENSE_LIMIT` items."""
    component: Ints
    """Items with different numbers were never compared, not even through others: their order means nothing."""


class _Comparisons(NamedTuple):
    first: Ints
    second: Ints
    weight: Floats
    tied: npt.NDArray[np.bool_]
    n: int
    ridge: float


def bradley_terry(pairs: npt.ArrayLike, n: int, *, ridge: float, ties: npt.ArrayLike | None = None) -> Strengths:
    """Fit log-strengths to comparisons.

    Args:
        pairs: rows (winner, loser), or (winner, loser, weight) with weights >= 0; a comparison of probability p is
            two rows, of weights p and 1 - p. Shape (m, 2) or (m, 3).
        n: number of items; items are 0 .. n - 1.
        ridge: lambda of the penalty lambda * sum of squared strengths (a Gaussian prior of sd 1 / sqrt(2 lambda));
            .05 is a mild choice. 0 gives the plain maximum likelihood, where it exists.
        ties: rows (item, item) or (item, item, weight) that ended even; Davidson's model is fitted when given and
            not empty. A tie counted as half a win each way is two rows of `pairs` with weight 1/2 instead.

    Warns:
        UserWarning: the items fall into components that were never compared with one another.

    Raises:
        ValueError: items out of range, an item against itself, negative weights, or no finite maximum with ridge 0.
    """
    if not ridge >= 0:
        raise ValueError(f"ridge must be at least 0, got {ridge}.")
    if n < 1:
        raise ValueError(f"There must be at least one item, got n = {n}.")
    won = _rows(pairs, n, "pairs")
    even = _rows(() if ties is None else ties, n, "ties")
    rows = np.concatenate([won, even])
    tied = np.arange(len(rows)) >= len(won)
    live = rows[:, 2] > 0
    rows, tied = rows[live], tied[live]
    seen = _Comparisons(rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64), rows[:, 2], tied, n, ridge)
    component = _components(seen)
    solve = _newton if n <= DENSE_LIMIT else _lbfgs
    strength, error = solve(seen, component)
    size = np.bincount(component)
    strength = strength - (np.bincount(component, strength) / size)[component]
    return Strengths(strength, error, component)


def _rows(rows: npt.ArrayLike, n: int, name: str) -> Floats:
    """Comparisons as (first, second, weight), shape (m, 3)."""
    array = np.asarray(rows, dtype=np.float64)
    if array.size == 0:
        return np.empty((0, 3))
    if array.ndim != 2 or array.shape[1] not in (2, 3):
        raise ValueError(f"{name} must have shape (m, 2) or (m, 3), got {array.shape}.")
    items = array[:, :2]
    wrong = (items != np.floor(items)) | (items < 0) | (items >= n)
    if wrong.any():
        raise ValueError(f"{name}[{np.flatnonzero(wrong.any(axis=1))[0]}] names an item outside 0..{n - 1}.")
    if (items[:, 0] == items[:, 1]).any():
        raise ValueError(f"{name}[{np.flatnonzero(items[:, 0] == items[:, 1])[0]}] compares an item with itself.")
    if array.shape[1] == 2:
        return np.column_stack([array, np.ones(len(array))])
    if not (np.isfinite(array[:, 2]) & (array[:, 2] >= 0)).all():
        raise ValueError(f"A weight in {name} is negative or not finite.")
    return array


def _components(seen: _Comparisons) -> Ints:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = (np.concatenate([seen.first, seen.second[seen.tied]]), np.concatenate([seen.second, seen.first[seen.tied]]))
    beats = coo_array((np.ones(len(ends[0])), ends), shape=(seen.n, seen.n)).tocsr()
    count, component = connected_components(beats, directed=True, connection="weak")
    if seen.ridge == 0 and connected_components(beats, directed=True, connection="strong")[0] != count:
        raise ValueError(
            "Some items won or lost all their comparisons, so their strength is infinite. Use a ridge > 0."
        )
    if count > 1:
        warnings.warn(
            f"The comparisons fall into {count} components; strengths are comparable only within one.", stacklevel=3
        )
    return np.asarray(component, dtype=np.int64)


def _slopes(seen: _Comparisons, strength: Floats, eta: float) -> tuple[float, Floats, Floats, Floats, Floats]:
    """Objective, and per comparison the slope and curvature in the difference, slope of eta, tie probability."""
    half = (strength[seen.first] - strength[seen.second]) / 2
    peak = np.maximum(np.abs(half), eta)
    up, down, level = np.exp(half - peak), np.exp(-half - peak), np.exp(eta - peak)
    total = up + down + level
    lead, tie = (up - down) / total, level / total
    score = np.where(seen.tied, 0.0 if eta == -np.inf else eta, half)
    value = seen.weight @ (np.log(total) + peak - score) + seen.ridge * strength @ strength
    slope = seen.weight * (lead - ~seen.tied) / 2
    curvature = seen.weight * ((1 - tie) - lead**2) / 4
    return float(value), slope, curvature, seen.weight * (tie - seen.tied), tie


def _gradient(seen: _Comparisons, strength: Floats, slope: Floats) -> Floats:
    pull = np.bincount(seen.first, slope, seen.n) - np.bincount(seen.second, slope, seen.n)
    return np.asarray(pull + 2 * seen.ridge * strength)


def _newton(seen: _Comparisons, component: Ints) -> tuple[Floats, Floats]:
    n = seen.n
    x = np.zeros(n + bool(seen.tied.any()))
    # Without a ridge each component can be shifted freely; this pins its mean to 0 and is taken out again below.
    pin = (component[:, None] == component) / np.bincount(component)[component] if seen.ridge == 0 else np.zeros((n, n))
    for _ in range(200):
        value, gradient, hessian = _second_order(seen, x)
        hessian[:n, :n] += pin
        step = np.linalg.solve(hessian, gradient)
        if np.abs(step).max() < 1e-12:
            break
        scale = 1.0
        while scale > 1e-6 and _slopes(seen, *_split(x - scale * step, n))[0] > value + 1e-12:
            scale /= 2
        x = x - scale * step
    hessian = _second_order(seen, x)[2]
    hessian[:n, :n] += pin
    error = np.sqrt(np.maximum(np.diagonal(np.linalg.inv(hessian))[:n] - np.diagonal(pin), 0.0))
    if seen.ridge == 0:
        error[np.bincount(component)[component] == 1] = np.inf
    return x[:n], error


def _second_order(seen: _Comparisons, x: Floats) -> tuple[float, Floats, Floats]:
    """Objective, gradient and Hessian in the strengths and, with ties, Davidson's ln nu as the last parameter."""
    n = seen.n
    value, slope, curvature, eta_slope, tie = _slopes(seen, *_split(x, n))
    gradient, hessian = np.zeros_like(x), np.zeros((len(x), len(x)))
    gradient[:n] = _gradient(seen, x[:n], slope)
    edges = np.bincount(seen.first * n + seen.second, curvature, n * n).reshape(n, n)
    edges = edges + edges.T
    hessian[:n, :n] = np.diag(edges.sum(axis=1) + 2 * seen.ridge) - edges
    if len(x) > n:
        lead = 2 * slope / seen.weight + ~seen.tied
        cross = -seen.weight * tie * lead / 2
        gradient[n] = eta_slope.sum()
        hessian[n, n] = (seen.weight * tie * (1 - tie)).sum()
        hessian[:n, n] = np.bincount(seen.first, cross, n) - np.bincount(seen.second, cross, n)
        hessian[n, :n] = hessian[:n, n]
    return value, gradient, hessian


def _split(x: Floats, n: int) -> tuple[Floats, float]:
    return x[:n], float(x[n]) if len(x) > n else -np.inf


def _lbfgs(seen: _Comparisons, component: Ints) -> tuple[Floats, Floats]:
    from scipy.optimize import minimize

    n = seen.n

    def objective(x: Floats) -> tuple[float, Floats]:
        value, slope, _, eta_slope, _ = _slopes(seen, *_split(x, n))
        return value, np.append(_gradient(seen, x[:n], slope), eta_slope.sum() if len(x) > n else [])

    start = np.zeros(n + bool(seen.tied.any()))
    fit = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000, "gtol": 1e-7})
    return np.asarray(fit.x[:n], dtype=np.float64), np.full(len(component), np.nan)
