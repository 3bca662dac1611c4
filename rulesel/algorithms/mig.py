"""MIG: choose rows that bring the most information to a graph of labels.

Y. Chen et al., "MIG: Automatic Data Selection for Instruction Tuning by Maximizing Information Gain in Semantic Space"
(arXiv 2504.13835). The information of a set is the sum over labels of phi(what has arrived there), phi concave, so that
a label already rich gains little (eq. 7). What arrives comes from `rulesel.algorithms.label_graph`.

The paper's algorithm and the released code rank rows by the first-order gain phi'(z) . e. On a label nothing has reached
yet phi' is infinite (12.7 in the code, by an offset), so every label is touched once before quality counts; the bound
1 - 1/e that the paper states holds for the exact gain phi(z + e) - phi(z). "linear" is the former, "exact" the latter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from rulesel.algorithms.compiled import compiled
from rulesel.algorithms.given import Given, Progress
from rulesel.algorithms.greedy import FloatArray, IntArray, Objective, Picks, Probe, batched_lazy_greedy

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Gain = Literal["exact", "linear"]

BATCH = 512
"""Rows evaluated together: about as many as one NumPy call takes in its stride."""


@dataclass(frozen=True, slots=True)
class Phi:
    """Information of a label as a function of what has arrived there; increasing and concave.

    Attributes:
        kind: "power": (x + offset) ** value; "exponential": 1 - exp(-value * x).
        value: exponent in (0, 1], .8 in the paper; or the rate, above 0.
        offset: 0, or the code's 1e-6, which keeps the slope at 0 finite.
    """

    kind: Literal["power", "exponential"] = "power"
    value: float = 0.8
    offset: float = 0.0

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            ValueError: the function would not be increasing and concave.
        """
        highest = 1.0 if self.kind == "power" else np.finfo(np.float64).max
        if not 0 < self.value <= highest or not self.offset >= 0:
            raise ValueError(f"{self} is not increasing and concave.")

    def __call__(self, amount: FloatArray) -> FloatArray:
        """Phi of amounts of at least 0."""
        if self.kind == "power":
            return np.power(amount + self.offset, self.value)
        return -np.expm1(-self.value * amount)

    def slope(self, amount: FloatArray) -> FloatArray:
        """Derivative at amounts of at least 0 (above 0 for a power without an offset)."""
        if self.kind == "power":
            return self.value * np.power(amount + self.offset, self.value - 1)
        return self.value * np.exp(-self.value * amount)


PUBLISHED = Phi(offset=1e-6)
"""What the released code computes with."""


def mig(
    amounts: csr_array[Any, Any],
    k: int,
    *,
    flow: csr_array[Any, Any] | None = None,
    phi: Phi = Phi(),
    gain: Gain = "exact",
    given: Given = (),
    progress: Progress | None = None,
) -> Picks:
    """Greedy on information: the picks of the naive greedy.

    Args:
        amounts: (n, labels), what each row puts on each label, at least 0.
        k: rows to pick.
        flow: (labels, labels), shares that move from label to label; nothing moves by default.
        phi: information of an amount; `PUBLISHED` for the released code's.
        gain: "exact", or "linear": first-order, as published.
        given: rows already chosen.
        progress: told (picked, k) now and then.

    Returns:
        Picks, best first, with the gain of each step. Rows that bring nothing come last, in the order of rows.

    Raises:
        ValueError: an amount is negative, NaN or infinite, the gain is linear and the slope at 0 infinite, or k or
            given do not fit.
    """
    objective = information(amounts, flow=flow, phi=phi, gain=gain)
    return batched_lazy_greedy(objective, k, given=given, batch=BATCH, progress=progress)


def information(
    amounts: csr_array[Any, Any],
    *,
    flow: csr_array[Any, Any] | None = None,
    phi: Phi = Phi(),
    gain: Gain = "exact",
) -> Objective:
    """The objective of `mig`, for any of the greedy algorithms; errors as there."""
    from scipy.sparse import eye_array

    if not np.isfinite(amounts.data).all() or (amounts.data < 0).any():
        raise ValueError("Amounts must be finite and at least 0.")
    shares = eye_array(amounts.shape[1], format="csr") if flow is None else flow
    if gain == "exact":
        return _Exact(amounts @ shares, phi)
    if phi.kind == "power" and phi.offset == 0 and phi.value < 1:
        raise ValueError("The slope of a power is infinite at 0: a linear gain needs an offset; try phi=PUBLISHED.")
    return _Linear(amounts, shares, phi)


