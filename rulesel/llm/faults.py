"""What a server's answer means: a completion, a fault worth another try, the end of a request, or of the run."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping

from rulesel.errors import ModelError
from rulesel.llm.base import Failure
from rulesel.llm.complaint import Said

_QUOTA = re.compile(
    r"insufficient[_ ](?:user[_ ])?(?:quota|credits?|balance|funds)|(?:exceeded|exhausted|reached|used up|over) your "
    r"(?:\w+ ){0,3}(?:quota|credits?|budget|spend)|credit (?:balance|limit)|(?:no|out of|not enough|enough) (?:\w+ )?credits?\b"
    r"|quota[_ ](?:\w+ )?(?:is |has been |was )?(?:exceeded|exhausted|used up|depleted)|billing[_ ](?:hard[_ ])?limit"
    r"|billing_not_active|payment[_ ]required|exceeded_current_quota|budget (?:has been |was )?exceeded"
    r"|(?:account|balance) (?:is )?(?:overdue|exhausted|in arrears)|arrearage|(?:usage|spend(?:ing)?) limits?\b|regain access"
    r"|free (?:tier|quota|allocation)[^.\n]{0,60}(?:exhausted|used up|exceeded)|more credits|余额不足|欠费",
    re.IGNORECASE,
)
_LONG = re.compile(
    r"per[-_ ]?(?:day|week|month)(?!\w)|PerDay|PerMonth|\b(?:daily|weekly|monthly)\b|(?<![a-z])[rt]pd(?![a-z])|/ ?(?:day|month)\b"
    r"|\b(?:for|of) (?:the |this )?(?:day|today|month)\b|\btoday\b|\b24[- ]?h(?:ours?)?\b",
    re.IGNORECASE,
)
_PASSING = re.compile(
    r"per[-_ ]?(?:min|sec)|PerMinute|PerSecond|(?<![a-z])[rt]pm(?![a-z])|/ ?(?:min|sec|s\b)", re.IGNORECASE
)
_LIMIT = re.compile(r"limit|quota|exceed|exhaust|used up|too many|credits?|allowance|reached", re.IGNORECASE)
_FILTERED = re.compile(
    r"content[_ ]filter|content[_ ](?:management )?policy|ResponsibleAIPolicyViolation|moderation|(?:was|were|been) flagged"
    r"|safety (?:system|filter|setting|reason|polic)|prohibited[_ ]content",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"context[-_ ]?(?:length|window|size)|max(?:imum)? (?:prompt|input|sequence|context|model|token)s? ?(?:length|size)"
    r"|max_model_len|(?:prompt|inputs?|messages?|request) (?:is|are|was) too (?:long|large)|(?:prompt|input) too long"
    r"|string_above_max_length|reduce (?:the|your) (?:length|prompt|message|input)|request too large for model"
    r"|exceeds? the (?:model|maximum|max|limit|available)[^.\n]{0,60}tokens|token (?:count|limit)s? exceed",
    re.IGNORECASE,
)
_ACCESS = re.compile(
    r"(?:invalid|incorrect|missing|wrong|expired|no|bad|unknown|revoked|disabled)\W{1,3}(?:\w{1,20}\W{1,3}){0,2}"
    r"(?:api[-_ ]?key|(?:access|auth\w*|bearer|api)[-_ ]token|credentials)"
    r"|api[-_ ]?key\W[^.\n]{0,40}(?:not valid|invalid|expired|not found|missing|required)|authentication[_ ](?:failed|error|required)"
    r"|\bunauthori[sz]ed\b|invalid_api_key|permission[_ ]denied|access denied",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"model_not_found|(?:no such|unknown|invalid) model\b|not a valid model|no endpoints found for"
    r"|\bmodel\b[^;\n]{0,160}?(?:does not exist|doesn't exist|do not exist|not exist|not found|decommissioned|no longer)"
    r"|\bmodel(?: \S{1,80})? is not supported|(?:could not|cannot|can't|failed to) find (?:the )?model",
    re.IGNORECASE,
)
_LOAD = re.compile(
    r"rate[-_ ]?limit|too many requests|overloaded|throttl|slow down|at capacity|high demand|server (?:is )?busy"
    r"|temporarily (?:unavailable|rate)",
    re.IGNORECASE,
)
_RETRIED = frozenset({408, 409, 425, 429})
_FORM = re.compile(
    r"unsupported|not support|unrecogni[sz]ed|unexpected keyword|(?:unknown|invalid|extra) (?:parameter|argument|field)"
    r"|no endpoints",
    re.IGNORECASE,
)


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


def garbled(said: Said) -> Retryable:
    """An answer with status 200 that is none; whether it was billed is not known."""
    return Retryable(Failure("http", f"no chat completion: {said.line}", maybe_paid=True))


def about_the_form(status: int, said: Said) -> bool:
    """Whether a refusal may be about how the request is put, so that another form of it may do."""
    if _TOO_LONG.search(said.text) or status in {401, 402, *_RETRIED}:
        return False
    return status < 500 or bool(_FORM.search(said.text))


def refusal(status: int, headers: Mapping[str, str], said: Said, *, model: str) -> Exception:
    """The exception that a refusal stands for: by what the server says, and by the status where that says nothing.

    Args:
        status: HTTP status; 200 where an error comes in place of an answer.
        headers: of the answer, names in lower case.
        said: its body.
        model: the model that was asked, for the message.
    """
    status = said.status or status if status < 300 else status
    return _for_all(status, said, model) or _for_one(status, headers, said)


def _for_all(status: int, said: Said, model: str) -> ModelError | None:
    """The end of the run, if no request can succeed."""
    text, told = said.text, f"({status}): {said.line}"
    filtered = _FILTERED.search(text) is not None
    passes = _PASSING.search(text) is not None
    if _LONG.search(text) and _LIMIT.search(text) and not passes and not _TOO_LONG.search(text):
        return ModelError(
            f"{model}: a limit of a day or more is reached {told}; later the same command goes on from here"
        )
    if status == 402 or (_QUOTA.search(text) and not passes):
        return ModelError(f"{model}: the quota is used up {told}")
    if filtered or _TOO_LONG.search(text) or status in _RETRIED:
        return None
    if _ACCESS.search(text) or status == 401:
        return ModelError(f"{model}: the server refuses access {told}")
    if _NO_MODEL.search(text):
        return ModelError(f"{model}: no such model or address {told}")
    if status in {403, 404, 405} and _LOAD.search(text):
        return None
    if status == 403:
        return ModelError(f"{model}: the server refuses access {told}")
    if status in {404, 405, 407} or 300 <= status < 400:
        return ModelError(f"{model}: no such model or address {told}")
    return None


def _for_one(status: int, headers: Mapping[str, str], said: Said) -> Exception:
    """The end of one request, or of one try."""
    text, line = said.text, f"{status}: {said.line}"
    if _FILTERED.search(text):
        return Final(Failure("refused", f"content filter ({status}): {said.line}"))
    if _TOO_LONG.search(text):
        return Final(Failure("http", line))
    loaded = status in {429, 503, 529} or (status < 500 and status not in _RETRIED and bool(_LOAD.search(text)))
    if status == 501 or (400 <= status < 500 and status not in _RETRIED and not loaded):
        return Final(Failure("http", line))
    if status < 300 and not loaded and not said.found:
        return garbled(said)
    return Retryable(Failure("http", line), retry_after=retry_after(headers), throttled=loaded)


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
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return max(0.0, at - (time.time() if now is None else now))


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else None
    except ValueError:
        return None
    return number if number is not None and 0.0 <= number < float("inf") else None
