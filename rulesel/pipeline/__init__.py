"""The order of things: read, rate a sample, choose rules, rate the corpus, select, write down why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from rulesel import receipt as receipts
from rulesel.config import RunConfig, ScoreConfig
from rulesel.corpus import Corpus, check_output
from rulesel.digest import digest
from rulesel.errors import Interrupted, RuleselError, UsageError
from rulesel.llm.base import ChatModel
from rulesel.pipeline.outputs import fate_of, replacing, write_dropped, write_scores
from rulesel.pipeline.rating import rate
from rulesel.pipeline.reading import open_source, read_corpus
from rulesel.pipeline.watch import Progress, Watcher
from rulesel.raters import Lent, Rater
from rulesel.receipt import Rated, Scored, choice_of, pool_of, rated, sample_of, scored, selection_of
from rulesel.records import Rule, RuleSet, Selection
from rulesel.rules.choice import RuleChoice
from rulesel.rules.packs import load_rules, nearest_pack
from rulesel.store import CorpusRecord, Store

__all__ = ["Outcome", "Progress", "Scores", "Watcher", "run", "score"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run found.

    Attributes:
        receipt: the receipt, as written beside the output.
        rule_set: all candidate rules.
        choice: the rules kept, and everything known about the others.
        scored: the pool with its scores.
        selection: the rows picked, as positions in `scored.pool`.
        corpus: what was read.
    """

    receipt: dict[str, Any]
    rule_set: RuleSet
    choice: RuleChoice
    scored: Scored
    selection: Selection
    corpus: CorpusRecord

    @property
    def last_line(self) -> str:
        """The account of every row."""
        counts = self.receipt["counts"]
        return (
            f"in {counts['in']:,} = selected {counts['selected']:,} + not selected {counts['not_selected']:,} "
            f"+ failed {counts['failed']:,}"
        )


@dataclass(frozen=True, slots=True)
class Scores:
    """A corpus with its scores.

    Attributes:
        identity: content address of what was asked for.
        rule_set: all candidate rules that can be rated.
        corpus: what was read.
        sample: the ratings the rules were chosen on.
        choice: the rules kept, and everything known about the others.
        scored: the pool with its scores.
    """

    identity: str
    rule_set: RuleSet
    corpus: CorpusRecord
    sample: Rated
    choice: RuleChoice
    scored: Scored


def run(config: RunConfig, watcher: Watcher | None = None) -> Outcome:
    """The whole chain; run again after any interruption, it goes on where it was.

    Raises:
        RuleselError: with the exit code the command line gives; nothing already rated is lost.
    """
    watcher = watcher or Watcher()
    source = open_source(config.corpus)
    path = None if config.corpus.path == "-" else Path(config.corpus.path)
    check_output(Path(config.out), source.format, config.as_, shape=source.shape, corpus=path)
    with _scores(config, source, watcher) as (store, scores):
        selection = selection_of(store, config.select, config.seed, scores.corpus, scores.scored)
        return _write(store, config, scores, selection, watcher)


def score(config: ScoreConfig, watcher: Watcher | None = None) -> Scores:
    """The chain without a selection: the scores are left in the store as the column `score`.

    Raises:
        RuleselError: as `run` does.
    """
    watcher = watcher or Watcher()
    with _scores(config, open_source(config.corpus), watcher) as (_, scores):
        return scores


@contextmanager
def _scores(config: ScoreConfig, source: Corpus, watcher: Watcher) -> Iterator[tuple[Store, Scores]]:
    raters = [config.sample_rater, config.rater]
    rule_set = _ratable(rules_of(config, watcher), raters, watcher)
    with Store(config.store_path) as store, _lent(store) as lent:
        corpus = read_corpus(store, config.corpus, source, watcher)
        identity = config.identity(corpus.sha256)
        with _attempt(store, identity, config):
            sample = _rate_sample(store, config, rule_set, corpus, raters[0], lent, watcher)
            choice = _choose(config, rule_set, sample, watcher)
            found = _rate_pool(store, config, rule_set, corpus, sample, choice, raters[1], lent, watcher)
            yield store, Scores(identity, rule_set, corpus, sample, choice, found)


def rules_of(config: ScoreConfig, watcher: Watcher) -> RuleSet:
    """The candidate rules: named ones, or the pack nearest to the domain."""
    if config.rules.source is not None:
        rule_set = load_rules(config.rules.source)
        watcher.say(f"rules: {len(rule_set)} from {config.rules.source}")
        return rule_set
    if not config.domain:
        raise UsageError("Say what the examples are for with --domain, or name the rules with --rules.")
    name, _, why = nearest_pack(config.domain)
    watcher.say(f"rules: pack:{name}, the nearest to the domain ({why})")
    return load_rules(f"pack:{name}")


