"""MIG: worked numbers, the definition written out densely, both gains, and what labels become."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from rulesel.algorithms.greedy import batched_lazy_greedy, lazy_greedy, naive_greedy
from rulesel.algorithms.label_graph import label_graph, label_rows, propagation
from rulesel.algorithms.mig import PUBLISHED, Phi, information, information_value, mig

VECTORS = np.array([[1, 0], [0.95, math.sqrt(1 - 0.9025)], [0, 1]])
ITEMS = csr_array(np.array([[20.0, 0, 0], [0, 18, 0], [0, 0, 5], [12, 0, 6]]))


def dense_greedy(spread, k, phi, gain, already=()):
    """The definition, in float64, every row at every step."""
    arrived = np.zeros(spread.shape[1])
    gone = list(already)
    for row in already:
        arrived += spread[row]
    picks, gains = [], []
    for _ in range(min(k, len(spread) - len(gone))):
        exact = gain == "exact"
        scores = (phi(arrived + spread) - phi(arrived)).sum(axis=1) if exact else spread @ phi.slope(arrived)
        scores[gone] = -np.inf
        best = int(scores.argmax())
        picks.append(best)
        gains.append(scores[best])
        gone.append(best)
        arrived = arrived + spread[best]
    return picks, gains


def sampler(tags, scores, vectors, threshold, k, weight=1.0, norm=False, a=1e-6, b=0.8):
    """What the authors' sampler computes, step by step as its matrices are defined, in float64."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    adjacency = np.where(unit @ unit.T >= threshold, unit @ unit.T, 0)
    np.fill_diagonal(adjacency, 1)
    eye = np.eye(len(vectors))
    matrix = adjacency * eye + adjacency * (1 - eye) * weight
    matrix /= matrix.sum(axis=0)
    pool = np.zeros((len(tags), len(vectors)))
    for row, labels in enumerate(tags):
        for label in labels:
            pool[row, label] = scores[row] / len(labels) if norm else scores[row]
    pool = pool @ matrix
    left, selected, picks = list(range(len(tags))), np.zeros(len(vectors)), []
    for _ in range(k):
        best = int(np.argmax(pool[left] @ (b * (selected + a) ** (b - 1))))
        picks.append(left.pop(best))
        selected = selected + pool[picks[-1]]
    return picks


