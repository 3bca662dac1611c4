"""Facility location and its mixture with quality: worked numbers, brute force, the three kernels, graphs."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rulesel.algorithms.coverage import ceiling, coverage, facility_value
from rulesel.algorithms.facility import facility_location, percentile, qdit
from rulesel.algorithms.greedy import batched_lazy_greedy, lazy_greedy, naive_greedy, stochastic_greedy
from rulesel.algorithms.inverted_lists import knn_graph
from rulesel.algorithms.kernels import embedding_kernel, given_kernel, neighbor_bandwidth
from rulesel.algorithms.neighbors import exact_knn, symmetrise, unit_rows

S = np.array([[1, 0.8, 0.2, 0.1], [0.8, 1, 0.3, 0.1], [0.2, 0.3, 1, 0.6], [0.1, 0.1, 0.6, 1]])
Q = np.array([0.1, 0.2, 0.9, 1.0])


def rows_of(seed, n, d=4, copies=True):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, d))
    return rows[rng.integers(0, n, n)] if copies and seed % 4 == 0 else rows


def clustered(n, d=24, clusters=15, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((clusters, d))
    share = 1 / np.arange(1, clusters + 1)
    label = rng.choice(clusters, n, p=share / share.sum())
    return (centers[label] + 0.6 * rng.standard_normal((n, d))).astype(np.float32)


def by_definition(similarity, k, already=(), baseline=0.0, weight=1.0, bonus=None):
    """Greedy in float64, written as the formula reads; the gap to the runner-up of each step, for ties."""
    similarity = similarity.astype(np.float64)
    bonus = np.zeros(len(similarity)) if bonus is None else bonus
    covered = np.full(similarity.shape[1], baseline, dtype=np.float64)
    for row in already:
        covered = np.maximum(covered, similarity[row])
    left = sorted(set(range(len(similarity))) - set(already))
    picks, gains = [], []
    while len(picks) < k and left:
        scores = [weight * np.maximum(similarity[row] - covered, 0).sum() + bonus[row] for row in left]
        best = left.pop(int(np.argmax(scores)))
        picks.append(best)
        gains.append(max(scores))
        covered = np.maximum(covered, similarity[best])
    return picks, gains


def counted_ties(similarity, picks, bonus=None, weight=1.0):
    """Steps where a pick is worse than the best by more than 1e-6 of it: none, if the picks are greedy."""
    similarity = similarity.astype(np.float64)
    bonus = np.zeros(len(similarity)) if bonus is None else bonus
    covered = np.zeros(similarity.shape[1])
    gone, wrong = [], 0
    for row in picks:
        scores = weight * np.maximum(similarity - covered, 0).sum(axis=1) + bonus
        scores[gone] = -np.inf
        wrong += scores[row] < scores.max() * (1 - 1e-6)
        gone.append(row)
        covered = np.maximum(covered, similarity[row])
    return wrong


def test_the_worked_kernel_gives_the_worked_picks():
    assert coverage(given_kernel(S)).probe(np.arange(4))() == pytest.approx([2.1, 2.2, 2.1, 1.8])
    picks = facility_location(given_kernel(S), 3)
    assert picks.indices.tolist() == [1, 2, 3]
    assert picks.gains == pytest.approx([2.2, 1.2, 0.4])
    objective = coverage(given_kernel(S))
    objective.accept(1)
    assert objective.probe(np.arange(4))() == pytest.approx([0.2, 0, 1.2, 1.2])
    assert max(facility_value(given_kernel(S), pair) for pair in itertools.combinations(range(4), 2)) == 3.4


@pytest.mark.parametrize(
    ("alpha", "want"), [(0, [1, 2]), (0.3, [2, 1]), (0.5, [2, 1]), (0.7, [2, 3]), (0.9, [3, 2]), (1, [3, 2])]
)
def test_raw_qdit_gives_the_worked_picks(alpha, want):
    assert qdit(given_kernel(S), Q, 2, alpha=alpha, scale="raw").indices.tolist() == want


def test_raw_qdit_has_the_worked_scores_of_each_step():
    objective = coverage(given_kernel(S), weight=0.5, bonus=0.5 * Q)
    assert objective.probe(np.arange(4))() == pytest.approx([1.1, 1.2, 1.5, 1.4])
    objective.accept(2)
    assert objective.probe(np.array([0, 1, 3]))() == pytest.approx([0.7, 0.75, 0.7])


def random_kernel(seed):
    """Values on a coarse grid, so that ties are common; negative ones too."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 30))
    grid = rng.integers(-2, 6, (n, int(rng.integers(1, 40)))) / 4
    return grid.astype(rng.choice([np.float32, np.float64]))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 10**6),
    k=st.integers(0, 12),
    baseline=st.sampled_from([0.0, 0.25, -1.0]),
    weight=st.sampled_from([1.0, 0.5, 0.0]),
)
@pytest.mark.slow
def test_naive_lazy_batched_and_the_definition_pick_alike(seed, k, baseline, weight):
    similarity = random_kernel(seed)
    rng = np.random.default_rng(seed + 1)
    n = len(similarity)
    bonus = rng.integers(0, 3, n) / 4 if weight < 1 else None
    already = rng.permutation(n)[: int(rng.integers(0, min(n, 3)))]
    want = by_definition(similarity, k, already.tolist(), baseline, weight, bonus)
    for greedy in (naive_greedy, lazy_greedy, batched_lazy_greedy):
        objective = coverage(given_kernel(similarity), baseline=baseline, weight=weight, bonus=bonus)
        picks = greedy(objective, k, given=already)
        assert (picks.indices.tolist(), picks.gains.tolist()) == want


