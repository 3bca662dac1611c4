"""What a receipt tells of, derived again from the store: the one derivation of verify, audit and report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from rulesel.config import RunConfig
from rulesel.errors import UsageError
from rulesel.receipt.derive import (
    Evidence,
    Rated,
    Scored,
    anchor_of,
    choice_of,
    evidence_of,
    rated,
    sample_of,
    scored,
)
from rulesel.receipt.layout import config_of
from rulesel.records import RuleSet
from rulesel.rules.choice import RuleChoice
from rulesel.store import CorpusRecord, Store


@dataclass(frozen=True, slots=True)
class Derived:
    """The choice of a run.

    Attributes:
        config: the run's settings.
        corpus: what was read.
        rule_set: the R rules offered.
        raters: identity of each rater by the stage it works in.
        sample: the ratings they were chosen on.
        evidence: what else was known.
        choice: the rules kept.
    """

    config: RunConfig
    corpus: CorpusRecord
    rule_set: RuleSet
    raters: dict[str, str]
    sample: Rated
    evidence: Evidence
    choice: RuleChoice


def derived(
    store: Store, receipt: dict[str, Any], *, keep: int | Literal["auto"] | None = None, gold: str | None = None
) -> Derived:
    """The choice that a run's receipt tells of, made again from the store.

    Args:
        store: opened for reading.
        receipt: of a run, not of a selection by a column; see `read_receipt`.
        keep: choose as many instead.
        gold: column that takes the place of the run's own anchor.

    Raises:
        UsageError: the store does not know its corpus, rules or raters.
        RuleselError: no choice can be made.
    """
    config = config_of(receipt)
    if not isinstance(config, RunConfig):
        raise UsageError("The receipt is of a selection by a column: no rules were chosen for it.")
    if keep is not None:
        config = config.model_copy(update={"rules": config.rules.model_copy(update={"keep": keep})})
    corpus, raters = corpus_of(store, receipt), receipt["raters"]
    rule_set = rules_of(store, receipt)
    numbers = {stage: _number(store, rater) for stage, rater in raters.items()}
    if not {"sample", "corpus"} <= set(numbers):
        raise UsageError("The receipt does not say by which raters sample and corpus were rated.")
    contents = sample_of(store.corpora.rows(corpus.corpus), config.rules.sample, config.seed)
    sample = rated(store, rule_set, contents, numbers["sample"], numbers.get("measured"))
    asked = config
    if gold is not None:
        asked = config.model_copy(update={"rules": config.rules.model_copy(update={"anchor": None})})
    evidence = evidence_of(store, asked, rule_set, corpus, sample, numbers.get("retest"), rater=raters["sample"])
    if gold is not None:
        anchor, source = anchor_of(store, gold, contents)
        evidence = replace(evidence, anchor=anchor, source=source)
    return Derived(config, corpus, rule_set, raters, sample, evidence, choice_of(config, rule_set, sample, evidence))


def scores_of(store: Store, run: Derived) -> Scored:
    """The pool with its scores under the rules of a run."""
    number = _number(store, run.raters["corpus"])
    measured = _number(store, run.raters["measured"]) if "measured" in run.raters else None
    return scored(store, run.config, run.corpus, run.sample, run.choice, number, measured)


def rules_of(store: Store, receipt: dict[str, Any]) -> RuleSet:
    """The rules offered, under the names they had.

    Raises:
        UsageError: the store does not hold them.
    """
    try:
        rule_set = store.rules.rule_set(receipt["rules"]["id"])
    except KeyError as error:
        raise UsageError(f"The store does not know {error.args[0]}: it is not the store of this receipt.") from error
    names = receipt["rules"].get("names")
    if names is None:  # of version 1
        return rule_set
    if len(names) != len(rule_set) or len(set(names)) != len(names):
        raise UsageError(f"The receipt gives {len(set(names))} names to the {len(rule_set)} rules of its set.")
    rules = tuple(rule.model_copy(update={"name": name}) for rule, name in zip(rule_set.rules, names, strict=True))
    return rule_set.model_copy(update={"rules": rules})


def corpus_of(store: Store, receipt: dict[str, Any]) -> CorpusRecord:
    """The corpus of a receipt.

    Raises:
        UsageError: the store does not hold it.
    """
    held = receipt["corpus"]
    corpus = store.corpora.find(held["sha256"], held["mapping"], held["limit"])
    if corpus is None:
        raise UsageError("The store does not hold the corpus of this receipt.")
    return corpus


def _number(store: Store, rater: str) -> int:
    try:
        return store.rules.rater_number(rater)
    except KeyError as error:
        raise UsageError(f"The store does not know {rater}: it is not the store of this receipt.") from error
