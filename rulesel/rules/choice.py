"""A set of chosen rules: which, why, and how their ratings become one score."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

GATE = 0.10
"""Largest share of the weight that may be missing from an example's score."""

GATE_SLACK = 1e-9
"""One rule of ten may fail in spite of rounding; one of nine may not."""


@dataclass(frozen=True, slots=True, eq=False)
class RuleChoice:
    """Chosen rules and everything known about the others; R rules were offered, r chosen."""

    indices: list[int]
    """Columns of the chosen rules, in the order in which they add most."""
    weights: Floats
    """Weight of each chosen rule in the score, absolute values summing to 1, shape (r,)."""
    q: Floats
    """Worth of each rule, higher is better, 0 for a dropped one, shape (R,)."""
    inclusion: Floats
    """Probability of each rule to be in one exact draw of the k-DPP; sums to r, 0 for a dropped one, shape (R,).
    NaN where r exceeds the rank of the kernel, so that there is no such draw (methods top and cluster only)."""
    logdet: float
    """Natural log of the kernel's determinant on the chosen rules: what the choice maximises."""
    rho: float
    """||C - I||_F / r of the chosen rules: 0 when uncorrelated; not comparable between different r."""
    rms_corr: float
    """Root mean square correlation of the chosen rules in [0, 1], comparable between different r; 0 for one rule."""
    dropped: list[tuple[int, str]]
    """Rules that could not be chosen, each with its reason."""

    method: str
    kernel: str
    seed: int
    names: list[str]
    examples: int
    """Rows the choice was made on."""
    relevance: Floats
    """Estimated correlation of each rule with quality, shape (R,); 0 for a rule dropped before it was measured."""
    trust: Floats
    """Reliability where given, else the share of variance in common with other rules (to a power), shape (R,)."""
    evidence: float
    """How far relevance is known rather than guessed, in [0, 1]: its weight in q."""
    reliability: Floats
    """As given, NaN where unknown, shape (R,)."""
    mean: Floats
    """Mean of each rule over its present ratings, shape (R,)."""
    sd: Floats
    """Population standard deviation of each rule, shape (R,)."""
    sign: Floats
    """-1 for a rule declared negative whose ratings run against the others, else +1, shape (R,)."""
    correlation: Floats
    """Correlations of all rules over their common rows, before orientation, shape (R, R)."""
    residual: Floats
    """Share of each chosen rule's variance that those before it leave unexplained, in [0, 1], shape (r,)."""
    raw: bool
    """True where the score is the plain mean of the raw ratings, as published."""
    noise_edge: float
    """Largest eigenvalue that unrelated rules would show at this number of rows: (1 + sqrt(R / n))^2."""
    clipped: float
    """Share of the spectrum that was negative, because ratings were missing, and was set to zero."""
    suggested_r: dict[str, int] = field(default_factory=dict)
    """How many rules each criterion of `how_many` suggests."""
    warnings: list[str] = field(default_factory=list)

    def score(self, S: npt.ArrayLike, *, coverage: float = 1 - GATE) -> Floats:
        """One score an example, higher is better, shape (N,), from the ratings of all the rules offered.

        Ratings are z-scored by the moments of the rows the rules were chosen on, turned where the rule was turned,
        and averaged by weight over the ratings present.

        Args:
            S: ratings of the R rules offered, in their order, shape (N, R); NaN where a rating failed.
            coverage: least share of the weight that must be present; below it the score is NaN.

        Raises:
            ValueError: not R columns, or an infinite rating.
        """
        ratings = _columns(S, len(self.q), "rules offered, in their order; `score_chosen` takes the chosen ones")
        return self._weighed(ratings[:, self.indices], coverage)

    def score_chosen(self, S: npt.ArrayLike, *, coverage: float = 1 - GATE) -> Floats:
        """The same from the ratings of the chosen rules alone.

        Args:
            S: ratings of the r chosen rules, in the order of `indices`, shape (N, r); NaN where a rating failed.
            coverage: as for `score`.

        Raises:
            ValueError: not r columns, or an infinite rating.
        """
        ratings = _columns(S, len(self.indices), "chosen rules, in the order of `indices`; `score` takes all")
        return self._weighed(ratings, coverage)

    def _weighed(self, ratings: npt.NDArray[np.generic], coverage: float) -> Floats:
        if np.isinf(ratings).any():
            raise ValueError("A rating is infinite; give NaN for a missing rating.")
        total = np.zeros(len(ratings))
        present = np.zeros(len(ratings))
        for place, (rule, weight) in enumerate(zip(self.indices, self.weights.tolist(), strict=True)):
            column = ratings[:, place].astype(np.float64)
            here = ~np.isnan(column)
            if not self.raw:
                column = (column - self.mean[rule]) * (self.sign[rule] / self.sd[rule])
            total += np.where(here, weight * column, 0.0)
            present += np.where(here, abs(weight), 0.0)
        missing = np.abs(self.weights).sum() - present
        enough = (missing <= 1 - coverage + GATE_SLACK) & (present > 0)
        score: Floats = np.divide(total, present, out=np.full(len(total), np.nan), where=enough)
        return score


def _columns(S: npt.ArrayLike, count: int, what: str) -> npt.NDArray[np.generic]:
    ratings = np.asarray(S)
    if ratings.ndim != 2 or ratings.shape[1] != count:
        raise ValueError(f"Ratings must have shape (examples, {count}), the {what}. Got shape {ratings.shape}.")
    return ratings
