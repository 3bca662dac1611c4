"""How a record becomes what is rated, and a conversation for a trainer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from rulesel.corpus.chat import (
    REASONING,
    TOOLS,
    Entry,
    entries_of,
    looks_like_turns,
    marked,
    number_text,
    reasoning_of,
    structured,
    turn_of,
    unpacked,
)
from rulesel.corpus.raw import Unusable
from rulesel.corpus.turns import Turn, last_reply, prompt_and_reply, reply

BESIDE: dict[str, tuple[str, ...]] = {
    "system": ("system", "system_prompt", "system_message"),
    "tools": TOOLS,
    "history": ("history",),
    "reasoning": REASONING,
}
"""What may stand beside prompt and response or a conversation, and the fields it is read from: the first that holds any."""

_BLANK_LINE = " + blank line + "
_WORDS = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
_TURNS = ("turns of ", " before the last assistant turn, with tool calls and reasoning")
_LAST = "last assistant turn of "


class Exchange(NamedTuple):
    """A record as a conversation.

    Attributes:
        entries: its turns as they stand in the record, to the last one of the assistant; what the record holds beside
            them as a conversation has turns (a system prompt, earlier rounds) among them.
        tools: what the assistant may call, as it stands in the record; None where there is nothing.
    """

    entries: list[Entry]
    tools: Any


@dataclass(frozen=True, slots=True)
class FieldMapping:
    """How a record becomes prompt and response.

    Attributes:
        shape: text, messages, alpaca, question/answer or prompt/response.
        response: field of the response, the text or the conversation.
        prompt: field of the prompt; None for plain text and for messages.
        extra: field joined to the prompt by a blank line where it is not empty.
        beside: part -> field, of what the first records hold beside these (see `BESIDE`), to be said; every record is
            looked at for all of them.
    """

    shape: str
    response: str
    prompt: str | None = None
    extra: str | None = None
    beside: tuple[tuple[str, str], ...] = ()

    def read(self, fields: dict[str, Any], record: bytes = b"") -> tuple[str | None, str]:
        """Prompt (None for plain text) and response of a record, as they are rated.

        Args:
            fields: the record's.
            record: the record as JSON, for numbers as they are written in it.

        Raises:
            Unusable: a field is missing, null, empty or not text.
        """
        if self.prompt is None and self.shape != "messages":
            value = self._value(fields, self.response, record)
            return None, value if isinstance(value, str) else _filled(reply(_turns(value)), self.response)
        asked = None if self.shape == "messages" else self._asked(fields, record)
        found = self._beside(fields)
        if isinstance(asked, str) and not found:
            answer = self._value(fields, self.response, record)
            if isinstance(answer, str):
                return asked, answer
        entries, tools = self._exchange(fields, asked, found, record)
        turns = _turns(entries)
        if tools is not None:
            turns = _with_tools(turns, structured(tools))
        last = last_reply(turns)
        if isinstance(asked, str) and turns[:last] == [("user", asked)]:
            return asked, turns[last][1]
        return prompt_and_reply(turns)

    def exchange(self, fields: dict[str, Any], record: bytes = b"") -> Exchange:
        """A record as a conversation; not for plain text.

        Raises:
            Unusable: as `read`.
        """
        asked = None if self.shape == "messages" else self._asked(fields, record)
        entries, tools = self._exchange(fields, asked, self._beside(fields), record)
        return Exchange(entries[: last_reply(_turns(entries)) + 1], tools)

    def words(self) -> dict[str, str]:
        """What prompt and response, or text, are made of, in words; `from_words` is the inverse."""
        if self.shape == "messages":
            made = {"prompt": self.response.join(_TURNS), "response": _LAST + self.response}
        elif self.prompt is None:
            return {"text": self.response}
        else:
            made = {"prompt": self.prompt + (_BLANK_LINE + self.extra if self.extra else ""), "response": self.response}
        return made | dict(self.beside)

    @classmethod
    def from_words(cls, shape: str, words: Mapping[str, str]) -> FieldMapping:
        """The mapping that these words are of."""
        if "text" in words:
            return cls(shape, words["text"])
        if shape == "messages":
            return cls(shape, words["response"].removeprefix(_LAST))
        prompt, _, extra = words["prompt"].partition(_BLANK_LINE)
        return cls(shape, words["response"], prompt, extra or None)

    def _asked(self, fields: dict[str, Any], record: bytes) -> str | list[Entry]:
        value = self._value(fields, self.prompt or "", record)
        if isinstance(value, str) and self.extra is not None and (more := fields.get(self.extra)):
            if type(more) is not str:
                raise Unusable(f"{self.extra!r} is {_WORDS.get(type(more), 'not text')}, not text")
            if not more.isspace():
                value = f"{value}\n\n{more}"
        return value

    def _beside(self, fields: dict[str, Any]) -> dict[str, Any]:
        """What stands beside prompt and response, as far as it holds anything."""
        found: dict[str, Any] = {}
        for part, names in BESIDE.items():
            for name in names:
                value = fields.get(name)
                if value and name not in (self.prompt, self.extra, self.response) and holds(part, value):
                    found[part] = value
                    break
        return found

    def _exchange(
        self, fields: dict[str, Any], asked: str | list[Entry] | None, found: dict[str, Any], record: bytes
    ) -> tuple[list[Entry], Any]:
        """All turns, and the tools."""
        if asked is None:
            entries = entries_of(_present(fields, self.response))
        else:
            answer = self._value(fields, self.response, record)
            replies = [_entry("assistant", answer)] if isinstance(answer, str) else answer
            entries = _joined([_entry("user", asked)] if isinstance(asked, str) else asked, replies)
            if "history" in found:
                entries = _after_system(entries, _history(found["history"]))
        if "system" in found:
            entries = _with_system(entries, found["system"])
        if "reasoning" in found:
            entries = _with_reasoning(entries, reasoning_of({"reasoning": found["reasoning"]}))
        return entries, found.get("tools")

    def _value(self, fields: dict[str, Any], name: str, record: bytes) -> str | list[Entry]:
        """A field's text, or its turns."""
        value = fields.get(name)
        if type(value) is str:
            return _filled(value, name)
        if looks_like_turns(_present(fields, name)):
            return entries_of(value)
        if isinstance(value, float) and value != value:
            raise Unusable(f"{name!r} is NaN")
        if (text := number_text(value)) is None:
            raise Unusable(f"{name!r} is {_WORDS.get(type(value), 'not text')}, not text")
        return text if isinstance(value, bool) else _as_written(record, name, text)