def test_laziness_reads_a_small_part_of_the_kernel_and_nothing_changes():
    similarity = unit_rows(clustered(1500)) @ unit_rows(clustered(1500)).T
    want = naive_greedy(coverage(given_kernel(similarity)), 60)
    objective, read = coverage(given_kernel(similarity)), []
    probe = objective.probe
    objective.probe = lambda rows: read.append(len(rows)) or probe(rows)
    picks = batched_lazy_greedy(objective, 60)
    assert (picks.indices == want.indices).all()
    assert (picks.gains == want.gains).all()
    assert sum(read) < 0.2 * 60 * 1500


@pytest.mark.slow
def test_gains_are_within_rounding_of_float64():
    similarity = unit_rows(clustered(900, d=300)) @ unit_rows(clustered(900, d=300)).T
    picks = facility_location(given_kernel(similarity), 300)
    assert counted_ties(similarity, picks.indices) == 0
    assert picks.gains.sum() == pytest.approx(facility_value(given_kernel(similarity), picks.indices), rel=1e-7)


def test_greedy_keeps_its_bound_on_small_instances():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        n, k = int(rng.integers(4, 11)), int(rng.integers(1, 5))
        kernel = embedding_kernel(rng.standard_normal((n, 3)), "cosine")
        reached = facility_value(kernel, facility_location(kernel, k).indices)
        best = max(facility_value(kernel, rows) for rows in itertools.combinations(range(n), k))
        assert reached >= (1 - 1 / math.e) * best - 1e-6


def test_qdit_keeps_the_bound_of_its_mixture():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        n, k, alpha = int(rng.integers(4, 10)), int(rng.integers(1, 5)), float(rng.random())
        kernel, quality = embedding_kernel(rng.standard_normal((n, 3)), "cosine"), rng.random(n)

        def value(rows, kernel=kernel, quality=quality, alpha=alpha):
            return (1 - alpha) * facility_value(kernel, rows) + alpha * quality[list(rows)].sum()

        picks = qdit(kernel, quality, k, alpha=alpha, scale="raw")
        assert picks.gains.sum() == pytest.approx(value(picks.indices), rel=1e-5)
        assert value(picks.indices) >= (1 - 1 / math.e) * max(map(value, itertools.combinations(range(n), k))) - 1e-6


def test_alpha_nought_is_facility_location_and_alpha_one_is_top_k_on_either_scale():
    rows = clustered(200)
    quality = np.random.default_rng(0).integers(0, 20, 200).astype(float)
    top = np.argsort(-quality, kind="stable")[:30]
    for source in (embedding_kernel(rows), exact_knn(unit_rows(rows), 20)):
        spread = facility_location(source, 30).indices
        for scale in ("raw", "normalised"):
            assert (qdit(source, quality, 30, alpha=0, scale=scale).indices == spread).all()
            assert (qdit(source, quality, 30, alpha=1, scale=scale).indices == top).all()
        assert (spread != top).any()


