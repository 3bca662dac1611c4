"""The order of things: read, rate a sample, choose rules, rate the corpus, select, write down why."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from rulesel import receipt as receipts
from rulesel.config import RunConfig, ScoreConfig, SelectConfig, run_settings
from rulesel.corpus import Corpus, check_output
from rulesel.pipeline.chain import Chain
from rulesel.pipeline.limits import limits_of
from rulesel.pipeline.outputs import check_beside, fate_of, replacing, write_tables
from rulesel.pipeline.picking import picked
from rulesel.pipeline.reading import open_source
from rulesel.pipeline.sampling import RatedSample, sampled
from rulesel.pipeline.watch import Progress, Watcher
from rulesel.receipt import Derived, Evidence, Rated, Scored
from rulesel.records import RuleSet, Selection, Status
from rulesel.rules.choice import RuleChoice
from rulesel.store import CorpusRecord, Store

__all__ = ["Outcome", "Progress", "RatedSample", "Scores", "Watcher", "rate_sample", "run", "score"]


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
        rule_set: all candidate rules that can be rated.
        corpus: what was read.
        sample: the ratings the rules were chosen on.
        evidence: what else was known of the rules.
        choice: the rules kept, and everything known about the others.
        scored: the pool with its scores.
    """

    rule_set: RuleSet
    corpus: CorpusRecord
    sample: Rated
    evidence: Evidence
    choice: RuleChoice
    scored: Scored

    @property
    def last_line(self) -> str:
        """How many examples have a score."""
        unscored = int(np.isnan(self.scored.scores).sum())
        n = len(self.scored.scores)
        return f"{n - unscored:,} of {n:,} examples scored on {len(self.choice.indices)} rules"


def run(config: RunConfig, watcher: Watcher | None = None, *, again: Collection[Status] = ()) -> Outcome:
    """The whole chain; run again after any interruption, it goes on where it was.

    Args:
        config: everything a run is asked to do.
        watcher: receives lines and progress.
        again: kinds of failure that are asked for once more; each keeps its failure until there is an answer.

    Raises:
        RuleselError: with the exit code the command line gives; nothing already rated is lost.
    """
    watcher = watcher or Watcher()
    source = open_source(config.corpus, watcher)
    path = None if config.corpus.path == "-" else Path(config.corpus.path)
    check_output(Path(config.out), source.format, config.as_, shape=source.shape, corpus=path, header=source.header)
    check_beside(Path(config.out), *_inputs(config))
    with _scores(config, source, watcher, again, config.select) as (store, chain, scores):
        selection = picked(store, config.select, config.seed, scores.corpus, scores.scored, watcher)
        return _write(store, config, chain, scores, selection)


def _inputs(config: RunConfig) -> list[Path]:
    """The files that a run reads, which it must not write over."""
    named = (config.corpus.path, config.rules.source)
    return [config.store_path, *(Path(name) for name in named if name is not None and name != "-")]


def score(config: ScoreConfig, watcher: Watcher | None = None, *, again: Collection[Status] = ()) -> Scores:
    """The chain without a selection: the scores are left in the store as the column `score`; arguments as for `run`.

    Raises:
        RuleselError: as `run` does.
    """
    watcher = watcher or Watcher()
    with _scores(config, open_source(config.corpus, watcher), watcher, again) as (_, _, scores):
        return scores


def rate_sample(config: ScoreConfig, watcher: Watcher | None = None) -> RatedSample:
    """The chain up to the choice of rules: a sample rated on every rule, and graded where the choice is to use that.

    Raises:
        RuleselError: as `run` does.
    """
    watcher = watcher or Watcher()
    with sampled(config, open_source(config.corpus, watcher), watcher, only=True) as (_, _, found):
        return found


@contextmanager
def _scores(
    config: ScoreConfig,
    source: Corpus,
    watcher: Watcher,
    again: Collection[Status],
    select: SelectConfig | None = None,
) -> Iterator[tuple[Store, Chain, Scores]]:
    with sampled(config, source, watcher, again=again, select=select) as (store, chain, rated):
        evidence = chain.evidence(rated.rule_set, rated.sample)
        choice = chain.choose(rated.rule_set, rated.sample, evidence)
        found = chain.score(rated.rule_set, rated.sample, evidence, choice)
        yield store, chain, Scores(rated.rule_set, rated.corpus, rated.sample, evidence, choice, found)


def _write(store: Store, config: RunConfig, chain: Chain, scores: Scores, selection: Selection) -> Outcome:
    out = Path(config.out)
    corpus, found = scores.corpus, scores.scored
    names = [scores.rule_set.rules[j].name for j in scores.choice.indices]
    rows = found.rows.row[found.pool[selection.indices]]
    chain.watcher.progress(Progress("write output", 0, len(found.rows), "rows"))
    sha256 = receipts.write_records(out, store, config.as_, corpus, rows)
    fate = fate_of(found, selection)
    limits = limits_of(store, config.select, corpus, found, selection)
    tables = out.with_name(out.name + ".scores.parquet"), out.with_name(out.name + ".dropped.jsonl")
    write_tables(*tables, store, corpus, found, fate, names, limits, chain.watcher)
    made = Derived(config, corpus, scores.rule_set, chain.rater_ids(), scores.sample, scores.evidence, scores.choice)
    settings = run_settings(config.model_dump(mode="json", by_alias=True))
    receipt = receipts.run_receipt(store, made, found, selection, settings=settings, output=(out.name, sha256))
    receipt |= receipts.recorded(store, config, corpus, config.out, {"origin": scores.rule_set.origin})
    identity = receipt["selection"]["id"]
    store.selections.keep(identity, chain.identity, corpus.corpus, config.select.method, rows, selection.keys, receipt)
    with replacing(out.with_name(out.name + ".receipt.json")) as file:
        file.write(orjson.dumps(receipt, option=orjson.OPT_INDENT_2) + b"\n")
    return Outcome(receipt, scores.rule_set, scores.choice, found, selection, corpus)
