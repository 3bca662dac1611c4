"""Rules written by a model, once for each way of asking; the store remembers them."""

from __future__ import annotations

from rulesel.config import ScoreConfig
from rulesel.digest import PREFIX, digest
from rulesel.llm.base import ChatRequest
from rulesel.llm.names import model_id
from rulesel.pipeline.lending import Lender
from rulesel.pipeline.watch import Progress, Pulse, Watcher
from rulesel.receipt import sample_of
from rulesel.records import Batch, RuleSet
from rulesel.rules.generate import Written, first_requests, generate_rules
from rulesel.rules.lint import lint
from rulesel.rules.packs import save_rules
from rulesel.store import CorpusRecord, Store

SHOWN = 20
"""Examples of the corpus the writer may be shown some of."""

MENTIONED = 5
"""Merged and unreadable rules listed one by one."""


def written_rules(
    store: Store, config: ScoreConfig, writer: str, corpus: CorpusRecord, lender: Lender, watcher: Watcher
) -> RuleSet:
    """The rules a model writes for the domain; asked for again in the same words, they come from the store.

    Raises:
        ModelError: the model cannot be asked, or writes nothing that can be read.
        BudgetReached: the run may send no further request.
    """
    known = remembered(store, config, writer)
    if known is not None:
        watcher.say(f"rules: {len(known)} {known.origin}, as before")
        return known
    found = generate_rules(
        lender.lent("write", lean=False, answered=pulse(lender, watcher).answered).chat(writer),
        config.domain,
        count=config.rules.count,
        sample=_shown(store, config, corpus),
        secret=store.secret,
        seed=config.seed,
    )
    tell(found, watcher)
    address = _address(config, writer)
    store.rules.keep_written(address, found.rules)
    lender.kept("write")
    watcher.say(f"rules: {len(found.rules)} {found.rules.origin}" + _saved(store, address, found.rules))
    return found.rules


def remembered(store: Store, config: ScoreConfig, writer: str) -> RuleSet | None:
    """What the writer wrote when it was asked the same before, whatever examples it was shown."""
    return store.rules.written(_address(config, writer))


def pulse(lender: Lender, watcher: Watcher) -> Pulse:
    """Progress of writing."""
    made = Pulse(watcher, lambda answers: Progress("write rules", answers, None, "answers", {}, lender.dollars))
    made.kept()
    return made


def opening(store: Store, config: ScoreConfig, corpus: CorpusRecord) -> list[ChatRequest]:
    """What a writer is asked at first."""
    sample = _shown(store, config, corpus)
    return first_requests(config.domain, count=config.rules.count, sample=sample, secret=store.secret, seed=config.seed)


def tell(found: Written, watcher: Watcher) -> None:
    """What was merged, what could not be read, and whether rules are lacking."""
    reworded = [merged for merged in found.merged if merged.dropped.name != merged.kept.name]
    if len(reworded) < len(found.merged):
        watcher.say(f"  {len(found.merged) - len(reworded)} written again under the same name, merged")
    for merged in reworded[:MENTIONED]:
        watcher.say(f"  {merged.dropped.name!r} says what {merged.kept.name!r} says ({merged.similarity:.2f}), merged")
    if len(reworded) > MENTIONED:
        watcher.say(f"  {len(reworded) - MENTIONED} more merged")
    for mistake in found.rejected[:MENTIONED]:
        watcher.say(f"  not read: {mistake}")
    if len(found.rules) < found.wanted:
        watcher.say(f"  {found.wanted} rules were asked for, {len(found.rules)} different ones came")
    findings = lint(found.rules)
    for finding in findings[:MENTIONED]:
        watcher.say(f"  {finding.rule!r} {finding.what}")
    if len(findings) > MENTIONED:
        watcher.say(f"  {len(findings)} findings in all; `rulesel rules lint` shows them")


def _shown(store: Store, config: ScoreConfig, corpus: CorpusRecord) -> Batch:
    contents = sample_of(store.corpora.rows(corpus.corpus), SHOWN, config.seed)
    _, batch = next(store.corpora.batches(contents, SHOWN))
    return batch


def _address(config: ScoreConfig, writer: str) -> str:
    return digest(["written/1", model_id(writer), config.domain, config.rules.count, config.seed])


def _saved(store: Store, address: str, rules: RuleSet) -> str:
    """Save the rules beside the store, to be read and edited; a file that is there is left alone."""
    if store.path is None:
        return ""
    path = store.path.with_name(f"{store.path.name}.rules-{address.removeprefix(PREFIX)[:8]}.yaml")
    if not path.exists():
        save_rules(path, rules)
    return f"; {path}"
