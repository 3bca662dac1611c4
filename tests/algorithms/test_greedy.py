"""Greedy algorithms on objectives small enough to enumerate."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rulesel.algorithms.greedy import (
    Picks,
    batched_lazy_greedy,
    greedi,
    lazy_greedy,
    naive_greedy,
    stochastic_greedy,
)


class Cover:
    """Weighted set cover: row i covers the elements where member[i] is true. Integer weights make ties common."""

    def __init__(self, member, weight):
        self.member, self.weight = member, weight
        self.missing = np.ones(member.shape[1], dtype=bool)
        self.evaluations = 0
        self.accepted = []

    @property
    def n(self):
        return len(self.member)

    def probe(self, candidates):
        def gains():
            self.evaluations += len(candidates)
            return (self.member[candidates] & self.missing) @ self.weight

        return gains

    def accept(self, candidate):
        self.accepted.append(candidate)
        self.missing &= ~self.member[candidate]


def random_cover(seed, n=None):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40)) if n is None else n
    elements = int(rng.integers(1, 25))
    return Cover(rng.random((n, elements)) < rng.uniform(0.05, 0.5), rng.integers(0, 4, elements).astype(float))


def same(one: Picks, other: Picks) -> bool:
    return bool((one.indices == other.indices).all() and (one.gains == other.gains).all())


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6), k=st.integers(0, 12), batch=st.integers(1, 9), chosen=st.integers(0, 4))
@pytest.mark.slow
def test_lazy_and_batched_pick_what_naive_picks_ties_included(seed, k, batch, chosen):
    n = random_cover(seed).n
    already = np.random.default_rng(seed + 1).permutation(n)[: min(chosen, n)]
    naive = naive_greedy(random_cover(seed), k, given=already)
    assert same(naive, lazy_greedy(random_cover(seed), k, given=already))
    assert same(naive, batched_lazy_greedy(random_cover(seed), k, given=already, batch=batch))
    assert len(naive.indices) == min(k, n - len(already))
    assert not set(naive.indices) & set(already)
    assert len(set(naive.indices)) == len(naive.indices)
    assert (np.diff(naive.gains) <= 0).all()


def test_picks_are_int64_and_gains_float64():
    picks = batched_lazy_greedy(random_cover(3), 2)
    assert picks.indices.dtype == np.int64
    assert picks.gains.dtype == np.float64


def test_the_lowest_row_wins_a_tie():
    twins = Cover(np.array([[0, 1, 1], [1, 1, 0], [1, 1, 0], [0, 1, 1]], dtype=bool), np.ones(3))
    assert naive_greedy(twins, 4).indices.tolist() == [0, 1, 2, 3]


@pytest.mark.slow
def test_a_smaller_k_is_a_prefix_of_a_larger_one():
    for seed in range(30):
        whole = batched_lazy_greedy(random_cover(seed), 100, batch=3)
        assert len(whole.indices) == random_cover(seed).n
        for k in range(len(whole.indices)):
            assert (batched_lazy_greedy(random_cover(seed), k, batch=3).indices == whole.indices[:k]).all()


def test_greedy_reaches_one_minus_one_over_e_of_the_best_set():
    for seed in range(200):
        cover = random_cover(seed, n=9)
        k = 1 + seed % 4
        reached = naive_greedy(random_cover(seed, n=9), k).gains.sum()
        best = max(
            float(cover.member[list(rows)].any(axis=0) @ cover.weight) for rows in itertools.combinations(range(9), k)
        )
        assert reached >= (1 - 1 / math.e) * best - 1e-9


def test_lazy_evaluates_far_fewer_rows_than_naive():
    rng = np.random.default_rng(0)
    member, weight = rng.random((600, 300)) < 0.05, rng.random(300)
    naive, lazy, batched = (Cover(member, weight) for _ in range(3))
    naive_greedy(naive, 40)
    lazy_greedy(lazy, 40)
    batched_lazy_greedy(batched, 40, batch=8)
    assert lazy.evaluations < naive.evaluations / 5
    assert batched.evaluations < naive.evaluations / 5


def test_a_rising_gain_shows_that_laziness_needs_submodularity():
    class Rising(Cover):
        """Row 2 is worth nothing until row 0 is in."""

        def probe(self, candidates):
            return lambda: np.array([3.0, 2.0, 9.0 if 0 in self.accepted else 0.0])[candidates]

    make = lambda: Rising(np.zeros((3, 1), dtype=bool), np.ones(1))  # noqa: E731
    assert naive_greedy(make(), 2).indices.tolist() == [0, 2]
    assert lazy_greedy(make(), 2).indices.tolist() == [0, 1]


def test_stochastic_greedy_is_seeded_and_near_greedy():
    rng = np.random.default_rng(4)
    member, weight = rng.random((400, 200)) < 0.05, rng.random(200)
    exact = naive_greedy(Cover(member, weight), 20).gains.sum()
    one, again = (stochastic_greedy(Cover(member, weight), 20, seed=7) for _ in range(2))
    assert same(one, again)
    assert not same(one, stochastic_greedy(Cover(member, weight), 20, seed=8))
    assert len(set(one.indices)) == 20
    assert one.gains.sum() > 0.95 * exact


def test_stochastic_greedy_with_a_tiny_epsilon_is_greedy():
    cover = random_cover(11, n=30)
    assert same(
        stochastic_greedy(random_cover(11, n=30), 6, seed=1, epsilon=1e-9, given=[2]),
        naive_greedy(cover, 6, given=[2]),
    )


def test_stochastic_greedy_returns_every_row_when_asked_for_more():
    assert sorted(stochastic_greedy(random_cover(5, n=7), 50, seed=0).indices) == list(range(7))


def greedi_of(cover, part, k):
    def select(rows, wanted):
        return naive_greedy(Cover(cover.member[rows], cover.weight), wanted)

    def value(rows):
        return float(cover.member[rows].any(axis=0) @ cover.weight) if len(rows) else 0.0

    return greedi(part, k, select=select, value=value), value


def test_greedi_with_one_part_is_greedy_on_the_union_of_its_picks():
    cover = random_cover(2, n=25)
    picks, _ = greedi_of(cover, np.zeros(25, dtype=int), 5)
    assert picks.gains.sum() == naive_greedy(random_cover(2, n=25), 5).gains.sum()


def test_greedi_keeps_half_of_its_bound_and_never_loses_to_one_of_its_parts():
    for seed in range(60):
        cover = random_cover(seed, n=24)
        part = np.random.default_rng(seed).integers(0, 3, 24)
        picks, value = greedi_of(cover, part, 4)
        assert len(set(picks.indices)) == 4
        assert value(picks.indices) == pytest.approx(picks.gains.sum())
        whole = naive_greedy(random_cover(seed, n=24), 4).gains.sum()
        assert picks.gains.sum() >= (1 - 1 / math.e) / 2 * whole
        for label in set(part.tolist()):
            rows = np.flatnonzero(part == label)
            alone = naive_greedy(Cover(cover.member[rows], cover.weight), 4)
            assert value(picks.indices) >= alone.gains.sum() - 1e-9


def test_greedi_of_no_rows_is_empty():
    picks, _ = greedi_of(random_cover(0, n=3), np.empty(0, dtype=int), 4)
    assert len(picks.indices) == 0


@pytest.mark.parametrize("algorithm", [naive_greedy, lazy_greedy, batched_lazy_greedy])
def test_wrong_arguments_are_refused(algorithm):
    with pytest.raises(ValueError, match="k must not be negative"):
        algorithm(random_cover(1, n=5), -1)
    with pytest.raises(ValueError, match=r"rows of 0\.\.4"):
        algorithm(random_cover(1, n=5), 2, given=[5])
    with pytest.raises(ValueError, match="twice"):
        algorithm(random_cover(1, n=5), 2, given=[1, 1])


def test_wrong_batch_and_epsilon_are_refused():
    with pytest.raises(ValueError, match="batch"):
        batched_lazy_greedy(random_cover(1), 1, batch=0)
    for epsilon in (0, 1, math.nan):
        with pytest.raises(ValueError, match="epsilon"):
            stochastic_greedy(random_cover(1), 1, seed=0, epsilon=epsilon)


def test_progress_is_told_up_to_the_end():
    told = []
    batched_lazy_greedy(random_cover(8, n=30), 9, batch=2, progress=lambda done, wanted: told.append((done, wanted)))
    assert told[-1] == (9, 9)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
