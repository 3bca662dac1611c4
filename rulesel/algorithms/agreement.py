"""How well scores agree with a gold standard, with intervals.

Spearman's rho and Kendall's tau-b for any order, the area under the ROC curve for two classes, Cohen's kappa with
quadratic weights for grades on one scale (Cohen 1968). Intervals are percentiles of a seeded bootstrap over examples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Estimate(NamedTuple):
    """A number with its 95 % interval; all NaN where the data define none."""

    value: float
    low: float
    high: float


class Agreement(NamedTuple):
    """Agreement over the n examples that have both numbers; each higher is better."""

    n: int
    spearman: Estimate
    """In [-1, 1]."""
    kendall: Estimate
    """Tau-b, in [-1, 1]."""
    auc: Estimate
    """In [0, 1], .5 is chance; NaN unless the gold has exactly two values, the higher one being the good class."""
    kappa: Estimate
    """Quadratically weighted, at most 1; NaN unless scores and gold, rounded, are grades on one scale."""


def agreement(
    scores: npt.ArrayLike, gold: npt.ArrayLike, *, draws: int = 1000, confidence: float = 0.95, seed: int = 0
) -> Agreement:
    """Compare scores with gold labels.

    Args:
        scores: (n,), NaN where there is none.
        gold: (n,), any numbers; NaN where there is none.
        draws: bootstrap samples.
        confidence: of the intervals.
        seed: of the bootstrap.

    Raises:
        ValueError: the shapes differ, or fewer than 3 examples have both.
    """
    x, y = np.asarray(scores, dtype=np.float64), np.asarray(gold, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"scores {x.shape} and gold {y.shape} must be vectors of one length.")
    both = ~(np.isnan(x) | np.isnan(y))
    x, y = x[both], y[both]
    if len(x) < 3:
        raise ValueError(f"Only {len(x)} examples have both a score and a gold label; agreement needs at least 3.")
    measures = (spearman, kendall, auc, kappa)
    return Agreement(len(x), *(bootstrap(m, x, y, draws=draws, confidence=confidence, seed=seed) for m in measures))


def bootstrap(
    measure: Callable[[Floats, Floats], float],
    x: Floats,
    y: Floats,
    *,
    draws: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """A measure of two vectors (n,) without gaps, with the percentile interval over resampled pairs."""
    value = measure(x, y)
    if math.isnan(value):
        return Estimate(value, value, value)
    rows = np.random.default_rng(seed).integers(0, len(x), size=(draws, len(x)))
    found = np.array([measure(x[row], y[row]) for row in rows])
    found = found[~np.isnan(found)]  # a draw of one class defines no area
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(found, [tail, 1.0 - tail]) if len(found) else (math.nan, math.nan)
    return Estimate(value, float(low), float(high))


def spearman(x: Floats, y: Floats) -> float:
    """Correlation of ranks, ties averaged; NaN where either is constant."""
    from scipy.stats import rankdata

    a, b = rankdata(x) - (len(x) + 1) / 2, rankdata(y) - (len(y) + 1) / 2
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale > 0 else math.nan


def kendall(x: Floats, y: Floats) -> float:
    """Tau-b: concordant minus discordant pairs, over the geometric mean of the pairs untied in each; NaN if constant."""
    from scipy.stats import kendalltau

    if (x == x[0]).all() or (y == y[0]).all():
        return math.nan
    return float(kendalltau(x, y).statistic)


def auc(x: Floats, y: Floats) -> float:
    """Chance that a random good example scores above a random bad one, ties counting half (Mann and Whitney 1947).

    Args:
        x: scores.
        y: two values, the higher one marks the good class; anything else gives NaN.
    """
    from scipy.stats import rankdata

    classes = np.unique(y)
    if len(classes) != 2:
        return math.nan
    good = y == classes[1]
    n_good, n_bad = int(good.sum()), int((~good).sum())
    ranks = rankdata(x)
    return float((ranks[good].sum() - n_good * (n_good + 1) / 2) / (n_good * n_bad))


def kappa(x: Floats, y: Floats) -> float:
    """Cohen's kappa with quadratic weights, 1 - sum of squared differences over that expected by chance.

    Scores are rounded to whole grades. NaN unless gold is whole, has at least two values, and the scores lie within
    its range by half a grade.
    """
    if not (y == np.round(y)).all() or len(np.unique(y)) < 2:
        return math.nan
    if x.min() < y.min() - 0.5 or x.max() > y.max() + 0.5:
        return math.nan
    grades = np.round(x)
    chance = float(np.mean(grades**2) + np.mean(y**2) - 2.0 * np.mean(grades) * np.mean(y))
    return 1.0 - float(np.mean((grades - y) ** 2)) / chance if chance > 0 else math.nan
