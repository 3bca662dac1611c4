"""Find rules that cannot be rated well, before anything is spent on them.

The checks of wording read English; they point at likely faults and are not always right.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations
from typing import Literal, NamedTuple

from rulesel.raters.signals import Signals
from rulesel.raters.signals.vocabulary import COLUMNS
from rulesel.records import Rule, RuleSet

Severity = Literal["error", "warning", "hint"]

LONGEST = 45
"""Words a rule's sentence may have before it is called long."""
ALIKE = 0.7
"""Share of common words (Jaccard) from which two rules are called near duplicates."""


class Finding(NamedTuple):
    """One fault of one rule: an error keeps it from being rated, a warning makes its ratings doubtful."""

    rule: str
    severity: Severity
    what: str
    fix: str


def lint(rule_set: RuleSet, *, judge: str | None = None) -> list[Finding]:
    """Faults of the rules, in the order of the rules.

    Args:
        rule_set: the rules.
        judge: who would rate them, as `--judge` names it; "signals" needs every rule to have an `sql` expression.
    """
    found: dict[str, list[Finding]] = {rule.name: [] for rule in rule_set.rules}
    signals = Signals()
    try:
        for rule in rule_set.rules:
            found[rule.name] += [*_wording(rule), *_polarity(rule), *_expression(rule, signals, judge)]
    finally:
        signals.close()
    for finding in _alike(rule_set.rules):
        found[finding.rule].append(finding)
    return [finding for findings in found.values() for finding in findings]


def _wording(rule: Rule) -> Iterator[Finding]:
    outside = _OUTSIDE.search(rule.text)
    if outside:
        what = f"needs to know what the text does not say ({outside[0].lower()!r})"
        yield Finding(rule.name, "warning", what, "ask for something that can be read in the text itself")
    elusive = _ELUSIVE.search(rule.text)
    if elusive:
        what = f"cannot be measured from the text ({elusive[0].lower()!r})"
        yield Finding(rule.name, "warning", what, "name what in the text shows it")
    joined = _joined(rule.text)
    if joined:
        yield Finding(rule.name, "warning", f"asks for two things at once ({joined!r})", "make two rules of it")
    words = len(re.findall(r"\w+", rule.text))
    if words > LONGEST:
        yield Finding(
            rule.name, "hint", f"is long ({words} words)", "keep one short sentence; put detail in the anchors"
        )


def _joined(text: str) -> str | None:
    """The words that join two criteria into one, if any."""
    verbs = _TWO_VERBS.search(text)
    if verbs:
        return verbs[0].lower()
    for match in _PAIR.finditer(text):
        one, other = (_QUALITIES.get(word.lower()) for word in match.groups())
        if one is not None and other is not None and one != other:
            return match[0].lower()
    return None


def _polarity(rule: Rule) -> Iterator[Finding]:
    """A sentence that states a flaw goes with negative polarity, one that states a merit with positive."""
    claim = _CONTRAST.split(rule.text)[0]
    flaw, negated = _FLAW.search(claim), _NEGATED.search(claim)
    states_flaw = flaw is not None and not (negated and negated.start() < flaw.start())
    states_merit = (flaw is not None and not states_flaw) or (
        flaw is None and not negated and bool(_MERIT.search(claim))
    )
    if states_flaw and flaw and rule.polarity == "positive":
        what = f"states a flaw ({flaw[0].lower()!r}), but a higher rating means more of it"
        yield Finding(rule.name, "warning", what, "set `polarity: negative`, or state the merit")
    elif states_merit and rule.polarity == "negative":
        what = "states a merit, but its polarity is negative"
        yield Finding(rule.name, "warning", what, "remove `polarity: negative`, or state the flaw")


def _expression(rule: Rule, signals: Signals, judge: str | None) -> Iterator[Finding]:
    if rule.sql is None:
        if judge == Signals.name:
            fix = "write one, or rate with a model"
            yield Finding(rule.name, "error", "has no sql expression, and the judge is signals", fix)
        return
    refused = signals.refuses(rule)
    if refused:
        severity: Severity = "error" if judge == Signals.name else "warning"
        yield Finding(rule.name, severity, f"its sql is refused: {refused}", "use the columns and functions of signals")
    elif not any(re.search(rf"\b{column}\b", rule.sql, re.IGNORECASE) for column in COLUMNS):
        yield Finding(rule.name, "warning", "its sql looks at no column, so it is the same for all", "name a column")


def _alike(rules: tuple[Rule, ...]) -> Iterator[Finding]:
    words = [frozenset(re.findall(r"\w{3,}", rule.text.lower())) - _COMMON for rule in rules]
    for i, j in combinations(range(len(rules)), 2):
        union = len(words[i] | words[j])
        if union and len(words[i] & words[j]) >= ALIKE * union:
            what = f"says nearly the same as {rules[i].name!r}"
            yield Finding(rules[j].name, "warning", what, "keep the better one of the two")


