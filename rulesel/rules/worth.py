"""What a rule is worth on its own: does it bear on quality, and can its ratings be trusted.

Orthogonality alone collects noise, since a rule rated at random is uncorrelated with everything. The determinantal
kernel diag(q) C diag(q) therefore carries a worth q for each rule, and ln det adds 2 ln q of every chosen rule.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rulesel.rules.filters import item_rest

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

FLOOR = 0.05
"""Least relevance and reliability: a rule of no worth can still be taken when nothing else is left."""

RELEVANCE_POWER = 2.0
RELIABILITY_POWER = 1.0
SPREAD_POWER = 1.0
"""Exponents of the three factors of q; the measurements behind them are in evals/README.md."""

MIN_ANCHORS = 10
"""Fewest known grades that say anything about relevance."""


def worth(relevance: Floats, reliability: Floats | None, spread: Floats) -> Floats:
    """Worth q of each rule, shape (R,), in (0, 1]: larger is better; only ratios matter for the choice.

    Args:
        relevance: correlation with quality, shape (R,).
        reliability: of re-ratings, in (0, 1], shape (R,); None takes every rule as equally reliable.
        spread: standard deviation over half the range, in [0, 1], shape (R,).
    """
    q = np.maximum(relevance, FLOOR) ** RELEVANCE_POWER * np.maximum(spread, FLOOR) ** SPREAD_POWER
    if reliability is not None:
        q = q * np.maximum(reliability, FLOOR) ** RELIABILITY_POWER
    return np.asarray(q)


def relevance_from_rules(C: Floats, live: Bools) -> Floats:
    """Correlation of each rule with the mean of the others, shape (R,): what the rules agree on stands for quality."""
    return item_rest(C, live)


def relevance_from_anchor(Z: Floats, anchor: Floats, C: Floats, live: Bools) -> Floats:
    """Correlation of each rule with quality as a few graded rows show it, shape (R,).

    A rule's own correlation with 30 grades has a standard error of .18. So the grades are first predicted from all
    rules together by ridge regression (a Gaussian prior under which rules and noise explain half the variance each:
    lambda = number of rules), and a rule's relevance is its correlation with the prediction, which is known on every
    rated row. With many grades the prior fades and the prediction becomes the best linear one.

    Args:
        Z: z-scored ratings of the graded rows, NaN where missing, shape (m, R).
        anchor: grades, higher is better, any scale, shape (m,).
        C: correlations of the rules over all rated rows, shape (R, R).
        live: rules in the running, shape (R,).
    """
    x = np.nan_to_num(Z[:, live])
    x = x - x.mean(axis=0)
    y = (anchor - anchor.mean()) / anchor.std()
    prior = float(live.sum())
    if len(y) < x.shape[1]:
        weights = x.T @ np.linalg.solve(x @ x.T + prior * np.eye(len(y)), y)
    else:
        weights = np.linalg.solve(x.T @ x + prior * np.eye(x.shape[1]), x.T @ y)
    inside = C[np.ix_(live, live)]
    size = float(np.sqrt(max(weights @ inside @ weights, 0.0)))
    if size < 1e-12:
        return np.zeros(len(C))
    return np.asarray(np.clip(C[:, live] @ weights / size, -1.0, 1.0))


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
