"""An answer in the chat-completions format, read as far as it can be read: only a missing choice makes it none."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from rulesel.llm.base import Completion

MOST_ALTERNATIVES = 21
"""Alternatives of a token that are kept: the twenty that can be asked for, and the token itself."""
IMPOSSIBLE = -9999.0
"""Log-probability of what cannot come, as servers write it; minus infinity is no JSON."""

_FILTERED = frozenset(
    {
        "content_filter",
        "content_filtered",
        "safety",
        "refusal",
        "prohibited_content",
        "blocklist",
        "blocked",
        "recitation",
    }
)
_TEXT_PARTS = (None, "text", "output_text")


def completion(answer: object, hide: Callable[[str], str] = str) -> Completion | None:
    """The first choice of an answer, None if there is none; its cost is not known here.

    What else is missing, null or malformed is left out: an unreadable log-probability or token count never costs the
    answer.

    Args:
        answer: the JSON.
        hide: takes secrets out of a text.
    """
    choices = answer.get("choices") if isinstance(answer, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(answer, dict) or not isinstance(choice, dict):
        return None
    message, finish = choice.get("message"), _finish(choice.get("finish_reason"))
    if not isinstance(message, dict):
        if finish != "content_filter":
            return None
        message = {}
    text, refusal = _content(message.get("content"))
    if not text and (choice.get("error") or finish == "error"):
        return None
    said = message.get("refusal") or refusal
    prompt, cached, completed = _usage(answer.get("usage"))
    return Completion(
        text=hide(text),
        finish=finish,
        logprobs=tuple(_alternatives(token, hide) for token in _tokens(choice.get("logprobs"))),
        prompt_tokens=prompt,
        cached_tokens=cached,
        completion_tokens=completed,
        refusal=hide(_sound(str(said))) if said else None,
    )


def served_name(answer: object) -> str | None:
    """The model's name as the server gives it."""
    name = answer.get("model") if isinstance(answer, dict) else None
    return _sound(name) if isinstance(name, str) else None


def _finish(value: object) -> str:
    if not isinstance(value, str) or not value:
        return "stop"
    name = value.lower()
    return "content_filter" if name in _FILTERED else "length" if name in {"max_tokens", "max_length"} else name


def _content(value: object) -> tuple[str, str]:
    """Text and refusal of a message's content: a text, or parts of which thoughts are left out."""
    if isinstance(value, str):
        return _sound(value), ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value), ""
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        return "", ""
    texts, refusals = [], []
    for part in value:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and part.get("type") in _TEXT_PARTS:
            inner = part.get("text")
            inner = inner.get("value") if isinstance(inner, dict) else inner
            texts.append(inner if isinstance(inner, str) else "")
        elif isinstance(part, dict) and part.get("type") == "refusal":
            refusals.append(str(part.get("refusal") or "refused"))
    return _sound("".join(texts)), " ".join(refusals)


def _sound(text: str) -> str:
    """Text that can be written as UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _tokens(value: object) -> list[Any]:
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, list) else []


def _alternatives(token: object, hide: Callable[[str], str]) -> tuple[tuple[str, float], ...]:
    """A token's alternatives, the sampled one first; that one alone where the others are not to be trusted."""
    name = token.get("token") if isinstance(token, dict) else None
    if not isinstance(token, dict) or not isinstance(name, str):
        return ()
    given = token.get("top_logprobs")
    pairs: list[tuple[str, float]] = []
    own: float | None = None
    for entry in given if isinstance(given, list) else ():
        text, value = (entry.get("token"), _logprob(entry.get("logprob"))) if isinstance(entry, dict) else (None, None)
        if value is None or not isinstance(text, str):
            continue
        if text == name and own is None:
            own = value
        else:
            pairs.append((text, value))
    if own is None:  # not among its alternatives
        own = _logprob(token.get("logprob"))
    if own is None or math.isnan(own) or any(math.isnan(value) for _, value in pairs):
        return ((hide(_sound(name)), IMPOSSIBLE),)
    pairs.sort(key=lambda pair: -pair[1])
    return tuple((hide(_sound(text)), value) for text, value in ((name, own), *pairs[: MOST_ALTERNATIVES - 1]))


def _logprob(value: object) -> float | None:
    """A log-probability; None if there is none, NaN if it is malformed."""
    if type(value) is float and IMPOSSIBLE < value < 1e-3:
        return value
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    if isinstance(value, float) and math.isnan(value):
        return None
    return math.nan if value > 1e-3 else max(float(value), IMPOSSIBLE) if value > -1e300 else IMPOSSIBLE


def _usage(value: object) -> tuple[int, int, int]:
    """Tokens of the prompt, of these in the cache, and of the answer; 0 for what is not said or malformed."""
    if not isinstance(value, dict):
        return 0, 0, 0
    details = value.get("prompt_tokens_details")
    prompt, completed = _count(value.get("prompt_tokens")), _count(value.get("completion_tokens"))
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else 0
    return prompt, cached if cached <= prompt else 0, completed


def _count(value: object) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else 0
