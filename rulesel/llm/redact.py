"""Keeps keys out of everything that is written down: messages, logs, replies, the store."""

from __future__ import annotations

import logging
import os
import re

HIDDEN = "[hidden]"

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
_SECRET_NAME = re.compile(r"(_KEY|_TOKEN|_SECRET|_PASSWORD)$")


def redact(text: str, *secrets: str) -> str:
    """The text without anything that is or looks like a key.

    Args:
        text: any message.
        secrets: further values to hide, such as the key a client was given.
    """
    for secret in sorted({*secrets, *_from_environment()}, key=len, reverse=True):
        if len(secret) >= 6:
            text = text.replace(secret, HIDDEN)
    return _NAMED.sub(rf"\g<1>{HIDDEN}", _SHAPES.sub(HIDDEN, text))


def one_line(text: str, *secrets: str, limit: int = 300) -> str:
    """Redacted, on one line, at most `limit` characters."""
    short = " ".join(redact(text[: 20 * limit], *secrets).split())
    return short if len(short) <= limit else short[: limit - 1] + "…"


class KeyFilter(logging.Filter):
    """Hides keys in a log record: its message, its arguments and its traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record; never drops it."""
        record.msg, record.args = redact(record.getMessage()), None
        if record.exc_info:
            record.exc_text = redact(record.exc_text or logging.Formatter().formatException(record.exc_info))
        return True


def guard_logging() -> None:
    """Put a `KeyFilter` on every handler of the root logger and of the HTTP and model packages' loggers."""
    for name in ("", "rulesel", "openai", "LiteLLM", "litellm", "httpx", "httpx2", "httpcore", "httpcore2", "urllib3"):
        for handler in logging.getLogger(name).handlers:
            if not any(isinstance(f, KeyFilter) for f in handler.filters):
                handler.addFilter(KeyFilter())


def _from_environment() -> list[str]:
    return [value for name, value in os.environ.items() if _SECRET_NAME.search(name)]
