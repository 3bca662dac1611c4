"""The start of an answer, which the model continues: a few are tried, the one with the most mass on the labels is kept.

A model that begins its answer with a word gives the labels little probability; after "Rating: " a label comes next. The
start changes every rating (ranks under two starts correlate about .5), so it is chosen once and is part of the identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rulesel.errors import ModelError
from rulesel.llm.labels import DIGITS, LOW_MASS
from rulesel.records import Float64

STARTS = ("", "Rating: ", "Rating:", "Score: ", "Score:", "Answer: ")
"""Tried in this order; of those that are nearly equal the first is kept."""
BEYOND = ("6", "7", "8", "9")
"""Digits that are no labels: their mass shows a start that suggests another scale."""
ROWS = 32
"""Most answers a start is tried on."""
CLOSE = 0.02
"""Masses that differ by less are equal."""
SHOWN_BEYOND = 0.05


@dataclass(frozen=True, slots=True)
class Tried:
    """What one start does.

    Attributes:
        start: the text.
        mass: 10th percentile over the answers of the probability on the labels; 0 where the start cannot be used.
        mean: mean of that probability.
        beyond: mean probability of the digits 6 to 9.
        why: why it cannot be used; empty if it can.
    """

    start: str
    mass: float = 0.0
    mean: float = 0.0
    beyond: float = 0.0
    why: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def tried(start: str, mass: Float64, beyond: Float64) -> Tried:
    """What a start does, from each answer's mass on the labels and on the digits beyond them; NaN counts as 0."""
    mass, beyond = np.nan_to_num(mass), np.nan_to_num(beyond)
    return Tried(start, float(np.quantile(mass, 0.1)), float(mass.mean()), float(beyond.mean()))


def candidates(more: Sequence[str]) -> list[str]:
    """The starts to try, those of the user last, each once."""
    return list(dict.fromkeys([*STARTS, *more]))


def best(found: Sequence[Tried]) -> Tried:
    """The start with the largest mass; of those within `CLOSE` of it the first.

    Raises:
        ModelError: no start puts half of the probability on the labels in nine of ten answers; with the table.
    """
    top = max((one.mass for one in found), default=0.0)
    if top < LOW_MASS:
        raise ModelError(
            "The model does not answer with a digit, whatever its answer starts with: nothing was rated.\n"
            f"{table(found)}\n"
            "Use another model, or name a start of your own: --judge-param 'start=…'."
        )
    return next(one for one in found if one.mass >= top - CLOSE and not one.why)


def table(found: Sequence[Tried]) -> str:
    """A line a start: its mass, and the mass of the digits beyond the scale where that is more than a little."""
    labels = f"{min(DIGITS)} to {max(DIGITS)}"
    lines = [f"  start of the answer   probability of {labels} (lowest tenth, mean)"]
    for one in found:
        beyond = f"; {BEYOND[0]} to {BEYOND[-1]}: {one.beyond:.2f}" if one.beyond >= SHOWN_BEYOND else ""
        said = one.why or f"{one.mass:.2f}, {one.mean:.2f}{beyond}"
        lines.append(f"  {shown(one.start):<20}  {said}")
    return "\n".join(lines)


def shown(start: str) -> str:
    """A start as messages write it."""
    return repr(start) if start else "none"
