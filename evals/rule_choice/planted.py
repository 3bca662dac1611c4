"""Ratings whose truth is known: qualities that several rules measure, and rules that measure nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rulesel import choose_rules

QUALITIES = 12
GOOD = 50
NOISE = 5
CONSTANT = 3
REVERSED = 4
COPIES = 2


@dataclass(frozen=True)
class Planted:
    """Ratings (n, R) on a scale of 0 to 10, what each rule is, and the quality of each example."""

    S: np.ndarray
    again: np.ndarray
    kind: np.ndarray
    """Of each rule: good, noise, constant, reversed or copy."""
    quality: np.ndarray
    """The latent quality that each rule measures, -1 for noise and constants."""
    truth: np.ndarray
    """Mean of the latent qualities."""
    anchor: np.ndarray
    """A noisy overall grade of 30 rows, NaN for the others."""


def plant(seed: int, n: int = 1000, general: float = 0.0, *, equal: bool = True) -> Planted:
    """Make a set.

    Args:
        seed: names the set.
        n: examples.
        general: share of each quality's variance that all qualities have in common.
        equal: every quality has four or five rules, all equally noisy; otherwise from one rule to many, some clear
            and some vague.
    """
    rng = np.random.default_rng(seed)
    latent = np.sqrt(1 - general) * rng.normal(size=(n, QUALITIES)) + np.sqrt(general) * rng.normal(size=(n, 1))
    spare = rng.integers(0, QUALITIES, GOOD - QUALITIES)
    own = np.arange(GOOD) % QUALITIES if equal else np.concatenate([np.arange(QUALITIES), spare])
    vague = np.full(GOOD, 0.7) if equal else rng.uniform(0.4, 1.0, GOOD)
    scale, level = rng.uniform(1.0, 2.0, GOOD), rng.uniform(4, 7, GOOD)

    def rate() -> np.ndarray:
        good = scale * (latent[:, own] + vague * rng.normal(size=(n, GOOD))) + level
        turned = 10 - good[:, :REVERSED] - 0.3 * rng.normal(size=(n, REVERSED))
        noise = rng.uniform(0, 10, (n, NOISE))
        constant = np.where(rng.random((n, CONSTANT)) < [0, 0.005, 0.02], 4.0, 9.0)
        table = np.hstack([good, noise, constant, turned])
        return np.clip(np.round(table), 0, 10)

    S, again = rate(), rate()
    S, again = np.hstack([S, S[:, 5 : 5 + COPIES]]), np.hstack([again, again[:, 5 : 5 + COPIES]])
    truth = latent.mean(axis=1)
    # 5 % fail at random; of the worst tenth of the examples another fifth, so failures tell of quality.
    fails = (rng.random(S.shape) < 0.05) | ((truth < np.quantile(truth, 0.1))[:, None] & (rng.random(S.shape) < 0.2))
    S = np.where(fails, np.nan, S)
    anchor = np.full(n, np.nan)
    rows = rng.choice(n, 30, replace=False)
    anchor[rows] = truth[rows] + 0.3 * truth.std() * rng.normal(size=30)
    kind = np.repeat(["good", "noise", "constant", "reversed", "copy"], [GOOD, NOISE, CONSTANT, REVERSED, COPIES])
    blank = np.full(NOISE + CONSTANT, -1)
    quality = np.concatenate([own, blank, own[:REVERSED], own[5 : 5 + COPIES]])
    return Planted(S, again, kind, quality, truth, anchor)


def retest(planted: Planted, rows: int = 40) -> np.ndarray:
    """Reliability from the first rows rated twice."""
    from rulesel.rules.worth import retest_reliability

    r = retest_reliability(planted.S[:rows], planted.again[:rows])[0]
    return np.clip(np.nan_to_num(r, nan=0.05), 0.05, 1.0)


def usable(planted: Planted) -> np.ndarray:
    """Rules that the filters leave."""
    gone = [j for j, _ in choose_rules(planted.S, 1).dropped]
    return np.setdiff1d(np.arange(planted.S.shape[1]), gone)


def study(seeds: int, r: int = 10, **how: object) -> dict[str, dict[str, float]]:
    """Means over sets: qualities covered, noise, constant and reversed rules among the chosen, and their worth."""
    found: dict[str, list[tuple[float, ...]]] = {}
    for seed in range(seeds):
        planted = plant(seed, **how)
        S, rng = planted.S, np.random.default_rng(seed)
        trust = retest(planted)
        arms = {
            "random": choose_rules(S, r, required=rng.choice(usable(planted), r, replace=False).tolist()),
            "paper": choose_rules(S, r, method="paper", seed=seed),
            "map-gram": choose_rules(S, r, kernel="gram"),
            "map-correlation": choose_rules(S, r, kernel="correlation"),
            "rulesel": choose_rules(S, r),
            "rulesel+reliability": choose_rules(S, r, reliability=trust),
            "rulesel+anchor": choose_rules(S, r, anchor=planted.anchor),
            "rulesel+both": choose_rules(S, r, anchor=planted.anchor, reliability=trust),
            "top": choose_rules(S, r, method="top"),
            "top+anchor": choose_rules(S, r, method="top", anchor=planted.anchor),
        }
        for name, choice in arms.items():
            kinds, rules = planted.kind[choice.indices], planted.quality[choice.indices]
            score = choice.score(S, coverage=0.5)
            known = ~np.isnan(score)
            found.setdefault(name, []).append(
                (
                    len(set(rules[rules >= 0].tolist())),
                    (kinds == "noise").sum(),
                    (kinds == "constant").sum(),
                    (kinds == "reversed").sum(),
                    np.corrcoef(score[known], planted.truth[known])[0, 1],
                    choice.rms_corr,
                    len(set(np.flatnonzero(planted.kind == "reversed").tolist()) & {j for j, _ in choice.dropped}),
                )
            )
    names = ("qualities", "noise", "constant", "reversed", "truth", "rms", "reversed_dropped")
    return {arm: dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True)) for arm, rows in found.items()}