def labelled(seed, n=None, labels=None, d=5, repeats=False):
    rng = np.random.default_rng(seed)
    n, labels = n or int(rng.integers(1, 40)), labels or int(rng.integers(1, 12))
    vectors = rng.standard_normal((max(2, labels // 2), d))
    vectors = vectors[rng.integers(0, len(vectors), labels)] + 0.15 * rng.standard_normal((labels, d))
    tags = [rng.choice(labels, rng.integers(0, min(labels, 4) + 1), replace=repeats).tolist() for _ in range(n)]
    return tags, rng.integers(0, 9, n) / 2, vectors


def test_the_worked_graph_and_propagation():
    graph = label_graph(VECTORS, threshold=0.9)
    assert graph.toarray() == pytest.approx(np.array([[1, 0.95, 0], [0.95, 1, 0], [0, 0, 1]]))
    flow = propagation(graph)
    shares = np.array([[0.512821, 0.487179, 0], [0.487179, 0.512821, 0], [0, 0, 1]])
    assert flow.toarray() == pytest.approx(shares, abs=1e-6)
    spread = [[10.2564, 9.7436, 0], [8.7692, 9.2308, 0], [0, 0, 5], [6.1538, 5.8462, 6]]
    assert (ITEMS @ flow).toarray() == pytest.approx(np.array(spread), abs=1e-4)


def test_the_worked_exact_gains_and_picks():
    flow = propagation(label_graph(VECTORS))
    gains = information(ITEMS, flow=flow).probe(np.arange(4))()
    assert gains == pytest.approx([12.6185, 11.5985, 3.6239, 12.5784], abs=1e-4)
    picks = mig(ITEMS, 3, flow=flow)
    assert picks.indices.tolist() == [0, 3, 1]
    assert information_value(ITEMS, picks.indices, flow=flow) == pytest.approx(30.4581, abs=1e-4)
    assert picks.gains.sum() == pytest.approx(30.4581, abs=1e-4)
    pairs = {pair: information_value(ITEMS, pair, flow=flow) for pair in itertools.combinations(range(4), 2)}
    assert max(pairs, key=pairs.__getitem__) == (0, 3)
    assert pairs[0, 3] == pytest.approx(22.5711, abs=1e-4)


def test_the_worked_linear_gains_and_picks():
    flow = propagation(label_graph(VECTORS))
    gains = information(ITEMS, flow=flow, phi=PUBLISHED, gain="linear").probe(np.arange(4))()
    assert gains == pytest.approx([253.58, 228.22, 63.40, 228.22], abs=0.01)
    assert mig(ITEMS, 3, flow=flow, phi=PUBLISHED, gain="linear").indices.tolist() == [0, 3, 1]


def test_the_linear_gain_touches_a_fresh_label_before_quality_counts():
    rows = csr_array(np.array([[20.0, 0], [1, 1], [19, 0]]))
    linear = mig(rows, 2, phi=PUBLISHED, gain="linear")
    exact = mig(rows, 2)
    assert linear.indices.tolist() == [0, 1]
    assert exact.indices.tolist() == [0, 2]
    assert linear.gains[0] == pytest.approx(253.6, abs=0.05)
    assert linear.gains[1] == pytest.approx(13.12, abs=0.01)
    assert exact.gains == pytest.approx([10.99, 7.758], abs=0.005)
    assert information_value(rows, linear.indices) == pytest.approx(12.423, abs=1e-3)
    assert information_value(rows, exact.indices) == pytest.approx(18.744, abs=1e-3)
    assert PUBLISHED.slope(np.zeros(1))[0] == pytest.approx(12.68, abs=0.005)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6), k=st.integers(0, 15), kind=st.sampled_from(["power", "exponential"]))
@pytest.mark.slow
def test_naive_lazy_batched_and_the_definition_pick_alike_for_both_gains(seed, k, kind):
    tags, quality, vectors = labelled(seed)
    phi = PUBLISHED if kind == "power" else Phi("exponential", 0.3)
    flow = propagation(label_graph(vectors, threshold=0.8))
    rows = label_rows(tags, quality, len(vectors)).amounts
    spread = (rows @ flow).toarray()
    already = np.random.default_rng(seed).permutation(len(tags))[: seed % 3]
    for gain in ("exact", "linear"):
        picks = naive_greedy(information(rows, flow=flow, phi=phi, gain=gain), k, given=already)
        for other in (
            lazy_greedy(information(rows, flow=flow, phi=phi, gain=gain), k, given=already),
            batched_lazy_greedy(information(rows, flow=flow, phi=phi, gain=gain), k, given=already, batch=3),
            mig(rows, k, flow=flow, phi=phi, gain=gain, given=already),
        ):
            assert (picks.indices == other.indices).all()
            assert (picks.gains == other.gains).all()
        want, gains = dense_greedy(spread, k, phi, gain, already.tolist())
        # Equal labels give equal rows, whose gains the two ways of summing round differently: gains must agree.
        assert picks.gains == pytest.approx(gains, rel=1e-9, abs=1e-9)
        content = [tuple(np.round(spread[row], 9)) for row in range(len(tags))]
        if len(set(content)) == len(content):
            assert picks.indices.tolist() == want


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6), norm=st.booleans(), weight=st.sampled_from([0.0, 0.5, 1.0, 2.0]))
@pytest.mark.slow
def test_published_picks_are_those_of_the_released_sampler(seed, norm, weight):
    tags, quality, vectors = labelled(seed, n=30, labels=9, repeats=True)
    quality = quality + np.random.default_rng(seed).random(30)
    rows = label_rows(tags, quality, 9, normalise_quality=norm, count_repeats=True).amounts
    flow = propagation(label_graph(vectors, threshold=0.85), weight=weight)
    picks = mig(rows, 12, flow=flow, phi=PUBLISHED, gain="linear")
    assert picks.indices.tolist() == sampler(tags, quality, vectors, 0.85, 12, weight, norm)


def test_a_label_named_twice_changes_the_published_picks_only():
    tags, quality = [[0, 0], [0]], np.array([6.0, 5.0])
    corrected = label_rows(tags, quality, 1, normalise_quality=True).amounts
    published = label_rows(tags, quality, 1, normalise_quality=True, count_repeats=True).amounts
    assert corrected.toarray().ravel().tolist() == [6, 5]
    assert published.toarray().ravel().tolist() == [3, 5]
    assert label_rows(tags, quality, 1).amounts.toarray().ravel().tolist() == [6, 5]


