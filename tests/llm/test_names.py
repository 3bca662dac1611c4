"""How models are named, priced, quoted and looked over."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rulesel.errors import ModelError, UsageError
from rulesel.llm import prices as price_maps
from rulesel.llm.base import ChatRequest, Completion, decode, encode
from rulesel.llm.diagnose import diagnose
from rulesel.llm.fake import Fake
from rulesel.llm.names import model_id, open_chat
from rulesel.llm.prices import Price, bounded, find_price, most_tokens
from rulesel.llm.quote import Range, quote
from rulesel.llm.sender import Limits


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        ("http://localhost:8000/v1#org/Model-7B", "org/Model-7B"),
        ("https://h/v1#m", "m"),
        ("openai/gpt-4.1", "openai/gpt-4.1"),
        ("anthropic/claude", "anthropic/claude"),
        ("fake:planted,prose=.1", "fake:planted,prose=.1"),
    ],
)
def test_the_identity_of_a_name_is_the_model_whatever_the_host(name: str, identity: str) -> None:
    assert model_id(name) == identity


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("http://localhost:8000/v1", "#model"),
        ("http://user:sk-secret@host/v1#m", "holds no key"),
        ("http://host/v1?api_key=sk-secret#m", "holds no key"),
        ("http://ho st/v1#m", "is no address"),
        ("http://host/v1\r\nx: y#m", "is no address"),
        ("http://host:99999999/v1#m", "names no model"),
        ("http://[host/v1#m", "is no address"),
        ("gpt-4", "names no model"),
        ("/x", "names no model"),
        ("fake:", "names no model"),
    ],
)
def test_what_names_no_model_is_refused_without_repeating_a_key(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        open_chat(name)
    assert "secret" not in str(caught.value)


@pytest.mark.slow
def test_importing_the_names_loads_no_client() -> None:
    code = (
        "import sys, rulesel.llm.names, rulesel.raters.chat, rulesel.judges.rubric, rulesel.rules.generate\n"
        "print([m for m in ('openai', 'litellm', 'httpx', 'aiohttp', 'duckdb', 'scipy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("parameter", "fine"),
    [("prose=.1", True), ("seed=3", True), ("prosa=.1", False), ("prose=x", False), ("prose", False)],
)
def test_a_fake_takes_the_parameters_it_knows(parameter: str, fine: bool) -> None:
    if fine:
        Fake.named(f"fake:planted,{parameter}")
    else:
        with pytest.raises(UsageError, match="no parameter of fake:planted"):
            Fake.named(f"fake:planted,{parameter}")


def test_a_price_is_the_users_then_the_maps_then_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"input_cost_per_token": 2e-6, "output_cost_per_token": 8e-6, "cache_read_input_token_cost": 5e-7}
    monkeypatch.setattr(price_maps, "bundled", lambda: {"gpt-x": entry, "half": {"input_cost_per_token": 1e-6}})
    own = Price(input=1, output=2)
    assert find_price("openai/gpt-x", "openai/gpt-x", {}) == Price(input=2, output=8, cached=0.5)
    assert find_price("openai/gpt-x", "openai/gpt-x", {"openai/gpt-x": own}) == own
    assert find_price("http://h/v1#gpt-x", "gpt-x", {"gpt-x": own}) == own
    assert find_price("http://h/v1#gpt-x", "gpt-x", {}) is None, "who serves a model need not charge its usual price"
    assert find_price("x/half", "x/half", {}) is None
    assert find_price("x/unknown", "x/unknown", {}) is None


def test_the_cost_counts_cached_tokens_at_their_own_price() -> None:
    price = Price(input=2, output=8, cached=0.5)
    assert price.of(1000, 400, 10) == pytest.approx((600 * 2 + 400 * 0.5 + 10 * 8) / 1e6)
    assert Price(input=2, output=8).of(1000, 400, 10) == pytest.approx((1000 * 2 + 10 * 8) / 1e6)
    request = ChatRequest((("user", "x" * 2000),), max_tokens=10)
    told = Completion("x", prompt_tokens=1000, cached_tokens=400, completion_tokens=10)
    assert price.cost(told, request) == pytest.approx((600 * 2 + 400 * 0.5 + 10 * 8) / 1e6)


def test_an_answer_that_is_not_counted_costs_the_worst_case() -> None:
    price, request = Price(input=2, output=8, cached=0.5), ChatRequest((("user", "x"),), max_tokens=10)
    assert price.cost(Completion("x"), request) == price.worst(request)
    assert price.cost(Completion("x", completion_tokens=1), request) == price.worst(request)
    uncounted = price.cost(Completion("x", prompt_tokens=5), request)
    assert uncounted == price.cost(Completion("x", prompt_tokens=5, completion_tokens=10), request)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, -1.0, -1e-9, 1e300])
@pytest.mark.parametrize("field", ["input", "output", "cached"])
def test_a_price_that_is_none_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValidationError):
        Price(**{"input": 1.0, "output": 1.0, field: value})


def test_a_map_that_names_an_impossible_price_knows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for cost in (-1, math.inf, math.nan, "x", None):
        entry = {"input_cost_per_token": cost, "output_cost_per_token": 1e-6}
        monkeypatch.setattr(price_maps, "bundled", lambda entry=entry: {"gpt-x": entry})
        assert find_price("openai/gpt-x", "openai/gpt-x", {}) is None


counts = st.integers(-(10**30), 10**30)


@given(counts, counts, counts, st.floats(0, 1e6), st.floats(0, 1e6), st.none() | st.floats(0, 1e6), st.integers(1, 100))
def test_whatever_a_server_counts_an_answer_costs_something_between_nothing_and_its_worst_case(
    prompt: int, cached: int, answered: int, dear: float, cheap: float, kept: float | None, most: int
) -> None:
    price = Price(input=dear, output=cheap, cached=kept)
    request = ChatRequest((("system", "s"), ("user", "text")), max_tokens=most)
    told = bounded(Completion("4", prompt_tokens=prompt, cached_tokens=cached, completion_tokens=answered), request)
    assert 0 <= told.cached_tokens <= told.prompt_tokens <= most_tokens(request)
    assert 0 <= told.completion_tokens <= most
    assert 0 <= price.cost(told, request) <= price.worst(request)


def test_the_worst_case_is_a_token_for_every_byte() -> None:
    request = ChatRequest((("user", "数学" * 100),), max_tokens=7)
    assert most_tokens(request) >= 600
    assert Price(input=0, output=1e6).worst(request) == pytest.approx(7.0)


def test_a_schema_is_part_of_what_is_sent() -> None:
    plain = ChatRequest((("user", "x"),))
    schema = {"type": "object", "description": "d" * 1000}
    assert most_tokens(replace(plain, json_schema=schema)) >= most_tokens(plain) + 1000


def test_a_completion_survives_the_ledger() -> None:
    completion = Completion("4", "stop", ((("4", -0.1), ("3", -2.0)),), 10, 5, 1, 0.25, None)
    assert decode(encode(completion)) == Completion("4", "stop", ((("4", -0.1), ("3", -2.0)),), 10, 5, 1, 0.0, None)


def sampled(n: int, rules: int, chars: int = 4000) -> list[list[ChatRequest]]:
    return [
        [
            ChatRequest((("system", "Rate."), ("user", "d" * chars + f"{i}" + f" rule {j}")), max_tokens=1)
            for j in range(rules)
        ]
        for i in range(n)
    ]


def test_a_quote_extrapolates_and_its_range_holds_the_truth() -> None:
    asked = quote(sampled(20, 10), 10_000, price=Price(input=1, output=1, cached=0.1), limits=Limits(concurrency=10))
    truth = 10_000 * (4000 + 40) / 4.2  # a tokenizer of 4.2 characters a token
    assert asked.prompt_tokens.low < truth < asked.prompt_tokens.high
    assert asked.prompt_tokens.likely == pytest.approx(truth, rel=0.02)
    assert 0.85 * truth < asked.cached_tokens.likely < 0.9 * truth, "nine of ten requests share the document"
    assert asked.cached_tokens.low == 0
    assert asked.dollars is not None
    assert asked.dollars.low < asked.dollars.likely < asked.dollars.high
    assert asked.completion_tokens == Range(10_000, 10_000, 10_000)
    assert asked.first.startswith("[system]\nRate.\n[user]\nddd")
    assert asked.hours.likely == pytest.approx(10_000 * 0.7 / 10 / 3600)


def test_a_quote_obeys_the_rate_limits_and_says_what_it_does_not_know() -> None:
    limits = Limits(concurrency=1000, requests_per_minute=600, tokens_per_minute=1e9)
    asked = quote(sampled(5, 2), 36_000, price=None, limits=limits)
    assert asked.dollars is None
    assert asked.hours.low >= 1.0
    with pytest.raises(ValueError, match="at least one example"):
        quote([[]], 5, price=None, limits=limits)


def test_a_model_that_can_do_everything_passes_the_examination(serve: Callable[..., Any]) -> None:
    checks = {c.what: c for c in diagnose(serve(canned=True).name, {"m": Price(input=1, output=2)})}
    assert {c.state for c in checks.values()} == {"ok"}
    assert checks["context"].found == "8192 tokens"
    assert checks["log-probabilities"].found == "6 a token"


@pytest.mark.parametrize(
    ("options", "what", "state", "words"),
    [
        ({"key": "another"}, "answer", "failed", "key in the environment"),
        ({"model": "n"}, "answer", "failed", "GET /v1/models"),
        ({"always": "quota"}, "answer", "failed", "no credit"),
        ({"always": "day"}, "answer", "failed", "wait until it is lifted"),
        ({"always": "500"}, "answer", "failed", "server's own log"),
        ({"top_logprobs": 0}, "log-probabilities", "warning", "sampled digits"),
        ({"context": 2048}, "context", "warning", "lower document_chars"),
        ({"always": "prose"}, "one digit", "warning", "thinking switched off"),
    ],
)
def test_what_stands_in_the_way_is_named_with_its_cure(
    serve: Callable[..., Any], options: dict[str, Any], what: str, state: str, words: str
) -> None:
    name = serve(**options).name.partition("#")[0] + "#m"
    check = next(c for c in diagnose(name) if c.what == what)
    assert check.state == state
    assert words in check.remedy


def test_a_key_that_cannot_be_sent_is_found_out_before_anything_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RULESEL_API_KEY", "key\r\nx-evil: 1")
    (check,) = diagnose("http://127.0.0.1:9/v1#m")
    assert (check.state, check.what) == ("failed", "name")
    assert "RULESEL_API_KEY" in check.found
    assert "evil" not in check.found
    assert check.remedy.startswith("set it again")


def test_a_price_is_missed_only_where_somebody_sends_a_bill(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = serve().name
    assert next(c for c in diagnose(name) if c.what == "price").state == "ok"
    monkeypatch.setattr("rulesel.llm.diagnose.is_free", lambda name: False)
    check = next(c for c in diagnose(name) if c.what == "price")
    assert (check.state, check.remedy) == ("warning", 'prices: {"m": {input: …, output: …}} in the config')


def test_nobody_at_the_address_is_found_out_in_a_moment() -> None:
    (check,) = diagnose("http://127.0.0.1:9/v1#m")
    assert check.state == "failed"
    assert "is the server running" in check.remedy
    with pytest.raises(ModelError, match="no connection"):
        open_chat("http://127.0.0.1:9/v1#m").probe(ChatRequest((("user", "x"),)))
