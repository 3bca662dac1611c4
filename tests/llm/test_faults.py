"""What a status means, and what a server's complaint teaches."""

from __future__ import annotations

import json
import re

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rulesel.errors import ModelError
from rulesel.llm.base import ChatRequest
from rulesel.llm.complaint import Said, heard
from rulesel.llm.endpoint import ServedNames
from rulesel.llm.faults import Final, Retryable, about_the_form, refusal, retry_after
from rulesel.llm.wire import Dialect, payload, told

DOCUMENT = (
    "In winter the temperature is not supported by sensors; logprobs must be at most 5. Your credit balance is too low, "
    "the API key is not valid and the model does not exist. Requests per day: limit exceeded. No system role here."
)
ASKED = ChatRequest((("user", "hi"),), max_tokens=1, top_logprobs=20, json_schema={"type": "object"})


def body(message: str, code: str | None = None) -> bytes:
    return orjson.dumps({"error": {"message": message, "code": code, "type": "x"}})


def meaning(status: int, answer: bytes, headers: dict[str, str] | None = None) -> Exception:
    return refusal(status, headers or {}, heard(answer, ["Rate this."]), model="m")


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
        (400, body("maximum context length is 8192 tokens"), Final),
        (400, body("filtered", "content_filter"), Final),
        (413, b"too large", Final),
        (422, b'{"detail": [{"msg": "extra field"}]}', Final),
        (500, b"<html><h1>oops</h1></html>", Retryable),
        (501, body("never"), Final),
        (502, b"", Retryable),
        (503, body("overloaded"), Retryable),
        (529, body("overloaded"), Retryable),
    ],
)
def test_a_status_is_retried_final_or_the_end(status: int, answer: bytes, kind: type[Exception]) -> None:
    error = meaning(status, answer)
    assert type(error) is kind
    assert "\n" not in str(error)


def test_only_a_refusal_for_load_slows_everybody_down() -> None:
    for status, throttled in ((429, True), (503, True), (529, True), (500, False), (408, False)):
        error = meaning(status, b"", {"retry-after": "3"})
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
        ({"retry-after": "Wed, 99 Oct 99999 07:28:00 GMT"}, None),
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
    simpler = Dialect().concede(ASKED, heard(body(complaint)))
    assert simpler is not None
    assert {name: getattr(simpler, name) for name in changed} == changed
    assert re.fullmatch(r"(?:asking for|naming|leaving) [\w ,-]+", told(Dialect(), simpler))


def test_conceding_ends() -> None:
    complaints = (
        "response_format is not supported",
        "logprobs are not supported",
        "temperature is not supported",
        "use max_completion_tokens instead",
        "System role not supported",
    )
    for complaint in complaints:
        dialect: Dialect | None = Dialect()
        for _ in range(10):
            dialect = dialect and dialect.concede(ASKED, heard(body(complaint)))
        assert dialect is None
    assert Dialect().concede(ASKED, heard(body("maximum context length is 8192 tokens"))) is None


def test_the_payload_asks_for_what_the_dialect_knows() -> None:
    full = payload(ASKED, "m", Dialect())
    assert full["top_logprobs"] == 20
    assert full["response_format"]["type"] == "json_schema"
    assert list(full)[:2] == ["model", "messages"]
    bare = payload(ASKED, "m", Dialect("text", 0, "max_completion_tokens", temperature=False, system=False))
    assert set(bare) == {"model", "messages", "max_completion_tokens"}


MESSAGES = ChatRequest((("system", "Be strict."), ("user", "Rate this."), ("assistant", "4"), ("user", "And this.")))


def test_without_a_system_role_its_text_is_in_front_of_the_first_message_of_the_user() -> None:
    assert payload(MESSAGES, "m", Dialect())["messages"][0] == {"role": "system", "content": "Be strict."}
    messages = payload(MESSAGES, "m", Dialect(system=False))["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant", "user"]
    assert messages[0]["content"] == "Be strict.\n\nRate this."
    assert payload(ASKED, "m", Dialect(system=False))["messages"] == [{"role": "user", "content": "hi"}]


def fastapi(*place: object, message: str, kind: str = "value_error", given: object = DOCUMENT) -> bytes:
    return orjson.dumps({"detail": [{"type": kind, "loc": ["body", *place], "msg": message, "input": given}]})


