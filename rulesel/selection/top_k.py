"""The k rows of highest quality."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from rulesel.records import Selection
from rulesel.selection._contract import Pool, Selector
from rulesel.selection._ranking import by_key


class TopK(Selector):
    """The k rows of highest quality; keys are the qualities."""

    name: ClassVar[str] = "top_k"
    summary: ClassVar[str] = "the best by score, nothing else"
    cost: ClassVar[str] = "n"
    reads: ClassVar[tuple[str, ...]] = ("quality",)

    @override
    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        return by_key(pool, pool.need("quality"), k)
