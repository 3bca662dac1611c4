"""The rows picked by a method that gets whatever it reads, with a sign of life where that takes long."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import orjson

from rulesel.algorithms.given import Progress as Told
from rulesel.config import SelectConfig
from rulesel.errors import NothingSelected
from rulesel.pipeline.featuring import supply
from rulesel.pipeline.watch import Progress, Watcher
from rulesel.receipt import Scored, as_json, selection_of
from rulesel.receipt.offering import FIELDS
from rulesel.records import Selection
from rulesel.store import CorpusRecord, Store

PATIENCE = 2.0
"""Seconds before anything is said."""


def picked(
    store: Store, select: SelectConfig, seed: int, corpus: CorpusRecord, found: Scored, watcher: Watcher
) -> Selection:
    """The rows picked, as positions in `found.pool`; features that the method reads are computed where they lack.

    Raises:
        UsageError: the method lacks something, or refuses its work.
        NothingSelected: no row is picked.
        Interrupted: the user asked to stop.
    """
    features = supply(store, select, corpus, watcher)
    with _telling(watcher, f"{select.method} on {len(found.pool):,} examples …") as progress:
        selection = selection_of(store, select, seed, corpus, found, features=features, progress=progress)
    if not len(selection):
        raise NothingSelected(f"{select.method} selects nothing: {_why(store, select, found, features, selection)}.")
    for warning in selection.report.get("warnings", ()):
        watcher.say(f"{select.method}: {warning}")
    return selection


def _why(store: Store, select: SelectConfig, found: Scored, features: Mapping[str, str], selection: Selection) -> str:
    """Why no row could be picked: what they all lack, or what shut them out."""
    n, contents = len(found.pool), found.rows.content[found.pool]
    if not n:
        return "the corpus has no examples"
    known = found.scores[~np.isnan(found.scores)]
    if select.needs_quality and not len(known):
        return f"none of the {n:,} examples has a number in the column {select.quality!r}"
    for role, identity in features.items():
        if not store.features.known(identity, contents):
            return f"none of the {n:,} examples has {role} (--embedding names others)"
    for name in set(select.selector.reads) - FIELDS:
        if name != "length" and np.isnan(store.columns.read(name, contents)[0]).all():
            return f"none of the {n:,} examples has a number in the column {name!r}"
    if select.threshold is not None and not (known >= (-select.threshold if found.turned else select.threshold)).any():
        best = -known.max() if found.turned else known.max()
        most = "at most" if found.turned else "at least"
        return f"no {select.quality!r} is {most} {select.threshold:g}; the best is {best:g}"
    if select.selector.given and len(select.selector.given) >= n:
        return f"all {n:,} examples are given as chosen already"
    return f"none of the {n:,} examples has all that it needs; its report: {orjson.dumps(as_json(selection.report)).decode()}"


@contextmanager
def _telling(watcher: Watcher, line: str) -> Iterator[Told]:
    """Say the line after two seconds, and from then on how many rows are picked."""
    timer = threading.Timer(PATIENCE, watcher.say, [line])
    timer.daemon = True
    started = time.monotonic()

    def told(done: int, k: int) -> None:
        if time.monotonic() - started >= PATIENCE:
            watcher.progress(Progress("select", done, k, "rows"))
        watcher.check()

    timer.start()
    try:
        yield told
    finally:
        timer.cancel()
