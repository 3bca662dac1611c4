"""Budgets, thresholds and quotas around any method."""

import numpy as np
import pytest

import rulesel
from rulesel.plugins import build
from rulesel.selection import Pool, Selector, choose, take

RNG = np.random.default_rng(0)
N = 200


def selector(name, **parameters):
    return build("rulesel.selection", name, Selector, parameters)


def pool(**changes):
    fields = {"n": N, "quality": RNG.permutation(N).astype(float), "token_counts": RNG.integers(1, 50, N)}
    return Pool(**fields | changes)


def test_tokens_keep_the_shortest_prefix_that_reaches_the_budget():
    offered = pool()
    found = choose(selector("top_k"), offered, max_tokens=500)
    spent = offered.token_counts[found.indices]
    assert spent.sum() >= 500 > spent[:-1].sum()
    whole = choose(selector("top_k"), offered, k=N)
    assert found.indices.tolist() == whole.indices[: len(found)].tolist()


def test_a_pool_with_too_few_tokens_is_given_whole_and_the_rest_reported():
    offered = pool()
    found = choose(selector("top_k"), offered, max_tokens=10**9)
    assert len(found) == N
    assert found.report["token_shortfall"] == 10**9 - offered.token_counts.sum()


def test_threshold_is_inclusive_and_counts_what_lies_below():
    found = choose(selector("top_k"), pool(), threshold=150)
    assert len(found) == 50
    assert found.keys.min() == 150
    assert found.report["below_threshold"] == 150


def test_quota_gives_each_group_its_own_best():
    offered = pool()
    groups = [f"g{i % 7}" for i in range(N)]
    found = choose(selector("top_k"), offered, per_group=3, groups=groups)
    for name in set(groups):
        rows = [i for i in range(N) if groups[i] == name]
        best = sorted(rows, key=lambda i: -offered.quality[i])[:3]
        assert {i for i in found.indices.tolist() if groups[i] == name} == set(best)
    assert (np.diff(found.keys) <= 0).all()


def test_quota_and_k_together_keep_the_best_of_the_quotas():
    offered = pool()
    groups = [f"g{i % 7}" for i in range(N)]
    all_of_them = choose(selector("top_k"), offered, per_group=3, groups=groups)
    assert (
        choose(selector("top_k"), offered, per_group=3, groups=groups, k=5).indices.tolist()
        == all_of_them.indices[:5].tolist()
    )


def test_taking_a_part_of_a_pool_keeps_given_rows_and_their_numbers():
    part, rows = take(pool(given=np.array([7, 90])), np.array([1, 2, 150]))
    assert rows.tolist() == [1, 2, 7, 90, 150]
    assert part.given.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({}, "Say how much"),
        ({"k": -1}, "k must be at least 0"),
        ({"per_group": 2}, "one group for each"),
    ],
)
def test_limits_that_make_no_sense_are_refused(limits, message):
    with pytest.raises(ValueError, match=message):
        choose(selector("top_k"), pool(), **limits)


@pytest.mark.slow
def test_gumbel_at_tau_zero_is_top_k_and_at_infinity_ignores_the_score():
    offered = pool(ids=np.arange(N).astype(np.uint64))
    top = choose(selector("top_k"), offered, k=20).indices
    assert choose(selector("gumbel", tau=0), offered, k=20, seed=1).indices.tolist() == top.tolist()
    means = [
        offered.quality[choose(selector("gumbel", tau=float("inf")), offered, k=20, seed=s).indices].mean()
        for s in range(200)
    ]
    assert abs(np.mean(means) - offered.quality.mean()) < 4 * np.std(means) / np.sqrt(200)


def test_picks_for_a_larger_k_begin_with_those_for_a_smaller():
    offered = pool()
    small = choose(selector("gumbel", tau=0.5), offered, k=10, seed=4).indices.tolist()
    assert choose(selector("gumbel", tau=0.5), offered, k=60, seed=4).indices.tolist()[:10] == small


def test_pick_takes_plain_arrays_and_texts():
    assert rulesel.pick("top_k", 2, quality=[0.1, 0.9, 0.5]).indices.tolist() == [1, 2]
    assert rulesel.pick("longest", 1, texts=["a", "ccc", "bb"]).indices.tolist() == [1]
    assert rulesel.pick("top_k", None, quality=[1, 2, 3], token_counts=[5, 5, 5], max_tokens=6).indices.tolist() == [
        2,
        1,
    ]
    assert rulesel.pick("top_k", 2, quality=[0.1, 0.9, 0.5], given=[1]).indices.tolist() == [2, 0]
    with pytest.raises(ValueError, match="different length"):
        rulesel.pick("top_k", 1, quality=[1.0], texts=["a", "b"])
    with pytest.raises(ValueError, match="reads 'quality'"):
        rulesel.pick("top_k", 1, texts=["a", "b"])
