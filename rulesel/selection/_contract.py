"""The contract of selectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from rulesel.algorithms.given import Progress
from rulesel.plugins import Spec
from rulesel.records import Float32, Float64, Int64, Selection


@dataclass(frozen=True, slots=True)
class Pool:
    """The n rows offered, and what is known of each.

    Attributes:
        n: how many rows.
        ids: (n,) stable ids (str or uint64); per-row randomness and ties depend on them, not on the order of rows.
        quality: float64 (n,), higher is better; NaN where unknown.
        embeddings: float32 (n, d).
        tags: n sequences of labels (str, or int rows of tag_embeddings).
        tag_embeddings: tag -> vector, or (L, d) for int tags.
        columns: further numbers by name, float64 (n,), higher is better; `raw` gives those that were turned for that as
            they were. Names of other fields are refused.
        turned: names of the columns whose sign was turned because lower is better.
        token_counts: int64 (n,).
        given: rows already chosen elsewhere: never picked again, and counted as present by methods that spread out.
        progress: told (picked, k) now and then by methods that take long.
        origin: int64 (n,), what each row was called in the pool this one was cut from, where it was: parameters that
            name rows mean these.
    """

    n: int
    ids: npt.NDArray[np.generic] | None = None
    quality: Float64 | None = None
    embeddings: Float32 | None = None
    tags: Sequence[Sequence[str | int]] | None = None
    tag_embeddings: Mapping[str, npt.NDArray[np.floating]] | Float32 | None = None
    columns: Mapping[str, Float64] = field(default_factory=dict)
    token_counts: Int64 | None = None
    given: Int64 = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    progress: Progress | None = field(default=None, compare=False)
    origin: Int64 | None = None
    turned: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuse a column that would stand for a field of the pool."""
        own = {f.name for f in fields(self)}
        if meant := sorted(own.intersection(self.columns)):
            raise ValueError(f"A column cannot be called {meant[0]!r}: that is a part of the pool itself.")

    def raw(self, name: str) -> Float64:
        """A column as it was before it was turned so that higher is better, (n,); ValueError as for `need`."""
        values: Float64 = self.need(name)
        return -values if name in self.turned else values

    def need(self, name: str) -> Any:  # noqa: ANN401 - the array of that name
        """The field or column of that name.

        Raises:
            ValueError: it was not given.
        """
        value = self.columns[name] if name in self.columns else getattr(self, name, None)
        if value is None:
            beside = {"n", "columns", "given", "progress", "origin", "turned"}
            known = [f.name for f in fields(self) if f.name not in beside]
            have = [name for name in known if getattr(self, name) is not None]
            raise ValueError(
                f"This method reads {name!r}, which the pool does not have; it has {[*have, *self.columns]}."
            )
        return value


class Selector(Spec, ABC):
    """Picks rows of a pool.

    The same seed gives the same picks, whatever the sharding or the number of threads; ties go by id where ids are
    given, else by index; rows with NaN in what the method reads are excluded and counted in the report.
    """

    reads: ClassVar[tuple[str, ...]] = ()
    """Fields of `Pool` the method cannot do without, for example ("quality", "embeddings")."""
    cost: ClassVar[str] = ""
    """Time and memory in terms of n, k, d."""

    given: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Rows chosen already, for those who write parameters down; `choose` adds them to the pool's."""

    def check(self, n: int, k: int, width: int) -> None:
        """Refuse what cannot be done, or would take far too long, before anything is rated for it.

        Args:
            n: rows offered.
            k: how many of them to pick.
            width: numbers in an embedding.

        Raises:
            ValueError: says what to do instead.
        """

    @abstractmethod
    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        """Pick k distinct rows, best first; fewer only with `report["shortfall"]`."""
