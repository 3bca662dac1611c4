"""Every way of choosing rules that is compared. An arm sees the choosing half only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rulesel import choose_rules
from rulesel.rules.choice import RuleChoice
from rulesel.rules.worth import retest_reliability

DRAWS = 20
"""Draws a split of the arms that are random."""

ANCHORS = 30
"""Rows of the choosing half whose overall grade the anchored arms see."""

BASE = (
    ("random", "r rules at random, of those that survive the filters"),
    ("paper", "one exact k-DPP draw on the raw Gram matrix, mean of raw ratings, as published"),
    ("best-of", "the largest determinant of 1000 draws on the Gram matrix, z-scored mean"),
    ("map-gram", "largest determinant, Gram matrix"),
    ("map-covariance", "largest determinant, covariance"),
    ("map-correlation", "largest determinant, correlation: pure orthogonality"),
    ("rulesel", "the default: weighted kernel, no anchor"),
    ("rulesel+reliability", "with re-ratings of the rows in the choosing half"),
    ("rulesel+anchor", "with 30 overall grades"),
    ("rulesel+both", "with grades and re-ratings"),
    ("top", "r rules of highest worth, no anchor, no DPP"),
    ("top+anchor", "r rules of highest worth with 30 grades, no DPP"),
    ("top-correlation", "r rules most correlated with the 30 grades, no DPP"),
    ("cluster+anchor", "the worthiest rule of each of r clusters, 30 grades"),
    ("sample+anchor", "one exact draw of the weighted kernel, 30 grades"),
    ("linear+anchor", "as rulesel+anchor, but q = max(.05, relevance) only"),
    ("square+anchor", "as rulesel+anchor, but q = max(.05, relevance)^2 only"),
    ("no-spread+anchor", "as rulesel+anchor, but q without the spread"),
    ("anchor, decorrelated", "rulesel+anchor, weights (C + .1 I)^-1 1"),
    ("anchor, fitted", "rulesel+anchor, weights fitted on the 30 grades"),
    ("both, by reliability", "rulesel+both, weights by reliability"),
    ("all", "z-scored mean of all rules that survive the filters"),
    ("all, decorrelated", "weights (C + .1 I)^-1 1 over all rules that survive"),
    ("all, fitted", "weights over all rules that survive, fitted on the 30 grades"),
    ("overall", "the overall grade alone, no rules"),
    ("oracle", "forward selection on the truth of the judging half: an upper bound, not a method"),
)
EXPLAINED = dict(BASE)
RANDOM = ("random", "paper", "sample+anchor")
WHOLE = ("all", "all, decorrelated", "all, fitted", "overall")
GRADED = {arm for arm, _ in BASE if {"anchor", "both", "fitted"} & set(arm.replace("+", " ").replace(",", "").split())}
"""Arms that see overall grades: a set without grades has no such arm."""
GRADED |= {"top-correlation", "overall"}


@dataclass(frozen=True)
class Half:
    """What may be known when rules are chosen."""

    S: np.ndarray
    again: np.ndarray
    overall: np.ndarray
    seed: int

    def anchor(self) -> np.ndarray:
        """The overall grades of some rows, NaN for the others."""
        known = np.flatnonzero(~np.isnan(self.overall))
        rows = np.random.default_rng([self.seed, 1]).permutation(known)[:ANCHORS]
        anchor = np.full(len(self.overall), np.nan)
        anchor[rows] = self.overall[rows]
        return anchor

    def reliability(self) -> np.ndarray:
        """Of the rows rated twice in this half; NaN where that says nothing."""
        rated = ~np.isnan(self.again).all(axis=1)
        return np.clip(retest_reliability(self.S[rated], self.again[rated])[0], 0.05, 1.0)


def survivors(half: Half) -> list[int]:
    """Rules that the filters leave, without looking at any grade."""
    choice = choose_rules(half.S, 1, method="top")
    gone = {j for j, _ in choice.dropped}
    return [j for j in range(half.S.shape[1]) if j not in gone]


def whole(half: Half) -> dict[str, RuleChoice]:
    """The arms that use every rule."""
    kept = survivors(half)
    out = sorted(set(range(half.S.shape[1])) - set(kept))
    # Given worths keep the two arms on the same rules, whatever the anchor says of their direction.
    common = {"method": "top", "forbidden": out, "q": np.ones(half.S.shape[1])}
    return {
        "all": choose_rules(half.S, len(kept), **common),
        "all, decorrelated": choose_rules(half.S, len(kept), weights="decorrelated", **common),
        "all, fitted": choose_rules(half.S, len(kept), weights="fitted", anchor=half.anchor(), required=kept, **common),
    }


def chosen(half: Half, r: int) -> dict[str, list[RuleChoice]]:
    """One choice of every arm, or `DRAWS` of a random one."""
    S, anchor, trust = half.S, half.anchor(), half.reliability()
    trust = None if np.isnan(trust).all() else trust
    kept = survivors(half)
    rng = np.random.default_rng([half.seed, 2])
    known = np.flatnonzero(~np.isnan(anchor))
    with np.errstate(invalid="ignore", divide="ignore"):
        own = np.nan_to_num(np.array([masked_correlation(S[known, j], anchor[known]) for j in range(S.shape[1])]))
    anchored = choose_rules(S, r, anchor=anchor)
    floor = np.maximum(anchored.relevance, 0.05)
    with np.errstate(invalid="ignore", divide="ignore"):
        span = np.nanmax(S, axis=0) - np.nanmin(S, axis=0)
        spread = np.maximum(np.nan_to_num(2 * anchored.sd / span), 0.05)
    seeds = [int(seed) for seed in rng.integers(0, 2**31, DRAWS)]
    arms: dict[str, list[RuleChoice]] = {
        "random": [choose_rules(S, r, required=rng.choice(kept, r, replace=False).tolist()) for _ in range(DRAWS)],
        "paper": [choose_rules(S, r, method="paper", seed=seed) for seed in seeds],
        "sample+anchor": [choose_rules(S, r, method="sample", anchor=anchor, seed=seed) for seed in seeds],
        "best-of": [choose_rules(S, r, method="best_of", kernel="gram", seed=half.seed)],
        "map-gram": [choose_rules(S, r, kernel="gram")],
        "map-covariance": [choose_rules(S, r, kernel="covariance")],
        "map-correlation": [choose_rules(S, r, kernel="correlation")],
        "rulesel": [choose_rules(S, r)],
        "rulesel+anchor": [anchored],
        "top": [choose_rules(S, r, method="top")],
        "top+anchor": [choose_rules(S, r, method="top", anchor=anchor)],
        "top-correlation": [choose_rules(S, r, method="top", q=np.maximum(own, 1e-6))],
        "cluster+anchor": [choose_rules(S, r, method="cluster", anchor=anchor)],
        "linear+anchor": [choose_rules(S, r, anchor=anchor, q=floor)],
        "square+anchor": [choose_rules(S, r, anchor=anchor, q=floor**2)],
        "no-spread+anchor": [choose_rules(S, r, anchor=anchor, q=np.maximum(anchored.q, 1e-9) / spread)],
        "anchor, decorrelated": [choose_rules(S, r, anchor=anchor, weights="decorrelated")],
        "anchor, fitted": [choose_rules(S, r, anchor=anchor, weights="fitted")],
    }
    if trust is not None:
        arms["rulesel+reliability"] = [choose_rules(S, r, reliability=trust)]
        arms["rulesel+both"] = [choose_rules(S, r, anchor=anchor, reliability=trust)]
        arms["both, by reliability"] = [choose_rules(S, r, anchor=anchor, reliability=trust, weights="reliability")]
    return arms


def masked_correlation(a: np.ndarray, b: np.ndarray) -> float:
    both = ~np.isnan(a) & ~np.isnan(b)
    return float(np.corrcoef(a[both], b[both])[0, 1]) if both.sum() > 2 and np.ptp(a[both]) > 0 else 0.0
