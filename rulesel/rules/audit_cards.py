"""One card a rule: how its ratings lie, how far they can be trusted, and the examples it rates highest and lowest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rulesel.records import Rule, Status
from rulesel.rules.audit_arms import coverage
from rulesel.rules.audit_figures import Estimate, Histogram, Neighbour, RuleFigures, Shown
from rulesel.rules.choice import RuleChoice

Floats = npt.NDArray[np.float64]
Texts = Callable[[Sequence[int]], Sequence[str]]

SHOWN = 3
"""Examples shown at each end of a rule."""
BINS = 10
BLOCK = 8192
"""Rows worked on at a time."""
MAX_BARS = 12
"""With this many different ratings or fewer each has a bar of its own."""
EXCERPT = 600
"""Characters of an example that are kept."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of n examples and R rules besides the ratings; None where it is not.

    Attributes:
        status: uint8 (n, R), a `Status`.
        ids: n ids.
        texts: gives the texts of rows.
        lengths: (n,), any unit.
        interval: (R, 2), 95 % interval of the reliability.
        tokens: (R,), tokens one rating costs.
    """

    status: npt.NDArray[np.uint8] | None = None
    ids: Sequence[str] | None = None
    texts: Texts | None = None
    lengths: Floats | None = None
    interval: Floats | None = None
    tokens: Floats | None = None


def cards(
    rules: Sequence[Rule],
    S: npt.NDArray[np.floating],
    choice: RuleChoice,
    basis: RuleChoice,
    known: Known,
    *,
    standing: Floats,
    frequency: Floats | None,
    error: Floats | None,
) -> list[RuleFigures]:
    """The card of every rule, in the order of the rule set.

    Args:
        rules: R rules.
        S: ratings, NaN where missing, shape (n, R).
        choice: what was chosen.
        basis: the choice whose filters, correlations and relevances are shown.
        known: what else is known.
        standing: mean z-scored rating of each example, shape (n,).
        frequency: share of the resamples in which each rule was chosen, shape (R,).
        error: standard error of each relevance, NaN where unknown, shape (R,).
    """
    place = {rule: at + 1 for at, rule in enumerate(choice.indices)}
    dropped = dict(basis.dropped)
    usable = np.setdiff1d(np.arange(len(rules)), list(dropped))
    explained = _explained(basis.correlation, choice.indices)
    length = np.full(len(rules), np.nan) if known.lengths is None else length_correlations(S, known.lengths)
    made: list[RuleFigures] = []
    ends: list[tuple[list[int], list[int]]] = []
    for j, rule in enumerate(rules):
        values = np.asarray(S[:, j], dtype=np.float64)
        ends.append(_ends(values, standing))
        made.append(
            RuleFigures(
                index=j,
                id=rule.id,
                name=rule.name,
                text=rule.text,
                polarity=rule.polarity,
                place=place.get(j),
                dropped=dropped.get(j),
                rated=int((~np.isnan(values)).sum()),
                failures=_failures(values, None if known.status is None else known.status[:, j]),
                mean=_number(basis.mean[j]),
                sd=_number(basis.sd[j]),
                histogram=histogram(values),
                reliability=_reliability(basis.reliability[j], None if known.interval is None else known.interval[j]),
                relevance=None if j in dropped else _relevance(basis.relevance[j], None if error is None else error[j]),
                worth=float(basis.q[j]),
                inclusion=float(choice.inclusion[j]),
                bootstrap=None if frequency is None else float(frequency[j]),
                nearest=_nearest(basis.correlation[j], usable, j),
                explained=None if j in dropped and j not in place else float(explained[j]),
                length_correlation=_number(length[j]),
                tokens=None if known.tokens is None else _number(known.tokens[j]),
                highest=[],
                lowest=[],
            )
        )
    return _with_examples(made, ends, S, known)


def histogram(values: Floats) -> Histogram:
    """A bar a value where there are few, else ten equal bins over the range."""
    present = values[~np.isnan(values)]
    distinct = np.unique(present[:BLOCK])  # a full sort of a long column only where the first rows leave it open
    if len(distinct) <= MAX_BARS:
        if len(present) > BLOCK and len(distinct):
            at = np.minimum(np.searchsorted(distinct, present), len(distinct) - 1)
            distinct = distinct if (distinct[at] == present).all() else np.unique(present)
        counts = np.bincount(np.searchsorted(distinct, present), minlength=len(distinct))
        if len(distinct) <= MAX_BARS:
            return Histogram(edges=distinct.tolist(), counts=counts.tolist())
    counts, edges = np.histogram(present, BINS)
    return Histogram(edges=edges.tolist(), counts=counts.tolist())


def length_correlations(S: npt.NDArray[np.floating], lengths: Floats) -> Floats:
    """Pearson correlation of each rule's ratings with the lengths, shape (R,); NaN where it is undefined."""
    away = lengths - lengths.mean()
    centre = np.nan_to_num(np.nanmean(S[:BLOCK], axis=0)) if not np.isnan(S[:BLOCK]).all() else 0.0
    count, x, y, xx, yy, xy = (np.zeros(S.shape[1]) for _ in range(6))
    for start in range(0, len(S), BLOCK):
        part, long = S[start : start + BLOCK] - centre, away[start : start + BLOCK]
        here = (~np.isnan(part)).astype(np.float64)
        part = np.nan_to_num(part)
        count += here.sum(axis=0)
        x += part.sum(axis=0)
        xx += np.einsum("ij,ij->j", part, part)
        y += long @ here
        yy += long**2 @ here
        xy += long @ part
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.sqrt((xx - x**2 / count) * (yy - y**2 / count))
        return np.asarray(np.where((count > 2) & (scale > 1e-9 * len(S)), (xy - x * y / count) / scale, np.nan))


