"""Grades of a judge, kept as a column; nobody is graded twice."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from rulesel.digest import digest
from rulesel.judges import Grades, Judge
from rulesel.judges.pairwise import Pairwise
from rulesel.pipeline.lending import Lender
from rulesel.pipeline.rating import Tally
from rulesel.pipeline.watch import Progress, Pulse, Watcher
from rulesel.records import Batch, Int64, Status
from rulesel.store import Store

CHUNK = 256


def grade(
    store: Store,
    judge: Judge,
    model: str,
    contents: Int64,
    stage: str,
    *,
    lender: Lender,
    watcher: Watcher,
    max_failed: float,
    again: Collection[Status] = (),
) -> Mapping[str, Any]:
    """Have a judge grade the contents it has not graded yet; returns what else it has to say.

    Grades of a judge that compares mean something among the examples compared and nowhere else: they are kept all at
    once, and another set of examples is another column of the same name. The name means this column from now on.
    Examples whose grade failed in one of the ways `again` are graded once more; each keeps its failure until there is an
    answer, and the name keeps its meaning.

    Raises:
        TooManyFailures: the first rows show that more than `max_failed` of the grades fail.
        Interrupted: the user asked to stop; what was graded is kept.
    """
    contents = np.unique(contents)
    identity = identity_of(store, judge, contents)
    missing = ungraded(store, judge, contents, again)
    if not again:
        store.columns.use(judge.column, identity)
    done = len(contents) - len(missing)
    graded = store.columns.read_identity(judge.column, identity, np.setdiff1d(contents, missing))
    failed = int(np.isnan(graded).sum())
    apart = (
        min(failed, store.columns.failures(judge.column, identity).get(Status.not_applicable.name, 0)) if failed else 0
    )
    before = {Status.ok: len(graded) - failed, Status.parse: failed - apart, Status.not_applicable: apart}
    tally = Tally(max_failed, f"rubric {judge.column}", before, len(missing))
    whole = isinstance(judge, Pairwise)

    def progress(answers: int) -> Progress:
        reused = lender.ledger.spent.reused
        if whole:
            return Progress(stage, answers, None, "comparisons", tally.by_kind(), lender.dollars, reused)
        at = min(done + answers, len(contents))
        return Progress(stage, at, len(contents), "grades", tally.by_kind(), lender.dollars, reused)

    pulse = Pulse(watcher, progress)
    provenance = {"judge": judge.name, "model": model, "scale": list(judge.scale)} | judge.model_dump(mode="json")
    report: dict[str, Any] = {}
    kept: list[tuple[Int64, Grades]] = []
    for part, grades in _graded(store, judge, missing, lender, stage, pulse):
        report |= grades.report
        tally.add(grades.status[:, None])
        kept.append((part, grades))
        if whole and sum(len(one) for one, _ in kept) < len(missing):
            continue
        _keep(store, judge, identity, kept, provenance)
        kept.clear()
        lender.kept(stage)
        done += len(part)
        if not whole:
            pulse.kept()
        tally.alarm()
    return report


def ungraded(store: Store, judge: Judge, contents: Int64, again: Collection[Status] = ()) -> Int64:
    """Those of the contents (ascending, distinct) that the judge has still to see, or to see again."""
    kinds = [status.name for status in again]
    missing = store.columns.missing(identity_of(store, judge, contents), judge.column, contents, again=kinds)
    return contents if isinstance(judge, Pairwise) and len(missing) else missing


def identity_of(store: Store, judge: Judge, contents: Int64) -> str:
    """Identity of the column: the judge's, and of one that compares also of what it compares."""
    return digest([judge.id, store.corpora.hashes(contents)]) if isinstance(judge, Pairwise) else judge.id


def _graded(
    store: Store, judge: Judge, contents: Int64, lender: Lender, stage: str, pulse: Pulse
) -> Iterator[tuple[Int64, Grades]]:
    waiting: deque[Int64] = deque()

    def feed() -> Iterator[Batch]:
        for part, batch in store.corpora.batches(contents, CHUNK):
            waiting.append(part)
            yield batch

    for grades in judge.grade(feed(), lender.lent(stage, answered=pulse.answered)):
        yield waiting.popleft(), grades


def _keep(
    store: Store, judge: Judge, identity: str, kept: list[tuple[Int64, Grades]], provenance: dict[str, Any]
) -> None:
    reasons = [
        None if status == Status.ok else f"{Status(status).name}: {grades.reasons.get(i, '')}"
        for _, grades in kept
        for i, status in enumerate(grades.status.tolist())
    ]
    contents = np.concatenate([part for part, _ in kept])
    values = np.concatenate([grades.values for _, grades in kept]).astype(np.float64)
    if isinstance(judge, Pairwise):
        why = {i: reason for i, reason in enumerate(reasons) if reason is not None}
        store.columns.replace(judge.column, identity, contents, values, provenance=provenance, reasons=why)
    else:
        store.columns.extend(judge.column, identity, contents, values, provenance=provenance, reasons=reasons)
