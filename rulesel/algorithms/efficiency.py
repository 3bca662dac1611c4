"""Comparing selectors as the survey of data selection does: efficiency by ratios, feasibility by ranks.

Liu et al. 2025, "Take the Essence and Discard the Dross" (NAACL 2025, arXiv 2406.14115), sections 4.1 and 4.2, and the
ranking page its authors released (TEDD-Ranker). A selector is efficient when a model trained on a small share of the
pool does as well as one trained on all of it; it is feasible when it is simple to run and bound to little.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Point = tuple[float, float]
Scale = Literal["raw", "same_benchmark", "other_benchmark"]

PUBLISHED: dict[str, Point] = {
    "AlpaGasus": (0.173, 1.284),
    "Superfiltering": (0.05, 1.475),
    "InsTag": (0.02, 1.344),
    "DEITA": (0.1, 1.426),
    "InstructionGPT-4": (0.058, 1.443),
    "Nuggets": (0.145, 1.519),
    "IFD": (0.05, 1.747),
    "LESS": (0.05, 1.491),
    "Instruction-Mining": (0.025, 1.400),
    "SHED": (0.09, 1.460),
    "CaR": (0.0196, 1.343),
    "SelectIT": (0.2, 1.653),
}
"""Share selected and improvement ratio of the methods in the survey, on its win-rate scale."""

ANCHORS: tuple[Point, Point] = (PUBLISHED["Instruction-Mining"], PUBLISHED["InstructionGPT-4"])
"""The two methods whose line is the survey's yardstick."""

_LINES: dict[str, tuple[Point, Point]] = {
    "same_benchmark": ((0.949, 1.284), (1.01, 1.475)),
    "other_benchmark": ((0.985, 1.344), (1.0, 1.426)),
}
_TIE = 1e-6
"""Values this close share a rank."""

_COUNTLESS = 100
_COUNTLESS_PENALTY = 200.0
"""Above so many trained models the page stops counting."""


def improvement_ratio(selected: npt.ArrayLike, baseline: npt.ArrayLike, *, scale: Scale = "raw") -> float:
    """Mean over benchmarks of the score after training on the selection over the baseline's score; higher is better.

    Args:
        selected: a score per benchmark, shape (b,).
        baseline: of the model the selection is compared with, shape (b,), or one number for all.
        scale: "raw" for scores of one's own, all with the same baselines. The others map the ratio to the survey's
            win-rate scale by its straight lines, which rest on particular published results.

    Raises:
        ValueError: shapes that do not match, numbers that are not finite, or a baseline of 0.
    """
    top, base = np.atleast_1d(np.asarray(selected, np.float64)), np.atleast_1d(np.asarray(baseline, np.float64))
    if top.ndim != 1 or base.shape not in {(1,), top.shape} or not len(top):
        raise ValueError(f"Need a baseline for each score, or one for all; got shapes {top.shape} and {base.shape}.")
    if not (np.isfinite(top).all() and np.isfinite(base).all() and base.all()):
        raise ValueError("Scores must be finite and baselines not 0.")
    ratio = float((top / base).mean())
    return ratio if scale == "raw" else float(_line(*_LINES[scale], np.array(ratio)))


def selected_fraction(selected: int, pool: int) -> float:
    """Share of the pool that was selected, in [0, 1]; lower is better.

    Raises:
        ValueError: an empty pool, or a selection that is no part of it.
    """
    if not 0 <= selected <= pool or pool == 0:
        raise ValueError(f"{selected} rows selected of a pool of {pool}.")
    return selected / pool


class Efficiency(NamedTuple):
    """Standing of selectors against a line; unpacks as (distance, rank)."""

    distance: Floats
    """Signed distance to the line on the survey's chart, in its pixels; above the line is positive, higher is better."""
    rank: Ints
    """Dense rank, 1 is the most efficient."""


def efficiency(fraction: npt.ArrayLike, ratio: npt.ArrayLike, *, anchors: tuple[Point, Point] = ANCHORS) -> Efficiency:
    """Rank selectors by how far they lie above the line through two anchor methods.

    The order is that of ratio - line(fraction): the chart only scales it. The choice of anchors does move the order.

    Args:
        fraction: share of the pool selected, shape (m,).
        ratio: improvement ratio, shape (m,).
        anchors: two (fraction, ratio) points of different fractions.

    Raises:
        ValueError: shapes that do not match, numbers that are not finite, or anchors of one fraction.
    """
    x, y = np.asarray(fraction, np.float64), np.asarray(ratio, np.float64)
    if x.ndim != 1 or x.shape != y.shape or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError(f"Need as many finite fractions as ratios; got shapes {x.shape} and {y.shape}.")
    (x0, y0), (x1, y1) = anchors
    if abs(x1 - x0) < 1e-12:
        raise ValueError("The two anchors select the same share, so no line goes through them.")
    every_x, every_y = np.append(x, [x0, x1]), np.append(y, [y0, y1])
    across = 580 / (1.05 * max(0.2, every_x.max()) - min(0.0, every_x.min()))
    up = 380 / (1.05 * max(1.75, every_y.max()) + 0.01 - 0.95 * every_y.min())
    slope = (y1 - y0) / (x1 - x0)
    distance = (y - _line(*anchors, x)) * up / np.sqrt(1 + (slope * up / across) ** 2)
    return Efficiency(distance, dense_rank(-distance))