def _turns(entries: list[Entry]) -> list[Turn]:
    return [turn_of(entry) for entry in entries]


def _entry(role: str, text: str) -> Entry:
    return {"role": role, "content": text}


def _filled(text: str, name: str) -> str:
    if not text or text.isspace():
        raise Unusable(f"{name!r} is empty")
    return text


def _present(fields: dict[str, Any], name: str) -> object:
    value = fields.get(name)
    if value is None:
        raise Unusable(f"{name!r} is null" if name in fields else f"no field {name!r}")
    return value


def _as_written(record: bytes, name: str, text: str) -> str:
    """A number as the record writes it: 3.50 and thirty digits stay what they are."""
    try:
        written = json.loads(record, parse_int=str, parse_float=str).get(name)
    except (ValueError, AttributeError, RecursionError):
        return text
    return written if isinstance(written, str) else text


def holds(part: str, value: object) -> bool:
    """Whether a field that may hold a part does."""
    if part == "tools":
        return bool(structured(value))
    if part == "reasoning":
        return bool(reasoning_of({"reasoning": value}))
    if part == "system":
        return bool(_system_text(value).strip())
    return isinstance(value, list) or (
        isinstance(value, str) and bool(value.strip()) and unpacked(value) not in ([], {})
    )


def _system_text(value: object) -> str:
    """A system prompt: text, or its parts; empty for what is none."""
    if isinstance(value, str):
        return value
    try:
        return turn_of({"role": "system", "content": value})[1] if isinstance(value, list) else ""
    except Unusable:
        return ""


def _history(value: object) -> list[Entry]:
    """Earlier rounds; what is no list of rounds is one turn with its text."""
    try:
        entries = entries_of(value)
        _turns(entries)
    except Unusable:
        return [_entry("user", value if isinstance(value, str) else structured(value))]
    return entries


def _joined(asked: list[Entry], replies: list[Entry]) -> list[Entry]:
    """Prompt and completion as one conversation; a completion that repeats the prompt is the whole of it."""
    opening, answered = _turns(asked), _turns(replies)
    first = next((i for i, (role, _) in enumerate(answered) if role == "assistant"), 0)
    questions = [text for role, text in opening if role == "user"]
    if questions and first and ("user", questions[-1]) in answered:
        lacking = [
            one for one, turn in zip(asked, opening, strict=True) if turn[0] == "system" and turn not in answered
        ]
        return lacking + replies
    return asked + replies


def _after_system(entries: list[Entry], earlier: list[Entry]) -> list[Entry]:
    at = next((i for i, (role, _) in enumerate(_turns(entries)) if role != "system"), len(entries))
    return entries[:at] + earlier + entries[at:]


def _with_system(entries: list[Entry], value: object) -> list[Entry]:
    """With the system prompt before them, unless it is there already."""
    text = _system_text(value)
    if any(role == "system" and said.strip() == text.strip() for role, said in _turns(entries[:1])):
        return entries
    return [_entry("system", text), *entries]


def _with_reasoning(entries: list[Entry], reasoning: str) -> list[Entry]:
    """With the reasoning in the last turn of the assistant, unless that has its own."""
    roles = [turn_of(entry)[0] for entry in entries]
    last = next((i for i in range(len(roles) - 1, -1, -1) if roles[i] == "assistant"), None)
    if last is None or reasoning_of(entries[last]):
        return entries
    return [*entries[:last], entries[last] | {"reasoning_content": reasoning}, *entries[last + 1 :]]


def _with_tools(turns: list[Turn], tools: str) -> list[Turn]:
    """With the tools in the system turn, which is made where there is none."""
    text = marked("tools", tools)
    if turns and turns[0][0] == "system":
        said = turns[0][1]
        return [("system", f"{said}\n\n{text}" if said.strip() else text), *turns[1:]]
    return [("system", text), *turns]
