"""Selectors compared by what models trained on their selections do.

Share selected and improvement ratio as in Liu et al. 2025 (arXiv 2406.14115), section 4.1. Where all models are one's
own, the raw ratio to one baseline is comparable and its uncertainty can be had: a selector is better than random only
where the bootstrap interval of its ratio to random lies above 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from rulesel.algorithms.efficiency import improvement_ratio, ratio_interval, selected_fraction

Verdict = Literal["better than random", "worse than random", "not better than random", "the baseline"]

RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Trained:
    """A model trained on a selection.

    Attributes:
        selected: rows selected.
        scores: its score on each test item (and training seed), (m,); higher is better.
    """

    selected: int
    scores: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a selector stands.

    Attributes:
        name: the selector.
        fraction: share of the pool selected (SDF), lower is cheaper.
        ratio: mean score over the full-data model's (PIR), higher is better; NaN where there is no such model.
        to_random: mean score over that of random.
        low: lower end of its 95 % bootstrap interval.
        high: upper end.
        verdict: what the interval says.
    """

    name: str
    fraction: float
    ratio: float
    to_random: float
    low: float
    high: float
    verdict: Verdict


def standings(
    models: Mapping[str, Trained], *, pool: int, full: npt.NDArray[np.float64] | None = None, seed: int = 0
) -> list[Standing]:
    """Every selector beside random, the best ratio to random first.

    Args:
        models: by selector's name, "random" among them; all scored on the same items, in the same order.
        pool: rows of the pool.
        full: scores of a model trained on all of the pool, (m,).
        seed: of the bootstrap.

    Raises:
        ValueError: there is no "random", or scores do not line up.
    """
    if RANDOM not in models:
        raise ValueError(f"A comparison needs the baseline {RANDOM!r}; got {', '.join(models) or 'nothing'}.")
    base = models[RANDOM].scores
    found = []
    for name, model in models.items():
        interval = ratio_interval(model.scores, base, seed=seed)
        ratio = float("nan") if full is None else improvement_ratio([model.scores.mean()], [full.mean()])
        verdict = "the baseline" if name == RANDOM else _verdict(interval.low, interval.high)
        fraction = selected_fraction(model.selected, pool)
        found.append(Standing(name, fraction, ratio, interval.ratio, interval.low, interval.high, verdict))
    return sorted(found, key=lambda one: (-one.to_random, one.name))


def _verdict(low: float, high: float) -> Verdict:
    if low > 1:
        return "better than random"
    return "worse than random" if high < 1 else "not better than random"
