"""Two selections side by side."""

import json

import pytest

from rulesel.config import PickConfig, ScoreConfig, check
from rulesel.errors import UnknownName, UsageError
from rulesel.pipeline import score
from rulesel.pipeline.comparing import compare, store_of
from rulesel.pipeline.selecting import select
from rulesel.store import Store


@pytest.fixture
def selections(run_config, tmp_path):
    values = run_config().model_dump(exclude={"select", "out", "as_"})
    score(check(ScoreConfig, values))
    receipts = {}
    for method in ("top_k", "longest", "random"):
        config = {
            "select": {"method": method, "k": 40},
            "store": str(tmp_path / "store.duckdb"),
            "out": str(tmp_path / f"{method}.jsonl"),
        }
        select(check(PickConfig, config))
        receipts[method] = tmp_path / f"{method}.jsonl.receipt.json"
    return receipts


def test_overlap_swaps_and_shifts(selections, tmp_path):
    with Store(tmp_path / "store.duckdb") as store:
        found = compare(store, str(selections["top_k"]), str(selections["longest"]))
    outs = {name: (tmp_path / f"{name}.jsonl").read_text().splitlines() for name in ("top_k", "longest")}
    both = len(set(outs["top_k"]) & set(outs["longest"]))
    overlap = found["overlap"]
    assert overlap["both"] == both
    assert overlap["only_A"] == overlap["only_B"] == 40 - both
    assert overlap["jaccard"] == pytest.approx(both / (80 - both))
    top = [one for one in outs["top_k"] if one not in set(outs["longest"])]
    assert [one["response"] for one in found["swaps"]["only_A"]] == [json.loads(one)["output"] for one in top[:5]]
    shifts = found["shifts"]
    assert shifts["A"]["mean_score"] > shifts["pool"]["mean_score"]
    assert shifts["B"] == shifts["longest"]
    assert shifts["B"]["mean_length"] > shifts["A"]["mean_length"]
    assert set(found["measures"]) == {"A", "B", "random", "longest"}
    assert found["measures"]["B"] == pytest.approx(found["measures"]["longest"], nan_ok=True)
    assert found["spread"]["knn"] > 0
    assert found["sources"]["field"] == "source"
    assert sum(found["sources"]["shares"]["A"].values()) == pytest.approx(1)


def test_a_selection_is_itself(selections, tmp_path):
    with Store(tmp_path / "store.duckdb") as store:
        identity = json.loads(selections["random"].read_text())["selection"]["id"]
        found = compare(store, identity[:9], identity.removeprefix("b2-")[:8])
        assert found["overlap"]["jaccard"] == 1
        assert found["swaps"] == {"only_A": [], "only_B": []}
        with pytest.raises(UnknownName, match="selection"):
            compare(store, identity, "zzz")
        with pytest.raises(UsageError, match="No record has a field 'mood'"):
            compare(store, identity, identity, source="mood")


def test_selections_of_two_corpora_are_matched_by_content(selections, run_config, corpus, tmp_path):
    lines = corpus.read_text().splitlines()
    other = tmp_path / "other.jsonl"
    moved = [json.dumps(json.loads(line) | {"seen": True}) for line in reversed(lines[100:])]
    fresh = {"instruction": "New", "input": "", "output": "one two " * 200, "source": "s9"}
    other.write_text("\n".join([json.dumps(fresh), json.dumps(fresh), *moved]) + "\n")
    values = run_config(corpus={"path": str(other)}).model_dump(exclude={"select", "out", "as_"})
    score(check(ScoreConfig, values))
    out = tmp_path / "b.jsonl"
    pick = {"select": {"method": "longest", "k": 40}, "store": str(tmp_path / "store.duckdb"), "duplicates": "keep-all"}
    select(check(PickConfig, pick | {"out": str(out)}))
    with Store(tmp_path / "store.duckdb") as store:
        found = compare(store, str(selections["longest"]), str(out))
        turned = compare(store, str(out), str(selections["longest"]))
    texts = [
        [json.loads(line)["instruction"] for line in (tmp_path / name).read_text().splitlines()]
        for name in ("longest.jsonl", "b.jsonl")
    ]
    both = len(set(texts[0]) & set(texts[1]))
    assert found["overlap"]["both"] == turned["overlap"]["both"] == both > 10
    assert found["overlap"]["only_B"] == 40 - both
    assert [one["row"] for one in found["swaps"]["only_B"]][:2] == [0, 1]
    assert found["swaps"]["only_B"][0]["response"] == fresh["output"]
    assert found["sources"]["shares"]["B"]["s9"] == pytest.approx(2 / 40)
    assert found["sources"]["shares"]["A"]["s9"] == 0
    assert found["shifts"]["B"]["mean_length"] > found["shifts"]["A"]["mean_length"] > 0


def test_the_store_is_found_by_the_receipt(selections, tmp_path):
    assert store_of(str(selections["top_k"]), "b2-0") == tmp_path / "store.duckdb"
    assert store_of("b2-0", str(tmp_path / "top_k.jsonl")) == tmp_path / "store.duckdb"
    with pytest.raises(UsageError, match="--store"):
        store_of("b2-0", "b2-1")
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    with pytest.raises(UsageError, match="no receipt"):
        store_of(str(broken), "b2-1")
