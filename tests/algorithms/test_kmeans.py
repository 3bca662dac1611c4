"""k-means: planted clusters, the same for the same seed, and what happens to empty and surplus clusters."""

from __future__ import annotations

import numpy as np
import pytest

from rulesel.algorithms import kmeans as module
from rulesel.algorithms.kmeans import kmeans, nearest_center


def planted(seed, n=600, clusters=8, d=6):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, clusters, n)
    return (10 * rng.standard_normal((clusters, d))[truth] + rng.standard_normal((n, d))).astype(np.float32), truth


@pytest.mark.parametrize("batch", [0, 64])
@pytest.mark.slow
def test_planted_clusters_are_found(batch):
    for seed in range(10):
        X, truth = planted(seed)
        X.setflags(write=False)
        labels, centers, inertia = kmeans(X, 8, seed=seed, batch=batch)
        assert len(np.unique(labels)) == 8
        for cluster in range(8):
            own = truth[labels == cluster]
            assert (own == np.bincount(own).argmax()).mean() > 0.95
        assert inertia == pytest.approx(6, rel=0.15)  # d dimensions of unit variance
        np.testing.assert_allclose(centers[labels], X, atol=6)


@pytest.mark.parametrize("batch", [0, 100])
def test_the_same_seed_gives_the_same_clusters(batch):
    X, _ = planted(1)
    first, again, other = (kmeans(X, 12, seed=seed, batch=batch) for seed in (3, 3, 4))
    assert first.labels.tolist() == again.labels.tolist()
    assert first.labels.tolist() != other.labels.tolist()


def test_every_row_is_at_its_nearest_center_and_centers_are_means():
    X, _ = planted(2)
    labels, centers, inertia = kmeans(X, 5, seed=0, iterations=200)
    square = ((X[:, None] - centers) ** 2).sum(axis=2)
    assert labels.tolist() == square.argmin(axis=1).tolist()
    assert inertia == pytest.approx(square.min(axis=1).mean(), rel=1e-5)
    for cluster in range(5):
        np.testing.assert_allclose(centers[cluster], X[labels == cluster].mean(axis=0), atol=1e-4)


def test_more_clusters_are_tighter():
    X = np.random.default_rng(3).standard_normal((500, 4))
    inertia = [kmeans(X, clusters, seed=0).inertia for clusters in (1, 4, 16, 64)]
    assert inertia == sorted(inertia, reverse=True)
    assert inertia[0] == pytest.approx(X.var(axis=0).sum(), rel=1e-5)


def test_fewer_distinct_rows_than_clusters_give_fewer_clusters():
    labels, centers, inertia = kmeans(np.repeat(np.eye(3), 5, axis=0), 7, seed=1)
    assert len(centers) == 3
    assert inertia == 0
    assert len({tuple(labels[at : at + 5]) for at in (0, 5, 10)}) == 3
    assert kmeans(np.ones((4, 2)), 9, seed=0).labels.tolist() == [0, 0, 0, 0]
    assert len(kmeans(np.eye(2), 5, seed=0).centers) == 2


def test_many_rows_go_by_mini_batch(monkeypatch):
    X, _ = planted(4, n=6000)
    full = kmeans(X, 8, seed=0)
    monkeypatch.setattr(module, "LARGE", 100)
    batched = kmeans(X, 8, seed=0)
    assert batched.inertia == pytest.approx(full.inertia, rel=0.1)
    assert not np.array_equal(batched.centers, full.centers)


def test_nearest_center_takes_the_lowest_of_equals():
    labels, square = nearest_center(np.array([[0.0], [3]]), np.array([[1.0], [-1], [1]], dtype=np.float32))
    assert labels.tolist() == [0, 0]
    assert square.tolist() == [1, 4]


@pytest.mark.parametrize(
    ("X", "clusters", "message"),
    [(np.ones((0, 2)), 1, "Need rows"), (np.ones((3, 2)), 0, "clusters"), (np.array([[np.nan]]), 1, "row 0")],
)
def test_bad_input_is_named(X, clusters, message):
    with pytest.raises(ValueError, match=message):
        kmeans(X, clusters, seed=0)
