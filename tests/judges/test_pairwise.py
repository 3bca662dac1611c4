"""Comparisons in both orders, and the strengths they give."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rulesel.judges import Grades, judge_for
from rulesel.judges.pairwise import Pairwise, Preferences, fit, regular_pairs
from rulesel.llm.base import ChatRequest, Completion, Lent
from rulesel.llm.client import Client
from rulesel.llm.fake import Fake
from rulesel.llm.names import open_chat
from rulesel.records import Batch, Status

MODEL = "fake:planted"


def batch(n: int) -> Batch:
    return Batch(
        [f"h{i}" for i in range(n)], [f"prompt {i}" for i in range(n)], [f"response number {i}." for i in range(n)]
    )


def grade(answer: Any, *batches: Batch, **parameters: Any) -> list[Grades]:
    client = Client("m", lambda: Fake(answer))
    try:
        return list(Pairwise(model=MODEL, **parameters).grade(batches, Lent(b"s", lambda _: client)))
    finally:
        client.close()


def shown(request: ChatRequest) -> tuple[int, int]:
    first, second = re.findall(r"response number (\d+)\.", request.messages[1][1])
    return int(first), int(second)


def letters(a: float, b: float, tie: float = 0.0) -> Completion:
    pairs = (("A", a), ("B", b), ("C", tie))
    return Completion("A", logprobs=(tuple((letter, math.log(p)) for letter, p in pairs if p > 0),))


def test_swapped_probabilities_are_averaged() -> None:
    found = Preferences(np.array([[0, 1]]), np.array([0.3]), np.array([0.4]), {})
    assert found.probability[0] == pytest.approx((0.3 + 1 - 0.4) / 2)


def test_a_judge_that_only_likes_what_comes_first_sees_no_difference() -> None:
    (grades,) = grade(lambda _: letters(0.9, 0.1), batch(12))
    np.testing.assert_allclose(grades.values, 0.0, atol=1e-6)
    assert grades.report["first_position"] == 1.0
    assert grades.report["consistent"] == 0.0


def test_a_judge_that_knows_orders_everything() -> None:
    def answer(request: ChatRequest) -> Completion:
        first, second = shown(request)
        p = 1 / (1 + math.exp(-(first - second) / 4 - 0.3))  # and likes the first a little
        return letters(p, 1 - p)

    (grades,) = grade(answer, batch(20))
    order = np.argsort(grades.values)
    assert np.corrcoef(order, np.arange(20))[0, 1] > 0.97
    assert grades.report["consistent"] > 0.6
    assert grades.report["first_position"] > 0.5
    assert (grades.report["component"] == 0).all()
    assert np.isfinite(grades.report["standard_error"]).all()


def test_a_tie_is_half_a_win() -> None:
    (grades,) = grade(lambda _: "C", batch(6))
    np.testing.assert_allclose(grades.values, 0.0, atol=1e-6)


def test_an_answer_that_cannot_be_read_drops_its_pair_and_is_no_loss() -> None:
    def answer(request: ChatRequest) -> Completion | str:
        pair = shown(request)
        return "hm" if 3 in pair else letters(0.8 if pair[0] > pair[1] else 0.2, 0.2 if pair[0] > pair[1] else 0.8)

    (grades,) = grade(answer, batch(10))
    assert grades.status[3] == Status.parse
    assert grades.reasons[3] == "hm"
    ok = grades.status == Status.ok
    assert ok.sum() == 9
    assert grades.report["failed"] > 0
    assert (np.diff(grades.values[ok]) > 0).all()


def test_batches_are_compared_as_one_and_given_back_apart() -> None:
    def answer(request: ChatRequest) -> Completion:
        first, second = shown(request)
        return letters(0.9, 0.1) if first > second else letters(0.1, 0.9)

    whole = batch(9)
    parts = [Batch(whole.hashes[i:j], whole.prompts[i:j], whole.responses[i:j]) for i, j in ((0, 4), (4, 4), (4, 9))]
    apart = grade(answer, *parts)
    (together,) = grade(answer, whole)
    assert [len(g) for g in apart] == [4, 0, 5]
    np.testing.assert_array_equal(np.concatenate([g.values for g in apart]), together.values)


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_examples_cannot_be_compared(n: int) -> None:
    (grades,) = grade(lambda _: "A", batch(n))
    assert grades.status.tolist() == [Status.not_applicable] * n


def test_a_second_round_asks_about_neighbours_that_are_not_told_apart() -> None:
    asked: list[tuple[int, int]] = []

    def answer(request: ChatRequest) -> Completion:
        asked.append(shown(request))
        return letters(0.5, 0.5)

    grade(answer, batch(40), rounds=1, degree=2)
    one = len(asked)
    asked.clear()
    grade(answer, batch(40), rounds=2, degree=2)
    assert one == 2 * 40
    assert len(asked) > one
    assert len(set(asked)) == len(asked), "no pair is asked twice in one order"


@given(st.integers(2, 60), st.integers(2, 12), st.integers(0, 99))
@pytest.mark.slow
def test_pairs_are_distinct_regular_and_connected(n: int, degree: int, seed: int) -> None:
    pairs = regular_pairs(n, degree, np.random.default_rng(seed))
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert len(set(map(tuple, pairs.tolist()))) == len(pairs)
    partners = np.bincount(pairs.ravel(), minlength=n)
    assert partners.max() <= max(degree, min(n - 1, 2))
    assert partners.min() >= 1
    component = np.arange(n)
    for _ in range(n):
        for i, j in pairs:
            component[i] = component[j] = min(component[i], component[j])
    assert (component == 0).all()


def test_strengths_are_the_worked_numbers() -> None:
    found = Preferences(np.array([[0, 1]] * 4), np.array([1.0, 1.0, 1.0, 0.0]), np.array([0.0, 0.0, 0.0, 1.0]), {})
    assert fit(found, 2, 0.1).strength == pytest.approx([0.486406, -0.486406], abs=1e-6)


def test_the_planted_fake_is_found_out() -> None:
    chat = open_chat(MODEL)
    texts = [f"text planted=0.{i:02d}" for i in range(1, 61, 3)]
    examples = Batch([f"h{i}" for i in range(20)], [None] * 20, texts)
    (grades,) = judge_for("pairwise", MODEL).grade([examples], Lent(b"s", lambda _: chat))
    chat.close()
    assert np.corrcoef(grades.values, np.arange(20))[0, 1] > 0.98
    assert grades.report["first_position"] > 0.5
