"""Density, NovelSum and NovelSelect: worked numbers, the definitions in float64, both modes."""

from __future__ import annotations

import numpy as np
import pytest

from rulesel.algorithms import novelselect as module
from rulesel.algorithms import novelty as measure
from rulesel.algorithms.density import local_density
from rulesel.algorithms.novelselect import novelselect
from rulesel.algorithms.novelty import novelsum

THREE = np.array([[1, 0], [0, 1], [0.6, 0.8]])


def unit(X):
    X = X.astype(np.float64)
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def plain_density(X, reference, neighbors, power, mode):
    rows, base = (X, reference) if mode == "published" else (unit(X), unit(reference))
    base = np.unique(base.astype(np.float64), axis=0)
    square = np.sort(((rows[:, None].astype(np.float64) - base) ** 2).sum(axis=-1), axis=1)
    out = np.empty(len(X))
    for row, near in enumerate(square):
        others = near[1:] if mode == "published" or near[0] < 1e-12 else near
        out[row] = (others[:neighbors].mean() + 1e-9) ** -power
    return out


def plain_select(X, k, density, power, mode, *, given=(), first=None, quality=None):
    """The definition: every novelty of every row, at every step."""
    X = unit(X)
    D = np.maximum(1 - X @ X.T, 0)
    members, picks, novelty = list(given), [], []
    while len(picks) < k:
        weight = np.arange(1, len(members) + 1) ** -float(power)
        value = np.zeros(len(X))
        for row in range(len(X)) if members else ():
            distance = D[row, members]
            if mode == "published":
                value[row] = np.sort(distance * (density[row] + density[members])) @ weight / len(members)
            else:
                order = np.argsort(np.round(distance, 12), kind="stable")
                value[row] = (distance * density[members])[order] @ weight
        value *= np.ones(len(X)) if quality is None else quality
        open_ = np.setdiff1d(np.arange(len(X)), members)
        top = value[open_].max()
        pick = int(open_[value[open_] >= top * (1 - 1e-10) - 1e-15][0])
        pick = first if first is not None and not picks else pick
        picks.append(pick)
        novelty.append(value[pick])
        members.append(pick)
    return picks, novelty


def random_case(seed):
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(2, 40)), int(rng.integers(2, 6))
    X = rng.standard_normal((n, d))
    if seed % 7 == 0:
        X = X[rng.integers(0, n, n)]
    X = X.astype(np.float32 if seed % 3 else np.float64)
    X.setflags(write=False)
    given = rng.permutation(n)[: rng.integers(0, min(4, n))]
    first = int(rng.choice(np.setdiff1d(np.arange(n), given))) if len(given) == 0 or seed % 3 == 0 else None
    k = int(rng.integers(1, n - len(given) + 1))
    quality = rng.random(n) if seed % 5 == 0 else None
    return X, k, given, first, quality, float(rng.choice([0, 0.5, 1, 2])), float(rng.choice([0, 0.5, 1]))


@pytest.mark.parametrize("mode", ["published", "corrected"])
def test_density_is_its_definition(mode):
    for seed in range(60):
        rng = np.random.default_rng(seed)
        X = (3 * rng.standard_normal((20, 4))).astype(np.float32)
        reference = X if seed % 2 else rng.standard_normal((15, 4)).astype(np.float32)
        if seed % 3 == 0:
            reference = np.concatenate([reference, reference[:5], X[:3]])
        found = local_density(X, reference, neighbors=3, power=0.5, mode=mode)
        np.testing.assert_allclose(found, plain_density(X, reference, 3, 0.5, mode), rtol=2e-6)


def test_density_of_the_worked_rows():
    for mode in ("published", "corrected"):
        density = local_density(THREE, neighbors=1, mode=mode)
        np.testing.assert_allclose(density, [1.118034, 1.581139, 1.581139], atol=1e-6)


