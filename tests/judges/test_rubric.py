"""Grades by a rubric."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rulesel.errors import UnknownName, UsageError
from rulesel.judges import Grades, judge_for
from rulesel.judges.rubric import BUILT_IN, RubricJudge, load_rubric
from rulesel.llm.base import ChatRequest, Completion, Lent
from rulesel.llm.client import Client
from rulesel.llm.fake import Fake
from rulesel.llm.names import open_chat
from rulesel.records import Batch, Status

MODEL = "fake:planted"


def grade(judge: Any, answer: Any, *batches: Batch) -> list[Grades]:
    client = Client("m", lambda: Fake(answer))
    try:
        return list(judge.grade(batches, Lent(b"s", lambda _: client)))
    finally:
        client.close()


PAIRS = Batch(["a", "b"], ["How?", None], ["So.", "Plain text."])


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_rubric_of_ours_grades_on_its_own_scale(name: str) -> None:
    judge = judge_for(name, MODEL)
    assert judge.column == name
    low, high = judge.scale
    chat = open_chat(MODEL)
    texts = [f"text {i} planted=0.{i % 10}" for i in range(60)]
    (grades,) = judge.grade([Batch(texts, texts, texts)], Lent(b"s", lambda _: chat))
    chat.close()
    assert (grades.status == Status.ok).all()
    assert low <= grades.values.min() < grades.values.max() <= high
    assert np.corrcoef(grades.values, np.arange(60) % 10)[0, 1] > 0.6


def test_six_labels_give_the_expectation_of_the_published_scorer() -> None:
    logits = [1, 2, 3, 2, 1, 0]
    total = sum(math.exp(x) for x in logits)
    answer = Completion("3", logprobs=(tuple((str(k), x - math.log(total)) for k, x in enumerate(logits, 1)),))
    (grades,) = grade(judge_for("deita-quality", MODEL), lambda _: answer, PAIRS)
    np.testing.assert_allclose(grades.values, 3.072639, atol=1e-6)
    np.testing.assert_allclose(grades.mass, 1.0, atol=1e-6)


def test_complexity_is_the_prompts_and_a_text_without_one_has_none() -> None:
    asked: list[ChatRequest] = []

    def answer(request: ChatRequest) -> str:
        asked.append(request)
        return "3"

    (grades,) = grade(judge_for("deita-complexity", MODEL), answer, PAIRS)
    assert grades.status.tolist() == [Status.ok, Status.not_applicable]
    assert len(asked) == 1
    assert "How?" in asked[0].messages[1][1]
    assert "So." not in asked[0].messages[1][1]


@pytest.mark.parametrize("said", ["excellent", "", "-1", "3.0 or 4.0", "9"])
def test_where_the_originals_invent_a_number_the_grade_is_missing(said: str) -> None:
    for name in BUILT_IN:
        (grades,) = grade(judge_for(name, MODEL), lambda _: said, Batch(["a"], ["q"], ["r"]))
        assert np.isnan(grades.values).all()
        assert grades.reasons[0]


def test_the_published_form_reads_half_points_with_an_explanation() -> None:
    judge = judge_for("alpagasus-published", MODEL)
    (grades,) = grade(judge, lambda _: "4.5\nThe unit is missing.", PAIRS)
    assert grades.values.tolist() == [4.5, 4.5]
    asked = list(RubricJudge(model=MODEL, rubric="alpagasus-published").requests(PAIRS, b"s"))
    assert {(r.max_tokens, r.top_logprobs) for r in asked} == {(256, 0)}


def test_batches_keep_their_order_and_an_empty_one_its_place() -> None:
    seen = grade(judge_for("overall", MODEL), lambda _: "2", PAIRS, Batch([], [], []), PAIRS)
    assert [len(g) for g in seen] == [2, 0, 2]


def test_what_the_judge_is_asked_about_can_be_said() -> None:
    judge = RubricJudge(model=MODEL, rubric="overall", about="legal advice in Polish")
    assert "legal advice in Polish" in next(judge.requests(PAIRS, b"s")).messages[1][1]
    assert judge.id != RubricJudge(model=MODEL, rubric="overall").id
    assert judge.id == RubricJudge(model=MODEL, rubric="overall", about="legal advice in Polish").id


def test_a_rubric_file_has_its_own_scale_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "kind.yaml"
    path.write_text("name: kindness\ntext: How kind the response is.\nlow: 1\nhigh: 3\n")
    judge = RubricJudge(model=MODEL, rubric=str(path))
    first = judge.id
    assert judge.column == "kindness"
    assert judge.asked.labels == {"1": 1.0, "2": 2.0, "3": 3.0}
    (grades,) = grade(judge, lambda _: "4", PAIRS)
    assert grades.status.tolist() == [Status.range] * 2
    path.write_text("name: percent\ntext: How much of it is true.\nlow: 0\nhigh: 100\n")
    wide = RubricJudge(model=MODEL, rubric=str(path))
    assert wide.asked.labels is None
    (grades,) = grade(wide, lambda _: "85", PAIRS)
    assert grades.values.tolist() == [85.0, 85.0]
    assert wide.id != first


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name: x\n", "text: Field required"),
        ("name: Bad Name\ntext: y\n", "name: String should match"),
        ("name: x\ntext: y\nlow: 5\nhigh: 5\n", "must be below"),
        ("name: x\ntext: y\nscale: 3\n", "scale: Extra"),
        ("- a\n- b\n", "file: "),
        ("a: [", r"r\.yaml:\d+: did not find"),
    ],
)
def test_a_malformed_rubric_file_says_what_is_wrong(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(content)
    with pytest.raises(UsageError, match=message):
        load_rubric(str(path))


def test_an_unknown_rubric_is_named_with_its_neighbours() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'alpagasus'"):
        load_rubric("alpagassus")


def test_grades_are_missing_exactly_where_they_failed() -> None:
    zeros = np.zeros(1, dtype=np.uint8)
    with pytest.raises(ValueError, match="exactly"):
        Grades(np.array([np.nan], dtype=np.float32), zeros, zeros)
