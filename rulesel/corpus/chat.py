"""Conversations in the dialects that trainers read: their turns, and the text of a turn as it is rated.

A turn's text is its content. What a turn holds beside it is part of the text too, each in marks of its own: reasoning in
`<think>`, calls in `<tool_calls>` (or the field's own name), tools in `<tools>`; the name and the call a result belongs to
stand in a line of JSON before it. A turn with content alone is its content, unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from rulesel.corpus.raw import Unusable
from rulesel.corpus.turns import Turn
from rulesel.digest import canonical_json

Entry = dict[str, Any]
"""A turn as the record has it: a speaker under "role" or "from", a content, and more."""

REASONING = ("reasoning_content", "reasoning", "thinking")
TOOLS = ("tools", "functions")
CALLS = ("tool_calls", "function_call", "function_calls", "tool_call")
CONTENTS = ("content", "value", "text")
_QUESTIONS = ("input", "human", "user", "question", "instruction", "prompt", "query")
_ANSWERS = ("output", "assistant", "gpt", "bot", "answer", "response", "completion")
_ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "model", "bot", "ai"), "assistant"),
    **dict.fromkeys(("function_call", "tool_call", "tool_calls"), "assistant"),
    **dict.fromkeys(("tool", "function", "function_response", "observation", "ipython"), "tool"),
    **dict.fromkeys(("tool_response", "tool_result", "function_result", "environment"), "tool"),
}
_PARTS_KEPT = frozenset(("tool_use", "tool_call", "function_call", "tool_result", "function_call_output"))


def looks_like_turns(value: object) -> bool:
    """Whether a value is a conversation: a list whose first entry names a speaker, or holds a question and its answer; or a lone turn."""
    if isinstance(value, dict):
        return bool(_columns(value)) or _is_turn(value)
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        return False
    return "role" in value[0] or "from" in value[0] or _round_keys(value[0]) is not None


def looks_like_conversation(value: object) -> bool:
    """As `looks_like_turns`; for a field named as a conversation, also pairs, texts that alternate, and JSON in a text."""
    if isinstance(value, str):
        return looks_like_conversation(unpacked(value)) if value[:1] in "[{" else False
    if isinstance(value, list) and value and isinstance(value[0], (str, list)):
        return all(isinstance(one, str) for one in value) or all(_is_pair(one) for one in value)
    return looks_like_turns(value)


def unpacked(text: str) -> object:
    """What JSON in a text says; None where it is none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def entries_of(value: object) -> list[Entry]:
    """The turns of a conversation in any dialect, each with a speaker and everything else it has.

    Raises:
        Unusable: it is no conversation, or a turn of it is none.
    """
    if isinstance(value, str):
        value = unpacked(value)
    if isinstance(value, dict) and (columns := _columns(value)):
        value = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    elif isinstance(value, dict) and _is_turn(value):
        value = [value]
    if not isinstance(value, list):
        raise Unusable("the conversation is not a list of turns")
    if value and all(isinstance(one, str) for one in value):
        return [_entry("user" if i % 2 == 0 else "assistant", text) for i, text in enumerate(value)]
    entries: list[Entry] = []
    for one in value:
        if _is_pair(one):
            entries += _pair(one[0], one[1])
        elif not isinstance(one, dict):
            raise Unusable("a turn that is not an object")
        elif "role" in one or "from" in one or (keys := _round_keys(one)) is None:
            entries.append(one)
        else:
            entries += _round(one, *keys)
    return entries


def _is_turn(value: dict[str, Any]) -> bool:
    """Whether an object is a turn by itself, as a reply in the files of some trainers."""
    speaker = value.get("role", value.get("from"))
    return isinstance(speaker, str) and any(key in value for key in (*CONTENTS, *CALLS))


def _columns(value: dict[str, Any]) -> dict[str, list[Any]]:
    """The lists of a conversation stored as an object of lists, as some Parquet files have it; empty if it is none."""
    columns = {name: column for name, column in value.items() if column is not None}
    lists = [column for column in columns.values() if isinstance(column, list)]
    alike = len(lists) == len(columns) and len({len(column) for column in lists}) == 1
    return columns if alike and ("role" in columns or "from" in columns) else {}


def _entry(role: str, text: object) -> Entry:
    return {"role": role, "content": text}


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(one is None or isinstance(one, str) for one in value)


def _pair(asked: object, answered: object) -> list[Entry]:
    both = (_entry("user", asked), _entry("assistant", answered))
    return [entry for entry in both if entry["content"] is not None]


def _round_keys(entry: Mapping[str, Any]) -> tuple[str, str] | None:
    """The keys of question and answer in a round."""
    asked = next((key for key in _QUESTIONS if key in entry), None)
    answered = next((key for key in _ANSWERS if key in entry), None)
    return None if asked is None or answered is None else (asked, answered)


def _round(entry: Entry, asked: str, answered: str) -> list[Entry]:
    """The turns of a round; its reasoning, tools and calls belong to the answer."""
    system = [_entry("system", entry["system"])] if entry.get("system") else []
    question = entry[asked]
    if asked == "input" and isinstance(entry.get("instruction"), str) and isinstance(question, str):
        question = f"{entry['instruction']}\n\n{question}" if question.strip() else entry["instruction"]
    pair = [_entry("user", question), _entry("assistant", entry[answered])]
    pair[1] |= {
        key: entry[key] for key in (*REASONING, *TOOLS, *CALLS) if key in entry and key not in (asked, answered)
    }
    return system + [one for one in pair if one["content"] is not None or one["role"] == "assistant"]


