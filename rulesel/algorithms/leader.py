"""One-pass (leader) clustering: a row joins the most similar cluster if that is similar enough, else it founds one.

Hartigan 1975, "Clustering Algorithms", chapter 3. A cluster is the running mean of its members, and the row that
founded it is its leader; taken in order of quality, leaders are the best of their near-duplicates. The result depends
on the order of rows, which is the caller's.

Rows are compared in blocks with the clusters as they stood when the block began; clusters that moved or were founded
since are looked at anew for each row. Decisions that float32 cannot make are made in float64, so that the size of the
blocks changes nothing.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from rulesel.algorithms.given import Given, Progress, checked_given, checked_k
from rulesel.algorithms.neighbors import Zero, check_rows

Metric = Literal["cosine", "euclidean"]
Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

BLOCK = 256

ROUNDING = 1e-12
"""Closenesses this near each other, relative to the scale of the rows, are equal."""


class Clusters(NamedTuple):
    """A clustering; unpacks as (labels, leaders, centroids)."""

    labels: Ints
    """Cluster of each row, numbered as they were founded, -1 for rows not looked at; shape (n,)."""
    leaders: Ints
    """The row that founded each cluster, shape (clusters,)."""
    centroids: Floats
    """Mean of the members, scaled to unit length first under "cosine"; shape (clusters, d)."""


def leader(
    X: npt.NDArray[np.floating],
    threshold: float,
    *,
    order: npt.NDArray[np.integer] | None = None,
    metric: Metric = "cosine",
    zero: Zero = "error",
) -> Clusters:
    """Cluster rows in one pass.

    Args:
        X: rows, shape (n, d), finite; read only.
        threshold: for "cosine" the least similarity to a cluster's mean direction at which a row joins it; for
            "euclidean" the largest distance to its mean.
        order: rows in the order to take them, each once; 0..n-1 when None.
        metric: of closeness.
        zero: for "cosine", what to do with a row of zeros; "isolate" gives it similarity 0 to everything.

    Raises:
        ValueError: NaN or infinity, a zero row, an order that repeats a row, or a threshold that is not finite.
    """
    rows = np.arange(len(X)) if order is None else np.asarray(order, dtype=np.int64)
    if len(np.unique(rows)) != len(rows) or (len(rows) and not 0 <= rows.min() <= rows.max() < len(X)):
        raise ValueError(f"order must list rows of 0..{len(X) - 1}, each at most once.")
    clusters = _Clusters(X, threshold, metric, zero)
    for start in range(0, len(rows), BLOCK):
        clusters.offer(rows[start : start + BLOCK])
    return clusters.result()


def leader_select(
    X: npt.NDArray[np.floating],
    k: int,
    *,
    threshold: float = 0.9,
    quality: npt.NDArray[np.floating] | None = None,
    given: Given = (),
    metric: Metric = "cosine",
    zero: Zero = "error",
    progress: Progress | None = None,
) -> tuple[Ints, Floats]:
    """Pick the leaders of the first k clusters, rows taken by falling quality: near-duplicates lose to the best.

    Args:
        X: rows, shape (n, d), finite; read only.
        k: rows to pick; fewer when all rows fall into fewer clusters.
        threshold: see `leader`.
        quality: of each row (n,), finite; higher is better, the lower index first among equals. None takes the rows
            as they come.
        given: rows already chosen: their clusters come first, and they are not picked.
        metric: see `leader`.
        zero: see `leader`.
        progress: told (picked, k) now and then.

    Returns:
        Indices (k,) and how close each was to the nearest cluster when it came (k,): the cosine, or minus the
        distance; -inf where there was no cluster yet.

    Raises:
        ValueError: NaN or infinity, a zero row, or arguments out of range.
    """
    worth = np.zeros(len(X)) if quality is None else np.asarray(quality, dtype=np.float64)
    if worth.shape != (len(X),) or not np.isfinite(worth).all():
        raise ValueError(f"quality must be {len(X)} finite numbers; leave rows without one out.")
    already = checked_given(given, len(X))
    k = checked_k(k, len(X), already)
    order = np.argsort(-worth, kind="stable")
    order = order[~np.isin(order, already)]
    clusters = _Clusters(X, threshold, metric, zero)
    for start in range(0, len(already), BLOCK):
        clusters.offer(already[start : start + BLOCK])
    before = clusters.count
    for start in range(0, len(order), BLOCK):
        if clusters.count - before >= k:
            break
        clusters.offer(order[start : start + BLOCK])
        if progress is not None:
            progress(min(clusters.count - before, k), k)
    founded = slice(before, min(before + k, clusters.count))
    return clusters.result().leaders[founded], np.array(clusters.closeness[founded])


class _Clusters:
    """Clusters so far. Closeness is the cosine, or minus the squared distance; higher is closer."""

    def __init__(self, X: npt.NDArray[np.floating], threshold: float, metric: Metric, zero: Zero) -> None:
        check_rows(X)
        if not np.isfinite(threshold) or (metric == "euclidean" and threshold < 0):
            raise ValueError(f"threshold must be finite, and a distance at least 0, got {threshold}.")
        self.X, self.zero, self.cosine = X, zero, metric == "cosine"
        if self.cosine and zero == "error" and not (full := X.any(axis=1)).all():
            raise ValueError(f"Row {int(full.argmin())} is all zeros and has no direction; drop it, or isolate it.")
        self.least = threshold if self.cosine else -(threshold**2)
        scale = 1.0 if self.cosine else float(np.einsum("ij,ij->i", X, X, dtype=np.float64).max(initial=0.0))
        self.slack, self.noise = 2.0**-18 * scale, ROUNDING * scale
        self.labels = np.full(len(X), -1, dtype=np.int64)
        self.leaders: list[int] = []
        self.closeness: list[float] = []
        self.total = np.empty((BLOCK, X.shape[1]))
        self.size = np.empty(BLOCK)
        self.center = np.empty((BLOCK, X.shape[1]), dtype=np.float32)
        self.square = np.empty(BLOCK, dtype=np.float32)

    @property
    def count(self) -> int:
        """Clusters so far."""
        return len(self.leaders)

    def result(self) -> Clusters:
        """The clustering of the rows offered."""
        mean = self.total[: self.count] / self.size[: self.count, None]
        return Clusters(self.labels, np.array(self.leaders, dtype=np.int64), mean)

    def offer(self, rows: Ints) -> None:
        """Put rows into clusters, one after the other."""
        exact = self._rows(rows)
        then = self._closeness(exact)
        live: list[int] = []  # clusters that moved since the block began
        held = np.empty((len(rows), self.X.shape[1]))
        for at, row in enumerate(rows.tolist()):
            now = self._exactly(exact[at], held[: len(live)])
            best = max(float(then[at].max(initial=-np.inf)), float(now.max(initial=-np.inf)))
            home = self._home(exact[at], then[at], live, now) if best >= self.least - self.slack else None
            if home is None:
                home = self._found(row, best)
            self.total[home] += exact[at]
            self.size[home] += 1
            if home not in live:
                live.append(home)
                if home < then.shape[1]:
                    then[at:, home] = -np.inf
            held[live.index(home)] = self._place(home)
            self.labels[row] = home

    def _home(self, one: Floats, then: Singles, live: list[int], now: Floats) -> int | None:
        """The closest cluster in float64, the oldest among equals, or None where none is close enough."""
        edge = max(float(then.max(initial=-np.inf)), float(now.max(initial=-np.inf))) - 2 * self.slack
        near = np.flatnonzero(then >= edge)
        who = np.concatenate([near, np.array(live, dtype=np.int64)])
        close = np.concatenate([self._exactly(one, self._places(near)), now])
        best = close.max()
        return int(who[close >= best - self.noise].min()) if best >= self.least - self.noise else None

    def _found(self, row: int, closeness: float) -> int:
        if self.count == len(self.size):
            self.total, self.size = np.concatenate([self.total] * 2), np.concatenate([self.size] * 2)
            self.center, self.square = np.concatenate([self.center] * 2), np.concatenate([self.square] * 2)
        self.leaders.append(row)
        self.closeness.append(closeness if self.cosine else -((-closeness) ** 0.5))
        self.total[self.count - 1], self.size[self.count - 1] = 0, 0
        return self.count - 1

    def _place(self, cluster: int) -> Floats:
        """Note where a cluster is now."""
        place: Floats = self._places(np.array([cluster]))[0]
        self.center[cluster] = place
        self.square[cluster] = place @ place
        return place

    def _places(self, clusters: Ints) -> Floats:
        return self._direction(self.total[clusters] / self.size[clusters, None])

    def _direction(self, mean: Floats) -> Floats:
        length = np.sqrt(np.einsum("ij,ij->i", mean, mean)) if self.cosine else np.ones(len(mean))
        return np.asarray(mean / np.where(length == 0, 1, length)[:, None])

    def _rows(self, rows: Ints) -> Floats:
        return self._direction(self.X[rows].astype(np.float64))

    def _closeness(self, exact: Floats) -> Singles:
        """Of rows to the clusters as they are, to float32 rounding."""
        rows, centers = exact.astype(np.float32), self.center[: self.count]
        product = rows @ centers.T
        if not self.cosine:
            product *= 2
            product -= self.square[: self.count]
            product -= np.einsum("ij,ij->i", rows, rows)[:, None]
        return product

    def _exactly(self, one: Floats, places: Floats) -> Floats:
        if self.cosine:
            return np.asarray(places @ one)
        gap = places - one
        return np.asarray(-np.einsum("ij,ij->i", gap, gap))
