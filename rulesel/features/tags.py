"""Topics of examples without any labels: the cluster an example's embedding lies in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from typing_extensions import override

from rulesel.algorithms.kmeans import kmeans
from rulesel.algorithms.neighbors import unit_rows
from rulesel.features import Examples, Feature
from rulesel.records import Float32, Int64

BLOCK = 65_536


class Tags(Feature):
    """The number of the k-means cluster (by cosine), one a vector."""

    name: ClassVar[str] = "tags"
    summary: ClassVar[str] = "topics for MIG and for quotas, where no field says them"
    needs: ClassVar[tuple[str, ...]] = ("embedding",)

    clusters: Annotated[int, Field(ge=1)] | None = None
    """None for the square root of the number of examples, at most 1000."""
    seed: int = 0

    @property
    @override
    def whole(self) -> bool:
        return True

    @override
    def compute(self, examples: Examples, missing: Int64) -> Iterator[Float32]:
        vectors = examples.needed["embedding"]
        known = np.flatnonzero(~np.isnan(vectors[:, 0]))
        label = np.full(examples.n, np.nan, dtype=np.float32)
        if len(known):
            clusters = self.clusters or min(1000, max(1, round(len(known) ** 0.5)))
            label[known] = kmeans(unit_rows(vectors[known], zero="isolate"), clusters, seed=self.seed).labels
        for start in range(0, len(missing), BLOCK):
            yield label[missing[start : start + BLOCK], None]
