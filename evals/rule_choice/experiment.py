"""Choose rules on one half of the examples, judge the score on the other, many times."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from evals.rule_choice.arms import GRADED, WHOLE, Half, chosen, survivors, whole
from evals.rule_choice.folders import Folder
from evals.rule_choice.measures import calibrated_mse, quality, resamples, winning_rate
from rulesel.algorithms.moments import moments
from rulesel.algorithms.stability import nogueira
from rulesel.rules.choice import RuleChoice

RESAMPLES = 401
NEAR = 0.8
"""Absolute correlation from which two chosen rules count as near-repetitions."""

Key = tuple[str, int, str]
"""Folder, r, arm."""


@dataclass
class Tally:
    """Sums over splits, by folder, r and arm."""

    quality: dict[Key, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))
    """Mean over an arm's draws of AUC or Spearman in each resample, one array a split."""
    strength: dict[Key, list[np.ndarray]] = field(default_factory=lambda: defaultdict(list))
    """The same against Bradley-Terry strengths."""
    figures: dict[Key, list[dict[str, float]]] = field(default_factory=lambda: defaultdict(list))
    sets: dict[Key, list[list[int]]] = field(default_factory=lambda: defaultdict(list))
    winning: dict[Key, list[float]] = field(default_factory=lambda: defaultdict(list))
    rho_error: dict[tuple[str, int], list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    """Rule correlation and error of random subsets, both less their split's mean."""
    failed: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, other: Tally) -> None:
        """Take over another tally's splits."""
        for name in ("quality", "strength", "figures", "sets", "winning", "rho_error"):
            for key, values in getattr(other, name).items():
                getattr(self, name)[key].extend(values)
        for why, count in other.failed.items():
            self.failed[why] += count


def run_splits(folder: Folder, splits: Iterable[int], sizes: tuple[int, ...]) -> Tally:
    """All arms on some splits of one folder."""
    tally = Tally()
    weights = resamples(len(folder.S), RESAMPLES, seed=0)
    C = moments(folder.S).correlation()
    for split in splits:
        rows = np.random.default_rng([split, 0]).permutation(len(folder.S))
        first, second = np.sort(rows[: len(rows) // 2]), np.sort(rows[len(rows) // 2 :])
        if len(np.unique(folder.truth[second])) < 2:
            tally.failed["one class only"] += 1
            continue
        half = Half(folder.S[first], folder.again[first], folder.overall[first], split)
        try:
            judge_all(tally, folder, half, second, weights[:, second], sizes, C)
        except ValueError as error:
            tally.failed[f"{folder.name}: {error}"[:120]] += 1
    return tally


def judge_all(
    tally: Tally,
    folder: Folder,
    half: Half,
    rows: np.ndarray,
    weight: np.ndarray,
    sizes: tuple[int, ...],
    C: np.ndarray,
) -> None:
    kept = survivors(half)
    fixed = {name: [choice] for name, choice in whole(half).items()}
    for r in sizes:
        arms = chosen(half, r) | fixed
        graded = not np.isnan(half.overall).all()
        arms = {name: choices for name, choices in arms.items() if graded or name not in GRADED}
        errors = {name: [error(folder, c, rows) for c in choices] for name, choices in arms.items()}
        for name, choices in arms.items():
            key = (folder.name, r, name)
            scores = [choice.score(folder.S[rows]) for choice in choices]
            record(tally, key, folder, scores, rows, weight)
            tally.figures[key].append(figures(choices, C, kept))
            tally.sets[key].append(choices[0].indices)
            tally.winning[key].append(winning_rate(np.array(errors[name]), np.array(errors["random"])))
        if graded:
            record(tally, (folder.name, r, "overall"), folder, [folder.overall[rows]], rows, weight)
        record(tally, (folder.name, r, "oracle"), folder, [oracle(folder, half, kept, r, rows)], rows, weight)
        rho = np.array([choice.rho for choice in arms["random"]])
        mse = np.array(errors["random"])
        tally.rho_error[folder.name, r].extend(zip(rho - rho.mean(), mse - mse.mean(), strict=True))


def record(
    tally: Tally, key: Key, folder: Folder, scores: list[np.ndarray], rows: np.ndarray, weight: np.ndarray
) -> None:
    found = [quality(score, folder.truth[rows], weight, binary=folder.binary) for score in scores]
    tally.quality[key].append(np.mean(found, axis=0))
    if (~np.isnan(folder.strength[rows])).sum() >= 8:
        ranks = [quality(score, folder.strength[rows], weight, binary=False) for score in scores]
        tally.strength[key].append(np.mean(ranks, axis=0))


def error(folder: Folder, choice: RuleChoice, rows: np.ndarray) -> float:
    return calibrated_mse(choice.score(folder.S[rows]), folder.truth[rows])


def figures(choices: list[RuleChoice], C: np.ndarray, kept: list[int]) -> dict[str, float]:
    """Means over draws: rule correlation, near-repetitions, and how much of the rules left out the chosen explain."""
    return {
        "rho": float(np.mean([choice.rho for choice in choices])),
        "rms": float(np.mean([choice.rms_corr for choice in choices])),
        "pairs": float(np.mean([near_pairs(C, choice.indices) for choice in choices])),
        "coverage": float(np.mean([coverage(C, choice.indices, kept) for choice in choices])),
    }


def near_pairs(C: np.ndarray, rules: list[int]) -> int:
    inner = np.abs(C[np.ix_(rules, rules)])
    return int((inner[np.triu_indices(len(rules), 1)] > NEAR).sum())


def coverage(C: np.ndarray, rules: list[int], kept: list[int]) -> float:
    """Mean share of variance of the surviving rules left out that a regression on the chosen explains."""
    rest = [j for j in kept if j not in rules]
    if not rest:
        return 1.0
    cross = C[np.ix_(rules, rest)]
    fit = np.linalg.lstsq(C[np.ix_(rules, rules)], cross, rcond=1e-8)[0]
    return float(np.clip((cross * fit).sum(axis=0), 0, 1).mean())


def oracle(folder: Folder, half: Half, kept: list[int], r: int, rows: np.ndarray) -> np.ndarray:
    """Score of the rules that forward selection takes when it may look at the truth it is judged by."""
    sums = moments(half.S)
    Z = np.nan_to_num((folder.S[rows] - sums.mean) / np.where(sums.sd > 0, sums.sd, 1))
    one = np.ones((1, len(rows)))
    total, left = np.zeros(len(rows)), list(kept)
    for _ in range(min(r, len(kept))):
        values = [quality(total + Z[:, j], folder.truth[rows], one, binary=folder.binary)[0] for j in left]
        total = total + Z[:, left.pop(int(np.argmax(values)))]
    return total


@dataclass(frozen=True)
class Estimate:
    """A mean over splits and its 95 % interval over resampled examples."""

    mean: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the interval leaves zero out: of use for differences."""
        return self.low > 0 or self.high < 0


def estimate(values: np.ndarray) -> Estimate:
    """From (resamples,), the first being the data as they are."""
    low, high = np.nanpercentile(values[1:], [2.5, 97.5])
    return Estimate(float(values[0]), float(low), float(high))


def over_splits(per_split: list[np.ndarray]) -> np.ndarray:
    return np.nanmean(np.array(per_split), axis=0)


def stability(tally: Tally, key: Key, rules: int) -> float:
    return nogueira(tally.sets[key], rules) if key[2] not in WHOLE else float("nan")
