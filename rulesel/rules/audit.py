"""What is to be known of a choice of rules before anyone pays for it: computed once, as plain figures.

Arrays and a rule set in, `AuditFigures` out; no store, no page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rulesel.algorithms import ties
from rulesel.algorithms.dpp import condition, greedy_map
from rulesel.algorithms.keyed import hashed
from rulesel.algorithms.stability import bootstrap, mean_jaccard, membership
from rulesel.algorithms.threads import one_blas_thread
from rulesel.records import RuleSet
from rulesel.rules.audit_arms import Bench, bench, compare, coverage, score_stability, set_scores, set_stability
from rulesel.rules.audit_cards import Known, cards, example_standing, lost_standing
from rulesel.rules.audit_figures import (
    AuditFigures,
    Bootstrap,
    CorrelationMap,
    Cost,
    Merge,
    RuleFigures,
    Spectrum,
    Step,
)
from rulesel.rules.audit_warnings import warned
from rulesel.rules.choice import RuleChoice
from rulesel.rules.choose import choose_rules
from rulesel.rules.how_many import residual_variance

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SAMPLE = 2000
"""Examples that sets are compared and the choice is repeated on."""
REPEATS = 50
MANY_RULES = 200
FEWER_REPEATS = 30
"""Resamples for more than `MANY_RULES` rules, where a choice takes a second or two."""
FURTHER = 10
"""How many rules beyond the chosen ones are followed."""
ORDERED = 250
"""Up to this many rules the leaves of the dendrogram are put in the best order; beyond, it takes too long."""


class Resamples(NamedTuple):
    """The choice repeated on resampled examples."""

    sets: list[Ints]
    ranked: list[Ints]
    """The rules of largest relevance of each resample."""
    relevance: Floats
    """NaN where a rule was dropped before it was measured, shape (repeats, R)."""


@one_blas_thread
def audit_rules(
    rules: RuleSet,
    S: npt.ArrayLike,
    choice: RuleChoice,
    *,
    choose: Callable[[Ints], RuleChoice] | None = None,
    anchor: npt.ArrayLike | None = None,
    known: Known | None = None,
    repeats: int | None = None,
    seed: int = 0,
) -> AuditFigures:
    """Compute every figure of an audit.

    Args:
        rules: the R rules offered.
        S: the ratings the choice was made on, any scale, NaN where a rating failed, shape (n, R).
        choice: what `choose_rules` returned for them.
        choose: repeats the choice on some rows of S (row numbers, with repetition) with as many rules; None leaves
            the bootstrap out.
        anchor: the grades the choice was given, higher is better, NaN where unknown, shape (n,).
        known: texts, ids, statuses and prices, where there are any.
        repeats: resamples; None takes `REPEATS`, or `FEWER_REPEATS` for many rules.
        seed: names the sample, the resamples and the random sets.

    Raises:
        ValueError: shapes that do not fit together.
    """
    ratings = np.asarray(S)
    if ratings.ndim != 2 or ratings.shape[1] != len(rules) or len(choice.q) != len(rules):
        raise ValueError(
            f"{len(rules)} rules, ratings of shape {ratings.shape} and a choice among {len(choice.q)} rules do not "
            "belong together."
        )
    known = known or Known()
    grades = None if anchor is None else np.asarray(anchor, dtype=np.float64)
    basis = _basis(ratings, choice, grades)
    rows = _sample(len(ratings), grades, known, seed)
    on = bench(basis, np.asarray(ratings[rows], dtype=np.float64), None if grades is None else grades[rows])
    if repeats is None:
        repeats = REPEATS if len(rules) <= MANY_RULES else FEWER_REPEATS
    again = None if choose is None or repeats < 2 else _resample(choose, rows, len(choice.indices), repeats, seed)
    frequency = None if again is None else membership(again.sets, len(rules)).mean(axis=0)
    error = None if again is None else _error(again.relevance, len(rows), len(ratings))
    standing = example_standing(ratings, basis)
    made = cards(rules.rules, ratings, choice, basis, known, standing=standing, frequency=frequency, error=error)
    spectrum = _spectrum(basis, on.usable)
    steps = _steps(choice, basis, on.usable)
    resampled: tuple[list[Ints], list[Ints]] = ([], []) if again is None else (again.sets, again.ranked)
    arms = compare(choice, on, *resampled, seed)
    boot = None if again is None else _bootstrap(again, on, len(rows), choice)
    anchored = 0 if grades is None else int((~np.isnan(grades)).sum())
    return AuditFigures(
        rule_set=rules.id,
        origin=rules.origin,
        domain=rules.domain,
        examples=len(ratings),
        anchored=anchored,
        usable=len(on.usable),
        method=choice.method,
        kernel=choice.kernel,
        seed=choice.seed,
        chosen=choice.indices,
        weights=choice.weights.tolist(),
        rules=made,
        map=_map(basis, on.usable),
        spectrum=spectrum,
        steps=steps,
        suggested=basis.suggested_r,
        arms=arms,
        bootstrap=boot,
        cost=_cost(made, choice.indices),
        warnings=warned(choice, basis, made, arms, boot, spectrum, lost_standing(ratings, standing)),
    )


def _basis(S: npt.NDArray[np.floating], choice: RuleChoice, grades: Floats | None) -> RuleChoice:
    """The choice itself, or, for one made as published, which filters and values nothing, one that measures it."""
    if not choice.raw:
        return choice
    known = choice.reliability if np.isfinite(choice.reliability).any() else None
    return choose_rules(S, 1, method="top", reliability=known, anchor=grades, names=choice.names)


def _sample(n: int, grades: Floats | None, known: Known, seed: int) -> Ints:
    """At most `SAMPLE` rows: those with a grade first (at most half of them), then by a hash of their ids."""
    ids = n if known.ids is None else known.ids
    order = np.argsort(hashed(ids, seed), kind="stable")
    if n <= SAMPLE:
        return np.asarray(order, dtype=np.int64)
    if grades is None:
        return np.asarray(order[:SAMPLE], dtype=np.int64)
    graded = order[~np.isnan(grades[order])][: SAMPLE // 2]
    rest = order[~np.isin(order, graded)][: SAMPLE - len(graded)]
    return np.concatenate([graded, rest]).astype(np.int64)


def _resample(choose: Callable[[Ints], RuleChoice], rows: Ints, size: int, repeats: int, seed: int) -> Resamples | None:
    """None where not even two resamples allow a choice."""
    made: list[RuleChoice] = []

    def once(draw: Ints) -> Ints:
        try:
            made.append(choose(rows[draw]))
        except ValueError:  # a resample may leave fewer usable rules than are wanted
            return np.empty(0, dtype=np.int64)
        return np.array(made[-1].indices, dtype=np.int64)

    bootstrap(once, len(rows), repeats, seed)
    if len(made) < 2:
        return None
    relevance = np.array([one.relevance for one in made])
    lost = np.array([np.isin(np.arange(relevance.shape[1]), [rule for rule, _ in one.dropped]) for one in made])
    relevance[lost] = np.nan
    ranked = [ties.order(np.nan_to_num(row, nan=-2.0), made[0].names)[:size] for row in relevance]
    return Resamples([np.array(one.indices, dtype=np.int64) for one in made], ranked, relevance)


def _error(relevance: Floats, rows: int, n: int) -> Floats:
    """Standard error of each relevance on all n examples, from its spread over resamples of some of them."""
    count = (~np.isnan(relevance)).sum(axis=0)
    seen = np.where(count >= 10, count, 1)
    mean = np.nansum(relevance, axis=0) / seen
    variance = np.nansum((relevance - mean) ** 2, axis=0) / np.maximum(seen - 1, 1)
    return np.asarray(np.where(count >= 10, np.sqrt(variance * rows / n), np.nan))


def _bootstrap(again: Resamples, on: Bench, rows: int, choice: RuleChoice) -> Bootstrap:
    steady, top = score_stability(set_scores(again.sets, on, raw=choice.raw))
    frequency = membership(again.sets, len(on.C)).mean(axis=0)
    return Bootstrap(
        repeats=len(again.sets),
        rows=rows,
        stability=set_stability(again.sets, on),
        jaccard=mean_jaccard(again.sets, len(on.C)),
        score_stability=steady,
        top_overlap=top,
        core=np.flatnonzero(frequency > 0.8).tolist(),
    )


def _map(basis: RuleChoice, usable: Ints) -> CorrelationMap:
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    C = basis.correlation[np.ix_(usable, usable)]
    if len(usable) < 2:
        return CorrelationMap(order=usable.tolist(), correlation=C.tolist(), merges=[])
    distance = 1 - np.abs(C)
    np.fill_diagonal(distance, 0.0)
    joined = linkage(
        squareform(np.clip(distance, 0, 1), checks=False), "average", optimal_ordering=len(usable) <= ORDERED
    )
    leaves = leaves_list(joined)
    place = np.empty(2 * len(usable), dtype=np.int64)
    place[leaves] = np.arange(len(leaves))
    place[len(leaves) :] = np.arange(len(leaves), 2 * len(leaves))
    return CorrelationMap(
        order=usable[leaves].tolist(),
        correlation=np.round(C[np.ix_(leaves, leaves)], 5).tolist(),
        merges=[
            Merge(left=int(place[int(a)]), right=int(place[int(b)]), height=float(height)) for a, b, height, _ in joined
        ],
    )


def _spectrum(basis: RuleChoice, usable: Ints) -> Spectrum:
    values = np.maximum(np.linalg.eigvalsh(basis.correlation[np.ix_(usable, usable)])[::-1], 0.0)
    share = values[values > 0] / values.sum()
    return Spectrum(
        eigenvalues=np.round(values, 6).tolist(),
        noise_edge=basis.noise_edge,
        above_edge=int((values > basis.noise_edge).sum()),
        effective_rank=float(np.exp(-(share * np.log(share)).sum())),
        participation=float(1 / (share**2).sum()),
        clipped=basis.clipped,
    )


def _steps(choice: RuleChoice, basis: RuleChoice, usable: Ints) -> list[Step]:
    """The chosen rules in order, then greedily those that would add most to them."""
    C, worth = basis.correlation, basis.q if choice.kernel == "weighted" else np.ones(len(basis.q))
    order = [*choice.indices, *_next(C * np.outer(worth, worth), choice.indices, usable)]
    residual = residual_variance(C, order)
    steps = []
    for at, rule in enumerate(order):
        steps.append(
            Step(
                rule=rule,
                chosen=at < len(choice.indices),
                residual=float(residual[at]),
                gain=float(np.log(max(residual[at], 1e-12)) + 2 * np.log(max(worth[rule], 1e-12))),
                covered=float(coverage(C, order[: at + 1], usable).mean()),
            )
        )
    return steps


def _next(L: Floats, chosen: list[int], usable: Ints) -> list[int]:
    rows = np.concatenate([np.array(chosen, dtype=np.int64), np.setdiff1d(usable, chosen)])
    try:
        given, free = condition(L[np.ix_(rows, rows)], np.arange(len(chosen)))
    except np.linalg.LinAlgError:  # a published draw may hold a rule twice
        return []
    if len(free) == 0:
        return []
    taken, _ = greedy_map(given, min(FURTHER, len(free)))
    return [int(rule) for rule in rows[free[taken]]]


def _cost(made: list[RuleFigures], chosen: list[int]) -> Cost:
    prices = [card.tokens for card in made]
    return Cost(
        calls_chosen=len(chosen),
        calls_all=len(made),
        tokens_chosen=_total([prices[rule] for rule in chosen]),
        tokens_all=_total(prices),
    )


def _total(prices: list[float | None]) -> float | None:
    known = [price for price in prices if price is not None]
    return sum(known) if len(known) == len(prices) else None
