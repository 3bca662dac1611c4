"""What is to be known of a choice of rules, from a store or from a file of ratings that somebody else made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson

from rulesel.errors import RuleselError
from rulesel.pipeline.choosing import rated_sample, standing
from rulesel.pipeline.judging import current_corpus
from rulesel.pipeline.preflight import check_reference
from rulesel.receipt import Derived, Rated, as_receipt, choice_of, derived
from rulesel.records import Float32, Float64, Int64, RuleSet, Status
from rulesel.rules.audit import audit_rules
from rulesel.rules.audit_cards import Known
from rulesel.rules.audit_figures import AuditFigures
from rulesel.rules.choice import RuleChoice
from rulesel.rules.choose import Kernel, choose_rules
from rulesel.rules.packs import load_rules
from rulesel.rules.ratings_file import named_rules, read_ratings
from rulesel.rules.worth import retest_reliability
from rulesel.store import Store
from rulesel.store.ratings import UNRATED

KEEP = 10
"""Rules audited where nobody says how many."""

Keep = int | Literal["auto"] | None


@dataclass(frozen=True, slots=True)
class Audit:
    """An audit and what it was made on.

    Attributes:
        figures: everything it says.
        about: whose choice it is, in words.
        skipped: column of a file -> why it was not read as a rule.
    """

    figures: AuditFigures
    about: str
    skipped: dict[str, str] = field(default_factory=dict)


def audit_run(store: Store, run: str, found: Derived) -> AuditFigures:
    """Audit the choice of a run.

    Args:
        store: opened for reading.
        run: the run's identity, for the tokens that its ratings took.
        found: its choice.
    """
    sample, evidence = found.sample, found.evidence
    size = len(found.choice.indices)
    config = found.config.model_copy(update={"rules": found.config.rules.model_copy(update={"keep": size})})

    def again(rows: Int64) -> RuleChoice:
        part = Rated(sample.contents[rows], sample.numbers, sample.values[rows], sample.status[rows])
        anchor = None if evidence.anchor is None else evidence.anchor[rows]
        try:
            made = choice_of(config, found.rule_set, part, replace(evidence, anchor=anchor))
        except RuleselError as error:
            raise ValueError(str(error)) from error
        if len(made.indices) != size:
            raise ValueError(f"{len(made.indices)} rules can be used, not {size}.")
        return made

    interval = None
    if found.evidence.retest is not None:
        rows, second = found.evidence.retest
        interval = np.stack(retest_reliability(sample.values[rows], second)[1:], axis=1)
    rule_set = found.rule_set
    if not rule_set.domain:
        rule_set = rule_set.model_copy(update={"domain": found.config.domain})
    return audit_rules(
        rule_set,
        sample.values,
        found.choice,
        choose=again,
        anchor=evidence.anchor,
        known=_known(store, sample, interval, _tokens(store, run, len(rule_set))),
        seed=found.config.seed,
    )


def audit_store(
    store: Store, *, judge: str | None = None, gold: str | None = None, keep: Keep = None, seed: int = 0
) -> Audit:
    """Audit what a store holds: the choice of its last run, or one made on its ratings where there was no run.

    Args:
        store: opened for reading.
        judge: whose ratings; with a judge, the choice is made anew on them.
        gold: a column of the store that says how good some examples are; it takes the place of a run's own anchor.
        keep: how many rules; as many as the run kept, or `KEEP`, if not given.
        seed: names the resamples where there was no run.

    Raises:
        UsageError: the store holds no ratings, or no such column.
        RuleselError: no choice can be made from these ratings.
    """
    if gold is not None:
        contents = np.unique(store.corpora.rows(current_corpus(store).corpus).content)
        check_reference(gold, store.columns.read(gold, contents)[0])
    if judge is None and (receipt := _last_receipt(store)) is not None:
        found = derived(store, receipt, keep=keep, gold=gold)
        rater = found.config.sample_judge or found.config.judge
        return Audit(audit_run(store, str(receipt["run"]), found), f"the last run's choice, rated by {rater}")
    rule_set, name, sample = rated_sample(store, judge)
    anchor, kernel = standing(store, sample, name, gold)
    figures = _audit(rule_set, sample.values, anchor, keep, seed, _known(store, sample), kernel)
    return Audit(figures, f"a choice on the ratings of {name}")


def audit_ratings(
    path: Path, *, rules: str | None = None, gold: str | None = None, keep: Keep = None, seed: int = 0
) -> Audit:
    """Audit a choice made on a file of ratings, whoever made them.

    Args:
        path: see `read_ratings` for the formats.
        rules: a file or pack with the texts of the rules, under the names that the ratings go by, or in the order of
            the ratings where these are lists; without one the names stand for the texts.
        gold: a column that says how good some examples are, higher is better; it is never a rule.
        keep: how many rules; `KEEP` if not given, or fewer where fewer say anything new.
        seed: names the resamples.

    Raises:
        UsageError: the file cannot be read, or lacks a rule or the column.
        RuleselError: no choice can be made from these ratings.
    """
    found = read_ratings(path, anchor=gold)
    if rules is None:
        rule_set = named_rules(found.names, origin=path.name)
    else:
        rule_set = load_rules(rules)
        if found.names != [str(place + 1) for place in range(len(rule_set))]:
            found = read_ratings(path, rules=[rule.name for rule in rule_set.rules], anchor=gold)
    if gold is not None and found.anchor is not None:
        check_reference(gold, found.anchor)
    known = Known(status=found.status, ids=found.ids)
    figures = _audit(rule_set, found.values, found.anchor, keep, seed, known)
    return Audit(figures, f"a choice on {path}", found.skipped)


def _audit(
    rule_set: RuleSet,
    S: Float32,
    anchor: Float64 | None,
    keep: Keep,
    seed: int,
    known: Known,
    kernel: Kernel | None = None,
) -> AuditFigures:
    names = [rule.name for rule in rule_set.rules]

    def chosen(rows: Int64 | slice, r: int | Literal["auto"]) -> RuleChoice:
        part = None if anchor is None else anchor[rows]
        return choose_rules(S[rows], r, kernel=kernel, anchor=part, seed=seed, names=names)

    everything = slice(None)
    try:
        choice = chosen(everything, KEEP if keep is None else keep)
    except ValueError as error:
        if keep is not None:
            raise RuleselError(f"No rules could be chosen: {error}") from error
        try:
            choice = chosen(everything, "auto")
        except ValueError as still:
            raise RuleselError(f"No rules could be chosen: {still}") from still
    size = len(choice.indices)
    return audit_rules(
        rule_set, S, choice, choose=lambda rows: chosen(rows, size), anchor=anchor, known=known, seed=seed
    )


def _known(store: Store, sample: Rated, interval: Float64 | None = None, tokens: Float64 | None = None) -> Known:
    def texts(rows: Sequence[int]) -> list[str]:
        wanted = sample.contents[np.asarray(rows, dtype=np.int64)]
        found = store.corpora.texts(wanted)
        return [joined(*found[content]) for content in wanted.tolist()]

    return Known(
        status=np.where(sample.status == UNRATED, np.uint8(Status.not_applicable), sample.status),
        ids=store.corpora.hashes(sample.contents),
        texts=texts,
        lengths=store.corpora.lengths(sample.contents).astype(np.float64),
        interval=interval,
        tokens=tokens,
    )


def joined(prompt: str | None, response: str) -> str:
    """An example as a page shows it."""
    return response if prompt is None else f"{prompt}\n\n{response}"


def _tokens(store: Store, run: str, rules: int) -> Float64 | None:
    """Tokens that one rating took on average, the same for each rule; None where no model was asked."""
    mean = store.db.one(
        "SELECT avg(prompt_tokens + completion_tokens) FROM calls "
        "WHERE run = ? AND stage IN ('sample', 'corpus') AND status = 'ok'",
        run,
    )
    return None if mean is None else np.full(rules, float(mean))


def _last_receipt(store: Store) -> dict[str, Any] | None:
    """Of the last selection that rules were chosen for."""
    for (text,) in store.db.rows("SELECT receipt FROM selections ORDER BY made_at DESC"):
        receipt = orjson.loads(text)
        if "choice" in receipt:
            return as_receipt(receipt)
    return None
