"""What an auditor would say aloud, in sentences that name the rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from rulesel.records import Status
from rulesel.rules.audit_figures import Arm, Bootstrap, RuleFigures, Spectrum, Warned
from rulesel.rules.choice import RuleChoice
from rulesel.rules.how_many import MIN_RESIDUAL

Floats = npt.NDArray[np.float64]

CLOSE = 0.8
FEW_RESAMPLES = 0.5
LOW_RELIABILITY = 0.5
MANY_FAILURES = 0.05
LENGTH = 0.6
FEW = 3
"""Up to so many chosen rules of no shown relevance get a warning each."""
LISTED = 12
"""Warnings of one kind that are spelled out; the rest are counted."""


def warned(
    choice: RuleChoice,
    basis: RuleChoice,
    cards: Sequence[RuleFigures],
    arms: Sequence[Arm],
    boot: Bootstrap | None,
    spectrum: Spectrum,
    lost: Floats,
) -> list[Warned]:
    """All warnings, the grave ones first.

    Args:
        choice: the choice that is audited.
        basis: the choice whose filters and correlations are shown.
        cards: one a rule.
        arms: the comparison.
        boot: the resamples, or None.
        spectrum: of the usable rules.
        lost: mean standing of the examples on which a rule failed less that of the others, in standard deviations,
            shape (R,); NaN where few failed.
    """
    found: list[Warned] = []
    for warnings in (
        _irrelevant(choice, cards),
        _of_the_chosen(choice, cards, lost),
        _of_the_set(choice, basis, arms, boot, spectrum),
        _repeats(choice, basis, cards),
        _dropped(cards),
    ):
        found.extend(_shortened(list(warnings)))
    found.extend(Warned(kind="note", grave=False, rules=[], text=_sentence(text)) for text in choice.warnings)
    return sorted(found, key=lambda one: not one.grave)


def number(value: float) -> str:
    """A correlation or share as a report writes it: .94, −.12, 1.00."""
    text = f"{abs(value):.2f}".removeprefix("0")
    return f"−{text}" if value < 0 and text != ".00" else text


def _of_the_chosen(choice: RuleChoice, cards: Sequence[RuleFigures], lost: Floats) -> Iterator[Warned]:
    for rule in choice.indices:
        card = cards[rule]
        name = f"“{card.name}”"
        if card.dropped:
            text = f"{name} was chosen although it is unusable: {card.dropped}."
            yield Warned(kind="dropped", grave=True, rules=[rule], text=text)
        trust = card.reliability
        if trust is not None and trust.value < LOW_RELIABILITY:
            text = f"{name} is not rated consistently: a second rating agrees at r = {number(trust.value)} only."
            yield Warned(kind="reliability", grave=True, rules=[rule], text=text)
        if card.bootstrap is not None and card.bootstrap < FEW_RESAMPLES:
            text = f"{name} was chosen, but in {card.bootstrap:.0%} of the resamples only."
            yield Warned(kind="unstable", grave=False, rules=[rule], text=text)
        failures = {kind: count for kind, count in card.failures.items() if kind != Status.not_applicable.name}
        failed = sum(failures.values())
        if failed > MANY_FAILURES * (failed + card.rated):
            kinds = ", ".join(f"{kind} {count}" for kind, count in failures.items())
            text = f"{failed / (failed + card.rated):.0%} of the ratings of {name} failed ({kinds})."
            yield Warned(kind="failures", grave=False, rules=[rule], text=text)
        if abs(lost[rule]) > 0.5:
            text = f"{name} fails more often on {'strong' if lost[rule] > 0 else 'weak'} examples than on others."
            yield Warned(kind="failures", grave=False, rules=[rule], text=text)
        if card.length_correlation is not None and abs(card.length_correlation) > LENGTH:
            text = f"{name} follows the length of the text (r = {number(card.length_correlation)})."
            yield Warned(kind="length", grave=False, rules=[rule], text=text)


def _irrelevant(choice: RuleChoice, cards: Sequence[RuleFigures]) -> Iterator[Warned]:
    """Chosen rules whose relevance may as well be zero, one by one where they are few."""
    found = []
    for rule in choice.indices:
        near = cards[rule].relevance
        if near is not None and (near.value <= 0 or (near.low is not None and near.low <= 0)):
            between = "" if near.low is None or near.high is None else f" ({number(near.low)} to {number(near.high)})"
            found.append((rule, f"“{cards[rule].name}”", number(near.value) + between))
    if len(found) > FEW:
        names = ", ".join(name for _, name, _ in found)
        text = f"Nothing shows that {len(found)} of the {len(choice.indices)} bear on quality: {names}."
        yield Warned(kind="relevance", grave=True, rules=[rule for rule, _, _ in found], text=text)
        return
    for rule, name, value in found:
        text = f"Nothing shows that {name} bears on quality: its relevance is {value}."
        yield Warned(kind="relevance", grave=True, rules=[rule], text=text)


def _of_the_set(
    choice: RuleChoice, basis: RuleChoice, arms: Sequence[Arm], boot: Bootstrap | None, spectrum: Spectrum
) -> Iterator[Warned]:
    by_name = {arm.name: arm for arm in arms}
    size = len(choice.indices)
    guess, mine = by_name["random"].rms_correlation, by_name["chosen"].rms_correlation.value
    if size > 1 and guess.low is not None and mine >= guess.low and size < by_name["all"].size:
        more = mine > (guess.high or guess.low)
        than = "more correlated than" if more else "about as correlated as"
        text = (
            f"The chosen rules are {than} {size} rules picked at random (root mean square {number(mine)} against "
            f"{number(guess.value)}){': what bears on quality in these ratings goes together' if more else ''}."
        )
        yield Warned(kind="note", grave=False, rules=[], text=text)
    little = [rule for rule, left in zip(choice.indices, choice.residual.tolist(), strict=True) if left < MIN_RESIDUAL]
    if little:
        enough = _rules(basis.suggested_r.get("residual", size))
        text = (
            f"More than {1 - MIN_RESIDUAL:.0%} of what {_rules(len(little))} of the {size} say was said by the rules "
            f"before; {enough} would do for these ratings, had each to add something of its own."
        )
        yield Warned(kind="alike", grave=False, rules=little, text=text)
    if size > spectrum.above_edge:
        text = (
            f"{size} rules were chosen, but only {spectrum.above_edge} of the directions in the ratings stand out "
            f"from noise at {choice.examples} examples."
        )
        yield Warned(kind="sample", grave=False, rules=[], text=text)
    if boot is not None and boot.stability is not None and boot.stability < 0.4:
        steady = boot.score_stability is not None and boot.score_stability >= 0.9
        text = f"The set depends on which examples were rated (stability {number(boot.stability)}), " + (
            f"but rules of equal use stand in for one another: the scores agree at {number(boot.score_stability or 0)}."
            if steady
            else "and so do the scores. Rate more examples, or choose fewer rules."
        )
        yield Warned(kind="unstable", grave=not steady, rules=[], text=text)


def _repeats(choice: RuleChoice, basis: RuleChoice, cards: Sequence[RuleFigures]) -> Iterator[Warned]:
    C = basis.correlation
    pairs = [(a, b) for at, a in enumerate(choice.indices) for b in choice.indices[at + 1 :] if abs(C[a, b]) > CLOSE]
    if pairs:
        first, second = max(pairs, key=lambda pair: abs(float(C[pair])))
        many = "" if len(pairs) == 1 else f"{len(pairs)} pairs of chosen rules say much the same; the closest are "
        text = (
            f"{many}“{cards[first].name}” and “{cards[second].name}”{', both chosen,' if not many else ''} "
            f"{'say much the same ' if not many else ''}(r = {number(C[first, second])})."
        )
        yield Warned(kind="alike", grave=False, rules=sorted({rule for pair in pairs for rule in pair}), text=text)
    left = [card.index for card in cards if card.place is None and card.dropped is None]
    for rule in sorted(left, key=lambda one: -float(np.abs(C[one, choice.indices]).max())):
        kept = choice.indices[int(np.argmax(np.abs(C[rule, choice.indices])))]
        if abs(C[rule, kept]) <= CLOSE:
            return
        text = (
            f"“{cards[rule].name}” repeats “{cards[kept].name}” (r = {number(C[rule, kept])}); "
            f"kept the latter{_better(cards[kept], cards[rule])}."
        )
        yield Warned(kind="repeats", grave=False, rules=[rule, kept], text=text)


def _better(kept: RuleFigures, other: RuleFigures) -> str:
    """In what the kept rule is better, where it is."""
    for kind, a, b in (
        ("reliable", kept.reliability, other.reliability),
        ("relevant", kept.relevance, other.relevance),
    ):
        if a is not None and b is not None and round(a.value, 2) > round(b.value, 2):
            return f", the more {kind} ({number(a.value)} against {number(b.value)})"
    return ", which goes better with the other rules"


def _dropped(cards: Sequence[RuleFigures]) -> Iterator[Warned]:
    for card in cards:
        if card.dropped and card.place is None:
            text = f"“{card.name}” was left out: {card.dropped}."
            yield Warned(kind="dropped", grave=False, rules=[card.index], text=text)


def _shortened(warnings: list[Warned]) -> list[Warned]:
    """The first of each kind, and how many more there are."""
    kept: list[Warned] = []
    for kind in dict.fromkeys(one.kind for one in warnings):
        same = [one for one in warnings if one.kind == kind]
        kept.extend(same[:LISTED])
        if rest := same[LISTED:]:
            rules = sorted({rule for one in rest for rule in one.rules})
            text = f"And {len(rest)} more of this kind; the rules' cards have them."
            kept.append(Warned(kind=kind, grave=any(one.grave for one in rest), rules=rules, text=text))
    return kept


def _rules(count: int) -> str:
    return f"{count} rule{'' if count == 1 else 's'}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
