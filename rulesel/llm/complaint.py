"""What a server says when it refuses: its words, its codes, and the field of the request that it names."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from rulesel.llm.redact import one_line

MOST_CHARS = 4000
_DEPTH, _ITEMS = 8, 20
_WORDS = (
    *("message", "msg", "error", "errors", "detail", "details", "title", "reason", "description", "error_message"),
    *(
        "error_description",
        "metadata",
        "raw",
        "cause",
        "innererror",
        "inner_error",
        "exception",
        "violations",
        "body",
        "choices",
    ),
)
_CODES = ("code", "type", "status", "error_code", "error_type", "quotaId", "@type", "object")
_FIELDS = ("param", "parameter", "field")
_REQUEST = {
    *("model", "messages", "temperature", "logprobs", "top_logprobs", "max_tokens", "max_completion_tokens"),
    *("response_format", "role"),
}
_RUN = 4
"""So many words in a row that were sent are an echo."""


@dataclass(frozen=True, slots=True)
class Said:
    """An error as a server puts it.

    Attributes:
        line: its words, for a person: one line, without keys.
        text: its words and codes, without what is an echo of the request: what decides.
        about: fields of the request that it names in a place made for that.
        status: status that the body gives, None if none.
        found: whether the body holds an error at all.
    """

    line: str
    text: str
    about: frozenset[str] = frozenset()
    status: int | None = None
    found: bool = True


@dataclass
class _Heard:
    words: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    about: set[str] = field(default_factory=set)
    status: int | None = None


def parsed(body: bytes) -> Any:  # noqa: ANN401 - JSON
    """The JSON of a body, also where it has NaN, a lone surrogate or bytes that are no UTF-8 in it.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            return json.loads(body.decode("utf-8-sig", "replace"))
        except RecursionError as error:
            raise ValueError("nested too deeply") from error


def heard(body: bytes, sent: Sequence[str] = (), secrets: Sequence[str] = ()) -> Said:
    """Read the body of a refusal, in any of the shapes servers use; the raw text if in none.

    Args:
        body: what came.
        sent: texts of the request, which a server may repeat.
        secrets: what must not be shown.
    """
    found = _Heard()
    try:
        answer = parsed(body)
    except ValueError:
        found.words.append(_bare(body[: 4 * MOST_CHARS].decode("utf-8", "replace")))
        answer = None
    else:
        _hear(answer, found, 0)
    is_error = answer is not None and bool(found.words)
    if not found.words and answer not in (None, {}, []):
        found.words.append(str(answer)[:MOST_CHARS])
    words = [word[:MOST_CHARS] for word in dict.fromkeys(found.words) if word.strip()]
    words = [w for i, w in enumerate(words) if not any(w in other for j, other in enumerate(words) if i != j)]
    text = "\n".join([*words, *found.codes])[: 2 * MOST_CHARS]
    line = one_line("; ".join(words), *secrets) or "no message"
    return Said(line, without_echo(text, sent), frozenset(found.about), found.status, is_error)


def without_echo(text: str, sent: Sequence[str]) -> str:
    """The text without what it repeats of the texts that were sent."""
    text = re.sub(r"input_value=.*?(?=, input_type|\]|$)", " ", text)
    for whole in sent:
        if len(whole.strip()) >= 8:
            text = text.replace(whole.strip(), " ")
    told = list(re.finditer(r"\w+", re.sub(r"\\[nrt]", "  ", text)))
    if len(told) < _RUN or not sent:
        return text
    runs = {tuple(words[i : i + _RUN]) for words in map(_words, sent) for i in range(len(words) - _RUN + 1)}
    echo = bytearray(len(text))
    for i in range(len(told) - _RUN + 1):
        part = told[i : i + _RUN]
        if tuple(word[0].lower() for word in part) in runs:
            echo[part[0].start() : part[-1].end()] = b"\1" * (part[-1].end() - part[0].start())
    return "".join(" " if hidden else character for character, hidden in zip(text, echo, strict=True))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _hear(node: Any, found: _Heard, depth: int) -> None:  # noqa: ANN401 - JSON
    if depth > _DEPTH or node is None or isinstance(node, bool):
        return
    if isinstance(node, str):
        _hear_text(node, found, depth)
    elif isinstance(node, list):
        for item in node[:_ITEMS]:
            _hear(item, found, depth + 1)
    elif isinstance(node, dict):
        _hear_object(node, found, depth)


def _hear_text(text: str, found: _Heard, depth: int) -> None:
    if text.lstrip()[:1] in {"{", "["}:
        try:
            inner = parsed(text.encode("utf-8", "replace"))
        except ValueError:
            inner = None
        if isinstance(inner, dict | list):
            before = len(found.words)
            _hear(inner, found, depth + 1)
            if len(found.words) > before:
                return
    found.words.append(_bare(text[: 4 * MOST_CHARS]))


def _hear_object(node: dict[str, Any], found: _Heard, depth: int) -> None:
    place = node.get("loc")
    if isinstance(place, list) and isinstance(node.get("msg"), str):  # as pydantic puts it
        names = [str(step) for step in place[:_ITEMS]]
        found.about |= _REQUEST & {re.split(r"[.\[]", name)[0] for name in names}
        found.words.append(f"{'.'.join(names)}: {node['msg']}")
        found.codes += [node["type"]] if isinstance(node.get("type"), str) else []
        return
    for name in _FIELDS:
        if isinstance(node.get(name), str):
            found.about |= _REQUEST & set(re.split(r"[.\[\]]+", node[name]))
    for name in _CODES:
        value = node.get(name)
        if isinstance(value, str) and not value.isdigit():
            found.codes.append(value[:200])
        elif name in {"code", "status", "error_code"} and not isinstance(value, bool):
            found.status = _status(value) or found.status
    for name in _WORDS:
        _hear(node.get(name), found, depth + 1)


def _status(value: object) -> int | None:
    if isinstance(value, str) and len(value) == 3 and value.isdecimal():
        value = int(value)
    return value if isinstance(value, int) and 400 <= value < 600 else None


def _bare(text: str) -> str:
    """Text without the tags of a page."""
    if "<" not in text:
        return text
    text = re.sub(r"(?is)<(script|style)\b.*?(?:</\1\s*>|$)", " ", text)
    return html.unescape(re.sub(r"<[^<>]*>", " ", text))
