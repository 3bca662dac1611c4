"""Greedy maximisation of a set function: naive, lazy, batched lazy, stochastic, and split over parts.

Lazy evaluation: M. Minoux, "Accelerated greedy algorithms for maximizing submodular set functions" (1978).
Stochastic greedy: B. Mirzasoleiman et al., "Lazier than lazy greedy" (arXiv 1409.7938), Algorithm 1.
GreeDi: B. Mirzasoleiman et al., "Distributed submodular maximization" (arXiv 1411.0541), Algorithm 2.

A gain may only fall as the set grows (submodularity); then a stale gain is an upper bound, and the lazy forms pick
exactly what the naive one picks, ties included: of the rows whose gain lies within rounding of the largest (`_Window`)
the lowest wins.
"""

from __future__ import annotations

import heapq
import math
import sys
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rulesel.algorithms import ties
from rulesel.algorithms.given import Given, Progress, checked_given, checked_k

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
Probe = Callable[[], FloatArray]

Rival = tuple[float, int]
"""The largest bound of some rows, and the lowest row whose bound ties with it."""
NONE: Rival = (-math.inf, sys.maxsize)
"""Of no rows."""
FLOOR = 0.01
"""Of the tolerance: this share of the first gain is rounding in later ones, as all are sums of terms of its size."""
POOL = 4096
"""Rows of highest bound that are looked through before all are."""
GROWTH = 2
"""How many times more rows are evaluated where a batch did not hold the best one."""


class Picks(NamedTuple):
    """Rows in the order they were picked, and what each added when it was picked (higher is better)."""

    indices: IntArray
    gains: FloatArray


class Objective(Protocol):
    """A set function and the set built so far.

    The gain of a row must not depend on which other rows share its probe, and must not rise when a row is accepted.
    """

    @property
    def n(self) -> int:
        """Number of rows that can be picked."""

    def probe(self, candidates: IntArray) -> Probe:
        """A function that gives the present gain of each candidate, float64, also after later acceptances."""

    def accept(self, candidate: int) -> None:
        """Add one row to the set."""


def naive_greedy(objective: Objective, k: int, *, given: Given = ()) -> Picks:
    """Greedy that evaluates every row at every step: n * k evaluations, valid for any gain.

    Args:
        objective: the set function; its set must still be empty.
        k: rows to pick; fewer are returned only when fewer are left.
        given: rows already in the set; they are never picked.

    Raises:
        ValueError: k is negative, or given is out of range or repeats a row.
    """
    gone, k = _start(objective, k, given)
    probe = objective.probe(np.arange(objective.n, dtype=np.int64))
    picks, window = _Recorder(objective), None
    for _ in range(k):
        gains = probe()
        gains[gone] = -np.inf
        window = window or _Window(gains)
        best = window.best(gains)
        gone[best] = True
        picks.take(best, float(gains[best]))
    return picks.result()


def lazy_greedy(objective: Objective, k: int, *, given: Given = ()) -> Picks:
    """Minoux's greedy, one row at a time: the picks of `naive_greedy` with far fewer evaluations.

    Arguments and errors are those of `naive_greedy`.
    """
    gone, k = _start(objective, k, given)
    rows = np.flatnonzero(~gone).astype(np.int64)
    bounds = objective.probe(rows)()
    window = _Window(bounds)
    heap = [(-gain, row, 0) for row, gain in zip(rows.tolist(), bounds.tolist(), strict=True)]
    heapq.heapify(heap)
    picks = _Recorder(objective)
    while len(picks) < k:
        aside: list[tuple[float, int, int]] = []
        best, largest = (0.0, sys.maxsize, 0), -math.inf
        while heap and -heap[0][0] >= largest - window.width(largest):
            loss, row, stamp = heapq.heappop(heap)
            if stamp < len(picks) and row < best[1]:
                gain = float(objective.probe(np.array([row], dtype=np.int64))()[0])
                heapq.heappush(heap, (-gain, row, len(picks)))
                continue
            aside.append((loss, row, stamp))
            largest = max(largest, -loss)
            best = min(best, aside[-1], key=lambda one: one[1])
        aside.remove(best)
        for one in aside:
            heapq.heappush(heap, one)
        picks.take(best[1], -best[0])
    return picks.result()


