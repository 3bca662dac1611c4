"""Conformance: what every selection method promises, checked on every one that discovery finds."""

import importlib
import inspect

import numpy as np
import orjson
import pytest

from rulesel.errors import UnknownName, UsageError
from rulesel.plugins import build, find, names
from rulesel.selection import Pool, Selector, choose
from rulesel.selection._pick import pick

PACKAGE = "rulesel.selection"
METHODS = names(PACKAGE)
N = 60


def pool(n=N, seed=0, **changes):
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(n, 8)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    fields = {
        "n": n,
        "ids": rng.permutation(10 * n)[:n].astype(np.uint64),
        "quality": rng.random(n),
        "embeddings": embeddings,
        "tags": [sorted({f"t{t}" for t in rng.integers(0, 12, size=3)}) for _ in range(n)],
        "tag_embeddings": {f"t{t}": rng.normal(size=4) for t in range(12)},
        "columns": {"length": rng.integers(1, 50, n).astype(float)},
        "token_counts": rng.integers(1, 100, n),
    }
    made = Pool(**fields | changes)
    for value in (made.ids, made.quality, made.embeddings, made.token_counts, *made.columns.values()):
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
    return made


def selector(name):
    return build(PACKAGE, name, Selector, {})


@pytest.fixture(params=METHODS)
def method(request):
    return selector(request.param)


@pytest.mark.parametrize("k", [1, 7, N])
def test_k_distinct_rows_come_back_with_their_keys(method, k):
    found = method.select(pool(), k, seed=3)
    assert found.indices.dtype == np.int64
    assert found.keys.dtype == np.float64
    assert len(found.indices) == len(found.keys)
    assert len(found.indices) + found.report.get("shortfall", 0) == k
    assert len(set(found.indices.tolist())) == len(found.indices)
    assert found.indices.min() >= 0
    assert found.indices.max() < N


def test_the_same_seed_gives_the_same_picks(method):
    first, second = method.select(pool(), 9, seed=5), method.select(pool(), 9, seed=5)
    assert first.indices.tolist() == second.indices.tolist()
    assert first.keys.tolist() == second.keys.tolist()


def shuffled(offered, order):
    return Pool(
        n=len(order),
        ids=offered.ids[order],
        quality=offered.quality[order],
        embeddings=offered.embeddings[order],
        tags=[offered.tags[i] for i in order],
        tag_embeddings=offered.tag_embeddings,
        columns={name: values[order] for name, values in offered.columns.items()},
        token_counts=offered.token_counts[order],
    )


def full_of_ties():
    rng = np.random.default_rng(4)
    kinds = rng.integers(0, 9, N)
    return pool(
        quality=np.round(rng.random(N), 1),
        embeddings=pool().embeddings[kinds],
        tags=[[f"t{kind}"] for kind in kinds],
        columns={"length": np.round(rng.random(N), 1)},
    )


@pytest.mark.parametrize("offered", [pool(), full_of_ties()], ids=["distinct", "full of ties"])
def test_the_order_of_rows_does_not_matter_where_ids_are_given(method, offered):
    order = np.random.default_rng(1).permutation(N)
    again = shuffled(offered, order)
    picked = offered.ids[method.select(offered, 10, seed=2).indices].tolist()
    assert again.ids[method.select(again, 10, seed=2).indices].tolist() == picked


def test_ids_may_be_strings(method):
    offered = pool(ids=np.array([f"row {i:02}" for i in np.random.default_rng(3).permutation(N)]))
    order = np.random.default_rng(1).permutation(N)
    again = shuffled(offered, order)
    picked = offered.ids[method.select(offered, 10, seed=2).indices].tolist()
    assert again.ids[method.select(again, 10, seed=2).indices].tolist() == picked


def test_rows_already_chosen_are_not_picked_again(method):
    given = np.array([3, 8, 21], dtype=np.int64)
    found = method.select(pool(given=given), 20, seed=0)
    assert not set(found.indices.tolist()) & set(given.tolist())


