"""Facility location: choose rows so that every row has a similar one among the chosen; and its mixture with quality.

Greedy on the coverage of `rulesel.algorithms.coverage` reaches 1 - 1/e of the optimum (G. Nemhauser et al., 1978).

QDIT (A. Bukharin and T. Zhao, arXiv 2311.14736) takes at each step the row of highest
(1 - alpha) * gain + alpha * quality. In that raw sum the gain starts near n times the mean similarity and falls below 1
while the quality stays, so alpha means something else for every n; the normalised scale puts both on [0, 1].
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rulesel.algorithms import ties
from rulesel.algorithms.coverage import candidates_of, ceiling, coverage
from rulesel.algorithms.given import Given, Progress
from rulesel.algorithms.greedy import FloatArray, Objective, Picks, batched_lazy_greedy
from rulesel.algorithms.kernels import Kernel
from rulesel.algorithms.neighbors import KnnGraph

Scale = Literal["raw", "normalised"]

DENSE_BATCH = 64
GRAPH_BATCH = 256
"""Rows evaluated together."""


def facility_location(
    source: Kernel | KnnGraph,
    k: int,
    *,
    given: Given = (),
    baseline: float = 0.0,
    progress: Progress | None = None,
) -> Picks:
    """Greedy facility location, exact for its source.

    Args:
        source: a kernel (dense or on the fly), or a graph of nearest neighbours, where a row is covered only by its
            neighbours: less than 1 % of the value is lost from 16 neighbours on.
        k: rows to pick; fewer are returned only when fewer are left.
        given: rows already chosen.
        baseline: similarity that every row starts with. Above 0 (the median similarity, say) it tells rows apart where
            all cosines are large.
        progress: told (picked, k) now and then.

    Returns:
        Picks, best first, with what each added to f.

    Raises:
        ValueError: the kernel has NaN or infinity, or k or given do not fit.
    """
    return _pick(source, coverage(source, baseline=baseline), k, np.zeros(candidates_of(source)), given, progress)


def qdit(
    source: Kernel | KnnGraph,
    quality: NDArray[Any],
    k: int,
    *,
    alpha: float,
    scale: Scale = "normalised",
    given: Given = (),
    baseline: float = 0.0,
    progress: Progress | None = None,
) -> Picks:
    """Greedy on (1 - alpha) * facility location + alpha * quality.

    Args:
        source: a kernel or a graph of nearest neighbours.
        quality: (n,), finite, higher is better.
        k: rows to pick.
        alpha: weight of quality in [0, 1]; 0 is facility location, 1 is top k.
        scale: "raw" adds the two as they are, as published; "normalised" maximises
            (1 - alpha) f(A) / f(all) + alpha * mean over A of the quality's percentile, so that picks depend on k.
        given: rows already chosen.
        baseline: as in `facility_location`.
        progress: told (picked, k) now and then.

    Returns:
        Picks, best first, with the score of each step.

    Raises:
        ValueError: quality has the wrong length, NaN or infinity, alpha is outside [0, 1], or as `facility_location`.
    """
    values = np.asarray(quality, dtype=np.float64)
    if values.shape != (candidates_of(source),) or not np.isfinite(values).all():
        raise ValueError(f"quality must be {candidates_of(source)} finite numbers, got shape {values.shape}.")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie in [0, 1], got {alpha}.")
    if scale == "raw":
        weight, bonus = 1 - alpha, alpha * values
    else:
        weight = (1 - alpha) / max(ceiling(source, baseline=baseline), np.finfo(np.float64).tiny)
        bonus = alpha * percentile(values) / max(k, 1)
    objective = coverage(source, baseline=baseline, weight=weight, bonus=bonus)
    return _pick(source, objective, k, bonus, given, progress)


def percentile(values: FloatArray) -> FloatArray:
    """Mean rank of each value among all, from 0 (lowest) to 1 (highest); .5 where all are equal."""
    distinct, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2
    return middle[place] / (len(values) - 1) if len(distinct) > 1 else np.full(len(values), 0.5)


def _pick(
    source: Kernel | KnnGraph,
    objective: Objective,
    k: int,
    bonus: FloatArray,
    given: Given,
    progress: Progress | None,
) -> Picks:
    """Greedy; of copies with the same bonus the lowest rows are named, however their products were rounded."""
    batch = GRAPH_BATCH if isinstance(source, KnnGraph) else DENSE_BATCH
    tolerance = ties.SINGLE if isinstance(source, KnnGraph) else source.tolerance
    picks = batched_lazy_greedy(objective, k, given=given, batch=batch, tolerance=tolerance, progress=progress)
    if source.copies is None:
        return picks
    alike = np.lexsort((np.arange(len(bonus)), bonus, source.copies))
    alike = alike[~np.isin(alike, np.asarray(given, dtype=np.int64))]
    new = np.ones(len(alike), dtype=bool)
    new[1:] = (np.diff(source.copies[alike]) != 0) | (np.diff(bonus[alike]) != 0)
    group = np.empty(len(bonus), dtype=np.int64)
    group[alike] = np.cumsum(new) - 1
    turn = np.argsort(group[picks.indices], kind="stable")
    picked = group[picks.indices][turn]
    place = np.arange(len(picked)) - np.searchsorted(picked, picked)
    named = np.empty(len(picked), dtype=np.int64)
    named[turn] = alike[np.flatnonzero(new)[picked] + place]
    return Picks(named, picks.gains)
