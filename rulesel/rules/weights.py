"""How much each chosen rule counts in the score of an example."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

WeightKind = Literal["uniform", "reliability", "decorrelated", "fitted"]

SHRINK = 0.1
"""Lambda of the decorrelated weights (C + lambda I)^-1 1."""


def aggregation_weights(
    kind: WeightKind,
    C: Floats,
    *,
    reliability: Floats | None = None,
    graded: tuple[Floats, Floats] | None = None,
) -> Floats:
    """Weights of z-scored rules, shape (r,), absolute values summing to 1.

    Args:
        kind: uniform; reliability, in proportion to it; decorrelated, the weights of least variance
            (C + lambda I)^-1 1, which share one vote among rules that say the same; fitted, a ridge regression on
            grades that is shrunk toward uniform weights.
        C: correlations of the chosen rules, oriented, shape (r, r).
        reliability: shape (r,), NaN where unknown, for kind "reliability".
        graded: z-scored oriented ratings of graded rows, shape (m, r), NaN where missing, and their grades, shape
            (m,), for kind "fitted".

    Raises:
        ValueError: the kind needs what was not given, or does not exist.
    """
    r = len(C)
    raw: Floats
    if kind == "uniform":
        raw = np.ones(r)
    elif kind == "reliability":
        if reliability is None or np.isnan(reliability).all():
            raise ValueError("Weights 'reliability' need the reliability of the rules.")
        known = np.where(np.isnan(reliability), np.nanmean(reliability), reliability)
        raw = np.asarray(np.maximum(known, 0.05), dtype=np.float64)
    elif kind == "decorrelated":
        raw = np.asarray(np.linalg.solve(C + SHRINK * np.eye(r), np.ones(r)), dtype=np.float64)
    elif kind == "fitted":
        if graded is None:
            raise ValueError("Weights 'fitted' need an anchor: grades of some of the examples.")
        raw = _fitted(*graded)
    else:
        raise ValueError(f"weights must be uniform, reliability, decorrelated or fitted, not {kind!r}.")
    size = float(np.abs(raw).sum())
    return np.asarray(raw / size) if size > 0 else np.full(r, 1 / r)


def _fitted(Z: Floats, grades: Floats) -> Floats:
    x = np.nan_to_num(Z)
    x = x - x.mean(axis=0)
    y = (grades - grades.mean()) / grades.std()
    r = x.shape[1]
    plain = x.mean(axis=1)
    slope = max(float(plain @ y) / max(float(plain @ plain), 1e-12), 0.0)
    start = np.full(r, slope / r)
    correction = np.linalg.solve(x.T @ x + r * np.eye(r), x.T @ (y - x @ start))
    return np.asarray(start + correction)
