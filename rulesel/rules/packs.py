"""Rule packs that ship with rulesel, and rule files of one's own."""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from rulesel.errors import UnknownName
from rulesel.records import RuleSet
from rulesel.rules.rule_file import RuleFile, read, save_rules

__all__ = ["Nearest", "folder", "load_rules", "nearest_pack", "pack_names", "save_rules"]

FALLBACK = "general-instructions"
"""The pack for a domain that no pack speaks of."""

_KEYWORD_WEIGHT = 3


class Nearest(NamedTuple):
    """The pack nearest to a domain: its name, a score in [0, 1] (higher is nearer), and why in words."""

    name: str
    score: float
    why: str


def folder() -> Path:
    """Where the packs are: in the installed package, else in the checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_data" / "rules"
    return installed if installed.is_dir() else package.parent / "data" / "rules"


def pack_names() -> list[str]:
    """Names of the packs, sorted."""
    return sorted(path.stem for path in folder().glob("*.yaml"))


def load_rules(reference: str) -> RuleSet:
    """Rules of a YAML file or of "pack:NAME".

    Raises:
        UnknownName: there is no such pack; the message suggests the nearest.
        UsageError: the file cannot be read or is malformed; one line that lists every mistake.
    """
    scheme, _, name = reference.partition(":")
    if scheme == "pack":
        pack = _pack(name)
        return RuleSet(origin=reference, domain=pack.domain, rules=pack.rules)
    found = read(Path(reference))
    return RuleSet(origin=found.origin or Path(reference).name, domain=found.domain, rules=found.rules)


def nearest_pack(domain: str) -> Nearest:
    """The pack whose description and keywords share most with a sentence about the domain.

    TF-IDF cosine over stemmed words; a keyword weighs three words of the description. Deterministic; ties go to the
    name that sorts first. Where no word is shared: the general pack, score 0.
    """
    names = pack_names()
    documents = {name: _terms_of(_pack(name)) for name in names}
    spread = Counter(term for terms in documents.values() for term in terms)
    rarity = {term: math.log(1 + len(names) / count) for term, count in spread.items()}
    asked = Counter(term for term in _terms(domain) if term in rarity)
    wanted = {term: count * rarity[term] for term, count in asked.items()}
    scores = {name: _cosine(wanted, {t: n * rarity[t] for t, n in documents[name].items()}) for name in names}
    best = max(names, key=lambda name: (scores[name], [-ord(c) for c in name]), default=FALLBACK)
    if not scores or scores[best] <= 0:
        return Nearest(FALLBACK, 0.0, "no pack speaks of this domain, so the general one")
    shared = sorted((t for t in wanted if t in documents[best]), key=lambda t: (-wanted[t] * documents[best][t], t))
    words = [next(w for w in _words(domain) if _stem(w) == term) for term in shared[:4]]
    return Nearest(best, round(scores[best], 4), f"shared words: {', '.join(words)}")


@lru_cache
def _pack(name: str) -> RuleFile:
    if name not in pack_names():
        raise UnknownName("rule pack", name, pack_names())
    return read(folder() / f"{name}.yaml")


def _terms_of(pack: RuleFile) -> Counter[str]:
    terms = Counter(_terms(f"{pack.domain} {pack.description}"))
    for term in set(_terms(" ".join(pack.keywords))):
        terms[term] += _KEYWORD_WEIGHT
    return terms


def _cosine(a: dict[str, float], b: dict[str, float]) -> float:
    norms = math.hypot(*a.values()) * math.hypot(*b.values())
    return sum(weight * b.get(term, 0.0) for term, weight in a.items()) / norms if norms else 0.0


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def _terms(text: str) -> list[str]:
    return [_stem(word) for word in _words(text) if word not in _COMMON]


def _stem(word: str) -> str:
    """The word without the commonest English endings; the same for both sides, not always a word."""
    for ending in (
        "ations",
        "ation",
        "ings",
        "ing",
        "ies",
        "ical",
        "ics",
        "ic",
        "als",
        "al",
        "es",
        "ed",
        "s",
        "y",
        "e",
    ):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


_COMMON = frozenset(
    [
        "a",
        "about",
        "an",
        "and",
        "answers",
        "are",
        "as",
        "at",
        "be",
        "by",
        "can",
        "data",
        "examples",
        "for",
        "from",
        "good",
        "how",
        "i",
        "in",
        "into",
        "is",
        "it",
        "its",
        "of",
        "on",
        "or",
        "our",
        "quality",
        "records",
        "that",
        "the",
        "their",
        "them",
        "these",
        "this",
        "those",
        "to",
        "training",
        "tuning",
        "we",
        "what",
        "when",
        "which",
        "who",
        "with",
        "written",
        "you",
        "your",
    ]
)
