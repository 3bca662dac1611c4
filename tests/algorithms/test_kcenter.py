"""k-center against the plain loop on hundreds of small cases, worked numbers, and the factor of two."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from rulesel.algorithms import kcenter as module
from rulesel.algorithms.kcenter import kcenter

LINE = np.array([[0.0], [1], [2], [10], [11], [20]])


def squared_distances(X, metric):
    X = X.astype(np.float64)
    if metric == "cosine":
        X = X / np.linalg.norm(X, axis=1, keepdims=True)
    return ((X[:, None] - X[None]) ** 2).sum(axis=-1)


def plain(X, k, *, first=None, given=(), metric="euclidean", robust=0.0):
    """The definition: at each step the farthest row after `ignored` others, lowest index among equals."""
    D = squared_distances(X, metric)
    n, ignored = len(X), int(robust * len(X))
    centers, picks, radii = list(given), [], []
    if first is not None:
        picks.append(first)
        centers.append(first)
    while len(picks) <= k and len(centers) < n:
        near = D[:, centers].min(axis=1)
        left = sorted(set(range(n)) - set(centers), key=lambda row: (-round(near[row], 13), row))
        row = left[min(ignored, len(left) - 1)]
        if picks:
            radii.append(near[row] if len(left) > ignored else 0.0)
        picks.append(row)
        centers.append(row)
    radii = np.array([*radii, 0.0])[:k]
    return picks[:k], radii / 2 if metric == "cosine" else np.sqrt(radii)


def random_case(seed):
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(1, 40)), int(rng.integers(1, 6))
    X = rng.standard_normal((n, d))
    if seed % 4 == 1:  # a grid: many exact ties
        X = rng.integers(0, 3, (n, d)) + 0.5
    if seed % 4 == 2:  # copies
        X = X[rng.integers(0, n, n)]
    if seed % 4 == 3:  # a common offset that float32 products would drown in
        X = X + 1000
    X = X.astype(np.float32 if seed % 3 else np.float64)
    given = rng.permutation(n)[: rng.integers(0, min(4, n))]
    k = int(rng.integers(0, n - len(given) + 1))
    first = int(rng.choice(np.setdiff1d(np.arange(n), given))) if k and (len(given) == 0 or seed % 5 == 0) else None
    options = {
        "first": first,
        "given": given,
        "metric": "cosine" if seed % 7 == 0 else "euclidean",
        "robust": float(rng.choice([0, 0, 0.1, 0.3])),
    }
    X.setflags(write=False)
    return X, k, options


@pytest.mark.parametrize("cells", [2**6, 2**23], ids=["tiny blocks", "large blocks"])
@pytest.mark.slow
def test_picks_and_radii_are_those_of_the_plain_loop(cells, monkeypatch):
    monkeypatch.setattr(module, "CELLS", cells)
    for seed in range(250):
        X, k, options = random_case(seed)
        picks, radii = kcenter(X, k, **options)
        expected, expected_radii = plain(X, k, **options) if k else ([], [])
        assert picks.tolist() == expected, f"seed {seed}"
        np.testing.assert_allclose(radii, expected_radii, rtol=1e-6, atol=1e-9, err_msg=f"seed {seed}")


def test_lazy_progress_over_many_rows_is_the_plain_loop_in_float64():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 24))[rng.integers(0, 40, 3000)] + 0.4 * rng.standard_normal((3000, 24))
    X = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
    double = X.astype(np.float64)
    near = ((double - double[0]) ** 2).sum(axis=1)
    expected = [0]
    while len(expected) < 700:
        expected.append(int(near.argmax()))
        near = np.minimum(near, ((double - double[expected[-1]]) ** 2).sum(axis=1))
    picks, radii = kcenter(X, 700, first=0)
    assert picks.tolist() == expected
    assert radii[-1] == pytest.approx(near.max() ** 0.5)
    assert (np.diff(radii) <= 0).all()


def test_worked_line():
    picks, radii = kcenter(LINE, 3, first=0)
    assert picks.tolist() == [0, 5, 3]
    assert radii.tolist() == [20, 10, 2]  # the best three centers reach 1: the factor of two is attained


def test_the_first_pick_is_the_row_nearest_the_mean():
    assert kcenter(LINE, 1)[0].tolist() == [3]  # mean 7.33
    assert kcenter(LINE, 1, first=5)[0].tolist() == [5]


@pytest.mark.slow
def test_radius_is_within_twice_the_best():
    for seed in range(100):
        X = np.random.default_rng(seed).standard_normal((12, 3))
        D = squared_distances(X, "euclidean")
        best = min(D[:, list(centers)].min(axis=1).max() for centers in itertools.combinations(range(12), 4))
        assert kcenter(X, 4)[1][-1] <= 2 * best**0.5 + 1e-12


def test_chosen_rows_count_and_are_never_picked():
    picks, radii = kcenter(LINE, 2, given=[5, 0])
    assert picks.tolist() == [3, 2]
    assert radii.tolist() == [2, 1]


def test_copies_come_last_and_in_order():
    X = np.repeat(np.eye(4), 3, axis=0)
    picks, radii = kcenter(X, 12, first=0)
    assert picks.tolist() == [0, 3, 6, 9, 1, 2, 4, 5, 7, 8, 10, 11]
    assert radii[3:].tolist() == [0] * 9


def test_a_prefix_is_the_selection_of_fewer():
    X = np.random.default_rng(3).standard_normal((200, 8))
    assert kcenter(X, 50)[0][:20].tolist() == kcenter(X, 20)[0].tolist()


def test_robust_passes_over_outliers():
    rng = np.random.default_rng(1)
    X = np.vstack([rng.standard_normal((95, 2)), 100 + 50 * rng.standard_normal((5, 2))])
    assert (kcenter(X, 5, first=0)[0] >= 95).sum() >= 3  # the control: plain greedy chases them
    assert (kcenter(X, 5, first=0, robust=0.05)[0] < 95).all()


def test_cosine_ignores_length_and_isolates_rows_without_direction():
    X = np.random.default_rng(2).standard_normal((60, 5))
    scaled = X * np.random.default_rng(3).uniform(0.1, 10, (60, 1))
    assert (
        kcenter(X, 10, metric="cosine", first=0)[0].tolist()
        == kcenter(scaled, 10, metric="cosine", first=0)[0].tolist()
    )
    X[7] = 0
    with pytest.raises(ValueError, match="row 7 is all zeros"):
        kcenter(X, 3, metric="cosine")
    picks, radii = kcenter(X[[0, 7]], 2, metric="cosine", zero="isolate", first=0)
    assert picks.tolist() == [0, 1]
    assert radii.tolist() == pytest.approx([1, 0])


def test_progress_ends_at_k():
    told = []
    kcenter(np.random.default_rng(0).standard_normal((50, 3)), 20, progress=lambda done, k: told.append((done, k)))
    assert told[-1] == (20, 20)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": -1}, "negative"),
        ({"first": 6}, "first must be"),
        ({"given": [0, 0]}, "twice"),
        ({"given": [9]}, "rows of 0..5"),
        ({"given": [1], "first": 1}, "in given already"),
        ({"robust": 1.0}, "robust"),
    ],
)
def test_arguments_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        kcenter(LINE, **{"k": 2, **options})


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_refused(value):
    X = LINE.copy()
    X[4] = value
    with pytest.raises(ValueError, match="row 4"):
        kcenter(X, 2)


def test_an_outlier_does_not_drown_the_others():
    rng = np.random.default_rng(6)
    X = rng.standard_normal((400, 4)).astype(np.float32)
    X[17] *= 3000
    picks, _ = kcenter(X, 60, first=0)
    assert picks.tolist() == plain(X, 60, first=0)[0]
    settled = []
    settle = module._Search._settle

    def watched(self, rows):
        settled.append(len(rows))
        return settle(self, rows)

    module._Search._settle = watched
    try:
        kcenter(X, 60, first=0)
    finally:
        module._Search._settle = settle
    assert sum(settled) < 60  # of 400 rows at each step, hardly one is in doubt


def test_values_beyond_float32_are_refused():
    with pytest.raises(ValueError, match="overflows float32"):
        kcenter(np.array([[1e25], [-1e25]]), 1)


def test_more_than_there_is_gives_all():
    assert sorted(kcenter(LINE, 99)[0].tolist()) == list(range(6))
    assert len(kcenter(LINE, 0)[0]) == 0
