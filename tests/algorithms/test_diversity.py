"""Diversity: worked numbers, slow definitions, invariances."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from rulesel.algorithms.diversity import (
    distsum,
    entropy,
    facility_location,
    knn,
    logdet,
    partition_entropy,
    vendi,
)
from rulesel.algorithms.lexical import SIZES, expected_ttr, fitted_d, mtld, over_documents, ttr, vocd_d, words

CAT = ["the", "cat", "sat", "on", "the", "mat", "the", "cat", "ran"]
X = np.array([[1, 0], [0, 1], [0.6, 0.8]])
Z = np.array([[1, 0], [0, 1], [0.6, 0.8], [0.8, 0.6]])


def rows_of(seed, n=None, d=None):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n or int(rng.integers(2, 40)), d or int(rng.integers(2, 9)))) + rng.random()


def cosines(rows, others=None):
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    if others is None:
        return unit @ unit.T
    return unit @ (others / np.linalg.norm(others, axis=1, keepdims=True)).T


def text_of(seed, length, vocabulary):
    rng = np.random.default_rng(seed)
    return (rng.zipf(1.6, length) % vocabulary).tolist()


def test_the_worked_numbers_of_words():
    assert ttr(CAT) == pytest.approx(0.666667, abs=1e-6)
    assert expected_ttr(CAT, 4) == pytest.approx(0.845238, abs=1e-6)
    assert mtld(CAT) == 9
    assert mtld(["a", "b", "a", "c"]) == pytest.approx(4.24)


def test_the_worked_numbers_of_embeddings():
    assert distsum(X) == pytest.approx(0.533333, abs=1e-6)
    assert knn(X) == pytest.approx(0.266667, abs=1e-6)
    assert vendi(X) == pytest.approx(1.889882, abs=1e-6)
    assert facility_location(X[:2], Z) == pytest.approx(3.6, abs=1e-6)
    assert entropy(np.array([2, 1, 1])) == pytest.approx(1.039721, abs=1e-6)


@pytest.mark.parametrize(("d", "values"), [(50, (0.784562, 0.732051)), (100, (0.868116, 0.828427))])
def test_the_curve_of_vocd_has_the_worked_values(d, values):
    curve = d / SIZES * (np.sqrt(1 + 2 * SIZES / d) - 1)
    assert (curve[0], curve[-1]) == pytest.approx(values, abs=1e-6)
    assert fitted_d(curve) == pytest.approx(d, rel=1e-6)


def test_fitting_a_curve_of_vocd_gives_its_d_back():
    for d in (0.5, 7.0, 73.5, 2e4):
        assert fitted_d(d / SIZES * (np.sqrt(1 + 2 * SIZES / d) - 1)) == pytest.approx(d, rel=1e-4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6), length=st.integers(1, 90), size=st.integers(1, 60))
def test_the_expected_ttr_is_hypergeometric(seed, length, size):
    tokens = text_of(seed, length, 25)
    if size > length:
        assert math.isnan(expected_ttr(tokens, size))
        return
    missed = [hypergeom.pmf(0, length, count, size) for count in Counter(tokens).values()]
    assert expected_ttr(tokens, size) == pytest.approx(sum(1 - p for p in missed) / size, rel=1e-9)


def test_vocd_agrees_with_drawing_samples():
    tokens = text_of(3, 400, 60)
    rng = np.random.default_rng(0)
    drawn = [
        np.mean([len(set(rng.choice(tokens, size, replace=False).tolist())) / size for _ in range(400)])
        for size in SIZES.tolist()
    ]
    assert vocd_d(tokens) == pytest.approx(fitted_d(np.array(drawn)), rel=0.05)


def test_what_cannot_be_said_is_nan_and_never_nought():
    assert math.isnan(vocd_d(list(range(50))))
    assert vocd_d(list(range(51))) == math.inf
    assert math.isnan(ttr([]))
    assert math.isnan(mtld([]))
    assert math.isnan(ttr(["a", "b"], first=3))
    assert ttr(["a", "b", "a", "a"], first=3) == pytest.approx(2 / 3)
    assert math.isnan(distsum(X[:1]))
    assert math.isnan(knn(X[:1]))
    assert mtld(["a", "b", "c"]) == 3


def slow_mtld(tokens):
    def one_way(sequence):
        factors, start = 0.0, 0
        for end in range(1, len(sequence) + 1):
            part = sequence[start:end]
            if len(set(part)) / len(part) <= 0.72:
                factors, start = factors + 1, end
        rest = sequence[start:]
        factors += (1 - len(set(rest)) / len(rest)) / 0.28 if rest else 0
        return len(sequence) / factors if factors else len(sequence)

    return (one_way(tokens) + one_way(tokens[::-1])) / 2


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(0, 6), min_size=1, max_size=60))
def test_mtld_is_its_definition_and_the_same_backwards(tokens):
    assert mtld(tokens) == pytest.approx(slow_mtld(tokens))
    assert mtld(tokens) == pytest.approx(mtld(tokens[::-1]))
    assert mtld(tokens) >= 1


def test_richer_texts_score_higher_on_all_three():
    poor, rich = text_of(0, 300, 8), text_of(0, 300, 200)
    for measure in (ttr, vocd_d, mtld):
        assert measure(rich) > measure(poor)


def test_documents_that_cannot_be_measured_are_left_out_of_the_mean():
    mean, counted = over_documents(lambda tokens: ttr(tokens, first=2), [["a", "b"], ["a", "a"], ["a"]])
    assert (mean, counted) == (0.75, 2)
    assert math.isnan(over_documents(ttr, [])[0])


def test_words_of_many_scripts():
    assert words("Don’t stop: 3.5 naïve_x") == ["don’t", "stop", "3", "5", "naïve", "x"]
    assert words("日本語のテスト") == ["日", "本", "語", "の", "テスト"]
    assert words("한국어 문장") == ["한국어", "문장"]
    assert words("हिन्दी में") == ["हिन्दी", "में"]
    assert words("ภาษาไทย") == ["ภาษา", "ไทย"]
    assert words(" …!? ") == []


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6), neighbors=st.integers(1, 5))
def test_distances_are_their_definitions(seed, neighbors):
    rows = rows_of(seed)
    n = len(rows)
    distance = 1 - cosines(rows)
    apart = ~np.eye(n, dtype=bool)
    assert distsum(rows) == pytest.approx(distance[apart].mean())
    nearest = np.sort(distance[apart].reshape(n, n - 1), axis=1)[:, :neighbors]
    assert knn(rows, neighbors=neighbors) == pytest.approx(nearest.mean(), abs=1e-9)
    euclidean = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    assert distsum(rows, distance="euclidean") == pytest.approx(euclidean[apart].mean())
    reference = rows_of(seed + 1, 17, rows.shape[1])
    covered = cosines(reference, rows).max(axis=1).sum()
    assert facility_location(rows, reference) == pytest.approx(covered, rel=1e-5, abs=1e-5)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6))
def test_spectral_measures_are_the_same_from_either_gram_matrix(seed):
    rows = rows_of(seed)
    n, d = rows.shape
    spectrum = np.linalg.eigvalsh(cosines(rows) / n)
    spectrum = spectrum[spectrum > 1e-15]
    assert vendi(rows) == pytest.approx(math.exp(-(spectrum * np.log(spectrum)).sum()))
    assert 1 - 1e-9 <= vendi(rows) <= min(n, d) + 1e-9
    if n <= d:
        want = np.linalg.slogdet(cosines(rows) + 1e-6 * np.eye(n))[1]
    else:
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        want = np.linalg.slogdet(np.eye(d) + unit.T @ unit / (1e-6 * n))[1]
    assert logdet(rows) == pytest.approx(want, rel=1e-6, abs=1e-6)


def test_blocks_do_not_change_a_measure(monkeypatch):
    rows = rows_of(1, 200, 6)
    whole = [distsum(rows), distsum(rows, distance="euclidean"), knn(rows, neighbors=3), vendi(rows), logdet(rows)]
    monkeypatch.setattr("rulesel.algorithms.diversity.BASE", 7)
    monkeypatch.setattr("rulesel.algorithms.diversity.QUERIES", 9)
    again = [distsum(rows), distsum(rows, distance="euclidean"), knn(rows, neighbors=3), vendi(rows), logdet(rows)]
    assert again == pytest.approx(whole)


MEASURES = {
    "distsum": distsum,
    "knn": knn,
    "vendi": vendi,
    "logdet": logdet,
    "facility_location": lambda rows: facility_location(rows, rows[::2] * 1.5),
    "partition_entropy": lambda rows: partition_entropy(rows, clusters=5),
}


@pytest.mark.parametrize("name", MEASURES)
def test_order_scale_and_rotation_do_not_matter(name):
    measure, rows = MEASURES[name], rows_of(4, 60, 6)
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))[0]
    scale = np.random.default_rng(1).uniform(0.5, 2, (60, 1))
    assert measure(scale * rows @ turn) == pytest.approx(measure(rows), rel=1e-5)
    if name not in {"partition_entropy", "facility_location"}:
        assert measure(rows[::-1]) == pytest.approx(measure(rows), rel=1e-9)


@pytest.mark.parametrize("name", MEASURES)
def test_spread_rows_are_more_diverse_than_close_ones(name):
    rng = np.random.default_rng(0)
    spread = rng.standard_normal((50, 8))
    close = np.ones(8) + 0.05 * rng.standard_normal((50, 8))
    pool = np.concatenate([spread, close])
    if name == "facility_location":
        assert facility_location(spread, pool) > facility_location(close, pool)
    elif name == "partition_entropy":
        assert partition_entropy(spread, pool, clusters=10) > partition_entropy(close, pool, clusters=10)
    else:
        assert MEASURES[name](spread) > MEASURES[name](close)


def test_what_copies_do():
    rows = rows_of(2, 30, 6)
    twice = np.concatenate([rows, rows])
    assert distsum(twice) < distsum(rows)
    assert knn(twice) == pytest.approx(0, abs=1e-12)
    assert vendi(twice) == pytest.approx(vendi(rows))
    assert partition_entropy(twice, rows, clusters=4) == pytest.approx(partition_entropy(rows, rows, clusters=4))
    assert vendi(rows[:1]) == pytest.approx(1)
    assert partition_entropy(rows[:1], rows, clusters=4) == 0


def test_partition_entropy_is_zero_in_one_cluster_and_its_logarithm_when_even():
    corners = np.repeat(np.eye(4), 25, axis=0)
    assert partition_entropy(corners, clusters=4) == pytest.approx(math.log(4))
    assert partition_entropy(corners, clusters=4, relative=True) == pytest.approx(1)
    assert partition_entropy(corners[:25], corners, clusters=4) == 0
    assert partition_entropy(corners, clusters=50) == pytest.approx(math.log(4)), "no more clusters than different rows"
    assert partition_entropy(corners, clusters=1, relative=True) == 0


def test_partition_entropy_is_seeded_and_averaged():
    rows = rows_of(3, 300, 5)
    one = [partition_entropy(rows, clusters=20, repeats=1, seed=seed) for seed in range(3)]
    assert partition_entropy(rows, clusters=20, repeats=3) == pytest.approx(np.mean(one))
    assert len(set(one)) > 1


def test_an_isolated_row_is_at_distance_one_from_everything():
    rows = np.concatenate([np.eye(3), np.zeros((1, 3))])
    for measure in (distsum, knn, vendi, logdet):
        with pytest.raises(ValueError, match="row 3 is all zeros"):
            measure(rows)
    assert distsum(rows, zero="isolate") == pytest.approx(1)
    assert knn(rows, zero="isolate") == pytest.approx(1)
    assert vendi(rows, zero="isolate") == pytest.approx(4)
    wide = np.concatenate([np.eye(5)[:3], np.zeros((1, 5))])
    assert vendi(wide, zero="isolate") == pytest.approx(4)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", MEASURES)
def test_rows_that_are_not_finite_are_refused(name, bad):
    rows = rows_of(1, 12, 4)
    rows[5, 1] = bad
    with pytest.raises(ValueError, match="NaN or infinity"):
        MEASURES[name](rows)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="neighbors"):
        knn(X, neighbors=0)
    with pytest.raises(ValueError, match="epsilon"):
        logdet(X, epsilon=0)
    for call in (lambda: facility_location(X[:0], Z), lambda: vendi(X[:0]), lambda: logdet(X[:0])):
        with pytest.raises(ValueError, match="empty"):
            call()
    for wrong in ({"clusters": 0}, {"repeats": 0}):
        with pytest.raises(ValueError, match="at least 1"):
            partition_entropy(X, **wrong)
    with pytest.raises(ValueError, match="cannot be compared"):
        facility_location(X, np.ones((3, 5)))
    with pytest.raises(ValueError, match="first"):
        ttr(CAT, first=0)


def test_read_only_rows_are_accepted():
    rows = rows_of(1, 20, 4)
    rows.setflags(write=False)
    for measure in MEASURES.values():
        measure(rows)
