"""Conformance: what every selection method promises, checked on every one that discovery finds."""

import importlib
import inspect

import numpy as np
import pytest

from rulesel.errors import UnknownName, UsageError
from rulesel.plugins import build, find, names
from rulesel.selection import Pool, Selector

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


def test_the_order_of_rows_does_not_matter_where_ids_are_given(method):
    offered = pool()
    order = np.random.default_rng(1).permutation(N)
    shuffled = Pool(
        n=N,
        ids=offered.ids[order],
        quality=offered.quality[order],
        embeddings=offered.embeddings[order],
        tags=[offered.tags[i] for i in order],
        tag_embeddings=offered.tag_embeddings,
        columns={name: values[order] for name, values in offered.columns.items()},
        token_counts=offered.token_counts[order],
    )
    picked = set(offered.ids[method.select(offered, 10, seed=2).indices].tolist())
    again = set(shuffled.ids[method.select(shuffled, 10, seed=2).indices].tolist())
    assert picked == again


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
    with pytest.raises(UsageError, match=r"temperature.*Parameters: tau"):
        build(PACKAGE, "gumbel", Selector, {"temperature": 1})
