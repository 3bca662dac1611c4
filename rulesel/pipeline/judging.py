"""Opinions of whole examples, without a run's rules: grades and preferences, kept as a column any selector reads."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from rulesel.config import JudgeConfig
from rulesel.corpus import Corpus
from rulesel.digest import digest
from rulesel.engines.local import no_chat
from rulesel.errors import RuleselError, TooManyFailures, UsageError
from rulesel.judges import Judge
from rulesel.judges.pairwise import Pairwise, regular_pairs
from rulesel.judges.rubric import RubricJudge
from rulesel.llm.base import ChatRequest, Lent
from rulesel.llm.names import IN_PROCESS, is_free
from rulesel.llm.starts import Tried
from rulesel.pipeline.grading import grade, identity_of, ungraded
from rulesel.pipeline.lending import attempt, check_prices
from rulesel.pipeline.planning import PROBE, Plan, StageQuote, approve, quote_requests
from rulesel.pipeline.reading import open_source, read_corpus
from rulesel.pipeline.starting import begun
from rulesel.pipeline.watch import Watcher
from rulesel.raters import Rater, rater_for
from rulesel.receipt import sample_of
from rulesel.records import Batch, Int64, Rule, Status
from rulesel.store import CorpusRecord, Store


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of it.

    Attributes:
        column: the name of the column of grades.
        examples: how many were to be graded.
        graded: how many have a grade.
        failed: the others by kind.
        mean: of the grades; NaN if there is none.
        sd: of the grades.
        scale: lowest and highest grade there can be.
        report: what a judge that compares says of itself.
    """

    column: str
    examples: int
    graded: int
    failed: Mapping[str, int]
    mean: float
    sd: float
    scale: tuple[float, float]
    report: Mapping[str, Any]

    @property
    def last_line(self) -> str:
        """How many examples have a grade, and what the grades are like."""
        low, high = self.scale
        between = "" if math.isinf(low) else f" on a scale from {low:g} to {high:g}"
        return (
            f"{self.column}: {self.graded:,} of {self.examples:,} graded{between}; mean {self.mean:.2f}, "
            f"standard deviation {self.sd:.2f}"
        )


def judge(config: JudgeConfig, watcher: Watcher | None = None, *, again: Collection[Status] = ()) -> Judged:
    """Have a model grade a corpus, or a sample of it; run again after an interruption, it goes on where it was.

    Args:
        config: the judge, the corpus and the budget.
        watcher: receives lines and progress.
        again: kinds of failure that are asked for once more.

    Raises:
        RuleselError: with the exit code the command line gives; no grade is lost.
    """
    watcher = watcher or Watcher()
    opinion, source = config.opinion, None if config.corpus is None else open_source(config.corpus, watcher)
    with Store(config.store_path, must_exist=source is None) as store, ExitStack() as engines:
        corpus = _corpus(store, config, source, watcher)
        contents = contents_of(store, corpus, config.sample, config.seed)
        rater = None
        if config.judge.startswith(IN_PROCESS):
            rater = _engine(store, config.judge, contents, watcher)
            engines.callback(rater.close)
            opinion = opinion.by(rater.id, rater.answer_start)
        check_prices(config, [config.judge])
        if not config.yes and not is_free(config.judge):
            approve(Plan([_quote(store, config, opinion, contents, again)]), watcher)
        run = digest(["judge/1", corpus.sha256, opinion.id, config.sample, config.seed])
        with attempt(store, config, run, watcher) as lender:
            if rater is not None:
                lender.engines[config.judge] = rater.chat
            report = grade(
                store,
                opinion,
                config.judge,
                contents,
                f"grade {opinion.column}",
                lender=lender,
                watcher=watcher,
                max_failed=config.max_failed,
                again=again,
            )
            return _judged(store, config, opinion, contents, report)


def _engine(store: Store, judge: str, contents: Int64, watcher: Watcher) -> Rater:
    """The rater whose engine grades; its answers start as they do in a run, tried on the first examples if not yet."""
    rater = rater_for(judge)

    def ask(batch: Batch, rule: Rule) -> list[Tried]:
        return rater.try_starts(batch, rule, Lent(store.secret, no_chat))

    try:
        return begun(store, rater, contents, Rule(name="good", text="The response is good."), ask, watcher)
    except RuleselError:
        rater.close()
        raise


def current_corpus(store: Store) -> CorpusRecord:
    """The corpus read last.

    Raises:
        UsageError: there is none.
    """
    corpus = store.corpora.current()
    if corpus is None:
        raise UsageError(f"{store.path} holds no corpus: name one, or let `rulesel score` read one first.")
    return corpus


def contents_of(store: Store, corpus: CorpusRecord, sample: int | None, seed: int) -> Int64:
    """The contents to be graded, ascending: all, or a sample that a larger one holds."""
    rows = store.corpora.rows(corpus.corpus)
    return np.unique(rows.content) if sample is None else sample_of(rows, sample, seed)


def _corpus(store: Store, config: JudgeConfig, source: Corpus | None, watcher: Watcher) -> CorpusRecord:
    if source is None or config.corpus is None:
        return current_corpus(store)
    return read_corpus(store, config.corpus, source, watcher)


def _quote(store: Store, config: JudgeConfig, judge: Judge, contents: Int64, again: Collection[Status]) -> StageQuote:
    left = ungraded(store, judge, contents, again)
    probe = left[:: max(1, len(left) // PROBE)][:PROBE]
    requests: list[list[ChatRequest]] = []
    calls = len(left)
    if isinstance(judge, RubricJudge):
        requests = [[*judge.requests(batch, store.secret)] for _, batch in store.corpora.batches(probe, 1)]
    elif isinstance(judge, Pairwise) and len(left) > 1:
        calls = _most_comparisons(judge, len(left))
        _, batch = next(store.corpora.batches(probe, PROBE))
        pairs = regular_pairs(len(batch), 4, np.random.default_rng(judge.seed))
        requests = [[request] for request in judge.requests(batch, pairs, store.secret)]
    return quote_requests(
        store, config, f"grade {judge.column}", config.judge, requests, calls, len(contents) - len(left)
    )


def _most_comparisons(judge: Pairwise, n: int) -> int:
    """Requests of all rounds, both orders."""
    degree = judge.degree or max(6, math.ceil(2 * math.log(n)))
    return 2 * min(n * (degree // 2) + (judge.rounds - 1) * (n - 1), n * (n - 1) // 2)


def _judged(store: Store, config: JudgeConfig, judge: Judge, contents: Int64, report: Mapping[str, Any]) -> Judged:
    identity = identity_of(store, judge, contents)
    values = store.columns.read_identity(judge.column, identity, contents)
    failed = store.columns.failures(judge.column, identity)
    lost = sum(n for kind, n in failed.items() if kind != Status.not_applicable.name)
    could = len(contents) - failed.get(Status.not_applicable.name, 0)
    if could and lost / could > config.max_failed:
        raise TooManyFailures(
            f"{lost:,} of {could:,} grades failed, more than --max-failed {config.max_failed:g} allows. Every grade is "
            "kept. `rulesel retry-failed` asks again."
        )
    known = values[~np.isnan(values)]
    mean, sd = (float(known.mean()), float(known.std())) if len(known) else (np.nan, np.nan)
    return Judged(judge.column, len(contents), len(known), failed, mean, sd, judge.scale, report)
