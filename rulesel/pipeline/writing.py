"""Rules written by a model, once for each way of asking; the store remembers them."""

from __future__ import annotations

from rulesel.config import ScoreConfig
from rulesel.digest import digest
from rulesel.llm.names import model_id
from rulesel.pipeline.lending import Lender
from rulesel.pipeline.watch import Watcher
from rulesel.receipt import sample_of
from rulesel.records import RuleSet
from rulesel.rules.generate import generate_rules
from rulesel.store import CorpusRecord, Store

SHOWN = 20
"""Examples of the corpus the writer may be shown some of."""


def written_rules(
    store: Store, config: ScoreConfig, writer: str, corpus: CorpusRecord, lender: Lender, watcher: Watcher
) -> RuleSet:
    """The rules a model writes for the domain; asked for again in the same words, they come from the store.

    Raises:
        ModelError: the model cannot be asked, or writes nothing that can be read.
        BudgetReached: the run may send no further request.
    """
    contents = sample_of(store.corpora.rows(corpus.corpus), SHOWN, config.seed)
    hashes = store.corpora.hashes(contents)
    asked = digest(["written/1", model_id(writer), config.domain, config.rules.count, hashes, config.seed])
    known = store.rules.written(asked)
    if known is not None:
        watcher.say(f"rules: {len(known)} {known.origin}, as before")
        return known
    _, batch = next(store.corpora.batches(contents, SHOWN))
    lent = lender.lent("write", lean=False)
    found = generate_rules(
        lent.chat(writer), config.domain, count=config.rules.count, sample=batch, secret=store.secret, seed=config.seed
    )
    for merged in found.merged[:5]:
        watcher.say(f"  {merged.dropped.name!r} says what {merged.kept.name!r} says ({merged.similarity:.2f}), merged")
    for mistake in found.rejected[:5]:
        watcher.say(f"  not read: {mistake}")
    if len(found.rules) < found.wanted:
        watcher.say(f"  {found.wanted} rules were asked for, {len(found.rules)} different ones came")
    store.rules.keep_written(asked, found.rules)
    lender.kept("write")
    watcher.say(f"rules: {len(found.rules)} {found.rules.origin}")
    return found.rules
