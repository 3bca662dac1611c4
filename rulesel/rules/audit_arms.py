"""The chosen rules beside other ways to get as many: by relevance alone, at random, as published, all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from rulesel.algorithms import ties
from rulesel.algorithms.dpp import log_det
from rulesel.algorithms.kdpp import KDpp, numerical_rank
from rulesel.algorithms.moments import moments
from rulesel.algorithms.stability import mean_jaccard, membership, nogueira
from rulesel.rules.audit_figures import Arm, Estimate
from rulesel.rules.choice import RuleChoice

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Sets = Sequence[npt.ArrayLike]

RANDOM_SETS = 200
PUBLISHED_DRAWS = 50
CLOSE = 0.8
"""Absolute correlation from which two rules say much the same."""
TOP_SHARE = 0.1
"""Share of the examples whose overlap between resamples is reported."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What every set of rules is measured on; m sampled examples, R rules.

    Attributes:
        C: correlations of all rules, shape (R, R).
        usable: rules that may be chosen.
        relevance: shape (R,).
        ratings: raw ratings of the sample, NaN where missing, shape (m, R).
        z: the same z-scored and turned, shape (m, R).
        anchor: grades of the sample, NaN where unknown, shape (m,), or None.
    """

    C: Floats
    usable: Ints
    relevance: Floats
    ratings: Floats
    z: Floats
    anchor: Floats | None


def bench(choice: RuleChoice, sample: Floats, anchor: Floats | None) -> Bench:
    """Measure the dropped rules' correlations too: the published way may pick them."""
    lost = [rule for rule, _ in choice.dropped]
    C = choice.correlation.copy()
    seen = moments(sample).correlation()
    C[lost], C[:, lost] = seen[lost], seen[:, lost]
    usable = np.setdiff1d(np.arange(len(C)), lost)
    sd = np.where(choice.sd > 0, choice.sd, np.inf)
    z = (sample - choice.mean) * (choice.sign / sd)
    return Bench(C, usable, choice.relevance, sample, z, anchor)


def compare(choice: RuleChoice, on: Bench, resampled: Sets, ranked: Sets, seed: int) -> list[Arm]:
    """The arms, all of one size but `all`.

    Args:
        choice: the choice that is audited.
        on: what to measure on.
        resampled: the sets chosen on resampled examples.
        ranked: the rules of largest relevance on the same resamples.
        seed: names the random sets and draws.
    """
    size = len(choice.indices)
    rng = np.random.default_rng(seed)
    top = on.usable[ties.order(on.relevance[on.usable], [choice.names[j] for j in on.usable.tolist()])[:size]]
    arms = [
        _arm("chosen", [choice.indices], on, resampled, raw=choice.raw),
        _arm("top", [top], on, ranked),
    ]
    guesses = [rng.choice(on.usable, min(size, len(on.usable)), replace=False) for _ in range(RANDOM_SETS)]
    arms.append(_arm("random", guesses, on, guesses))
    if draws := _published(on.ratings, size, rng):
        arms.append(_arm("paper", draws, on, draws, raw=True))
    arms.append(_arm("all", [on.usable], on, ()))
    return arms


def set_stability(sets: Sets, on: Bench) -> float | None:
    """Nogueira's stability among the rules that could be chosen, so that random sets of them have 0."""
    pool = np.union1d(on.usable, np.concatenate([np.asarray(one, dtype=np.int64) for one in sets]))
    return _finite(nogueira([np.searchsorted(pool, one) for one in sets], len(pool)))


def score_stability(scores: Floats) -> tuple[float | None, float | None]:
    """Mean Spearman correlation between score vectors, and mean overlap of their best tenths; scores (sets, m)."""
    if len(scores) < 2 or np.isnan(scores).all(axis=0).any():
        return None, None
    ranks = np.array([_ranks(row) for row in scores])
    between = np.corrcoef(ranks)[np.triu_indices(len(ranks), 1)]
    best = max(1, round(TOP_SHARE * ranks.shape[1]))
    tops = np.argsort(-ranks, axis=1, kind="stable")[:, :best]
    return _finite(float(between.mean())), mean_jaccard(list(tops), ranks.shape[1])


