"""Agreement with a gold standard, against scipy, worked numbers and brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rulesel.algorithms.agreement import agreement, auc, kappa, kendall, spearman

vectors = st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=3, max_size=30)


@given(vectors)
@pytest.mark.slow
def test_rank_correlations_are_scipys(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, dtype=float).T
    if len(set(x)) > 1 and len(set(y)) > 1:
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
        concordant = sum(
            np.sign(x[i] - x[j]) * np.sign(y[i] - y[j]) for i, j in itertools.combinations(range(len(x)), 2)
        )
        untied = [sum(v[i] != v[j] for i, j in itertools.combinations(range(len(v)), 2)) for v in (x, y)]
        assert kendall(x, y) == pytest.approx(concordant / math.sqrt(untied[0] * untied[1]))
    else:
        assert math.isnan(spearman(x, y))
        assert math.isnan(kendall(x, y))


@given(vectors)
@pytest.mark.slow
def test_the_area_is_the_chance_that_good_beats_bad(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, dtype=float).T
    y = (y > 0).astype(float)
    good, bad = x[y == 1], x[y == 0]
    if len(good) and len(bad):
        wins = np.mean([(a > b) + 0.5 * (a == b) for a in good for b in bad])
        assert auc(x, y) == pytest.approx(wins)
    else:
        assert math.isnan(auc(x, y))


def test_kappa_is_the_published_formula() -> None:
    x = np.array([0, 1, 2, 3, 3, 2, 1, 0, 2, 3], dtype=float)
    y = np.array([0, 1, 2, 3, 2, 2, 0, 0, 3, 3], dtype=float)
    table = np.zeros((4, 4))
    for a, b in zip(x.astype(int), y.astype(int), strict=True):
        table[a, b] += 1
    weight = (np.arange(4)[:, None] - np.arange(4)) ** 2
    chance = np.outer(table.sum(1), table.sum(0)) / table.sum()
    assert kappa(x, y) == pytest.approx(1 - (weight * table).sum() / (weight * chance).sum())
    assert kappa(y, y) == pytest.approx(1.0)


@pytest.mark.parametrize("gold", [[0.5, 1, 2], [1, 1, 1], [0, 1, 0]])
def test_kappa_is_undefined_without_a_common_scale(gold: list[float]) -> None:
    assert math.isnan(kappa(np.array([5.0, 3.0, 4.0]), np.array(gold)))


@pytest.mark.slow
def test_everything_in_one_call_with_missing_values_left_out() -> None:
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 2, 200).astype(float)
    scores = gold + rng.normal(0, 0.8, 200)
    scores[:10] = np.nan
    gold[10:15] = np.nan
    found = agreement(scores, gold, draws=300)
    assert found.n == 185
    for estimate in (found.spearman, found.kendall, found.auc):
        assert estimate.low < estimate.value < estimate.high
    assert math.isnan(found.kappa.value)
    assert found == agreement(scores, gold, draws=300), "seeded"


@pytest.mark.slow
def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    truth = stats.norm.cdf(1 / math.sqrt(2))  # two unit normals, one apart
    inside = 0
    for seed in range(40):
        gold = np.repeat([0.0, 1.0], 40)
        found = agreement(gold + rng.normal(size=80), gold, draws=100, seed=seed).auc
        inside += found.low <= truth <= found.high
    assert 32 <= inside < 40


def test_too_little_or_unequal_data_is_refused() -> None:
    with pytest.raises(ValueError, match="Only 2 examples"):
        agreement([1, 2, np.nan], [1, 2, 3])
    with pytest.raises(ValueError, match="one length"):
        agreement([1, 2, 3], [1, 2])
