"""k-center: each pick is the row farthest from everything chosen so far."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field
from typing_extensions import override

from rulesel.algorithms.kcenter import Metric, kcenter
from rulesel.algorithms.neighbors import Zero
from rulesel.records import Selection
from rulesel.selection._contract import Pool, Selector
from rulesel.selection._offer import offer


class KCenter(Selector):
    """Greedy k-center, exact; keys are the covering radius after each pick (lower is better, it never grows).

    It goes for outliers by design: `robust` passes over that share of the farthest rows at every step. `first` is the
    row of the pool to start from; without it that is the row nearest the mean, or the farthest from what is given.
    """

    name: ClassVar[str] = "kcenter"
    summary: ClassVar[str] = "no row far from a pick: edges and rare cases first"
    source: ClassVar[str] = "Gonzalez 1985; Sener and Savarese 2018, arXiv 1708.00489; DiverseEvol, arXiv 2311.08182"
    cost: ClassVar[str] = "at most n k d, mostly far less; memory n d"
    reads: ClassVar[tuple[str, ...]] = ("embeddings",)

    first: Annotated[int, Field(ge=0)] | None = None
    metric: Metric = "euclidean"
    robust: Annotated[float, Field(ge=0, lt=1)] = 0.0
    zero: Zero = "error"

    @override
    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = offer(pool, self.reads)
        if not rows.left:
            return rows.nothing(k)
        indices, radii = kcenter(
            rows.embeddings(),
            k,
            first=rows.place(self.first),
            given=rows.given,
            metric=self.metric,
            robust=self.robust,
            zero=self.zero,
            progress=pool.progress,
        )
        return rows.selection(indices, radii, k)
