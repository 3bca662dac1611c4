"""A selection in numbers, beside its baselines."""

import numpy as np
import pytest

import rulesel
from rulesel.evaluation.subset import DRAWS, Yardstick, averaged, baselines
from rulesel.selection import Pool


def vectors(n=200, d=5):
    return np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)


def test_the_numbers_are_those_of_the_measures():
    pool, rows = vectors(), np.arange(0, 200, 9)
    values = Yardstick(pool).measure(rows).values
    for name in ("distsum", "knn", "vendi"):
        assert values[name] == pytest.approx(rulesel.diversity(name, pool, rows), rel=1e-5)
    assert values["novelsum"] == pytest.approx(rulesel.diversity("novelsum", pool, rows, reduce="average"), rel=1e-4)
    entropy = rulesel.diversity("partition_entropy", pool, rows, repeats=3, relative=True)
    assert values["partition_entropy"] == pytest.approx(entropy, rel=1e-5)
    assert values["coverage"] == pytest.approx(rulesel.diversity("facility_location", pool, rows) / 200, rel=1e-5)
    unit = pool / np.linalg.norm(pool, axis=1, keepdims=True)
    assert values["radius"] == pytest.approx((1 - (unit @ unit[rows].T).max(axis=1)).max(), rel=1e-5)


def test_the_whole_pool_covers_itself_and_a_corner_does_not():
    pool = vectors()
    stick = Yardstick(pool)
    whole, corner = stick.measure(np.arange(200)).values, stick.measure(np.argsort(pool[:, 0])[:20]).values
    assert whole["coverage"] == pytest.approx(1)
    assert whole["radius"] == pytest.approx(0, abs=1e-6)
    assert corner["coverage"] < 0.9
    assert corner["radius"] > 1


def test_rows_without_vectors_count_nowhere():
    pool = vectors()
    pool[7] = np.nan
    rows = np.array([3, 7, 11, 40])
    without = np.delete(pool, 7, axis=0)
    assert Yardstick(pool).measure(rows).values == pytest.approx(
        Yardstick(without).measure(np.array([3, 10, 39])).values
    )


def test_too_few_rows_say_nothing():
    assert all(np.isnan(value) for value in Yardstick(vectors()).measure(np.array([3])).values.values())


def test_words_are_measured_where_texts_are_given():
    found = Yardstick(vectors()).measure(np.arange(2), ["a b a c", "a b a c"]).values
    assert found["mtld"] == pytest.approx(4.24)
    assert np.isnan(found["ttr"])  # fewer than fifty words


def test_baselines_have_the_size_asked_for_and_leave_out_what_is_given():
    lengths = np.arange(50.0)
    found = baselines(Pool(n=50, columns={"length": lengths}, given=np.array([49, 3])), 5)
    assert found["longest"][0].tolist() == [48, 47, 46, 45, 44]
    assert len(found["random"]) == DRAWS
    assert all(len(rows) == 5 and not {49, 3} & set(rows.tolist()) for rows in found["random"])


def test_several_draws_have_a_mean_and_a_spread():
    stick = Yardstick(vectors())
    draws = [stick.measure(np.arange(start, start + 20)) for start in (0, 50)]
    both = averaged(draws)
    values = [draw.values["knn"] for draw in draws]
    assert both.values["knn"] == pytest.approx(np.mean(values))
    assert both.spread["knn"] == pytest.approx(np.std(values, ddof=1))
    assert averaged(draws[:1]).spread == {}
