"""Keys appear nowhere."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from rulesel.llm.names import open_chat
from rulesel.llm.redact import HIDDEN, guard_logging, one_line, redact

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


@pytest.fixture
def factory() -> Iterator[None]:
    before = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(before)


@pytest.mark.usefixtures("factory")
def test_logs_of_ours_and_of_what_speaks_to_models_hide_keys_in_messages_arguments_and_tracebacks() -> None:
    stream = io.StringIO()
    guard_logging()
    guard_logging()
    for name in ("rulesel.test.redaction", "LiteLLM", "httpx2"):
        handler = logging.StreamHandler(stream)  # put there later than the guard
        log = logging.getLogger(name)
        log.propagate = False
        log.addHandler(handler)
        log.warning("key %s", CANARY)
        log.warning("too few arguments %s %s", CANARY)
        try:
            raise ValueError(f"Bearer {CANARY}")
        except ValueError:
            log.exception("it failed", stack_info=True)
        log.removeHandler(handler)
        log.propagate = True
    assert "canary" not in stream.getvalue()
    assert stream.getvalue().count("Traceback") == 3
    assert stream.getvalue().count("too few arguments") == 3


@pytest.mark.usefixtures("factory")
def test_logs_of_ours_hold_no_control_characters(caplog: pytest.LogCaptureFixture) -> None:
    guard_logging()
    logging.getLogger("rulesel.test").warning("the server says %s", "\x1b]52;c;aGk=\x07\u202e")
    assert caplog.records[-1].getMessage() == "the server says [U+001B]]52;c;aGk=[U+0007][U+202E]"


@pytest.mark.usefixtures("factory")
def test_logs_of_others_stay_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    guard_logging()
    logging.getLogger("somebody.else").warning("key %s", CANARY)
    assert caplog.records[-1].args == (CANARY,)


@pytest.mark.usefixtures("factory")
def test_opening_a_model_guards_the_log() -> None:
    logging.setLogRecordFactory(logging.LogRecord)
    open_chat("fake:planted")
    assert logging.getLogRecordFactory() is not logging.LogRecord
