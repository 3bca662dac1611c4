"""Any measure on arrays, with worked numbers."""

import numpy as np
import pytest

import rulesel
from rulesel.errors import UnknownName, UsageError
from rulesel.evaluation.diversity import MEASURES, OF_WORDS

THREE = np.array([[1, 0], [0, 1], [0.6, 0.8]])
SENTENCE = "the cat sat on the mat the cat ran"
EMBEDDED = [name for name in MEASURES if name not in OF_WORDS]


def rows(n=60, d=6, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


@pytest.mark.parametrize(
    ("measure", "params", "value"),
    [
        ("distsum", {}, 0.533333),
        ("knn", {}, 0.266667),
        ("vendi", {}, 1.889882),
        ("partition_entropy", {"clusters": 3}, np.log(3)),
        ("facility_location", {}, 3.0),
        ("novelsum", {"density_power": 0, "mode": "published"}, 0.218182),
        ("novelsum", {"density_power": 0, "distance_power": 0, "mode": "published"}, 0.355556),
        ("novelsum", {"neighbors": 1, "mode": "published"}, 0.300069),
        ("novelsum", {"neighbors": 1}, 2.838104),
        ("novelsum", {"density_power": 0}, 2.0),
        ("novelsum", {"density_power": 0, "reduce": "average"}, 0.444444),
    ],
)
def test_worked_numbers(measure, params, value):
    assert rulesel.diversity(measure, THREE, **params) == pytest.approx(value, abs=1e-6)


def test_facility_location_of_a_set_in_a_larger_pool():
    pool = np.vstack([THREE, [[0.8, 0.6]]])
    assert rulesel.diversity("facility_location", pool, [0, 1]) == pytest.approx(3.6)
    assert rulesel.diversity("facility_location", THREE[:2], reference=pool) == pytest.approx(3.6)


def test_words():
    assert rulesel.diversity("ttr", None, texts=[SENTENCE]) == pytest.approx(6 / 9)
    assert rulesel.diversity("mtld", None, texts=[SENTENCE]) == pytest.approx(9)
    assert rulesel.diversity("mtld", None, texts=["a b a c"]) == pytest.approx(4.24)
    assert rulesel.diversity("ttr", None, [1], texts=["a a", "a b"]) == 1
    assert np.isnan(rulesel.diversity("vocd_d", None, texts=[SENTENCE]))
    assert rulesel.diversity("ttr", None, texts=["a a b", "a b"], first=3) == pytest.approx(2 / 3)


@pytest.mark.parametrize("measure", EMBEDDED)
def test_a_subset_is_the_same_as_its_rows_against_the_pool(measure):
    pool, chosen = rows(), np.arange(0, 60, 4)
    reference = {} if measure in {"distsum", "knn", "vendi", "logdet"} else {"reference": pool}
    assert rulesel.diversity(measure, pool, chosen) == pytest.approx(
        rulesel.diversity(measure, pool[chosen], **reference)
    )


@pytest.mark.parametrize("measure", [name for name in EMBEDDED if name != "facility_location"])
def test_a_tight_cluster_is_less_diverse_than_the_whole(measure):
    pool = rows(seed=1)
    pool[:20] = pool[0] + 0.05 * pool[:20]
    params = {"reduce": "average"} if measure == "novelsum" else {"clusters": 10} if "entropy" in measure else {}
    tight = rulesel.diversity(measure, pool, np.arange(20), **params)
    assert tight < rulesel.diversity(measure, pool, np.arange(20, 40), **params)


@pytest.mark.parametrize("measure", [name for name in EMBEDDED if name != "partition_entropy"])
def test_a_rotation_changes_nothing(measure):
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(6, 6)))[0]
    pool = rows().astype(np.float64)
    assert rulesel.diversity(measure, pool @ turn) == pytest.approx(rulesel.diversity(measure, pool), rel=1e-4)


def test_texts_are_embedded_where_no_vectors_are_given():
    texts = ["the cat sat", "the dog ran away", "numbers add up to ten", "the cat sat down"]
    assert 0 < rulesel.diversity("distsum", None, texts=texts) <= 2


def test_what_does_not_fit_is_refused():
    with pytest.raises(UnknownName, match="Did you mean 'vendi'"):
        rulesel.diversity("vendy", THREE)
    with pytest.raises(ValueError, match="takes no reference"):
        rulesel.diversity("knn", THREE, reference=THREE)
    with pytest.raises(ValueError, match="needs texts"):
        rulesel.diversity("ttr", THREE)
    with pytest.raises(ValueError, match="needs embeddings"):
        rulesel.diversity("knn", None)
    with pytest.raises(ValueError, match=r"rows of 0\.\.2"):
        rulesel.diversity("knn", THREE, [3])


@pytest.mark.parametrize(
    ("measure", "parameters", "named"),
    [
        ("novelsum", {"mode": "code"}, "mode"),
        ("novelsum", {"reduce": "max"}, "reduce"),
        ("novelsum", {"neighbors": 2.5}, "neighbors"),
        ("novelsum", {"density_power": np.inf}, "density_power"),
        ("novelsum", {"distance_power": np.nan}, "distance_power"),
        ("vendi", {"neighbors": 3}, "neighbors"),
        ("partition_entropy", {"clusters": 2.5}, "clusters"),
        ("ttr", {"last": 3}, "last"),
    ],
)
def test_a_parameter_that_does_not_fit_is_named_with_those_there_are(measure, parameters, named):
    with pytest.raises(UsageError, match=f"{measure}: {named}.*Parameters: "):
        rulesel.diversity(measure, THREE, texts=["a b"], **parameters)


@pytest.mark.parametrize("name", ["density_power", "distance_power"])
def test_powers_below_nought_are_refused(name):
    with pytest.raises(ValueError, match="at least 0"):
        rulesel.diversity("novelsum", THREE, **{name: -1})


@pytest.mark.parametrize("mode", ["corrected", "published"])
@pytest.mark.parametrize("neighbors", [1, 5])
@pytest.mark.parametrize("density_power", [0, 0.25, 1])
@pytest.mark.parametrize("distance_power", [0, 1, 2])
def test_novelsum_is_its_formula_for_every_parameter(mode, neighbors, density_power, distance_power):
    pool, chosen = rows(40, 5).astype(np.float64), np.arange(0, 40, 3)
    published = mode == "published"
    unit = pool / np.linalg.norm(pool, axis=1, keepdims=True)
    space = pool if published else unit  # densities: of raw rows in the authors' code
    square = np.sort(((space[chosen][:, None] - space[None]) ** 2).sum(axis=-1), axis=1)[:, 1 : neighbors + 1]
    density = (square.mean(axis=1) + 1e-9) ** -density_power
    total = []
    for i, row in enumerate(chosen):
        distance = 1 - unit[chosen] @ unit[row]
        order = np.argsort(distance)
        if published:  # the row itself, at distance 0, has rank 1
            weight = np.arange(1, len(chosen) + 1.0) ** -distance_power
            total.append(density[i] * (weight @ distance[order]) / weight.sum())
        else:
            order = order[order != i]
            weight = np.arange(1.0, len(chosen)) ** -distance_power
            total.append(weight @ (density[order] * distance[order]))
    found = rulesel.diversity(
        "novelsum",
        pool,
        chosen,
        neighbors=neighbors,
        density_power=density_power,
        distance_power=distance_power,
        mode=mode,
    )
    assert found == pytest.approx(np.mean(total) if published else np.sum(total), rel=1e-5)
