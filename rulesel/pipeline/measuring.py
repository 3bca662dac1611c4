"""Expressions that may stand in for a judge: tried on the sample, which costs nothing, and kept where they agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from rulesel.llm.base import ChatModel, Lent
from rulesel.raters.signals import Signals
from rulesel.receipt import rated
from rulesel.records import Batch, Float32, Int64, Rule, RuleSet
from rulesel.rules.measured import Measured, measured
from rulesel.rules.unrolled import MOST_COPIES, copies
from rulesel.store import Store


def measured_rules(
    store: Store, rule_set: RuleSet, proposals: Mapping[str, str], contents: Int64, rater: int, seed: int
) -> tuple[RuleSet, list[Measured]]:
    """The rules as the corpus is rated on them: with an expression where it ranks the sample as the judge does.

    Args:
        store: holds the judge's ratings of the sample; the computed ones are added to it.
        rule_set: rules without expressions.
        proposals: expressions by rule id.
        contents: the sample, ascending.
        rater: the judge's number.
        seed: of the intervals.

    Returns:
        The rules, and what became of every proposal.
    """
    if not proposals:
        return rule_set, []
    proposed = {
        j: rule.model_copy(update={"sql": proposals[rule.id]})
        for j, rule in enumerate(rule_set.rules)
        if rule.id in proposals
    }
    signals = Signals()
    try:
        why = {
            rule_set.rules[j].id: signals.refuses(rule) or too_slow(proposals[rule_set.rules[j].id])
            for j, rule in proposed.items()
        }
        refused = {identity: reason for identity, reason in why.items() if reason is not None}
        tried = {j: rule for j, rule in proposed.items() if rule_set.rules[j].id not in refused}
        computed = np.full((len(contents), len(rule_set)), np.nan, dtype=np.float32)
        if tried:
            computed[:, list(tried)] = _computed(store, signals, list(tried.values()), contents)
    finally:
        signals.close()
    judged = rated(store, rule_set, contents, rater).values
    found = measured(rule_set.rules, proposals, refused, judged, computed, seed=seed)
    kept = {one.rule.name: one.rule for one in found if one.why is None}
    rules = tuple(kept.get(rule.name, rule) for rule in rule_set.rules)
    return rule_set.model_copy(update={"rules": rules}), found


def too_slow(sql: str) -> str | None:
    """Why an expression that a model proposes may take too long on a corpus, or None."""
    made = copies(sql)
    return f"its patterns repeat {made:,} times, more than {MOST_COPIES}" if made > MOST_COPIES else None


def tell(found: Sequence[Measured]) -> Iterator[str]:
    """What became of every proposal; all that do not agree with the judge are one line."""
    apart = []
    for one in found:
        if one.why is None and one.agreement is not None:
            rho = one.agreement
            yield (
                f"  {one.rule.name!r} is computed on the corpus: its expression agrees with the judge, "
                f"rho {rho.value:.2f} ({rho.low:.2f} to {rho.high:.2f})"
            )
        elif one.agreement is not None:
            alike = np.isnan(one.agreement.value)
            apart.append(f"{one.rule.name} (all alike)" if alike else f"{one.rule.name} ({one.agreement.value:.2f})")
        else:
            yield f"  {one.rule.name!r} is read by the judge, its expression {one.why}"
    if apart:
        yield f"  read by the judge, as their expressions do not agree with it (rho): {', '.join(apart)}"


def _computed(store: Store, signals: Signals, rules: Sequence[Rule], contents: Int64) -> Float32:
    number = store.rules.rater(signals.id, signals.name, signals.model_dump(mode="json"), signals.provenance())
    numbers = store.rules.numbers(rules)
    by_number = dict(zip(numbers, rules, strict=True))
    for cells in store.ratings.missing(contents, numbers, number):
        parts = list(store.corpora.batches(cells.contents, signals.chunk))
        batches: list[Batch] = [batch for _, batch in parts]
        found = signals.rate(batches, [by_number[rule] for rule in cells.rules], Lent(store.secret, _nobody))
        for (part, _), ratings in zip(parts, found, strict=True):
            store.ratings.add(part, cells.rules, number, "sample", ratings)
    return store.ratings.matrix(contents, numbers, number)[0]


def _nobody(name: str) -> ChatModel:
    raise AssertionError(f"expressions are computed without {name}")
