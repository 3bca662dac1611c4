"""The figures of an audit as plain values: what the page shows and what `--json` prints.

`AuditFigures.model_json_schema(mode="serialization")` is their published JSON schema. Rules are named by their place
in the rule set, from 0. Correlations and shares are numbers in [-1, 1] and [0, 1]; null is what is unknown.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

VERSION = 1
"""Raised when a field changes its meaning or goes away."""


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class Estimate(_Figures):
    """A number, and where it is a mean over draws or resamples, the range that 95 % of them lie in."""

    value: float
    low: float | None = None
    high: float | None = None


class Shown(_Figures):
    """An example on a rule's card."""

    row: int
    id: str
    rating: float
    text: str | None
    """Shortened; None where texts were not at hand."""


class Histogram(_Figures):
    """Counts of ratings; `edges` has one entry more than `counts`, or as many where each bar is one value."""

    edges: list[float]
    counts: list[int]


class Neighbour(_Figures):
    """The rule most correlated with this one."""

    rule: int
    correlation: float


class RuleFigures(_Figures):
    """One rule's card."""

    index: int
    id: str
    name: str
    text: str
    polarity: str
    place: int | None
    """Place in the order of choice, from 1; None if it was not chosen."""
    dropped: str | None
    """Why it could not be chosen."""
    rated: int
    failures: dict[str, int]
    mean: float | None
    sd: float | None
    histogram: Histogram
    reliability: Estimate | None
    """Correlation with a re-rating."""
    relevance: Estimate | None
    """Correlation with quality, as the anchor or the other rules show it."""
    worth: float
    """The q of the kernel."""
    inclusion: float
    """Probability of being in one draw of the k-DPP."""
    bootstrap: float | None
    """Share of resamples in which it was chosen."""
    nearest: Neighbour | None
    explained: float | None
    """Share of its variance that the chosen rules (without itself) explain."""
    length_correlation: float | None
    tokens: float | None
    """Tokens that one rating costs."""
    highest: list[Shown]
    lowest: list[Shown]


class Step(_Figures):
    """What one more rule adds, in the order of choice."""

    rule: int
    chosen: bool
    residual: float
    """Share of its variance that the rules before it leave unexplained."""
    gain: float
    """What it adds to the natural log of the kernel's determinant."""
    covered: float
    """Mean share of the variance of all usable rules that the rules up to here explain."""


class Merge(_Figures):
    """One join of the dendrogram; nodes below R' are the rules of `Map.order`, R' + i is the i-th join."""

    left: int
    right: int
    height: float


class CorrelationMap(_Figures):
    """Correlations of the usable rules, ordered so that similar ones stand together."""

    order: list[int]
    correlation: list[list[float]]
    """Rows and columns in `order`."""
    merges: list[Merge]
    """Average linkage on 1 - |c|; `left` and `right` count places in `order`."""


class Spectrum(_Figures):
    """Eigenvalues of the correlation matrix of the usable rules."""

    eigenvalues: list[float]
    noise_edge: float
    """What unrelated rules would show at this number of examples (Marchenko and Pastur 1967)."""
    above_edge: int
    effective_rank: float
    """exp of the entropy of the spectrum."""
    participation: float
    """(sum l)^2 / sum l^2."""
    clipped: float
    """Share of the spectrum that was negative, because ratings were missing, and was set to zero."""


class Arm(_Figures):
    """A way to get as many rules, on the same ratings."""

    name: Literal["chosen", "top", "random", "paper", "all"]
    draws: int
    """How many sets the figures are averaged over; 1 where there is only one."""
    rules: list[int] | None
    size: int
    rms_correlation: Estimate
    rho: Estimate
    log_volume: Estimate | None
    """ln det of the correlations: 0 when uncorrelated. None where it is singular."""
    close_pairs: Estimate
    """Pairs with |c| above .8."""
    coverage: Estimate | None
    """Mean share of the variance of the rules left out that the set explains. None where nothing is left out."""
    unusable: Estimate
    """Rules of the set that the hard filters drop."""
    relevance: Estimate
    """Mean relevance of the rules."""
    agreement: Estimate | None
    """Spearman correlation of the set's score with the anchor, on the rows that have one; they also guided the
    choice."""
    stability: float | None
    """Nogueira's stability of the set under resampling: 1 always the same, 0 as random."""
    score_stability: float | None
    """Mean Spearman correlation between the scores of the sets of two resamples."""


class Bootstrap(_Figures):
    """How the choice changes when the examples change."""

    repeats: int
    rows: int
    stability: float | None
    jaccard: float | None
    score_stability: float | None
    top_overlap: float | None
    """Mean Jaccard overlap of the best tenth of the examples."""
    core: list[int]
    """Rules chosen in more than 80 % of the resamples."""


class Cost(_Figures):
    """What rating one example costs, by the chosen rules and by all."""

    calls_chosen: int
    calls_all: int
    tokens_chosen: float | None
    tokens_all: float | None


class Warned(_Figures):
    """A warning in words."""

    kind: Literal[
        "sample", "alike", "repeats", "dropped", "unstable", "relevance", "reliability", "failures", "length", "note"
    ]
    grave: bool
    """True where the choice should not be used before it is looked into."""
    rules: list[int]
    text: str


class AuditFigures(_Figures):
    """Everything an audit knows of a choice of rules."""

    version: int = VERSION
    rule_set: str
    """Content address of the rule set."""
    origin: str
    domain: str
    examples: int
    anchored: int
    """Examples with an outside grade."""
    usable: int
    """Rules left after the hard filters."""
    method: str
    kernel: str
    seed: int
    chosen: list[int]
    """In the order in which they add most."""
    weights: list[float]
    rules: list[RuleFigures]
    map: CorrelationMap
    spectrum: Spectrum
    steps: list[Step]
    """The chosen rules, then what the next ones would add."""
    suggested: dict[str, int]
    """How many rules each criterion suggests."""
    arms: list[Arm]
    bootstrap: Bootstrap | None
    cost: Cost
    warnings: list[Warned]
