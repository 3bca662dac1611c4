"""A rater that answers one number to everything is stopped: nothing can be chosen by what it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from rulesel.errors import TooManyFailures
from rulesel.llm.labels import DIGITS
from rulesel.records import Float32, Rule
from rulesel.rules.filters import MAX_MODE

ROWS = 50
"""Rows of every rule after which a constant rater is stopped."""
STEP = 0.001
"""Ratings that differ by less are one number."""
NARROW = 0.1
"""Ratings whose middle nine tenths span less hardly tell examples apart."""
NAMED = 3
"""Answers named in the message."""


class Constant:
    """How often each rule got each number so far, earlier attempts included."""

    def __init__(self, judge: str, rules: Mapping[int, Rule]) -> None:
        """Args: what names the rater in the message; rules by their number in the store."""
        self._judge = judge
        self._rules = rules
        self._counts = {number: Counter[int]() for number in rules}
        self._rows = Counter[int]()

    def add(self, numbers: Sequence[int], values: Float32) -> None:
        """Count ratings: (R,) numbers of rules, (n, R) values, NaN where a rating failed."""
        for column, number in zip(values.T, numbers, strict=True):
            known = column[~np.isnan(column)].astype(np.float64)
            self._counts[number].update(np.rint(known / STEP).astype(np.int64).tolist())
            self._rows[number] += len(column)

    def alarm(self) -> None:
        """Raise TooManyFailures if after `ROWS` rows of every rule more than 97 % of its ratings are the same number."""
        rated = {number: seen for number, seen in self._counts.items() if seen}
        fewest = min((self._rows[number] for number in self._rules), default=0)
        if fewest < ROWS or not rated or any(_share(seen) <= MAX_MODE for seen in rated.values()):
            return
        answers = Counter[str]()
        for number, seen in rated.items():
            negative = self._rules[number].polarity == "negative"
            for value, n in seen.items():
                degree = 1.0 - value * STEP if negative else value * STEP
                answers[f"{degree * max(DIGITS.values()):.4g}"] += n
        total = answers.total()
        said = ", ".join(f"{answer} in {n / total:.0%}" for answer, n in answers.most_common(NAMED))
        raise TooManyFailures(
            f"Stopped after {fewest:,} examples: of {total:,} answers {self._judge} gave {said}, on the scale from 0 to 5, "
            f"and more than {MAX_MODE:.0%} of each rule's ratings are the same number. No rule can be chosen by that. "
            "Everything rated is kept. Use another judge, or rules that tell these examples apart."
        )


def _share(seen: Counter[int]) -> float:
    """Share of the commonest number."""
    return seen.most_common(1)[0][1] / seen.total()


def narrow(values: Float32) -> int:
    """How many rules, columns of (n, R), have ratings that hardly differ, though they are not all the same number."""
    found = 0
    for column in values.T:
        known = column[~np.isnan(column)]
        low, high = np.quantile(known, (0.05, 0.95)) if len(known) else (0.0, 1.0)
        found += bool(high - low < NARROW)
    return found
