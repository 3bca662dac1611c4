"""Keeps keys out of everything that is written down: messages, logs, replies, the store."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rulesel.llm.hiding import HIDDEN, SHORT, hide
from rulesel.visible import visible

_SHAPES = re.compile(
    r"""
    \b(?:sk|pk|rk|gsk|xai|hf|AIza|ghp|nvapi|r8|pplx)[-_][A-Za-z0-9_\-*.]{6,}   # keys by their prefix, starred ones too
    | (?<=Bearer\s)[^\s'",;]+
    | (?<=Basic\s)[A-Za-z0-9+/=]{8,}
    | (?<=://)[^/\s@'"]+(?=@)                                                   # user:password in an address
    | (?<=[?&]key=)[^&\s'"]+
    """,
    re.VERBOSE,
)
_NAMED = re.compile(
    r"""(?i)((?:api[-_ ]?key|authorization|access[-_]?token|secret)["']?\s*(?:[:=]|\bis\b|\bprovided:)\s*["']?)"""
    r"""(?!Bearer\s|Basic\s)([^\s"',;}&]{6,})"""
)
_PIECE = 8
"""Characters of a key of the environment that count as a piece of it."""
_SECRET_NAME = re.compile(r"(_KEY|_TOKEN|_SECRET|_PASSWORD)$")


def redact(text: str, *secrets: str) -> str:
    """The text without anything that is or looks like a key.

    Args:
        text: any message.
        secrets: further values to hide, such as the key a client was given; pieces of them too.
    """
    text = hide(text, *secrets)
    for name, secret in _from_environment():
        text = hide(text, secret, least=_PIECE if name.endswith("_API_KEY") else len(secret))
    return _NAMED.sub(rf"\g<1>{HIDDEN}", _SHAPES.sub(HIDDEN, text))


def one_line(text: str, *secrets: str, limit: int = 300) -> str:
    """Redacted, on one line, at most `limit` characters."""
    short = " ".join(redact(text[: 20 * limit], *secrets).split())
    return short if len(short) <= limit else short[: limit - 1] + "…"


_LOGGERS = frozenset(
    [
        "rulesel",
        "openai",
        "LiteLLM",
        "litellm",
        "httpx",
        "httpx2",
        "httpcore",
        "httpcore2",
        "urllib3",
        "aiohttp",
        "asyncio",
        "tenacity",
        "vllm",
    ]
)


def guard_logging() -> None:
    """From here on, log records of ours and of the packages that speak to models hold no key and no control characters.

    Records are changed as they are made, so it does not matter which handlers there are or will be. Other packages'
    records stay as they are. Harmless when called twice.
    """
    make = logging.getLogRecordFactory()
    if isinstance(make, _Hiding):
        return
    logging.setLogRecordFactory(_Hiding(make))


class _Hiding:
    """A factory of log records without keys: in message, arguments, traceback and stack."""

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self._make = make

    def __call__(self, name: str, *args: Any, **named: Any) -> logging.LogRecord:  # noqa: ANN401 - logging's own
        record = self._make(name, *args, **named)
        if name.partition(".")[0] not in _LOGGERS:
            return record
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = f"{record.msg} {record.args}"
        record.msg, record.args = visible(redact(message)), None
        if record.exc_info:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
        record.stack_info = redact(record.stack_info) if record.stack_info else None
        return record


@contextmanager
def keys_kept_back() -> Iterator[None]:
    """Take providers' keys out of the environment while processes are started that have no use for them.

    Tokens stay: a model may have to be fetched with one.
    """
    kept = {name: value for name, value in os.environ.items() if name.endswith("_API_KEY")}
    for name in kept:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(kept)


def _from_environment() -> list[tuple[str, str]]:
    named = [(name, value) for name, value in os.environ.items() if _SECRET_NAME.search(name) and len(value) >= SHORT]
    return sorted(named, key=lambda pair: -len(pair[1]))
