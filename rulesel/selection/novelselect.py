"""NovelSelect: each pick is the row most novel to those before it, dense regions counting for more."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field
from typing_extensions import override

from rulesel.algorithms.density import Mode
from rulesel.algorithms.neighbors import Zero
from rulesel.algorithms.novelselect import novelselect
from rulesel.records import Selection
from rulesel.selection._contract import Pool, Selector
from rulesel.selection._offer import offer, positive, refuse, width

STEP = {"corrected": 7e-7, "published": 4e-7}
"""Seconds a row and pick, about."""


class _Weighed:
    """What is read: quality too where `weigh` is set."""

    def __get__(self, selector: NovelSelect | None, owner: type[NovelSelect]) -> tuple[str, ...]:
        return ("embeddings", "quality") if selector is not None and selector.weigh else ("embeddings",)


class NovelSelect(Selector):
    """Greedy on novelty: the sum over the picks of weight * density * cosine distance.

    The pick that is rank-th nearest weighs rank ** -distance_power. Keys are the novelties. The default follows the paper: the pick's density, ranked by the distance. `mode` "published" follows the code: the
    sum of both densities (of raw rows), ranked by the product, the mean instead of the sum, the order of the pool, and
    a first pick drawn by the seed. `first` is the row of the pool to start from. `weigh` multiplies a row's novelty by
    its quality (exp of the z-score where some are below 0).
    """

    name: ClassVar[str] = "novelselect"
    summary: ClassVar[str] = "a set as varied as its pool, most where the pool is dense"
    source: ClassVar[str] = "Yang et al. 2025, arXiv 2502.17184, section 6"
    cost: ClassVar[str] = "n k d and a few passes over n each pick"
    reads: ClassVar[Any] = _Weighed()

    first: Annotated[int, Field(ge=0)] | None = None
    neighbors: Annotated[int, Field(ge=1)] = 10
    density_power: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5
    distance_power: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    weigh: bool = False
    mode: Mode = "corrected"
    zero: Zero = "error"

    @override
    def check(self, n: int, k: int, width: int) -> None:
        density = 2e-11 * n * n * width if self.density_power > 0 else 0.0
        instead = "offer fewer rows (a threshold), or use kcenter"
        refuse(density + STEP[self.mode] * n * k, f"novelselect on {n:,} rows", instead)

    @override
    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        published = self.mode == "published"
        self.check(pool.n, min(k, pool.n), width(pool, self.reads))
        rows = offer(pool, self.reads, listed=published)
        if not rows.left:
            return rows.nothing(k)
        indices, novelty = novelselect(
            rows.embeddings(),
            k,
            first=rows.place(self.first),
            given=rows.given,
            neighbors=self.neighbors,
            density_power=self.density_power,
            distance_power=self.distance_power,
            mode=self.mode,
            quality=positive(rows.quality())[0] if self.weigh else None,
            seed=seed,
            zero=self.zero,
            progress=pool.progress,
        )
        return rows.selection(indices, novelty, k)