def test_the_normalised_scale_is_what_its_formula_says():
    k, alpha = 3, 0.6
    rank = percentile(Q)
    assert rank == pytest.approx([0, 1 / 3, 2 / 3, 1])
    picks = qdit(given_kernel(S), Q, k, alpha=alpha)
    want, scores = by_definition(S, k, weight=(1 - alpha) / 4, bonus=alpha * rank / k)
    assert picks.indices.tolist() == want
    assert picks.gains == pytest.approx(scores)


def test_the_normalised_scale_does_not_feel_the_units_of_quality_or_copies_of_the_pool():
    rows, quality = clustered(120), np.random.default_rng(1).random(120)
    one = qdit(embedding_kernel(rows), quality, 20, alpha=0.5).indices
    assert (qdit(embedding_kernel(rows), np.exp(9 * quality), 20, alpha=0.5).indices == one).all()
    raw = qdit(embedding_kernel(rows), quality, 20, alpha=0.5, scale="raw").indices
    scaled = qdit(embedding_kernel(rows), 50 * quality, 20, alpha=0.5, scale="raw").indices
    assert (raw != scaled).any(), "a control: the raw scale feels the units"


def test_percentiles_give_ties_their_mean_rank():
    assert percentile(np.array([5.0, 1.0, 5.0, 9.0])) == pytest.approx([0.5, 0, 0.5, 1])
    assert percentile(np.array([3.0, 3.0])).tolist() == [0.5, 0.5]
    assert percentile(np.array([3.0])).tolist() == [0.5]


def test_negative_quality_is_welcome():
    assert qdit(given_kernel(S), Q - 5, 2, alpha=0.5, scale="raw").indices.tolist() == [2, 1]


def distances(rows):
    return np.linalg.norm(rows[:, None] - rows[None], axis=2)


def dense(kernel):
    return np.vstack(list(kernel.rows(np.arange(kernel.candidates))))


def test_the_published_kernel_is_exp_of_minus_distance_over_dimensions():
    rows = np.zeros((4, 384))
    rows[1, 0], rows[2, 0], rows[3, 0] = 0.5, 1, 2
    assert dense(embedding_kernel(rows, "published"))[0, 1:] == pytest.approx([0.99870, 0.99740, 0.99481], abs=5e-6)
    rows = rows_of(1, 50, 6)
    assert dense(embedding_kernel(rows, "published")) == pytest.approx(np.exp(-distances(rows) / 6), abs=1e-12)
    squared = np.exp(-(distances(rows) ** 2) / 6)
    assert dense(embedding_kernel(rows, "published")) != pytest.approx(squared, abs=1e-3)


def test_the_rbf_kernel_is_its_formula_with_the_tenth_neighbour_as_bandwidth():
    rows = rows_of(2, 60, 5)
    tenth = np.median(np.sort(distances(rows), axis=1)[:, 10])
    assert neighbor_bandwidth(rows) == pytest.approx(tenth)
    assert dense(embedding_kernel(rows, "rbf")) == pytest.approx(np.exp(-(distances(rows) ** 2) / (2 * tenth**2)))
    assert dense(embedding_kernel(rows, "rbf", bandwidth=0.3))[0, 1] == pytest.approx(
        np.exp(-(distances(rows)[0, 1] ** 2) / 0.18)
    )
    mostly_copies = np.concatenate([np.ones((30, 5)), rows])
    assert neighbor_bandwidth(mostly_copies) > 0
    assert neighbor_bandwidth(np.ones((20, 3))) == 1
    with pytest.raises(ValueError, match="bandwidth"):
        embedding_kernel(rows, "rbf", bandwidth=0)


def test_the_cosine_kernel_is_that_of_unit_rows():
    rows = rows_of(3, 40, 7)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert dense(embedding_kernel(rows)) == pytest.approx(unit @ unit.T, abs=1e-6)