class Feasibility(NamedTuple):
    """Penalties and ranks of selectors, each of shape (m,); 1 is the most feasible."""

    simplicity: Floats
    flexibility: Floats
    simplicity_rank: Ints
    flexibility_rank: Ints
    rank: Ints


def feasibility(
    trained: npt.ArrayLike,
    steps: npt.ArrayLike,
    *,
    reproducible: npt.ArrayLike,
    model_free: npt.ArrayLike,
    dataset_free: npt.ArrayLike,
    api_free: npt.ArrayLike,
    model_weight: npt.ArrayLike = 2.0,
) -> Feasibility:
    """Rank selectors by how little they ask for.

    Simplicity: 2 for each model trained, 1 a step, 1 when not reproducible; 200 when more than 100 models are trained.
    Flexibility: 3 when the selector's model matters, 2 when it is bound to the dataset, 1 when it needs a proprietary
    model. Penalties are ranked densely, the two ranks are added and ranked densely again.

    Args:
        trained: models trained to build the selector, shape (m,).
        steps: steps of the algorithm, shape (m,).
        reproducible: whether code is public, shape (m,).
        model_free: whether another selector model does as well, shape (m,).
        dataset_free: whether another dataset needs no new selector, shape (m,).
        api_free: whether no proprietary model is needed, shape (m,).
        model_weight: penalty of a trained model, one number or (m,); the survey counts 1.5 for Superfiltering's GPT-2.

    Raises:
        ValueError: shapes that do not match.
    """
    models, step = np.asarray(trained, np.float64), np.asarray(steps, np.float64)
    flags = [np.asarray(flag, dtype=bool) for flag in (reproducible, model_free, dataset_free, api_free)]
    if models.ndim != 1 or any(part.shape != models.shape for part in (step, *flags)):
        raise ValueError(f"Every argument needs one value a selector; trained has {models.shape}.")
    missing = [(~flag).astype(np.float64) for flag in flags]
    simple = np.where(
        models > _COUNTLESS, _COUNTLESS_PENALTY, models * np.asarray(model_weight, np.float64) + step + missing[0]
    )
    flexible = 3 * missing[1] + 2 * missing[2] + missing[3]
    ranks = dense_rank(simple), dense_rank(flexible)
    return Feasibility(simple, flexible, *ranks, dense_rank((ranks[0] + ranks[1]).astype(np.float64)))


def dense_rank(values: npt.ArrayLike) -> Ints:
    """Rank from 1 for the lowest value, without gaps; values within 1e-6 of the first of their rank share it."""
    numbers = np.asarray(values, np.float64)
    ranks, rank, first = np.empty(len(numbers), dtype=np.int64), 0, -np.inf
    for at in np.argsort(numbers, kind="stable").tolist():
        if numbers[at] - first > _TIE:
            rank, first = rank + 1, float(numbers[at])
        ranks[at] = rank
    return ranks


class Interval(NamedTuple):
    """A ratio and its bootstrap interval; unpacks as (ratio, low, high)."""

    ratio: float
    low: float
    high: float


def ratio_interval(
    selected: npt.ArrayLike, baseline: npt.ArrayLike, *, seed: int, draws: int = 2000, level: float = 0.95
) -> Interval:
    """Ratio of mean scores with a percentile interval, the same test items drawn for both models.

    An interval that includes 1 says the selection is not shown to differ from the baseline (random, say).

    Args:
        selected: score of the model trained on the selection on each test item (and seed), shape (m,).
        baseline: of the other model on the same items, shape (m,).
        seed: of the resampling.
        draws: resamples.
        level: coverage of the interval, in (0, 1).

    Raises:
        ValueError: shapes that do not match, numbers that are not finite, or a baseline whose mean is 0.
    """
    top, base = np.asarray(selected, np.float64), np.asarray(baseline, np.float64)
    if top.ndim != 1 or top.shape != base.shape or not len(top) or not np.isfinite(top + base).all():
        raise ValueError(f"Need as many finite scores as baselines; got shapes {top.shape} and {base.shape}.")
    if not 0 < level < 1 or base.mean() == 0:
        raise ValueError(f"level must lie in (0, 1), got {level}, and the baseline's mean must not be 0.")
    rng = np.random.default_rng(seed)
    ratios = np.empty(draws)
    for draw in range(draws):
        items = rng.integers(len(top), size=len(top))
        below = base[items].mean()
        ratios[draw] = top[items].mean() / below if below else np.nan
    low, high = np.nanquantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(top.mean() / base.mean()), float(low), float(high))


def _line(left: Point, right: Point, x: Floats) -> Floats:
    """Height at x of the straight line through two points."""
    return np.asarray(left[1] + (right[1] - left[1]) / (right[0] - left[0]) * (x - left[0]))