def test_the_nearest_of_a_strange_reference_is_left_out_only_as_published():
    queries, reference = np.array([[1.0, 0]]), np.array([[0.0, 1], [0.6, 0.8]])
    assert local_density(queries, reference, neighbors=1, power=1)[0] == pytest.approx(1 / 0.8)
    assert local_density(queries, reference, neighbors=1, power=1, mode="published")[0] == pytest.approx(1 / 2)


def test_published_density_sees_length_and_corrected_does_not():
    X = np.random.default_rng(0).standard_normal((30, 5))
    longer = X * np.random.default_rng(1).uniform(0.5, 2, (30, 1))
    np.testing.assert_allclose(local_density(X), local_density(longer), rtol=1e-5)
    assert not np.allclose(local_density(X, mode="published"), local_density(longer, mode="published"), rtol=1e-2)


@pytest.mark.parametrize(
    ("options", "value", "rows"),
    [
        ({"mode": "published", "density_power": 0}, 0.218182, [0.290909, 0.236364, 0.127273]),
        ({"mode": "published", "density_power": 0, "distance_power": 0}, 0.355556, [0.466667, 0.4, 0.2]),
        ({"mode": "published", "neighbors": 1}, 0.300069, [0.325246, 0.373724, 0.201236]),
        ({"density_power": 0}, 2.0, [0.9, 0.7, 0.4]),
        ({"density_power": 0, "reduce": "average"}, 0.444444, [0.6, 0.466667, 0.266667]),
        ({"neighbors": 1}, 2.838104, [1.423025, 0.875245, 0.539835]),
        ({"neighbors": 1, "reduce": "mean"}, 2.838104 / 3, [1.423025, 0.875245, 0.539835]),
    ],
)
def test_worked_novelsum(options, value, rows):
    found = novelsum(THREE, **options)
    assert found.value == pytest.approx(value, abs=1e-6)
    np.testing.assert_allclose(found.novelty, rows, atol=1e-6)
    assert found.standard_error == 0


def test_novelsum_falls_with_copies_and_ignores_rotation():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 6))
    turn = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    for options in ({"mode": "published"}, {"reduce": "average"}):
        value = novelsum(X, **options).value
        assert novelsum(X @ turn, **options).value == pytest.approx(value, rel=1e-5)
        assert novelsum(np.concatenate([X, X]), **options).value < value


def test_without_density_the_reference_does_not_matter():
    rng = np.random.default_rng(1)
    X, other = rng.standard_normal((20, 3)), rng.standard_normal((50, 3))
    assert novelsum(X, other, density_power=0).value == novelsum(X, density_power=0).value
    assert novelsum(X, other).value != novelsum(X).value


def test_a_sample_of_rows_stands_for_many(monkeypatch):
    X = np.random.default_rng(2).standard_normal((600, 8))
    exact = novelsum(X)
    monkeypatch.setattr(measure, "EXACT", 500)
    monkeypatch.setattr(measure, "SAMPLED", 200)
    sampled = novelsum(X, seed=1)
    assert len(sampled.novelty) == 200
    assert sampled.standard_error > 0
    assert abs(sampled.value - exact.value) < 4 * sampled.standard_error


@pytest.mark.parametrize("mode", ["published", "corrected"])
@pytest.mark.parametrize("together", [2, 128])
@pytest.mark.slow
def test_picks_and_novelties_are_those_of_the_definition(mode, together, monkeypatch):
    monkeypatch.setattr(module, "TOGETHER", together)
    for seed in range(120):
        X, k, given, first, quality, power, dense = random_case(seed)
        density = local_density(X, neighbors=3, power=dense, mode=mode)
        picks, novelty = novelselect(
            X,
            k,
            first=first,
            given=given,
            neighbors=3,
            density_power=dense,
            distance_power=power,
            mode=mode,
            quality=quality,
        )
        expected, values = plain_select(X, k, density, power, mode, given=given, first=first, quality=quality)
        assert picks.tolist() == expected, f"seed {seed}"
        np.testing.assert_allclose(novelty, values, atol=1e-9, err_msg=f"seed {seed}")


