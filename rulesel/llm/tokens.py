"""Local models asked, by token ids, how likely a few next tokens are.

Many questions about one document share its prefix: a model gets prefixes and suffixes apart and owes the answer for
every pair, so that it may compute each prefix once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from rulesel.errors import ModelError
from rulesel.records import Float64, Int64

MOST_LABEL_IDS = 128
"""More than so many exact ids no engine takes in one request."""


@dataclass(frozen=True, slots=True)
class NextToken:
    """What stands after each prefix + suffix.

    Attributes:
        logprobs: float64 (n, R, L), natural-log probability of each id asked for, over the whole vocabulary if `exact`.
        sampled: int64 (n, R), the likeliest token of all.
        exact: False where the engine could only renormalise over the ids asked for: then they hold all the mass.
    """

    logprobs: Float64
    sampled: Int64
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Counters:
    """Tokens an engine was given since it was opened, and how many of them it found in its cache.

    Attributes:
        prompt: tokens of all prompts.
        cached: of these, read from the prefix cache instead of computed.
        seconds: wall time inside the engine.
    """

    prompt: int = 0
    cached: int = 0
    seconds: float = 0.0

    @property
    def computed(self) -> int:
        """Prompt tokens that went through the model."""
        return self.prompt - self.cached


class TokenModel(Protocol):
    """A model in this process."""

    @property
    def counters(self) -> Counters:
        """What it was given so far."""
        ...

    @property
    def capacity(self) -> int | None:
        """Tokens its prefix cache holds, None if there is no telling."""
        ...

    def next_token(self, prefixes: Sequence[list[int]], suffixes: Sequence[list[int]], ids: Sequence[int]) -> NextToken:
        """The next token after each of the n × R prompts, prefixes in the outer loop."""
        ...

    def surprise(self, prompts: Sequence[list[int]], spans: Sequence[tuple[int, int]]) -> Float64:
        """Mean negative natural-log likelihood of each prompt's tokens [start, stop) given those before; NaN if none."""
        ...

    def close(self) -> None:
        """Stop the engine and whatever it started; harmless when called twice."""
        ...


def label_ids(tokenizer: Any, labels: Sequence[str]) -> tuple[tuple[int, ...], ...]:  # noqa: ANN401 - optional package
    """For each label the ids of all tokens that say it and nothing else, with or without a space.

    `encode("4")[0]` will not do: SentencePiece puts a space piece there, the same for every digit.

    Raises:
        ModelError: a label has no token of its own.
    """
    special = set(tokenizer.all_special_ids)
    found: dict[str, list[int]] = {label: [] for label in labels}
    for token, index in tokenizer.get_vocab().items():
        if index not in special and len(token) <= 6 and any(label in token for label in labels):
            said = tokenizer.decode([index])
            if len(said) <= 3 and said.strip() in found:
                found[said.strip()].append(index)
    missing = [label for label, ids in found.items() if not ids]
    if missing:
        raise ModelError(
            f"The model's vocabulary has no token for {', '.join(missing)}: it cannot answer with a digit."
        )
    if sum(map(len, found.values())) > MOST_LABEL_IDS:
        raise ModelError(f"The model's vocabulary has more than {MOST_LABEL_IDS} tokens for {', '.join(labels)}.")
    return tuple(tuple(sorted(ids)) for ids in found.values())


def fitting(tokenizer: Any, start: str, labels: Sequence[str]) -> str | None:  # noqa: ANN401 - optional package
    """The start of an answer that every label follows as one token of its own.

    Returns:
        The start itself, or without its last blanks where the tokenizer joins a blank to the label; None if neither.
    """
    if not start:
        return start
    bare = start.rstrip(" ")
    for form, blank in ((start, ""), (bare, " ")):
        ids = _ids(tokenizer, form)
        wholes = [_ids(tokenizer, f"{form}{blank}{label}") for label in labels]
        if bare and all(whole[:-1] == ids and len(whole) == len(ids) + 1 for whole in wholes):
            return form
    return None


def _ids(tokenizer: Any, text: str) -> list[int]:  # noqa: ANN401 - optional package
    return list(tokenizer([text], add_special_tokens=False, verbose=False)["input_ids"][0])


def expectations(
    logprobs: Float64, variants: Sequence[Sequence[int]], worth: Mapping[str, float]
) -> tuple[Float64, Float64]:
    """Mean of the labels' worth and the probability the labels hold, for many next tokens at once.

    Args:
        logprobs: (…, L), columns in the order of the flattened `variants`.
        variants: ids of each label, in the order of `worth`.
        worth: what each label is worth.

    Returns:
        (mean over the labels, NaN where they hold nothing; mass in [0, 1], NaN where a log-probability is).
    """
    starts = np.cumsum([0, *map(len, variants)])[:-1]
    p = np.add.reduceat(np.exp(logprobs), starts, axis=-1)
    mass = p.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = p @ np.fromiter(worth.values(), dtype=np.float64) / mass
    return mean, np.minimum(mass, 1.0)