def set_scores(sets: Sets, on: Bench, *, raw: bool = False) -> Floats:
    """Mean rating of each example under each set, over the ratings present, shape (sets, m)."""
    values = on.ratings if raw else on.z
    here = ~np.isnan(values)
    member = membership(sets, values.shape[1]).astype(np.float64)
    total = member @ np.where(here, values, 0.0).T
    count = member @ here.T.astype(np.float64)
    return np.divide(total, count, out=np.zeros_like(total), where=count > 0)


def coverage(C: Floats, chosen: npt.ArrayLike, others: npt.ArrayLike) -> Floats:
    """Share of each other rule's variance that the chosen ones explain, in [0, 1], shape (others,)."""
    rows, columns = np.asarray(chosen, dtype=np.int64), np.asarray(others, dtype=np.int64)
    if len(rows) == 0:
        return np.zeros(len(columns))
    cross = C[np.ix_(rows, columns)]
    fit = np.linalg.lstsq(C[np.ix_(rows, rows)], cross, rcond=1e-10)[0]
    return np.asarray(np.clip(np.einsum("ij,ij->j", cross, fit), 0.0, 1.0))


def _arm(
    name: Literal["chosen", "top", "random", "paper", "all"], sets: Sets, on: Bench, again: Sets, *, raw: bool = False
) -> Arm:
    whole = [np.asarray(one, dtype=np.int64) for one in sets]
    size = len(whole[0])
    off = [on.C[np.ix_(one, one)][np.triu_indices(size, 1)] for one in whole]
    rho = [float(np.sqrt(2 * (c**2).sum())) / size for c in off]
    rest = [np.setdiff1d(on.usable, one) for one in whole]
    covered = [float(coverage(on.C, one, left).mean()) for one, left in zip(whole, rest, strict=True) if len(left)]
    steady, _ = score_stability(set_scores(again, on, raw=raw)) if len(again) else (None, None)
    volume = [value for one in whole if (value := log_det(on.C, one)) > -30.0 * size]
    return Arm(
        name=name,
        draws=len(whole),
        rules=whole[0].tolist() if len(whole) == 1 else None,
        size=size,
        rms_correlation=_spread([float(np.sqrt((c**2).mean())) if len(c) else 0.0 for c in off]),
        rho=_spread(rho),
        log_volume=_spread(volume) if len(volume) == len(whole) else None,
        close_pairs=_spread([float((np.abs(c) > CLOSE).sum()) for c in off]),
        coverage=_spread(covered) if covered else None,
        unusable=_spread([float(np.setdiff1d(one, on.usable).size) for one in whole]),
        relevance=_spread([float(on.relevance[one].mean()) for one in whole]),
        agreement=_agreement(whole, on, raw=raw),
        stability=set_stability(again, on) if len(again) else None,
        score_stability=steady,
    )


def _agreement(sets: Sets, on: Bench, *, raw: bool) -> Estimate | None:
    if on.anchor is None:
        return None
    known = np.flatnonzero(~np.isnan(on.anchor))
    if len(known) < 3 or np.ptp(on.anchor[known]) == 0:
        return None
    grades = _ranks(on.anchor[known])
    found = []
    for row in set_scores(sets, on, raw=raw)[:, known]:
        ranks = _ranks(row)
        if np.ptp(ranks) > 0:
            found.append(float(np.corrcoef(ranks, grades)[0, 1]))
    return _spread(found) if found else None


def _published(ratings: Floats, size: int, rng: np.random.Generator) -> list[Ints]:
    """Draws of the k-DPP on the uncentred Gram matrix; none where its rank is below the size."""
    gram = moments(ratings).gram()
    keep = np.flatnonzero(np.diagonal(gram) > 0)
    kernel = gram[np.ix_(keep, keep)]
    if numerical_rank(np.asarray(np.linalg.eigvalsh(kernel), dtype=np.float64)) < size:
        return []
    process = KDpp(kernel, size)
    return [keep[process.sample(rng)] for _ in range(PUBLISHED_DRAWS)]


def _spread(values: Sequence[float]) -> Estimate:
    if len(values) == 1:
        return Estimate(value=values[0])
    low, high = np.quantile(values, (0.025, 0.975)).tolist()
    return Estimate(value=float(np.mean(values)), low=low, high=high)


def _ranks(values: Floats) -> Floats:
    from scipy.stats import rankdata

    return np.asarray(rankdata(values))


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