def openai(message: str, param: str | None, code: str | None = None) -> bytes:
    return orjson.dumps({"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}})


@pytest.mark.parametrize(
    ("status", "answer", "changed"),
    [
        (400, openai("Unsupported value", "temperature", "unsupported_value"), {"temperature": False}),
        (422, fastapi("temperature", message="Extra inputs are not permitted", kind="extra_forbidden"), {"temperature": False}),
        (422, fastapi("top_logprobs", message="Input should be less than or equal to 5", given=20), {"top_logprobs": 5}),
        (422, fastapi("messages", 0, "role", message="Input should be 'user' or 'assistant'", given="system"), {"system": False}),
        (404, body("No endpoints found that can handle the requested parameters: logprobs, top_logprobs."), {"top_logprobs": 0}),
        (403, body("You are not allowed to request logprobs from this model"), {"top_logprobs": 0}),
        (500, body("unsupported parameter: logprobs"), {"top_logprobs": 0}),
        (500, b"Internal error: got an unexpected keyword argument 'logprobs'", {"top_logprobs": 0}),
        (400, b'{"object":"error","message":"System role not supported","param":null,"code":400}', {"system": False}),
        (400, body("Conversation roles must alternate user/assistant/user/assistant/..."), {"system": False}),
        (400, body("Only user and assistant roles are supported!"), {"system": False}),
        (400, body("Developer instruction is not enabled for models/small"), {"system": False}),
        (400, openai("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
                     "max_tokens", "unsupported_parameter"), {"tokens": "max_completion_tokens"}),
        (400, openai("This response_format type is unavailable now", None), {"structured": "json_object"}),
        (400, openai("Provider returned error", None).replace(b'"param"', b'"metadata":{"raw":"{\\"error\\":'
                     b'\\"logprobs is not supported\\"}"},"param"'), {"top_logprobs": 0}),
    ],
)  # fmt: skip
def test_a_field_is_left_out_on_the_servers_word_about_it(
    status: int, answer: bytes, changed: dict[str, object]
) -> None:
    request = ChatRequest((("system", "s"), *ASKED.messages), top_logprobs=20, json_schema={"type": "object"})
    said = heard(answer, [content for _, content in request.messages])
    assert about_the_form(status, said)
    simpler = Dialect().concede(request, said)
    assert simpler is not None
    assert {name: getattr(simpler, name) for name in ("structured", "top_logprobs", "tokens", "temperature", "system")} == {
        "structured": "json_schema", "top_logprobs": 20, "tokens": "max_tokens", "temperature": True, "system": True
    } | changed  # fmt: skip


ECHOES = [
    fastapi("messages", 1, "content", message="Value error, the input is too long"),
    fastapi("messages", 1, "content", message=f"Value error: {DOCUMENT}"),
    body(f"Cannot handle this input: {DOCUMENT}"),
    body(f"Cannot handle this input: {DOCUMENT[4:150]}…"),
    body(f"Bad input: {DOCUMENT!r}"),
    body("1 validation error: bad text [type=x, input_value='temperature is not supported', input_type=str]"),
    orjson.dumps({"error": {"message": "Invalid request", "input": DOCUMENT, "metadata": {"flagged_input": DOCUMENT}}}),
    f"<html><body>Bad request: {DOCUMENT}</body></html>".encode(),
    orjson.dumps({"detail": f"could not read {orjson.dumps(DOCUMENT).decode()}"}),
    orjson.dumps({"error": orjson.dumps({"message": "bad input", "prompt": DOCUMENT}).decode()}),
]


@pytest.mark.parametrize("answer", ECHOES)
def test_an_echo_of_the_document_decides_nothing(answer: bytes) -> None:
    request = ChatRequest((("system", "s"), ("user", f"Rate this.\n{DOCUMENT}\nOne digit.")), top_logprobs=20)
    said = heard(answer, [content for _, content in request.messages])
    assert Dialect().concede(request, said) is None
    assert isinstance(refusal(400, {}, said, model="m"), Final)


@pytest.mark.parametrize("status", [200, 400, 402, 403, 404, 422, 429, 500, 503])
@pytest.mark.parametrize(
    "message",
    [
        "Your credit balance is too low to use this API. Please go to Plans & Billing to upgrade or purchase credits.",
        "Insufficient credits. Add more in the settings of your account.",
        "You exceeded your current quota, please check your plan and billing details.",
        "You have exceeded your monthly included credits",
        "Insufficient Balance",
        "This account is out of credits",
    ],
)
def test_a_quota_that_is_used_up_ends_the_run_whatever_the_status(status: int, message: str) -> None:
    for answer in (body(message), orjson.dumps({"error": message}), orjson.dumps([{"error": {"message": message}}]),
                   orjson.dumps({"detail": [{"msg": message}]}), f"<html><title>no</title><p>{message}</p>".encode()):  # fmt: skip
        error = meaning(status, answer)
        assert type(error) is ModelError
        assert message[:30] in str(error)
        assert "quota" in str(error) or "limit of a day" in str(error)


@pytest.mark.parametrize("status", [200, 403, 429, 503])
@pytest.mark.parametrize(
    "message",
    [
        "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day",
        "Rate limit reached for m on tokens per day (TPD): Limit 100000, Used 99900. Please try again in 7m12s.",
        "Daily limit reached",
        "Too many tokens per day, please wait before trying again.",
        "You have used up your requests for today.",
    ],
)
def test_a_limit_of_a_day_ends_the_run_whatever_the_status(status: int, message: str) -> None:
    error = meaning(status, body(message))
    assert type(error) is ModelError
    assert message[:30] in str(error)
    assert "the same command goes on from here" in str(error)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (429, "Rate limit reached for m on requests per min (RPM): Limit 3, Used 3. Please try again in 20s."),
        (429, "Quota exceeded for requests per minute"),
        (429, "Too many tokens, please wait before trying again."),
        (403, "rate limit exceeded"),
        (400, "The engine is overloaded, slow down"),
        (200, "Too many requests"),
    ],
)
def test_a_limit_that_passes_slows_down(status: int, message: str) -> None:
    error = meaning(status, body(message))
    assert isinstance(error, Retryable)
    assert error.throttled