@pytest.mark.parametrize("similarity", ["cosine", "rbf", "published"])
def test_on_the_fly_picks_are_greedy_on_the_kernel_by_definition(similarity):
    for seed in range(60):
        rng = np.random.default_rng(seed)
        rows = rows_of(seed, int(rng.integers(12, 60)), int(rng.integers(2, 9)), copies=False)
        kernel = embedding_kernel(rows, similarity)
        picks = facility_location(kernel, 12)
        d = distances(rows)
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        sigma = neighbor_bandwidth(rows)
        by_name = {"cosine": unit @ unit.T, "published": np.exp(-d / rows.shape[1])}
        by_name["rbf"] = np.exp(-(d**2) / (2 * sigma**2))
        assert counted_ties(by_name[similarity], picks.indices) == 0


@pytest.mark.parametrize("similarity", ["cosine", "rbf", "published"])
def test_copies_are_picked_after_all_different_rows_and_in_the_order_of_rows(similarity):
    different = rows_of(1, 40, 30, copies=False)
    rows = np.concatenate([different, different[::-1], different])
    picks = facility_location(embedding_kernel(rows, similarity), 120)
    content = np.concatenate([np.arange(40), np.arange(40)[::-1], np.arange(40)])[picks.indices]
    assert sorted(content[:40]) == list(range(40))
    assert sorted(picks.indices) == list(range(120))
    for row in range(40):
        assert (np.diff(picks.indices[content == row]) > 0).all()


def test_copies_of_different_quality_are_told_apart():
    rows = np.repeat(rows_of(1, 30, 12, copies=False), 2, axis=0)
    quality = np.tile([0.0, 1.0], 30)
    picks = qdit(embedding_kernel(rows), quality, 30, alpha=0.5, scale="raw", given=[0])
    assert (quality[picks.indices[:29]] == 1).all()
    assert 0 not in picks.indices


def test_permuting_the_rows_permutes_the_picks():
    rows = clustered(300)
    order = np.random.default_rng(0).permutation(300)
    for source in (embedding_kernel, lambda x: exact_knn(unit_rows(x), 32)):
        one, other = facility_location(source(rows), 40), facility_location(source(rows[order]), 40)
        assert (order[other.indices] == one.indices).all()


def test_given_rows_count_as_present_and_are_not_picked_again():
    rows = clustered(150)
    for source in (embedding_kernel(rows), exact_knn(unit_rows(rows), 30)):
        whole = facility_location(source, 25)
        rest = facility_location(source, 15, given=whole.indices[:10])
        assert (rest.indices == whole.indices[10:]).all()
        assert rest.gains == pytest.approx(whole.gains[10:])


def test_the_first_picks_do_not_depend_on_how_many_follow():
    source = embedding_kernel(clustered(120))
    whole = facility_location(source, 500)
    assert sorted(whole.indices) == list(range(120))
    for k in (0, 1, 7, 64):
        assert (facility_location(source, k).indices == whole.indices[:k]).all()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6), m=st.integers(1, 12))
@pytest.mark.slow
def test_a_graph_is_a_kernel_that_is_minus_infinity_where_there_is_no_edge(seed, m):
    rows = rows_of(seed, 40, 3)
    graph = exact_knn(unit_rows(rows), m)
    if seed % 2:
        graph = symmetrise(graph)
    similarity = np.full((40, 40), -1e9)
    similarity[graph.indices, np.repeat(np.arange(40), np.diff(graph.indptr))] = graph.similarity
    for greedy in (naive_greedy, lazy_greedy, batched_lazy_greedy):
        picks = greedy(coverage(graph), 15)
        want, gains = by_definition(similarity, 15)
        assert picks.indices.tolist() == want
        assert picks.gains == pytest.approx(gains, rel=1e-6)
    assert ceiling(graph) == pytest.approx(40)


@pytest.mark.slow
def test_a_graph_of_64_neighbours_reaches_995_of_a_thousand_of_the_dense_value():
    rows = clustered(2500)
    kernel = embedding_kernel(rows)
    dense_value = facility_value(kernel, facility_location(kernel, 125).indices)
    values = {
        m: facility_value(kernel, facility_location(exact_knn(unit_rows(rows), m), 125).indices) / dense_value
        for m in (2, 64)
    }
    assert values[64] >= 0.995
    assert values[2] < values[64], "a control: a graph too thin loses value"
    unit = unit_rows(rows)
    assert facility_value(kernel, facility_location(knn_graph(unit, 64), 125).indices) >= 0.995 * dense_value


