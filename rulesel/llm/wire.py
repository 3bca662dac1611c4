"""The chat-completions format: a request as JSON, in the dialect that a server speaks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from rulesel.llm.base import ChatRequest
from rulesel.llm.complaint import Said

TOP_LOGPROBS = 20
"""Most alternatives OpenAI and a vLLM server return for a token."""

SERVERS_OWN = frozenset({"continue_final_message", "add_generation_prompt"})
"""Fields that vLLM takes beside OpenAI's."""

Structured = Literal["json_schema", "json_object", "text"]
_LADDER: tuple[Structured, ...] = ("json_schema", "json_object", "text")


_NAMES = {
    "structured": re.compile(
        r"response_format|json_schema|json_object|structured[ _]output|guided[ _]|json mode|\bschema\b"
    ),
    "logprobs": re.compile(r"logprob|log[- ]prob"),
    "tokens": re.compile(r"max_completion_tokens"),
    "temperature": re.compile(r"\btemperature\b"),
    "system": re.compile(
        r"\bsystem\b\W{0,3}(?:role|messages?|prompts?|instructions?)|\broles?\b[^.\n]{0,60}(?:\bsystem\b|alternate)"
        r"|\bonly user\b[^.\n]{0,20}assistant|developer instruction"
    ),
}
_COMPLAINT = re.compile(
    r"(?:not|n't|un)[- ]?(?:be )?(?:supported|support|allowed|permitted|accepted|accept|recogni[sz]ed|available|enabled|compatible)"
    r"|not? (?:implemented|valid|endpoints)|unknown|unexpected|unrecogni[sz]ed|invalid|extra|must|should|only|at most|max|less than"
    r"|greater|above|below|range|between|cannot|can't|deprecated|instead|disabled|unavailable|ignored|[<>≤≥]"
)
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n")


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a server takes; found out once, from its own complaints.

    Attributes:
        structured: how an answer is held to a schema; "text" leaves it to the prompt.
        top_logprobs: most alternatives a token that may be asked for; 0 if log-probabilities are not to be had.
        tokens: name of the field that bounds the answer.
        temperature: whether a temperature may be named.
        system: whether there is a system role; where not, its text goes to the front of the user's message.
    """

    structured: Structured = "json_schema"
    top_logprobs: int = TOP_LOGPROBS
    tokens: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    temperature: bool = True
    system: bool = True

    def concede(self, request: ChatRequest, said: Said) -> Dialect | None:
        """The next simpler dialect that a complaint calls for, None if it is about something else.

        Only the server's own words about a field count: the field it names in a place made for that, or a sentence that
        names it and says what is wrong with it.
        """
        for name in _about(said):
            simpler = self._without(name, request, said.text.lower())
            if simpler is not None:
                return simpler
        return None

    def _without(self, name: str, request: ChatRequest, text: str) -> Dialect | None:
        if name == "structured" and request.json_schema:
            step = _LADDER.index(self.structured) + 1
            return replace(self, structured=_LADDER[step]) if step < len(_LADDER) else None
        if name == "logprobs" and request.top_logprobs and self.top_logprobs:
            return replace(self, top_logprobs=self._fewer(text, request.top_logprobs))
        if name == "tokens" and self.tokens == "max_tokens" and "max_completion_tokens" in text:
            return replace(self, tokens="max_completion_tokens")
        if name == "temperature" and self.temperature:
            return replace(self, temperature=False)
        if name == "system" and self.system and any(role == "system" for role, _ in request.messages):
            return replace(self, system=False)
        return None

    def _fewer(self, text: str, asked: int) -> int:
        named = _NAMES["logprobs"].search(text)
        after = text[named.start() :] if named else text
        bound = re.search(r"(?:at most|maximum|max|up to|equal to|<=|≤|and|than)\D{0,20}(\d{1,4})", after)
        none = re.search(
            r"not support|n't support|unsupported|unrecogni|unknown|unexpected|not (?:permitted|allowed)|endpoints|extra",
            text,
        )
        fewer = int(bound[1]) if bound else (0 if none or self.top_logprobs <= 5 else 5)
        return fewer if fewer < min(self.top_logprobs, asked) else 0


_FIELDS = {
    "response_format": "structured", "logprobs": "logprobs", "top_logprobs": "logprobs", "max_tokens": "tokens",
    "max_completion_tokens": "tokens", "temperature": "temperature", "role": "system",
}  # fmt: skip


def _about(said: Said) -> list[str]:
    """The parts of a dialect that a complaint is about."""
    if said.about:
        named = [part for part in _NAMES if any(_FIELDS.get(name) == part for name in said.about)]
        if named or said.about != {"messages"}:
            return named
        return ["system"] if _NAMES["system"].search(said.text.lower()) else []
    sentences = [s for s in _SENTENCE.split(said.text.lower()) if _COMPLAINT.search(s)]
    return [part for part, names in _NAMES.items() if any(names.search(s) for s in sentences)]


def told(before: Dialect, after: Dialect) -> str:
    """How requests are put from now on, in words."""
    if after.structured != before.structured:
        return "asking for JSON without a schema" if after.structured == "json_object" else "asking for JSON in words"
    if after.top_logprobs != before.top_logprobs:
        return f"asking for {after.top_logprobs or 'no'} log-probabilities"
    if after.tokens != before.tokens:
        return f"naming the longest answer {after.tokens}"
    if after.system != before.system:
        return "putting the system text in front of the user message"
    return "leaving the temperature to the server"


def payload(request: ChatRequest, model: str, dialect: Dialect) -> dict[str, Any]:
    """The JSON body of a request, in the order that keeps a shared prefix of messages shared."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": role, "content": content} for role, content in _messages(request, dialect)],
        dialect.tokens: request.max_tokens,
    }
    if request.start:  # as vLLM names it; where a template trims it, the mass shows
        body["messages"].append({"role": "assistant", "content": request.start})
        body |= {"continue_final_message": True, "add_generation_prompt": False}
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


def _messages(request: ChatRequest, dialect: Dialect) -> Sequence[tuple[str, str]]:
    system = [content for role, content in request.messages if role == "system"]
    if dialect.system or not system:
        return request.messages
    others = [message for message in request.messages if message[0] != "system"]
    first = next((i for i, (role, _) in enumerate(others) if role == "user"), None)
    if first is None:
        return [("user", "\n\n".join(system)), *others]
    others[first] = ("user", "\n\n".join([*system, others[first][1]]))
    return others