@pytest.mark.parametrize("status", [200, 400, 404, 413, 429, 500])
@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 2048 tokens, however you requested 2300 tokens",
        "'max_tokens' or 'max_completion_tokens' is too large: 64. This model's maximum context length is 32 tokens.",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 9000, please reduce your message size",
    ],
)
def test_a_document_that_is_too_long_ends_its_request_alone(status: int, message: str) -> None:
    said = heard(body(message))
    assert not about_the_form(status, said)
    error = refusal(status, {}, said, model="m")
    assert type(error) is Final
    assert error.failure.kind == "http"
    assert message[:30] in error.failure.reason


@pytest.mark.parametrize("status", [200, 400, 403, 404, 500])
@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("API key not valid. Please pass a valid API key.", "refuses access"),
        ("Incorrect API key provided: sk-ab**cd", "refuses access"),
        ("No auth credentials found: invalid credentials", "refuses access"),
        ("The model `x` does not exist or you do not have access to it.", "no such model"),
        ("model 'x' not found, try pulling it first", "no such model"),
        ("No endpoints found for example/model:free.", "no such model"),
    ],
)
def test_a_key_or_a_name_that_is_wrong_ends_the_run_whatever_the_status(status: int, message: str, words: str) -> None:
    error = meaning(status, body(message))
    assert type(error) is ModelError
    assert words in str(error)


STOP, GO_ON, ONE, FORM = "stop", "go on", "one", "form"


