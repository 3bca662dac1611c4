"""The chat-completions format: a request as JSON, an answer as a completion, and the dialect a server speaks."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ValidationError

from rulesel.llm.base import ChatRequest, Completion
from rulesel.llm.faults import garbled

TOP_LOGPROBS = 20
"""Most alternatives OpenAI and a vLLM server return for a token."""

Structured = Literal["json_schema", "json_object", "text"]
_LADDER: tuple[Structured, ...] = ("json_schema", "json_object", "text")


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a server takes; found out once, from its own complaints.

    Attributes:
        structured: how an answer is held to a schema; "text" leaves it to the prompt.
        top_logprobs: most alternatives a token that may be asked for; 0 if log-probabilities are not to be had.
        tokens: name of the field that bounds the answer.
        temperature: whether a temperature may be named.
    """

    structured: Structured = "json_schema"
    top_logprobs: int = TOP_LOGPROBS
    tokens: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    temperature: bool = True

    def concede(self, request: ChatRequest, complaint: str) -> Dialect | None:
        """The next simpler dialect a complaint calls for, None if it is about something else."""
        text = complaint.lower()
        if request.json_schema and re.search(r"response_format|json_schema|json_object|structured|guided|schema", text):
            step = _LADDER.index(self.structured) + 1
            return replace(self, structured=_LADDER[step]) if step < len(_LADDER) else None
        if request.top_logprobs and self.top_logprobs and re.search(r"logprob|log prob", text):
            bound = re.search(r"(?:at most|maximum|max|up to|equal to|<=|and|than)\D{0,20}(\d+)", text)
            none = re.search(r"not support|unsupported|unrecognized|unknown|not permitted", text)
            fewer = int(bound[1]) if bound else (0 if none or self.top_logprobs <= 5 else 5)
            return replace(self, top_logprobs=fewer if fewer < min(self.top_logprobs, request.top_logprobs) else 0)
        if "max_completion_tokens" in text and self.tokens == "max_tokens":
            return replace(self, tokens="max_completion_tokens")
        if "temperature" in text and self.temperature:
            return replace(self, temperature=False)
        return None


def told(before: Dialect, after: Dialect) -> str:
    """How requests are put from now on, in words."""
    if after.structured != before.structured:
        return "asking for JSON without a schema" if after.structured == "json_object" else "asking for JSON in words"
    if after.top_logprobs != before.top_logprobs:
        return f"asking for {after.top_logprobs or 'no'} log-probabilities"
    if after.tokens != before.tokens:
        return f"naming the longest answer {after.tokens}"
    return "leaving the temperature to the server"


def payload(request: ChatRequest, model: str, dialect: Dialect) -> dict[str, Any]:
    """The JSON body of a request, in the order that keeps a shared prefix of messages shared."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": role, "content": content} for role, content in request.messages],
        dialect.tokens: request.max_tokens,
    }
    if dialect.temperature:
        body["temperature"] = request.temperature
    if request.top_logprobs and dialect.top_logprobs:
        body["logprobs"] = True
        body["top_logprobs"] = min(request.top_logprobs, dialect.top_logprobs)
    if request.json_schema and dialect.structured == "json_schema":
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": request.json_schema},
        }
    elif request.json_schema and dialect.structured == "json_object":
        body["response_format"] = {"type": "json_object"}
    return body


def _count(value: object) -> object:
    return value if isinstance(value, int) and value >= 0 else 0


Count = Annotated[int, BeforeValidator(_count)]


class _Token(BaseModel):
    token: str
    logprob: float


class _Content(_Token):
    top_logprobs: list[_Token] | None = None


class _Logprobs(BaseModel):
    content: list[_Content] | None = None


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Details(BaseModel):
    cached_tokens: Count = 0


class _Usage(BaseModel):
    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    prompt_tokens_details: _Details | None = None


class Answer(BaseModel):
    """A chat completion as servers send it; what is not read is ignored."""

    choices: list[_Choice]
    model: str | None = None
    usage: _Usage | None = None


def read(body: bytes) -> tuple[Completion, str | None]:
    """Read an answer with status 200.

    Returns:
        The completion without its cost, and the model's name as the server gives it.

    Raises:
        Retryable: it is no chat completion (HTML, half a body, no choice).
    """
    try:
        answer = Answer.model_validate_json(body)
    except ValidationError as error:
        raise garbled("no chat completion", body) from error
    return completion(answer, body), answer.model


def completion(answer: Answer, body: bytes = b"") -> Completion:
    """The first choice of an answer.

    Raises:
        Retryable: it has none.
    """
    if not answer.choices:
        raise garbled("no choice", body)
    choice, usage = answer.choices[0], answer.usage or _Usage()
    tokens = (choice.logprobs.content if choice.logprobs else None) or []
    return Completion(
        text=choice.message.content or "",
        finish=choice.finish_reason or "stop",
        logprobs=tuple(
            tuple((alternative.token, alternative.logprob) for alternative in token.top_logprobs or [token])
            for token in tokens
        ),
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else 0,
        completion_tokens=usage.completion_tokens,
        refusal=choice.message.refusal,
    )