def test_ties_and_duplicates_are_settled(method):
    embeddings = np.repeat(np.eye(4, 8, dtype=np.float32), N // 4, axis=0)
    offered = pool(quality=np.ones(N), embeddings=embeddings, columns={"length": np.ones(N)})
    found = method.select(offered, 10, seed=0)
    assert len(set(found.indices.tolist())) == len(found.indices)
    assert len(found.indices) + found.report.get("shortfall", 0) == 10


def test_rows_without_quality_are_left_out_and_counted(method):
    if "quality" not in method.reads:
        pytest.skip("does not read quality")
    quality = pool().quality.copy()
    quality[:11] = np.nan
    found = method.select(pool(quality=quality), N, seed=0)
    assert not set(found.indices.tolist()) & set(range(11))
    assert found.report["excluded"] == 11
    assert found.report["shortfall"] >= 11


def test_rows_without_an_embedding_are_left_out_and_counted(method):
    if "embeddings" not in method.reads:
        pytest.skip("does not read embeddings")
    embeddings = pool().embeddings.copy()
    embeddings[5:9, 3] = np.nan
    found = method.select(pool(embeddings=embeddings), N, seed=0)
    assert not set(found.indices.tolist()) & set(range(5, 9))
    assert found.report["excluded"] == 4
    assert found.report["shortfall"] >= 4


def test_a_row_of_zeros_is_refused_by_name_or_stands_alone(method):
    if "embeddings" not in method.reads:
        pytest.skip("does not read embeddings")
    embeddings = pool().embeddings.copy()
    embeddings[17] = 0
    if method.name != "kcenter":  # Euclidean: there a row of zeros is a place like any other
        with pytest.raises(ValueError, match="all zeros"):
            method.select(pool(embeddings=embeddings), 7, seed=0)
    isolated = build(PACKAGE, method.name, Selector, {"zero": "isolate"})
    assert len(isolated.select(pool(embeddings=embeddings), 7, seed=0)) == 7


def test_infinity_is_refused(method):
    if "embeddings" in method.reads:
        embeddings = pool().embeddings.copy()
        embeddings[3, 3] = np.inf
        with pytest.raises(ValueError, match="infinity"):
            method.select(pool(embeddings=embeddings), 7, seed=0)


def test_copies_wait_until_every_other_row_is_used(method):
    if method.name not in {"facility_location", "kcenter", "quality_dpp", "deita", "leader"}:
        pytest.skip("copies are no concern of this method")
    kinds = np.random.default_rng(0).integers(0, 7, N)
    found = method.select(pool(embeddings=pool().embeddings[kinds], quality=np.ones(N)), 7, seed=0)
    assert len(set(kinds[found.indices].tolist())) == len(found) == 7


def test_embeddings_may_lie_in_a_file(method, tmp_path):
    offered = pool()
    np.save(tmp_path / "vectors.npy", offered.embeddings)
    mapped = pool(embeddings=np.load(tmp_path / "vectors.npy", mmap_mode="r"))
    assert method.select(mapped, 9, seed=0).indices.tolist() == method.select(offered, 9, seed=0).indices.tolist()


@pytest.mark.parametrize("name", ["random", "top_k", "longest"])
def test_picking_from_shards_first_changes_nothing(name):
    offered, method = full_of_ties(), selector(name)
    kept = np.sort(
        np.concatenate(
            [
                shard[method.select(shuffled(offered, shard), 8, seed=6).indices]
                for shard in np.array_split(np.random.default_rng(0).permutation(N), 5)
            ]
        )
    )
    merged = kept[method.select(shuffled(offered, kept), 8, seed=6).indices]
    assert merged.tolist() == method.select(offered, 8, seed=6).indices.tolist()


def test_a_larger_k_begins_with_the_picks_of_a_smaller(method):
    by_k = {"gumbel", "qdit", "superfiltering_d", "quality_dpp", "kmeans_stratified", "cluster_top", "mixture"}
    if method.name in by_k:
        pytest.skip("what it maximises depends on k, by its own account")
    small, large = (method.select(pool(), k, seed=0).indices.tolist() for k in (6, 15))
    assert large[:6] == small


def test_what_a_method_reports_can_be_written_down(method):
    found = method.select(pool(), 9, seed=0)
    assert orjson.loads(orjson.dumps(found.report)) == found.report


def test_what_a_method_reads_it_asks_for(method):
    if not method.reads:
        pytest.skip("reads nothing")
    with pytest.raises(ValueError, match=f"reads '{method.reads[0]}'"):
        method.select(Pool(n=N), 3, seed=0)


def test_parameters_survive_json_and_make_the_identity(method):
    again = type(method).model_validate_json(method.model_dump_json())
    assert again == method
    assert again.id == method.id


def test_every_method_says_what_it_is_for(method):
    assert method.summary
    assert method.cost
    assert inspect.getdoc(importlib.import_module(f"{PACKAGE}.{method.name}"))


def test_a_wrong_name_suggests_the_right_one():
    with pytest.raises(UnknownName, match="Did you mean 'longest'"):
        find(PACKAGE, "longset", Selector)


def test_a_wrong_parameter_is_named_with_those_there_are():
    with pytest.raises(UsageError, match=r"temperature.*Parameters: .*tau"):
        build(PACKAGE, "gumbel", Selector, {"temperature": 1})


def test_a_bad_parameter_is_named_in_its_own_words():
    with pytest.raises(
        UsageError, match=r"^gumbel: tau: Input should be a valid number.*; tau: Input should be 'auto'"
    ):
        build("rulesel.selection", "gumbel", Selector, {"tau": "much"})
    with pytest.raises(UsageError, match=r"^mixture: parts: given belongs to the mixture"):
        build("rulesel.selection", "mixture", Selector, {"parts": [{"method": "top_k", "parameters": {"given": [1]}}]})


def test_a_column_cannot_stand_for_a_part_of_the_pool():
    quality, other = np.arange(5.0), np.arange(5.0)[::-1]
    with pytest.raises(ValueError, match="A column cannot be called 'quality'"):
        pick("top_k", 2, quality=quality, columns={"quality": other})
    with pytest.raises(ValueError, match="A column cannot be called 'embeddings'"):
        pick("kcenter", 2, quality=quality, columns={"embeddings": other})
    with pytest.raises(ValueError, match=r"texts or columns\['length'\], not both"):
        pick("longest", 2, texts=list("abcde"), columns={"length": other})
    assert pick("longest", 2, quality=quality, columns={"length": other}).indices.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("gumbel", {"tau": 1000.0}),
        ("gumbel", {"tau": float("inf")}),
        ("mixture", {"parts": [{"method": "top_k"}, {"method": "gumbel", "parameters": {"tau": 1000.0}}]}),
    ],
)
def test_a_draw_without_influence_of_the_quality_says_so(method, params):
    found = pick(method, 10, quality=np.random.default_rng(0).normal(size=60), **params)
    assert any("quality has no influence" in one for one in found.report["warnings"])


def test_a_draw_among_equal_qualities_says_so_once_in_all_groups():
    quality = np.ones(60)
    assert "all qualities are equal" in pick("gumbel", 10, quality=quality).report["warnings"][0]
    gumbel = build(PACKAGE, "gumbel", Selector, {})
    grouped = choose(gumbel, Pool(n=60, quality=quality), groups=[str(i % 3) for i in range(60)], per_group=5)
    assert len(grouped.report["warnings"]) == 1
    assert "warnings" not in pick("gumbel", 60, quality=quality).report  # all are picked
    assert "warnings" not in pick("gumbel", 40, quality=np.arange(60.0)).report
