"""Rules that cannot be chosen, each with its reason in words."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rulesel.algorithms import ties

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

MAX_FAILED = 0.20
"""Largest share of failed ratings of a rule."""

MAX_MODE = 0.97
"""Largest share of one value among a rule's ratings. A binary rule that says no to 4 % passes."""

MIN_SPREAD = 0.02
"""Smallest standard deviation, in units of the rule's range: below it a few outliers make the whole range."""

DUPLICATE = 0.999
"""Absolute correlation from which two rules are the same rule."""

WRONG_WAY = "points the wrong way"
"""How the reason of a rule that runs against quality begins."""

REVERSED = -0.2
"""Correlation with the quality the other rules agree on, below which a rule points the wrong way."""

CHANCE = 0.05
"""Probability that any of the rules is found to run against quality where none has to do with it."""

AGREED = 0.5
"""Least alpha of the other rules at which a correlation with their mean that is small, but not by chance, says which of
them is wrong."""


class Columns(NamedTuple):
    """What the filters need to know of each rule's ratings, arrays of shape (R,)."""

    present: npt.NDArray[np.int64]
    low: Floats
    high: Floats
    mode_share: Floats


def describe(S: npt.NDArray[np.floating]) -> Columns:
    """Count, range and share of the commonest value of each column, NaN left out; S has shape (n, R)."""
    present = np.empty(S.shape[1], dtype=np.int64)
    low, high, mode = (np.full(S.shape[1], np.nan) for _ in range(3))
    for j in range(S.shape[1]):
        values = S[:, j][~np.isnan(S[:, j])]
        present[j] = len(values)
        if len(values):
            low[j], high[j] = values.min(), values.max()
            # A value held by more than half of the rows is their median: no sort is needed to find it.
            middle = np.partition(values, len(values) // 2)[len(values) // 2]
            mode[j] = (values == middle).mean()
    return Columns(present, low, high, mode)


def unusable(columns: Columns, sd: Floats, rows: int) -> dict[int, str]:
    """Rules without ratings, with too many failures, or that hardly vary: {index: reason}."""
    reasons: dict[int, str] = {}
    for j, present in enumerate(columns.present.tolist()):
        span = columns.high[j] - columns.low[j]
        failed = 1 - present / rows
        if present == 0:
            reasons[j] = "no rating at all"
        elif failed > MAX_FAILED:
            reasons[j] = f"{failed:.0%} of its ratings failed (limit {MAX_FAILED:.0%})"
        elif present < 2 or span == 0:
            reasons[j] = f"constant: every rating is {columns.low[j]:g}"
        elif columns.mode_share[j] > MAX_MODE:
            reasons[j] = f"nearly constant: {columns.mode_share[j]:.1%} of its ratings are equal (limit {MAX_MODE:.0%})"
        elif sd[j] < MIN_SPREAD * span:
            reasons[j] = f"hardly varies: its standard deviation is {sd[j] / span:.1%} of its range"
    return reasons


def reversed_rules(
    C: Floats,
    usable: Bools,
    negative: Bools,
    target: tuple[Floats, Floats] | None,
    ids: ties.Ids,
    rows: npt.NDArray[np.int64],
) -> tuple[Floats, dict[int, str]]:
    """Which rules point the wrong way: those declared negative are turned, the others are dropped.

    A rule points the wrong way when it runs against quality, clearly (`REVERSED`) or significantly (`least_by_chance`),
    or when it says the opposite of the rules nearest to it and nothing about quality speaks for it. Against known grades
    a clear correlation counts where a single rule would not show it by chance: relevance by prediction, which is a mean
    of the rules themselves, is large for random rules too. The worst one goes first, since it spoils the comparison for
    the rest.

    Args:
        C: correlations of all rules, shape (R, R).
        usable: rules still in the running, shape (R,).
        negative: rules declared to be better when lower.
        target: relevance of each rule by grades known of some examples, and its own correlation with these grades, which
            is what is tested, shape (R,) each; None takes the mean of the other rules, z-scored, for quality.
        ids: of equally bad rules the one of lowest id goes first, shape (R,).
        rows: examples behind each rule's correlation, shape (R,).

    Returns:
        The orientation of each rule (+1 or -1), shape (R,), and {index: reason} of the dropped ones.
    """
    sign = np.ones(len(C))
    dropped: dict[int, str] = {}
    live = usable.copy()
    chance = least_by_chance(rows, int(usable.sum()))
    single = REVERSED if target is None else np.minimum(REVERSED, least_by_chance(rows, 1))
    while live.sum() > 1:
        turned = C * np.outer(sign, sign)
        agreement = sign * target[0] if target is not None else item_rest(turned, live)
        tested = sign * target[1] if target is not None else agreement
        sure = live if target is not None else live & (rest_alpha(turned, live) >= AGREED)
        significant = sure & (tested < chance)
        clear = (agreement < REVERSED) & (tested < single)
        near = np.where(agreement < -REVERSED, nearest_agreement(turned, live), 1.0)
        against = live & (clear | (near < -0.5) | significant)
        if not against.any():
            break
        standing = np.minimum(np.where(significant, np.minimum(agreement, tested), agreement), near)
        worst = ties.best(np.where(against, -standing, -np.inf), ids)
        if negative[worst] and sign[worst] > 0:
            sign[worst] = -1.0
            continue
        whom = "the anchor" if target is not None else "the mean of the other rules"
        if clear[worst]:
            dropped[worst] = f"{WRONG_WAY}: correlation {tested[worst]:.2f} with {whom}"
        elif significant[worst]:
            dropped[worst] = (
                f"{WRONG_WAY}: correlation {tested[worst]:.2f} with {whom} on {rows[worst]:,} examples, which is not by "
                f"chance (below {chance[worst]:.2f})"
            )
        else:
            twin = int(np.argmin(np.where(live, turned[worst], np.inf)))
            dropped[worst] = f"{WRONG_WAY}: correlation {turned[worst, twin]:.2f} with the rule nearest to it"
        live[worst] = False
    return sign, dropped


def least_by_chance(rows: npt.NDArray[np.int64], tests: int) -> Floats:
    """The correlation below which one of `tests` rules that have nothing to do with quality falls with `CHANCE`.

    Student's t of a correlation over so many rows, one-sided, at `CHANCE` / `tests` for each (Bonferroni); -1 where rows
    are too few. Shape of rows.
    """
    from scipy.special import stdtrit

    free = np.maximum(rows - 2, 1).astype(np.float64)
    t = stdtrit(free, CHANCE / max(tests, 1))
    return np.asarray(np.where(rows > 3, t / np.sqrt(free + t**2), -1.0))


def rest_alpha(C: Floats, live: Bools) -> Floats:
    """Cronbach's alpha of the other live rules, z-scored, for each rule, shape (R,): how far they measure one thing."""
    total = C[:, live].sum(axis=1)
    own = np.where(live, 1.0, 0.0)
    variance = C[np.ix_(live, live)].sum() - 2 * own * total + own
    k = live.sum() - own
    with np.errstate(invalid="ignore", divide="ignore"):
        alpha = np.where((k > 1) & (variance > 1e-12), k / (k - 1) * (1 - k / variance), 0.0)
    return np.asarray(alpha)


def nearest_agreement(C: Floats, live: Bools) -> Floats:
    """Sign of each rule's strong correlations, in [-1, 1], shape (R,): the sum of c^3 over the sum of |c|^3.

    1 where no other live rule runs strongly against it (c below -1/2).
    """
    others = np.where(live[None, :], C, 0.0)
    np.fill_diagonal(others, 0.0)
    size = (np.abs(others) ** 3).sum(axis=1)
    agreement = np.divide((others**3).sum(axis=1), size, out=np.ones(len(C)), where=size > 0)
    return np.where(others.min(axis=1) < -0.5, agreement, 1.0)


def item_rest(C: Floats, live: Bools) -> Floats:
    """Correlation of each rule with the mean of the other live z-scored rules, shape (R,); 0 where there is none."""
    total = C[:, live].sum(axis=1)
    own = np.where(live, 1.0, 0.0)
    rest_variance = C[np.ix_(live, live)].sum() - 2 * own * total + own
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.where(rest_variance > 1e-12, (total - own) / np.sqrt(rest_variance), 0.0)
    return np.asarray(np.clip(correlation, -1.0, 1.0))


def duplicates(C: Floats, order: list[int]) -> dict[int, tuple[int, float]]:
    """Rules that repeat an earlier one of `order` (best first): {index: (the kept rule, their correlation)}."""
    kept: list[int] = []
    repeated: dict[int, tuple[int, float]] = {}
    for j in order:
        near = np.abs(C[j, kept]) if kept else np.empty(0)
        if len(near) and near.max() > DUPLICATE:
            twin = kept[ties.best(near)]
            repeated[j] = (twin, float(C[j, twin]))
        else:
            kept.append(j)
    return repeated
