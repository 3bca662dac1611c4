"""What a run would ask of models, in requests, tokens and dollars, before any of it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rulesel.config import ScoreConfig, Spending
from rulesel.errors import UsageError
from rulesel.llm.base import ChatRequest
from rulesel.llm.names import model_id
from rulesel.llm.prices import find_price
from rulesel.llm.quote import CHARS_PER_TOKEN, SECONDS_PER_CALL, Quote, Range, quote
from rulesel.pipeline.chain import Chain, named_rules, ratable
from rulesel.pipeline.grading import ungraded
from rulesel.pipeline.measuring import measured_rules
from rulesel.pipeline.reading import open_source, read_corpus
from rulesel.pipeline.watch import Watcher
from rulesel.pipeline.writing import opening, remembered
from rulesel.raters.chat import Chat
from rulesel.raters.signals import Signals
from rulesel.receipt import choice_of, evidence_of, pool_of, rated, sample_of
from rulesel.records import Int64, Rule, RuleSet
from rulesel.rules.measured import without_sql
from rulesel.store import Store

PROBE = 20
"""Examples whose requests are measured to quote the rest."""

FREE_OF_QUESTIONS = 1.0
"""Dollars below which nobody is asked."""

ENOUGH_CALLS = 50
"""Calls after which what a model took is taken for what it will take."""


@dataclass(frozen=True, slots=True)
class StageQuote:
    """One stage's part of the bill.

    Attributes:
        stage: write, sample, grade sample, retest or corpus.
        model: who is asked.
        paid: answers already in the store.
        quote: the rest; None if there is nothing left to ask.
    """

    stage: str
    model: str
    paid: int
    quote: Quote | None


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole bill, stage by stage.

    Attributes:
        stages: in their order.
        written: False where the rules are still to be written and stand-ins of usual length were taken.
    """

    stages: list[StageQuote]
    written: bool = True

    @property
    def dollars(self) -> Range | None:
        """Low, likely, high; None if a price is unknown."""
        total = Range(0.0, 0.0, 0.0)
        for stage in self.stages:
            if stage.quote is None:
                continue
            if stage.quote.dollars is None:
                return None
            total = total.plus(stage.quote.dollars)
        return total

    @property
    def hours(self) -> Range:
        """Of all stages, one after another."""
        total = Range(0.0, 0.0, 0.0)
        for stage in self.stages:
            total = total if stage.quote is None else total.plus(stage.quote.hours)
        return total

    @property
    def calls(self) -> int:
        """Requests in all, if none fails."""
        return sum(stage.quote.calls for stage in self.stages if stage.quote is not None)

    def without(self, stage: str) -> Plan:
        """The bill of a run that stops before a stage."""
        return Plan([one for one in self.stages if one.stage != stage], self.written)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        stages = [_plain(asdict(stage)) for stage in self.stages]
        return {
            "calls": self.calls,
            "dollars": _plain(self.dollars),
            "hours": _plain(self.hours),
            "stages": stages,
            "written": self.written,
        }


def plan(config: ScoreConfig, watcher: Watcher | None = None) -> Plan:
    """Quote a run: the corpus is read into the store, and nothing is asked of any model.

    Raises:
        UsageError: as `run` would before it spends anything.
    """
    watcher = watcher or Watcher()
    named = named_rules(config, watcher)
    source = open_source(config.corpus, watcher)
    with Store(config.store_path) as store:
        corpus = read_corpus(store, config.corpus, source, watcher)
        return plan_chain(Chain(store, config, corpus, watcher), named)


def plan_chain(chain: Chain, named: RuleSet | None) -> Plan:
    """Quote a run on an open store.

    Args:
        chain: the run.
        named: its candidate rules; None where a model writes them. Where it has not yet, stand-ins of usual length are taken.
    """
    config, store = chain.config, chain.store
    rows = store.corpora.rows(chain.corpus.corpus)
    sample = sample_of(rows, config.rules.sample, config.seed)
    pool = np.unique(rows.content[pool_of(rows, config.duplicates)])
    quotes: list[StageQuote] = []
    rule_set = named
    if rule_set is None:
        writer = str(config.rules.writer)
        rule_set = remembered(store, config, writer)
        asked = [] if rule_set is not None else [opening(store, config, chain.corpus)]
        quotes.append(quote_requests(store, config, "write", writer, asked, sum(map(len, asked)), 0))
    known = rule_set is not None
    rule_set = RuleSet(rules=_stand_ins(config.rules.count)) if rule_set is None else ratable(rule_set, chain.raters)[0]
    rule_set, proposals = without_sql(rule_set) if config.reads else (rule_set, {})
    quotes += _of_sample(chain, rule_set, sample, known=known)
    if isinstance(config.rater, Chat):
        rules = (
            _chosen(chain, rule_set, sample, quotes, proposals) if known else rule_set.rules[: _kept(config, rule_set)]
        )
        shared = config.rater.id == config.sample_rater.id
        rest = np.setdiff1d(pool, sample) if shared else pool
        quotes.append(_ratings(chain, "corpus", config.rater, rules, rest, known=known))
    return Plan(quotes, known)