def batched_lazy_greedy(
    objective: Objective,
    k: int,
    *,
    given: Given = (),
    batch: int = 64,
    tolerance: float = ties.TOLERANCE,
    progress: Progress | None = None,
) -> Picks:
    """Lazy greedy over the `batch` most promising rows at once: the picks of `naive_greedy`, in vectorised steps.

    The best row of the batch is taken as long as no row outside it can be better, or tie with it and be lower; then the
    batch is drawn again. Where no row of the batch wins, the rows that still may are evaluated, twice as many each
    time: a step in which all bounds are far too high costs a few passes over the rows, not one batch after another.

    Args:
        objective: the set function; its set must still be empty.
        k: rows to pick; fewer are returned only when fewer are left.
        given: rows already in the set; they are never picked.
        batch: rows evaluated together.
        tolerance: share of the largest gain by which gains that are equal on paper differ; see `ties`.
        progress: told (picked, k) now and then.

    Raises:
        ValueError: k is negative, batch is less than 1, or given is out of range or repeats a row.
    """
    if batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch}.")
    gone, k = _start(objective, k, given)
    bounds = objective.probe(np.arange(objective.n, dtype=np.int64))()
    bounds[gone] = -np.inf
    window = _Window(bounds, tolerance)
    ranking = _Ranking(bounds, window)
    picks = _Recorder(objective)
    while len(picks) < k:
        best, rows, rival = _settle(objective, ranking, window, batch)
        _take_while_best(objective, bounds, best, rows, rival, window, picks, k)
        if progress is not None:
            progress(len(picks), k)
    return picks.result()


def stochastic_greedy(objective: Objective, k: int, *, seed: int, epsilon: float = 0.01, given: Given = ()) -> Picks:
    """Greedy over a random sample of (n / k) ln(1 / epsilon) rows at each step.

    Reaches (1 - 1/e - epsilon) of the optimum in expectation for a monotone submodular function, with n ln(1/epsilon)
    evaluations whatever k is. Not a prefix of itself for another k.

    Args:
        objective: the set function; its set must still be empty.
        k: rows to pick; fewer are returned only when fewer are left.
        seed: of the samples.
        epsilon: in (0, 1); smaller is closer to greedy and slower.
        given: rows already in the set; they are never picked.

    Raises:
        ValueError: epsilon is outside (0, 1), k is negative, or given is out of range or repeats a row.
    """
    if not 0 < epsilon < 1:
        raise ValueError(f"epsilon must lie in (0, 1), got {epsilon}.")
    gone, k = _start(objective, k, given)
    rng = np.random.default_rng(seed)
    left = rng.permutation(np.flatnonzero(~gone)).astype(np.int64)
    sample = math.ceil(len(left) / k * math.log(1 / epsilon)) if k else 0
    picks, window = _Recorder(objective), None
    for _ in range(k):
        drawn = rng.choice(len(left), size=min(sample, len(left)), replace=False)
        drawn = drawn[np.argsort(left[drawn])]
        gains = objective.probe(left[drawn])()
        window = window or _Window(gains)
        best = window.best(gains)
        picks.take(int(left[drawn[best]]), float(gains[best]))
        left[drawn[best]] = left[-1]
        left = left[:-1]
    return picks.result()


