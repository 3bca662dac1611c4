"""Rules written into a file, for a person to read and edit before anything is rated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rulesel.config import CorpusConfig, Spending
from rulesel.corpus import Corpus
from rulesel.digest import digest
from rulesel.errors import UsageError
from rulesel.llm.names import is_free, model_id
from rulesel.pipeline.lending import attempt, check_prices
from rulesel.pipeline.planning import Plan, approve, quote_requests
from rulesel.pipeline.reading import open_source, read_corpus
from rulesel.pipeline.watch import Watcher
from rulesel.pipeline.writing import SHOWN, pulse, tell
from rulesel.receipt import sample_of
from rulesel.records import Batch
from rulesel.rules.diff import RuleDiff, diff_rules
from rulesel.rules.generate import Written, first_requests, generate_rules
from rulesel.rules.packs import load_rules, save_rules
from rulesel.store import Store

READ = 1000
"""Examples read of a corpus, to draw those the writer is shown from."""


class AuthorConfig(Spending):
    """Rules for a domain."""

    domain: str
    writer: str
    count: int = 50
    sample: CorpusConfig | None = None
    """A corpus whose examples the writer is shown some of."""
    seed: int = 0
    out: str


def author(config: AuthorConfig, watcher: Watcher | None = None) -> Written:
    """Have a model write rules, and save them.

    Raises:
        UsageError: there is nobody to ask for consent, or the sample cannot be read.
        ModelError: the model cannot be asked, or writes nothing that can be read.
        BudgetReached: it may not be asked as often as it takes.
    """
    watcher = watcher or Watcher()
    identity = model_id(config.writer)
    source = None if config.sample is None else open_source(config.sample)
    check_prices(config, [config.writer])
    with Store() as store:
        shown = _shown(store, config, source, watcher)
        if not config.yes and not is_free(config.writer):
            asked = first_requests(
                config.domain, count=config.count, sample=shown, secret=store.secret, seed=config.seed
            )
            approve(Plan([quote_requests(store, config, "write", config.writer, [asked], len(asked))]), watcher)
        run = digest(["author/1", identity, config.domain, config.count, config.seed])
        with attempt(store, config, run, watcher) as lender:
            answered = pulse(lender, watcher).answered
            chat = lender.lent("write", lean=False, answered=answered).chat(config.writer)
            found = generate_rules(
                chat, config.domain, count=config.count, sample=shown, secret=store.secret, seed=config.seed
            )
    save_rules(Path(config.out), found.rules)
    tell(found, watcher)
    return found


def domain_of(given: str) -> str:
    """The text of a file of that name, else the words themselves.

    Raises:
        UsageError: the file is no text.
    """
    try:
        path = Path(given)
        text = path.read_text(encoding="utf-8") if len(given) < 250 and path.is_file() else given
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{given} cannot be read as text: {error}.") from error
    if not text.strip():
        raise UsageError("Say what the rules are for: a sentence, or a file that holds it.")
    return text.strip()


@dataclass(frozen=True, slots=True)
class Stale:
    """What an edit of the rules makes of a store's ratings.

    Attributes:
        diff: the edit.
        ratings: rater -> ratings of rules that were edited or removed; they stay, and are not read.
        wanted: rater -> ratings of the sample it has of the rules that stayed, each of which a new rule needs too.
    """

    diff: RuleDiff
    ratings: dict[str, int]
    wanted: dict[str, int]


def compare(before: str, after: str, store: Path | None = None) -> Stale:
    """Two states of a rule file, and the cells an edit makes stale.

    Args:
        before: a YAML file or "pack:NAME".
        after: the same.
        store: whose ratings to count.
    """
    found = diff_rules(load_rules(before), load_rules(after))
    if store is None:
        return Stale(found, {}, {})
    with Store(store, read_only=True) as opened:
        known = dict(opened.db.rows("SELECT id, rule FROM rules"))
        counts = opened.db.rows(
            "SELECT a.judge, r.rule, count(*) FROM ratings r JOIN raters a USING (rater) GROUP BY ALL"
        )
    old = {known[rule.id] for rule in found.stale if rule.id in known}
    stale: dict[str, int] = {}
    wanted: dict[str, int] = {}
    for judge, rule, n in counts:
        if rule in old:
            stale[judge] = stale.get(judge, 0) + int(n)
        wanted[judge] = min(wanted.get(judge, int(n)), int(n))
    return Stale(found, stale, {judge: n * len(found.unrated) for judge, n in wanted.items()})


def _shown(store: Store, config: AuthorConfig, source: Corpus | None, watcher: Watcher) -> Batch | None:
    if config.sample is None or source is None:
        return None
    corpus = read_corpus(store, config.sample, source, watcher)
    contents = np.unique(sample_of(store.corpora.rows(corpus.corpus), SHOWN, config.seed))
    _, batch = next(store.corpora.batches(contents, SHOWN))
    return batch
