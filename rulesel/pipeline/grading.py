"""Grades of a judge, kept as a column a batch at a time; nobody is graded twice."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from rulesel.judges import Judge
from rulesel.llm.base import Lent
from rulesel.pipeline.lending import Lender
from rulesel.pipeline.rating import Tally
from rulesel.pipeline.watch import Progress, Watcher
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
) -> None:
    """Have a judge grade the contents it has not graded yet.

    Raises:
        TooManyFailures: the first rows show that more than `max_failed` of the grades fail.
        Interrupted: the user asked to stop; what was graded is kept.
    """
    contents = np.unique(contents)
    missing = store.columns.missing(judge.id, judge.column, contents)
    done = len(contents) - len(missing)
    waiting: deque[Int64] = deque()
    tally = Tally(max_failed, stage)
    lent: Lent = lender.lent(stage)
    provenance = {"judge": judge.name, "model": model, "scale": list(judge.scale)} | judge.model_dump(mode="json")

    def feed() -> Iterator[Batch]:
        for part, batch in store.corpora.batches(missing, CHUNK):
            waiting.append(part)
            yield batch

    for grades in judge.grade(feed(), lent):
        part = waiting.popleft()
        reasons = [
            None if s == Status.ok else f"{Status(s).name}: {grades.reasons.get(i, '')}"
            for i, s in enumerate(grades.status.tolist())
        ]
        store.columns.extend(
            judge.column, judge.id, part, grades.values.astype(np.float64), provenance=provenance, reasons=reasons
        )
        lender.kept(stage)
        done += len(part)
        tally.add(grades.status[:, None])
        watcher.progress(Progress(stage, done, len(contents), "grades", tally.by_kind(), lender.dollars))
        tally.alarm()
        watcher.check()