def role_of(entry: Entry) -> str:
    """Who speaks: system, user, assistant or tool.

    Raises:
        Unusable: no known role.
    """
    speaker = entry.get("role")
    if speaker is None:
        speaker = entry.get("from")
    role = _ROLES.get(speaker.lower()) if isinstance(speaker, str) else None
    if role is None:
        raise Unusable("a turn of an unknown role")
    return role


def turn_of(entry: object) -> Turn:
    """Role and text of a turn, as it is rated.

    Raises:
        Unusable: no object, an unknown role, or content that is not text.
    """
    if not isinstance(entry, dict):
        raise Unusable("a turn that is not an object")
    role = role_of(entry)
    content = next((entry[key] for key in (*CONTENTS, "refusal") if entry.get(key) is not None), None)
    if len(entry) == 2 and isinstance(content, str):  # speaker and content: by far the most frequent
        return role, content
    reasoning = reasoning_of(entry)
    marks = [marked(key, text) for key in (*TOOLS, *CALLS) if (text := structured(entry.get(key)))]
    if content is None and (reasoning or marks):
        content = ""
    text = with_reasoning(reasoning, _content(content, role))
    if marks:
        text = "\n\n".join(([text] if text.strip() else []) + marks)
    return role, _label(entry, role) + text


def _label(entry: Entry, role: str) -> str:
    """The name of a speaker, and the call that a result belongs to, as a line."""
    keys = ("name", "tool_call_id") if role == "tool" else () if role == "assistant" else ("name",)
    told = {key: entry[key] for key in keys if entry.get(key)}
    return as_json(told) + "\n" if told else ""


def structured(value: object) -> str:
    """Tools or calls as text: JSON with sorted keys, or the text itself where it is none; empty where there are none."""
    if isinstance(value, str):
        found = unpacked(value)
        if not isinstance(found, (dict, list)):
            return "" if found is None and value.strip() == "null" else value.strip()
        value = found
    return as_json(value) if isinstance(value, (dict, list)) and value else ""


def marked(name: str, text: str) -> str:
    """A text between marks of that name."""
    return f"<{name}>\n{text}\n</{name}>"


def reasoning_of(fields: Mapping[str, Any], names: Sequence[str] = REASONING) -> str:
    """The reasoning that stands beside an answer; empty where there is none."""
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, list) and value:
            texts = [_part_text(part) for part in value]
            return "\n".join(text for text in texts if text) if any(texts) else as_json(value)
        if isinstance(value, dict) and value:
            return _part_text(value) or as_json(value)
    return ""


def with_reasoning(reasoning: str, answer: str) -> str:
    """An answer after its reasoning, unless it begins with that reasoning already."""
    if not reasoning or (answer.lstrip().startswith("<think>") and reasoning.strip() in answer):
        return answer
    thought = marked("think", reasoning)
    return f"{thought}\n\n{answer}" if answer.strip() else thought


def as_json(value: object) -> str:
    """JSON with sorted keys.

    Raises:
        Unusable: it is nested too deeply.
    """
    try:
        return canonical_json(value).decode()
    except TypeError:  # numbers beyond 64 bits, keys that are no text, or nested beyond what the writer follows
        pass
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)
    except (RecursionError, TypeError, ValueError):
        raise Unusable("a tool call that cannot be written as JSON") from None


def number_text(value: object) -> str | None:
    """A number, true or false as its text; None for anything else, and for what is not a number."""
    if isinstance(value, (bool, int)) or (isinstance(value, float) and value == value):
        return json.dumps(value)
    return None


def _content(content: object, role: str) -> str:
    if isinstance(content, str):
        return content
    if (text := number_text(content)) is not None:
        return text
    if role == "tool" and isinstance(content, (dict, list)) and not _are_parts(content):
        return as_json(content)
    if isinstance(content, list):
        return "\n".join(_part(part) for part in content)
    raise Unusable("a turn without text" if content is None else "a turn whose content is not text")


def _are_parts(content: object) -> bool:
    return isinstance(content, list) and all(
        isinstance(part, str) or (isinstance(part, dict) and ("type" in part or "text" in part)) for part in content
    )


def _part(part: object) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict):
        kind = part.get("type")
        if kind in ("thinking", "reasoning") and (text := _part_text(part)):
            return marked("think", text)
        if isinstance(part.get("text"), str):
            return str(part["text"])
        if kind in _PARTS_KEPT:
            return marked(str(kind), as_json({key: value for key, value in part.items() if value is not None}))
        if isinstance(part.get("refusal"), str):
            return str(part["refusal"])
    raise Unusable("a turn with a part that is not text (an image or a sound)")


def _part_text(part: object) -> str:
    if isinstance(part, str):
        return part
    keys = ("text", "thinking", "reasoning", "content", "summary")
    return next((part[key] for key in keys if isinstance(part.get(key), str)), "") if isinstance(part, dict) else ""
