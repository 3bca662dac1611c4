"""Any server that speaks OpenAI's chat completions."""

from __future__ import annotations

import logging
import re
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from rulesel.llm.base import ChatRequest, Completion, Failure
from rulesel.llm.faults import Final, Misunderstood, Retryable, refusal
from rulesel.llm.http import Reply
from rulesel.llm.redact import HIDDEN, one_line
from rulesel.llm.wire import Dialect, payload, read, told

log = logging.getLogger(__name__)


class Transport(Protocol):
    """Carries JSON to a server and brings back whatever it says; raises Retryable where nothing comes."""

    async def chat(self, payload: dict[str, Any]) -> Reply:
        """Ask for a chat completion."""
        ...

    async def models(self) -> Reply:
        """Ask for the list of models."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Endpoint:
    """A model behind an address."""

    def __init__(self, model: str, transport: Transport, key: str | None = None) -> None:
        """Keep the parameters; nothing is sent.

        Args:
            model: name the server knows it by.
            transport: `http.Http` or `sdk.Sdk`.
            key: what the transport authenticates with, hidden wherever the server repeats it.
        """
        self._key = key.encode() if key and len(key) >= 6 else None
        self._model = model
        self._transport = transport
        self._dialect = Dialect()
        self._names = ServedNames(model)

    async def send(self, request: ChatRequest) -> Completion:
        """Ask once; raises as `Backend.send` says."""
        dialect = self._dialect
        reply = await self._transport.chat(payload(request, self._model, dialect))
        body = reply.body.replace(self._key, HIDDEN.encode()) if self._key else reply.body
        if reply.status != 200:
            error = refusal(reply.status, reply.headers, body, model=self._model)
            if isinstance(error, Misunderstood):
                error = self._concede(dialect, request, error)
            raise error
        completion, served = read(body)
        if served and not self._names.accept(served):
            line = f"answered by {one_line(served)!r} in place of {self._model!r}"
            raise Retryable(Failure("http", line, maybe_paid=True), retry_after=0.0)
        return completion

    async def close(self) -> None:
        """Let go of connections."""
        await self._transport.close()

    def _concede(self, used: Dialect, request: ChatRequest, error: Misunderstood) -> Exception:
        simpler = used.concede(request, error.message)
        if simpler is None:
            return Final(Failure("http", f"{error.status}: {error.message}"))
        if self._dialect == used:
            self._dialect = simpler
            log.warning("%s: %s; from now on %s", self._model, error.message, told(used, simpler))
        return Retryable(Failure("http", f"{error.status}: {error.message}"), retry_after=0.0)

    async def context(self) -> int | None:
        """Most tokens of a request, where the server's list of models says so (vLLM does)."""
        try:
            reply = await self._transport.models()
            models = _Models.model_validate_json(reply.body).data
        except (Retryable, ValidationError):
            return None
        return next((model.max_model_len for model in models if model.id == self._model), None)


class _Model(BaseModel):
    id: str
    max_model_len: int | None = None


class _Models(BaseModel):
    data: list[_Model]


_VARIANT = re.compile(r"[:@].*|[-.]\d[\d.-]*|-latest|-preview")
"""What a server may add to a model's name: a tag, a date, a version."""


class ServedNames:
    """Tells whether an answer comes from the model that was asked.

    The asked name with a tag, date or version is the same model ("gpt-4o-2024-08-06", "llama3:latest"); folders do not
    count. Another name is an alias only if the server gives the same one three times in a row and never the asked one.
    """

    TIMES = 3

    def __init__(self, asked: str) -> None:
        self._asked = _base(asked)
        self._alias = ""
        self._seen = 0
        self._fits = False

    def accept(self, served: str) -> bool:
        """Whether an answer under this name is one of the model's."""
        name = _base(served)
        if _same(name, self._asked) or _same(self._asked, name):
            self._fits = True
            return True
        if self._fits:
            return False
        self._seen = self._seen + 1 if name == self._alias else 1
        self._alias = name
        return self._seen >= self.TIMES


def _base(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].lower()


def _same(longer: str, shorter: str) -> bool:
    rest = longer[len(shorter) :]
    return bool(shorter) and longer.startswith(shorter) and (not rest or _VARIANT.fullmatch(rest) is not None)