def test_picking_at_random_reaches_less():
    kernel = embedding_kernel(clustered(600), center=True)
    some = np.random.default_rng(0).permutation(600)[:40]
    assert facility_value(kernel, some) < 0.95 * facility_value(kernel, facility_location(kernel, 40).indices)


def test_stochastic_greedy_runs_on_coverage():
    kernel = embedding_kernel(clustered(500))
    exact = facility_location(kernel, 25).gains.sum()
    assert stochastic_greedy(coverage(kernel), 25, seed=0).gains.sum() > 0.98 * exact


def test_a_baseline_takes_nothing_from_the_order_of_a_flat_kernel_but_raises_the_contrast():
    flat = 0.9 + 0.1 * S
    low, high = facility_location(given_kernel(flat), 2), facility_location(given_kernel(flat), 2, baseline=0.9)
    assert low.gains[0] / low.gains[1] > 10 > high.gains[0] / high.gains[1]
    assert high.gains == pytest.approx(0.1 * facility_location(given_kernel(S), 2).gains)
    assert ceiling(given_kernel(flat), baseline=0.9) == pytest.approx(0.4)
    assert ceiling(embedding_kernel(np.eye(3)), baseline=0.25) == pytest.approx(2.25)


def test_isolated_zero_rows_cover_nothing_and_come_last():
    rows = rows_of(1, 20, 5, copies=False)
    rows[[3, 11]] = 0
    with pytest.raises(ValueError, match="row 3 is all zeros"):
        embedding_kernel(rows)
    kernel = embedding_kernel(rows, zero="isolate")
    assert ceiling(kernel) == 18
    picks = facility_location(kernel, 20)
    assert picks.indices[-2:].tolist() == [3, 11]
    assert picks.gains[-2:].tolist() == [0, 0]


def test_read_only_kernels_and_rows_are_accepted():
    similarity, rows, quality = S.copy(), clustered(50), np.linspace(0, 1, 50)
    for array in (similarity, rows, quality):
        array.setflags(write=False)
    facility_location(given_kernel(similarity), 2)
    qdit(embedding_kernel(rows), quality, 5, alpha=0.4)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(bad):
    similarity = S.copy()
    similarity[2, 1] = bad
    with pytest.raises(ValueError, match="Row 2 of the kernel"):
        given_kernel(similarity)
    rows = clustered(10)
    rows[4, 0] = bad
    for name in ("cosine", "rbf", "published"):
        with pytest.raises(ValueError, match="row 4"):
            embedding_kernel(rows, name)
    with pytest.raises(ValueError, match="finite"):
        qdit(given_kernel(S), np.array([0, 1, bad, 0]), 2, alpha=0.5)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="shape"):
        given_kernel(np.ones(3))
    with pytest.raises(ValueError, match="4 finite numbers"):
        qdit(given_kernel(S), Q[:3], 2, alpha=0.5)
    for alpha in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="alpha"):
            qdit(given_kernel(S), Q, 2, alpha=alpha)
    with pytest.raises(ValueError, match="k must not be negative"):
        facility_location(given_kernel(S), -1)
    with pytest.raises(ValueError, match="given"):
        facility_location(given_kernel(S), 1, given=[4])


def test_integer_kernels_are_read_as_float64():
    assert facility_location(given_kernel(np.array([[4, 1], [1, 3]])), 2).gains.tolist() == [5, 2]


@pytest.mark.parametrize("similarity", ["cosine", "rbf", "published"])
def test_no_rows_one_row_and_two(similarity):
    for n in range(3):
        rows = np.eye(3)[:n]
        assert facility_location(embedding_kernel(rows, similarity), 5).indices.tolist() == list(range(n))
        assert facility_location(knn_graph(unit_rows(rows), 4), 5).indices.tolist() == list(range(n))
    assert facility_location(given_kernel(np.zeros((0, 0))), 3).indices.tolist() == []
    assert facility_location(given_kernel(np.zeros((3, 0))), 2).indices.tolist() == [0, 1]
