"""Rules chosen again on the ratings a store holds, whoever made them."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from rulesel.config import RulesConfig
from rulesel.digest import digest
from rulesel.errors import RuleselError, UsageError
from rulesel.pipeline.preflight import check_reference
from rulesel.raters import is_exact
from rulesel.receipt import Rated, as_json, rated
from rulesel.records import Float64, RuleSet
from rulesel.rules.choice import RuleChoice
from rulesel.rules.choose import Kernel, choose_rules
from rulesel.store import Store
from rulesel.store.database import now

GRADES = "overall"
"""The column of the grades a judge gives a sample without the rules."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice and what it was made on."""

    rule_set: RuleSet
    judge: str
    sample: Rated
    choice: RuleChoice


def rated_sample(store: Store, judge: str | None = None) -> tuple[RuleSet, str, Rated]:
    """The rule set rated most and the examples rated on at least half of it.

    Args:
        store: opened for reading.
        judge: name of the rater; the one with the most ratings if not given. Of equal ones the one that came last, of
            equal rule sets the one with the newest rule.

    Raises:
        UsageError: the store holds no ratings, or none by that judge.
    """
    raters = store.db.rows(
        "SELECT a.rater, a.judge, count(*) AS n FROM ratings r JOIN raters a USING (rater) GROUP BY ALL ORDER BY n DESC, a.rater DESC"
    )
    mine = [row for row in raters if judge in (None, row[1])]
    if not mine:
        have = ", ".join(sorted({row[1] for row in raters})) or "none"
        raise UsageError(f"The store holds no ratings{f' by {judge!r}' if judge else ''}. Raters: {have}.")
    number, name, _ = mine[0]
    found = store.db.rows(
        "SELECT s.id, count(DISTINCT r.rule) AS n FROM rule_sets s JOIN (SELECT DISTINCT rule FROM ratings "
        "WHERE rater = ?) r USING (rule) GROUP BY s.id ORDER BY n DESC, max(s.rule) DESC, s.id LIMIT 1",
        number,
    )
    rule_set = store.rules.rule_set(found[0][0])
    numbers = ", ".join(map(str, store.rules.numbers(rule_set.rules)))
    contents = store.db.arrow(
        f"SELECT content FROM ratings WHERE rater = ? AND rule IN ({numbers}) GROUP BY content "
        f"HAVING count(*) >= {len(rule_set) / 2} ORDER BY content",
        number,
    )
    return rule_set, str(name), rated(store, rule_set, contents.column(0).to_numpy(), number)


def standing(store: Store, sample: Rated, judge: str, gold: str | None) -> tuple[Float64 | None, Kernel | None]:
    """What a choice on stored ratings goes by where nobody says otherwise, as in a run.

    Args:
        store: opened for reading.
        sample: the examples.
        judge: who rated them.
        gold: a column that says how good they are; the grades that a model gave without the rules, if not given and
            the store holds them.

    Returns:
        The anchor, higher is better, NaN where unknown; and the kernel: correlation for computed ratings without an
        anchor, else None.

    Raises:
        UsageError: no such column.
    """
    anchor = None
    if gold is not None or GRADES in store.columns.names():
        values, direction = store.columns.read(gold or GRADES, sample.contents)
        anchor = values if direction == "higher" else -values
        if gold is not None:
            check_reference(gold, anchor)
        if gold is None and np.unique(anchor[~np.isnan(anchor)]).size < 2:
            anchor = None
    return anchor, "correlation" if anchor is None and is_exact(judge) else None


def choose(store: Store, config: RulesConfig, *, judge: str | None, gold: str | None, seed: int) -> Choice:
    """Choose rules on what the store holds, and record the choice.

    Args:
        store: opened for writing.
        config: how many and how; where the rules come from is not read.
        judge: whose ratings.
        gold: a column of the store that says how good some examples are; see `standing`.
        seed: names the draw.

    Raises:
        UsageError: no ratings, or no such column.
        RuleselError: no choice can be made from these ratings.
    """
    rule_set, name, sample = rated_sample(store, judge)
    anchor, kernel = standing(store, sample, name, gold)
    try:
        choice = choose_rules(
            sample.values,
            config.keep,
            method=config.method,
            kernel=config.kernel or (None if config.method == "paper" else kernel),
            weights=config.weights,
            anchor=anchor,
            required=config.required,
            forbidden=config.forbidden,
            seed=seed,
            names=[rule.name for rule in rule_set.rules],
        )
    except ValueError as error:
        raise RuleselError(f"No rules could be chosen: {error}") from error
    detail = as_json(
        {
            "rules": [rule_set.rules[j].id for j in choice.indices],
            "weights": np.asarray(choice.weights),
            "config": config.model_dump(mode="json"),
            "gold": gold,
            "seed": seed,
            "examples": len(sample.contents),
        }
    )
    store.db.con.execute(
        "INSERT INTO choices VALUES (?, ?, ?, ?, ?)",
        [digest(detail), rule_set.id, name, json.dumps(detail), now()],
    )
    return Choice(rule_set, name, sample, choice)
