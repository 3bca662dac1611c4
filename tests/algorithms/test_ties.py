"""Ties of computed numbers: relative to the largest, cut where a chain grows too long, by id."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rulesel.algorithms import ties


def test_numbers_that_only_rounding_parts_go_by_id():
    values = np.array([0.3, 0.1 + 0.2, 0.2])
    assert values[1] > values[0]
    assert ties.best(values) == 0
    assert ties.best(values, ["b", "a", "c"]) == 1
    assert ties.order(values).tolist() == [0, 1, 2]
    assert ties.order(values, ["b", "a", "c"]).tolist() == [1, 0, 2]


def test_what_is_farther_apart_is_no_tie():
    values = np.array([1.0, 1.0 + 2e-9, -1.0])
    assert ties.best(values) == 1
    assert ties.order(values).tolist() == [1, 0, 2]
    assert ties.best(np.array([0.0, 1e-300])) == 1  # the scale is that of the values


def test_infinite_numbers_are_the_first_and_the_last():
    values = np.array([-np.inf, 2.0, np.inf, 2.0 + 1e-12, -np.inf])
    assert ties.order(values).tolist() == [2, 1, 3, 0, 4]
    assert ties.best(values) == 2
    assert ties.best(np.full(3, -np.inf)) == 0
    assert ties.order(np.empty(0)).tolist() == []


def test_a_chain_is_cut_where_it_is_farther_than_the_tolerance_from_its_first_link():
    values = 1 - np.arange(10) * 4e-10  # the largest ties with two more, and so on
    assert ties.order(values, list(range(10, 0, -1))).tolist() == [2, 1, 0, 5, 4, 3, 8, 7, 6, 9]
    assert ties.tied(values).tolist() == [0, 1, 2]


@given(
    st.lists(st.sampled_from([-1.0, 0.0, 0.25, 0.5, 3.0]), min_size=1, max_size=20),
    st.integers(0, 2**32 - 1),
)
def test_neither_order_nor_the_last_bits_matter(numbers, seed):
    rng = np.random.default_rng(seed)
    values = np.array(numbers)
    ids = rng.permutation(len(values))
    found = ids[ties.order(values, ids)].tolist()
    shuffle = rng.permutation(len(values))
    disturbed = values[shuffle] * (1 + 1e-13 * rng.normal(size=len(values)))
    assert ids[shuffle][ties.order(disturbed, ids[shuffle])].tolist() == found
    assert ids[shuffle][ties.best(disturbed, ids[shuffle])] == found[0]
    assert found == [ids[i] for i in sorted(range(len(values)), key=lambda i: (-values[i], ids[i]))]


def test_long_lists_take_no_time():
    values = np.repeat(np.random.default_rng(0).random(100_000), 3)
    assert ties.order(values)[:3].tolist() == (np.arange(3) + 3 * values[::3].argmax()).tolist()


@pytest.mark.parametrize("n", [1, 2, 50])
def test_all_equal(n):
    assert ties.order(np.full(n, 0.1)).tolist() == list(range(n))


def test_ties_are_levelled():
    values = np.array([0.5, 1.0, 1.0 - 1e-12, 0.5 + 1e-13, -3.0])
    assert ties.levelled(values).tolist() == [0.5 + 1e-13, 1.0, 1.0, 0.5 + 1e-13, -3.0]
    assert ties.order(np.array([1.0, 1.0 + 1e-7]), tolerance=ties.SINGLE).tolist() == [0, 1]
