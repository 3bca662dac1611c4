"""The figures of a whole run as plain values: what its page shows and what `--json` prints.

`RunFigures.model_json_schema(mode="serialization")` is their published JSON schema. Rows count from 0.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from rulesel.rules.audit_figures import AuditFigures, Estimate

VERSION = 1
"""Raised when a field changes its meaning or goes away."""


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class Group(_Figures):
    """Counts of one group of rows over shared bins."""

    name: str
    counts: list[int]


class Distribution(_Figures):
    """Several groups over the same bins; `edges` has one entry more than each group's counts."""

    edges: list[float]
    groups: list[Group]


class Baseline(_Figures):
    """A way to pick as many rows, and what it picks."""

    name: Literal["selected", "random", "longest", "all"]
    rows: int
    score: Estimate | None
    """Mean score; None where no row has one."""
    length: Estimate | None
    """Mean length in characters."""
    overlap: Estimate | None
    """Share of the selected rows that it picks too."""
    flawed: Estimate | None
    """Rows with a known flaw."""


class RuleShift(_Figures):
    """How a chosen rule's ratings differ between the corpus and the selection."""

    name: str
    all: float | None
    selected: float | None
    shift: float | None
    """Difference of the means in standard deviations of the corpus."""
    failed: int


class Share(_Figures):
    """How often a value occurs in the corpus and in the selection."""

    value: str
    all: int
    selected: int


class Drift(_Figures):
    """How the selection differs from the corpus in what nobody asked for."""

    lengths: Distribution | None
    """Lengths on a logarithmic scale: the bins are decimal logarithms of characters."""
    length_quantiles: dict[str, list[float]]
    """Group -> the 10 %, 50 % and 90 % quantiles of the length."""
    length_shift: float | None
    """Difference of the mean logarithms in standard deviations of the corpus."""
    sources: list[Share]


class Agreement(_Figures):
    """Two raters, or two wordings, on the same rows."""

    name: str
    rows: int
    correlation: Estimate | None
    """Pearson, with a 95 % interval by Fisher's z."""


class Row(_Figures):
    """A row worth reading."""

    row: int
    id: str
    rank: int | None
    """Place in the selection, from 1; None if it was not selected."""
    score: float | None
    dispute: float | None
    """Standard deviation of its z-scored ratings: how far the rules disagree about it."""
    text: str | None


class Stage(_Figures):
    """What one stage of the run cost."""

    name: str
    calls: int
    tokens_in: int | None = None
    tokens_out: int | None = None
    dollars: float | None = None
    """None where the price is unknown."""
    seconds: float | None = None


class Trust(_Figures):
    """One check of the judge."""

    name: str
    found: str | None
    """None where it was not made."""
    command: str | None
    """What makes it."""


class RunFigures(_Figures):
    """Everything a report knows of a run."""

    version: int = VERSION
    corpus: str
    domain: str
    judge: str
    method: str
    seed: int
    rows: int
    selected: int
    not_selected: int
    failed: int
    """Rows without a score."""
    scores: Distribution | None
    baselines: list[Baseline]
    flaws: list[Share]
    """Known flaws by kind, the sound rows under "sound"; empty where none are known."""
    rules: list[RuleShift]
    drift: Drift
    agreement: list[Agreement]
    trust: list[Trust]
    """Checks of the judge; empty where ratings are computed."""
    best: list[Row]
    worst: list[Row]
    disputed: list[Row]
    tied: int | None
    """Picks that a tie at the cut decided; None where the method does not say."""
    failures: dict[str, int]
    """Failed ratings by kind."""
    stages: list[Stage]
    audit: AuditFigures | None
