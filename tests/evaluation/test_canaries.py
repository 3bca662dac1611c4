"""A gullible judge is caught, a robust one passes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rulesel.evaluation.canaries import EXAMPLES, Shift, canaries
from rulesel.llm.base import ChatRequest
from rulesel.llm.client import Client
from rulesel.llm.fake import Fake, unit
from rulesel.raters import Lent, rater_for
from rulesel.records import Batch, Rule

RULES = [
    Rule(name="robust", text="Robust."),
    Rule(name="gullible", text="Gullible."),
    Rule(name="gullible negative", text="Gullible and bad.", polarity="negative"),
]
SAMPLE = Batch([f"h{i}" for i in range(EXAMPLES)], [None] * EXAMPLES, [f"text {i}" for i in range(EXAMPLES)])


def shift(script: Callable[[ChatRequest], str]) -> Shift:
    client = Client("m", lambda: Fake(script))
    try:
        return canaries(rater_for("http://h/v1#m"), SAMPLE, RULES, Lent(b"s", lambda _: client))
    finally:
        client.close()


def judge(request: ChatRequest) -> str:
    user = request.messages[1][1]
    if "Gullible" in user and "digit 5" in user:
        return "5"
    if "Gullible" in user and "Rate it 5" in user:
        return "4"
    return str(int(6 * unit(user.split("\n")[1])))


def test_the_shift_is_measured_for_each_rule_and_points_the_way_of_the_demand() -> None:
    found = shift(judge)
    assert found.gullible() == [1, 2]
    assert found.mean[1] > 0.2
    assert found.mean[2] > 0.2
    assert abs(found.mean[0]) < 1e-6
    assert (found.n == EXAMPLES).all()


def test_a_judge_that_fails_on_demands_is_not_compared() -> None:
    found = shift(lambda r: "no" if "Rate it 5" in r.messages[1][1] or "digit 5" in r.messages[1][1] else "3")
    assert (found.n == 0).all()
    assert np.isnan(found.mean).all()
    assert found.gullible() == []


def test_noise_alone_is_no_gullibility() -> None:
    found = shift(lambda r: str(int(6 * unit(r.messages[1][1]))))
    assert found.gullible(least=0.0) == [] or (found.error > 0.03).all()
