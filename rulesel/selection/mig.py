"""MIG: the rows that bring most information to a graph of labels."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator
from typing_extensions import override

from rulesel.algorithms.label_graph import Direction, LabelledRows, label_graph, label_rows, propagation
from rulesel.algorithms.mig import PUBLISHED, Phi, mig
from rulesel.records import Float64, Selection
from rulesel.selection._contract import Pool, Selector
from rulesel.selection._offer import Offer, offer, positive

if TYPE_CHECKING:
    from scipy.sparse import csr_array


class Mig(Selector):
    """Greedy on the sum over labels of phi(quality that has arrived there); keys are the gains.

    A row puts its quality on each of its labels; `propagation` of it flows on to labels whose embeddings have a cosine
    of `threshold` or more (none without `tag_embeddings`). `phi` is the exponent of a power (.8), or
    "exponential:RATE" for 1 - exp(-RATE x). `normalise_quality` divides a row's quality by the number of its labels.
    Qualities below 0 enter as exp of the z-score. Rows without a known label gain nothing and come last.

    The default ranks rows by the exact gain. `mode` "published" ranks them by the first-order gain phi'(z) e, as the
    paper's algorithm and the code do, which touches every label once before quality counts, in the order of the pool.
    """

    name: ClassVar[str] = "mig"
    summary: ClassVar[str] = "good rows over all topics, where topics (labels) are known"
    source: ClassVar[str] = "Chen et al. 2025, arXiv 2504.13835"
    cost: ClassVar[str] = "labels² for the graph, then a few passes over the labels of all rows"
    reads: ClassVar[tuple[str, ...]] = ("quality", "tags")

    threshold: Annotated[float, Field(gt=0)] = 0.9
    propagation: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    normalised_by: Direction = "target"
    phi: float | str = 0.8
    normalise_quality: bool = False
    mode: Literal["corrected", "published"] = "corrected"

    @field_validator("phi")
    @classmethod
    def _phi(cls, value: float | str) -> float | str:
        phi_of(value, 0.0)
        return value

    @override
    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        published = self.mode == "published"
        rows = offer(pool, self.reads, listed=published)
        quality, how = positive(rows.quality())
        labelled, flow = self._labelled(pool, rows, quality)
        if not rows.left or not labelled.amounts.shape[1]:
            return rows.selection(*_unlabelled(rows, k), k, unlabelled=rows.left)
        picks = mig(
            labelled.amounts,
            k,
            flow=flow,
            phi=phi_of(self.phi, PUBLISHED.offset if published else 0.0),
            gain="linear" if published else "exact",
            given=rows.given,
            progress=pool.progress,
        )
        unlabelled = int(np.isin(picks.indices, labelled.unlabelled).sum())
        report = {"unlabelled": unlabelled, "unknown_labels": labelled.unknown, "labels": labelled.amounts.shape[1]}
        return rows.selection(picks.indices, picks.gains, k, quality=how, **report)

    def _labelled(self, pool: Pool, rows: Offer, quality: Float64) -> tuple[LabelledRows, csr_array[Any, Any] | None]:
        """What each row puts on each label, and how labels share it; rows in working order."""
        tags = pool.need("tags")
        named = [tags[row] for row in rows.rows.tolist()]
        vectors = pool.tag_embeddings
        labels: Mapping[Any, int] | int
        if vectors is None:
            met = set(chain.from_iterable(named))
            labels = {tag: place for place, tag in enumerate(sorted(met, key=lambda tag: (str(type(tag)), tag)))}
        elif isinstance(vectors, Mapping):
            labels = {tag: place for place, tag in enumerate(sorted(vectors))}
        else:
            labels = len(vectors)
        flow = None
        if vectors is not None and self.propagation > 0 and len(vectors):
            held = np.stack([vectors[tag] for tag in sorted(vectors)]) if isinstance(vectors, Mapping) else vectors
            graph = label_graph(np.asarray(held), threshold=self.threshold, zero="isolate")
            flow = propagation(graph, weight=self.propagation, normalised_by=self.normalised_by)
        repeats = self.mode == "published"
        found = label_rows(named, quality, labels, normalise_quality=self.normalise_quality, count_repeats=repeats)
        return found, flow


def phi_of(value: float | str, offset: float) -> Phi:
    """The information of an amount that a parameter names.

    Raises:
        ValueError: it names none, or none that is increasing and concave.
    """
    kind, _, number = value.partition(":") if isinstance(value, str) else ("power", "", str(value))
    try:
        if kind == "power":
            return Phi("power", float(number or 0.8), offset)
        if kind == "exponential":
            return Phi("exponential", float(number or 1.0))
    except ValueError:
        pass
    raise ValueError(
        f"phi is an exponent above 0 and at most 1, 'power:EXPONENT' or 'exponential:RATE' with a rate above 0, not "
        f"{value!r}"
    )


def _unlabelled(rows: Offer, k: int) -> tuple[np.ndarray[Any, np.dtype[np.int64]], Float64]:
    """The first rows, none of which brings anything."""
    free = np.setdiff1d(np.arange(rows.n), rows.given)[:k]
    return free, np.zeros(len(free))
