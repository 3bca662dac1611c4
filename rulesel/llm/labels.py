"""From an answer to a number: the expectation over label tokens, a digit, or a number on the first line.

The expectation of the judgment distribution beats its mode (arXiv 2303.16634; arXiv 2503.03064). It is taken over the
labels only, and the probability they hold together is kept, because a model that wanted to say something else shows in
nothing but that mass.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rulesel.llm.answer import Found, Token, find_labels, first, likeliest, spoken, token_at
from rulesel.llm.base import Completion, Failure
from rulesel.llm.redact import one_line
from rulesel.records import Flag, Status

DIGITS = {str(digit): float(digit) for digit in range(6)}
"""The labels of a rating and what each is worth."""

LOW_MASS = 0.5
"""Below this share of the probability on the labels, an answer is no rating."""

_REFUSAL = re.compile(
    r"(?i)^\W*(i['’]?m (very |so )?sorry|sorry,|i (can(no|['’])t|am unable|won['’]t|must decline)|as an ai\b|unfortunately, i)"
)
_NUMBER = r"[-+]?(?:\d+(?:[.,]\d+)?|[.,]\d+)"
_LABELLED = re.compile(
    rf"(?i)(?:\b(?:score|rating|grade)\b\s*(?:is|[:=\-–])?\s*)?({_NUMBER})(?:\s*(?:/|out of)\s*({_NUMBER}))?"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer says.

    Attributes:
        status: ok, or why there is no number.
        value: on the labels' own scale; NaN unless ok.
        mass: probability on the labels, None where the server gave no log-probabilities.
        sampled: the number is the sampled answer, not an expectation.
        reason: the raw answer or the server's words, empty if ok.
    """

    status: Status
    value: float = math.nan
    mass: float | None = None
    sampled: bool = False
    reason: str = ""

    @property
    def flags(self) -> Flag:
        """`sampled` as a flag of the rating."""
        return Flag.sampled if self.sampled else Flag.none


def reason_of(reading: Reading) -> str:
    """Why there is no number: the raw answer on one line, bounded, without keys."""
    return one_line(reading.reason) or "an empty answer"


def expectation(top: Sequence[tuple[str, float]], labels: Mapping[str, float]) -> tuple[float, float]:
    """Mean of the labels' values under one token's alternatives, and the probability the labels hold.

    Args:
        top: (token text, natural-log probability); variants such as " 4" and "4" add up.
        labels: what each label is worth.

    Returns:
        (mean over the labels, NaN if none has any probability; mass in [0, 1]).

    Raises:
        ValueError: the alternatives are no probabilities (above 0, not a number, or adding up to more than 1).
    """
    mass = total = whole = 0.0
    for token, logprob in top:
        if math.isnan(logprob) or logprob > 1e-3:
            raise ValueError(f"log-probability {logprob} of {token!r}")
        p = math.exp(logprob)
        whole += p
        worth = labels.get(_bare(token))
        if worth is not None:
            mass += p
            total += p * worth
    if whole > 1.01:
        raise ValueError(f"the probabilities add up to {whole:.3f}")
    return (total / mass if mass > 0 else math.nan), min(mass, 1.0)


