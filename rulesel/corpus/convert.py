"""Examples in the shapes that trainers read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple, get_args

import orjson

from rulesel.corpus.chat import CALLS, CONTENTS, Entry, as_json, role_of, structured, turn_of, unpacked
from rulesel.corpus.mapping import Exchange, FieldMapping

Shape = Literal["messages", "alpaca", "sharegpt"]
SHAPES: tuple[str, ...] = get_args(Shape)
_SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt", "tool": "tool"}
_CALLING = ("function_call", "tool_call", "tool_calls")


class Stored(NamedTuple):
    """An example as a store has it: prompt and response as they are rated, and the record."""

    prompt: str | None
    response: str
    record: bytes


def converted(
    examples: Iterable[Stored], as_: Shape, mapping: FieldMapping, fields_of: Callable[[bytes], dict[str, Any]]
) -> Iterator[bytes]:
    """Examples as lines of JSON without their newlines.

    Args:
        examples: in the order to be written.
        as_: messages (role, content, and every other field of a turn; tools), sharegpt (from, value; calls as turns of
            their own; tools) or alpaca (instruction, input, output: what is rated; the input is empty, and a
            conversation's turns stay marked inside the instruction).
        mapping: how the records are read.
        fields_of: a record's fields.

    Raises:
        Unusable: a record is none that the mapping reads.
    """
    for prompt, response, record in examples:
        if as_ == "alpaca":
            yield _line({"instruction": prompt or "", "input": "", "output": response})
            continue
        found = mapping.exchange(fields_of(record), record)
        yield _line(_messages(found) if as_ == "messages" else _sharegpt(found))


def _line(value: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # numbers beyond 64 bits
        return as_json(value).encode()


def _messages(found: Exchange) -> dict[str, Any]:
    made: dict[str, Any] = {"messages": [_message(entry) for entry in found.entries]}
    return made if found.tools is None else made | {"tools": _unpacked(found.tools)}


def _message(entry: Entry) -> dict[str, Any]:
    """The turn with role and content, and whatever else it has, as it has it."""
    if entry.get("role") is not None and "content" in entry:
        return {key: value for key, value in entry.items() if key != "from"}
    content = next((key for key in CONTENTS if entry.get(key) is not None), "content")
    rest = {key: value for key, value in entry.items() if key not in ("role", "from", content)}
    speaker = entry.get("role", entry.get("from"))
    role = entry["role"] if entry.get("role") is not None else role_of(entry)
    if isinstance(speaker, str) and speaker.lower() in _CALLING and (calls := _calls(entry.get(content))):
        return {"role": role_of(entry), "content": "", "tool_calls": calls} | rest
    return {"role": role, "content": entry.get(content)} | rest


def _calls(text: object) -> list[dict[str, Any]]:
    """Calls written as JSON in a turn of their own; none where it is something else."""
    found = unpacked(text) if isinstance(text, str) else text
    listed = [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, dict)]
    if not all(isinstance(call.get("name"), str) for call in listed):
        return []
    return [{"type": "function", "function": {"name": c["name"], "arguments": c.get("arguments", {})}} for c in listed]


def _unpacked(tools: object) -> object:
    found = unpacked(tools) if isinstance(tools, str) else None
    return tools if found is None else found


def _sharegpt(found: Exchange) -> dict[str, Any]:
    made: dict[str, Any] = {"conversations": [turn for entry in found.entries for turn in _spoken(entry)]}
    return made if found.tools is None else made | {"tools": structured(found.tools)}


def _spoken(entry: Entry) -> list[dict[str, str]]:
    """A turn as from and value; calls beside its text become a turn of their own."""
    speaker = entry.get("role", entry.get("from"))
    if isinstance(speaker, str) and speaker.lower() in _CALLING:
        return [{"from": "function_call", "value": turn_of(entry)[1]}]
    calls = [text for key in CALLS if (text := structured(entry.get(key)))]
    said = {key: value for key, value in entry.items() if key not in (*CALLS, "name", "tool_call_id")}
    if calls and not any(said.get(key) for key in CONTENTS):
        said["content"] = ""
    role, text = turn_of(said)
    turns = [{"from": _SPEAKERS[role], "value": text}] if text.strip() or not calls else []
    return turns + [{"from": "function_call", "value": call} for call in calls]
