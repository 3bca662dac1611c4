"""Failed ratings and grades asked for again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rulesel.config import JudgeConfig, RunConfig, ScoreConfig, check
from rulesel.errors import UnknownName, UsageError
from rulesel.pipeline import Outcome, Scores, run, score
from rulesel.pipeline.judging import Judged, judge
from rulesel.pipeline.watch import Watcher
from rulesel.records import Status
from rulesel.store import Store

KINDS = tuple(status.name for status in Status if status not in {Status.ok, Status.not_applicable})


@dataclass(frozen=True, slots=True)
class Retry:
    """What failed, and what to go on with.

    Attributes:
        kinds: the failures that are asked for again.
        ratings: failed ratings of these kinds in the store, by kind.
        grades: failed grades of these kinds.
        scoring: settings of the last run or scoring; None if the store remembers none.
        judging: settings of the last grading.
    """

    kinds: tuple[Status, ...]
    ratings: Mapping[str, int]
    grades: int
    scoring: RunConfig | ScoreConfig | None
    judging: JudgeConfig | None

    @property
    def total(self) -> int:
        """How many cells failed."""
        return sum(self.ratings.values()) + self.grades


def find_failures(path: Path, kinds: Sequence[str] = (), *, forget: bool = False) -> Retry:
    """Count what failed.

    Args:
        path: the store.
        kinds: which failures; all if none is named. What does not apply is no failure.
        forget: delete them from the store, too, so that the same command as before asks for them.

    Raises:
        UnknownName: there is no such kind.
        StoreError: there is no store.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise UnknownName("kind of failure", kind, KINDS)
    wanted = tuple(Status[kind] for kind in kinds or KINDS)
    names = [status.name for status in wanted]
    with Store(path, must_exist=True) as store:
        ratings, grades = store.ratings.failed(wanted), store.columns.failed(names)
        if forget:
            for (rater,) in store.db.rows("SELECT rater FROM raters ORDER BY rater"):
                store.ratings.forget(int(rater), wanted)
            store.columns.forget(names)
        attempts = [json.loads(attempt["config"]) for attempt in store.selections.runs()]
    scoring = next((one for one in attempts if "rules" in one and "corpus" in one), None)
    judging = next((one for one in attempts if "rubric" in one), None)
    return Retry(
        wanted,
        ratings,
        grades,
        None if scoring is None else check(RunConfig if "select" in scoring else ScoreConfig, scoring),
        None if judging is None else check(JudgeConfig, judging),
    )


def go_on(retry: Retry, spending: Mapping[str, Any], watcher: Watcher | None = None) -> list[Outcome | Scores | Judged]:
    """Ask again for what failed in the last run, and in the last grading where grades failed.

    A failure stays in the store until there is an answer in its place: an attempt that is stopped, or finds no server,
    leaves everything as it was.

    Args:
        retry: what failed.
        spending: what is said of money and pace now, in place of what was said then; None where nothing is.
        watcher: as for `run`.

    Raises:
        UsageError: the store remembers no attempt, or its corpus came from standard input.
        RuleselError: as the attempt itself does.
    """
    wanted = [retry.scoring, retry.judging if retry.grades else None]
    configs = [config for config in wanted if config is not None]
    if not configs:
        raise UsageError("The store remembers no run to go on with: give its command again.")
    if any(config.corpus is not None and config.corpus.path == "-" for config in configs):
        raise UsageError(
            "The corpus came from standard input: `rulesel retry-failed --forget` lets the same command, given the "
            "corpus again, ask for what failed."
        )
    over = {name: value for name, value in spending.items() if value is not None}
    changed = [check(type(one), one.model_dump(by_alias=True) | {"yes": False} | over) for one in configs]
    return [_go_on(config, retry.kinds, watcher) for config in changed]


def _go_on(
    config: RunConfig | ScoreConfig | JudgeConfig, kinds: tuple[Status, ...], watcher: Watcher | None
) -> Outcome | Scores | Judged:
    if isinstance(config, JudgeConfig):
        return judge(config, watcher, again=kinds)
    if isinstance(config, RunConfig):
        return run(config, watcher, again=kinds)
    return score(config, watcher, again=kinds)
