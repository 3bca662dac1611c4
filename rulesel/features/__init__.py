"""The contract of features: numbers that a model or a computation finds in an example, a vector each.

A feature is one file here. The pipeline computes it for the examples that lack it, keeps the vectors beside the store,
and hands them to whatever reads them; a feature that builds on another names it in `needs`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from rulesel.plugins import Spec
from rulesel.records import Batch, Float32, Int64

__all__ = ["Examples", "Feature"]


@dataclass(frozen=True, slots=True)
class Examples:
    """The examples a feature is computed for, numbered from 0.

    Attributes:
        n: how many.
        read: texts of the examples of some numbers (ascending), a batch at a time; may be called again.
        needed: the features named in `needs`, float32 (n, d) each, a row of NaN where there is none.
    """

    n: int
    read: Callable[[Int64], Iterator[Batch]]
    needed: Mapping[str, Float32] = field(default_factory=dict)


class Feature(Spec, ABC):
    """A vector an example.

    `id` is the identity of the vectors' maker: what changes a number (weights, tokenizer, parameters) is in it.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    """Features it is computed from."""

    @property
    def whole(self) -> bool:
        """Whether the vector of one example depends on the others: another corpus then makes another feature."""
        return False

    @abstractmethod
    def compute(self, examples: Examples, missing: Int64) -> Iterator[Float32]:
        """Yield the vectors of the examples with these numbers (ascending), in order, a block (b, d) at a time.

        A row of NaN says that there is none for an example.
        """
