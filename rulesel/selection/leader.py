"""One-pass clustering: the best of each group of near-duplicates."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field
from typing_extensions import override

from rulesel.algorithms.leader import Metric, leader_select
from rulesel.algorithms.neighbors import Zero
from rulesel.records import Selection
from rulesel.selection._contract import Pool, Selector
from rulesel.selection._offer import offer, optional_quality


class Leader(Selector):
    """A row near a cluster joins it; any other founds one and is picked.

    Rows are taken by falling quality (where the pool has one), then id. The result depends on that order, by design: of
    near-duplicates the best is kept. Keys are the closeness to the nearest cluster at that moment: the cosine, or minus
    the distance; -inf for the first. `threshold` is the least cosine
    ("euclidean": the largest distance) to a cluster's mean at which a row joins it.
    """

    name: ClassVar[str] = "leader"
    summary: ClassVar[str] = "near-duplicates out, the best of each kept; one pass"
    source: ClassVar[str] = "Hartigan 1975, Clustering Algorithms, chapter 3"
    cost: ClassVar[str] = "n d times the number of clusters met"
    reads: ClassVar[tuple[str, ...]] = ("embeddings",)

    threshold: Annotated[float, Field(allow_inf_nan=False)] = 0.9
    metric: Metric = "cosine"
    zero: Zero = "error"

    @override
    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = offer(pool, self.reads)
        if not rows.left:
            return rows.nothing(k)
        indices, closeness = leader_select(
            rows.embeddings(),
            k,
            threshold=self.threshold,
            quality=optional_quality(rows),
            given=rows.given,
            metric=self.metric,
            zero=self.zero,
            progress=pool.progress,
        )
        return rows.selection(indices, closeness, k)
