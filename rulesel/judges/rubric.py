"""Grades by a rubric: the rule-free overall grade, AlpaGasus, DEITA, or a file of one's own.

AlpaGasus grades the accuracy of a response from 0 to 5 (arXiv 2307.08701); DEITA scores the quality of responses and
the complexity of prompts from 1 to 6 with fine-tuned scorers (arXiv 2312.15685). These are their scales and what they
ask about, put to any chat model in words of our own. Where the originals turn an unreadable answer into -1 or 3.0, the
grade is missing here and says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from rulesel.digest import digest
from rulesel.errors import UnknownName, UsageError, listed
from rulesel.judges import Grades, Judge
from rulesel.llm.base import ChatRequest, Completion, Failure, Lent
from rulesel.llm.fence import fence
from rulesel.llm.grouped import Group, by_group
from rulesel.llm.labels import Reading, read_label, read_number, reason_of
from rulesel.llm.names import model_id
from rulesel.llm.wire import TOP_LOGPROBS
from rulesel.prompts import load
from rulesel.records import Batch, Status, UInt8
from rulesel.yaml_file import load_values

EXPLAINED_TOKENS = 256


class Rubric(BaseModel):
    """What is asked and how the answer is read.

    A rubric file holds `name`, `text`, `low`, `high` and, if need be, `of`, in YAML.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64)
    text: str = ""
    """What is graded, in words; fills the prompt's hole of that purpose."""
    low: float = 0.0
    high: float = 5.0
    of: Literal["example", "prompt"] = "example"
    """Whether the judge sees the whole example or its prompt alone."""
    prompt: str = "grade_rubric@1"
    hole: str = "rubric"
    explained: bool = False
    """The answer is a number on the first line with an explanation below, as in the AlpaGasus paper."""

    @model_validator(mode="after")
    def _ordered(self) -> Rubric:
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} must be below high {self.high:g}")
        return self

    @property
    def labels(self) -> dict[str, float] | None:
        """One digit for each grade; None where grades are no single digits and are read as a number."""
        if self.explained or not (self.low.is_integer() and self.high.is_integer() and 0 <= self.low < self.high <= 9):
            return None
        return {str(grade): float(grade) for grade in range(int(self.low), int(self.high) + 1)}

    @property
    def max_tokens(self) -> int:
        """Longest answer."""
        return EXPLAINED_TOKENS if self.explained else (1 if self.labels else 12)

    def read(self, answer: Completion | Failure) -> Reading:
        """The grade in an answer, or why there is none."""
        labels = self.labels
        return read_label(answer, labels) if labels else read_number(answer, self.low, self.high)


_ACCURACY = "accuracy: whether what the response says is right and answers what was asked"
BUILT_IN: Mapping[str, Rubric] = {
    rubric.name: rubric
    for rubric in (
        Rubric(name="overall", text="following instructions of all kinds", prompt="grade_overall@1", hole="domain"),
        Rubric(name="alpagasus", text=_ACCURACY, prompt="grade_quality@1", hole="dimension"),
        Rubric(
            name="alpagasus-published",
            text=_ACCURACY,
            prompt="grade_quality_explained@1",
            hole="dimension",
            explained=True,
        ),
        Rubric(name="deita-quality", low=1.0, high=6.0, prompt="deita_quality@1", hole=""),
        Rubric(name="deita-complexity", low=1.0, high=6.0, of="prompt", prompt="deita_complexity@1", hole=""),
    )
}


