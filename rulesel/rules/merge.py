"""Near-duplicate rules, found by their wording before anything is paid for them.

Two rules of opposite polarity about the same thing ("repeats itself", "does not repeat itself") measure one property
and count as duplicates too. Rules that differ in words and agree in behaviour are found later, by their ratings.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import count
from typing import NamedTuple

from rulesel.records import Rule

SAME_WORDS = 0.6
"""Jaccard similarity of content words from which two rules are one."""
SAME_LETTERS = 0.85
"""Cosine of letter trigrams, of content words alone, from which two rules are one."""

_WORD = re.compile(r"[^\W_]+")
_EMPTY = frozenset(
    _WORD.findall(
        "a an and any are as at be been by can contain contains do does each every for from given has "
        "have how if in into is it its made make makes no nor not of on one or other response responses answer answers "
        "document text prompt solution such than that the their them then there these they this those to use uses used "
        "using very was were what where which while who will with without free avoid avoids never always lack lacks"
    )
)
_ENDINGS = re.compile(r"(?:ingly|edly|ation|ness|ment|ing|ies|ed|es|ly|s|y|e)$")


class Merged(NamedTuple):
    """A rule that was dropped for an earlier one; similarity in [0, 1] by words or letters, whichever is higher."""

    kept: Rule
    dropped: Rule
    similarity: float


def merge(rules: Iterable[Rule]) -> tuple[list[Rule], list[Merged]]:
    """Keep the first of every group of near-duplicates.

    Returns:
        Rules kept, in order and with distinct names; and what was dropped for which.
    """
    kept: list[Rule] = []
    views: list[tuple[frozenset[str], Counter[str]]] = []
    merged: list[Merged] = []
    used: set[str] = set()
    for rule in rules:
        view = _words(rule.text), _trigrams(rule.text)
        near = [(value, at) for at, other in enumerate(views) if (value := _duplicate(view, other)) is not None]
        if near:
            value, at = max(near)
            merged.append(Merged(kept[at], rule, value))
            continue
        name = next(name for name in _names(rule.name) if name not in used)
        used.add(name)
        kept.append(rule if name == rule.name else rule.model_copy(update={"name": name}))
        views.append(view)
    return kept, merged


def _names(name: str) -> Iterator[str]:
    """The name, then the name with a number."""
    yield name
    for number in count(2):
        yield f"{name[:58]} {number}"


def similarity(one: str, other: str) -> tuple[float, float]:
    """Of two rule texts: Jaccard of content words, cosine of their letter trigrams; both in [0, 1]."""
    return _jaccard(_words(one), _words(other)), _cosine(_trigrams(one), _trigrams(other))


def _duplicate(one: tuple[frozenset[str], Counter[str]], other: tuple[frozenset[str], Counter[str]]) -> float | None:
    """The higher of both similarities of two near-duplicates, None for rules that differ."""
    words, letters = _jaccard(one[0], other[0]), _cosine(one[1], other[1])
    return max(words, letters) if words >= SAME_WORDS or letters >= SAME_LETTERS else None


def _words(text: str) -> frozenset[str]:
    words = _WORD.findall(text.casefold())
    return frozenset(_ENDINGS.sub("", word) if len(word) > 4 else word for word in words if word not in _EMPTY)


def _trigrams(text: str) -> Counter[str]:
    plain = " ".join(["", *(word for word in _WORD.findall(text.casefold()) if word not in _EMPTY), ""])
    return Counter(plain[i : i + 3] for i in range(len(plain) - 2))


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other) if one | other else 0.0


def _cosine(one: Counter[str], other: Counter[str]) -> float:
    norm = math.sqrt(sum(n * n for n in one.values()) * sum(n * n for n in other.values()))
    return sum(n * other[gram] for gram, n in one.items()) / norm if norm else 0.0