def read_label(answer: Completion | Failure, labels: Mapping[str, float] = DIGITS) -> Reading:
    """Read one label: the expectation where log-probabilities of it came, else the sampled label.

    The label is looked for where the answer is: after thoughts, behind a lead-in ("Rating:"), under some dress ("**4**",
    "4/5"). A digit within a sentence does not count: it may be one the document asked for. With fewer alternatives than
    labels the mass says nothing against the sampled label; log-probabilities that cannot be right count as none.

    Args:
        answer: the model's answer, or what a request ended as.
        labels: single tokens and what each is worth.
    """
    if isinstance(answer, Failure):
        return _read_failure(answer)
    if answer.refusal or answer.finish == "content_filter":
        return Reading(Status.refused, reason=answer.refusal or answer.text or answer.finish)
    text = answer.text.strip()
    found = Found(text, 0) if text in labels else None
    if found is None:
        text = spoken(text)
        several = find_labels(text, labels)
        if len({one.label for one in several}) > 1:
            return Reading(Status.parse, reason=answer.text)
        found = several[-1] if several else None
    sampled = None if found is None else Reading(Status.ok, labels[found.label], sampled=True)
    top = _top(answer, text, found)
    value, mass = math.nan, 0.0
    try:
        if top is not None:
            value, mass = expectation(top, labels)
    except ValueError:
        top = None
    if top is None:
        return sampled or Reading(_no_label(answer, text, labels, Status.parse), reason=answer.text)
    if mass >= LOW_MASS and not (sampled and len(top) < 2):
        return Reading(Status.ok, value, mass)
    if sampled and (len(top) < len(labels) or mass == 0):
        return sampled
    return Reading(_no_label(answer, text, labels, Status.low_mass), mass=mass, reason=answer.text)


def _top(answer: Completion, text: str, found: Found | None) -> Token | None:
    """The alternatives of the label's token, or of the first one of an answer that holds no label; None if unknown."""
    top = token_at(answer, text, 0 if found is None else found.at)
    if top is None or found is None or found.label == _bare(first(top)) or found.label == _bare(likeliest(top)):
        return top
    return None


def _read_failure(failure: Failure) -> Reading:
    status = Status[failure.kind] if failure.kind in Status.__members__ else Status.http
    return Reading(status, reason=failure.reason)


def _bare(token: str) -> str:
    """A token's text without white space, also where a server writes it as its tokenizer does."""
    return token.strip(" \t\r\n▁Ġ")


def _no_label(answer: Completion, text: str, labels: Mapping[str, float], otherwise: Status) -> Status:
    if _REFUSAL.match(text):
        return Status.refused
    if re.fullmatch(_NUMBER, text) and text not in labels:
        return Status.range
    if not text and answer.finish == "length":
        return Status.cut_answer
    return Status.parse if not text else otherwise


def read_number(answer: Completion | Failure, low: float, high: float) -> Reading:
    """Read a number that stands on the first line, with whatever explanation below it.

    Takes "4.5", "4,5", "Score: 4.5", "**4/5**", "9 out of 10" (rescaled to `high`); anything with two different
    numbers, or none, or one outside [low, high], is a failure with the raw answer as its reason.

    Args:
        answer: the model's answer, or what a request ended as.
        low: lowest grade.
        high: highest grade.
    """
    if isinstance(answer, Failure):
        return _read_failure(answer)
    if answer.refusal or answer.finish == "content_filter":
        return Reading(Status.refused, reason=answer.refusal or answer.text or answer.finish)
    lines = [line.strip(" \t*_`#>|~") for line in spoken(answer.text).splitlines()]
    lines = [line for line in lines if line]
    if not lines:
        cut = answer.finish == "length"
        return Reading(Status.cut_answer if cut else Status.parse, reason=answer.text[:40] or "an empty answer")
    found = _only_number(lines[0], high)
    if found is None:
        labelled = [line for line in lines if re.match(r"(?i)\W*(score|rating|grade)\b", line)]
        found = _only_number(labelled[0], high) if labelled else None
    if found is None:
        return Reading(Status.refused if _REFUSAL.match(lines[0]) else Status.parse, reason=answer.text)
    if not low <= found <= high:
        return Reading(Status.range, reason=answer.text)
    return Reading(Status.ok, found, sampled=True)


def _only_number(line: str, high: float) -> float | None:
    """The number a line consists of; None if there is none, another word beside it, or two that disagree."""
    bare = line.replace("*", "").replace("_", "").replace("`", "")
    match = _LABELLED.match(bare)
    if not match or not re.match(r"\s*(?:$|[.:;,)\-–—])(?!.*\d)", bare[match.end() :]):
        return None
    value = float(match[1].replace(",", "."))
    if match[2] is None:
        return value
    of = float(match[2].replace(",", "."))
    return value if of == high else (value / of * high if of > 0 else None)
