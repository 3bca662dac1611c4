"""Examples in the shapes that trainers read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, get_args

import orjson

from rulesel.corpus.turns import Turn, split_turns

Shape = Literal["messages", "alpaca", "sharegpt"]
SHAPES: tuple[str, ...] = get_args(Shape)
_SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt", "tool": "tool"}


def _messages(turns: list[Turn]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


def _sharegpt(turns: list[Turn]) -> dict[str, Any]:
    return {"conversations": [{"from": _SPEAKERS[role], "value": text} for role, text in turns]}


_OF_TURNS: dict[str, Callable[[list[Turn]], dict[str, Any]]] = {"messages": _messages, "sharegpt": _sharegpt}


def converted(pairs: Iterable[tuple[str | None, str]], as_: Shape, *, conversations: bool) -> Iterator[bytes]:
    """Examples as lines of JSON without their newlines.

    Args:
        pairs: prompt and response.
        as_: messages (role, content), sharegpt (from, value) or alpaca (instruction, input, output; the input is empty,
            and a conversation's turns stay marked inside the instruction).
        conversations: whether prompts are conversations with marked roles, to be taken apart again.
    """
    for prompt, response in pairs:
        text = prompt or ""
        if as_ == "alpaca":
            yield orjson.dumps({"instruction": text, "input": "", "output": response})
        else:
            asked = split_turns(text) if conversations else [("user", text)]
            yield orjson.dumps(_OF_TURNS[as_]([*asked, ("assistant", response)]))
