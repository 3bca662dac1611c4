"""Shares of picks by group."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rulesel.algorithms.strata import allocate, by_group

SIZES = st.lists(st.integers(0, 30), min_size=1, max_size=8)


def test_largest_remainder_of_three_clusters():
    assert allocate(np.array([52, 11, 3]), 6).tolist() == [5, 1, 0]


def test_equal_shares_fill_small_groups_and_hand_on_the_rest():
    assert allocate(np.array([100, 2, 50]), 20, allocation="equal").tolist() == [9, 2, 9]


def test_a_group_above_its_share_gets_nothing_and_the_others_share_the_rest():
    assert allocate(np.array([10, 10]), 4, taken=np.array([8, 0])).tolist() == [0, 4]


@given(SIZES, st.integers(0, 120), st.sampled_from(["proportional", "equal"]), st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
@pytest.mark.slow
def test_the_total_is_met_exactly_and_no_group_gives_more_than_it_has(sizes, k, allocation, random):
    taken = np.array([random.randint(0, size) for size in sizes])
    wanted = allocate(np.array(sizes), k, taken=taken, allocation=allocation)
    room = np.array(sizes) - taken
    assert wanted.sum() == min(k, room.sum())
    assert (wanted >= 0).all()
    assert (wanted <= room).all()
    if allocation == "equal":
        have = wanted + taken
        gets, could = wanted > 0, wanted < room
        if gets.any() and could.any():
            assert have[gets].max() - have[could].min() <= 1
    elif not taken.any() and sum(sizes) and k <= sum(sizes):
        assert (np.abs(wanted - k * np.array(sizes) / sum(sizes)) < 1 + 1e-9).all()


def test_more_taken_than_there_is_is_refused():
    with pytest.raises(ValueError, match="more taken"):
        allocate(np.array([2]), 1, taken=np.array([3]))


def test_rows_come_in_turns_best_first():
    labels = np.array([0, 0, 0, 0, 1, 1])
    keys = np.array([0.1, 0.9, 0.5, 0.7, 0.2, 0.3])
    assert by_group(labels, keys, 3, given=np.array([], dtype=np.int64)).tolist() == [1, 5, 3]
    assert by_group(labels, keys, 2, given=np.array([1])).tolist() == [3, 5]
