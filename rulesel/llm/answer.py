"""Where the answer stands in what a model wrote: after its thoughts, behind a lead-in, under some dress."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from rulesel.llm.base import Completion

Token = Sequence[tuple[str, float]]

_THOUGHT = r"(?:\w{1,12}:)?(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection|analysis|scratchpad)"
_OPENS = re.compile(
    rf"(?i)<{_THOUGHT}>|\[think\]|◁think▷|<\|start_thinking\|>|<\|begin_of_thought\|>|<\|channel\|?>\s*(?:analysis|thought|commentary)"
)
_CLOSES = re.compile(
    rf"(?i)</{_THOUGHT}>|\[/think\]|◁/think▷|<\|end_thinking\|>|<\|end_of_thought\|>|<\|channel\|>\s*final\s*(?:<\|message\|>)?"
    r"|<channel\|>"
)
_BARE_CHANNELS = re.compile(r"\Aanalysis(?=\W|[A-Z]).*?assistantfinal", re.DOTALL)
"""What is left of a thought in channels where a server strips the marks."""
_CONTROL = re.compile(r"<\|[\w.▁-]{1,40}\|>|</?s>|<(?:eos|bos|pad|end_of_turn)>|</?answer>", re.IGNORECASE)
_SPACE = re.compile(r"[\s▁ĠĊ]+")
_DRESS = r"\s*_~`#>\"'“”‘’()\[\]{}|$"
_LEAD = (
    r"(?:(?:my|the|your|final|overall)\s+){0,3}(?:rating|score|grade|answer|degree|value)(?:\s+(?:is|would be))?"
    rf"[{_DRESS}]*(?:[:=：]|\s[-–—]\s)?[{_DRESS}]*(?:\\boxed\{{)?"
)


class Found(NamedTuple):
    """A label and where it stands in the answer."""

    label: str
    at: int


def after_thoughts(text: str) -> str:
    """What a model writes once it has thought; empty where it did not finish to think."""
    bare = _BARE_CHANNELS.match(text)
    start = bare.end() if bare else 0
    for match in _CLOSES.finditer(text):
        start = max(start, match.end())
    rest = text[start:]
    opened = _OPENS.search(rest)
    return rest[: opened.start()] if opened else rest


def spoken(text: str) -> str:
    """What a model says, without its thoughts and control marks."""
    return _CONTROL.sub(" ", after_thoughts(text)).strip()


def find_labels(answer: str, labels: Collection[str]) -> list[Found]:
    """The labels that an answer gives, in order; more than one that differ are no answer.

    One stands by itself on the first line, or behind a lead-in ("Rating:", "The score is") on any line; dress, a full
    stop and "/5" or "out of 5" may be around it. A label within a sentence does not count: it may be one the document
    asked for.
    """
    alone, led = _patterns(tuple(labels))
    found: list[Found] = []
    at, first = 0, True
    for line in answer.splitlines(keepends=True):
        if line.strip():
            match = (first and alone.match(line)) or led.match(line)
            if match:
                found.append(Found(match[1], at + match.start(1)))
            first = False
        at += len(line)
    return found


@lru_cache(16)
def _patterns(labels: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What a line is that holds a label by itself, and one behind a lead-in."""
    names = "|".join(map(re.escape, sorted(labels, key=len, reverse=True)))
    numbers = [label for label in labels if label.isdecimal()]
    of = rf"(?:(?:\.0+)?\s*(?:/|out\s+of)\s*{max(numbers, key=int)}|\.0+)?(?:\.0+)?" if numbers else ""
    tail = rf"[{_DRESS}]*[.!,;]?[{_DRESS}]*\Z"
    alone = re.compile(rf"[{_DRESS}]*(?:\\boxed\{{)?({names}){of}{tail}")
    led = re.compile(rf"(?i:[{_DRESS}]*{_LEAD})({names}){of}{tail}")
    return alone, led


def token_at(completion: Completion, answer: str, at: int) -> Token | None:
    """The alternatives of the token that stands at a place of the answer, None where that cannot be told.

    Log-probabilities may come for thoughts as well, which the text leaves out, and white space may be written as the
    tokenizer does: so the answer is looked for from the end, by what is no white space.
    """
    tokens = [token for token in completion.logprobs if token]
    if not tokens:
        return None
    whole, before = solid(answer), len(solid(answer[:at]))
    for say in (first, likeliest):
        spelled = [solid(say(token)) for token in tokens]
        start = "".join(spelled).rfind(whole) if whole else -1
        if start >= 0:
            ends = accumulate(map(len, spelled))
            return next(token for token, end in zip(tokens, ends, strict=True) if end > start + before)
    said = [token for token in tokens if solid(likeliest(token))]
    return said[0] if whole and len(said) == len(tokens) == 1 else None


def first(token: Token) -> str:
    """The alternative that a server puts first: the sampled one."""
    return token[0][0]


def likeliest(token: Token) -> str:
    """The most probable alternative."""
    return max(token, key=lambda pair: pair[1])[0]


def solid(text: str) -> str:
    """Text without white space, also where it is written as tokenizers do."""
    return _SPACE.sub("", text)
