"""Facility location: every row of the pool has a similar one among the picks."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from typing_extensions import override

from rulesel.algorithms.facility import facility_location
from rulesel.algorithms.kernels import Similarity
from rulesel.algorithms.likeness import likeness
from rulesel.algorithms.neighbors import Zero
from rulesel.records import Selection
from rulesel.selection._contract import Pool, Selector
from rulesel.selection._offer import offer


class FacilityLocation(Selector):
    """Greedy for the largest sum over the pool of the similarity to the nearest pick; keys are what each pick added.

    Exact up to 20 000 rows; above, similarity counts only among each row's nearest neighbours (`neighbors`), which
    costs less than half a percent of the value. `similarity` "published" is the kernel of Superfiltering's code.
    `center` and `baseline` tell rows apart where all cosines are large. `zero` says what a row of zeros is: an error,
    or similar to nothing ("isolate").
    """

    name: ClassVar[str] = "facility_location"
    summary: ClassVar[str] = "a small set that stands for the whole pool"
    source: ClassVar[str] = "Nemhauser et al. 1978; for prompts Bhatt et al. 2024, arXiv 2401.06692"
    cost: ClassVar[str] = "n² d up to 20 000 rows, then about n √n d; memory 8 n neighbors"
    reads: ClassVar[tuple[str, ...]] = ("embeddings",)

    similarity: Similarity = "cosine"
    neighbors: Annotated[int, Field(ge=1)] | Literal["auto", "all"] = "auto"
    bandwidth: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    center: bool = False
    baseline: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    zero: Zero = "error"

    @override
    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        rows = offer(pool, self.reads)
        if not rows.left:
            return rows.nothing(k)
        source = likeness(
            rows.embeddings(),
            self.similarity,
            neighbors=self.neighbors,
            bandwidth=self.bandwidth,
            center=self.center,
            zero=self.zero,
            seed=seed,
        )
        picks = facility_location(source, k, given=rows.given, baseline=self.baseline, progress=pool.progress)
        return rows.selection(picks.indices, picks.gains, k)