class RubricJudge(Judge):
    """One grade an example."""

    name: ClassVar[str] = "rubric"
    version: ClassVar[int] = 1
    source: ClassVar[str] = "arXiv 2307.08701; arXiv 2312.15685"
    summary: ClassVar[str] = (
        "One grade an example: overall, AlpaGasus, DEITA quality and complexity, or your own rubric."
    )

    model: str
    rubric: str = "overall"
    """A rubric of ours, or a YAML file."""
    about: str | None = None
    """In place of the rubric's own words: the domain of `overall`, the dimension of `alpagasus`."""
    document_chars: int = Field(24_000, ge=200)

    @field_validator("model")
    @classmethod
    def _names_a_model(cls, value: str) -> str:
        model_id(value)
        return value

    @property
    def asked(self) -> Rubric:
        """The rubric itself; raises UsageError if there is none of that name."""
        rubric = load_rubric(self.rubric)
        return rubric if self.about is None else rubric.model_copy(update={"text": self.about})

    @property
    def id(self) -> str:
        """Content address of model, rubric, prompt and truncation."""
        rubric = self.asked
        asked = [rubric.model_dump(exclude={"name"}), load(rubric.prompt).id, self.document_chars]
        return digest([self.name, self.version, self.maker(self.model), asked])

    @property
    def column(self) -> str:
        """The rubric's name."""
        return self.asked.name

    @property
    def scale(self) -> tuple[float, float]:
        """The rubric's."""
        return self.asked.low, self.asked.high

    def grade(self, batches: Iterable[Batch], lent: Lent) -> Iterator[Grades]:
        """Yield one `Grades` a batch; a text without a prompt has no complexity: not_applicable.

        Raises:
            ModelError: no request to the model can succeed.
            BudgetReached: the run may send no further request.
        """
        rubric = self.asked
        groups = (self._group(rubric, batch, lent.secret) for batch in batches)
        for (flags, asked), readings in by_group(lent.chat(self.model), groups, rubric.read):
            yield _grades(flags, asked, readings)

    def requests(self, batch: Batch, secret: bytes) -> Iterator[ChatRequest]:
        """The exact requests of a batch."""
        yield from self._group(self.asked, batch, secret).requests

    def _group(self, rubric: Rubric, batch: Batch, secret: bytes) -> Group[tuple[UInt8, list[int]]]:
        flags = np.zeros(len(batch), dtype=np.uint8)
        asked = [i for i in range(len(batch)) if rubric.of == "example" or batch.prompts[i] is not None]

        def requests() -> Iterator[ChatRequest]:
            prompt = load(rubric.prompt)
            holes = {"low": f"{rubric.low:g}", "high": f"{rubric.high:g}", rubric.hole: rubric.text}
            holes = {name: text for name, text in holes.items() if name in prompt.inputs}
            for i in asked:
                shown = (
                    (None, batch.prompts[i] or "") if rubric.of == "prompt" else (batch.prompts[i], batch.responses[i])
                )
                fenced = fence(secret, batch.hashes[i], *shown, max_chars=self.document_chars)
                flags[i] = fenced.flags
                yield ChatRequest(
                    prompt.messages(nonce=fenced.nonce, document=fenced.text, **holes),
                    max_tokens=rubric.max_tokens,
                    top_logprobs=TOP_LOGPROBS if rubric.labels else 0,
                    start=self._start if rubric.labels else "",
                )

        return Group((flags, asked), len(asked), requests())


def load_rubric(name: str) -> Rubric:
    """A rubric of ours, or one read from a YAML file.

    Raises:
        UnknownName: neither.
        UsageError: the file is no rubric; lists all mistakes.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    path = Path(name)
    if not path.is_file():
        raise UnknownName("rubric", name, BUILT_IN)
    try:
        return _OwnRubric.model_validate(load_values(path).value).rubric
    except ValidationError as error:
        mistakes = listed([f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()])
        raise UsageError(f"{path}: {mistakes}. A rubric has name, text, low, high, of.") from error


class _OwnRubric(BaseModel):
    """What a rubric file may say."""

    model_config = ConfigDict(extra="forbid")

    name: str
    text: str = Field(min_length=1)
    low: float = 0.0
    high: float = 5.0
    of: Literal["example", "prompt"] = "example"

    @property
    def rubric(self) -> Rubric:
        return Rubric(**self.model_dump())


def _grades(flags: UInt8, asked: Sequence[int], readings: Sequence[Reading]) -> Grades:
    n = len(flags)
    status = np.full(n, Status.not_applicable, dtype=np.uint8)
    values, mass = np.full(n, np.nan, dtype=np.float32), np.full(n, np.nan, dtype=np.float32)
    reasons = {}
    flags = flags.copy()
    for i, reading in zip(asked, readings, strict=True):
        status[i], values[i] = reading.status, reading.value
        mass[i] = np.nan if reading.mass is None else reading.mass
        flags[i] |= reading.flags
        if reading.status is not Status.ok:
            reasons[i] = reason_of(reading)
    return Grades(values, status, flags, None if np.isnan(mass).all() else mass, reasons)
