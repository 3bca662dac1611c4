"""Whether a judge's numbers hang on circumstances: the order of its prompt, and what else it rates at the same time."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from rulesel.config import Spending
from rulesel.digest import digest
from rulesel.errors import UsageError
from rulesel.evaluation.calibration import EXAMPLES, drift, order
from rulesel.llm.names import is_free
from rulesel.pipeline.chain import ratable
from rulesel.pipeline.choosing import rated_sample
from rulesel.pipeline.judging import current_corpus
from rulesel.pipeline.lending import attempt, check_prices
from rulesel.pipeline.planning import Plan, approve, quote_requests
from rulesel.pipeline.starting import remembered
from rulesel.pipeline.trusting import begun_for
from rulesel.pipeline.watch import Progress, Pulse, Watcher
from rulesel.raters import Lent, Rater, rater_for
from rulesel.raters.chat import Chat
from rulesel.receipt import as_json, sample_of
from rulesel.records import Batch, Rule
from rulesel.rules.packs import load_rules
from rulesel.store import Store

REPEATED = 48
"""Examples rated again; few, as each is rated six times."""


class RuleOrder(NamedTuple):
    """One rule rated document first and rule first.

    Rank correlation over n examples, mean rise in ratings from 0 to 1; `doubtful` if the ranks differ.
    """

    rule: str
    spearman: float
    shift: float
    n: int
    doubtful: bool


class CalibrationConfig(Spending):
    """A test of a rater against itself."""

    store: str
    judge: str
    judge_parameters: dict[str, Any] = Field(default_factory=dict)
    rules: str | None = None
    """A YAML file or "pack:NAME"; None for the rules the store has ratings of."""
    examples: int | None = Field(default=None, ge=3)
    """Examples drawn; None for `EXAMPLES` for the order and `REPEATED` for repetitions."""
    seed: int = 0

    @property
    def rater(self) -> Rater:
        """Who is tested."""
        return rater_for(self.judge, **self.judge_parameters)


class Repeated(NamedTuple):
    """What was done, the largest change of a rating from 0 to 1, and how many cells have another status."""

    arm: str
    largest: float
    flipped: int


class Calibration(NamedTuple):
    """What was asked for of the two."""

    order: list[RuleOrder] | None
    repeat: list[Repeated] | None


def calibrate(
    config: CalibrationConfig, watcher: Watcher | None = None, *, ordered: bool, repeated: bool
) -> Calibration:
    """Rate examples of the current corpus in other orders and company; nothing of it is kept as a rating.

    Args:
        config: who, on what.
        watcher: told of progress.
        ordered: compare document first with rule first.
        repeated: rate again, in other batches, in reverse order, rule by rule.

    Raises:
        UsageError: the rater has no prompt, keeps its answers, or there are no rules it can rate.
        ModelError: the model cannot be asked.
    """
    watcher, rater = watcher or Watcher(), config.rater
    if repeated and isinstance(rater, Chat):
        raise UsageError(
            "--repeat is for a model in this process (vllm:…): what an endpoint said once is never asked again."
        )
    with Store(Path(config.store), must_exist=True) as store:
        corpus = current_corpus(store)
        rule_set = rated_sample(store)[0] if config.rules is None else load_rules(config.rules)
        rules = ratable(rule_set, [rater])[0].rules
        rater = remembered(store, rater)
        contents = sample_of(store.corpora.rows(corpus.corpus), EXAMPLES, config.seed)
        if ordered and isinstance(rater, Chat):
            _approve(store, config, rater, rules, watcher)
        run = digest(
            ["calibration/1", corpus.sha256, rater.id, [rule.id for rule in rules], config.examples, config.seed]
        )
        try:
            with attempt(store, config, run, watcher) as lender:
                told = 2 * (config.examples or EXAMPLES) * len(rules)
                pulse = Pulse(watcher, lambda n: Progress("calibrate", n, told, "ratings", {}, lender.dollars))
                lent = lender.lent("calibration", answered=pulse.answered)
                rater = begun_for(store, rater, contents, rules[0], lent, watcher)
                ways = _ordered(rater, _drawn(store, config, EXAMPLES), rules, lent) if ordered else None
                if ways is not None:
                    _keep(store, rater, ways)
                lender.kept("calibration")
                again = _repeated(rater, _drawn(store, config, REPEATED), rules, lent) if repeated else None
        finally:
            rater.close()
    return Calibration(ways, again)


def _keep(store: Store, rater: Rater, ways: list[RuleOrder]) -> None:
    found = {"examples": max(one.n for one in ways), "spearman": as_json([one.spearman for one in ways])}
    store.rules.keep_check(rater.id, "--order", found)


def _ordered(rater: Rater, batch: Batch, rules: tuple[Rule, ...], lent: Lent) -> list[RuleOrder]:
    found = order(rater, batch, rules, lent)
    doubtful = set(found.doubtful())
    return [
        RuleOrder(rule.name, float(found.spearman[j]), float(found.shift[j]), int(found.n[j]), j in doubtful)
        for j, rule in enumerate(rules)
    ]


def _repeated(rater: Rater, batch: Batch, rules: tuple[Rule, ...], lent: Lent) -> list[Repeated]:
    found = drift(rater, batch, rules, lent)
    return [Repeated(*one) for one in zip(found.arms, found.largest, found.flipped, strict=True)]


def _drawn(store: Store, config: CalibrationConfig, count: int) -> Batch:
    contents = sample_of(store.corpora.rows(current_corpus(store).corpus), config.examples or count, config.seed)
    _, batch = next(store.corpora.batches(contents, len(contents)))
    return batch


def _approve(store: Store, config: CalibrationConfig, rater: Chat, rules: tuple[Rule, ...], watcher: Watcher) -> None:
    check_prices(config, [config.judge])
    if config.yes or is_free(config.judge):
        return
    batch = _drawn(store, config, EXAMPLES)
    asked = [[request] for request in rater.requests(batch, rules, store.secret)]
    quote = quote_requests(store, config, "calibration", config.judge, asked, 2 * len(asked))
    approve(Plan([quote]), watcher)
