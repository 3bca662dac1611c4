"""What a server's answer means: a completion, a fault worth another try, the end of a request, or of the run."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping
from typing import Any

import orjson

from rulesel.errors import ModelError
from rulesel.llm.base import Failure
from rulesel.llm.redact import one_line

_QUOTA = re.compile(
    r"insufficient[_ ]quota|exceeded your current quota|credit balance is too low|insufficient (?:credit|balance|funds)"
    r"|billing[_ ](?:hard[_ ])?limit|billing_not_active|payment required",
    re.IGNORECASE,
)
_FILTERED = re.compile(
    r"content[_ ]filter|content[_ ]policy|ResponsibleAIPolicyViolation|moderation|was flagged", re.IGNORECASE
)
_RETRIED = frozenset({408, 409, 425, 429})


class Retryable(Exception):
    """A fault that may pass.

    Attributes:
        failure: what the request ends as if it does not pass.
        retry_after: seconds the server asked for, None if it named none.
        throttled: the server refused for load.
        unreachable: nothing listens at the address.
    """

    def __init__(
        self,
        failure: Failure,
        *,
        retry_after: float | None = None,
        throttled: bool = False,
        unreachable: bool = False,
    ) -> None:
        super().__init__(failure.reason)
        self.failure = failure
        self.retry_after = retry_after
        self.throttled = throttled
        self.unreachable = unreachable

    @property
    def at_once(self) -> bool:
        """Worth another try without a wait: in another form, or because the answer was not the model's."""
        return self.retry_after == 0.0 and not self.throttled


class Final(Exception):
    """The end of one request: another try would end the same."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class Misunderstood(Exception):
    """The server did not take the form of the request (HTTP 400 or 422); another form may do."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def garbled(what: str, body: bytes) -> Retryable:
    """An answer with status 200 that is none; whether it was billed is not known."""
    start = one_line(body[:200].decode("utf-8", "replace"), limit=120)
    return Retryable(Failure("http", f"{what}: {start!r}", maybe_paid=True))


def refusal(status: int, headers: Mapping[str, str], body: bytes, *, model: str) -> Exception:
    """The exception a status of 300 and above stands for.

    Args:
        status: HTTP status.
        headers: of the answer, names in lower case.
        body: of the answer.
        model: the model that was asked, for the message.
    """
    message, code = _said(body)
    line = one_line(message) or "no message"
    text = f"{code} {message}"
    if status in {401, 403, 402} and not (status == 403 and _FILTERED.search(text)):
        return ModelError(f"{model}: the server refuses access ({status}): {line}")
    if 400 <= status < 500 and _QUOTA.search(text):
        return ModelError(f"{model}: the quota is used up ({status}): {line}")
    if status == 404 or status == 405 or 300 <= status < 400 or status == 407:
        return ModelError(f"{model}: no such model or address ({status}): {line}")
    if status < 500 and status not in _RETRIED:
        if _FILTERED.search(text):
            return Final(Failure("refused", f"content filter ({status}): {line}"))
        return Misunderstood(status, line)
    if status == 501:
        return Final(Failure("http", f"{status}: {line}"))
    return Retryable(
        Failure("http", f"{status}: {line}"),
        retry_after=retry_after(headers),
        throttled=status in {429, 503, 529},
    )


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds a server asks to wait: `retry-after-ms`, or `retry-after` in seconds or as a date; None if neither."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000.0
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or value is None:
        return seconds
    try:
        at = email.utils.parsedate_to_datetime(value).timestamp()
    except ValueError:
        return None
    return max(0.0, at - (time.time() if now is None else now))


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else None
    except ValueError:
        return None
    return number if number is not None and 0.0 <= number < float("inf") else None


def _said(body: bytes) -> tuple[str, str]:
    """Message and code of an error body, in any of the shapes servers use; the raw text if in none."""
    try:
        parsed: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return re.sub(r"<[^>]*>", " ", body[:2000].decode("utf-8", "replace")), ""
    inner = parsed.get("error", parsed) if isinstance(parsed, dict) else parsed
    if not isinstance(inner, dict):
        return str(inner)[:2000], ""
    message = inner.get("message") or inner.get("detail") or inner.get("error") or inner
    return str(message)[:2000], f"{inner.get('code', '')} {inner.get('type', '')}"
