"""What a run would ask of models, in requests, tokens and dollars, before any of it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rulesel.errors import UsageError
from rulesel.llm.base import ChatRequest
from rulesel.llm.names import model_id
from rulesel.llm.prices import find_price
from rulesel.llm.quote import Quote, Range, quote
from rulesel.pipeline.chain import Chain
from rulesel.raters.chat import Chat
from rulesel.receipt import pool_of, sample_of
from rulesel.records import Int64, Rule, RuleSet

PROBE = 20
"""Examples whose requests are measured to quote the rest."""

FREE_OF_QUESTIONS = 1.0
"""Dollars below which nobody is asked."""


@dataclass(frozen=True, slots=True)
class StageQuote:
    """One stage's part of the bill.

    Attributes:
        stage: sample, grades of the sample, retest or corpus.
        model: who is asked.
        paid: cells already in the store.
        quote: the rest; None if there is nothing left to ask.
    """

    stage: str
    model: str
    paid: int
    quote: Quote | None


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole bill, stage by stage."""

    stages: list[StageQuote]

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
    def calls(self) -> int:
        """Requests in all, if none fails."""
        return sum(stage.quote.calls for stage in self.stages if stage.quote is not None)


def plan(chain: Chain, rules: RuleSet | None) -> Plan:
    """Quote a run on an open store; nothing is asked of any model.

    Args:
        chain: the run.
        rules: its candidate rules; None where they are still to be written, for which stand-ins of usual length are taken.
    """
    config, store = chain.config, chain.store
    rows = store.corpora.rows(chain.corpus.corpus)
    sample = sample_of(rows, config.rules.sample, config.seed)
    pool = np.unique(rows.content[pool_of(rows, config.duplicates)])
    candidates = rules.rules if rules is not None else _stand_ins(config.rules.count)
    keep = config.rules.keep if isinstance(config.rules.keep, int) else len(candidates)
    chosen = candidates[: min(keep, len(candidates))]
    quotes: list[StageQuote] = []
    sample_rater, rater = config.sample_rater, config.rater
    if isinstance(sample_rater, Chat):
        quotes.append(_ratings(chain, "sample", sample_rater, candidates, sample, known=rules is not None))
        if (judge := config.anchor_judge) is not None:
            left = store.columns.missing(judge.id, judge.column, sample)
            requests = [[*judge.requests(batch, store.secret)] for _, batch in store.corpora.batches(_probe(sample), 1)]
            quotes.append(_quote(chain, "grade sample", judge.model, requests, len(left), len(sample) - len(left)))
        if (again := config.retest_rater) is not None and isinstance(again, Chat):
            part = sample_of(rows, config.rules.retest, config.seed)
            quotes.append(_ratings(chain, "retest", again, candidates, part, known=rules is not None))
    if isinstance(rater, Chat):
        shared = rater.id == sample_rater.id
        rest = np.setdiff1d(pool, sample) if shared else pool
        quotes.append(_ratings(chain, "corpus", rater, chosen, rest, known=rules is not None))
    return Plan(quotes)


def approve(chain: Chain, rules: RuleSet | None) -> None:
    """Ask before more than a dollar, or an unknown price, is spent.

    Raises:
        UsageError: the answer is no, or there is nobody to ask.
    """
    bill = plan(chain, rules)
    if bill.calls == 0:
        return
    dollars = bill.dollars
    if dollars is not None and dollars.high <= FREE_OF_QUESTIONS:
        return
    amount = (
        "at an unknown price"
        if dollars is None
        else f"for ${dollars.likely:.2f} (${dollars.low:.2f} to ${dollars.high:.2f})"
    )
    question = f"This run sends about {bill.calls:,} requests {amount}."
    if not chain.watcher.confirm(question):
        raise UsageError(f"{question} Nothing was sent. Add --yes to go on, or see `rulesel plan`.")


def _ratings(
    chain: Chain, stage: str, rater: Chat, rules: Sequence[Rule], contents: Int64, *, known: bool
) -> StageQuote:
    store = chain.store
    calls = len(contents) * len(rules)
    if known and len(contents):
        number = store.rules.rater(rater.id, rater.model, rater.model_dump(mode="json"), rater.provenance())
        calls = sum(cells.n for cells in store.ratings.missing(contents, store.rules.numbers(rules), number))
    requests = [
        [*rater.requests(batch, rules, store.secret)] for _, batch in store.corpora.batches(_probe(contents), 1)
    ]
    return _quote(chain, stage, rater.model, requests, calls, len(contents) * len(rules) - calls)


def _quote(
    chain: Chain, stage: str, model: str, requests: list[list[ChatRequest]], calls: int, paid: int
) -> StageQuote:
    if calls == 0 or not requests:
        return StageQuote(stage, model, paid, None)
    price = find_price(model, model_id(model), chain.config.prices)
    return StageQuote(stage, model, paid, quote(requests, calls, price=price, limits=chain.config.limits))


def _probe(contents: Int64) -> Int64:
    return contents[:: max(1, len(contents) // PROBE)][:PROBE]


def _stand_ins(count: int) -> tuple[Rule, ...]:
    text = "The response deals with one aspect of quality that a sentence of this length can name."
    return tuple(Rule(name=f"rule {i}", text=f"{text} ({i})") for i in range(count))
