"""Several methods, each with its share of the picks: half the best and half at random, say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator
from typing_extensions import override

from rulesel.algorithms.strata import shared_out
from rulesel.plugins import build
from rulesel.records import Float64, Int64, Selection
from rulesel.selection._contract import Pool, Selector
from rulesel.selection._offer import offer, take, warnings_of


class Part(BaseModel):
    """A method and its share, in any unit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    share: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    parameters: dict[str, Any] = {}

    @property
    def selector(self) -> Selector:
        """The method with its parameters."""
        return build("rulesel.selection", self.method, Selector, dict(self.parameters))


class _OfParts:
    """What any of the parts reads; of the class, what the usual parts read."""

    def __get__(self, mixture: Mixture | None, owner: type[Mixture]) -> tuple[str, ...]:
        parts = owner.model_fields["parts"].default if mixture is None else mixture.parts
        return tuple(dict.fromkeys(name for part in parts for name in part.selector.reads))


class Mixture(Selector):
    """Each of the `parts` picks its share of k, in their order; what earlier ones picked is given to later ones.

    A part is a method, its share and its parameters; {method: share} will do. Shares are in any unit and rounded by
    largest remainder. What a part lacks the others pick. The picks are interleaved, so that every prefix (a budget of
    tokens, say) has the shares too; keys are each method's own and not comparable. Rows that lack what one of the
    methods reads are left out.
    """

    name: ClassVar[str] = "mixture"
    summary: ClassVar[str] = "no single method is trusted: some of the best, some at random, some for variety"
    cost: ClassVar[str] = "that of its parts"
    reads: ClassVar[Any] = _OfParts()

    parts: Annotated[tuple[Part, ...], Field(min_length=1)] = (Part(method="top_k"), Part(method="random"))

    @field_validator("parts", mode="before")
    @classmethod
    def _shares(cls, value: Any) -> Any:  # noqa: ANN401 - as it was written
        if isinstance(value, Mapping):
            return [{"method": method, "share": share} for method, share in value.items()]
        return value

    @field_validator("parts")
    @classmethod
    def _methods(cls, value: tuple[Part, ...]) -> tuple[Part, ...]:
        for part in value:
            if part.selector.given:
                raise ValueError("given belongs to the mixture, not to one of its parts")
        return value

    @override
    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        offered = offer(pool, self.reads)
        part, rows = take(pool, np.sort(offered.rows))
        wanted = min(k, offered.left)
        quotas = shared_out(np.array([one.share for one in self.parts]), wanted)
        found: list[list[Selection]] = [[] for _ in self.parts]
        missing = 0
        for turn in range(2):  # in the second, what the others lack
            for number, one in enumerate(self.parts):
                ask = missing if turn else int(quotas[number])
                if ask == 0:
                    continue
                picked = one.selector.select(part, ask, seed)
                part = replace(part, given=np.union1d(part.given, picked.indices))
                found[number].append(picked)
                missing += (0 if turn else ask) - len(picked)
        indices, keys = _interleaved(found)
        report = [
            {"method": one.method, "picked": sum(map(len, own)), "report": [picked.report for picked in own]}
            for one, own in zip(self.parts, found, strict=True)
        ]
        every = warnings_of([picked for own in found for picked in own])
        selection = Selection(rows[indices], keys, {"parts": report, "excluded": offered.excluded} | every)
        if len(indices) < k:
            selection.report["shortfall"] = k - len(indices)
        return selection


def _interleaved(found: list[list[Selection]]) -> tuple[Int64, Float64]:
    """The picks of all parts, those of each spread evenly."""
    sizes = [sum(map(len, own)) for own in found]
    place = np.concatenate([(np.arange(size) + 0.5) / max(size, 1) for size in sizes])
    order = np.argsort(place, kind="stable")
    every = [picked for own in found for picked in own]
    indices = np.concatenate([np.empty(0, dtype=np.int64), *(picked.indices for picked in every)])
    return indices[order], np.concatenate([np.empty(0), *(picked.keys for picked in every)])[order]
