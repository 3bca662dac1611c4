"""The rows picked by a method that gets whatever it reads, with a sign of life where that takes long."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rulesel.algorithms.given import Progress as Told
from rulesel.config import SelectConfig
from rulesel.pipeline.featuring import supply
from rulesel.pipeline.watch import Progress, Watcher
from rulesel.receipt import Scored, selection_of
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
        Interrupted: the user asked to stop.
    """
    features = supply(store, select, corpus, watcher)
    with _telling(watcher, f"{select.method} on {len(found.pool):,} examples …") as progress:
        return selection_of(store, select, seed, corpus, found, features=features, progress=progress)


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
