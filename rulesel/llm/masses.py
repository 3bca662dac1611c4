"""Stops a run whose model does not answer with a label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from rulesel.errors import ModelError
from rulesel.records import Float32, Int64

HOPELESS_MASS = 0.2
HOPELESS_ROWS = 50
_TOKENS = 4096
"""Kinds of other answers that are counted."""


class Masses:
    """How much probability the labels hold, question by question, as a run goes on."""

    def __init__(self, questions: Sequence[str]) -> None:
        """Args: names of the questions, for the message."""
        self._questions = questions
        self._bins = np.zeros((len(questions), 100), dtype=np.int64)
        self._said = [Counter[int]() for _ in questions]

    def add(self, mass: Float32 | None, sampled: Int64, tokenizer: Any) -> None:  # noqa: ANN401 - optional package
        """Count the answers to a batch.

        Args:
            mass: (n, R); None where there is no telling.
            sampled: (n, R), the likeliest token of each answer.
            tokenizer: what turns a token into words.

        Raises:
            ModelError: after `HOPELESS_ROWS` rows, half of the answers to a question have a mass below `HOPELESS_MASS`.
        """
        if mass is None or not mass.size:
            return
        levels = np.minimum((np.nan_to_num(mass) * 100).astype(np.int64), 99)
        for j in range(len(self._questions)):
            self._bins[j] += np.bincount(levels[:, j], minlength=100)
            if len(self._said[j]) < _TOKENS:
                self._said[j].update(sampled[:, j].tolist())
        rows = int(self._bins[0].sum())
        low = self._bins[:, : int(HOPELESS_MASS * 100)].sum(axis=1)
        if rows >= HOPELESS_ROWS and (low * 2 > rows).any():
            j = int(low.argmax())
            said = ", ".join(repr(tokenizer.decode([i])) for i, _ in self._said[j].most_common(3))
            raise ModelError(
                f"The model does not answer the rule {self._questions[j]!r} with a digit: in {low[j]:,} of {rows:,} "
                f"examples the digits 0 to 5 have less than {HOPELESS_MASS:.0%} of the probability; it says {said}. "
                "Is it instruction-tuned, and does it answer without thinking first?"
            )
