"""One-pass moments against numpy on complete data, and against loops over pairs on data with gaps."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rulesel.algorithms.moments import Moments, moments, nearest_correlation


def ratings(n=300, columns=6, missing=0.2, seed=0):
    rng = np.random.default_rng(seed)
    S = rng.normal(size=(n, 2)) @ rng.normal(size=(2, columns)) + rng.normal(size=(n, columns))
    S[rng.random(S.shape) < missing] = np.nan
    return S


def pairwise(S, function):
    R = S.shape[1]
    out = np.zeros((R, R))
    for j in range(R):
        for k in range(R):
            both = ~np.isnan(S[:, j]) & ~np.isnan(S[:, k])
            out[j, k] = function(S[both, j], S[both, k])
    return out


def test_correlation_of_complete_data_is_numpys():
    S = ratings(missing=0)
    found = moments(S)
    np.testing.assert_allclose(found.correlation(), np.corrcoef(S.T), atol=1e-12)
    np.testing.assert_allclose(found.covariance(), np.cov(S.T, bias=True), atol=1e-12)
    np.testing.assert_allclose(found.mean, S.mean(axis=0))
    np.testing.assert_allclose(found.sd, S.std(axis=0))
    np.testing.assert_allclose(found.gram(), S.T @ S)


def test_pairs_with_gaps_are_measured_on_their_common_rows():
    S = ratings()
    found = moments(S)
    np.testing.assert_allclose(found.correlation(), pairwise(S, lambda a, b: np.corrcoef(a, b)[0, 1]), atol=1e-12)
    np.testing.assert_allclose(found.covariance(), pairwise(S, lambda a, b: np.cov(a, b, bias=True)[0, 1]), atol=1e-12)
    np.testing.assert_array_equal(found.pair_count, pairwise(S, lambda a, b: len(a)))
    np.testing.assert_allclose(found.mean, np.nanmean(S, axis=0))
    np.testing.assert_allclose(found.sd, np.nanstd(S, axis=0))


def test_gram_fills_gaps_with_the_column_mean():
    S = ratings()
    filled = np.where(np.isnan(S), np.nanmean(S, axis=0), S)
    np.testing.assert_allclose(moments(S).gram(), filled.T @ filled)


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 120), max_size=5), seed=st.integers(0, 10), shift=st.sampled_from([0.0, 1e6]))
def test_any_cutting_into_blocks_and_any_merging_gives_the_same_moments(cuts, seed, shift):
    S = ratings(120, 4, 0.3, seed) + shift
    S[:60, 3] = np.nan  # a column that the first blocks do not know
    edges = [0, *sorted(cuts), 120]
    blocks = [S[a:b] for a, b in itertools.pairwise(edges)]
    whole = moments(S)
    streamed = moments(iter(blocks))
    merged = Moments(4)
    for block in reversed(blocks):
        part = Moments(4)
        part.add(block)
        merged.merge(part)
    for other in (streamed, merged):
        np.testing.assert_allclose(other.correlation(), whole.correlation(), atol=1e-8)
        np.testing.assert_allclose(other.sd, whole.sd, atol=1e-8)
        np.testing.assert_allclose(other.mean, whole.mean, rtol=1e-12)
        assert other.rows == 120


def test_a_large_offset_costs_no_digits():
    S = ratings(missing=0.1)
    np.testing.assert_allclose(moments(S + 1e7).correlation(), moments(S).correlation(), atol=1e-7)


def test_correlation_does_not_change_with_scale_and_offset():
    S = ratings()
    T = S * np.array([1, 10, 0.001, 3, 1e5, 7]) + np.array([0, 5, -3, 0, 1e3, 1])
    np.testing.assert_allclose(moments(T).correlation(), moments(S).correlation(), atol=1e-9)


def test_constant_and_empty_columns_correlate_with_nothing_and_warn_of_nothing():
    S = np.column_stack([np.full(50, 0.1), np.full(50, np.nan), np.arange(50.0), np.arange(50.0) ** 2])
    found = moments(S)
    C = found.correlation()
    assert C[0, 2] == 0
    assert C[1, 2] == 0
    assert C[2, 3] > 0.9
    np.testing.assert_array_equal(np.diagonal(C), 1)
    assert np.isnan(found.mean[1])
    assert found.count.tolist() == [50, 0, 50, 50]


def test_ten_percent_missing_at_random_moves_correlations_by_less_than_two_hundredths():
    S = ratings(20_000, 8, 0.0, 3)
    gaps = S.copy()
    gaps[np.random.default_rng(1).random(S.shape) < 0.1] = np.nan
    assert np.abs(moments(gaps).correlation() - moments(S).correlation()).max() < 0.02


def test_filling_gaps_with_means_would_shrink_a_perfect_correlation():
    # Control for the pairwise definition: imputation turns a correlation of 1 into less.
    S = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, np.nan]])
    assert moments(S).correlation()[0, 1] == pytest.approx(1.0)
    filled = np.where(np.isnan(S), np.nanmean(S, axis=0), S)
    assert np.corrcoef(filled.T)[0, 1] < 0.99


def test_float32_and_float64_agree():
    S = ratings().astype(np.float32)
    np.testing.assert_allclose(moments(S).correlation(), moments(S.astype(np.float64)).correlation(), atol=1e-12)


def test_the_callers_array_is_left_alone():
    S = ratings()
    S.flags.writeable = False
    moments(S)


def test_contradicting_correlations_are_refused():
    C = np.array([[1, 0.9, 0.9], [0.9, 1, -0.9], [0.9, -0.9, 1]])
    assert np.linalg.eigvalsh(C)[0] == pytest.approx(-0.8)
    with pytest.raises(ValueError, match=r"26\.7% of the spectrum"):
        nearest_correlation(C)


def test_slightly_negative_eigenvalues_are_clipped_and_reported():
    C = np.array([[1, 0.7, 0.7], [0.7, 1, -0.1], [0.7, -0.1, 1]])
    negative = -np.linalg.eigvalsh(C)[0]
    fixed, clipped = nearest_correlation(C)
    assert clipped == pytest.approx(negative / 3)
    assert 0 < clipped < 0.05
    assert np.linalg.eigvalsh(fixed)[0] > -1e-12
    np.testing.assert_allclose(np.diagonal(fixed), 1)
    good = np.corrcoef(ratings(missing=0).T)
    same, nothing = nearest_correlation(good)
    assert nothing == 0
    np.testing.assert_array_equal(same, good)


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="infinite"):
        moments(np.array([[1.0, np.inf], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="does not have 3 columns"):
        moments([np.zeros((2, 3)), np.zeros((2, 4))])
    with pytest.raises(ValueError, match="no rows"):
        moments([])
    with pytest.raises(ValueError, match="Cannot merge"):
        Moments(2).merge(Moments(3))
