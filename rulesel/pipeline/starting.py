"""The start of a rater's answers: chosen on the first examples of the first run, kept in the store, never chosen twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rulesel.llm.starts import ROWS, Tried, best, shown
from rulesel.pipeline.watch import Watcher
from rulesel.raters import Rater
from rulesel.records import Batch, Int64, Rule
from rulesel.store import Store


def remembered(store: Store, rater: Rater) -> Rater:
    """The rater with the start that an earlier run chose, or as it is where none was chosen yet.

    A rater whose ratings without a start mostly have a value goes on without: nothing rated is rated again.
    """
    if not rater.undecided:
        return rater
    known = store.rules.start(rater.bare_id)
    if known is not None:
        return rater.starting(known["start"], known["mass"])
    return rater.starting("") if store.ratings.mostly_ok(rater.bare_id) else rater


def begun(
    store: Store,
    rater: Rater,
    contents: Int64,
    rule: Rule,
    ask: Callable[[Batch, Rule], Sequence[Tried]],
    watcher: Watcher,
) -> Rater:
    """The rater with its start, chosen now if it was not before.

    Args:
        store: where the choice is kept.
        rater: perhaps undecided.
        contents: the examples that will be rated; up to `ROWS` of them are asked about.
        rule: one of the rules.
        ask: tries the starts on examples under the rule; gives nothing where none can be tried.
        watcher: is told what was chosen.

    Raises:
        ModelError: no start puts enough probability on the labels; with the table.
    """
    rater = remembered(store, rater)
    if not rater.undecided:
        return rater
    found = ask(examples(store, contents), rule)
    if not found:
        return rater.starting("")
    chosen = best(found)
    store.rules.keep_start(
        rater.bare_id, {"start": chosen.start, "mass": chosen.mass, "tried": [one.as_dict() for one in found]}
    )
    watcher.say(told(found))
    return rater.starting(chosen.start, chosen.mass)


def told(found: Sequence[Tried]) -> str:
    """What was chosen, in one line."""
    chosen = best(found)
    bare = next((one.mass for one in found if not one.start), 0.0)
    without = f" ({bare:.0%} without a start)" if chosen.start else ""
    return (
        f"answer start: {shown(chosen.start)}; the digits 0 to 5 then have {chosen.mass:.0%} of the probability or more "
        f"in nine of ten answers{without}"
    )


def examples(store: Store, contents: Int64) -> Batch:
    """Up to `ROWS` of the contents, evenly spaced."""
    some = contents[:: max(1, -(-len(contents) // ROWS))][:ROWS]
    return next(batch for _, batch in store.corpora.batches(some, ROWS))
