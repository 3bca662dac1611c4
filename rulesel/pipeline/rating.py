"""The cells that are missing, rated and committed a batch at a time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter

import numpy as np

from rulesel.errors import TooManyFailures
from rulesel.pipeline.constant import ROWS, Constant
from rulesel.pipeline.lending import Lender
from rulesel.pipeline.watch import Progress, Pulse, Watcher
from rulesel.raters import Lent, Rater
from rulesel.raters.chat import Chat
from rulesel.records import Batch, Int64, Ratings, Rule, Status, UInt8
from rulesel.store import Cells, Store
from rulesel.store.ratings import UNRATED

ALARM_ROWS = 50
"""Rows after which a rater that mostly fails is stopped."""

REQUESTS = 1000
"""About how many answers of a chat model are committed at a time: few enough to see early how it goes."""

READ = 256
"""Examples read from the store at a time."""


def rate(
    store: Store,
    rater: Rater,
    judge: str,
    rules: Sequence[Rule],
    contents: Int64,
    stage: str,
    *,
    lender: Lender,
    watcher: Watcher,
    max_failed: float,
    verb: str = "rate",
    again: Collection[Status] = (),
) -> int:
    """Rate what is missing among contents × rules; returns the rater's number in the store.

    Cells that failed in one of the ways `again` are rated once more; each keeps its failure until there is an answer.

    Raises:
        TooManyFailures: early, when the first rows show that more than `max_failed` of the cells fail.
        Interrupted: the user asked to stop; what was rated is kept.
    """
    numbers = store.rules.numbers(rules)
    by_number = dict(zip(numbers, rules, strict=True))
    number = store.rules.rater(rater.id, judge, rater.model_dump(mode="json"), rater.provenance())
    missing = store.ratings.missing(contents, numbers, number, again=again) if numbers else []
    total = len(np.unique(contents)) * len(numbers)
    done = total - sum(cells.n for cells in missing)
    tally = Tally(max_failed, stage, settled(store, contents, numbers, number, again), total - done)
    constant = constancy(store, rater, judge, rules, contents, stage)

    def progress(answers: int) -> Progress:
        reused = lender.ledger.spent.reused
        return Progress(
            f"{verb} {stage}", min(done + answers, total), total, "ratings", tally.by_kind(), lender.dollars, reused
        )

    pulse = Pulse(watcher, progress)
    if total:
        watcher.progress(progress(0))
    waiting: deque[tuple[Int64, tuple[int, ...]]] = deque()
    parts = _parts(store, rater, blocks(missing), by_number, waiting, ROWS if constant is not None else 0)
    for ratings in _rated(rater, parts, lender.lent(stage, answered=pulse.answered)):
        part, columns = waiting.popleft()
        store.ratings.add(part, columns, number, stage, ratings, replace=bool(again))
        lender.kept(stage)
        done += ratings.values.size
        tally.add(ratings.status)
        tally.alarm()
        if constant is not None:
            constant.add(columns, ratings.values)
            constant.alarm()
        pulse.kept()
    return number


def constancy(
    store: Store, rater: Rater, judge: str, rules: Sequence[Rule], contents: Int64, stage: str
) -> Constant | None:
    """What tells that the rater answers one number to everything; None where ratings are computed or rules are chosen.

    Raises:
        TooManyFailures: it has answered so already.
    """
    if rater.exact or stage != "sample" or not rules:
        return None
    numbers = store.rules.numbers(rules)
    constant = Constant(judge, dict(zip(numbers, rules, strict=True)))
    values, status = store.ratings.matrix(contents, numbers, store.rules.rater_number(rater.id))
    there = (status != UNRATED).any(axis=1)
    constant.add(numbers, values[there])
    constant.alarm()
    return constant


def check_failures(
    store: Store, contents: Int64, numbers: Sequence[int], rater: int, max_failed: float, stage: str
) -> None:
    """Raise TooManyFailures if more than `max_failed` of the cells that could be rated failed."""
    if not numbers:
        return
    status = store.ratings.matrix(contents, numbers, rater)[1]
    rated = int((status != Status.not_applicable).sum())
    failed = rated - int((status == Status.ok).sum())
    if rated and failed / rated > max_failed:
        raise TooManyFailures(
            f"{failed:,} of {rated:,} ratings of the {stage} failed, more than --max-failed {max_failed:g} allows. "
            "Everything rated is kept: `rulesel retry-failed` asks again, a higher --max-failed goes on without them."
        )


def settled(
    store: Store, contents: Int64, numbers: Sequence[int], rater: int, again: Collection[Status] = ()
) -> dict[Status, int]:
    """Ratings by status among contents × rules, less those that will be asked for again."""
    if not numbers:
        return {}
    found = store.ratings.by_status(np.unique(contents), numbers, rater)
    return {status: n for status, n in found.items() if status not in again}


class Tally:
    """Failures so far, and whether they are already too many."""

    def __init__(self, max_failed: float, stage: str, before: Mapping[Status, int], missing: int) -> None:
        """Count what this attempt adds to what is there.

        Args:
            max_failed: the largest share of all cells that may fail.
            stage: what is rated, for messages.
            before: ratings there already, by status.
            missing: cells this attempt is to rate.
        """
        self._max_failed = max_failed
        self._stage = stage
        self._missing = missing
        self._rated = sum(before.values()) - before.get(Status.not_applicable, 0)
        self._failed = self._rated - before.get(Status.ok, 0)
        self._counts = np.zeros(len(Status), dtype=np.int64)
        self._rows = 0

    def add(self, status: UInt8) -> None:
        """Count the statuses of one batch."""
        self._counts += np.bincount(status.ravel(), minlength=len(Status))[: len(Status)]
        self._rows += len(status)

    def by_kind(self) -> dict[str, int]:
        """Failures by kind; what does not apply is no failure."""
        return {
            s.name: int(self._counts[s])
            for s in Status
            if s not in {Status.ok, Status.not_applicable} and self._counts[s]
        }

    def alarm(self) -> None:
        """Raise TooManyFailures once too many of all cells are surely going to fail.

        The missing cells are taken to fail as often as those of this attempt do at least (lower Wilson bound, 95 %).
        """
        n = int(self._counts.sum() - self._counts[Status.not_applicable])
        failed = n - int(self._counts[Status.ok])
        if self._rows < ALARM_ROWS or n == 0:
            return
        share = (self._failed + wilson_lower(failed, n) * self._missing) / (self._rated + self._missing)
        if share <= self._max_failed:
            return
        kinds = ", ".join(f"{name} {count:,}" for name, count in self.by_kind().items())
        raise TooManyFailures(
            f"Stopped: {failed:,} of the first {n:,} ratings of the {self._stage} failed ({kinds}), surely more than "
            f"--max-failed {self._max_failed:g}. Everything rated is kept.{self._cure()}"
        )

    def _cure(self) -> str:
        """What helps where most failures are answers that do not begin with a digit."""
        if 2 * self._counts[Status.low_mass] <= sum(self.by_kind().values()):
            return ""
        return " `rulesel doctor --judge MODEL` shows whether a start of the answer helps."


def wilson_lower(k: int, n: int, z: float = 1.96) -> float:
    """Lower end of the Wilson interval of k out of n."""
    p = k / n
    centre = p + z * z / (2 * n)
    return (centre - z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))) / (1 + z * z / n)


def blocks(missing: Sequence[Cells]) -> list[Cells]:
    """Cells in few blocks: where failures are scattered, one block a rule in place of one for every set of rules."""
    rules = sorted({rule for cells in missing for rule in cells.rules})
    if len(missing) <= max(len(rules), 2):
        return list(missing)
    whole = [cells for cells in missing if len(cells.rules) == len(rules)]
    partly = [cells for cells in missing if len(cells.rules) < len(rules)]
    lacking = {rule: [cells.contents for cells in partly if rule in cells.rules] for rule in rules}
    return whole + [Cells(np.sort(np.concatenate(found)), (rule,)) for rule, found in lacking.items() if found]


def _parts(
    store: Store,
    rater: Rater,
    missing: Sequence[Cells],
    by_number: Mapping[int, Rule],
    waiting: deque[tuple[Int64, tuple[int, ...]]],
    first: int,
) -> Iterator[tuple[Batch, list[Rule]]]:
    """Batches and the rules to rate them on; what they are in the store is left in `waiting`.

    A batch ends at the row `first`, so that the first rows can be looked at by themselves.
    """
    for cells in missing:
        wanted = [by_number[rule] for rule in cells.rules]
        size = max(1, min(rater.chunk, REQUESTS // len(wanted))) if isinstance(rater, Chat) else rater.chunk
        for part, batch in store.corpora.batches(cells.contents, max(size, READ)):
            for rows in _slices(len(part), size, first):
                waiting.append((part[rows], cells.rules))
                yield Batch(batch.hashes[rows], batch.prompts[rows], batch.responses[rows]), wanted
            first -= len(part)


def _slices(n: int, size: int, first: int) -> Iterator[slice]:
    """0 to n in parts of at most `size`, one of which ends at `first`."""
    start = 0
    while start < n:
        stop = min(start + size, n, first if start < first else n)
        yield slice(start, stop)
        start = stop


def _rated(rater: Rater, parts: Iterator[tuple[Batch, list[Rule]]], lent: Lent) -> Iterator[Ratings]:
    """One stream of requests for a chat model, which waits for every answer; one call a set of rules for the others."""
    if isinstance(rater, Chat):
        yield from rater.rate_parts(parts, lent)
        return
    for rules, same in groupby(parts, key=itemgetter(1)):
        yield from rater.rate((batch for batch, _ in same), rules, lent)