def example_standing(S: npt.NDArray[np.floating], basis: RuleChoice) -> Floats:
    """Mean z-scored rating of each example over all usable rules, shape (n,)."""
    weight = np.where(basis.q > 0, basis.sign / np.where(basis.sd > 0, basis.sd, np.inf), 0.0)
    total = np.zeros(len(S))
    for start in range(0, len(S), BLOCK):
        block = S[start : start + BLOCK]
        total[start : start + BLOCK] = np.nan_to_num(block - np.nan_to_num(basis.mean)) @ weight
    return total


def lost_standing(S: npt.NDArray[np.floating], standing: Floats) -> Floats:
    """Mean standing of the examples on which each rule failed less that of the others, in standard deviations.

    Shape (R,); NaN where fewer than ten ratings failed, or all.
    """
    spread = float(standing.std())
    difference = np.full(S.shape[1], np.nan)
    for j in range(S.shape[1]):
        missing = np.isnan(S[:, j])
        if 10 <= missing.sum() < len(missing) and spread > 0:
            difference[j] = (standing[missing].mean() - standing[~missing].mean()) / spread
    return difference


def _explained(C: Floats, chosen: Sequence[int]) -> Floats:
    """Share of each rule's variance that the chosen ones explain, a chosen rule by the other chosen ones."""
    share = coverage(C, chosen, np.arange(len(C)))
    for rule in chosen:
        share[rule] = coverage(C, [other for other in chosen if other != rule], [rule])[0]
    return share


def _ends(values: Floats, standing: Floats) -> tuple[list[int], list[int]]:
    """Rows of the highest and lowest ratings; of equal ones those on which the rule differs most from the others."""
    present = np.flatnonzero(~np.isnan(values))
    rated, overall = values[present], standing[present]
    count = min(SHOWN, len(present) // 2)
    if count == 0 or np.ptp(rated) == 0:
        return [], []
    found = []
    for side in (-rated, rated):
        edge = np.partition(side, count - 1)[count - 1]
        near = np.flatnonzero(side <= edge)
        against = overall[near] if side is not rated else -overall[near]
        order = np.lexsort((near, against, side[near]))[:count]
        found.append(present[near[order]].tolist())
    return found[0], found[1]


def _with_examples(
    made: list[RuleFigures], ends: list[tuple[list[int], list[int]]], S: npt.NDArray[np.floating], known: Known
) -> list[RuleFigures]:
    rows = sorted({row for high, low in ends for row in (*high, *low)})
    texts = dict(zip(rows, known.texts(rows), strict=True)) if known.texts is not None and rows else {}

    def shown(row: int, rule: int) -> Shown:
        text = texts.get(row)
        if text is not None and len(text) > EXCERPT:
            text = text[: EXCERPT - 1] + "…"
        name = str(row) if known.ids is None else known.ids[row]
        return Shown(row=row, id=name, rating=float(S[row, rule]), text=text)

    return [
        card.model_copy(
            update={
                "highest": [shown(row, card.index) for row in high],
                "lowest": [shown(row, card.index) for row in low],
            }
        )
        for card, (high, low) in zip(made, ends, strict=True)
    ]


def _failures(values: Floats, status: npt.NDArray[np.uint8] | None) -> dict[str, int]:
    if status is None:
        lost = int(np.isnan(values).sum())
        return {"missing": lost} if lost else {}
    kinds, counts = np.unique(status[status != Status.ok], return_counts=True)
    return {Status(kind).name: int(count) for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True)}


def _reliability(value: float, interval: Floats | None) -> Estimate | None:
    if np.isnan(value):
        return None
    if interval is None or np.isnan(interval).any():
        return Estimate(value=float(value))
    return Estimate(value=float(value), low=float(interval[0]), high=float(interval[1]))


def _relevance(value: float, error: float | None) -> Estimate:
    if error is None or np.isnan(error):
        return Estimate(value=float(value))
    half = 1.96 * error
    return Estimate(value=float(value), low=max(-1.0, float(value - half)), high=min(1.0, float(value + half)))


def _nearest(row: Floats, usable: npt.NDArray[np.int64], rule: int) -> Neighbour | None:
    others = usable[usable != rule]
    if len(others) == 0:
        return None
    near = int(others[np.argmax(np.abs(row[others]))])
    return Neighbour(rule=near, correlation=float(row[near])) if row[near] else None


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
