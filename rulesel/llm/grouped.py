"""Answers to many requests, given back in the groups they belong to: the examples of a batch, the pairs of a round."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from rulesel.llm.base import ChatModel, ChatRequest, Completion, Failure

T = TypeVar("T")
Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class Group(Generic[T]):
    """Requests that belong together.

    Attributes:
        of: what they are about.
        size: how many there are.
        requests: the requests, drawn when they can be sent.
    """

    of: T
    size: int
    requests: Iterable[ChatRequest]


@dataclass(slots=True)
class _Open(Generic[T, Read]):
    of: T
    size: int
    read: list[Read] = field(default_factory=list)


def by_group(
    chat: ChatModel, groups: Iterable[Group[T]], read: Callable[[Completion | Failure], Read]
) -> Iterator[tuple[T, list[Read]]]:
    """Ask everything and yield each group, in order, as soon as its last answer is read.

    Args:
        chat: whom to ask; it draws requests a window ahead, across groups.
        groups: drawn lazily.
        read: what is kept of an answer.
    """
    begun: deque[_Open[T, Read]] = deque()

    def requests() -> Iterator[ChatRequest]:
        for group in groups:
            begun.append(_Open(group.of, group.size))
            yield from group.requests

    with closing(_generator(chat.complete(requests()))) as answers:
        for answer in answers:
            while len(begun[0].read) == begun[0].size:  # groups without a request
                yield begun[0].of, begun.popleft().read
            begun[0].read.append(read(answer))
            if len(begun[0].read) == begun[0].size:
                yield begun[0].of, begun.popleft().read
    while begun:
        yield begun[0].of, begun.popleft().read


def _generator(answers: Iterator[Completion | Failure]) -> Generator[Completion | Failure, None, None]:
    """Something that can be closed, which stops asking where the model can be stopped."""
    yield from answers
