"""Expressions that may stand in for a judge."""

from __future__ import annotations

import numpy as np

from rulesel.records import Rule, RuleSet
from rulesel.rules.measured import measured, without_sql

RULES = RuleSet(rules=tuple(Rule(name=name, text=f"text {name}", sql=f"len('{name}')") for name in "abcd"))


def test_an_expression_is_kept_exactly_if_it_runs_and_ranks_as_the_judge_does() -> None:
    bare, proposals = without_sql(RULES)
    assert set(proposals) == {rule.id for rule in bare.rules}
    rng = np.random.default_rng(0)
    judged = rng.random((200, 4)).astype(np.float32)
    computed = judged.copy()
    computed[:, 0] = judged[:, 0] ** 3  # another scale, the same order
    computed[:, 1] = rng.random(200)
    computed[:, 2] = 1 - judged[:, 2]
    refused = {bare.rules[3].id: "it reads a file"}
    found = measured(bare.rules, proposals, refused, judged, computed)
    assert [m.rule.sql for m in found] == ["len('a')", None, None, None]
    assert found[0].agreement is not None
    assert found[0].agreement.low > 0.99
    assert found[0].rule == RULES.rules[0]
    assert found[1].why is not None
    assert "does not agree with the judge: rho" in found[1].why
    assert found[2].agreement is not None
    assert found[2].agreement.value < -0.99
    assert found[3].why == "is refused: it reads a file"


def test_too_few_examples_or_a_constant_decide_nothing() -> None:
    bare, proposals = without_sql(RULES)
    judged = np.full((40, 4), 0.5, dtype=np.float32)
    judged[:20, 0] = np.nan
    found = measured(bare.rules, proposals, {}, judged, judged)
    assert all(m.why for m in found)
    assert "only 20 examples" in str(found[0].why)


def test_a_judges_ratings_outlive_a_proposal() -> None:
    bare, _ = without_sql(RULES)
    assert [rule.id for rule in bare.rules] == [rule.id for rule in without_sql(bare)[0].rules]
    assert without_sql(bare)[1] == {}
