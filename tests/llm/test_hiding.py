"""A key is found however it is written, and what a server says reaches nobody with a key in it."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rulesel.errors import ModelError, UsageError
from rulesel.llm.base import ChatRequest, Completion
from rulesel.llm.diagnose import diagnose
from rulesel.llm.hiding import HIDDEN, hide
from rulesel.llm.names import open_chat
from rulesel.llm.sender import Limits
from rulesel.store.ledger import Ledger

KEY = "Zq7-canary/0123456789+aBcDeF=x"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


WAYS: dict[str, Callable[[str], str]] = {
    "plain": lambda k: k,
    "upper case": str.upper,
    "lower case": str.lower,
    "reversed": lambda k: k[::-1],
    "first half": lambda k: k[: len(k) // 2],
    "second half": lambda k: k[len(k) // 2 :],
    "a prefix of eight": lambda k: k[:8],
    "pieces of six": lambda k: " … ".join(k[i : i + 6] for i in range(0, len(k), 6)),
    "spaced": lambda k: " ".join(k),
    "a list": lambda k: str(list(k)),
    "codes": lambda k: str([ord(c) for c in k]),
    "unicode escapes": lambda k: "".join(f"\\u{ord(c):04x}" for c in k),
    "unicode escapes in capitals": lambda k: "".join(f"\\u{ord(c):04X}" for c in k),
    "escaped escapes": lambda k: "".join(f"\\\\u{ord(c):04x}" for c in k),
    "some escapes": lambda k: "".join(f"\\u{ord(c):04x}" if i % 3 else c for i, c in enumerate(k)),
    "bytes": lambda k: "".join(f"\\x{ord(c):02x}" for c in k),
    "octal": lambda k: "".join(f"\\{ord(c):03o}" for c in k),
    "C array": lambda k: ", ".join(f"0x{ord(c):02X}" for c in k),
    "URL": lambda k: quote(k, safe=""),
    "URL throughout": lambda k: "".join(f"%{ord(c):02X}" for c in k),
    "URL twice": lambda k: quote("".join(f"%{ord(c):02x}" for c in k)),
    "entities": lambda k: "".join(f"&#{ord(c)};" for c in k),
    "entities in hexadecimal": lambda k: "".join(f"&#x{ord(c):x};" for c in k),
    "quoted-printable": lambda k: "".join(f"={ord(c):02X}" for c in k),
    "hexadecimal": lambda k: k.encode().hex(),
    "hexadecimal with colons": lambda k: k.encode().hex(":"),
    "base64": b64,
    "base64 for URLs": lambda k: base64.urlsafe_b64encode(k.encode()).decode(),
    "base64 of the header": lambda k: b64(f"Bearer {k}"),
    "base64 of a login": lambda k: b64(f"user:{k}:more"),
    "base64 in lines": lambda k: "\n".join(b64(k)[i : i + 10] for i in range(0, len(b64(k)), 10)),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_key_is_hidden_however_it_is_written(way: str) -> None:
    written = WAYS[way](KEY)
    shown = hide(f"the key <{written}> is wrong", KEY)
    assert shown.startswith("the key <")
    assert shown.endswith("> is wrong")
    assert HIDDEN in shown
    left = shown.removeprefix("the key <").removesuffix("> is wrong")
    pieces = {KEY[i : i + 5] for i in range(len(KEY) - 4)}
    assert not any(piece in left for piece in pieces)
    assert len(left.replace(HIDDEN, "")) < max(12, 0.4 * len(written))


@given(
    st.text(max_size=200), st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=60)
)
def test_no_key_stands_in_a_text_that_was_cleaned(text: str, key: str) -> None:
    at = len(text) // 2
    assert key not in hide(text[:at] + key + text[at:], key).replace(HIDDEN, "\0")


def test_a_short_key_is_hidden_where_it_stands_alone() -> None:
    assert hide("EMPTY is no key; emptyness, xEMPTYx", "EMPTY") == f"{HIDDEN} is no key; emptyness, xEMPTYx"
    assert hide(f"it was {b64('abc')} or '\\u0061\\u0062\\u0063'", "abc") == f"it was {HIDDEN} or '{HIDDEN}'"
    assert hide("", "abc") == hide("", "") == ""


def test_ordinary_text_stays() -> None:
    text = "400: This model's maximum context length is 8192 tokens; you asked for 9000 (0x1F, 100%25, =20)."
    assert hide(text, KEY) == text


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("key-123\r\nx-evil: 1", "line break"),
        ("key-123\n", "line break"),
        ("key 123", "space"),
        ("key-123\x00", "another character"),
        ("kéy-12345", "another character"),
        ("\u202ekey-12345", "another character"),
        ("ab", "fewer than 3"),
    ],
)
@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("RULESEL_API_KEY", "http://127.0.0.1:9/v1#m"),
        ("OPENAI_API_KEY", "http://127.0.0.1:9/v1#m"),
        ("OPENAI_API_KEY", "openai/gpt-x"),
        ("ANTHROPIC_API_KEY", "anthropic/x"),
    ],
)
def test_a_key_that_cannot_be_sent_is_refused_in_one_line_without_it(
    key: str, words: str, variable: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "\x00" in key:
        monkeypatch.setattr("os.environ", {variable: key})  # no process can have been given one
    else:
        monkeypatch.setenv(variable, key)
    for lean in (True, False):
        with pytest.raises(UsageError, match=words) as caught:
            open_chat(name, lean=lean)
        assert variable in str(caught.value)
        assert "\n" not in str(caught.value)
        assert key not in str(caught.value)


ANSWERS: dict[str, Callable[[str], tuple[int, bytes]]] = {
    "the message of a 400": lambda k: (400, orjson.dumps({"error": {"message": f"no: {k}"}})),
    "the message of a 401": lambda k: (401, orjson.dumps({"error": {"message": f"Incorrect API key provided: {k}"}})),
    "a page": lambda k: (500, f"<html><b>{k}</b></html>".encode()),
    "the body of a 200": lambda k: (200, orjson.dumps({"headers": {"authorization": f"Bearer {k}"}})),
    "raw text": lambda k: (200, f"Authorization: Bearer {k}".encode()),
    "the answer": lambda k: (200, orjson.dumps({"choices": [{"message": {"content": k}}]})),
    "a refusal": lambda k: (200, orjson.dumps({"choices": [{"message": {"refusal": k}}]})),
    "the name of the model": lambda k: (200, orjson.dumps({"model": k, "choices": [{"message": {"content": "4"}}]})),
    "a token": lambda k: (200, orjson.dumps({"choices": [{"message": {"content": "4"}, "logprobs": {"content": [
        {"token": k, "logprob": -0.1, "top_logprobs": [{"token": k, "logprob": -0.1}]}]}}]})),
    "no HTTP": lambda k: (0, f"Authorization: Bearer {k}\r\n\r\n".encode()),
    "a chunk size": lambda k: (0, f"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{k}\r\n".encode()),
    "a content length": lambda k: (0, f"HTTP/1.1 200 OK\r\ncontent-length: {k}\r\n\r\n".encode()),
    "an encoding": lambda k: (0, f"HTTP/1.1 200 OK\r\ncontent-encoding: {k}\r\n\r\n".encode()),
}  # fmt: skip


@pytest.mark.parametrize("way", ["plain", "unicode escapes", "URL throughout", "base64", "first half", "hexadecimal"])
@pytest.mark.parametrize("where", ANSWERS)
@pytest.mark.parametrize("lean", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_server_that_repeats_the_key_has_it_written_nowhere(
    where: str,
    way: str,
    lean: bool,
    raw_server: Callable[[bytes], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("RULESEL_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    written = WAYS[way](KEY)
    status, body = ANSWERS[where](written)
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    name = f"{raw_server(head + body if status else body)}/v1#m"
    ledger = Ledger(tmp_path / "r.sqlite")
    chat = open_chat(name, ledger=ledger.stage("s"), limits=Limits(attempts=2, backoff=0.001, seconds=5.0), lean=lean)
    said = [caplog]
    try:
        said = list(chat.complete([ChatRequest((("user", "x"),), max_tokens=1, top_logprobs=20)]))
    except ModelError as error:
        said = [error]
    chat.close()
    said += [repr(chat), ledger.finished().to_pylist(), caplog.text]
    if lean:
        said.append(diagnose(name))
    ledger.close()
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir()).decode("utf-8", "replace")
    for text in (*map(str, said), files):
        assert written not in text
        assert KEY not in text
        assert KEY[:10] not in text


def test_an_answer_that_holds_no_key_stays_as_it_is(serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RULESEL_API_KEY", "token-abc123")
    body = orjson.dumps({"choices": [{"message": {"content": "A token of thanks, 123 abc."}}]})
    server = serve(canned=True)
    chat = open_chat(server.name, lean=True)
    (found,) = chat.complete([ChatRequest((("user", "x"),), max_tokens=1, top_logprobs=20)])
    chat.close()
    assert isinstance(found, Completion)
    assert found.text == "4"
    assert (
        hide(orjson.loads(body)["choices"][0]["message"]["content"], "token-abc123", least=8)
        == "A token of thanks, 123 abc."
    )
