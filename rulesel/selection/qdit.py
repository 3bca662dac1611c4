"""QDIT: facility location and quality in one greedy choice."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from typing_extensions import override

from rulesel.algorithms.facility import Scale, qdit
from rulesel.algorithms.kernels import Similarity
from rulesel.algorithms.likeness import likeness
from rulesel.algorithms.neighbors import Zero
from rulesel.records import Selection
from rulesel.selection._contract import Pool, Selector
from rulesel.selection._offer import offer


class Qdit(Selector):
    """Greedy on (1 - alpha) * what a row adds to facility location + alpha * its quality; keys are these scores.

    In the published sum ("raw") the first term starts near n times the mean similarity and falls below 1 while quality
    stays, so that early picks are all diversity and late ones all quality, and alpha means something else for every n.
    "normalised", the default, puts both on [0, 1]: share of the pool covered, and mean percentile of quality; its picks
    depend on k. `mode` "published" means scale "raw".
    """

    name: ClassVar[str] = "qdit"
    summary: ClassVar[str] = "good rows that also stand for the pool; alpha says how much of each"
    source: ClassVar[str] = "Bukharin and Zhao 2023, arXiv 2311.14736"
    cost: ClassVar[str] = "as facility_location"
    reads: ClassVar[tuple[str, ...]] = ("quality", "embeddings")

    alpha: Annotated[float, Field(ge=0, le=1)] = 0.7
    scale: Scale | None = None
    mode: Literal["corrected", "published"] = "corrected"
    similarity: Similarity = "cosine"
    neighbors: Annotated[int, Field(ge=1)] | Literal["auto", "all"] = "auto"
    center: bool = False
    baseline: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    zero: Zero = "error"

    @override
    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = offer(pool, self.reads)
        if not rows.left:
            return rows.nothing(k)
        scale = self.scale or ("raw" if self.mode == "published" else "normalised")
        source = likeness(
            rows.embeddings(), self.similarity, neighbors=self.neighbors, center=self.center, zero=self.zero, seed=seed
        )
        picks = qdit(
            source,
            rows.quality(),
            min(k, rows.left),
            alpha=self.alpha,
            scale=scale,
            given=rows.given,
            baseline=self.baseline,
            progress=pool.progress,
        )
        return rows.selection(picks.indices, picks.gains, k, scale=scale)
