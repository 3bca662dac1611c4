"""DEITA's filter: the best rows that are not too similar to a better one."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from typing_extensions import override

from rulesel.algorithms.neighbors import Zero
from rulesel.algorithms.similarity_filter import score_first
from rulesel.records import Selection
from rulesel.selection._contract import Pool, Selector
from rulesel.selection._offer import offer


class Deita(Selector):
    """Down the qualities, then ids: a row is kept unless its cosine to a kept one exceeds `threshold`.

    Keys are the qualities. Every row passed over has a kept row of higher quality that it resembles. With `mode` "published" and a `batch`
    above 1 a row is also passed over for resembling an earlier row of its batch that was itself passed over, and
    equal qualities go by the order of the pool, as in the released code; at their default of 1 the picks are the same.
    """

    name: ClassVar[str] = "deita"
    summary: ClassVar[str] = "the best without repetition: quality first, then a similarity filter"
    source: ClassVar[str] = "Liu et al. 2024, arXiv 2312.15685, section 2.4"
    cost: ClassVar[str] = "d times rows looked at times rows kept"
    reads: ClassVar[tuple[str, ...]] = ("quality", "embeddings")

    threshold: Annotated[float, Field(allow_inf_nan=False)] = 0.9
    mode: Literal["corrected", "published"] = "corrected"
    batch: Annotated[int, Field(ge=1)] = 1
    zero: Zero = "error"

    @override
    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = offer(pool, self.reads, listed=self.mode == "published")
        if not rows.left:
            return rows.nothing(k)
        quality = rows.quality()
        found = score_first(
            rows.embeddings(),
            quality,
            k,
            threshold=self.threshold,
            given=rows.given,
            mode=self.mode,
            batch=self.batch,
            zero=self.zero,
            progress=pool.progress,
        )
        too_similar = found.scanned - len(found.indices)
        return rows.selection(found.indices, quality[found.indices], k, scanned=found.scanned, too_similar=too_similar)
