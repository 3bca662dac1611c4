"""Any server that speaks OpenAI's chat completions."""

from __future__ import annotations

import logging
import re
import sys
from dataclasses import replace
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from rulesel.errors import ModelError
from rulesel.llm.base import ChatRequest, Completion, Failure
from rulesel.llm.complaint import Said, heard, parsed
from rulesel.llm.faults import Retryable, about_the_form, refusal
from rulesel.llm.hiding import hide
from rulesel.llm.http import Reply
from rulesel.llm.redact import one_line
from rulesel.llm.reply import completion, served_name
from rulesel.llm.wire import Dialect, payload, told

log = logging.getLogger(__name__)

WHOLE_PIECES = 8
"""Characters of a key that count as a piece of it in an answer, which is data; in messages five do."""
MOST_MODELS = 1 << 22
"""Bytes of a list of models."""


def most_bytes(request: ChatRequest) -> int:
    """Bytes an answer to a request can take: a frame, and each token with all its alternatives."""
    return min((1 << 19) + request.max_tokens * (1 << 13), 1 << 24)


class Transport(Protocol):
    """Carries JSON to a server and brings back whatever it says; raises Retryable where nothing comes."""

    async def chat(self, payload: dict[str, Any], most: int) -> Reply:
        """Ask for a chat completion; an answer of more than `most` bytes is a fault."""
        ...

    async def models(self, most: int) -> Reply:
        """Ask for the list of models; as `chat`."""
        ...

    def extend(self, path: str) -> bool:
        """Add a path to an address that has none; returns whether that was done."""
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
        self._secrets = [key] if key else []
        self._shortest = min(len(key), WHOLE_PIECES) if key else sys.maxsize
        self._model = model
        self._transport = transport
        self._dialect = Dialect()
        self._names = ServedNames(model)
        self._answered = False

    async def send(self, request: ChatRequest) -> Completion:
        """Ask once; raises as `Backend.send` says."""
        dialect = self._dialect
        reply = await self._ask(payload(request, self._model, dialect), most_bytes(request))
        answer = _json(reply.body) if 200 <= reply.status < 300 else None
        found = completion(answer, self._hide)
        if found is None:
            said = heard(reply.body, [content for _, content in request.messages], self._secrets)
            raise self._meaning(reply, dialect, request, said)
        self._answered = True
        served = served_name(answer)
        if served and not self._names.accept(served):
            line = f"answered by {one_line(served, *self._secrets)!r} in place of {self._model!r}"
            raise Retryable(Failure("http", line, maybe_paid=True), retry_after=0.0)
        return found

    async def close(self) -> None:
        """Let go of connections."""
        await self._transport.close()

    async def _ask(self, body: dict[str, Any], most: int) -> Reply:
        """Send it; what went wrong is told without keys."""
        try:
            return await self._transport.chat(body, most)
        except Retryable as fault:
            fault.failure = replace(fault.failure, reason=one_line(fault.failure.reason, *self._secrets))
            raise
        except ModelError as error:
            raise ModelError(one_line(str(error), *self._secrets)) from None

    def _hide(self, text: str) -> str:
        return hide(text, *self._secrets, least=WHOLE_PIECES) if len(text) >= self._shortest else text

    def _meaning(self, reply: Reply, used: Dialect, request: ChatRequest, said: Said) -> Exception:
        if about_the_form(reply.status, said):
            simpler = used.concede(request, said)
            if simpler is not None:
                if self._dialect == used:
                    self._dialect = simpler
                    log.warning("%s: %s; from now on %s", self._model, said.line, told(used, simpler))
                return Retryable(Failure("http", f"{reply.status}: {said.line}"), retry_after=0.0)
        meaning = refusal(reply.status, reply.headers, said, model=self._model)
        lost = reply.status in {404, 405} and isinstance(meaning, ModelError) and not self._answered
        if lost and self._transport.extend("/v1"):
            log.warning("%s: %s; from now on asked at an address that ends in /v1", self._model, said.line)
            return Retryable(Failure("http", f"{reply.status}: {said.line}"), retry_after=0.0)
        return meaning

    async def context(self) -> int | None:
        """Most tokens of a request, where the server's list of models says so (vLLM does)."""
        try:
            reply = await self._transport.models(MOST_MODELS)
            models = _Models.model_validate_json(reply.body).data
        except (Retryable, ModelError, ValidationError):
            return None
        return next((model.max_model_len for model in models if model.id == self._model), None)


def _json(body: bytes) -> object:
    try:
        return parsed(body)
    except ValueError:
        return None


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
