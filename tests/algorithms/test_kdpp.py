"""The sampler against enumeration and DPPy, where DPPy works and where its tables overflow."""

from __future__ import annotations

import itertools
import math
import warnings
from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from rulesel.algorithms.dpp import subset_probabilities
from rulesel.algorithms.kdpp import KDpp, log_esp

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from dppy.finite_dpps import FiniteDPP

L3 = np.array([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]])


def kernel(items, rank, seed):
    B = np.random.default_rng(seed).normal(size=(items, rank))
    return B @ B.T


def p_value(draws, subsets, probabilities):
    """Chi-square of draws against probabilities, rare subsets pooled; 0 where an impossible subset was drawn."""
    seen = Counter(tuple(sorted(map(int, draw))) for draw in draws)
    counts = np.array([seen.pop(tuple(Y.tolist()), 0) for Y in subsets], dtype=float)
    if seen or counts[probabilities < 1e-13].any():
        return 0.0
    expected = probabilities * counts.sum()
    common = expected >= 5
    found, wanted = counts[common], expected[common]
    if expected[~common].sum() > 0:
        found, wanted = np.append(found, counts[~common].sum()), np.append(wanted, expected[~common].sum())
    return chisquare(found, wanted * found.sum() / wanted.sum()).pvalue


def dppy_draws(L, k, count, seed):
    process = FiniteDPP("likelihood", L=L)
    state = np.random.RandomState(seed)
    return [process.sample_exact_k_dpp(size=k, random_state=state) for _ in range(count)]


def test_symmetric_polynomials_of_one_two_three():
    table = np.exp(log_esp(np.log([1.0, 2, 3]), 3))
    np.testing.assert_allclose(table[-1], [1, 6, 11, 6])


def test_symmetric_polynomials_beyond_the_range_of_floats():
    big = log_esp(np.full(500, np.log(1e6)), 100)[-1, 100]
    assert big == pytest.approx(math.log(math.comb(500, 100)) + 100 * math.log(1e6), rel=1e-14)
    small = log_esp(np.full(200, np.log(1e-9)), 50)[-1, 50]
    assert small == pytest.approx(math.log(math.comb(200, 50)) + 50 * math.log(1e-9), rel=1e-14)


def test_symmetric_polynomials_are_the_coefficients_of_the_characteristic_polynomial():
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = rng.gamma(1.0, size=9)
        np.testing.assert_allclose(np.exp(log_esp(np.log(values), 9)[-1]), np.abs(np.poly(values)), rtol=1e-10)


def test_normalisers_of_all_sizes_sum_to_the_determinant_of_l_plus_identity():
    total = sum(np.exp(KDpp(L3, k).log_normaliser) for k in range(4))
    assert total == pytest.approx(np.linalg.det(L3 + np.eye(3)))
    assert total == pytest.approx(6.38)


def test_worked_pair_probabilities_and_inclusion():
    subsets, p = subset_probabilities(L3, 2)
    assert subsets.tolist() == [[0, 1], [0, 2], [1, 2]]
    np.testing.assert_allclose(p, [0.086758, 0.456621, 0.456621], atol=1e-6)
    np.testing.assert_allclose(KDpp(L3, 2).inclusion(), [0.543379, 0.543379, 0.913242], atol=1e-6)


@pytest.mark.parametrize(("items", "rank", "k"), [(6, 6, 3), (6, 4, 3), (7, 7, 1), (5, 5, 5), (6, 6, 0)])
def test_inclusion_probabilities_are_those_of_enumeration(items, rank, k):
    L = kernel(items, rank, 1)
    found = KDpp(L, k).inclusion()
    wanted = np.zeros(items)
    for Y, p in zip(*subset_probabilities(L, k), strict=True):
        wanted[Y] += p
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    assert found.sum() == pytest.approx(k, abs=1e-12)


@pytest.mark.slow
def test_draws_follow_enumeration_at_full_and_at_deficient_rank():
    for rank in (6, 4):
        L = kernel(6, rank, 2)
        process, rng = KDpp(L, 3), np.random.default_rng(0)
        draws = [process.sample(rng) for _ in range(20_000)]
        assert p_value(draws, *subset_probabilities(L, 3)) > 1e-3


