"""Sampling by keys: worked probabilities, temperatures, and independence of order, shards and neighbours."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from rulesel.algorithms.budget import token_prefix
from rulesel.algorithms.gumbel import auto_tau, effective_share, gumbel_keys, ties_at_cut, top_k
from rulesel.algorithms.keyed import hashed, uniform

SCORES = np.array([0.0, 1.0, 2.0])
SD = SCORES.std()


def plackett_luce(weights, k):
    """Probability of every ordered sample of k, by definition."""
    p = weights / weights.sum()
    out = {}
    for order in itertools.permutations(range(len(p)), k):
        chance, left = 1.0, 1.0
        for i in order:
            chance *= p[i] / left
            left -= p[i]
        out[order] = chance
    return out


def test_keys_sample_in_proportion_to_the_exponential_without_replacement():
    n = 40_000
    # tau is in units of the standard deviation: 1 / SD makes the weights exp(score).
    noise = np.column_stack([-np.log(-np.log(uniform(n, seed))) for seed in range(3)])
    keys = SCORES + noise
    np.testing.assert_allclose(keys[0, 1] - keys[0, 0] - (noise[0, 1] - noise[0, 0]), 1)
    first = np.bincount(keys.argmax(axis=1), minlength=3) / n
    np.testing.assert_allclose(first, [0.090031, 0.244728, 0.665241], atol=0.01)
    left_out = keys.argmin(axis=1)
    np.testing.assert_allclose(
        np.bincount(left_out, minlength=3)[[2, 1, 0]] / n, [0.053385, 0.244728, 0.701886], atol=0.01
    )


@pytest.mark.slow
def test_the_public_keys_have_the_worked_inclusion_probabilities():
    exact = plackett_luce(np.exp(SCORES), 2)
    inclusion = [sum(p for order, p in exact.items() if i in order) for i in range(3)]
    np.testing.assert_allclose(inclusion, [0.298114, 0.755272, 0.946615], atol=1e-6)
    counts = np.zeros(3)
    for seed in range(4_000):
        counts[top_k(gumbel_keys(SCORES, 1 / SD, seed=seed), 2)] += 1
    np.testing.assert_allclose(counts / 4_000, inclusion, atol=0.025)
    # The naive k p_i would be far off.
    assert abs(2 * 0.665241 - inclusion[2]) > 0.3


def test_temperature_is_in_standard_deviations_of_the_scores():
    for scale in (1e-3, 1.0, 1e4):
        np.testing.assert_allclose(gumbel_keys(SCORES * scale + 7, 2.0), gumbel_keys(SCORES, 2.0))
    np.testing.assert_allclose(np.diff(gumbel_keys(SCORES, 0.5) - gumbel_keys(SCORES, math.inf)), 1 / SD / 0.5)


def test_temperature_zero_is_the_exact_top_and_infinity_ignores_the_score():
    scores = np.random.default_rng(0).integers(0, 5, 200).astype(float)
    np.testing.assert_array_equal(top_k(gumbel_keys(scores, 0), 30), np.argsort(-scores, kind="stable")[:30])
    np.testing.assert_array_equal(gumbel_keys(scores, math.inf), gumbel_keys(-scores, math.inf))
    np.testing.assert_allclose(gumbel_keys(np.ones(5), 1.0), gumbel_keys(np.ones(5), math.inf))


def test_a_smaller_sample_is_the_beginning_of_a_larger_one():
    keys = gumbel_keys(np.random.default_rng(0).random(500), 1.0, seed=3)
    np.testing.assert_array_equal(top_k(keys, 20), top_k(keys, 200)[:20])
    assert len(top_k(keys, 1000)) == 500


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(max_size=90), min_size=1, max_size=30, unique=True), st.integers(0, 2**64 - 1), st.randoms())
@pytest.mark.slow
def test_the_number_of_an_id_depends_on_nothing_but_the_id_and_the_seed(ids, seed, random):
    alone = [uniform([one], seed)[0] for one in ids]
    np.testing.assert_array_equal(uniform(ids, seed), alone)
    order = list(range(len(ids)))
    random.shuffle(order)
    np.testing.assert_array_equal(uniform([ids[i] for i in order], seed), np.array(alone)[order])
    assert len(np.unique(hashed(ids, seed))) == len(ids)


def test_shuffled_or_sharded_ids_give_the_same_sample():
    rng = np.random.default_rng(1)
    ids = [f"b2-{i:032x}-0" for i in range(300)]
    scores = rng.random(300)
    whole = {ids[i] for i in top_k(gumbel_keys(scores, 0.7, ids=ids, seed=9), 40, ids)}
    p = rng.permutation(300)
    shuffled = [ids[i] for i in p]
    assert {shuffled[i] for i in top_k(gumbel_keys(scores[p], 0.7, ids=shuffled, seed=9), 40, shuffled)} == whole


@pytest.mark.parametrize("ids", [50_000, [f"row-{i}" for i in range(50_000)]], ids=["integers", "strings"])
def test_numbers_are_uniform_and_unrelated_between_seeds_and_neighbours(ids):
    a, b = uniform(ids, 1), uniform(ids, 2)
    assert kstest(a, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.02
    assert abs(np.corrcoef(a[1:], a[:-1])[0, 1]) < 0.02
    assert 0 < a.min() < a.max() < 1


def test_kinds_of_ids():
    np.testing.assert_array_equal(uniform(3, 5), uniform(np.arange(3, dtype=np.uint64), 5))
    np.testing.assert_array_equal(uniform(["a", "bb"], 5), uniform([b"a", b"bb"], 5))
    np.testing.assert_array_equal(uniform(np.array([b"a", b"bb"]), 5), uniform(["a", "bb"], 5))
    assert uniform(["a"], 5) != uniform(["a\0"], 5)
    assert uniform([], 5).shape == (0,)
    with pytest.raises(ValueError, match="float64"):
        uniform(np.array([1.5]), 0)
    with pytest.raises(ValueError, match="not float"):
        uniform([1.5], 0)


def test_ties_go_to_the_lower_id_or_the_lower_row():
    keys = np.array([1.0, 2.0, 1.0, 1.0])
    assert top_k(keys, 2).tolist() == [1, 0]
    assert top_k(keys, 2, ["d", "c", "b", "a"]).tolist() == [1, 3]
    assert ties_at_cut(keys, top_k(keys, 2)) == 1
    assert ties_at_cut(keys, top_k(keys, 1)) == 0
    assert ties_at_cut(keys, top_k(keys, 4)) == 0


def test_rows_without_a_score_are_never_picked():
    keys = gumbel_keys(np.array([1.0, np.nan, 3.0]), 1.0)
    assert np.isnan(keys[1])
    assert sorted(top_k(keys, 3).tolist()) == [0, 2]
    assert top_k(np.array([np.nan]), 1).tolist() == []


@pytest.mark.parametrize(("tau", "share"), [(1, 0.924), (0.5, 0.762), (0.2, 0.395), (0.1, 0.200), (0.05, 0.100)])
def test_effective_share_of_uniform_scores(tau, share):
    scores = (np.arange(100_000) + 0.5) / 100_000
    assert effective_share(scores, tau / scores.std()) == pytest.approx(share, abs=6e-4)


def test_sampling_at_one_on_unit_scores_is_nearly_uniform_sampling():
    scores = (np.arange(50_000) + 0.5) / 50_000
    kept = {}
    for tau in (1.0, 0.1, 0.05, 0.01):
        picked = top_k(gumbel_keys(scores, tau / scores.std(), seed=1), 1_000)
        kept[tau] = (np.mean(picked >= 49_000), scores[picked].mean())
    assert kept[1.0][0] == pytest.approx(0.029, abs=0.015)
    assert kept[0.1][0] == pytest.approx(0.175, abs=0.03)
    assert kept[0.05][0] == pytest.approx(0.306, abs=0.04)
    assert kept[0.01][0] == pytest.approx(0.755, abs=0.04)
    assert kept[1.0][1] == pytest.approx(0.581, abs=0.03)
    assert kept[0.1][1] == pytest.approx(0.898, abs=0.02)


def test_the_automatic_temperature_leaves_the_asked_share():
    scores = np.random.default_rng(0).normal(size=20_000)
    found = auto_tau(scores, 400)
    assert found.ess == pytest.approx(0.04, rel=1e-4)
    assert effective_share(scores, found.tau) == pytest.approx(0.04, rel=1e-4)
    assert auto_tau(scores, 400, c=5).tau > found.tau
    assert auto_tau(scores * 100 - 3, 400).tau == pytest.approx(found.tau)
    assert auto_tau(scores, 15_000).ess == pytest.approx(35 / 40)  # halfway between k and n, not 2 k
    assert auto_tau(scores, 7_000).ess == pytest.approx(27 / 40)
    assert auto_tau(scores, 20_000).ess < 1
    assert auto_tau(np.ones(10), 2).tau == math.inf


def test_ties_for_the_best_are_drawn_from_at_random():
    scores = np.array([1.0] * 50 + [0.0] * 50)
    found = auto_tau(scores, 5)
    draws = [top_k(gumbel_keys(scores, found.tau, seed=seed), 5).tolist() for seed in range(20)]
    assert max(map(max, draws)) < 50
    assert len({row for draw in draws for row in draw}) > 35


@pytest.mark.parametrize("share", [0.3, 0.45, 0.5, 0.6, 0.8, 0.95])
@pytest.mark.parametrize("kind", ["uniform", "normal", "skewed"])
def test_scores_count_however_many_are_picked(share, kind):
    """The picks are better than the pool by at least a quarter of what the best k would be."""
    rng = np.random.default_rng(3)
    scores = {"uniform": rng.random(400), "normal": rng.normal(size=400), "skewed": rng.exponential(size=400)}[kind]
    k = round(share * 400)
    best = np.sort(scores)[-k:].mean() - scores.mean()
    tau = auto_tau(scores, k).tau
    lift = [scores[top_k(gumbel_keys(scores, tau, seed=seed), k)].mean() - scores.mean() for seed in range(20)]
    assert np.mean(lift) > 0.25 * best


def test_impossible_requests_are_refused():
    with pytest.raises(ValueError, match="tau"):
        gumbel_keys(SCORES, -1)
    with pytest.raises(ValueError, match="tau"):
        gumbel_keys(SCORES, math.nan)
    with pytest.raises(ValueError, match="infinite"):
        gumbel_keys(np.array([1, np.inf]), 1)
    with pytest.raises(ValueError, match="2 ids for 3"):
        gumbel_keys(SCORES, 1, ids=["a", "b"])
    with pytest.raises(ValueError, match="k must"):
        top_k(SCORES, -1)


def test_a_token_budget_keeps_the_row_that_crosses_it_unless_strict():
    order, tokens = np.array([2, 0, 1]), np.array([30, 50, 40])
    assert token_prefix(order, tokens, 60, strict=False) == 2
    assert token_prefix(order, tokens, 60, strict=True) == 1
    assert token_prefix(order, tokens, 70, strict=False) == 2
    assert token_prefix(order, tokens, 70, strict=True) == 2
    assert token_prefix(order, tokens, 10_000, strict=False) == 3
    assert token_prefix(order, tokens, 10_000, strict=True) == 3
    assert token_prefix(order, tokens, 0, strict=False) == 0
    with pytest.raises(ValueError, match="negative"):
        token_prefix(order, -tokens, 60, strict=True)


@pytest.mark.parametrize(("tau", "share"), [(1, 0.029), (0.2, 0.095), (0.1, 0.175), (0.05, 0.306), (0.01, 0.755)])
def test_how_much_of_the_true_top_a_temperature_captures(tau, share):
    scores = np.random.default_rng(0).random(200_000)
    k = len(scores) // 50
    picked = top_k(gumbel_keys(scores, tau / scores.std(), seed=1), k)
    assert len(np.intersect1d(picked, top_k(scores, k))) / k == pytest.approx(share, abs=4 * (share / k) ** 0.5)
