"""Keys appear nowhere."""

from __future__ import annotations

import io
import logging

import pytest

from rulesel.llm.redact import HIDDEN, KeyFilter, guard_logging, one_line, redact

CANARY = "sk-canary-0123456789abcdef"


@pytest.mark.parametrize(
    "text",
    [
        f"Incorrect API key provided: {CANARY}.",
        f"Authorization: Bearer {CANARY}",
        f"https://host/v1?api_key={CANARY}&x=1",
        f"https://user:{CANARY}@host/v1",
        f'{{"api_key": "{CANARY}"}}',
        f"key={CANARY[3:]}".replace("key=", "api-key: "),
        "Incorrect API key provided: sk-ab****************cdef.",
        f"headers={{'authorization': '{CANARY}'}}",
    ],
)
def test_what_looks_like_a_key_is_hidden(text: str) -> None:
    shown = redact(text)
    assert "canary" not in shown
    assert "sk-ab" not in shown
    assert HIDDEN in shown


def test_a_key_of_the_environment_is_hidden_whatever_it_looks_like(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_PROVIDER_API_KEY", "plainwords")
    monkeypatch.setenv("SHORT_KEY", "abc")
    assert redact("it said plainwords to abc") == f"it said {HIDDEN} to abc"


def test_ordinary_text_stays() -> None:
    text = "The task-based key=value pairs of risk-averse sk investors are 12 of 30. Is the API key set?"
    assert redact(text) == text


def test_a_message_becomes_one_bounded_line() -> None:
    assert one_line("a\n\n b\tc") == "a b c"
    assert len(one_line("x" * 1000)) == 300


def test_the_log_hides_keys_in_messages_arguments_and_tracebacks() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(KeyFilter())
    log = logging.getLogger("rulesel.test.redaction")
    log.propagate = False
    log.addHandler(handler)
    log.warning("key %s", CANARY)
    try:
        raise ValueError(f"Bearer {CANARY}")
    except ValueError:
        log.exception("it failed")
    assert "canary" not in stream.getvalue()
    assert "Traceback" in stream.getvalue()


def test_every_handler_gets_the_filter_once() -> None:
    handler = logging.NullHandler()
    logging.getLogger("openai").addHandler(handler)
    try:
        guard_logging()
        guard_logging()
        assert [type(f) for f in handler.filters] == [KeyFilter]
    finally:
        logging.getLogger("openai").removeHandler(handler)
        for other in logging.getLogger().handlers:
            other.filters = [f for f in other.filters if not isinstance(f, KeyFilter)]