@pytest.mark.slow
def test_exact_greedy_keeps_its_bound_and_beats_linear_on_the_whole():
    lost = 0.0
    for seed in range(200):
        tags, quality, vectors = labelled(seed, n=9, labels=5)
        flow = propagation(label_graph(vectors, threshold=0.8))
        rows = label_rows(tags, quality, 5).amounts
        spread = (rows @ flow).toarray()

        def value(chosen, spread=spread):
            return float(np.power(spread[list(chosen)].sum(axis=0), 0.8).sum())

        k = 1 + seed % 4
        exact = value(mig(rows, k, flow=flow).indices)
        assert exact >= (1 - 1 / math.e) * max(map(value, itertools.combinations(range(9), k))) - 1e-9
        lost += exact - value(mig(rows, k, flow=flow, phi=PUBLISHED, gain="linear").indices)
    assert lost > 0


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6))
@pytest.mark.slow
def test_information_is_submodular(seed):
    tags, quality, vectors = labelled(seed, n=12, labels=6)
    flow = propagation(label_graph(vectors, threshold=0.8))
    rows = label_rows(tags, quality, 6).amounts
    order = np.random.default_rng(seed).permutation(12)
    small, large, new = order[:3], order[:7], int(order[10])

    def gain(chosen):
        return information_value(rows, [*chosen, new], flow=flow) - information_value(rows, chosen, flow=flow)

    assert gain(small) >= gain(large) - 1e-9 >= -2e-9


@pytest.mark.parametrize(("threshold", "weight"), [(1.5, 1.0), (0.9, 0.0)])
def test_without_edges_or_weight_nothing_moves(threshold, weight):
    flow = propagation(label_graph(VECTORS, threshold=threshold), weight=weight)
    assert (flow.toarray() == np.eye(3)).all()


def test_the_source_normalised_flow_keeps_the_sum_and_the_published_one_does_not():
    star = np.array([[1, 0, 0], [0.95, 0.3, 0], [0.95, -0.3, 0], [0.95, 0, 0.3]])
    graph = label_graph(star, threshold=0.93)
    assert graph.nnz == 4 + 6, "a star: the outer labels are not joined"
    amounts = csr_array(np.array([[1.0, 2, 3, 4]]))
    kept = (amounts @ propagation(graph, normalised_by="source")).sum()
    lost = (amounts @ propagation(graph)).sum()
    assert kept == pytest.approx(10)
    assert abs(lost - 10) > 0.1
    assert propagation(graph).sum(axis=0) == pytest.approx(np.ones(4))


@pytest.mark.parametrize("factor", [1e-3, 7.0, 1e4])
def test_the_unit_of_quality_does_not_change_the_corrected_picks(factor):
    tags, quality, vectors = labelled(5, n=60, labels=12)
    flow = propagation(label_graph(vectors, threshold=0.8))
    one = mig(label_rows(tags, quality, 12).amounts, 25, flow=flow)
    other = mig(label_rows(tags, factor * quality, 12).amounts, 25, flow=flow)
    assert (one.indices == other.indices).all()
    assert other.gains == pytest.approx(one.gains * factor**0.8)


def test_rows_without_a_known_label_gain_nothing_come_last_and_are_reported():
    tags = [["maths"], [], ["poetry", "maths"], ["unheard of"], ["maths", "unheard of"]]
    rows = label_rows(tags, np.array([1.0, 9, 2, 9, 3]), {"maths": 0, "poetry": 1})
    assert rows.unlabelled.tolist() == [1, 3]
    assert rows.unknown == 2
    picks = mig(rows.amounts, 9)
    assert picks.indices[-2:].tolist() == [1, 3]
    assert picks.gains[-2:].tolist() == [0, 0]
    assert sorted(picks.indices) == list(range(5))


def test_normalised_quality_is_shared_among_the_known_labels():
    tags = [["a", "b", "c"], ["a", "zz"]]
    rows = label_rows(tags, np.array([6.0, 6.0]), {"a": 0, "b": 1, "c": 2}, normalise_quality=True)
    assert rows.amounts.toarray().tolist() == [[2, 2, 2], [6, 0, 0]]


def test_integer_tags_outside_the_graph_are_dropped_and_counted():
    rows = label_rows([[0, 7], [-1], [1]], np.ones(3), 2)
    assert rows.unknown == 2
    assert rows.unlabelled.tolist() == [1]


