"""One attempt at one request: what every way to reach a model has to offer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rulesel.llm.base import ChatRequest, Completion


class Backend(Protocol):
    """Sends one request once; retries, limits, ledger and cache are the client's business."""

    async def send(self, request: ChatRequest) -> Completion:
        """Ask once.

        Raises:
            Retryable: the fault may pass.
            Final: another try would end the same.
            ModelError: no request to this model can succeed.
        """
        ...

    async def context(self) -> int | None:
        """Most tokens of a request, None if nobody says."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True, slots=True)
class Capability:
    """What one probe found out about a model.

    Attributes:
        top_logprobs: alternatives that came with a token; 0 if log-probabilities are not to be had.
        usage: whether the server counts tokens.
        context: most tokens of a request, None if unknown.
        seconds: how long the answer took.
        text: what was answered to a request for one digit.
    """

    top_logprobs: int
    usage: bool
    context: int | None
    seconds: float
    text: str
