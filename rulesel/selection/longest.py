"""The longest responses: a baseline that is embarrassingly hard to beat (arXiv 2402.04833)."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from rulesel.records import Selection
from rulesel.selection._contract import Pool, Selector
from rulesel.selection._ranking import by_key


class Longest(Selector):
    """The rows with the largest `length`; keys are the lengths."""

    name: ClassVar[str] = "longest"
    summary: ClassVar[str] = "the second baseline: length alone"
    source: ClassVar[str] = "Zhao et al. 2024, arXiv 2402.04833"
    cost: ClassVar[str] = "n"
    reads: ClassVar[tuple[str, ...]] = ("length",)

    @override
    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        return by_key(pool, pool.need("length"), k)