def _any(*phrases: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(phrases)})\b", re.IGNORECASE)


_OUTSIDE = _any(
    r"engagement|upvotes?|downvotes?|(?:many|most|number of|more) (?:likes|shares|views|clicks|followers|downloads|stars)",
    r"popular(?:ity)?|viral",
    r"(?:well|widely|often|highly)[- ](?:cited|shared|read|known|rated)|number of citations|peer[- ]reviewed",
    r"author(?:'s|’s)? (?:is|are|has|was|name|identity|credentials|reputation|expertise|background|qualifications?)",
    r"(?:written|produced|posted|created|annotated) by|credentials|reputa(?:tion|ble)|trusted (?:source|publisher|site)s?",
    r"publication date|publish(?:ed|er)|posted on|time ?stamp|up[- ]to[- ]date|recent(?:ly)?|date of|outdated",
    r"metadata|licen[cs]e[ds]?|copyright|(?:in|of|from) the (?:data ?set|corpus)|provenance|file ?name",
)
_ELUSIVE = _any(
    r"(?:author|writer|user|annotator)(?:'s|’s)? (?:intended|intention|intent|meant|motivation|state of mind)",
    r"(?:improves?|helps?|benefits?|useful for) (?:the |a )?(?:model|training|fine-?tuning|learning of)",
    r"(?:model|training) (?:performance|loss|benefit)|user satisfaction|satisf(?:y|ies|ied) (?:the )?users?|real[- ]world impact",
    r"high[- ]quality|(?:good|great|overall|excellent) (?:quality|response|answer|example)|everyone (?:would|will)",
    r"in the long run|most people (?:would|will)",
)
_TWO_VERBS = re.compile(
    r"\b(?:and|as well as|while also|but also|; it)\s+(?:also\s+)?(?:is|are|has|have|does|do|can|gives?|uses?|avoids?|provides?|"
    r"contains?|includes?|shows?|explains?|follows?|makes?|addresses|covers?|offers?|demonstrates?|remains?|maintains?|"
    r"ensures?|keeps|cites|supports|answers|presents)\b",
    re.IGNORECASE,
)
_PAIR = re.compile(r"\b(\w+),?\s+(?:and|or|as well as|yet|but|&)\s+(?:also\s+)?(\w+)\b", re.IGNORECASE)
_QUALITIES = {
    word: family
    for family, words in enumerate(
        (
            "clear clarity understandable readable readability intelligible",
            "concise conciseness brief brevity short succinct",
            "accurate accuracy correct correctness factual truthful right true",
            "complete completeness comprehensive thorough exhaustive",
            "relevant relevance pertinent on-topic",
            "helpful helpfulness useful usefulness actionable",
            "coherent coherence logical consistent consistency",
            "engaging interesting entertaining compelling",
            "fluent fluency grammatical grammar natural",
            "creative creativity original originality novel",
            "specific detailed concrete precise",
            "polite respectful friendly empathetic tone",
            "safe safety harmless unbiased fair",
            "structured organized organised formatted formatting layout",
            "diverse diversity varied",
        )
    )
    for word in words.split()
}
_FLAW = _any(
    r"errors?|mistakes?|repeats?|repetiti(?:ve|on)|redundan(?:t|cy)|lacks?|fails?|ignores?|incomplete|irrelevant|vague",
    r"mislead\w*|contradict\w*|truncated|cut off|bias(?:ed)?|toxic|harmful|offensive|unclear|incoherent|poor(?:ly)?|wrong",
    r"incorrect|inaccurate|hallucinat\w*|fabricat\w*|boilerplate|declines|refus(?:es|al)|padd(?:ed|ing)|filler|confusing",
    r"off[- ]topic|nonsens\w*|verbose|rambl\w+|plagiari\w+|copie[sd]|broken|unfinished|superficial|insult\w*|spam\w*|gibberish",
    r"exaggerat\w+|shouts|typos?|misspell\w+|ungrammatical|too (?:long|short|vague|generic)|generic|overclaims",
)
_NEGATED = _any(
    r"no|not|none|never|without|avoids?|free (?:of|from)|neither|nor|nothing|does ?n[o'’]t|is ?n[o'’]t|refrains?|absence|few",
    r"corrects?|prevents?|rather than|instead of|lack of",
)
_MERIT = _any(
    r"accurate|correct(?:ly)?|clear(?:ly)?|complete(?:ly)?|helpful|relevant|coherent|logical|concise|well[- ]\w+|thorough",
    r"consistent|informative|useful|factual|readable|specific|polite|safe|original|creative|engaging|comprehensive|precise",
)
_CONTRAST = re.compile(r"\b(?:instead of|rather than|without|, not)\b", re.IGNORECASE)
_COMMON = frozenset(
    [
        "the",
        "and",
        "are",
        "for",
        "has",
        "have",
        "its",
        "not",
        "that",
        "this",
        "with",
        "response",
        "answer",
        "text",
        "solution",
        "review",
        "code",
    ]
)
