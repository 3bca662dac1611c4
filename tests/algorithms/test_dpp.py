"""Greedy, multi-start and exchange search against enumeration and worked kernels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rulesel.algorithms.dpp import (
    best_of,
    exchange,
    exhaustive,
    greedy_map,
    greedy_order,
    log_det,
    map_subset,
    subset_probabilities,
)

# Greedy is misled by the largest diagonal entry.
TRAP = np.array([[1.1, 0.7, 0.7], [0.7, 1, 0], [0.7, 0, 1]])
TIED = np.array([[1, 0.6, 0.6, 0.1], [0.6, 1, 0.1, 0.1], [0.6, 0.1, 1, 0.1], [0.1, 0.1, 0.1, 1]])


def random_kernel(items, rank, seed):
    B = np.random.default_rng(seed).normal(size=(items, rank))
    return B @ B.T


def test_greedy_takes_the_trap_and_the_search_does_not():
    taken, gains = greedy_map(TRAP, 2)
    assert sorted(taken.tolist()) == [0, 1]
    assert np.exp(gains.sum()) == pytest.approx(0.61)
    assert sorted(map_subset(TRAP, 2).tolist()) == [1, 2]
    assert np.exp(log_det(TRAP, [1, 2])) == pytest.approx(1.0)


def test_ties_on_the_first_pick_are_all_tried():
    dets = {Y: np.exp(log_det(TIED, Y)) for Y in itertools.combinations(range(4), 3)}
    assert {Y: round(d, 3) for Y, d in dets.items()} == {
        (0, 1, 2): 0.342,
        (0, 1, 3): 0.632,
        (0, 2, 3): 0.632,
        (1, 2, 3): 0.972,
    }
    assert greedy_map(TIED, 3)[0].tolist() == [0, 3, 1]
    assert sorted(map_subset(TIED, 3).tolist()) == [1, 2, 3]


def test_quality_weighs_in():
    K = np.array([[1, 0.5, 0.2], [0.5, 1, 0.2], [0.2, 0.2, 1]])
    _, p = subset_probabilities(np.diag([1.0, 2, 1]) @ K @ np.diag([1.0, 2, 1]), 2)
    weights = np.array([4 * 0.75, 1 * 0.96, 4 * 0.96])
    np.testing.assert_allclose(p, weights / weights.sum())


def test_noise_wins_without_worth_and_loses_with_it():
    C = np.full((6, 6), 0.3)
    C[4:], C[:, 4:] = 0, 0
    C[0, 1] = C[1, 0] = C[2, 3] = C[3, 2] = 0.5
    np.fill_diagonal(C, 1)
    blind = map_subset(C, 2)
    assert set(blind.tolist()) & {4, 5}
    assert log_det(C, blind) == pytest.approx(0)
    q = np.array([0.8, 0.8, 0.8, 0.8, 0.1, 0.1])
    L = C * np.outer(q, q)
    seeing = set(map_subset(L, 2).tolist())
    assert seeing in [{0, 2}, {0, 3}, {1, 2}, {1, 3}]
    assert np.exp(log_det(L, sorted(seeing))) == pytest.approx(0.372736)


@settings(max_examples=40, deadline=None)
@given(items=st.integers(3, 8), seed=st.integers(0, 10_000), data=st.data())
def test_the_search_ends_where_no_exchange_helps_and_rarely_below_the_optimum(items, seed, data):
    L = random_kernel(items, items, seed)
    k = data.draw(st.integers(1, items))
    found = map_subset(L, k)
    value = log_det(L, found)
    assert len(set(found.tolist())) == k
    for place in range(k):
        for new in set(range(items)) - set(found.tolist()):
            other = found.copy()
            other[place] = new
            assert log_det(L, other) <= value + 1e-6
    assert value >= log_det(L, greedy_map(L, k)[0]) - 1e-9
    assert value <= log_det(L, exhaustive(L, k)) + 1e-9


def test_the_search_finds_the_optimum_of_nearly_all_random_kernels():
    missed = sum(
        log_det(L, map_subset(L, 4)) < log_det(L, exhaustive(L, 4)) - 1e-9
        for L in (random_kernel(10, 12, seed) for seed in range(60))
    )
    assert missed == 0


def test_greedy_gains_sum_to_the_log_determinant():
    L = random_kernel(40, 40, 1)
    taken, gains = greedy_map(L, 20)
    assert gains.sum() == pytest.approx(log_det(L, taken), abs=1e-9)
    assert (np.diff(gains) <= 1e-9).all()


def test_the_greedy_prefix_does_not_depend_on_k():
    L = random_kernel(30, 30, 2)
    np.testing.assert_array_equal(greedy_map(L, 5)[0], greedy_map(L, 12)[0][:5])


def test_greedy_stops_at_the_rank():
    taken, _ = greedy_map(random_kernel(10, 3, 0), 6)
    assert len(taken) == 3


def test_asking_for_more_than_the_rank_is_refused():
    L = random_kernel(10, 3, 0)
    for search in (map_subset, exhaustive):
        with pytest.raises(ValueError, match="rank 3"):
            search(L, 4)


def test_copies_of_an_item_are_never_chosen_together():
    L = random_kernel(6, 8, 3)
    index = [0, 1, 2, 3, 4, 5, 0, 0]
    L = L[np.ix_(index, index)]
    assert len({0, 6, 7} & set(map_subset(L, 5).tolist())) <= 1
    subsets, p = subset_probabilities(L, 3)
    together = np.isin(subsets, [0, 6, 7]).sum(axis=1) > 1
    assert p[together].max() < 1e-12


def test_exchange_improves_a_bad_start_and_keeps_what_is_required():
    L = random_kernel(12, 12, 5)
    worst = subset_probabilities(L, 4)
    start = worst[0][np.argmin(worst[1])]
    assert log_det(L, exchange(L, start)) > log_det(L, start)
    assert set(start[:2]) <= set(exchange(L, start, start[:2]).tolist())


def test_required_items_are_in_and_the_rest_is_best_given_them():
    L = random_kernel(9, 9, 4)
    found = map_subset(L, 4, required=[7, 2])
    assert {2, 7} <= set(found.tolist())
    best = max(log_det(L, Y) for Y in itertools.combinations(range(9), 4) if {2, 7} <= set(Y))
    assert log_det(L, found) == pytest.approx(best)
    assert sorted(map_subset(L, 2, required=[7, 2]).tolist()) == [2, 7]
    with pytest.raises(ValueError, match="3 items are required"):
        map_subset(L, 2, required=[1, 2, 3])
    with pytest.raises(ValueError, match="dependent"):
        map_subset(np.array([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]]), 2, required=[0, 1])


def test_permuting_the_items_permutes_the_answer():
    L = random_kernel(25, 25, 8)
    p = np.random.default_rng(0).permutation(25)
    np.testing.assert_array_equal(p[map_subset(L[np.ix_(p, p)], 7)], map_subset(L, 7))


def test_scale_does_not_matter():
    L = random_kernel(25, 25, 9)
    for scale in (1e-12, 1e12):
        np.testing.assert_array_equal(map_subset(L * scale, 7), map_subset(L, 7))


def test_best_of_many_draws_approaches_the_optimum_and_one_draw_does_not():
    L = np.corrcoef(random_kernel(20, 6, 1) + np.eye(20))
    many = best_of(L, 5, 2000, np.random.default_rng(0))
    one = best_of(L, 5, 1, np.random.default_rng(0))
    top = log_det(L, exhaustive(L, 5))
    assert log_det(L, one) < log_det(L, many) <= top + 1e-9
    assert log_det(L, many) > top - 0.2


def test_order_is_by_what_is_left_over():
    L = np.diag([1.0, 3, 2])
    assert greedy_order(L, [0, 1, 2]).tolist() == [1, 2, 0]
    assert greedy_order(L, []).tolist() == []


def test_too_many_subsets_and_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="too many to enumerate"):
        exhaustive(np.eye(60), 20)
    with pytest.raises(ValueError, match="Cannot choose 4 of 3"):
        map_subset(np.eye(3), 4)
    with pytest.raises(ValueError, match="square"):
        map_subset(np.ones((3, 2)), 1)
