"""One-pass clustering: worked orders, the row-by-row loop, and near-duplicates."""

from __future__ import annotations

import numpy as np
import pytest

from rulesel.algorithms import leader as module
from rulesel.algorithms.leader import leader, leader_select

LINE = np.array([[0.0], [1], [2], [3]])


def plain(X, threshold, order, metric):
    """Rows one after the other against every running mean, in float64."""
    X = X.astype(np.float64)
    if metric == "cosine":
        X = X / np.linalg.norm(X, axis=1, keepdims=True)
    rounding = 1e-12 * (X**2).sum(axis=1).max()
    least = threshold if metric == "cosine" else -(threshold**2)
    labels, members, leaders = np.full(len(X), -1), [], []
    for row in order:
        close = np.array([-np.inf])
        if members:
            means = np.array([X[own].mean(axis=0) for own in members])
            if metric == "cosine":
                length = np.linalg.norm(means, axis=1)
                close = means @ X[row] / np.where(length == 0, 1, length)
            else:
                close = -((means - X[row]) ** 2).sum(axis=1)
        if close.max() < least - rounding:
            members.append([])
            leaders.append(row)
            home = len(members) - 1
        else:
            home = int(np.flatnonzero(close >= close.max() - rounding)[0])
        members[home].append(row)
        labels[row] = home
    return labels, leaders


@pytest.mark.parametrize("block", [1, 7, 256])
@pytest.mark.slow
def test_blocks_change_nothing(block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", block)
    for seed in range(150):
        rng = np.random.default_rng(seed)
        n, d = int(rng.integers(1, 80)), int(rng.integers(1, 4))
        X = rng.standard_normal((n, d))
        if seed % 3 == 0:
            X = X[rng.integers(0, n, n)]
        if seed % 4 == 0:
            X = np.round(X) + 0.5
        X = X.astype(np.float32 if seed % 2 else np.float64)
        X.setflags(write=False)
        metric = "euclidean" if seed % 5 == 0 else "cosine"
        threshold = float(rng.choice([0, 0.3, 1, 2] if metric == "euclidean" else [-1, 0.3, 0.7, 0.9, 0.99, 1.1]))
        order = rng.permutation(n)
        found = leader(X, threshold, order=order, metric=metric)
        labels, leaders = plain(X, threshold, order, metric)
        assert found.labels.tolist() == labels.tolist(), f"seed {seed}"
        assert found.leaders.tolist() == leaders, f"seed {seed}"


def test_the_order_decides():
    labels, leaders, centroids = leader(LINE, 1.2, metric="euclidean")
    assert labels.tolist() == [0, 0, 1, 1]
    assert leaders.tolist() == [0, 2]
    assert centroids.tolist() == [[0.5], [2.5]]
    order = [0, 2, 1, 3]
    assert leader(LINE, 1.2, order=order, metric="euclidean").labels[order].tolist() == [0, 1, 0, 1]
    assert leader(LINE, 1.2, order=[1, 2, 0, 3], metric="euclidean").labels.tolist() == [1, 0, 0, 2]


def test_extreme_thresholds():
    X = np.random.default_rng(0).standard_normal((30, 4))
    assert set(leader(X, -1.0).labels) == {0}
    assert len(leader(X, 1.01).leaders) == 30


def test_copies_always_join():
    X = np.repeat(np.random.default_rng(1).standard_normal((10, 6)), 4, axis=0)
    assert len(leader(X, 1.0).leaders) == 10


def test_rows_left_out_of_the_order_have_no_cluster():
    assert leader(LINE, 1.2, order=[3, 2], metric="euclidean").labels.tolist() == [-1, -1, 0, 0]


def test_the_best_of_near_duplicates_is_picked():
    X = np.array([[1, 0], [1, 0.01], [0, 1], [0.01, 1], [1, 0.02]])
    quality = np.array([0.1, 0.9, 0.5, 0.4, 0.2])
    picks, closeness = leader_select(X, 5, threshold=0.9, quality=quality)
    assert picks.tolist() == [1, 2]
    assert closeness[0] == -np.inf
    assert closeness[1] == pytest.approx(X[1] @ X[2] / np.linalg.norm(X[1]), abs=1e-6)


def test_picks_stop_at_k_and_are_a_prefix():
    X = np.random.default_rng(2).standard_normal((400, 8))
    many, _ = leader_select(X, 100, threshold=0.8)
    few, _ = leader_select(X, 7, threshold=0.8)
    assert few.tolist() == many[:7].tolist()


def test_chosen_rows_hold_their_clusters():
    X = np.array([[1, 0], [1, 0.01], [0, 1]])
    assert leader_select(X, 3, threshold=0.9, given=[0])[0].tolist() == [2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: leader(LINE, np.nan), "threshold"),
        (lambda: leader(LINE, -1, metric="euclidean"), "distance at least 0"),
        (lambda: leader(LINE, 0.5, order=[0, 0]), "at most once"),
        (lambda: leader(LINE, 0.5), "Row 0 is all zeros"),
        (lambda: leader(np.array([[np.nan]]), 0.5), "row 0"),
        (lambda: leader_select(LINE + 1, 2, quality=np.array([1, 2, np.nan, 3])), "quality"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_isolated_rows_found_clusters_of_their_own():
    X = np.array([[1.0, 0], [0, 0], [0, 0]])
    assert leader(X, 0.5, zero="isolate").labels.tolist() == [0, 1, 2]
