"""Failed ratings and grades forgotten, so that they are asked for again."""

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
from rulesel.pipeline.lending import replies_of
from rulesel.pipeline.watch import Watcher
from rulesel.records import Status
from rulesel.store import Store
from rulesel.store.ledger import Ledger

KINDS = tuple(status.name for status in Status if status not in {Status.ok, Status.not_applicable})


@dataclass(frozen=True, slots=True)
class Retry:
    """What was forgotten, and what to go on with.

    Attributes:
        ratings: forgotten failed ratings by kind.
        grades: how many failed grades were forgotten.
        scoring: settings of the last run or scoring; None if the store remembers none.
        judging: settings of the last grading.
    """

    ratings: Mapping[str, int]
    grades: int
    scoring: RunConfig | ScoreConfig | None
    judging: JudgeConfig | None

    @property
    def total(self) -> int:
        """How many cells will be asked for again."""
        return sum(self.ratings.values()) + self.grades


def forget_failures(path: Path, kinds: Sequence[str] = ()) -> Retry:
    """Forget what failed, with the replies it failed on, so that the same command asks again.

    Args:
        path: the store.
        kinds: which failures; all if none is named. What does not apply is no failure.

    Raises:
        UnknownName: there is no such kind.
        StoreError: there is no store.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise UnknownName("kind of failure", kind, KINDS)
    wanted = [Status[kind] for kind in kinds or KINDS]
    with Store(path, must_exist=True) as store:
        ratings: dict[str, int] = {}
        raters = [int(number) for (number,) in store.db.rows("SELECT rater FROM raters ORDER BY rater")]
        for status in wanted:
            n = sum(store.ratings.forget(rater, [status]) for rater in raters)
            if n:
                ratings[status.name] = n
        grades = store.columns.forget([status.name for status in wanted])
        attempts = [json.loads(attempt["config"]) for attempt in store.selections.runs()]
    if replies_of(path).exists():
        ledger = Ledger(replies_of(path))
        ledger.forget_replies()
        ledger.close()
    scoring = next((one for one in attempts if "rules" in one and "corpus" in one), None)
    judging = next((one for one in attempts if "rubric" in one), None)
    return Retry(
        ratings,
        grades,
        None if scoring is None else check(RunConfig if "select" in scoring else ScoreConfig, scoring),
        None if judging is None else check(JudgeConfig, judging),
    )


def go_on(retry: Retry, spending: Mapping[str, Any], watcher: Watcher | None = None) -> list[Outcome | Scores | Judged]:
    """Go on with the last run, and with the last grading where grades were forgotten.

    Args:
        retry: what was forgotten.
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
        raise UsageError("The corpus came from standard input: give the same command and the corpus again.")
    over = {name: value for name, value in spending.items() if value is not None}
    changed = [check(type(one), one.model_dump(by_alias=True) | {"yes": False} | over) for one in configs]
    return [_go_on(config, watcher) for config in changed]


def _go_on(config: RunConfig | ScoreConfig | JudgeConfig, watcher: Watcher | None) -> Outcome | Scores | Judged:
    if isinstance(config, JudgeConfig):
        return judge(config, watcher)
    return run(config, watcher) if isinstance(config, RunConfig) else score(config, watcher)
