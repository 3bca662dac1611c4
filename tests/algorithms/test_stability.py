"""Stability of chosen sets: worked numbers and the behaviour of random sets."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rulesel.algorithms.stability import bootstrap, mean_jaccard, membership, nogueira

SETS = [[0, 1], [0, 2], [0, 1]]


def test_worked_numbers():
    assert nogueira(SETS, 4) == pytest.approx(1 / 3)
    assert mean_jaccard(SETS, 4) == pytest.approx((1 / 3 + 1 + 1 / 3) / 3)


def test_identical_sets_are_perfectly_stable():
    assert nogueira([[1, 3]] * 5, 6) == pytest.approx(1)
    assert mean_jaccard([[1, 3]] * 5, 6) == pytest.approx(1)


def test_random_sets_have_no_stability_but_some_overlap():
    rng = np.random.default_rng(0)
    sets = [rng.choice(20, 5, replace=False) for _ in range(400)]
    assert abs(nogueira(sets, 20)) < 0.02
    assert mean_jaccard(sets, 20) > 0.1


def test_it_is_undefined_for_one_set_and_for_whole_sets():
    assert math.isnan(nogueira([[0]], 3))
    assert math.isnan(nogueira([[0, 1], [0, 1]], 2))
    assert math.isnan(mean_jaccard([[0]], 3))
    assert mean_jaccard([[], []], 3) == 1


def test_membership_is_a_table_of_sets_and_items():
    assert membership(SETS, 3).astype(int).tolist() == [[1, 1, 0], [1, 0, 1], [1, 1, 0]]


def test_more_resamples_extend_fewer():
    few = bootstrap(lambda rows: rows, 30, 3, seed=1)
    more = bootstrap(lambda rows: rows, 30, 5, seed=1)
    for a, b in zip(few, more, strict=False):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(few[0], few[1])
    assert not np.array_equal(few[0], bootstrap(lambda rows: rows, 30, 1, seed=2)[0])
    # With replacement, about a third of the rows stay out of a resample.
    assert np.mean([len(np.unique(rows)) for rows in bootstrap(lambda r: r, 300, 50, 0)]) == pytest.approx(190, abs=5)