def test_an_edge_at_the_threshold_is_an_edge():
    vectors = np.array([[1, 0], [0.9, math.sqrt(1 - 0.81)]])
    assert label_graph(vectors, threshold=0.9).nnz == 4
    assert label_graph(vectors, threshold=0.9 + 1e-9).nnz == 2


def test_blocks_of_labels_give_the_graph_of_the_whole(monkeypatch):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((37, 4))
    whole = label_graph(vectors, threshold=0.5).toarray()
    monkeypatch.setattr("rulesel.algorithms.label_graph.LABELS", 8)
    np.testing.assert_allclose(label_graph(vectors, threshold=0.5).toarray(), whole, atol=1e-12)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    want = np.where(unit @ unit.T >= 0.5, unit @ unit.T, 0)
    np.testing.assert_allclose(whole, want, atol=1e-12)


def test_permuting_rows_permutes_picks_and_permuting_labels_changes_nothing():
    tags, quality, vectors = labelled(8, n=80, labels=12)
    quality = quality + np.random.default_rng(1).random(80)
    flow = propagation(label_graph(vectors, threshold=0.8))
    one = mig(label_rows(tags, quality, 12).amounts, 20, flow=flow)
    order = np.random.default_rng(2).permutation(80)
    moved = mig(label_rows([tags[row] for row in order], quality[order], 12).amounts, 20, flow=flow)
    assert (order[moved.indices] == one.indices).all()
    place = np.random.default_rng(3).permutation(12)
    relabelled = propagation(label_graph(vectors[np.argsort(place)], threshold=0.8))
    other = mig(label_rows([place[t].tolist() for t in tags], quality, 12).amounts, 20, flow=relabelled)
    assert (other.indices == one.indices).all()


def test_given_rows_count_as_present():
    tags, quality, vectors = labelled(8, n=80, labels=12)
    flow = propagation(label_graph(vectors, threshold=0.8))
    rows = label_rows(tags, quality, 12).amounts
    whole = mig(rows, 20, flow=flow)
    rest = mig(rows, 15, flow=flow, given=whole.indices[:5])
    assert (rest.indices == whole.indices[5:]).all()


def test_phi_is_its_formula_and_is_checked():
    assert Phi("exponential", 2.0)(np.array([0, 1.0])) == pytest.approx([0, 1 - math.exp(-2)])
    assert Phi("exponential", 2.0).slope(np.array([0, 1.0])) == pytest.approx([2, 2 * math.exp(-2)])
    assert Phi()(np.array([0, 32.0])) == pytest.approx([0, 16])
    for wrong in (("power", 1.1), ("power", 0), ("exponential", 0), ("power", math.nan), ("exponential", math.inf)):
        with pytest.raises(ValueError, match="increasing and concave"):
            Phi(*wrong)
    with pytest.raises(ValueError, match="increasing and concave"):
        Phi("power", 0.8, -1e-6)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="infinite at 0"):
        mig(ITEMS, 2, gain="linear")
    with pytest.raises(ValueError, match="threshold"):
        label_graph(VECTORS, threshold=0)
    with pytest.raises(ValueError, match="label embeddings: row 1 is all zeros"):
        label_graph(np.array([[1.0, 0], [0, 0]]))
    assert label_graph(np.array([[1.0, 0], [0, 0]]), zero="isolate").toarray().tolist() == [[1, 0], [0, 1]]
    with pytest.raises(ValueError, match="label embeddings: row 0 has NaN"):
        label_graph(np.array([[math.nan, 0], [0, 1]]))
    with pytest.raises(ValueError, match="weight"):
        propagation(label_graph(VECTORS), weight=-1)
    for quality in ([1.0, -1], [1.0, math.nan], [1.0, math.inf], [1.0]):
        with pytest.raises(ValueError, match="2 finite numbers"):
            label_rows([[0], [0]], np.array(quality), 1)
    with pytest.raises(ValueError, match="at least 0"):
        mig(csr_array(np.array([[-1.0]])), 1)
    with pytest.raises(ValueError, match="k must not be negative"):
        mig(ITEMS, -1)


def test_no_rows_give_no_picks():
    rows = label_rows([], np.empty(0), 3)
    assert len(mig(rows.amounts, 5).indices) == 0


def test_read_only_inputs_are_accepted():
    quality, vectors = np.array([1.0, 2]), VECTORS.copy()
    quality.setflags(write=False)
    vectors.setflags(write=False)
    mig(label_rows([[0], [1, 2]], quality, 3).amounts, 2, flow=propagation(label_graph(vectors)))
