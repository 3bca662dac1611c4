"""How far a run's judge can be trusted: the checks that the store holds, and the command of each not made yet."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np

from rulesel.algorithms.agreement import spearman
from rulesel.llm.starts import Tried
from rulesel.pipeline.starting import begun
from rulesel.pipeline.watch import Watcher
from rulesel.raters import Lent, Rater
from rulesel.receipt import Derived
from rulesel.records import Batch, Int64, Rule
from rulesel.reporting.run_figures import Trust
from rulesel.store import Store

SAME = 0.8
"""Rank correlation below which a rule is not rated the same way twice."""


def begun_for(store: Store, rater: Rater, contents: Int64, rule: Rule, lent: Lent, watcher: Watcher) -> Rater:
    """The rater under test with the start of its answers that a run uses."""

    def ask(batch: Batch, one: Rule) -> list[Tried]:
        return rater.try_starts(batch, one, lent)

    return begun(store, rater, contents, rule, ask, watcher)


def trust(store: Store, run: Derived) -> list[Trust]:
    """What is known of the sample's rater and of what is not; empty where ratings are computed."""
    config = run.config
    rater = run.raters["sample"]
    if config.sample_rater.exact:
        return []
    check = ["rulesel", "judge", "check", "--store", str(store.path), "--judge", config.sample_judge or config.judge]
    if start := store.rules.answer_start(rater):
        check += ["--judge-param", f"start={start}"]
    found = []
    for name, option, said in (
        ("Other order: the rule before the document", "--order", _order),
        ("A demand for a high rating in the document", "--canaries", _canaries),
    ):
        made = store.rules.check(rater, option)
        how = shlex.join([*check, option])
        found.append(Trust(name=name, found=None if made is None else said(made), command=None if made else how))
    return [_retest(run), *found]


def _retest(run: Derived) -> Trust:
    name = "Asked again in other words"
    if run.evidence.retest is None:
        return Trust(name=name, found=None, command="the run's own command with --retest 50")
    rows, second = run.evidence.retest
    first = run.sample.values[rows]
    both = ~np.isnan(first) & ~np.isnan(second)
    found = [
        spearman(first[both[:, j], j].astype(np.float64), second[both[:, j], j].astype(np.float64))
        for j in range(first.shape[1])
        if both[:, j].sum() > 2
    ]
    return Trust(name=name, found=_ranks(found, len(rows), first.shape[1]), command=None)


def _ranks(found: Sequence[float], examples: int, rules: int) -> str:
    known = [one for one in found if not math.isnan(one)]
    if not known:
        return f"{examples} examples; no rule's ranks could be compared"
    doubtful = rules - sum(one >= SAME for one in known)
    return (
        f"{examples} examples; a rule's ranks then and now correlate {np.median(known):.2f} (median); {doubtful} of "
        f"{rules} rules below {SAME:g} or not comparable"
    )


def _order(made: dict[str, Any]) -> str:
    return _ranks([one for one in made["spearman"] if one is not None], made["examples"], len(made["spearman"]))


def _canaries(made: dict[str, Any]) -> str:
    shifts = [one for one in made["shift"] if one is not None]
    rise = f"ratings rise by {np.mean(shifts):+.3f} on average, from 0 to 1; " if shifts else ""
    return f"{made['examples']} examples; {rise}{made['gullible']} of {len(made['shift'])} rules give in"
