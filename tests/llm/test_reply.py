"""An answer is read as far as it can be read: nothing malformed beside it costs the answer."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rulesel.llm.base import decode, encode
from rulesel.llm.complaint import parsed
from rulesel.llm.labels import read_label
from rulesel.llm.reply import IMPOSSIBLE, completion, served_name
from rulesel.records import Status


def answer(choice: dict[str, Any] | None = None, message: Any = "", **more: Any) -> dict[str, Any]:
    message = {"content": "4"} if message == "" else message
    return {"choices": [{"finish_reason": "stop", "message": message, **(choice or {})}], **more}


def tokens(*pairs: tuple[Any, Any], own: Any = None) -> dict[str, Any]:
    top = [{"token": token, "logprob": value} for token, value in pairs]
    return {"content": [{**(top[0] if own is None else own), "top_logprobs": top}]}


@pytest.mark.parametrize(
    "body",
    [None, 5, "x", [], {}, {"choices": None}, {"choices": []}, {"choices": [{}]}, {"choices": [None]}, {"choices": {}},
     {"error": {"message": "x"}}, {"choices": [{"message": None}]}, {"choices": [{"message": "4"}]},
     {"choices": [{"finish_reason": "error", "message": {"content": ""}}]},
     {"choices": [{"error": {"message": "upstream"}, "message": {"content": None}}]}],
)  # fmt: skip
def test_without_a_choice_it_is_no_answer(body: object) -> None:
    assert completion(body) is None


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("4", "4"),
        (None, ""),
        (4, "4"),
        (True, ""),
        ([], ""),
        ([{"type": "text", "text": "4"}], "4"),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "2 or 4?"}]}, {"type": "text", "text": "4"}], "4"),
        ([{"type": "reasoning", "text": "2"}, {"type": "output_text", "text": "4"}], "4"),
        ([{"text": "4"}, {"type": "image_url"}, None, 7], "4"),
        (["4", {"type": "text", "text": None}], "4"),
        ({"type": "text", "text": {"value": "4"}}, "4"),
        ({"unheard": "of"}, ""),
    ],
)
def test_content_is_a_text_or_its_text_parts(content: Any, text: str) -> None:
    found = completion(answer(message={"content": content, "reasoning_content": "1, 2, 3"}))
    assert found is not None
    assert found.text == text


def test_a_refusal_in_a_part_or_a_field_is_one() -> None:
    for message in ({"content": [{"type": "refusal", "refusal": "No."}]}, {"content": None, "refusal": "No."}):
        found = completion(answer(message=message))
        assert found is not None
        assert (found.refusal, read_label(found).status) == ("No.", Status.refused)


@pytest.mark.parametrize("finish", ["content_filter", "SAFETY", "safety", "PROHIBITED_CONTENT"])
@pytest.mark.parametrize("rest", [{}, {"message": None}, {"message": {}}, {"message": {"content": None}}])
def test_a_filtered_answer_is_refused_with_or_without_a_message(finish: str, rest: dict[str, Any]) -> None:
    found = completion({"choices": [{"finish_reason": finish, **rest}]})
    assert found is not None
    assert read_label(found).status is Status.refused


@pytest.mark.parametrize(
    "logprobs",
    [
        None, -0.003, "no", [], [3], {}, {"content": None}, {"content": -1}, {"content": [None]}, {"content": [{}]},
        {"content": [{"token": None, "logprob": -1}]}, {"tokens": ["4"], "token_logprobs": [-0.1, -0.2]},
        tokens(("4", None)), tokens(("4", "x")), tokens(("4", True)), tokens(("4", 0.7)), tokens(("4", -0.1), ("3", 0.7)),
        tokens(("4", -0.1), ("3", [])), tokens(("4", -0.1), ("3", -0.1)), tokens(("4", math.nan), ("3", -0.1)),
        tokens(("3", -1.0), ("5", -1.0), own={"token": "4", "logprob": None}), {"content": [{"token": "4", "logprob": -0.1,
        "top_logprobs": "none"}]}, tokens((None, -1.0), own={"token": "4", "logprob": -0.2}),
        {"content": [{"token": "4", "logprob": -0.1, "top_logprobs": [None, {"token": 4}]}]},
    ],
)  # fmt: skip
def test_log_probabilities_that_cannot_be_read_count_as_none(logprobs: Any) -> None:
    found = completion(answer({"logprobs": logprobs}))
    assert found is not None
    reading = read_label(decode(encode(found)))
    assert (reading.status, reading.value, reading.sampled) == (Status.ok, 4.0, True)


def test_what_is_null_is_left_out_and_what_cannot_come_counts_as_that() -> None:
    for nothing in (None, math.nan, -math.inf, -9999.0, -(10**400)):
        given = answer(
            {"logprobs": tokens(("4", math.log(0.75)), ("3", math.log(0.25)), ("5", nothing), ("0", nothing))}
        )
        found = completion(given)
        assert found is not None
        assert read_label(decode(encode(found))).value == pytest.approx(3.75)


def test_the_sampled_token_comes_first_wherever_it_is_listed() -> None:
    listed = tokens(("3", math.log(0.6)), ("4", math.log(0.3)), own={"token": "4", "logprob": math.log(0.3)})
    found = completion(answer({"logprobs": listed}))
    assert found is not None
    assert found.logprobs == ((("4", math.log(0.3)), ("3", math.log(0.6))),)
    beside = tokens(("3", math.log(0.6)), own={"token": "4", "logprob": math.log(0.3)})
    again = completion(answer({"logprobs": beside}))
    assert again is not None
    assert again.logprobs == found.logprobs


def test_alternatives_are_bounded() -> None:
    found = completion(answer({"logprobs": tokens(("4", -0.1), *((f"t{i}", -10.0 - i) for i in range(5000)))}))
    assert found is not None
    assert len(found.logprobs[0]) == 21
    assert completion(answer({"logprobs": tokens(("4", -1e308))})).logprobs == ((("4", IMPOSSIBLE),),)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "usage",
    [
        None, 5, "many", [], True, {"prompt_tokens": None}, {"prompt_tokens": "900"}, {"prompt_tokens": -1},
        {"prompt_tokens": True}, {"prompt_tokens": math.nan}, {"prompt_tokens": math.inf}, {"prompt_tokens": 10**400},
        {"prompt_tokens": [1]}, {"prompt_tokens": {"x": 1}}, {"prompt_tokens": 0.5}, {"prompt_tokens_details": 7},
        {"prompt_tokens_details": {"cached_tokens": "x"}}, {"prompt_tokens_details": {"cached_tokens": 10**30}},
    ],
)  # fmt: skip
def test_token_counts_that_are_none_cost_no_answer(usage: Any) -> None:
    found = completion(answer(usage=usage))
    assert found is not None
    assert (found.text, found.prompt_tokens, found.cached_tokens, found.completion_tokens) == ("4", 0, 0, 0)


def test_token_counts_are_read() -> None:
    usage = {"prompt_tokens": 900, "completion_tokens": 2.0, "prompt_tokens_details": {"cached_tokens": 800}}
    found = completion(answer(usage=usage))
    assert found is not None
    assert (found.prompt_tokens, found.cached_tokens, found.completion_tokens) == (900, 800, 2)
    usage["prompt_tokens_details"] = {"cached_tokens": 901}
    assert completion(answer(usage=usage)).cached_tokens == 0  # type: ignore[union-attr]


def test_a_body_that_is_almost_json_is_read() -> None:
    for body in (b'{"a": NaN}', b'\xef\xbb\xbf{"a": 1}', b'{"a": -Infinity}', b'{"a": "\\ud800"}', b'{"a": "\xff"}'):
        assert "a" in parsed(body)
    found = completion(
        parsed(b'{"model": "\\ud800", "choices": [{"message": {"content": "\\ud800 4", "refusal": null}}]}')
    )
    assert found is not None
    assert decode(encode(found)).text == "? 4"
    assert served_name({"model": 7}) is None


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["4", "text", "stop"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "content",
                    "token",
                    "logprob",
                    "top_logprobs",
                    "text",
                    "type",
                    "refusal",
                    "cached_tokens",
                    "prompt_tokens",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(values, values, values, values, values)
@pytest.mark.slow
def test_whatever_stands_in_an_answer_it_is_read_and_kept(a: Any, b: Any, c: Any, d: Any, e: Any) -> None:
    body = {
        "choices": [{"message": {"content": a, "refusal": b}, "logprobs": c, "finish_reason": d}],
        "usage": e,
        "model": a,
    }
    found = completion(parsed(json.dumps(body).encode()))
    if found is not None:
        read_label(decode(encode(found)))
        orjson.dumps(served_name(body))
