"""Strengths of compared items: closed forms, first-order conditions, ties, components."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from rulesel.algorithms import bradley_terry as module
from rulesel.algorithms.bradley_terry import bradley_terry

THREE = [(i, j, w) for i, row in enumerate([[0, 2, 1], [1, 0, 2], [1, 1, 0]]) for j, w in enumerate(row) if i != j]


def random_pairs(n=12, m=200, seed=0):
    rng = np.random.default_rng(seed)
    i = rng.integers(0, n, m)
    j = (i + rng.integers(1, n, m)) % n
    return np.column_stack([i, j, rng.random(m) + 0.1])


@pytest.mark.parametrize(("ridge", "half"), [(0, 0.549306), (0.1, 0.486406), (0.5, 0.341812)])
def test_three_wins_to_one(ridge, half):
    fit = bradley_terry([(0, 1, 3), (1, 0, 1)], 2, ridge=ridge)
    np.testing.assert_allclose(fit.strength, [half, -half], atol=1e-6)
    assert fit.component.tolist() == [0, 0]


@pytest.mark.parametrize(("ridge", "top"), [(0, 0.291134), (0.1, 0.259891)])
def test_three_items(ridge, top):
    np.testing.assert_allclose(bradley_terry(THREE, 3, ridge=ridge).strength, [top, 0, -top], atol=1e-6)


def test_an_undefeated_item_is_finite_with_a_ridge_and_refused_without():
    chain = [(0, 1), (1, 2), (0, 2)]
    np.testing.assert_allclose(bradley_terry(chain, 3, ridge=0.1).strength, [1.3476, 0, -1.3476], atol=1e-6)
    with pytest.raises(ValueError, match="ridge > 0"):
        bradley_terry(chain, 3, ridge=0)


def test_components_are_centred_apart_and_warned_of():
    pairs = [(0, 1, 3), (1, 0, 1), (2, 3, 3), (3, 2, 1)]
    with pytest.warns(UserWarning, match="2 components"):
        fit = bradley_terry(pairs, 4, ridge=0.1)
    np.testing.assert_allclose(fit.strength, [0.486406, -0.486406] * 2, atol=1e-6)
    assert fit.component.tolist() == [0, 0, 1, 1]
    with pytest.warns(UserWarning, match="2 components"):
        alone = bradley_terry(pairs[:2], 3, ridge=0)
    assert alone.strength[2] == 0
    assert np.isinf(alone.standard_error[2])


def test_ties_by_davidson_differ_from_half_wins():
    fit = bradley_terry([(0, 1, 6), (1, 0, 2)], 2, ridge=0, ties=[(0, 1, 4)])
    assert fit.strength[0] - fit.strength[1] == pytest.approx(np.log(3), abs=1e-9)
    halves = bradley_terry([(0, 1, 8), (1, 0, 4)], 2, ridge=0)
    assert halves.strength[0] - halves.strength[1] == pytest.approx(np.log(2), abs=1e-9)


def test_expected_wins_equal_the_wins_seen_at_the_optimum():
    pairs, ridge = random_pairs(), 0.2
    strength = bradley_terry(pairs, 12, ridge=ridge).strength
    won = np.bincount(pairs[:, 0].astype(int), pairs[:, 2], 12)
    i, j, w = pairs[:, 0].astype(int), pairs[:, 1].astype(int), pairs[:, 2]
    p = 1 / (1 + np.exp(strength[j] - strength[i]))
    expected = np.bincount(i, w * p, 12) + np.bincount(j, w * (1 - p), 12)
    np.testing.assert_allclose(won, expected + 2 * ridge * strength, atol=1e-9)


def test_labels_and_joint_scaling_do_not_matter():
    pairs = random_pairs()
    base = bradley_terry(pairs, 12, ridge=0.1).strength
    p = np.random.default_rng(3).permutation(12)
    moved = pairs.copy()
    moved[:, :2] = p[pairs[:, :2].astype(int)]
    np.testing.assert_allclose(bradley_terry(moved, 12, ridge=0.1).strength[p], base, atol=1e-9)
    doubled = pairs * [1, 1, 2]
    np.testing.assert_allclose(bradley_terry(doubled, 12, ridge=0.2).strength, base, atol=1e-9)


def test_even_odds_everywhere_give_equal_strengths():
    pairs = [(i, j, 0.5) for i in range(5) for j in range(5) if i != j]
    np.testing.assert_allclose(bradley_terry(pairs, 5, ridge=0.05).strength, 0, atol=1e-12)


def test_standard_errors_are_those_of_repeated_experiments():
    rng, truth = np.random.default_rng(0), np.array([1.0, 0.3, -0.4, -0.9])
    i, j = np.repeat(np.array(np.triu_indices(4, 1)), 80, axis=1)
    fits = []
    for _ in range(150):
        first = rng.random(len(i)) < 1 / (1 + np.exp(truth[j] - truth[i]))
        fits.append(bradley_terry(np.column_stack([np.where(first, i, j), np.where(first, j, i)]), 4, ridge=0))
    spread = np.std([fit.strength for fit in fits], axis=0)
    claimed = np.mean([fit.standard_error for fit in fits], axis=0)
    np.testing.assert_allclose(claimed, spread, rtol=0.2)
    np.testing.assert_allclose(np.mean([fit.strength for fit in fits], axis=0), truth, atol=0.05)


def test_many_items_are_solved_the_same_way(monkeypatch):
    pairs, ties = random_pairs(), random_pairs(m=30, seed=1)
    newton = [bradley_terry(pairs, 12, ridge=0.1, ties=t).strength for t in (None, ties)]
    monkeypatch.setattr(module, "DENSE_LIMIT", 5)
    for t, wanted in zip((None, ties), newton, strict=True):
        fit = bradley_terry(pairs, 12, ridge=0.1, ties=t)
        np.testing.assert_allclose(fit.strength, wanted, atol=1e-4)
        assert np.isnan(fit.standard_error).all()


def test_strengths_recover_a_planted_order_without_warning():
    rng, truth = np.random.default_rng(1), np.linspace(-2, 2, 30)
    i = rng.integers(0, 30, 4000)
    j = (i + rng.integers(1, 30, 4000)) % 30
    first = rng.random(4000) < 1 / (1 + np.exp(truth[j] - truth[i]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = bradley_terry(np.column_stack([np.where(first, i, j), np.where(first, j, i)]), 30, ridge=0.05)
    assert np.corrcoef(fit.strength, truth)[0, 1] > 0.98


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([(0, 0)], "with itself"),
        ([(0, 3)], "outside 0..2"),
        ([(0, 1.5)], "outside 0..2"),
        ([(0, 1, -1)], "negative"),
        ([(0, 1, 2, 3)], "shape"),
    ],
)
def test_malformed_comparisons_are_named(pairs, message):
    with pytest.raises(ValueError, match=message):
        bradley_terry(pairs, 3, ridge=0.1)


def test_no_comparison_and_a_negative_ridge():
    with pytest.warns(UserWarning, match="3 components"):
        assert bradley_terry([], 3, ridge=0.5).strength.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="ridge"):
        bradley_terry([], 3, ridge=-1)
