"""From ratings to the rules on offer: what is dropped and why, how the rest correlate, what each is worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rulesel.algorithms import ties
from rulesel.algorithms.moments import Moments, moments, nearest_correlation
from rulesel.rules import filters, worth

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Request:
    """What the caller knows of R rules and n examples besides the ratings, checked."""

    ids: list[str] | list[int]
    """Order of precedence in ties, shape (R,)."""
    required: list[int]
    forbidden: list[int]
    negative: list[int]
    reliability: Floats | None
    anchor: Floats | None
    costs: Floats | None
    q: Floats | None


@dataclass(frozen=True, slots=True)
class Offer:
    """The rules that may be chosen, and what was measured of all of them; arrays of shape (R,) or (R, R)."""

    sums: Moments
    C: Floats
    clipped: float
    live: Bools
    sign: Floats
    relevance: Floats
    trust: Floats
    evidence: float
    q: Floats
    dropped: dict[int, str]
    warnings: list[str]


def offer_as_published(S: npt.NDArray[np.floating], request: Request) -> Offer:
    """Every rule that has a rating other than zero."""
    sums = moments(S)
    dropped = {j: "no rating at all" for j in np.flatnonzero(sums.count == 0).tolist()}
    zero = (np.diagonal(sums.gram()) == 0) & (sums.count > 0)
    dropped.update((j, "every rating is zero") for j in np.flatnonzero(zero).tolist())
    dropped.update((j, "forbidden") for j in request.forbidden)
    live = _without(sums.columns, dropped)
    ones = np.where(live, 1.0, 0.0)
    plain, unknown = np.ones(len(live)), np.zeros(len(live))
    return Offer(sums, sums.correlation(), 0.0, live, plain, unknown, unknown, 0.0, ones, dropped, [])


def offer(S: npt.NDArray[np.floating], request: Request) -> Offer:
    """Filter, correlate, orient and value the rules.

    Raises:
        ValueError: a required rule cannot be used, or the pairwise correlations contradict one another.
    """
    sums = moments(S)
    notes: list[str] = []
    dropped = {j: "forbidden" for j in request.forbidden}
    columns = filters.describe(S)
    dropped.update(filters.unusable(columns, sums.sd, len(S)))
    live = _without(sums.columns, dropped)
    C, clipped = _correlations(sums, live, notes)

    anchored = _anchored(S, request, sums, C, live, notes)
    rows = sums.count.astype(np.int64)
    if anchored is not None and request.anchor is not None:
        rows = (~np.isnan(S[~np.isnan(request.anchor)])).sum(axis=0)
    negative = np.isin(np.arange(len(live)), request.negative)
    sign, turned = filters.reversed_rules(C, live, negative, anchored, request.ids, rows)
    dropped.update({j: why for j, why in turned.items() if j not in request.required})
    live = _without(sums.columns, dropped)

    oriented = C * np.outer(sign, sign)
    value = _worth(
        request, sums, columns, oriented, live, None if anchored is None else (sign * anchored[0], sign * anchored[1])
    )
    q = np.where(live, _priced(request, value.q), 0.0)
    required = np.isin(np.arange(len(live)), request.required)
    first = [j for part in (live & required, live & ~required) for j in _by_worth(np.flatnonzero(part), q, request)]
    for j, (twin, c) in filters.duplicates(oriented, first).items():
        dropped[j] = f"repeats rule {request.ids[twin]} (r = {c:.3f}), which is worth at least as much"
    for j in request.required:
        if j in dropped:
            raise ValueError(f"Rule {request.ids[j]} is required but cannot be used: {dropped[j]}.")
    live = _without(sums.columns, dropped)
    q = np.where(live, q, 0.0)
    return Offer(sums, C, clipped, live, sign, value.relevance, value.trust, value.evidence, q, dropped, notes)


def _by_worth(rules: npt.NDArray[np.int64], q: Floats, request: Request) -> list[int]:
    """Some rules, the worthiest first, equal ones in the order of their ids."""
    found: list[int] = rules[ties.order(q[rules], [request.ids[j] for j in rules.tolist()])].tolist()
    return found


def _without(count: int, dropped: dict[int, str]) -> Bools:
    live = np.ones(count, dtype=bool)
    live[list(dropped)] = False
    return live


def _correlations(sums: Moments, live: Bools, notes: list[str]) -> tuple[Floats, float]:
    """Correlations with those of the live rules made positive semidefinite; 0 for the others."""
    C = np.eye(sums.columns)
    rules = np.flatnonzero(live)
    if len(rules) == 0:
        return C, 0.0
    block = np.ix_(rules, rules)
    C[block], clipped = nearest_correlation(sums.correlation()[block])
    if clipped > 0.001:
        notes.append(f"missing ratings made the correlations contradict one another: {clipped:.1%} was clipped")
    if (unseen := int((sums.pair_count[block] < 2).sum()) // 2) > 0:
        notes.append(f"{unseen} pairs of rules were never rated on the same examples and count as uncorrelated")
    if sums.rows < 10 * len(rules):
        notes.append(
            f"{sums.rows} examples for {len(rules)} rules: correlations below about {2 / np.sqrt(sums.rows):.2f} are "
            "noise; 10 examples a rule would be better"
        )
    return C, clipped


def _anchored(
    S: npt.NDArray[np.floating], request: Request, sums: Moments, C: Floats, live: Bools, notes: list[str]
) -> tuple[Floats, Floats] | None:
    """Relevance of each rule by the anchor, and its own correlation with it; None without a usable anchor."""
    if request.anchor is None:
        return None
    rows = np.flatnonzero(~np.isnan(request.anchor))
    grades = request.anchor[rows]
    if len(rows) < worth.MIN_ANCHORS or np.ptp(grades) == 0 or not live.any():
        notes.append(f"the anchor is left aside: {len(rows)} grades known, {len(np.unique(grades))} of them different")
        return None
    return worth.relevance_from_anchor(standardised(S[rows], sums), grades, C, live)


def standardised(S: npt.NDArray[np.floating], sums: Moments) -> Floats:
    """Ratings z-scored by the sample's moments; 0 for a rule that does not vary."""
    sd = np.where(sums.sd > 0, sums.sd, np.inf)
    return np.asarray((S - sums.mean) / sd)


def _worth(
    request: Request,
    sums: Moments,
    columns: filters.Columns,
    C: Floats,
    live: Bools,
    anchored: tuple[Floats, Floats] | None,
) -> worth.Worth:
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.nan_to_num(2 * sums.sd / (columns.high - columns.low))
    common, evidence = np.zeros(len(C)), 1.0
    if live.any():
        common[live], evidence = worth.common_factors(C[np.ix_(live, live)], sums.rows)
    guess = worth.relevance_from_rules(C, live)
    relevance = guess
    if anchored is not None:
        relevance, own = anchored
        grades = int((~np.isnan(request.anchor)).sum()) if request.anchor is not None else 0
        evidence = 1 - (1 - evidence) * (1 - worth.anchor_evidence(own[live], guess[live], grades))
    trust = request.reliability
    if trust is None or np.isnan(trust).all():
        trust = np.maximum(common, worth.FLOOR) ** (1 - evidence)
    else:
        trust = np.where(np.isnan(trust), np.nanmedian(trust), trust)
    return worth.Worth(np.where(live, relevance, 0.0), trust, spread, evidence)


def _priced(request: Request, q: Floats) -> Floats:
    """The caller's own worth where given, and q^2 per unit of price where there are prices."""
    q = q if request.q is None else request.q
    return q if request.costs is None else q * np.sqrt(request.costs.mean() / request.costs)
