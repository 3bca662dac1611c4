"""What a rule is worth on its own: does it bear on quality, and can its ratings be trusted.

Orthogonality alone collects noise, since a rule rated at random is uncorrelated with everything. The determinantal
kernel diag(q) C diag(q) therefore carries a worth q for each rule, and ln det adds 2 ln q of every chosen rule.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rulesel.algorithms.moments import noise_edge
from rulesel.rules.filters import item_rest

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

FLOOR = 0.05
"""Least relevance and trust: a rule of no worth can still be taken when nothing else is left."""

RELEVANCE_POWER = 2.0
"""Relevance squared is the share of a rule's variance that bears on quality. Measured: evals/rule_choice/README.md."""

MIN_ANCHORS = 10
"""Fewest known grades that say anything about relevance."""

DOUBT = 2.0
"""How many times its sampling error an anchor must differ from the rules' own agreement to be believed in part."""


@dataclass(frozen=True, slots=True)
class Worth:
    """What the worth q of each rule is made of; arrays of shape (R,)."""

    relevance: Floats
    """Estimated correlation with quality, in [-1, 1]."""
    trust: Floats
    """Reliability where it was measured, else the share of variance that a rule has in common with others."""
    spread: Floats
    """Standard deviation over half the range, in [0, 1]."""
    evidence: float
    """How far relevance is known rather than guessed, in [0, 1]; the exponent of relevance is twice this."""

    @property
    def q(self) -> Floats:
        """Worth of each rule, higher is better; only ratios matter for the choice, shape (R,)."""
        relevance = np.maximum(self.relevance, FLOOR) ** (RELEVANCE_POWER * self.evidence)
        return np.asarray(relevance * np.maximum(self.trust, FLOOR) * np.maximum(self.spread, FLOOR))


def common_factors(C: Floats, rows: int) -> tuple[Floats, float]:
    """What the factors that stand out from noise say about each rule, and whether one of them rules.

    Factors are the eigenvectors of C above the noise edge (1 + sqrt(R / n))^2, at least the first. A rule rated at
    random has no part in them. Where one general factor stands alone, the rules' mean is a good guess at quality;
    where there are many of equal size, it says little about any single rule.

    Args:
        C: correlations, shape (R, R).
        rows: examples behind them.

    Returns:
        Share of each rule's variance in those factors, in [0, 1], shape (R,); and how much the first exceeds an equal
        share of them, from 0 (all equal) to 1 (alone).
    """
    values, vectors = np.linalg.eigh(C)
    strong = values > noise_edge(len(C), rows)
    strong[-1] = True
    common = np.clip(vectors[:, strong] ** 2 @ values[strong], 0.0, 1.0)
    count = int(strong.sum())
    first = float(values[-1] / values[strong].sum())
    return common, 1.0 if count == 1 else (first - 1 / count) / (1 - 1 / count)


def anchor_evidence(own: Floats, guess: Floats, grades: int) -> float:
    """How far an anchor says something else than the rules' own agreement, beyond chance, in [0, 1).

    Positive-part James-Stein factor of the differences between each rule's correlation with the grades and its
    correlation with the other rules; their errors are shared between rules, hence `DOUBT`.
    """
    error = ((1 - own**2) ** 2).sum() / grades
    return float(max(0.0, 1 - DOUBT * error / max(((own - guess) ** 2).sum(), 1e-12)))


def relevance_from_rules(C: Floats, live: Bools) -> Floats:
    """Correlation of each rule with the mean of the others, shape (R,): what the rules agree on stands for quality."""
    return item_rest(C, live)


def relevance_from_anchor(Z: Floats, anchor: Floats, C: Floats, live: Bools) -> tuple[Floats, Floats]:
    """Correlation of each rule with quality as a few graded rows show it.

    A rule's own correlation with 30 grades has a standard error of .18. So the grades are first predicted from all
    rules together by ridge regression (a Gaussian prior under which rules and noise explain half the variance each:
    lambda = number of rules), and a rule's relevance is its correlation with the prediction, which is known on every
    rated row. With many grades the prior fades and the prediction becomes the best linear one.

    Args:
        Z: z-scored ratings of the graded rows, NaN where missing, shape (m, R).
        anchor: grades, higher is better, any scale, shape (m,).
        C: correlations of the rules over all rated rows, shape (R, R).
        live: rules in the running, shape (R,).

    Returns:
        Relevance by the prediction, and each rule's own correlation with the grades, both in [-1, 1], shape (R,).
    """
    x = np.nan_to_num(Z[:, live])
    x = x - x.mean(axis=0)
    y = (anchor - anchor.mean()) / anchor.std()
    own = np.zeros(len(C))
    own[live] = np.clip(x.T @ y / np.sqrt(np.maximum((x**2).sum(axis=0) * len(y), 1e-12)), -1.0, 1.0)
    prior = float(live.sum())
    if len(y) < x.shape[1]:
        weights = x.T @ np.linalg.solve(x @ x.T + prior * np.eye(len(y)), y)
    else:
        weights = np.linalg.solve(x.T @ x + prior * np.eye(x.shape[1]), x.T @ y)
    size = float(np.sqrt(max(weights @ C[np.ix_(live, live)] @ weights, 0.0)))
    if size < 1e-12:
        return np.zeros(len(C)), own
    return np.asarray(np.clip(C[:, live] @ weights / size, -1.0, 1.0)), own


def retest_reliability(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Reliability of each rule from rating the same rows twice, under another wording or by another rater.

    Args:
        first: ratings, shape (m, R), NaN where missing.
        second: ratings of the same rows and rules, shape (m, R).

    Returns:
        Pearson correlation over the rows rated both times, and its 95 % interval by Fisher's z, each of shape (R,).
        NaN where fewer than five rows are common or a rating does not vary.

    Raises:
        ValueError: the shapes differ.
    """
    a, b = np.array(first, dtype=np.float64), np.array(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"Both ratings must have one shape (rows, rules), got {a.shape} and {b.shape}.")
    both = ~np.isnan(a) & ~np.isnan(b)
    count = both.sum(axis=0)
    a, b = np.where(both, a, 0.0), np.where(both, b, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        a, b = (np.where(both, x - x.sum(axis=0) / count, 0.0) for x in (a, b))
        scale = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
        r = np.where((count >= 5) & (scale > 1e-12), (a * b).sum(axis=0) / scale, np.nan)
        centre = np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12))
        half = 1.96 / np.sqrt(np.maximum(count - 3, 1))
    return r, np.tanh(centre - half), np.tanh(centre + half)
