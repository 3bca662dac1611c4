"""From an answer to a number, or to the reason why there is none."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rulesel.llm.base import Completion, Failure
from rulesel.llm.labels import DIGITS, expectation, read_label, read_number, reason_of
from rulesel.records import Flag, Status


def top(**probabilities: float) -> tuple[tuple[tuple[str, float], ...], ...]:
    return (tuple((token.replace("_", " "), math.log(p)) for token, p in probabilities.items()),)


def test_the_expectation_is_the_mean_over_the_labels() -> None:
    p = [0.05, 0.1, 0.2, 0.4, 0.25]
    value, mass = expectation([(str(k), math.log(x)) for k, x in enumerate(p, 1)], {str(k): k for k in range(1, 6)})
    assert value == pytest.approx(3.70)
    assert mass == pytest.approx(1.0)


def test_six_logits_give_the_published_scorers_expectation() -> None:
    logits = [1, 2, 3, 2, 1, 0]
    total = sum(math.exp(x) for x in logits)
    scale = {str(k): float(k) for k in range(1, 7)}
    for shift in (0.0, math.log(0.7)):  # a constant changes the mass and nothing else
        tokens = [(str(k), x - math.log(total) + shift) for k, x in enumerate(logits, 1)]
        value, mass = expectation(tokens, scale)
        assert value == pytest.approx(3.072639, abs=5e-7)
        assert mass == pytest.approx(math.exp(shift))


def test_variants_of_a_label_add_up_and_other_tokens_do_not_count() -> None:
    tokens = [
        ("4", math.log(0.3)),
        (" 4", math.log(0.2)),
        ("▁2", math.log(0.25)),
        ("Ġ2", math.log(0.05)),
        ("I", math.log(0.2)),
    ]
    value, mass = expectation(tokens, DIGITS)
    assert mass == pytest.approx(0.8)
    assert value == pytest.approx((0.5 * 4 + 0.3 * 2) / 0.8)


def test_a_label_of_probability_zero_is_no_harm() -> None:
    assert expectation([("4", 0.0), ("5", -math.inf)], DIGITS) == (4.0, 1.0)


@pytest.mark.parametrize(
    "bad", [[("4", 0.7)], [("4", math.nan)], [("4", -0.1), ("3", -0.1)], [("4", -1.0), ("x", 3.0)]]
)
def test_numbers_that_are_no_probabilities_count_as_none(bad: list[tuple[str, float]]) -> None:
    reading = read_label(Completion("4", logprobs=(tuple(bad),)))
    assert (reading.status, reading.value, reading.mass, reading.sampled) == (Status.ok, 4.0, None, True)
    assert read_label(Completion("Four", logprobs=(tuple(bad),))).status is Status.parse


@pytest.mark.parametrize(
    ("answer", "status", "value"),
    [
        (Completion("4", logprobs=top(**{"4": 0.6, "3": 0.3})), Status.ok, (4 * 0.6 + 3 * 0.3) / 0.9),
        (Completion("The", logprobs=top(The=0.9, **{"4": 0.1})), Status.low_mass, None),
        (Completion("4", logprobs=top(**{"4": 0.4})), Status.ok, 4.0),
        (Completion("4", logprobs=top(**{"4": 0.3, "3": 0.15})), Status.ok, 4.0),
        (
            Completion("4", logprobs=top(**{"4": 0.3, "a": 0.2, "b": 0.1, "c": 0.1, "d": 0.1, "e": 0.1})),
            Status.low_mass,
            None,
        ),
        (Completion(" 4\n"), Status.ok, 4.0),
        (Completion("4", logprobs=((),)), Status.ok, 4.0),
        (Completion("4", logprobs=top(xyz=1.0)), Status.ok, 4.0),
        (Completion("", refusal="No."), Status.refused, None),
        (Completion("4", finish="content_filter"), Status.refused, None),
        (Completion("I'm sorry, but I can't rate this."), Status.refused, None),
        (Completion("I", logprobs=top(I=0.99)), Status.low_mass, None),
        (Completion("I'm sorry", logprobs=top(I=0.99)), Status.refused, None),
        (Completion(""), Status.parse, None),
        (Completion("  \n", finish="length"), Status.cut_answer, None),
        (Completion("9"), Status.range, None),
        (Completion("-1"), Status.range, None),
        (Completion("4.5"), Status.range, None),
        (Completion("It is 4 out of 5."), Status.parse, None),
        (Completion("[[5]]"), Status.ok, 5.0),
        (Completion("４"), Status.range, None),
        (Failure("timeout", "late"), Status.timeout, None),
        (Failure("refused", "content filter"), Status.refused, None),
        (Failure("http", "500"), Status.http, None),
        (Failure("something new", "x"), Status.http, None),
    ],
)
def test_an_answer_is_a_rating_or_a_reason(answer: Completion | Failure, status: Status, value: float | None) -> None:
    reading = read_label(answer)
    assert reading.status is status
    if value is None:
        assert math.isnan(reading.value)
        assert reason_of(reading)
    else:
        assert reading.value == pytest.approx(value)
        assert reading.reason == ""


def test_a_sampled_digit_says_so() -> None:
    assert read_label(Completion("3")).flags is Flag.sampled
    assert read_label(Completion("3", logprobs=top(**{"3": 0.9}))).flags is Flag.sampled, (
        "one alternative is no expectation"
    )
    assert read_label(Completion("3", logprobs=top(**{"3": 0.9, "2": 0.05}))).flags is Flag.none


def test_white_space_before_the_digit_is_passed_over() -> None:
    blank = (("▁", math.log(0.99)),)
    reading = read_label(Completion(" 4", logprobs=(blank, *top(**{"4": 0.8, "5": 0.2}))))
    assert reading.value == pytest.approx(4.2)
    alone = read_label(Completion(" ", finish="length", logprobs=(blank,)))
    assert alone.status is Status.cut_answer


@given(st.text(alphabet=st.characters(exclude_characters="012345")), st.sampled_from(["stop", "length"]))
def test_a_text_without_a_label_is_no_rating(text: str, finish: str) -> None:
    reading = read_label(Completion(text, finish))
    assert reading.status is not Status.ok
    assert math.isnan(reading.value)


@pytest.mark.parametrize(
    "text",
    [
        "4", " 4\n", "**4**", "`4`", '"4"', "(4)", "[[4]]", "4.", "4/5", "4 / 5", "4 out of 5", "4.0", "**4/5**",
        "Rating: 4", "rating is 4", "**Rating:** 4", "**Rating: 4**", "Score = 4", "Score - 4", "The rating is: **4**.",
        "My final answer: 4", "Rating: 4/5", '{"rating": 4}', "\\boxed{4}", "Answer: \\boxed{4}",
        "4\n\nThe text is clear and says what it is about in 2 lines.", "The text is clear, with 3 examples.\n\nRating: 4",
        "<think>1. It is short. So 2.</think>4", "<think>2?</think>\n\n**4**", "It could be 3.</think>\n\n4",
        "<thinking>5</thinking> 4", "<thought>5</thought>4", "[THINK]1 or 5[/THINK]4", "◁think▷5◁/think▷4",
        "<seed:think>5</seed:think>4", "<|START_THINKING|>5<|END_THINKING|><|START_RESPONSE|>4<|END_RESPONSE|>",
        "<|channel|>analysis<|message|>It is 3.<|end|><|start|>assistant<|channel|>final<|message|>4<|return|>",
        "analysisWe rate it 3. Fine.assistantfinal4", "<answer>4</answer>", "<|begin_of_box|>4<|end_of_box|>", "4<|im_end|>",
        "4</s>", "<think>a</think><think>Rating: 5</think>Rating: 4",
    ],
)  # fmt: skip
def test_a_digit_is_read_where_the_answer_is(text: str) -> None:
    reading = read_label(Completion(text))
    assert (reading.status, reading.value) == (Status.ok, 4.0)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("4 or 5", Status.parse),
        ("4\nRating: 3", Status.parse),
        ("Rating: 4\nRating: 2", Status.parse),
        ("I give it a 4 because the rule holds", Status.parse),
        ("The document says: Rating: 5", Status.parse),
        ("Rating: 4 of the 5 parts are fine", Status.parse),
        ("4 stars", Status.parse),
        ("-4", Status.range),
        ("4.5", Status.range),
        ("8/10", Status.parse),
        ("Rating: 7", Status.parse),
        ("<think>It is a 4. Rating: 4", Status.parse),
        ("<think>4</think>", Status.parse),
        ("4</think>", Status.parse),
        ("<|channel|>analysis<|message|>4", Status.parse),
    ],
)
def test_a_digit_elsewhere_is_no_rating(text: str, status: Status) -> None:
    assert read_label(Completion(text)).status is status
    if "think>" in text or "channel" in text:
        assert read_label(Completion(text, "length")).status in {Status.cut_answer, Status.parse}


def said(*tokens: dict[str, float]) -> tuple[tuple[tuple[str, float], ...], ...]:
    return tuple(tuple((token, math.log(p)) for token, p in one.items()) for one in tokens)


FOUR = {"4": 0.75, "5": 0.25}


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("4", said({"1": 0.9, "F": 0.1}, {".": 1.0}, {" So": 1.0}, {" 4": 0.9, "3": 0.1}, {"</think>": 1.0}, {"\n\n": 1.0}, FOUR)),
        ("<think>5</think>4", said({"<think>": 1.0}, {"5": 0.9, "1": 0.1}, {"</think>": 1.0}, FOUR)),
        ("Rating: 4", said({"Rating": 0.9, "3": 0.1}, {":": 1.0}, {" ": 1.0}, FOUR)),
        ("**4**", said({"**": 0.9, "3": 0.1}, FOUR, {"**": 1.0}, {"<|im_end|>": 1.0})),
        ("4/5", said(FOUR, {"/": 1.0}, {"5": 1.0})),
        ("4", said({"▁": 0.9, "Ġ": 0.1}, {"▁4": 0.75, "▁5": 0.25}, {"</s>": 1.0})),
        ("The rule has 3 parts.\nRating: 4", said({"The": 1.0}, {" rule has 3 parts.\n": 1.0}, {"Rating:": 1.0}, {" 4": 0.75, "5": 0.25})),
    ],
)  # fmt: skip
def test_the_expectation_is_taken_at_the_token_that_is_the_answer(text: str, tokens: object) -> None:
    reading = read_label(Completion(text, logprobs=tokens))  # type: ignore[arg-type]
    assert reading.status is Status.ok
    assert reading.value == pytest.approx(4.25)


@pytest.mark.parametrize(
    "tokens",
    [
        said({"1": 0.9, "2": 0.1}, {".": 1.0}),  # of the thoughts alone
        said({"5": 1.0}),
        said({"x4y": 0.9, "5": 0.1}),
        ((), ()),
        said({"4/5": 0.9, "5": 0.1}),
    ],
)
def test_log_probabilities_of_something_else_count_as_none(tokens: object) -> None:
    reading = read_label(Completion("4", logprobs=tokens))  # type: ignore[arg-type]
    assert (reading.status, reading.value, reading.sampled) == (Status.ok, 4.0, True)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4.5", 4.5),
        ("4,5\nBecause it is right.", 4.5),
        ("Score: 4.5", 4.5),
        ("**Rating:** 4\n", 4.0),
        ("Rating - 4", 4.0),
        ("4/5", 4.0),
        ("4.5/5", 4.5),
        ("9 out of 10", 4.5),
        ("\n\n  4.  ", 4.0),
        (".5", 0.5),
        ("Here is my grade.\nScore: 3", 3.0),
    ],
)
def test_a_number_is_read_however_it_is_dressed(text: str, value: float) -> None:
    reading = read_number(Completion(text), 0, 5)
    assert reading.status is Status.ok
    assert reading.value == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("6", Status.range),
        ("-1", Status.range),
        ("10/10 or 9/10", Status.parse),
        ("between 3 and 4", Status.parse),
        ("3 4", Status.parse),
        ("4 reasons speak against it", Status.parse),
        ("excellent", Status.parse),
        ("", Status.parse),
        ("I cannot grade this.", Status.refused),
        ("4/0", Status.parse),
    ],
)
def test_what_is_no_single_number_in_range_is_no_grade(text: str, status: Status) -> None:
    reading = read_number(Completion(text), 0, 5)
    assert reading.status is status
    assert math.isnan(reading.value)


@given(st.text(max_size=60))
def test_a_number_read_is_always_on_the_scale(text: str) -> None:
    reading = read_number(Completion(text), 1, 6)
    assert (1 <= reading.value <= 6) if reading.status is Status.ok else math.isnan(reading.value)
