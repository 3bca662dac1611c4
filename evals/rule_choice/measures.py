"""How good a score is, on resampled examples."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata


def resamples(n: int, count: int, seed: int) -> np.ndarray:
    """How often each example occurs in each bootstrap resample, (count, n); the first row is the data as it is."""
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=count - 1)
    return np.vstack([np.ones(n), drawn]).astype(float)


def auc(score: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Chance that a good example outranks a bad one, ties half, under each row of weights (B, n)."""
    good, bad = truth > 0.5, truth <= 0.5
    difference = score[good][:, None] - score[bad][None, :]
    wins = (difference > 0) + 0.5 * (difference == 0)
    up, down = weight[:, good], weight[:, bad]
    pairs = up.sum(axis=1) * down.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pairs > 0, np.einsum("bi,ij,bj->b", up, wins, down, optimize=True) / pairs, np.nan)


def spearman(score: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted correlation of the ranks in the sample at hand, under each row of weights (B, n)."""
    a, b = rankdata(score), rankdata(truth)
    total = weight.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        ma, mb = weight @ a / total, weight @ b / total
        cov = weight @ (a * b) / total - ma * mb
        va, vb = weight @ a**2 / total - ma**2, weight @ b**2 / total - mb**2
        return np.where((va > 1e-9) & (vb > 1e-9), cov / np.sqrt(va * vb), np.nan)


def quality(score: np.ndarray, truth: np.ndarray, weight: np.ndarray, *, binary: bool) -> np.ndarray:
    """AUC or Spearman over the examples that have both a score and a truth, under each row of weights (B, n)."""
    known = ~np.isnan(score) & ~np.isnan(truth)
    return (auc if binary else spearman)(score[known], truth[known], weight[:, known])


def calibrated_mse(score: np.ndarray, truth: np.ndarray) -> float:
    """Mean squared error after the best affine map of the score: var(truth) (1 - r^2)."""
    known = ~np.isnan(score) & ~np.isnan(truth)
    g, v = truth[known], score[known]
    r = np.corrcoef(v, g)[0, 1] if v.std() > 0 and g.std() > 0 else 0.0
    return float(g.var() * (1 - r**2))


def winning_rate(ours: np.ndarray, others: np.ndarray) -> float:
    """Chance that one of our errors is below one of the others', ties half (arXiv 2410.04715)."""
    difference = np.asarray(ours)[:, None] - np.asarray(others)[None, :]
    return float(((difference < 0) + 0.5 * (difference == 0)).mean())
