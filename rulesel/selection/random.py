"""A uniform sample: the baseline every method has to beat."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from rulesel.algorithms.keyed import uniform
from rulesel.records import Selection
from rulesel.selection._contract import Pool, Selector
from rulesel.selection._ranking import by_key


class Random(Selector):
    """Uniform without replacement; a row's key in (0, 1) comes from seed and id alone."""

    name: ClassVar[str] = "random"
    summary: ClassVar[str] = "the baseline to beat"
    cost: ClassVar[str] = "n"

    @override
    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        return by_key(pool, uniform(pool.n if pool.ids is None else pool.ids, seed), k)
