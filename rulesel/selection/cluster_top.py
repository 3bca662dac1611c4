"""The best of each cluster: quality, with every topic kept."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field
from typing_extensions import override

from rulesel.algorithms.kmeans import kmeans
from rulesel.algorithms.neighbors import Zero, unit_rows
from rulesel.algorithms.strata import Allocation, by_group
from rulesel.records import Selection
from rulesel.selection._contract import Pool, Selector
from rulesel.selection._offer import offer


class ClusterTop(Selector):
    """Clusters the embeddings by cosine and takes the highest qualities of every cluster, in turns; keys are these.

    The frame of Small2Large, where the quality is how late a small model learns an example: with its column (lower is
    harder) and `clusters` 1000 this is that method, with shares that sum to k exactly. `clusters` None means the square
    root of the number of rows, at most 1000. `allocation` "equal" gives small clusters as much as large ones.
    """

    name: ClassVar[str] = "cluster_top"
    summary: ClassVar[str] = "the best of every topic, when the top alone would be one topic"
    source: ClassVar[str] = "Small2Large, arXiv 2402.10430"
    cost: ClassVar[str] = "25 n d clusters; mini-batches above 200 000 rows"
    reads: ClassVar[tuple[str, ...]] = ("quality", "embeddings")

    clusters: Annotated[int, Field(ge=1)] | None = None
    allocation: Allocation = "proportional"
    zero: Zero = "error"

    @override
    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = offer(pool, self.reads)
        if not rows.left:
            return rows.nothing(k)
        unit = unit_rows(rows.embeddings(), zero=self.zero)
        found = kmeans(unit, self.clusters or min(1000, max(1, round(rows.n**0.5))), seed=seed)
        quality = rows.quality()
        indices = by_group(found.labels, quality, k, given=rows.given, allocation=self.allocation)
        return rows.selection(indices, quality[indices], k, clusters=len(found.centers))
