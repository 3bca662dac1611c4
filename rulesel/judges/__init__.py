"""The contract of judges: an opinion of the whole example, without the run's rules, as one number.

A judge is one file here. Its grades become a column that any selector reads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from pydantic import PrivateAttr

from rulesel.llm.base import Lent
from rulesel.llm.names import model_id
from rulesel.plugins import Spec, build
from rulesel.records import Batch, Float32, Status, UInt8

__all__ = ["Grades", "Judge", "Lent", "judge_for"]


@dataclass(frozen=True, slots=True)
class Grades:
    """Grades of n examples.

    Attributes:
        values: float32 (n,), higher is better (of a complexity: more complex), on the judge's own scale; NaN exactly
            where `status` is not ok.
        status: uint8 (n,), a `Status`.
        flags: uint8 (n,), a `Flag`.
        mass: float32 (n,), probability the model put on the labels, NaN where it gave none; None where there are no
            labels.
        reasons: for failed rows the raw answer or the error, bounded in length.
        report: what else the judge has to say.
    """

    values: Float32
    status: UInt8
    flags: UInt8
    mass: Float32 | None = None
    reasons: Mapping[int, str] = field(default_factory=dict)
    report: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.values.shape == self.status.shape == self.flags.shape:
            raise ValueError(f"shapes differ: {self.values.shape}, {self.status.shape}, {self.flags.shape}")
        if not np.array_equal(np.isnan(self.values), self.status != Status.ok):
            raise ValueError("a grade is NaN exactly where its status is not ok")

    def __len__(self) -> int:
        return len(self.values)


class Judge(Spec, ABC):
    """Grades examples. `id` holds whatever changes a grade: model, prompt, labels, truncation."""

    _maker: str | None = PrivateAttr(None)
    _start: str = PrivateAttr("")

    def by(self, maker: str, start: str) -> Self:
        """The same judge asking a model in this process.

        Args:
            maker: identity of the rater whose engine it is, the start of its answers included.
            start: what its answers start with.
        """
        other = self.model_copy()
        other._maker, other._start = maker, start
        return other

    def maker(self, model: str) -> str:
        """Identity of the model that judges: of a named one, or of the engine in this process."""
        return self._maker or model_id(model)

    @property
    @abstractmethod
    def column(self) -> str:
        """What the column of its grades is called."""

    @property
    @abstractmethod
    def scale(self) -> tuple[float, float]:
        """Lowest and highest grade there can be."""

    @abstractmethod
    def grade(self, batches: Iterable[Batch], lent: Lent) -> Iterator[Grades]:
        """Yield one `Grades` a batch, in order; a judge that compares examples reads all of them first."""


def judge_for(name: str, model: str, **parameters: object) -> Judge:
    """The judge a `--rubric` value names.

    Args:
        name: "pairwise", a rubric of ours, or a rubric file.
        model: as `--judge` names it.
        parameters: of that judge.

    Raises:
        UsageError: no such rubric, or a parameter it does not take.
    """
    if name == "pairwise":
        return build(__name__, "pairwise", Judge, {"model": model} | parameters)
    return build(__name__, "rubric", Judge, {"model": model, "rubric": name} | parameters)
