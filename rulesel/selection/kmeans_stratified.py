"""k-means strata: every cluster of the pool gets its share of the picks."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field
from typing_extensions import override

from rulesel.algorithms import ties
from rulesel.algorithms.keyed import uniform
from rulesel.algorithms.kmeans import kmeans
from rulesel.algorithms.neighbors import Zero, unit_rows
from rulesel.algorithms.strata import Allocation, by_group
from rulesel.records import Selection
from rulesel.selection._contract import Pool, Selector
from rulesel.selection._offer import offer


class KMeansStratified(Selector):
    """Clusters the embeddings by cosine and draws from every cluster, in turns; keys say why within the cluster.

    `clusters` None means the square root of the number of rows, at most 1000. `allocation` "proportional" keeps the
    pool's composition, "equal" lifts small clusters. `within` picks at "random" (keys in (0, 1)) or what lies
    "nearest" the center (keys are minus the squared distance). Clusters and draws depend on the seed.
    """

    name: ClassVar[str] = "kmeans_stratified"
    summary: ClassVar[str] = "random, but no topic left out: a stronger baseline"
    source: ClassVar[str] = "stratified sampling over k-means (Arthur and Vassilvitskii 2007)"
    cost: ClassVar[str] = "25 n d clusters; mini-batches above 200 000 rows"
    reads: ClassVar[tuple[str, ...]] = ("embeddings",)

    clusters: Annotated[int, Field(ge=1)] | None = None
    allocation: Allocation = "proportional"
    within: Literal["random", "nearest"] = "random"
    zero: Zero = "error"

    @override
    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = offer(pool, self.reads)
        if not rows.left:
            return rows.nothing(k)
        unit = unit_rows(rows.embeddings(), zero=self.zero)
        found = kmeans(unit, self.clusters or min(1000, max(1, round(rows.n**0.5))), seed=seed)
        if self.within == "nearest":
            gap = unit - found.centers[found.labels]
            keys = ties.levelled(-np.einsum("ij,ij->i", gap, gap).astype(np.float64), ties.SINGLE)
        else:
            keys = uniform(rows.n if pool.ids is None else pool.ids[rows.rows], seed)
        indices = by_group(found.labels, keys, k, given=rows.given, allocation=self.allocation)
        return rows.selection(indices, keys[indices], k, clusters=len(found.centers))
