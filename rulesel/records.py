"""The values that pass between the layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from rulesel.digest import digest

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
UInt8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]


class Status(IntEnum):
    """What became of one rating; everything but `ok` leaves the value NaN."""

    ok = 0
    parse = 1
    """The answer held no rating."""
    range = 2
    """A number outside the scale."""
    refused = 3
    low_mass = 4
    """The model put less than half of its probability on the labels."""
    cut_answer = 5
    timeout = 6
    http = 7
    not_applicable = 8
    """The rater has no way to rate this rule, or the rule has no meaning for this example."""


class Flag(IntFlag):
    """Circumstances of a rating that is valid all the same."""

    none = 0
    document_cut = 1
    sampled = 2
    """A sampled digit, where log-probabilities were not to be had."""
    fence_broken = 4
    """The document holds the fence's own nonce or speaks to the judge."""


class Anchors(BaseModel):
    """What earns the lowest and the highest rating, in words."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    low: str = Field(min_length=1)
    high: str = Field(min_length=1)


class _Addressed(BaseModel):
    """Something with a content address, computed once; a changed copy has its own."""

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's, without the address of the original."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("id", None)
        return copied


class Rule(_Addressed):
    """One criterion in one sentence.

    A rating is always higher-is-better: for a rule of negative polarity ("The answer repeats itself.") the rater turns
    the degree to which the sentence holds, x, into 1 - x.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    name: str = Field(min_length=1, max_length=64, pattern=r"^[^\s\x00-\x1f][^\x00-\x1f]*$")
    """Short label for tables; shown to no rater, so renaming a rule makes no rating stale."""
    text: str = Field(min_length=1, max_length=20_000)
    polarity: Literal["positive", "negative"] = "positive"
    anchors: Anchors | None = None
    sql: str | None = None
    """Scalar DuckDB expression in [0, 1]: the degree to which the sentence holds, before polarity."""

    @cached_property
    def id(self) -> str:
        """Content address of everything a rater sees."""
        return digest(self.model_dump(exclude={"name"}))


class RuleSet(_Addressed):
    """Rules in order, with their origin; the content of a rules.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    origin: str = ""
    """Who wrote the rules: a pack's name, a file, or a model and a prompt."""
    domain: str = ""
    """The sentence about the domain the rules were written for."""
    rules: tuple[Rule, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _distinct(self) -> RuleSet:
        for what in ("name", "id"):
            seen: set[str] = set()
            for rule in self.rules:
                value = getattr(rule, what)
                if value in seen:
                    raise ValueError(
                        f"rule {rule.name!r} appears twice (same {'name' if what == 'name' else 'content'})"
                    )
                seen.add(value)
        return self

    @cached_property
    def id(self) -> str:
        """Content address of the rules in order."""
        return digest([rule.id for rule in self.rules])

    def __len__(self) -> int:
        return len(self.rules)


@dataclass(frozen=True, slots=True)
class Ratings:
    """Ratings of n examples under R rules.

    Attributes:
        values: float32 (n, R) in [0, 1], higher is better; NaN exactly where `status` is not ok.
        status: uint8 (n, R), a `Status`.
        flags: uint8 (n, R), a `Flag`; zeros (no flag) if not given.
        mass: float32 (n, R) in [0, 1], probability the model put on the labels; None where there is no such thing.
        reasons: for some failed cells (row, column) the raw answer or the error, bounded in length.
    """

    values: Float32
    status: UInt8
    flags: UInt8 = field(default_factory=lambda: np.empty(0, dtype=np.uint8))
    mass: Float32 | None = None
    reasons: Mapping[tuple[int, int], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.flags.ndim != 2:  # not given
            object.__setattr__(self, "flags", np.zeros(self.status.shape, dtype=np.uint8))
        if not self.values.shape == self.status.shape == self.flags.shape:
            raise ValueError(f"shapes differ: {self.values.shape}, {self.status.shape}, {self.flags.shape}")
        missing = np.isnan(self.values)
        if not np.array_equal(missing, self.status != Status.ok):
            raise ValueError("a rating is NaN exactly where its status is not ok")
        present = self.values[~missing]
        if present.size and (present.min() < 0 or present.max() > 1):
            raise ValueError("a rating outside [0, 1] is a failure with status range")

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples on their way to a rater or feature, one list entry an example.

    Attributes:
        hashes: content hashes; what a fence's nonce and a cache key are made of.
        prompts: what is asked; None for plain text.
        responses: the answer, or the plain text.
    """

    hashes: list[str]
    prompts: list[str | None]
    responses: list[str]

    def __len__(self) -> int:
        return len(self.hashes)

    def texts(self) -> Iterator[str]:
        """Prompt, blank line, response: the example as one text."""
        for prompt, response in zip(self.prompts, self.responses, strict=True):
            yield response if prompt is None else f"{prompt}\n\n{response}"


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows picked, best first.

    Attributes:
        indices: int64 (k,), distinct rows of the pool.
        keys: float64 (k,), the number each row was picked by (score, key or gain); its meaning is the method's.
        report: what the method has to say: shortfall, excluded rows, ties, parameters it settled on.
    """

    indices: Int64
    keys: Float64
    report: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.indices)
