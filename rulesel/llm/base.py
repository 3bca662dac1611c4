"""The contract of chat models, and of the ledger that lets nothing be paid twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

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
    """

    messages: tuple[tuple[str, str], ...]
    max_tokens: int = 256
    temperature: float = 0.0
    top_logprobs: int = 0
    json_schema: dict[str, Any] | None = None
    salt: int = 0

    def id(self, model: str) -> str:
        """Content address of this request to that model."""
        fields = [self.max_tokens, self.temperature, self.top_logprobs, self.json_schema, self.salt]
        return digest(["chat/1", model, self.messages, fields])


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


@dataclass(frozen=True, slots=True)
class Failure:
    """One request that came to nothing after its retries: data, counted and reported, never raised.

    Attributes:
        kind: "timeout", "http", "refused", "empty" …: a name of `records.Status` where there is one.
        reason: one line, keys redacted.
    """

    kind: str
    reason: str


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


class Ledger(Protocol):
    """What was asked and what it cost; implemented by the store, used around every paid call."""

    def lookup(self, key: str) -> Completion | None:
        """The stored reply to that request, which then costs nothing."""
        ...

    def reserve(self, key: str, model: str, cost: float | None) -> None:
        """Book the worst case before sending; raises BudgetReached. A crash leaves it booked as spent."""
        ...

    def settle(self, key: str, result: Completion | Failure, *, attempts: int, seconds: float) -> None:
        """Replace the reservation by what it came to, and keep a successful reply."""
        ...