@pytest.mark.parametrize(
    ("status", "message", "what"),
    [
        (
            429,
            "Requests have exceeded call rate limit of your current pricing tier. Please retry after 24 hours.",
            STOP,
        ),
        (
            429,
            "Requests have exceeded call rate limit of your current pricing tier. Please retry after 2 seconds.",
            GO_ON,
        ),
        (
            400,
            "You have reached your specified API usage limits. You will regain access on 2026-07-01 at 00:00 UTC.",
            STOP,
        ),
        (402, "This request requires more credits, or fewer max_tokens. You can only afford 100.", STOP),
        (200, "This request requires more credits, or fewer max_tokens. You can only afford 100.", STOP),
        (403, "The free tier of the model has been exhausted.", STOP),
        (429, "Service tier capacity exceeded for this model.", GO_ON),
        (429, "Rate limit exceeded: free-models-per-min.", GO_ON),
        (400, "Model Not Exist", STOP),
        (400, "The requested model is not supported", STOP),
        (503, "The model is overloaded. Please try again later.", GO_ON),
        (500, "Jinja Exception: System role not supported", FORM),
        (400, "Requested sample logprobs of 20, which is greater than max allowed: 5", FORM),
        (422, "Input validation error: `top_logprobs` >= 0 and <= 5", FORM),
        (400, "Invalid temperature: only 1 is allowed for this model", FORM),
        (400, "After the optional system message, conversation roles must alternate user/assistant", FORM),
        (422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 3000", ONE),
        (400, "Invalid 'messages[1].content': string too long. Expected a string with maximum length 1048576", ONE),
        (403, "Your chosen model requires moderation and your input was flagged for violence", ONE),
        (
            400,
            "Could not finish the message because max_tokens was reached. Please try again with higher max_tokens.",
            ONE,
        ),
        (500, "CUDA error: the temperature of the device is too high", GO_ON),
        (413, "Request Entity Too Large", ONE),
    ],
)
def test_what_servers_are_known_to_say(status: int, message: str, what: str) -> None:
    request = ChatRequest((("system", "s"), ("user", "Rate this.")), top_logprobs=20)
    said = heard(body(message), [content for _, content in request.messages])
    if about_the_form(status, said) and Dialect().concede(request, said):
        assert what == FORM
        return
    error = refusal(status, {}, said, model="m")
    assert {ModelError: STOP, Retryable: GO_ON, Final: ONE}[type(error)] == what


def test_a_quota_of_a_minute_passes_whatever_else_is_said_of_it() -> None:
    quota = {"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}
    details = [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [quota]}]
    message = "You exceeded your current quota, please check your plan and billing details. Please retry in 26.8s."
    answer = [{"error": {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED", "details": details}}]
    assert isinstance(meaning(429, orjson.dumps(answer)), Retryable)
    quota["quotaId"] = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"
    assert isinstance(meaning(429, orjson.dumps(answer)), ModelError)


def test_the_words_of_the_provider_behind_a_router_are_kept() -> None:
    raw = orjson.dumps({"error": {"message": "prompt is too long"}}).decode()
    for metadata in ({"raw": raw}, {"raw": f"x {raw}"}, {"raw": {"error": {"message": "prompt is too long"}}}):
        said = heard(orjson.dumps({"error": {"message": "Provider returned error", "code": 400, "metadata": metadata}}))
        assert "Provider returned error" in said.line
        assert "prompt is too long" in said.line


def test_a_status_in_the_body_counts_where_the_answer_had_none() -> None:
    answer = orjson.dumps({"choices": None, "error": {"message": "upstream failed", "code": 502}})
    assert isinstance(meaning(200, answer), Retryable)
    assert "502" in str(meaning(200, answer))
    assert isinstance(meaning(200, answer.replace(b"502", b"401")), ModelError)
    assert isinstance(meaning(404, answer.replace(b"502", b"429")), ModelError), "a status of the answer is believed"
    choice = {"finish_reason": "error", "error": {"message": "upstream died", "code": 502}, "message": {"content": ""}}
    died = meaning(200, orjson.dumps({"choices": [choice]}))
    assert isinstance(died, Retryable)
    assert died.failure.reason == "502: upstream died"


@given(st.binary(max_size=200) | st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
       lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
           st.sampled_from(["error", "message", "detail", "code", "param", "loc", "msg", "metadata", "raw", "type"]), inner, max_size=4),
       max_leaves=12))  # fmt: skip
@pytest.mark.slow
def test_whatever_a_server_says_has_a_meaning(answer: object) -> None:
    raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    said = heard(raw, [DOCUMENT])
    assert isinstance(said, Said)
    assert "\n" not in said.line
    for status in (200, 400, 404, 429, 500):
        assert isinstance(refusal(status, {}, said, model="m"), Final | Retryable | ModelError)
        Dialect().concede(ASKED, said)


def test_what_is_nested_without_end_is_read_as_far_as_that_goes() -> None:
    for answer in (b"[" * 100_000, b'{"error":' * 50_000 + b"1" + b"}" * 50_000, b'{"code": ' + b"9" * 5000 + b"}"):
        assert isinstance(meaning(400, answer), Final)


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
