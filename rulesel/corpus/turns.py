"""Conversations as one prompt with marked roles, and back.

A prompt of several turns is written as

    [system]
    You are brief.

    [user]
    What is 2 + 2?

one mark on a line of its own before each turn, a blank line between turns. A line of a turn that looks like a mark gets
a backslash, so that the turns can be told apart again exactly. A single user turn is written without a mark: the same
question has the same text, and so the same ratings, in every shape of corpus.
"""

from __future__ import annotations

import re
from typing import Any

from rulesel.corpus.raw import Unusable
from rulesel.digest import canonical_json

Turn = tuple[str, str]
"""Role (system, user, assistant or tool) and text."""

_ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "model", "bot", "ai", "function_call"), "assistant"),
    **dict.fromkeys(("tool", "function", "function_response", "observation", "ipython"), "tool"),
}
_MARK = re.compile(r"^\[(system|user|assistant|tool)\]$", re.MULTILINE)
_LIKE_A_MARK = re.compile(r"^(?=\\*\[(?:system|user|assistant|tool)\]$)", re.MULTILINE)
_ESCAPED = re.compile(r"^\\(?=\\*\[(?:system|user|assistant|tool)\]$)", re.MULTILINE)


def looks_like_turns(value: object) -> bool:
    """Whether a field's value is a conversation: a list whose first entry names a speaker."""
    return (
        isinstance(value, list)
        and bool(value)
        and isinstance(value[0], dict)
        and ("role" in value[0] or "from" in value[0])
    )


def parse_turns(value: object) -> list[Turn]:
    """The turns of a `messages` or ShareGPT `conversations` field.

    Raises:
        Unusable: no list of turns, an unknown role, or content that is not text.
    """
    if not isinstance(value, list):
        raise Unusable("the conversation is not a list of turns")
    return [_turn(entry) for entry in value]


def _turn(entry: object) -> Turn:
    if not isinstance(entry, dict):
        raise Unusable("a turn that is not an object")
    speaker = entry.get("role", entry.get("from"))
    role = _ROLES.get(speaker.lower()) if isinstance(speaker, str) else None
    if role is None:
        raise Unusable("a turn of an unknown role")
    return role, _content(entry)


def _content(entry: dict[str, Any]) -> str:
    content = next((entry[key] for key in ("content", "value", "text") if entry.get(key) is not None), None)
    if isinstance(content, str) and (content or not entry.get("tool_calls")):
        return content
    if isinstance(content, list):
        return "\n".join(_part(part) for part in content)
    if not content and entry.get("tool_calls"):
        return _tool_calls(entry["tool_calls"])
    raise Unusable("a turn without text" if content is None else "a turn whose content is not text")


def _tool_calls(calls: object) -> str:
    try:
        return canonical_json(calls).decode()
    except TypeError:  # numbers beyond 64 bits, or nested beyond what the writer follows
        raise Unusable("a tool call that cannot be written as JSON") from None


def _part(part: object) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return str(part["text"])
    raise Unusable("a turn with a part that is not text (an image or a sound)")


def prompt_and_reply(turns: list[Turn]) -> tuple[str, str]:
    """All turns before the last one of the assistant as a prompt, and that turn; what follows it is left out.

    Raises:
        Unusable: no assistant turn, an empty one, or nothing before it.
    """
    last = _last_reply(turns)
    if not any(text.strip() for _, text in turns[:last]):
        raise Unusable("nothing before the last assistant turn")
    return join_turns(turns[:last]), turns[last][1]


def reply(turns: list[Turn]) -> str:
    """The last turn of the assistant.

    Raises:
        Unusable: there is none, or it is empty.
    """
    return turns[_last_reply(turns)][1]


def _last_reply(turns: list[Turn]) -> int:
    last = next((i for i in range(len(turns) - 1, -1, -1) if turns[i][0] == "assistant"), None)
    if last is None:
        raise Unusable("no assistant turn")
    if not turns[last][1].strip():
        raise Unusable("the last assistant turn is empty")
    return last


def join_turns(turns: list[Turn]) -> str:
    """Turns as one text; `split_turns` is its inverse."""
    if len(turns) == 1 and turns[0][0] == "user" and not _LIKE_A_MARK.search(turns[0][1]):
        return turns[0][1]
    return "\n\n".join(f"[{role}]\n{_LIKE_A_MARK.sub(lambda _: chr(92), text)}" for role, text in turns)


def split_turns(prompt: str) -> list[Turn]:
    """The turns of a prompt; a prompt that does not start with a mark is one user turn."""
    marks = list(_MARK.finditer(prompt))
    if not marks or marks[0].start() != 0:
        return [("user", prompt)]
    ends = [mark.start() - 2 for mark in marks[1:]] + [len(prompt)]
    return [(mark[1], _ESCAPED.sub("", prompt[mark.end() + 1 : end])) for mark, end in zip(marks, ends, strict=True)]


def count_turns(prompt: str | None, response: str) -> int:  # noqa: ARG001 - a response is one turn, whatever it says
    """Turns of an example, the response included: 1 for plain text, 2 for a question and its answer."""
    return 1 if prompt is None else len(split_turns(prompt)) + 1
