"""Unit rows, exact and approximate graphs of neighbours, copies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rulesel.algorithms import inverted_lists
from rulesel.algorithms.inverted_lists import build_lists, knn_graph
from rulesel.algorithms.neighbors import exact_knn, first_copies, highest_cosines, symmetrise, unit_rows


def rows_of(seed, n=None, d=None, copies=True):
    rng = np.random.default_rng(seed)
    n, d = n or int(rng.integers(1, 60)), d or int(rng.integers(1, 9))
    rows = rng.standard_normal((n, d)).astype(np.float32)
    return rows[rng.integers(0, n, n)] if copies and seed % 3 == 0 else rows


def clustered(n, d=16, clusters=20, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((clusters, d))
    return (centers[rng.integers(0, clusters, n)] + 0.4 * rng.standard_normal((n, d))).astype(np.float32)


def test_unit_rows_have_length_one_and_keep_direction():
    rows = rows_of(1, 50, 7) * np.float32(1e-30)
    unit = unit_rows(rows)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(unit.astype(float), axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(unit, unit_rows(rows.astype(np.float64) * 1e35), atol=1e-6)


def test_read_only_and_strided_rows_are_accepted_and_left_alone():
    rows = np.asfortranarray(rows_of(1, 20, 5))
    rows.setflags(write=False)
    before = rows.copy()
    exact_knn(unit_rows(rows[::2]), 3)
    assert (rows == before).all()


def test_centering_takes_the_common_direction_away():
    rows = rows_of(2, 200, 6) + 50
    assert (unit_rows(rows) @ unit_rows(rows).T).min() > 0.9
    assert (unit_rows(rows, center=True) @ unit_rows(rows, center=True).T).min() < -0.5


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_named(bad):
    rows = rows_of(1, 30, 4, copies=False)
    rows[17, 2] = bad
    with pytest.raises(ValueError, match="row 17 has NaN or infinity"):
        unit_rows(rows)


def test_a_zero_row_is_named_or_isolated():
    rows = rows_of(1, 30, 4, copies=False)
    rows[9] = 0
    with pytest.raises(ValueError, match="row 9 is all zeros"):
        unit_rows(rows)
    unit = unit_rows(rows, zero="isolate")
    assert (unit[9] == 0).all()
    graph = exact_knn(unit, 5)
    assert graph.indices.reshape(30, 5)[9, 0] == 9
    assert (graph.similarity.reshape(30, 5)[9] == 0).all()


@pytest.mark.parametrize("shape", [(3,), (3, 0), (2, 2, 2)])
def test_a_wrong_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"shape \(n, d\)"):
        unit_rows(np.ones(shape))


def brute(unit, m):
    """Cosines of the neighbours by definition, self first."""
    cosines = unit.astype(np.float64) @ unit.T.astype(np.float64)
    np.fill_diagonal(cosines, np.inf)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :m]
    np.fill_diagonal(cosines, 1)
    return np.take_along_axis(cosines, order, axis=1)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6), m=st.integers(1, 70))
@pytest.mark.slow
def test_the_exact_graph_is_the_one_of_brute_force(seed, m):
    unit = unit_rows(rows_of(seed))
    n = len(unit)
    graph = exact_knn(unit, m)
    m = min(m, n)
    indices, similarity = graph.indices.reshape(n, m), graph.similarity.reshape(n, m)
    cosines = brute(unit, m)
    assert (indices[:, 0] == np.arange(n)).all()
    assert all(len(set(row)) == m for row in indices.tolist())
    np.testing.assert_allclose(similarity, cosines, atol=1e-6)
    found = np.einsum("ij,ikj->ik", unit.astype(float), unit[indices].astype(float))
    np.testing.assert_allclose(found, cosines, atol=1e-6)
    assert (np.diff(similarity[:, 1:]) <= 0).all()
    assert graph.recall == 1
    assert graph.indptr.dtype == np.int64
    assert graph.indices.dtype == np.int32


@pytest.mark.slow
def test_blocks_do_not_change_the_graph():
    unit = unit_rows(clustered(9500, d=8))
    indices = exact_knn(unit, 6).indices.reshape(-1, 6)
    some = np.array([0, 511, 512, 513, 1023, 8191, 8192, 8200, 9499])
    cosines = unit[some].astype(float) @ unit.T.astype(float)
    cosines[np.arange(len(some)), some] = np.inf
    want = np.sort(np.take_along_axis(cosines, np.argsort(-cosines, axis=1)[:, :6], axis=1), axis=1)
    np.testing.assert_allclose(np.sort(np.take_along_axis(cosines, indices[some], axis=1), axis=1), want, atol=1e-6)


def test_a_row_with_more_copies_than_neighbours_still_finds_itself():
    rows = np.tile(rows_of(1, 2, 3, copies=False), (20, 1))
    indices = exact_knn(unit_rows(rows), 4).indices.reshape(40, 4)
    assert (indices[:, 0] == np.arange(40)).all()
    assert (indices % 2 == np.arange(40)[:, None] % 2).all()


def test_too_few_neighbours_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        exact_knn(unit_rows(np.ones((2, 2))), 0)


def test_symmetrising_is_a_union_with_the_larger_similarity_and_self_first():
    unit = unit_rows(rows_of(7, 40, 3))
    graph = exact_knn(unit, 4)
    dense = np.full((40, 40), -np.inf)
    dense[np.repeat(np.arange(40), 4), graph.indices] = graph.similarity
    want = np.maximum(dense, dense.T)
    both = symmetrise(graph)
    got = np.full((40, 40), -np.inf)
    source = np.repeat(np.arange(40), np.diff(both.indptr))
    got[source, both.indices] = both.similarity
    assert (got == want).all()
    assert len(both.indices) == np.isfinite(want).sum()
    assert (both.indices[both.indptr[:-1]] == np.arange(40)).all()
    assert (dense != dense.T).any(), "a control: the directed graph is not symmetric"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_first_copies_are_the_lowest_equal_rows(dtype):
    rng = np.random.default_rng(0)
    for _ in range(50):
        n = int(rng.integers(1, 30))
        rows = rng.integers(0, 2, (n, 3)).astype(dtype) * rng.choice([-1.0, 1.0], (n, 3)).astype(dtype)
        want = [min(j for j in range(n) if (rows[j] == rows[i]).all()) for i in range(n)]
        assert first_copies(rows).tolist() == want


def test_highest_cosines_are_those_of_the_full_product():
    queries, base = unit_rows(clustered(1100, seed=1)), unit_rows(clustered(9000, seed=2))
    np.testing.assert_allclose(highest_cosines(queries, base), (queries @ base.T).max(axis=1), atol=1e-6)
    with pytest.raises(ValueError, match="cannot be compared"):
        highest_cosines(queries, base[:0])


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(inverted_lists, "EXACT", 500)
    monkeypatch.setattr(inverted_lists, "SAMPLE", 200)


def true_recall(graph, unit, m):
    """Share of the exact neighbours, self left out, by index."""
    exact = exact_knn(unit, m).indices.reshape(-1, m)[:, 1:]
    found = graph.indices.reshape(-1, m)[:, 1:]
    return np.mean([len(set(a) & set(b)) / (m - 1) for a, b in zip(exact.tolist(), found.tolist(), strict=True)])


@pytest.mark.parametrize("wanted", [0.5, 0.8, 0.95])
@pytest.mark.slow
def test_the_measured_recall_is_the_true_one_and_reaches_what_was_asked(small, wanted):
    unit = unit_rows(clustered(4000))
    graph = knn_graph(unit, 10, min_recall=wanted)
    assert graph.recall >= wanted
    assert graph.recall == pytest.approx(true_recall(graph, unit, 10), abs=0.05)
    assert (graph.indices.reshape(-1, 10)[:, 0] == np.arange(4000)).all()
    assert (np.diff(graph.similarity.reshape(-1, 10)[:, 1:]) <= 0).all()


def test_fewer_lists_are_searched_for_a_lower_recall(small):
    unit = unit_rows(clustered(4000))
    assert knn_graph(unit, 10, min_recall=0.5).recall < 1
    lists = build_lists(unit, 200, np.random.default_rng(0))
    assert np.sort(lists.order).tolist() == list(range(4000))
    assert lists.pairs(3) < lists.pairs(30) < lists.pairs(len(lists.bounds) - 1) == 4000**2


def test_the_same_seed_gives_the_same_graph(small):
    unit = unit_rows(clustered(3000))
    one, again = knn_graph(unit, 8, seed=3, min_recall=0.8), knn_graph(unit, 8, seed=3, min_recall=0.8)
    assert (one.indices == again.indices).all()


def test_lists_smaller_than_the_number_of_neighbours_are_joined_by_others(small):
    unit = unit_rows(clustered(2000))
    graph = knn_graph(unit, 60, min_recall=0.3)
    assert all(len(set(row)) == 60 for row in graph.indices.reshape(-1, 60).tolist())


def test_many_copies_do_not_lower_the_measured_recall(small):
    unit = unit_rows(np.repeat(clustered(40), 50, axis=0))
    assert knn_graph(unit, 10, min_recall=0.9).recall >= 0.9


def test_too_much_work_is_refused_before_it_starts(small):
    unit = unit_rows(clustered(2000))
    with pytest.raises(ValueError, match="more than max_pairs"):
        knn_graph(unit, 10, max_pairs=1e4)
    with pytest.raises(ValueError, match="more than max_pairs"):
        knn_graph(unit[:100], 10, max_pairs=1e3)
    with pytest.raises(ValueError, match="min_recall"):
        knn_graph(unit, 10, min_recall=0)


def test_up_to_the_limit_the_graph_is_exact():
    unit = unit_rows(clustered(300))
    assert (knn_graph(unit, 9).indices == exact_knn(unit, 9).indices).all()
