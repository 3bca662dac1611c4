"""The contract of chat models, and of the ledger that lets nothing be paid twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import orjson

from rulesel.digest import digest


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request, whole: it is its own cache key.

    Attributes:
        messages: (role, content) pairs.
        max_tokens: most tokens of the answer.
        temperature: 0 is greedy.
        top_logprobs: how many alternatives of each token to return; 0 asks for none.
        json_schema: schema the answer must satisfy, or None for text.
        salt: tells deliberate repeats of the same question apart.
        start: what the answer starts with; the model continues it, in this process or on a server that can.
    """

    messages: tuple[tuple[str, str], ...]
    max_tokens: int = 256
    temperature: float = 0.0
    top_logprobs: int = 0
    json_schema: dict[str, Any] | None = None
    salt: int = 0
    start: str = ""

    def id(self, model: str) -> str:
        """Content address of this request to that model."""
        fields = [self.max_tokens, self.temperature, self.top_logprobs, self.json_schema, self.salt]
        start = [self.start] if self.start else []
        return digest(["chat/1", model, self.messages, fields, *start])


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer.

    Attributes:
        text: what the model wrote.
        finish: "stop", "length", "content_filter" …, as the server says.
        logprobs: for each answer token the alternatives as (token text, natural-log probability); empty if none came.
        prompt_tokens, cached_tokens, completion_tokens: as the server counts them; 0 if it does not say.
        cost: dollars, None if the price is unknown; 0.0 when the reply came from the cache.
        refusal: the server's own refusal field, if any.
    """

    text: str
    finish: str = "stop"
    logprobs: tuple[tuple[tuple[str, float], ...], ...] = ()
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    refusal: str | None = None


def encode(completion: Completion) -> bytes:
    """A completion as the bytes a ledger keeps."""
    return orjson.dumps(completion)


def decode(reply: bytes) -> Completion:
    """The completion of a kept reply; it costs nothing."""
    fields = orjson.loads(reply)
    fields["logprobs"] = tuple(
        tuple((token, value) for token, value in top if value is not None) for top in fields["logprobs"]
    )
    return Completion(**{**fields, "cost": 0.0})


@dataclass(frozen=True, slots=True)
class Failure:
    """One request that came to nothing after its retries: data, counted and reported, never raised.

    Attributes:
        kind: "timeout", "http", "refused", "empty" …: a name of `records.Status` where there is one.
        reason: one line, keys redacted.
        maybe_paid: the server may have done the work (a time-out, half a body): what was reserved counts as spent.
    """

    kind: str
    reason: str
    maybe_paid: bool = False


class ChatModel(Protocol):
    """A model that answers chats; concurrency, retries and limits are its own business."""

    @property
    def id(self) -> str:
        """Identity of the model: what makes its answers its own. Holds no key."""
        ...

    def complete(self, requests: Iterable[ChatRequest]) -> Iterator[Completion | Failure]:
        """Yield one result a request, in order; requests are drawn lazily, a bounded window ahead."""
        ...

    def close(self) -> None:
        """Let go of connections; harmless when called twice."""
        ...


class Outcome(NamedTuple):
    """What one attempt came to, in plain values.

    Attributes:
        status: "ok" or the failure's kind.
        reason: one line for a failure, keys redacted.
        reply: the encoded completion to keep, None for a failure.
        prompt_tokens, cached_tokens, completion_tokens: as the server counted them; 0 if it did not say.
        cost: dollars to book; None if the price is unknown.
        attempts: number of this attempt at the request, from 1.
        seconds: how long it took.
    """

    status: str
    reason: str
    reply: bytes | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    cost: float | None
    attempts: int
    seconds: float


class Ledger(Protocol):
    """What was asked and what it cost; implemented by the store, used around every paid call.

    Every attempt that is sent is one reservation and one settlement. Nothing is sent before `commit` has made its
    reservation durable, and nothing is handed out before `commit` has made its settlement durable.
    """

    def lookup(self, key: str) -> bytes | None:
        """The stored reply to that request, which then costs nothing."""
        ...

    def reserve(self, key: str, model: str, cost: float | None) -> None:
        """Book one request and its worst case before sending; raises BudgetReached.

        A crash leaves it booked as spent. A cost of None says that the price is unknown.
        """
        ...

    def settle(self, key: str, outcome: Outcome) -> None:
        """Replace the reservation by what it came to, and keep a reply."""
        ...

    def commit(self) -> None:
        """Make everything booked so far survive a kill."""
        ...

    def delivered(self, key: str) -> None:
        """The reply was handed to whoever asked; it may be forgotten once they have kept what they made of it."""
        ...


@dataclass(frozen=True, slots=True)
class Lent:
    """What the pipeline lends a rater or judge for one job.

    Attributes:
        secret: the store's secret, from which a document's nonce is derived.
        chat: opens the named chat model, joined with the run's ledger, limits and budget.
    """

    secret: bytes
    chat: Callable[[str], ChatModel]