@pytest.mark.parametrize("mode", ["published", "corrected"])
@pytest.mark.slow
def test_bounds_over_many_rows_lose_no_pick(mode):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 16))[rng.integers(0, 30, 4000)] + 0.5 * rng.standard_normal((4000, 16))
    X = X.astype(np.float32)
    density = local_density(X, mode=mode)
    picks, _ = novelselect(X, 60, first=0, mode=mode)
    rows, expected = unit(X), [0]
    D = np.empty((len(X), 60))
    for step in range(1, 60):
        D[:, step - 1] = np.maximum(1 - rows @ rows[expected[-1]], 0)
        distance, weight = D[:, :step], 1 / np.arange(1, step + 1)
        if mode == "published":
            value = np.sort(distance * (density[:, None] + density[expected]), axis=1) @ weight
        else:
            order = np.argsort(distance, axis=1)
            value = np.take_along_axis(distance * density[expected], order, axis=1) @ weight
        value[expected] = -1
        expected.append(int(value.argmax()))
    assert picks.tolist() == expected


def test_worked_novelselect():
    picks, novelty = novelselect(THREE, 3, first=0, neighbors=1, mode="published")
    assert picks.tolist() == [0, 1, 2]
    np.testing.assert_allclose(novelty, [0, 2.699173, 0.586145], atol=1e-6)
    picks, novelty = novelselect(THREE, 3, first=0, neighbors=1)
    assert picks.tolist() == [0, 1, 2]
    np.testing.assert_allclose(novelty, [0, 1.118034, 0.539835], atol=1e-6)


def test_the_modes_differ():
    X = np.random.default_rng(4).standard_normal((200, 4))
    assert novelselect(X, 20, first=0)[0].tolist() != novelselect(X, 20, first=0, mode="published")[0].tolist()


def test_the_published_start_is_the_authors_draw():
    X = np.random.default_rng(5).standard_normal((50, 3))
    assert novelselect(X, 1, mode="published", seed=42)[0].tolist() == [np.random.RandomState(42).randint(0, 50)]
    central = int((unit(X) @ unit(X).mean(axis=0)).argmax())
    assert novelselect(X, 1)[0].tolist() == [central]


@pytest.mark.parametrize("mode", ["published", "corrected"])
def test_copies_are_picked_last_and_in_order(mode):
    X = np.repeat(np.eye(3), 4, axis=0)
    picks, novelty = novelselect(X, 12, first=0, mode=mode)
    assert picks[:3].tolist() == [0, 4, 8]
    assert sorted(picks.tolist()) == list(range(12))
    alike = np.tile([[1.0, 2.0]], (300, 1))
    picks, novelty = novelselect(alike, 50, first=0, mode=mode)
    assert picks.tolist() == list(range(50))
    assert (novelty == 0).all()


def test_rows_without_direction_are_refused_or_isolated():
    X = np.array([[1.0, 0], [0, 0], [0.9, 0.1]])
    with pytest.raises(ValueError, match="row 1 is all zeros"):
        novelselect(X, 2)
    assert novelselect(X, 2, first=0, zero="isolate")[0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distance_power": -1}, "distance_power"),
        ({"density_power": -1}, "power"),
        ({"neighbors": 0}, "neighbors"),
        ({"quality": np.array([1.0, -1, 1])}, "quality"),
        ({"density": np.array([1.0, np.nan, 1])}, "density"),
        ({"first": 3}, "first"),
        ({"given": [0, 0]}, "twice"),
    ],
)
def test_arguments_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        novelselect(THREE, 2, **options)


def test_rows_that_are_not_finite_are_refused():
    X = THREE.copy()
    X[2, 1] = np.inf
    with pytest.raises(ValueError, match="row 2"):
        novelselect(X, 2)
    with pytest.raises(ValueError, match="row 2"):
        novelsum(X)
    with pytest.raises(ValueError, match="at least two rows"):
        novelsum(THREE[:1])