def greedi(
    part: IntArray, k: int, *, select: Callable[[IntArray, int], Picks], value: Callable[[IntArray], float]
) -> Picks:
    """Greedy in two rounds: k rows from each part, then k from the union; the best of all these sets is returned.

    With rows assigned to parts at random the expected value is at least (1 - 1/e) / 2 of the optimum (R. Barbosa et
    al., arXiv 1502.02606) and in practice near greedy's. The gains are those of the round that won.

    Args:
        part: part of each row, int (n,), any labels.
        k: rows to pick.
        select: (rows, k) -> picks as positions in `rows`.
        value: objective of a set of rows over the whole, higher is better.
    """
    rounds = []
    for label in np.unique(part):
        rows = np.flatnonzero(part == label).astype(np.int64)
        positions, gains = select(rows, min(k, len(rows)))
        rounds.append(Picks(rows[positions], gains))
    if not rounds:
        return Picks(np.empty(0, dtype=np.int64), np.empty(0))
    union = np.sort(np.concatenate([picks.indices for picks in rounds]))
    positions, gains = select(union, min(k, len(union)))
    return max([Picks(union[positions], gains), *rounds], key=lambda picks: value(picks.indices))


class _Recorder:
    """The picks so far, told to the objective as they are made."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._rows: list[int] = []
        self._gains: list[float] = []

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, row: int, gain: float) -> None:
        self._objective.accept(row)
        self._rows.append(row)
        self._gains.append(gain)

    def result(self) -> Picks:
        return Picks(np.array(self._rows, dtype=np.int64), np.array(self._gains, dtype=np.float64))


def _start(objective: Objective, k: int, given: Given) -> tuple[NDArray[np.bool_], int]:
    """Put the given rows into the set; return the mask of rows that cannot be picked and k cut to what is left."""
    rows = checked_given(given, objective.n)
    gone = np.zeros(objective.n, dtype=bool)
    gone[rows] = True
    for row in rows.tolist():
        objective.accept(row)
    return gone, checked_k(k, objective.n, rows)


class _Window:
    """Which gains tie: those within the tolerance of the largest of a step, or `FLOOR` of it of the first step's."""

    def __init__(self, first: FloatArray, tolerance: float = ties.TOLERANCE) -> None:
        self._tolerance, self._floor = tolerance, FLOOR * ties.width(first, tolerance)

    def width(self, largest: float) -> float:
        """How far below the largest gain a tie lies at most."""
        return max(self._tolerance * abs(largest), self._floor) if math.isfinite(largest) else 0.0

    def best(self, gains: FloatArray) -> int:
        """The lowest place whose gain ties with the largest."""
        largest = float(gains.max())
        return int(np.argmax(gains >= largest - self.width(largest)))

    def safe(self, largest: float, row: int, rival: Rival) -> bool:
        """Whether no other row can be better than one that ties with the largest gain, or tie with it and be lower.

        A bound above the largest gain by a hundredth of the window is a tie that was rounded differently.
        """
        width, (bound, lowest) = self.width(largest), rival
        return bound < largest - width or (bound <= largest + width / 100 and row < lowest)


