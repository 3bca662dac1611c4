"""One selection, measured beside random and longest: a number alone says little."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rulesel.algorithms.density import local_density
from rulesel.algorithms.diversity import distsum, entropy, knn, vendi
from rulesel.algorithms.kmeans import kmeans
from rulesel.algorithms.lexical import mtld, over_documents, ttr, words
from rulesel.algorithms.neighbors import highest_cosines, unit_rows
from rulesel.algorithms.novelty import novelsum
from rulesel.plugins import build
from rulesel.records import Float64, Int64
from rulesel.selection import Pool, Selector

DRAWS = 3
"""Random selections a measure is averaged over."""
CLUSTERINGS = 3
CLUSTERS = 100
TOKENS = 50
"""Of a text, for its type-token ratio."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A set of rows in numbers; higher is more diverse, unless it says otherwise.

    Attributes:
        values: by measure. Of embeddings, with values that do not grow with the size of the set: `distsum`, `knn`,
            `vendi`, `novelsum` (averaged), `partition_entropy` (share of the highest), `coverage` (mean over the pool of
            the cosine to the nearest row of the set), `radius` (largest cosine distance of a row of the pool to the
            set; lower covers more). Of words: `ttr` of the first 50, `mtld`.
        spread: standard deviation of each over several sets, where there are several.
    """

    values: Mapping[str, float]
    spread: Mapping[str, float]


class Yardstick:
    """What all sets of one pool are measured with: its directions, densities and clusters, worked out once.

    Args:
        embeddings: of the pool, (n, d); a row of NaN has none and counts nowhere.
        seed: of the clusterings.
    """

    def __init__(self, embeddings: npt.NDArray[np.floating[Any]], *, seed: int = 0) -> None:
        known = ~np.isnan(embeddings).any(axis=1)
        self._place = np.where(known, np.cumsum(known) - 1, -1)
        self._unit = unit_rows(embeddings[known], zero="isolate")
        self._labels = [
            kmeans(self._unit, CLUSTERS, seed=seed + repeat).labels
            for repeat in range(CLUSTERINGS if known.any() else 0)
        ]

    def measure(self, rows: Int64, texts: Sequence[str] | None = None) -> Measured:
        """A set of rows of the pool, and their texts in the same order, for measures of words."""
        place = self._place[rows]
        values = self._of_vectors(place[place >= 0])
        if texts is not None:
            documents = [words(text) for text in texts]
            values["ttr"] = over_documents(lambda tokens: ttr(tokens, first=TOKENS), documents)[0]
            values["mtld"] = over_documents(mtld, documents)[0]
        return Measured(values, {})

    def _of_vectors(self, chosen: Int64) -> dict[str, float]:
        names = ("distsum", "knn", "vendi", "novelsum", "partition_entropy", "coverage", "radius")
        if len(chosen) < 2:
            return dict.fromkeys(names, math.nan)
        unit = self._unit[chosen]
        density: Float64 = local_density(unit, self._unit, zero="isolate")
        spread = novelsum(unit, density=density, reduce="average", zero="isolate").value
        shares = [
            entropy(np.bincount(labels[chosen])) / max(math.log(labels.max() + 1), 1e-12) for labels in self._labels
        ]
        cosine = highest_cosines(self._unit, unit)
        return dict(
            zip(
                names,
                (
                    distsum(unit, zero="isolate"),
                    knn(unit, zero="isolate"),
                    vendi(unit, zero="isolate"),
                    spread,
                    math.fsum(shares) / len(shares),
                    float(cosine.mean(dtype=np.float64)),
                    1 - float(cosine.min()),
                ),
                strict=True,
            )
        )


def baselines(pool: Pool, k: int, *, seed: int = 0) -> dict[str, list[Int64]]:
    """Rows that random (several draws) and longest pick from the same pool."""
    seeds = {"random": range(seed, seed + DRAWS), "longest": range(seed, seed + 1)}
    return {
        name: [build("rulesel.selection", name, Selector, {}).select(pool, k, one).indices for one in draws]
        for name, draws in seeds.items()
    }


def averaged(draws: Sequence[Measured]) -> Measured:
    """Mean and standard deviation of every measure over several sets."""
    table = {name: np.array([draw.values[name] for draw in draws]) for name in draws[0].values}
    spread = {name: float(values.std(ddof=1)) for name, values in table.items()} if len(draws) > 1 else {}
    return Measured({name: float(values.mean()) for name, values in table.items()}, spread)
