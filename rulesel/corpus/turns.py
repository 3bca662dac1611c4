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

from rulesel.corpus.raw import Unusable

Turn = tuple[str, str]
"""Role (system, user, assistant or tool) and text."""

_MARK = re.compile(r"^\[(system|user|assistant|tool)\]$", re.MULTILINE)
_LIKE_A_MARK = re.compile(r"^(?=\\*\[(?:system|user|assistant|tool)\]$)", re.MULTILINE)
_ESCAPED = re.compile(r"^\\(?=\\*\[(?:system|user|assistant|tool)\]$)", re.MULTILINE)


def prompt_and_reply(turns: list[Turn]) -> tuple[str, str]:
    """All turns before the last one of the assistant as a prompt, and that turn; what follows it is left out.

    Raises:
        Unusable: no assistant turn, an empty one, or nothing before it.
    """
    last = last_reply(turns)
    if not any(text.strip() for _, text in turns[:last]):
        raise Unusable("nothing before the last assistant turn")
    return join_turns(turns[:last]), turns[last][1]


def reply(turns: list[Turn]) -> str:
    """The last turn of the assistant.

    Raises:
        Unusable: there is none, or it is empty.
    """
    return turns[last_reply(turns)][1]


def last_reply(turns: list[Turn]) -> int:
    """The position of the last turn of the assistant.

    Raises:
        Unusable: there is none, or it is empty.
    """
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