@pytest.mark.slow
def test_draws_agree_with_dppy_and_the_control_does_not():
    L = kernel(6, 6, 3)
    subsets, p = subset_probabilities(L, 3)
    process, rng = KDpp(L, 3), np.random.default_rng(1)
    ours = [process.sample(rng) for _ in range(8_000)]
    theirs = dppy_draws(L, 3, 8_000, 1)
    assert p_value(ours, subsets, p) > 1e-3
    assert p_value(theirs, subsets, p) > 1e-3
    every = list(itertools.combinations(range(6), 3))
    a, b = (
        np.array([Counter(tuple(sorted(map(int, d))) for d in draws)[Y] for Y in every]) for draws in (ours, theirs)
    )
    both = (a + b) >= 10
    halves = np.concatenate([a[both], b[both]])
    assert chisquare(halves, np.tile((a + b)[both] / 2, 2), ddof=both.sum() - 1).pvalue > 1e-3
    # The control: the same test tells a kernel that differs by one correlation from this one.
    other = L.copy()
    other[0, 1] = other[1, 0] = -other[0, 1]
    if np.linalg.eigvalsh(other)[0] < 0:
        other += np.eye(6) * (1e-9 - np.linalg.eigvalsh(other)[0])
    wrong, rng = KDpp(other, 3), np.random.default_rng(1)
    assert p_value([wrong.sample(rng) for _ in range(8_000)], subsets, p) < 1e-6


@pytest.mark.slow
def test_the_identity_gives_every_subset_the_same_chance():
    process, rng = KDpp(np.eye(6), 2), np.random.default_rng(3)
    draws = [process.sample(rng) for _ in range(6_000)]
    assert p_value(draws, *subset_probabilities(np.eye(6), 2)) > 1e-3


@pytest.mark.slow
def test_a_huge_kernel_is_sampled_without_bias_where_dppy_fails():
    L = 1e6 * np.eye(500)
    process, rng = KDpp(L, 50), np.random.default_rng(0)
    means = np.array([process.sample(rng).mean() for _ in range(200)])
    error = np.sqrt((500**2 - 1) / 12 / 50 / 200)
    assert abs(means.mean() - 249.5) < 5 * error
    # DPPy's tables overflow here: what it returns are the first items only.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        assert max(dppy_draws(L, 50, 1, 0)[0]) < 60


def test_five_hundred_rules_and_a_hundred_wanted_work_at_eigenvalues_of_a_million():
    process = KDpp(1e6 * np.eye(500), 100)
    draw = process.sample(np.random.default_rng(0))
    assert len(set(draw.tolist())) == 100
    np.testing.assert_allclose(process.inclusion(), 0.2, rtol=1e-9)
    A = np.random.default_rng(1).random((2000, 500)) * 1000
    big = KDpp(A.T @ A, 100)
    assert len(set(big.sample(np.random.default_rng(0)).tolist())) == 100
    assert big.inclusion().sum() == pytest.approx(100)


def test_scale_does_not_change_a_draw():
    L = kernel(20, 20, 5)
    for scale in (1e-12, 1e12):
        same = [KDpp(M, 6).sample(np.random.default_rng(7)).tolist() for M in (L, L * scale)]
        assert same[0] == same[1]


def test_copies_never_come_together():
    L = kernel(4, 6, 6)[np.ix_([0, 1, 2, 3, 0], [0, 1, 2, 3, 0])]
    process, rng = KDpp(L, 3), np.random.default_rng(0)
    assert not any({0, 4} <= set(process.sample(rng).tolist()) for _ in range(500))


def test_a_draw_of_everything_and_of_nothing():
    L = kernel(5, 5, 0)
    assert KDpp(L, 5).sample(np.random.default_rng(0)).tolist() == [0, 1, 2, 3, 4]
    assert KDpp(L, 0).sample(np.random.default_rng(0)).tolist() == []


def test_impossible_kernels_are_refused():
    with pytest.raises(ValueError, match="rank 3"):
        KDpp(kernel(6, 3, 0), 4)
    with pytest.raises(ValueError, match="NaN"):
        KDpp(np.array([[1, np.nan], [np.nan, 1]]), 1)
    with pytest.raises(ValueError, match="not symmetric"):
        KDpp(np.array([[1.0, 0.5], [0.1, 1]]), 1)
    with pytest.raises(ValueError, match="not positive semidefinite"):
        KDpp(np.array([[1.0, 2], [2, 1]]), 1)
    with pytest.raises(ValueError, match="square"):
        KDpp(np.ones((2, 3)), 1)