def _ratable(rule_set: RuleSet, raters: list[Rater], watcher: Watcher) -> RuleSet:
    kept: list[Rule] = []
    refused: list[str] = []
    for rule in rule_set.rules:
        why = next((reason for rater in raters if (reason := rater.refuses(rule)) is not None), None)
        if why is None:
            kept.append(rule)
        else:
            refused.append(f"{rule.name}: {why}")
    if not kept:
        raise UsageError(f"The rater can rate none of the {len(rule_set)} rules; the first: {refused[0]}")
    if refused:
        watcher.say(
            f"rules: {len(refused)} cannot be rated and are left out: {'; '.join(refused[:3])}"
            + " …" * (len(refused) > 3)
        )
    return rule_set.model_copy(update={"rules": tuple(kept)}) if refused else rule_set


@contextmanager
def _lent(store: Store) -> Iterator[Lent]:
    def chat(name: str) -> ChatModel:
        raise UsageError(f"The judge {name!r} needs a model: this version rates with --judge signals.")

    yield Lent(store.secret, chat)


@contextmanager
def _attempt(store: Store, identity: str, config: ScoreConfig) -> Iterator[None]:
    settings = config.model_dump(mode="json", by_alias=True)
    attempt = store.selections.start_run(identity, settings, receipts.packages())
    outcome = "failed"
    try:
        yield
        outcome = "done"
    except (Interrupted, KeyboardInterrupt):
        outcome = "interrupted"
        raise
    except RuleselError as error:
        outcome = {3: "budget reached", 4: "too many failures"}.get(error.exit_code, "failed")
        raise
    finally:
        store.selections.end_run(identity, attempt, outcome)


def _rate_sample(
    store: Store,
    config: ScoreConfig,
    rule_set: RuleSet,
    corpus: CorpusRecord,
    rater: Rater,
    lent: Lent,
    watcher: Watcher,
) -> Rated:
    store.rules.keep(rule_set)
    contents = sample_of(store.corpora.rows(corpus.corpus), config.rules.sample, config.seed)
    judge = config.sample_judge or config.judge
    number = rate(
        store,
        rater,
        judge,
        rule_set.rules,
        contents,
        "sample",
        lent=lent,
        watcher=watcher,
        max_failed=config.max_failed,
    )
    return rated(store, rule_set, contents, number)


def _choose(config: ScoreConfig, rule_set: RuleSet, sample: Rated, watcher: Watcher) -> RuleChoice:
    choice = choice_of(config, rule_set, sample)
    watcher.say(
        f"chosen: {len(choice.indices)} of {len(rule_set)} rules on {len(sample.contents):,} rated examples "
        f"(rho {choice.rho:.3f}, mean |r| {choice.rms_corr:.3f}); {len(choice.dropped)} dropped"
    )
    for warning in choice.warnings:
        watcher.say(f"  {warning}")
    return choice


def _rate_pool(
    store: Store,
    config: ScoreConfig,
    rule_set: RuleSet,
    corpus: CorpusRecord,
    sample: Rated,
    choice: RuleChoice,
    rater: Rater,
    lent: Lent,
    watcher: Watcher,
) -> Scored:
    rows = store.corpora.rows(corpus.corpus)
    contents = np.unique(rows.content[pool_of(rows, config.duplicates)])
    rules = [rule_set.rules[j] for j in choice.indices]
    number = rate(
        store, rater, config.judge, rules, contents, "corpus", lent=lent, watcher=watcher, max_failed=config.max_failed
    )
    found = scored(store, config, corpus, sample, choice, number)
    store.ratings.widen(found.numbers, [rule.name for rule in rules], number)
    first = np.unique(found.rows.content[found.pool], return_index=True)
    store.columns.add(
        "score",
        digest(["score/1", [rule.id for rule in rules], choice.weights.tolist(), number, config.coverage]),
        first[0],
        found.scores[first[1]],
        provenance={"rules": [rule.name for rule in rules], "weights": choice.weights.tolist(), "judge": config.judge},
    )
    return found


def _write(store: Store, config: RunConfig, scores: Scores, selection: Selection, watcher: Watcher) -> Outcome:
    out = Path(config.out)
    corpus, found = scores.corpus, scores.scored
    names = [scores.rule_set.rules[j].name for j in scores.choice.indices]
    rows = found.rows.row[found.pool[selection.indices]]
    watcher.progress(Progress("write", 0, 4, "files"))
    sha256 = receipts.write_records(out, store, config.as_, corpus, rows)
    fate = fate_of(found, selection)
    write_scores(out.with_name(out.name + ".scores.parquet"), store, corpus, found, fate, names)
    write_dropped(out.with_name(out.name + ".dropped.jsonl"), store, corpus, found, fate, names)
    receipt = receipts.receipt_of(
        store,
        config,
        scores.identity,
        scores.rule_set,
        corpus,
        scores.sample,
        scores.choice,
        found,
        selection,
        raters={"sample": config.sample_rater.id, "corpus": config.rater.id},
        output_sha256=sha256,
    )
    identity = receipt["selection"]["id"]
    store.selections.keep(identity, scores.identity, corpus.corpus, config.select.method, rows, selection.keys, receipt)
    with replacing(out.with_name(out.name + ".receipt.json")) as file:
        file.write(orjson.dumps(receipt, option=orjson.OPT_INDENT_2) + b"\n")
    watcher.progress(Progress("write", 4, 4, "files"))
    return Outcome(receipt, scores.rule_set, scores.choice, found, selection, corpus)
