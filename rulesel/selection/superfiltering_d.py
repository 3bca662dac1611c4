"""Superfiltering.D: the best rows by quality first, then facility location among them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field
from typing_extensions import override

from rulesel.algorithms.facility import facility_location
from rulesel.algorithms.gumbel import top_k
from rulesel.algorithms.kernels import Similarity
from rulesel.algorithms.likeness import likeness
from rulesel.algorithms.neighbors import Zero
from rulesel.records import Bool, Float64, Selection
from rulesel.selection._contract import Pool, Selector
from rulesel.selection._offer import offer


class SuperfilteringD(Selector):
    """A gate keeps the `gate` * k rows of highest quality, facility location picks k of them; keys are what each added.

    The quality is meant to be an instruction-following difficulty (IFD): perplexity of the answer given the prompt
    over that of the answer alone. Rows of `below` or more are dropped, since there the prompt does not help, and so
    are zeros, which stand for failures; a quality with values below 0 is no such ratio, and nothing is dropped.
    `mode` "published" follows the released code: zeros stay, equal gains go to the higher quality, as its list is
    sorted, and the similarity is exp(-distance / d), on rows of unit length nearly flat, so that the objective is a
    mean distance. The default is the cosine.
    """

    name: ClassVar[str] = "superfiltering_d"
    summary: ClassVar[str] = "hard but answerable rows (IFD) that stand for all such rows"
    source: ClassVar[str] = "Li et al. 2024, arXiv 2402.00530"
    cost: ClassVar[str] = "facility_location on gate * k rows"
    reads: ClassVar[tuple[str, ...]] = ("quality", "embeddings")

    gate: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 10.0
    below: Annotated[float, Field(allow_inf_nan=False)] | None = 1.0
    similarity: Similarity | None = None
    neighbors: Annotated[int, Field(ge=1)] | Literal["auto", "all"] = "auto"
    mode: Literal["corrected", "published"] = "corrected"
    zero: Zero = "error"

    @override
    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = offer(pool, self.reads, listed=self.mode == "published")
        quality = rows.quality()
        dropped = self._dropped(quality)
        dropped[rows.given] = True
        kept = top_k(np.where(dropped, np.nan, quality), round(self.gate * k))
        if self.mode == "corrected":
            kept = np.sort(kept)
        gated = np.concatenate([kept, rows.given])
        report = {"gated": len(kept), "outside_gate": int(dropped.sum()) - len(rows.given)}
        if not len(kept):
            return rows.selection(kept, np.empty(0), k, **report)
        source = likeness(
            rows.embeddings()[gated],
            self.similarity or ("published" if self.mode == "published" else "cosine"),
            neighbors=self.neighbors,
            zero=self.zero,
            seed=seed,
        )
        given = np.arange(len(kept), len(gated))
        picks = facility_location(source, k, given=given, progress=pool.progress)
        return rows.selection(gated[picks.indices], picks.gains, k, **report)

    def _dropped(self, quality: Float64) -> Bool:
        if self.below is None or not len(quality) or quality.min() < 0:
            return np.zeros(len(quality), dtype=bool)
        failed = (quality == 0) & (self.mode == "corrected")
        return np.asarray((quality >= self.below) | failed)