class _Ranking:
    """Rows by their bounds. A pool of the highest is looked through first, so that few steps read all bounds.

    Bounds only fall, so what was outside the pool stays below the edge it had when the pool was drawn. Rows that cannot
    be picked have the bound -inf and are left out.
    """

    def __init__(self, bounds: FloatArray, window: _Window) -> None:
        self.bounds, self.window = bounds, window
        self._pool = np.empty(0, dtype=np.int64)
        self._edge = NONE

    def top(self, size: int) -> tuple[IntArray, Rival]:
        """The `size` rows of highest bound, or nearly, in the order of rows, and the best of the others."""
        wanted = max(POOL, 8 * size)
        held = self.bounds[self._pool]
        if len(held) < min(2 * size, len(self.bounds)) or held.max() <= self._edge[0]:
            self._pool, self._edge = self._highest(np.arange(len(self.bounds)), wanted)
        elif len(held) > 2 * wanted:
            self._pool, rival = self._highest(self._pool, wanted)
            self._edge = self._joined(rival, self._edge)
        rows, rival = self._highest(self._pool, size)
        return rows, self._joined(rival, self._edge)

    def best_of(self, rows: IntArray, size: int, rival: Rival) -> tuple[IntArray, Rival]:
        """The highest of some rows, in their order, and the best of the rest and the rival."""
        some, other = self._highest(rows, size)
        return some, self._joined(other, rival)

    def _joined(self, one: Rival, other: Rival) -> Rival:
        bound = max(one[0], other[0])
        least = bound - self.window.width(bound)
        return bound, min(row for at, row in (one, other) if at >= least)

    def _highest(self, rows: IntArray, size: int) -> tuple[IntArray, Rival]:
        """The rows of highest bound, of ties at the edge the lowest; rows come and go in ascending order."""
        bounds = self.bounds[rows]
        if size >= len(rows):
            return rows[bounds > -np.inf], NONE
        edge = float(np.partition(bounds, len(rows) - size)[len(rows) - size])
        if edge == -np.inf:
            return rows[bounds > -np.inf], NONE
        width = self.window.width(float(bounds.max()))
        inside = bounds > edge + width
        level = np.flatnonzero((bounds >= edge - width) & ~inside)
        inside[level[: size - np.count_nonzero(inside)]] = True
        bounds[inside] = -np.inf
        bound = float(bounds.max())
        if bound == -np.inf:
            return rows[inside], NONE
        return rows[inside], (bound, int(rows[np.argmax(bounds >= bound - width)]))


def _settle(objective: Objective, ranking: _Ranking, window: _Window, batch: int) -> tuple[int, IntArray, Rival]:
    """Bring bounds down until the best row of this step is known.

    Once a gain is known, only rows whose bound may tie with it are evaluated, several times as many at a time as before.

    Returns:
        The best row; rows that may win later, among them rows whose bound is their gain; and the best of all others.
    """
    bounds = ranking.bounds
    stale = bounds > -np.inf
    fresh = np.empty(0, dtype=np.int64)
    largest, best, size = -math.inf, -1, batch
    while True:
        rows, rival = ranking.top(size)
        late = rows[stale[rows] & (bounds[rows] >= largest - window.width(largest))]
        if len(late):
            bounds[late] = objective.probe(late)()
            stale[late] = False
            fresh = np.concatenate([fresh, late])
            gains = bounds[fresh]
            largest = float(gains.max())
            best = int(fresh[gains >= largest - window.width(largest)].min())
        if window.safe(largest, best, rival):
            break
        size *= GROWTH
    rows = rows[bounds[rows] >= rival[0] - window.width(largest)]
    return best, *ranking.best_of(rows, batch, rival)


def _take_while_best(
    objective: Objective,
    bounds: FloatArray,
    best: int,
    rows: IntArray,
    rival: Rival,
    window: _Window,
    picks: _Recorder,
    k: int,
) -> None:
    """Take the best row, and further ones of the batch while no other can be better; `bounds` are brought down.

    A row that has fallen below the rival stays below it, so only the others are looked at again.
    """
    picks.take(best, float(bounds[best]))
    bounds[best] = -np.inf
    gains, probe = bounds[rows], None
    gone = np.flatnonzero(rows == best).tolist()
    while len(picks) < k:
        hopeful = gains >= rival[0] - window.width(rival[0])
        if 2 * int(np.count_nonzero(hopeful)) <= len(rows):
            bounds[rows] = gains
            rows, gone, probe = rows[hopeful], [], None
        if not len(rows):
            return
        if probe is None:
            probe = objective.probe(rows)
        gains = probe()
        gains[gone] = -np.inf
        largest, place = float(gains.max()), window.best(gains)
        if largest == -np.inf or not window.safe(largest, int(rows[place]), rival):
            break
        picks.take(int(rows[place]), float(gains[place]))
        gains[place] = -np.inf
        gone.append(place)
    bounds[rows] = gains
