"""The beginning of every chain: a corpus in the store, and a sample of it rated on every rule."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from rulesel.config import ScoreConfig, SelectConfig
from rulesel.corpus import Corpus
from rulesel.pipeline.chain import Chain, named_rules, ratable
from rulesel.pipeline.lending import check_prices
from rulesel.pipeline.naming import which_column
from rulesel.pipeline.planning import approve, plan_chain
from rulesel.pipeline.preflight import check_choice, check_column, check_reference, check_selection
from rulesel.pipeline.reading import read_corpus
from rulesel.pipeline.watch import Watcher
from rulesel.receipt import Rated, sample_of
from rulesel.records import RuleSet, Status
from rulesel.store import CorpusRecord, Store


@dataclass(frozen=True, slots=True)
class RatedSample:
    """A sample rated on every rule.

    Attributes:
        rule_set: all candidate rules that can be rated.
        corpus: what was read.
        sample: the ratings.
    """

    rule_set: RuleSet
    corpus: CorpusRecord
    sample: Rated

    @property
    def last_line(self) -> str:
        """How many ratings there are, how many failed, and where a rule does not apply."""
        rated = int((~np.isnan(self.sample.values)).sum())
        apart = int((self.sample.status == Status.not_applicable).sum())
        failed = self.sample.values.size - rated - apart
        return (
            f"{len(self.sample.contents):,} examples rated on {len(self.rule_set)} rules: {rated:,} ratings, {failed:,} failed"
            + (f", {apart:,} not applicable" if apart else "")
        )


@contextmanager
def sampled(
    config: ScoreConfig,
    source: Corpus,
    watcher: Watcher,
    *,
    only: bool = False,
    again: Collection[Status] = (),
    select: SelectConfig | None = None,
) -> Iterator[tuple[Store, Chain, RatedSample]]:
    """Open the store, read the corpus, ask for consent, and have a sample rated; what follows happens inside.

    Args:
        config: the run's.
        source: the corpus, opened.
        watcher: told, and asked for consent where somebody may send a bill.
        only: nothing but the sample will be rated: consent is asked for that alone.
        again: kinds of failure that are asked for once more.
        select: what will be selected afterwards, checked before anything is asked.

    Raises:
        RuleselError: as `run` does.
    """
    named = named_rules(config, watcher)
    with Store(config.store_path) as store:
        corpus = read_corpus(store, config.corpus, source, watcher)
        chain = Chain(store, config, corpus, watcher, again)
        if config.rules.anchor not in {None, "overall"}:
            _check_anchor(store, config, corpus, watcher)
        if select is not None:
            check_selection(store, select, corpus, config.duplicates, config.seed, watcher)
        if named is not None:
            check_choice(config, ratable(named, chain.raters)[0])
        check_prices(config, chain.models)
        if not config.yes and not chain.free():
            bill = plan_chain(chain, named)
            approve(bill.without("corpus") if only else bill, watcher)
        with chain.attempt():
            rule_set = chain.rules(named)
            rule_set, sample = chain.sample(rule_set)
            yield store, chain, RatedSample(rule_set, corpus, sample)


def _check_anchor(store: Store, config: ScoreConfig, corpus: CorpusRecord, watcher: Watcher) -> None:
    """Refuse a column that is no help in choosing rules, and say which one is meant where there are several."""
    name = str(config.rules.anchor)
    check_column(store, name)
    if which := which_column(store, name):
        watcher.say(which)
    sample = sample_of(store.corpora.rows(corpus.corpus), config.rules.sample, config.seed)
    check_reference(name, store.columns.read(name, sample)[0])
