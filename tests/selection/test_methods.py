"""Worked numbers of every method, through `rulesel.pick`, in both modes where there are two."""

import itertools

import numpy as np
import pytest

import rulesel
from rulesel.errors import UsageError
from rulesel.plugins import build
from rulesel.selection import Pool, Selector, choose

FOUR = np.array([[1, 0.8, 0.2, 0.1], [0.8, 1, 0.3, 0.1], [0.2, 0.3, 1, 0.6], [0.1, 0.1, 0.6, 1]])
FOUR_ROWS = np.linalg.cholesky(FOUR)  # rows of unit length whose cosines are FOUR
FOUR_QUALITY = [0.1, 0.2, 0.9, 1.0]
LINE = np.array([[0.0], [1], [2], [10], [11], [20]])
THREE = np.array([[1, 0], [0, 1], [0.6, 0.8]])


def unit(n, d, seed=0):
    rows = np.random.default_rng(seed).normal(size=(n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def at_degrees(*angles):
    radians = np.radians(angles)
    return np.column_stack([np.cos(radians), np.sin(radians)])


def test_facility_location_takes_the_row_that_adds_most():
    found = rulesel.pick("facility_location", 3, embeddings=FOUR_ROWS)
    assert found.indices.tolist() == [1, 2, 3]  # 2 and 3 add 1.2 each: a tie, which the lower row wins
    np.testing.assert_allclose(found.keys, [2.2, 1.2, 0.4], atol=1e-9)


@pytest.mark.parametrize("row", range(4))
def test_facility_location_of_each_row_alone(row):
    alone = rulesel.diversity("facility_location", FOUR_ROWS, [row])
    assert alone == pytest.approx([2.1, 2.2, 2.1, 1.8][row])


def test_facility_location_is_the_naive_greedy_on_random_rows():
    rows = unit(60, 6)
    similarity = np.maximum(rows @ rows.T, 0).astype(np.float64)
    covered, expected = np.zeros(60), []
    for _ in range(12):
        gains = np.maximum(similarity - covered, 0).sum(axis=1)
        gains[expected] = -1
        expected.append(int(gains.argmax()))
        covered = np.maximum(covered, similarity[expected[-1]])
    found = rulesel.pick("facility_location", 12, embeddings=rows)
    assert found.indices.tolist() == expected
    assert found.keys.sum() == pytest.approx(covered.sum(), rel=1e-6)


def test_published_similarity_is_the_exponential_of_the_distance_over_the_dimensions():
    rows = np.array([[0, 0], [1, 0], [0, 2.0]])
    found = rulesel.pick("facility_location", 1, embeddings=rows, similarity="published")
    assert found.indices.tolist() == [0]
    assert found.keys[0] == pytest.approx(1 + np.exp(-1 / 2) + np.exp(-2 / 2))


def test_facility_location_from_a_graph_loses_little():
    rows = unit(400, 8)
    dense = rulesel.pick("facility_location", 20, embeddings=rows, neighbors="all")
    sparse = rulesel.pick("facility_location", 20, embeddings=rows, neighbors=64)
    similarity = np.maximum(rows @ rows.T, 0)
    value = [similarity[found.indices].max(axis=0).sum() for found in (dense, sparse)]
    assert value[1] >= 0.98 * value[0]


@pytest.mark.parametrize(
    ("alpha", "picks"), [(0, [1, 2]), (0.3, [2, 1]), (0.5, [2, 1]), (0.7, [2, 3]), (0.9, [3, 2]), (1, [3, 2])]
)
@pytest.mark.parametrize("how", [{"scale": "raw"}, {"mode": "published"}])
def test_qdit_in_the_raw_sum(alpha, picks, how):
    found = rulesel.pick("qdit", 2, embeddings=FOUR_ROWS, quality=FOUR_QUALITY, alpha=alpha, **how)
    assert found.indices.tolist() == picks
    if alpha == 0.5:
        np.testing.assert_allclose(found.keys, [1.5, 0.75], rtol=1e-6)


def test_qdit_normalised_adds_the_share_covered_and_the_mean_percentile():
    found = rulesel.pick("qdit", 2, embeddings=FOUR_ROWS, quality=FOUR_QUALITY, alpha=0.5)
    percentile = np.array([0, 1, 2, 3]) / 3
    gains = np.maximum(FOUR, 0).sum(axis=1) / 4
    first = 0.5 * gains + 0.5 * percentile / 2
    assert found.indices[0] == first.argmax()
    assert found.keys[0] == pytest.approx(first.max())
    covered = FOUR[found.indices[0]]
    second = 0.5 * np.maximum(FOUR - covered, 0).sum(axis=1) / 4 + 0.5 * percentile / 2
    second[found.indices[0]] = -1
    assert found.indices[1] == second.argmax()
    assert found.report["scale"] == "normalised"


def test_qdit_at_its_ends_is_facility_location_and_top_k():
    rows, quality = unit(50, 5), np.random.default_rng(1).random(50)
    for scale in ("raw", "normalised"):
        ends = [
            rulesel.pick("qdit", 9, embeddings=rows, quality=quality, alpha=alpha, scale=scale).indices.tolist()
            for alpha in (0, 1)
        ]
        assert ends[0] == rulesel.pick("facility_location", 9, embeddings=rows).indices.tolist()
        assert ends[1] == rulesel.pick("top_k", 9, quality=quality).indices.tolist()


def test_kcenter_walks_to_the_farthest():
    found = rulesel.pick("kcenter", 3, embeddings=LINE, first=0)
    assert found.indices.tolist() == [0, 5, 3]
    np.testing.assert_allclose(found.keys, [20, 10, 2])


def test_kcenter_counts_what_is_given_and_starts_there():
    found = rulesel.pick("kcenter", 2, embeddings=LINE, given=[0])
    assert found.indices.tolist() == [5, 3]


@pytest.mark.slow
def test_kcenter_is_within_twice_the_best_radius():
    for seed in range(20):
        rows = unit(10, 3, seed)
        distance = np.linalg.norm(rows[:, None] - rows[None], axis=2)
        best = min(distance[list(some)].min(axis=0).max() for some in itertools.combinations(range(10), 3))
        assert rulesel.pick("kcenter", 3, embeddings=rows).keys[-1] <= 2 * best + 1e-6


def test_kcenter_robust_passes_over_outliers():
    rows = np.vstack([np.random.default_rng(0).normal(size=(50, 2)), [[1000, 1000]]])
    assert 50 in rulesel.pick("kcenter", 2, embeddings=rows).indices
    assert 50 not in rulesel.pick("kcenter", 2, embeddings=rows, robust=0.05).indices


def test_first_names_a_row_of_the_whole_pool_when_a_threshold_cuts_it_down():
    pool = Pool(n=6, embeddings=LINE, quality=np.array([0.0, 0, 1, 1, 1, 1]))
    selector = build("rulesel.selection", "kcenter", Selector, {"first": 3})
    assert choose(selector, pool, k=2, threshold=0.5).indices.tolist() == [3, 5]
    with pytest.raises(ValueError, match="first is row 1"):
        choose(build("rulesel.selection", "kcenter", Selector, {"first": 1}), pool, k=2, threshold=0.5)


def test_leader_founds_a_cluster_where_nothing_is_near():
    line = np.array([[0.0], [1], [2], [3]])
    found = rulesel.pick("leader", 4, embeddings=line, threshold=1.2, metric="euclidean")
    assert found.indices.tolist() == [0, 2]
    assert found.report["shortfall"] == 2
    best_last = rulesel.pick(
        "leader", 4, embeddings=line, threshold=1.2, metric="euclidean", quality=[0.1, 0.9, 0.2, 0.8]
    )
    assert best_last.indices.tolist() == [1, 3, 0]


def test_leader_depends_on_the_order():
    line = np.array([[0.0], [2], [1], [3]])
    assert rulesel.pick("leader", 4, embeddings=line, threshold=1.2, metric="euclidean").indices.tolist() == [0, 1]


def test_leader_keeps_the_best_of_copies():
    rows = np.repeat(np.eye(3), 3, axis=0)
    quality = [1, 3, 2, 4, 9, 5, 7, 6, 8]
    found = rulesel.pick("leader", 9, embeddings=rows, quality=quality)
    assert found.indices.tolist() == [4, 8, 1]


@pytest.mark.parametrize("mode", ["corrected", "published"])
def test_deita_counts_only_what_was_kept(mode):
    rows, quality = at_degrees(0, 10, 20), [3, 2, 1]
    found = rulesel.pick("deita", 3, embeddings=rows, quality=quality, threshold=0.98, mode=mode)
    assert found.indices.tolist() == [0, 2]
    assert found.report["too_similar"] == 1
    assert found.report["shortfall"] == 1


def test_deita_in_the_authors_batch_of_two_keeps_the_first_only():
    offered = {"embeddings": at_degrees(0, 10, 20), "quality": [3, 2, 1], "threshold": 0.98}
    assert rulesel.pick("deita", 3, mode="published", batch=2, **offered).indices.tolist() == [0]
    assert rulesel.pick("deita", 3, batch=2, **offered).indices.tolist() == [0, 2]


def test_published_batches_also_count_what_was_passed_over():
    rows, quality = at_degrees(-90, 0, 10, 20), [4, 3, 2, 1]
    parameters = {"embeddings": rows, "quality": quality, "threshold": 0.98}
    kept = rulesel.pick("deita", 4, mode="published", batch=3, **parameters).indices.tolist()
    assert kept == [0, 1]
    assert rulesel.pick("deita", 4, **parameters).indices.tolist() == [0, 1, 3]


def test_deita_is_the_loop_it_stands_for():
    for seed in range(20):
        rows, quality = unit(80, 3, seed), np.random.default_rng(seed).integers(0, 9, 80).astype(float)
        kept = []
        for row in np.argsort(-quality, kind="stable"):
            if len(kept) < 15 and all(rows[row] @ rows[one] <= 0.8 for one in kept):
                kept.append(int(row))
        found = rulesel.pick("deita", 15, embeddings=rows, quality=quality, threshold=0.8)
        assert found.indices.tolist() == kept


@pytest.mark.parametrize(("distance", "similarity"), [(0.5, 0.99870), (1, 0.99740), (2, 0.99481)])
@pytest.mark.parametrize("how", [("facility_location", {"similarity": "published"}), ("superfiltering_d", {})])
def test_published_similarity_in_384_dimensions(distance, similarity, how):
    method, parameters = how
    rows = np.zeros((2, 384))
    rows[1, 0] = distance
    parameters = parameters or {"mode": "published"}
    found = rulesel.pick(method, 1, embeddings=rows, quality=[0.5, 0.4], **parameters)
    assert found.keys[0] - 1 == pytest.approx(similarity, abs=5e-6)


TRIANGLE = {"a": [1, 0], "b": [0.95, np.sqrt(1 - 0.9025)], "c": [0, 1]}
LABELLED = {"tags": [["a"], ["b"], ["c"], ["a", "c"]], "quality": [20, 18, 5, 12], "tag_embeddings": TRIANGLE}


def test_mig_with_the_exact_gain():
    # quality 12 on a and 6 on c needs two amounts a row: the same information as two tags of 12 and 6 has no tags form
    found = rulesel.pick("mig", 1, **LABELLED)
    flow = np.array([[0.512821, 0.487179, 0], [0.487179, 0.512821, 0], [0, 0, 1]])
    amounts = np.array([[20, 0, 0], [0, 18, 0], [0, 0, 5], [12, 0, 12]])
    gains = ((amounts @ flow) ** 0.8).sum(axis=1)
    assert found.indices[0] == gains.argmax()
    assert found.keys[0] == pytest.approx(gains.max(), rel=1e-5)
    assert gains[:3].tolist() == pytest.approx([12.6185, 11.5985, 3.6239], abs=1e-3)


@pytest.mark.parametrize(
    ("label", "quality", "exact", "linear"),
    [("a", 20, 12.6185, 253.58), ("b", 18, 11.5985, 228.22), ("c", 5, 3.6239, 63.40)],
)
def test_mig_first_gains_in_both_modes(label, quality, exact, linear):
    offered = {"tags": [[label]], "quality": [quality], "tag_embeddings": TRIANGLE}
    assert rulesel.pick("mig", 1, **offered).keys[0] == pytest.approx(exact, abs=1e-4)
    assert rulesel.pick("mig", 1, mode="published", **offered).keys[0] == pytest.approx(linear, abs=0.005)


def test_mig_exact_and_linear_differ_on_a_fresh_label():
    # A = 20 on x, B = 1 on x and on y, C = 19 on x
    offered = {"tags": [["x"], ["x", "y"], ["x"]], "quality": [20, 1, 19]}
    exact = rulesel.pick("mig", 2, **offered)
    linear = rulesel.pick("mig", 2, mode="published", **offered)
    assert exact.indices.tolist() == [0, 2]
    np.testing.assert_allclose(exact.keys, [20**0.8, 39**0.8 - 20**0.8])
    assert exact.keys[1] == pytest.approx(7.758, abs=1e-3)
    assert linear.indices.tolist() == [0, 1]
    slope = 0.8 * np.array([20 + 1e-6, 1e-6]) ** -0.2
    assert linear.keys[1] == pytest.approx(slope.sum())
    assert linear.keys[1] == pytest.approx(13.12, abs=0.01)
    assert linear.keys[0] == pytest.approx(253.58, abs=0.05)


def test_mig_parameters_do_what_they_say():
    apart = rulesel.pick("mig", 4, threshold=1.1, **LABELLED)
    alone = rulesel.pick("mig", 4, propagation=0, **LABELLED)
    assert apart.keys.tolist() == alone.keys.tolist()
    assert alone.keys.max() == pytest.approx(2 * 12**0.8)
    halved = rulesel.pick("mig", 4, propagation=0, normalise_quality=True, **LABELLED)
    assert halved.indices[0] == 0
    flat = rulesel.pick("mig", 1, propagation=0, phi="exponential:2", **LABELLED)
    assert flat.indices.tolist() == [3]
    assert flat.keys[0] == pytest.approx(2 * -np.expm1(-24))
    root = rulesel.pick("mig", 1, propagation=0, phi=0.5, **LABELLED)
    assert root.keys[0] == pytest.approx(2 * 12**0.5)
    with pytest.raises(UsageError, match="phi"):
        rulesel.pick("mig", 1, phi="cubic", **LABELLED)


def test_mig_takes_rows_without_a_known_label_last_and_says_so():
    offered = {"tags": [[], ["a"], ["zzz"], ["c"]], "quality": [9, 1, 9, 2], "tag_embeddings": TRIANGLE}
    found = rulesel.pick("mig", 4, **offered)
    assert found.indices.tolist() == [3, 1, 0, 2]
    assert found.keys[2:].tolist() == [0, 0]
    assert found.report["unlabelled"] == 2
    assert found.report["unknown_labels"] == 1


def test_mig_scaled_quality_keeps_the_exact_choice():
    rng = np.random.default_rng(0)
    tags = [[int(t) for t in rng.choice(9, size=2, replace=False)] for _ in range(40)]
    quality, vectors = rng.random(40), unit(9, 3)
    one, other = (
        rulesel.pick("mig", 12, tags=tags, quality=quality * c, tag_embeddings=vectors, threshold=0.3).indices.tolist()
        for c in (1, 512)
    )
    assert one == other


def test_novelselect_published_numbers():
    found = rulesel.pick("novelselect", 3, embeddings=THREE, first=0, neighbors=1, mode="published")
    assert found.indices.tolist() == [0, 1, 2]
    np.testing.assert_allclose(found.keys[1:], [2.699173, 0.586145], atol=1e-6)


def test_novelselect_published_number_of_the_row_that_lost():
    quality = [1, 1e-9, 1]
    found = rulesel.pick(
        "novelselect", 1, embeddings=THREE, quality=quality, given=[0], neighbors=1, mode="published", weigh=True
    )
    assert found.indices.tolist() == [2]
    assert found.keys[0] == pytest.approx(1.079669, abs=1e-6)


def test_novelselect_corrected_follows_the_formula():
    found = rulesel.pick("novelselect", 3, embeddings=THREE, first=0, density_power=0)
    assert found.indices.tolist() == [0, 1, 2]
    np.testing.assert_allclose(found.keys[1:], [1.0, 0.2 + 0.4 / 2], atol=1e-6)


def test_novelselect_published_starts_from_the_seed():
    rows = unit(50, 4)
    found = rulesel.pick("novelselect", 3, embeddings=rows, mode="published", seed=42)
    assert found.indices[0] == np.random.RandomState(42).randint(50)


def test_novelselect_weighs_by_quality_when_told_to():
    quality = [1, 1e-9, 1]
    assert rulesel.pick("novelselect", 2, embeddings=THREE, quality=quality, first=0).indices.tolist() == [0, 1]
    weighed = rulesel.pick("novelselect", 2, embeddings=THREE, quality=quality, first=0, weigh=True)
    assert weighed.indices.tolist() == [0, 2]


@pytest.mark.parametrize("mode", ["corrected", "published"])
def test_superfiltering_never_lets_junk_through_the_gate(mode):
    rows = np.vstack([unit(40, 4), 5 * np.eye(4, dtype=np.float32)[:3] * -1])
    ifd = np.concatenate([np.linspace(0.1, 0.9, 40), [1.2, 3.0, 1.0]])
    found = rulesel.pick("superfiltering_d", 4, embeddings=rows, quality=ifd, mode=mode)
    assert not set(found.indices.tolist()) & {40, 41, 42}
    assert found.report["outside_gate"] == 3
    assert found.report["gated"] == 40
    narrow = rulesel.pick("superfiltering_d", 4, embeddings=rows, quality=ifd, mode=mode, gate=2)
    assert set(narrow.indices.tolist()) <= set(range(32, 40))


def test_superfiltering_drops_failures_unless_published():
    ifd = [0.0, np.nan, 0.5, 0.6]
    rows = np.eye(4)
    corrected = rulesel.pick("superfiltering_d", 4, embeddings=rows, quality=ifd)
    published = rulesel.pick("superfiltering_d", 4, embeddings=rows, quality=ifd, mode="published")
    assert set(corrected.indices.tolist()) == {2, 3}
    assert corrected.report["shortfall"] == 2
    assert set(published.indices.tolist()) == {0, 2, 3}


def test_superfiltering_published_maximises_the_exponential_of_the_distance():
    rows = unit(30, 5)
    ifd = np.linspace(0.2, 0.8, 30)
    found = rulesel.pick("superfiltering_d", 3, embeddings=rows, quality=ifd, mode="published")
    similarity = np.exp(-np.linalg.norm(rows[:, None].astype(float) - rows[None], axis=2) / 5)
    covered = np.zeros(30)
    for row, key in zip(found.indices, found.keys, strict=True):
        gains = np.maximum(similarity - covered, 0).sum(axis=1)
        assert key == pytest.approx(gains.max())
        assert gains[row] == pytest.approx(gains.max())
        covered = np.maximum(covered, similarity[row])


def test_a_quality_with_negative_values_is_no_ifd():
    quality = np.linspace(-2, 2, 20)
    found = rulesel.pick("superfiltering_d", 2, embeddings=unit(20, 4), quality=quality, gate=3)
    assert set(found.indices.tolist()) <= set(range(14, 20))
    assert found.report["outside_gate"] == 0


def test_quality_dpp_gains_are_the_log_determinant():
    correlation = np.array([[1, 0.983, 0.9], [0.983, 1, 0.909], [0.9, 0.909, 1]])
    rows, quality = np.linalg.cholesky(correlation), np.array([1, 2, 1.0])
    found = rulesel.pick("quality_dpp", 2, embeddings=rows, quality=quality)
    assert found.indices.tolist() == [1, 2]
    kernel = np.outer(quality, quality) * correlation
    assert found.keys.sum() == pytest.approx(np.linalg.slogdet(kernel[np.ix_(found.indices, found.indices)])[1])


def test_quality_dpp_goes_on_past_the_rank_with_a_window():
    rows, quality = unit(60, 6), np.ones(60)
    assert len(rulesel.pick("quality_dpp", 6, embeddings=rows, quality=quality)) == 6
    found = rulesel.pick("quality_dpp", 25, embeddings=rows, quality=quality)
    assert len(found) == 25
    assert found.report["window"] == 3


@pytest.mark.slow
def test_quality_dpp_samples_in_proportion_to_the_determinant():
    correlation = np.array([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]])
    rows = np.linalg.cholesky(correlation)
    selector = build("rulesel.selection", "quality_dpp", Selector, {"draw": "sample"})
    pool = Pool(n=3, embeddings=rows, quality=np.ones(3))
    drawn = [frozenset(selector.select(pool, 2, seed).indices.tolist()) for seed in range(1500)]
    share = {pair: drawn.count(frozenset(pair)) / 1500 for pair in ((0, 1), (0, 2), (1, 2))}
    for pair, expected in {(0, 1): 0.086758, (0, 2): 0.456621, (1, 2): 0.456621}.items():
        assert abs(share[pair] - expected) < 4 * np.sqrt(expected * (1 - expected) / 1500)
    with pytest.raises(ValueError, match="already chosen"):
        rulesel.pick("quality_dpp", 1, embeddings=rows, quality=np.ones(3), draw="sample", given=[0])


def clustered():
    rng = np.random.default_rng(0)
    centers = np.eye(3, 8)
    labels = np.repeat([0, 1, 2], [52, 11, 3])
    return centers[labels] + rng.normal(scale=0.02, size=(66, 8)), labels, rng.random(66)


def test_strata_get_their_share_and_small_ones_are_not_lost():
    rows, labels, _ = clustered()
    six = rulesel.pick("kmeans_stratified", 6, embeddings=rows, clusters=3)
    assert np.bincount(labels[six.indices], minlength=3).tolist() == [5, 1, 0]
    equal = rulesel.pick("kmeans_stratified", 12, embeddings=rows, clusters=3, allocation="equal")
    assert np.bincount(labels[equal.indices], minlength=3).tolist() == [5, 4, 3]


def test_strata_count_what_is_given():
    rows, labels, _ = clustered()
    found = rulesel.pick("kmeans_stratified", 6, embeddings=rows, clusters=3, allocation="equal", given=[60, 61, 62])
    assert np.bincount(labels[found.indices], minlength=3).tolist() == [3, 0, 3]


def test_nearest_within_a_stratum_lies_by_its_center():
    rows, labels, _ = clustered()
    found = rulesel.pick("kmeans_stratified", 3, embeddings=rows, clusters=3, allocation="equal", within="nearest")
    unit_rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    for row in found.indices:
        members = np.flatnonzero(labels == labels[row])
        gaps = np.linalg.norm(unit_rows[members] - unit_rows[members].mean(axis=0), axis=1)
        assert members[gaps.argmin()] == row


def test_cluster_top_takes_the_best_of_every_cluster():
    rows, labels, quality = clustered()
    found = rulesel.pick("cluster_top", 3, embeddings=rows, quality=quality, clusters=3, allocation="equal")
    best = {int(np.flatnonzero(labels == c)[quality[labels == c].argmax()]) for c in range(3)}
    assert set(found.indices.tolist()) == best
    one = rulesel.pick("cluster_top", 9, embeddings=rows, quality=quality, clusters=1)
    assert one.indices.tolist() == rulesel.pick("top_k", 9, quality=quality).indices.tolist()


def test_too_many_rows_are_refused_at_once_with_the_alternative():
    rows = np.zeros((70_000, 2), dtype=np.float32)
    with pytest.raises(ValueError, match="neighbors=64"):
        rulesel.pick("facility_location", 5, embeddings=rows, neighbors="all")
    with pytest.raises(ValueError, match='similarity="cosine"'):
        rulesel.pick("facility_location", 5, embeddings=rows, similarity="rbf")
    wide = np.broadcast_to(np.float32(1), (3_000_000, 384))
    with pytest.raises(ValueError, match="use qdit"):
        rulesel.pick("quality_dpp", 100_000, embeddings=wide, quality=np.broadcast_to(1.0, 3_000_000))
    with pytest.raises(ValueError, match="use kcenter"):
        rulesel.pick("novelselect", 100_000, embeddings=wide)


OFFERED = {
    "embeddings": unit(20, 4),
    "quality": np.linspace(0.1, 0.9, 20),
    "tags": [["a"], ["b"]] * 10,
    "tag_embeddings": TRIANGLE,
}


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("facility_location", {"baseline": np.nan}),
        ("facility_location", {"bandwidth": np.inf}),
        ("facility_location", {"similarity": "dot"}),
        ("superfiltering_d", {"gate": np.inf}),
        ("superfiltering_d", {"below": np.nan}),
        ("qdit", {"alpha": 1.1}),
        ("qdit", {"scale": "norm"}),
        ("kcenter", {"first": -1}),
        ("kcenter", {"first": 2.5}),
        ("kcenter", {"metric": "manhattan"}),
        ("deita", {"threshold": np.nan}),
        ("leader", {"threshold": np.inf}),
        ("mig", {"propagation": np.inf}),
        ("mig", {"threshold": 0}),
        ("mig", {"phi": 1.5}),
        ("mig", {"phi": "exponential:nan"}),
        ("mig", {"normalise_quality": 3}),
        ("novelselect", {"neighbors": 0}),
        ("novelselect", {"density_power": np.inf}),
        ("novelselect", {"distance_power": np.nan}),
    ],
)
def test_a_bad_value_is_refused_in_one_line_that_names_it(method, parameters):
    with pytest.raises(UsageError, match=f"{method}: {next(iter(parameters))}") as refusal:
        rulesel.pick(method, 3, **OFFERED, **parameters)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("given", [[1.5], ["a"], [[1]], 5, [20], [-1]])
def test_given_rows_that_are_none_are_refused(given):
    with pytest.raises(ValueError, match="given"):
        rulesel.pick("kcenter", 3, given=given, **OFFERED)


def test_a_part_of_a_row_cannot_be_picked():
    with pytest.raises(ValueError, match="whole number"):
        rulesel.pick("kcenter", 2.5, **OFFERED)
