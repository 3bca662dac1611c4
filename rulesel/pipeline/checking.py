"""How far a judge can be trusted: agreement with gold labels, resistance to demands, documents that speak to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field

from rulesel.algorithms.agreement import Agreement, agreement
from rulesel.config import Spending
from rulesel.digest import digest
from rulesel.errors import UsageError
from rulesel.evaluation.canaries import EXAMPLES, canaries
from rulesel.llm.fence import suspect
from rulesel.llm.names import is_free
from rulesel.pipeline.choosing import rated_sample
from rulesel.pipeline.importing import import_column
from rulesel.pipeline.judging import current_corpus
from rulesel.pipeline.lending import attempt, check_prices
from rulesel.pipeline.naming import By
from rulesel.pipeline.planning import Plan, approve, quote_requests
from rulesel.pipeline.preflight import check_reference
from rulesel.pipeline.starting import remembered
from rulesel.pipeline.trusting import begun_for
from rulesel.pipeline.watch import Progress, Pulse, Watcher
from rulesel.raters import rater_for
from rulesel.raters.chat import Chat
from rulesel.receipt import as_json, sample_of
from rulesel.records import RuleSet
from rulesel.rules.packs import load_rules
from rulesel.store import Store


class Agreed(NamedTuple):
    """One column of the store beside the gold; `gold_only` examples have a gold label and nothing else."""

    column: str
    agreement: Agreement
    gold_only: int


class Suspect(NamedTuple):
    """A document that speaks to the judge: its row and the words."""

    row: int
    example_id: str
    words: str


class RuleShift(NamedTuple):
    """What an appended demand does to one rule's ratings, in ratings from 0 to 1; `gullible` if they rise for sure."""

    rule: str
    shift: float
    error: float
    n: int
    gullible: bool


class CanaryConfig(Spending):
    """A test of a rater with demands it should not heed."""

    store: str
    judge: str
    judge_parameters: dict[str, Any] = Field(default_factory=dict)
    rules: str | None = None
    """A YAML file or "pack:NAME"; None for the rules the store has ratings of."""
    examples: int = EXAMPLES
    seed: int = 0


def against_gold(store: Store, gold: str, columns: Sequence[str] = (), *, seed: int = 0) -> list[Agreed]:
    """Compare columns of the store with one that is held to be true.

    Args:
        store: opened for reading.
        gold: the column of gold labels.
        columns: the others; all there are if none is named.
        seed: of the bootstrap.

    Raises:
        UsageError: no such column, or fewer than 3 examples have both numbers.
    """
    rows = store.corpora.rows(current_corpus(store).corpus)
    contents = np.unique(rows.content)
    truth, direction = store.columns.read(gold, contents)
    truth = truth if direction == "higher" else -truth
    check_reference(gold, truth)
    found = []
    for name in columns or [name for name in store.columns.names() if name != gold]:
        values, way = store.columns.read(name, contents)
        values = values if way == "higher" else -values
        if columns:
            check_reference(name, values)
        alone = int((~np.isnan(truth) & np.isnan(values)).sum())
        try:
            found.append(Agreed(name, agreement(values, truth, seed=seed), alone))
        except ValueError as error:
            if columns:
                raise UsageError(f"{name}: {error}") from error
    if not found:
        raise UsageError(f"No column of the store shares 3 examples with {gold!r}.")
    return found


def gold_of(store: Store, given: str, field: str | None, *, by: By | None = None, id_field: str | None = None) -> str:
    """The name of the column of gold labels: one of the store's, or of a file that is taken in.

    Raises:
        UsageError: neither, or the file's column is not named.
    """
    if given in store.columns.names():
        return given
    path = Path(given)
    if not path.is_file():
        known = ", ".join(store.columns.names()) or "none"
        raise UsageError(f"{given!r} is neither a file nor a column of the store. Columns: {known}.")
    if field is None:
        raise UsageError(f"Say which column of {given} holds the labels, with --field.")
    name = field
    if field in store.columns.names() and store.columns.made_from(field)[1].get("file") != path.name:
        name = f"{field} of {path.name}"  # the store's own column keeps its name
    import_column(store, path, field, name=name, by=by, id_field=id_field)
    return name


def suspects(store: Store) -> list[Suspect]:
    """Documents of the current corpus that speak to the judge, act as control tokens, or belong to a fence."""
    rows = store.corpora.rows(current_corpus(store).corpus)
    first = rows.occurrence == 0
    row_of = dict(zip(rows.content[first].tolist(), rows.row[first].tolist(), strict=True))
    found = []
    for part, batch in store.corpora.batches(np.unique(rows.content), 10_000):
        for content, identity, text in zip(part.tolist(), batch.hashes, batch.texts(), strict=True):
            words = suspect(text)
            if words is not None:
                found.append(Suspect(row_of[content], f"{identity}-0", words))
    return sorted(found)


def canary_shifts(config: CanaryConfig, watcher: Watcher | None = None) -> list[RuleShift]:
    """Rate a few examples with and without a demand for a high rating, under every rule.

    Raises:
        UsageError: the judge is no chat model, or there are no rules.
        ModelError: the model cannot be asked.
    """
    watcher = watcher or Watcher()
    rater = rater_for(config.judge, **config.judge_parameters)
    if rater.grader is None:
        raise UsageError("Only a model that reads can heed a demand: --judge MODEL.")
    with Store(Path(config.store), must_exist=True) as store:
        corpus = current_corpus(store)
        rules = _rules(store, config).rules
        contents = sample_of(store.corpora.rows(corpus.corpus), config.examples, config.seed)
        _, batch = next(store.corpora.batches(contents, len(contents)))
        rater = remembered(store, rater)
        check_prices(config, [config.judge])
        total = 2 * len(batch) * len(rules)
        if isinstance(rater, Chat) and not config.yes and not is_free(config.judge):
            asked = [[request] for request in rater.requests(batch, rules, store.secret)]
            approve(Plan([quote_requests(store, config, "canaries", config.judge, asked, total)]), watcher)
        run = digest(["canaries/1", corpus.sha256, rater.id, [rule.id for rule in rules], config.examples, config.seed])
        with attempt(store, config, run, watcher) as lender:
            pulse = Pulse(watcher, lambda n: Progress("canaries", n, total, "ratings", {}, lender.dollars))
            lent = lender.lent("canaries", answered=pulse.answered)
            try:
                rater = begun_for(store, rater, contents, rules[0], lent, watcher)
                found = canaries(rater, batch, rules, lent)
            finally:
                rater.close()
            lender.kept("canaries")
        gullible = set(found.gullible())
        kept = {"examples": len(batch), "shift": as_json(found.mean), "gullible": len(gullible)}
        store.rules.keep_check(rater.id, "--canaries", kept)
    return [
        RuleShift(rule.name, float(found.mean[j]), float(found.error[j]), int(found.n[j]), j in gullible)
        for j, rule in enumerate(rules)
    ]


def _rules(store: Store, config: CanaryConfig) -> RuleSet:
    return rated_sample(store)[0] if config.rules is None else load_rules(config.rules)
