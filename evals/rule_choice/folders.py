"""A folder of real ratings: examples, ratings under every rule, grades, truth, re-ratings, comparisons."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rulesel.algorithms.bradley_terry import bradley_terry


@dataclass(frozen=True)
class Folder:
    """One set: n examples, R rules."""

    name: str
    S: np.ndarray
    """Ratings (n, R), NaN where missing."""
    again: np.ndarray
    """The same cells rated a second time under other words, NaN where they were not."""
    overall: np.ndarray
    """Grade of the whole example, given without the rules, NaN where unknown, (n,)."""
    truth: np.ndarray
    """What somebody else found out, binary or graded, NaN where unknown, (n,)."""
    strength: np.ndarray
    """Bradley-Terry strength from pairwise comparisons, NaN for examples that were not compared, (n,)."""

    @property
    def binary(self) -> bool:
        """Whether truth has two values only: judged by AUC, else by Spearman's rho."""
        return len(np.unique(self.truth[~np.isnan(self.truth)])) == 2


def lines(path: Path) -> list[dict]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def load(path: Path) -> Folder:
    """Read ratings.jsonl and, where there, rerated.jsonl and pairwise.jsonl."""
    rows = lines(path / "ratings.jsonl")
    if not rows:
        raise SystemExit(f"{path} has no ratings.jsonl, or an empty one.")
    S = np.array([[number(score) for score in row["scores"]] for row in rows])
    place = {row["id"]: i for i, row in enumerate(rows)}
    again = np.full(S.shape, np.nan)
    for row in lines(path / "rerated.jsonl"):
        again[place[row["id"]]] = [number(score) for score in row["scores"]]
    return Folder(
        name=path.name,
        S=S,
        again=again,
        overall=np.array([number(row.get("overall")) for row in rows]),
        truth=np.array([number(row.get("truth")) for row in rows]),
        strength=strengths(lines(path / "pairwise.jsonl"), place),
    )


def strengths(comparisons: list[dict], place: dict[str, int]) -> np.ndarray:
    """Strengths of the largest group of examples that were compared with one another."""
    found = np.full(len(place), np.nan)
    if not comparisons:
        return found
    ids = sorted({row[side] for row in comparisons for side in ("a", "b")})
    at = {name: i for i, name in enumerate(ids)}
    won = [(at[row["a"]], at[row["b"]]) if row["winner"] == "A" else (at[row["b"]], at[row["a"]])
           for row in comparisons if row["winner"] in ("A", "B")]  # fmt: skip
    tied = [(at[row["a"]], at[row["b"]]) for row in comparisons if row["winner"] not in ("A", "B")]
    fit = bradley_terry(won, len(ids), ridge=0.05, ties=tied or None)
    largest = np.bincount(fit.component).argmax()
    for name, i in at.items():
        if fit.component[i] == largest:
            found[place[name]] = fit.strength[i]
    return found
