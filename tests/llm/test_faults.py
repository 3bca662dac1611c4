"""What a status means, and what a server's complaint teaches."""

from __future__ import annotations

import re

import orjson
import pytest

from rulesel.errors import ModelError
from rulesel.llm.base import ChatRequest
from rulesel.llm.endpoint import ServedNames
from rulesel.llm.faults import Final, Misunderstood, Retryable, refusal, retry_after
from rulesel.llm.wire import Dialect, payload, read, told

ASKED = ChatRequest((("user", "hi"),), max_tokens=1, top_logprobs=20, json_schema={"type": "object"})


def body(message: str, code: str | None = None) -> bytes:
    return orjson.dumps({"error": {"message": message, "code": code, "type": "x"}})


@pytest.mark.parametrize(
    ("status", "answer", "kind"),
    [
        (408, body("late"), Retryable),
        (409, body("conflict"), Retryable),
        (429, body("slow down", "rate_limit_exceeded"), Retryable),
        (429, body("You exceeded your current quota", "insufficient_quota"), ModelError),
        (400, body("Your credit balance is too low to access the API"), ModelError),
        (402, body("Payment required"), ModelError),
        (401, body("bad key"), ModelError),
        (403, body("no"), ModelError),
        (403, body("Your input was flagged by moderation"), Final),
        (404, body("no such model"), ModelError),
        (307, b"", ModelError),
        (400, body("maximum context length is 8192 tokens"), Misunderstood),
        (400, body("filtered", "content_filter"), Final),
        (413, b"too large", Misunderstood),
        (422, b'{"detail": [{"msg": "extra field"}]}', Misunderstood),
        (500, b"<html><h1>oops</h1></html>", Retryable),
        (501, body("never"), Final),
        (502, b"", Retryable),
        (503, body("overloaded"), Retryable),
        (529, body("overloaded"), Retryable),
    ],
)
def test_a_status_is_retried_final_or_the_end(status: int, answer: bytes, kind: type[Exception]) -> None:
    error = refusal(status, {}, answer, model="m")
    assert type(error) is kind
    assert "\n" not in str(error)


def test_only_a_refusal_for_load_slows_everybody_down() -> None:
    for status, throttled in ((429, True), (503, True), (529, True), (500, False), (408, False)):
        error = refusal(status, {"retry-after": "3"}, b"", model="m")
        assert isinstance(error, Retryable)
        assert (error.throttled, error.retry_after) == (throttled, 3.0)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 60.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
    ],
)
def test_the_wait_a_server_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, now=1792567620.0) == seconds


@pytest.mark.parametrize(
    ("complaint", "changed"),
    [
        ("response_format 'json_schema' is not supported", {"structured": "json_object"}),
        ("top_logprobs must be at most 5", {"top_logprobs": 5}),
        ("Invalid value for top_logprobs: integer above maximum value. Expected a value <= 8", {"top_logprobs": 8}),
        ("Invalid top_logprobs", {"top_logprobs": 5}),
        ("This model does not support logprobs", {"top_logprobs": 0}),
        (
            "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
            {"tokens": "max_completion_tokens"},
        ),
        ("'temperature' does not support 0.0 with this model", {"temperature": False}),
    ],
)
def test_a_complaint_is_met_by_the_next_simpler_form(complaint: str, changed: dict[str, object]) -> None:
    simpler = Dialect().concede(ASKED, complaint)
    assert simpler is not None
    assert {name: getattr(simpler, name) for name in changed} == changed
    assert re.fullmatch(r"(?:asking for|naming|leaving) [\w ,-]+", told(Dialect(), simpler))


def test_conceding_ends() -> None:
    for complaint in ("response_format", "logprobs", "temperature", "use max_completion_tokens"):
        dialect: Dialect | None = Dialect()
        for _ in range(10):
            dialect = dialect and dialect.concede(ASKED, complaint)
        assert dialect is None
    assert Dialect().concede(ASKED, "maximum context length is 8192 tokens") is None


def test_the_payload_asks_for_what_the_dialect_knows() -> None:
    full = payload(ASKED, "m", Dialect())
    assert full["top_logprobs"] == 20
    assert full["response_format"]["type"] == "json_schema"
    assert list(full)[:2] == ["model", "messages"]
    bare = payload(ASKED, "m", Dialect("text", 0, "max_completion_tokens", temperature=False))
    assert set(bare) == {"model", "messages", "max_completion_tokens"}


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"null",
        b"<html>",
        b'{"choices": []}',
        b'{"choices": [{}]}',
        b'{"error": {"message": "x"}}',
        b'{"choices": [{"mess',
        b'{"choices": [{"message": null}]}',
    ],
)
def test_an_answer_that_is_none_is_tried_again_and_may_have_cost(answer: bytes) -> None:
    with pytest.raises(Retryable) as caught:
        read(answer)
    assert caught.value.failure.maybe_paid


def test_odd_answers_are_read_as_far_as_they_go() -> None:
    completion, served = read(
        b'{"model": "m-1", "choices": [{"message": {"content": null}, "finish_reason": null, "logprobs": {"content": null}}],'
        b' "usage": {"prompt_tokens": null, "completion_tokens": -4, "prompt_tokens_details": null}}'
    )
    assert (completion.text, completion.finish, completion.logprobs, served) == ("", "stop", (), "m-1")
    assert (completion.prompt_tokens, completion.completion_tokens) == (0, 0)


def test_alternatives_are_read_and_the_token_itself_where_there_are_none() -> None:
    completion, _ = read(
        orjson.dumps(
            {
                "choices": [
                    {
                        "message": {"content": "4"},
                        "logprobs": {
                            "content": [
                                {
                                    "token": "4",
                                    "logprob": -0.1,
                                    "top_logprobs": [
                                        {"token": "4", "logprob": -0.1},
                                        {"token": "3", "logprob": -9999.0},
                                    ],
                                },
                                {"token": ".", "logprob": -0.2, "top_logprobs": []},
                            ]
                        },
                    }
                ]
            }
        )
    )
    assert completion.logprobs == ((("4", -0.1), ("3", -9999.0)), ((".", -0.2),))


@pytest.mark.parametrize(
    ("asked", "served", "same"),
    [
        ("gpt-4o", "gpt-4o", True),
        ("gpt-4o", "gpt-4o-2024-08-06", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("llama3", "llama3:latest", True),
        ("llama3:8b", "llama3", True),
        ("org/Model", "model", True),
        ("m", "/srv/models/m", True),
        ("m", "another-model", False),
        ("m", "", False),
    ],
)
def test_a_name_with_a_tag_is_the_same_model_and_another_is_not(asked: str, served: str, same: bool) -> None:
    assert ServedNames(asked).accept(served) is same


def test_an_alias_is_believed_when_it_stays_and_never_after_the_real_name() -> None:
    names = ServedNames("fast")
    assert [names.accept("llama") for _ in range(4)] == [False, False, True, True]
    names = ServedNames("fast")
    assert [names.accept(n) for n in ("llama", "fast", "llama", "llama", "llama", "llama")] == [False, True] + [
        False
    ] * 4