def information_value(
    amounts: csr_array[Any, Any],
    subset: Sequence[int] | IntArray,
    *,
    flow: csr_array[Any, Any] | None = None,
    phi: Phi = Phi(),
) -> float:
    """Information of a set of rows: the sum over labels of phi(what arrives) - phi(0); higher is better."""
    put = np.asarray(amounts[np.unique(np.asarray(subset, dtype=np.int64))].sum(axis=0)).ravel()
    arrived = put if flow is None else flow.T @ put
    return float((phi(arrived) - phi(np.zeros(1))).sum())


class _Entries:
    """Rows of a sparse matrix, many at a time."""

    def __init__(self, rows: csr_array[Any, Any]) -> None:
        self.bounds = rows.indptr.astype(np.int64)
        self.labels = rows.indices.astype(np.uint32)
        self.amounts = rows.data.astype(np.float64, copy=False)

    def of(self, rows: IntArray) -> tuple[IntArray, NDArray[Any], FloatArray]:
        """Place in `rows`, label and amount of every entry of these rows."""
        counts = self.bounds[rows + 1] - self.bounds[rows]
        place = np.repeat(np.arange(len(rows)), counts)
        entries = np.arange(len(place)) + np.repeat(self.bounds[rows] - (np.cumsum(counts) - counts), counts)
        return place, self.labels[entries].astype(np.int64), self.amounts[entries]

    def one(self, row: int) -> slice:
        """Where the entries of one row are."""
        return slice(*self.bounds[row : row + 2].tolist())

    def sums(self, rows: IntArray, worth: FloatArray) -> FloatArray:
        """Sum over the entries of each of these rows of amount * what its label is worth."""
        found = np.empty(len(rows))
        _weighted(self.bounds, self.labels, self.amounts, rows, worth, found)
        return found


@compiled
def _weighted(
    bounds: IntArray, labels: NDArray[Any], amounts: FloatArray, rows: IntArray, worth: FloatArray, found: FloatArray
) -> None:
    for i in range(len(rows)):
        total = 0.0
        for entry in range(np.uint64(bounds[rows[i]]), np.uint64(bounds[rows[i] + 1])):  # unsigned: never from the end
            total += amounts[entry] * worth[labels[entry]]
        found[i] = total


class _Linear:
    """First-order gains. The slope at a label is what reaches it of the slopes around, so rows need not be spread."""

    def __init__(self, amounts: csr_array[Any, Any], flow: csr_array[Any, Any], phi: Phi) -> None:
        self._own = _Entries(amounts)
        self._spread = _Entries(amounts @ flow)
        self._flow = _Entries(flow)
        self._every_label = np.arange(amounts.shape[1])
        self._phi = phi
        self._arrived = np.zeros(amounts.shape[1])
        self._slope = phi.slope(self._arrived)
        self._worth = self._flow.sums(self._every_label, self._slope)

    @property
    def n(self) -> int:
        return len(self._own.bounds) - 1

    def probe(self, candidates: IntArray) -> Probe:
        return lambda: self._own.sums(candidates, self._worth)

    def accept(self, candidate: int) -> None:
        entries = self._spread.one(candidate)
        labels = self._spread.labels[entries]
        arrived = self._arrived[labels] + self._spread.amounts[entries]
        self._arrived[labels] = arrived
        self._slope[labels] = self._phi.slope(arrived)
        self._worth = self._flow.sums(self._every_label, self._slope)


class _Exact:
    """Gains of phi itself."""

    def __init__(self, spread: csr_array[Any, Any], phi: Phi) -> None:
        self._spread = _Entries(spread)
        self._phi = phi
        self._arrived = np.zeros(spread.shape[1])
        self._now = phi(self._arrived)

    @property
    def n(self) -> int:
        return len(self._spread.bounds) - 1

    def probe(self, candidates: IntArray) -> Probe:
        place, labels, amounts = self._spread.of(candidates)

        def gains() -> FloatArray:
            added = self._phi(self._arrived[labels] + amounts) - self._now[labels]
            return np.bincount(place, added, len(candidates)).astype(np.float64, copy=False)

        return gains

    def accept(self, candidate: int) -> None:
        entries = self._spread.one(candidate)
        labels = self._spread.labels[entries]
        arrived = self._arrived[labels] + self._spread.amounts[entries]
        self._arrived[labels] = arrived
        self._now[labels] = self._phi(arrived)
