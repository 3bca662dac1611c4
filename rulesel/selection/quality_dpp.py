"""A determinantal point process over the rows: high quality, and directions that repel one another."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field
from typing_extensions import override

from rulesel.algorithms.dpp_lowrank import LowRankDpp, lowrank_map
from rulesel.algorithms.neighbors import Zero
from rulesel.records import Float64, Selection
from rulesel.selection._contract import Pool, Selector
from rulesel.selection._offer import Offer, offer, positive, refuse, width


class QualityDpp(Selector):
    """Greedy for the largest det of diag(quality) * cosine * diag(quality); keys are the ln of what each pick added.

    The kernel has the rank of the embeddings, at most d: beyond that many rows only the latest `window` picks repel
    (half of d unless given). `draw` "sample" draws the set from the process instead, exactly; then keys are the
    qualities as used. Qualities below 0 enter as exp of the z-score.
    """

    name: ClassVar[str] = "quality_dpp"
    summary: ClassVar[str] = "good rows in directions as different as can be; for k up to a few hundred"
    source: ClassVar[str] = "Kulesza and Taskar 2012, arXiv 1207.6083; Chen et al. 2018, arXiv 1709.05135"
    cost: ClassVar[str] = "n k d; memory n d"
    reads: ClassVar[tuple[str, ...]] = ("quality", "embeddings")

    draw: Literal["map", "sample"] = "map"
    window: Annotated[int, Field(ge=1)] | None = None
    zero: Zero = "error"

    @override
    def check(self, n: int, k: int, width: int) -> None:
        refuse(8e-10 * width * n * k, f"quality_dpp on {n:,} rows", "offer fewer rows (a threshold), or use qdit")

    @override
    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        self.check(pool.n, min(k, pool.n), width(pool, self.reads))
        rows = offer(pool, self.reads)
        if not rows.left:
            return rows.nothing(k)
        quality, how = positive(rows.quality())
        embeddings = rows.embeddings()
        d, window = embeddings.shape[1], self.window
        if window is None and min(k, rows.left) + len(rows.given) > d > 1:
            window = d // 2
        if self.draw == "sample":
            return self._sample(rows, quality, k, seed, how)
        indices, gains = lowrank_map(
            embeddings,
            k,
            quality=quality,
            window=window,
            given=rows.given,
            zero=self.zero,
            progress=pool.progress,
        )
        return rows.selection(indices, gains, k, quality=how, window=window)

    def _sample(self, rows: Offer, quality: Float64, k: int, seed: int, how: str) -> Selection:
        if len(rows.given):
            raise ValueError('draw="sample" cannot start from rows already chosen: use draw="map".')
        process = LowRankDpp(rows.embeddings(), min(k, rows.left), quality=quality, zero=self.zero)
        indices = process.sample(np.random.default_rng(seed))
        indices = indices[np.argsort(-quality[indices], kind="stable")]
        return rows.selection(indices, quality[indices], k, quality=how)