def approve(bill: Plan, watcher: Watcher) -> None:
    """Ask before more than a dollar, or an unknown price, is spent.

    Raises:
        UsageError: the answer is no, or there is nobody to ask.
    """
    if bill.calls == 0:
        return
    dollars = bill.dollars
    if dollars is not None and dollars.high <= FREE_OF_QUESTIONS:
        return
    amount = (
        "at an unknown price"
        if dollars is None
        else f"for about ${dollars.likely:.2f} (${dollars.low:.2f} to ${dollars.high:.2f})"
    )
    question = f"This sends about {bill.calls:,} requests {amount}."
    if not watcher.confirm(question):
        raise UsageError(f"{question} Nothing was sent. Add --yes to go on without being asked.")


def quote_requests(
    store: Store, config: Spending, stage: str, model: str, requests: list[list[ChatRequest]], calls: int, paid: int = 0
) -> StageQuote:
    """One stage from the requests of a few examples, with what the model took so far where the store knows it."""
    if calls == 0 or not requests:
        return StageQuote(stage, model, paid, None)
    chars = sum(len(content) for asked in requests for request in asked for _, content in request.messages)
    chars_per_token, seconds = _measured(store, model_id(model), stage, chars / sum(map(len, requests)))
    price = find_price(model, model_id(model), config.prices)
    found = quote(requests, calls, price=price, limits=config.limits, chars_per_token=chars_per_token, seconds=seconds)
    return StageQuote(stage, model, paid, found)


def _of_sample(chain: Chain, rule_set: RuleSet, sample: Int64, *, known: bool) -> list[StageQuote]:
    config, store = chain.config, chain.store
    rater = config.sample_rater
    if not isinstance(rater, Chat):
        return []
    quotes = [_ratings(chain, "sample", rater, rule_set.rules, sample, known=known)]
    if (judge := config.anchor_judge) is not None:
        left = ungraded(store, judge, sample, chain.again)
        requests = [[*judge.requests(batch, store.secret)] for _, batch in store.corpora.batches(_probe(sample), 1)]
        quotes.append(
            quote_requests(store, config, "grade sample", judge.model, requests, len(left), len(sample) - len(left))
        )
    if isinstance(again := chain.retest, Chat):
        part = sample_of(store.corpora.rows(chain.corpus.corpus), config.rules.retest, config.seed)
        quotes.append(_ratings(chain, "retest", again, rule_set.rules, part, known=known))
    return quotes


def _chosen(
    chain: Chain, rule_set: RuleSet, sample: Int64, quotes: Sequence[StageQuote], proposals: Mapping[str, str]
) -> Sequence[Rule]:
    """The rules that will be kept and read by the judge, where the sample is rated; else as many of the first."""
    config, store = chain.config, chain.store
    if not isinstance(config.sample_rater, Chat) or any(one.quote is not None for one in quotes):
        return rule_set.rules[: _kept(config, rule_set)]
    rater = store.rules.rater_number(config.sample_rater.id)
    rule_set, found = measured_rules(
        store, rule_set, proposals if config.rules.measure else {}, sample, rater, config.seed
    )
    computed = store.rules.rater_number(Signals().id) if any(one.why is None for one in found) else None
    ratings = rated(store, rule_set, sample, rater, computed)
    again = None if chain.retest is None else store.rules.rater_number(chain.retest.id)
    asked = config.sample_rater.id
    evidence = evidence_of(store, config, rule_set, chain.corpus, ratings, again, rater=asked)
    choice = choice_of(config, rule_set, ratings, evidence)
    return [rule for rule in (rule_set.rules[j] for j in choice.indices) if computed is None or rule.sql is None]


def _kept(config: ScoreConfig, rule_set: RuleSet) -> int:
    return min(config.rules.keep, len(rule_set)) if isinstance(config.rules.keep, int) else len(rule_set)


def _ratings(
    chain: Chain, stage: str, rater: Chat, rules: Sequence[Rule], contents: Int64, *, known: bool
) -> StageQuote:
    store = chain.store
    calls = len(contents) * len(rules)
    if known and len(contents):
        number = store.rules.rater(rater.id, rater.model, rater.model_dump(mode="json"), rater.provenance())
        cells = store.ratings.missing(contents, store.rules.numbers(rules), number, again=chain.again)
        calls = sum(block.n for block in cells)
    requests = [
        [*rater.requests(batch, rules, store.secret)] for _, batch in store.corpora.batches(_probe(contents), 1)
    ]
    return quote_requests(store, chain.config, stage, rater.model, requests, calls, len(contents) * len(rules) - calls)


def _measured(store: Store, model: str, stage: str, chars: float) -> tuple[Range, Range]:
    """Characters a token and seconds a request, by the store's calls to that model in that stage."""
    n, tokens, seconds = store.calls.measured(model, stage)
    if n < ENOUGH_CALLS:
        return CHARS_PER_TOKEN, SECONDS_PER_CALL
    per_token = chars / tokens if tokens else 0.0
    return (
        Range(0.9 * per_token, per_token, 1.1 * per_token) if per_token else CHARS_PER_TOKEN,
        Range(0.5 * seconds, seconds, 2.0 * seconds),
    )


def _probe(contents: Int64) -> Int64:
    return contents[:: max(1, len(contents) // PROBE)][:PROBE]


def _stand_ins(count: int) -> tuple[Rule, ...]:
    text = "The response deals with one aspect of quality that a sentence of this length can name."
    return tuple(Rule(name=f"rule {i}", text=f"{text} ({i})") for i in range(count))


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, Range):
        return value._asdict()
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return value
