"""Every value of a receipt is derived and compared, or is recorded only; what is no receipt is refused in one line."""

import contextlib
import copy
import importlib
import json
import os
from pathlib import Path

import orjson
import pytest

from rulesel.config import PickConfig, RunConfig, check, load
from rulesel.errors import RuleselError, UsageError
from rulesel.pipeline import Watcher, run
from rulesel.pipeline.explaining import verify_file
from rulesel.pipeline.run_report import report_file
from rulesel.pipeline.selecting import select
from rulesel.receipt import as_receipt, read_receipt, verify
from rulesel.store import Store

pytestmark = pytest.mark.slow

MADE = ("every", "read", "apart", "human", "spread", "tagged")


def make(name):
    """A receipt of each kind, by name."""
    if name in {"every", "read"}:
        config = load(Path(f"{name}.yaml"))
    elif name == "apart":  # negative rules, quotas, a threshold, another method of choosing
        config = load(Path("every.yaml")) | {"seed": 5, "as": "alpaca", "out": "apart.jsonl"}
        config["rules"] = config["rules"] | {"keep": 4, "method": "top", "weights": "decorrelated"}
        config["select"] = {"k": 6, "per": {"source": 2}, "threshold": -0.8, "method": "gumbel"}
    else:
        chosen = {
            "human": {"quality": "human", "k": 5, "max_tokens": 400},
            "spread": {"quality": "human", "method": "kcenter", "k": 5},
            "tagged": {"quality": "overall", "method": "mig", "k": 5, "embedding": "own", "tags": "clusters:3"},
        }[name]
        config = {"select": chosen, "store": "store.duckdb", "out": f"{name}.jsonl"}
        against = ["corpus.jsonl"] if name == "human" else []
        select(check(PickConfig, config), Watcher(), against=against)
        return
    run(check(RunConfig, config | {"yes": True}), Watcher())


def leaves(value, path=()):
    """Path to every value that holds no other, and to every key."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*path, key)
            yield from leaves(inner, (*path, key))


def other(value):
    """Another value of the same kind, and one of another kind."""
    if isinstance(value, bool):
        return [not value, "yes"]
    if isinstance(value, int):
        return [value + 1, -value - 1, float(value) + 0.5, str(value), None]
    if isinstance(value, float):
        return [value * 1.001 + 1e-6, -value - 1, str(value), None]
    if isinstance(value, str):
        return [value + "x", value[:-1] if len(value) > 1 else "", 7, None]
    if value is None:
        return [3, "x", [], {}]
    return [None, "x", 5, [1]]


def changed(receipt, path, value):
    made = copy.deepcopy(receipt)
    inner = made
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return made


def without(receipt, path):
    made = copy.deepcopy(receipt)
    inner = made
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return made


class RefusedInOneLine(Exception):
    """As it should be."""


@contextlib.contextmanager
def in_one_line():
    """Turn an error for the user into `RefusedInOneLine` if it is one."""
    refused = None
    try:
        yield
    except RuleselError as error:
        refused = str(error)
    if refused is not None:
        assert "\n" not in refused
        assert len(refused) < 1000
        raise RefusedInOneLine


def verified(receipt, store):
    """Whether it is; a receipt that is refused is not."""
    with contextlib.suppress(RefusedInOneLine), in_one_line():
        return all(one.agrees for one in verify(as_receipt(orjson.loads(orjson.dumps(receipt))), store, Path()))
    return False


def once_for_each():
    """The derivation from what it may read alone, made once for the same."""
    made, again = {}, importlib.import_module("rulesel.receipt.verify")._again

    def derive(receipt, store):
        read = {
            **{name: receipt[name] for name in ("config", "rules", "raters") if name in receipt},
            "corpus": {name: receipt["corpus"][name] for name in ("sha256", "mapping", "limit")},
            "output": {"name": receipt["output"]["name"]},
            "selection": {"report": {"features": receipt["selection"]["report"].get("features", {})}},
        }
        key = orjson.dumps(read)
        if key not in made:
            try:
                made[key] = again(read, store)
            except (RuleselError, ValueError, TypeError, LookupError, ArithmeticError) as error:
                made[key] = error
        if isinstance(made[key], Exception):
            raise made[key]
        return made[key]

    return derive


@pytest.mark.parametrize("name", MADE)
def test_no_value_can_be_changed_and_no_key_deleted(name, old, monkeypatch):
    make(name)
    receipt = json.loads(Path(f"{name}.jsonl.receipt.json").read_text())
    taken = []
    monkeypatch.setattr(importlib.import_module("rulesel.receipt.verify"), "_again", once_for_each())
    with Store(Path("store.duckdb"), read_only=True) as store:
        assert verified(receipt, store)
        for path in leaves(receipt):
            inner = receipt
            for key in path:
                inner = inner[key]
            values = [None, [inner]] if isinstance(inner, dict | list) else other(inner)
            for value in values[:1] if path[0] == "config" else values:
                if verified(changed(receipt, path, value), store):
                    taken.append((path, value))
            if verified(without(receipt, path), store):
                taken.append((path, "deleted"))
        assert {path[0] for path, _ in taken} == {"recorded"}, [one for one in taken if one[0][0] != "recorded"]
        assert (("recorded",), "deleted") not in taken
        assert not verified(receipt | {"more": 1}, store)


def test_what_is_recorded_only_is_said_to_be_so(old):
    make("read")
    receipt = json.loads(Path("read.jsonl.receipt.json").read_text())
    assert receipt["receipt"] == 2
    assert set(receipt["recorded"]) == {"packages", "store", "corpus", "output", "settings", "origin"}
    assert "concurrency" in receipt["recorded"]["settings"]
    assert set(receipt["recorded"]["settings"]).isdisjoint(receipt["config"])


def test_a_difference_is_named(old):
    make("every")
    path = Path("every.jsonl.receipt.json")
    receipt = json.loads(path.read_text())
    receipt["choice"]["rules"][1]["mean"] += 0.25
    receipt["counts"]["in"] += 1
    del receipt["counts"]["duplicates"]
    path.write_text(json.dumps(receipt))
    found = {one.what: one.detail for one in verify_file(path) if not one.agrees}
    assert set(found) == {"choice", "counts"}
    assert found["choice"].startswith("choice.rules[1].mean is ")
    assert "counts.in is 40 in the receipt, 39 by the store" in found["counts"]
    assert "counts.duplicates is not in the receipt" in found["counts"]


def test_a_receipt_of_the_version_that_permuted_columns_is_named_as_such(old):
    (only,) = verify_file(Path("every.jsonl.receipt.json"))
    assert not only.agrees
    assert only.what == "derivation"
    assert "earlier version of rulesel, which took the ratings of rules from the wrong columns" in only.detail
    config = {"select": {"k": 8}, "store": "store.duckdb", "out": "best.jsonl"}
    receipt = json.loads(Path("own.jsonl.receipt.json").read_text())
    receipt["config"] |= {"select": receipt["config"]["select"] | config["select"] | {"quality": "score"}}
    Path("own.jsonl.receipt.json").write_text(json.dumps(receipt))
    (only,) = verify_file(Path("own.jsonl.receipt.json"))
    assert (only.what, only.agrees) == ("derivation", False)


@pytest.mark.parametrize("name", ["selected", "read", "own"])
def test_an_older_receipt_is_compared_with_all_it_holds(name, old):
    receipt = json.loads(Path(f"{name}.jsonl.receipt.json").read_text())
    with Store(Path("store.duckdb"), read_only=True) as store:
        assert verified(receipt, store)
        for path in (("counts", "in"), ("selection", "n"), ("run",), ("corpus", "shape"), ("config", "seed")):
            inner = receipt
            for key in path:
                inner = inner[key]
            assert not verified(changed(receipt, path, other(inner)[0]), store), path
        if "choice" in receipt:
            for key in ("name", "text", "q", "mean", "sd", "inclusion", "residual", "weight"):
                made = copy.deepcopy(receipt)
                made["choice"]["rules"][0][key] = other(made["choice"]["rules"][0][key])[0]
                assert not verified(made, store), key


def test_rules_that_have_other_names_now_are_derived_under_those_they_had(old):
    make("every")
    rules = Path("rules.yaml").read_text()
    Path("renamed.yaml").write_text(rules.replace("name: ", "name: a "))
    config = load(Path("every.yaml")) | {"out": "renamed.jsonl"}
    config["rules"] = config["rules"] | {"source": "renamed.yaml"}
    run(check(RunConfig, config), Watcher())
    for name in ("every", "renamed"):
        assert all(one.agrees for one in verify_file(Path(f"{name}.jsonl.receipt.json"))), name


HOSTILE = {
    "empty": b"",
    "no JSON": b"PK\x03\x04",
    "a list": b"[]",
    "a number": b"1",
    "nothing": b"null",
    "not a number": b'{"receipt": NaN}',
    "infinity": b'{"receipt": 1e999}',
    "huge": b'{"receipt": ' + b"9" * 5000 + b"}",
    "a truth": b'{"receipt": true}',
    "version 3": b'{"receipt": 3}',
    "a marker": b'{"receipt": "1, in the layout of 2"}',
    "alone 1": b'{"receipt": 1}',
    "alone 2": b'{"receipt": 2}',
    "deep": b'{"receipt": 2, "config": ' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}",
    "deeper": b"[" * 100_000,
    "surrogate": b'{"receipt": 2, "run": "\\ud800"}',
    "bytes": b'{"receipt": 2, "run": "\xff"}',
    "wrong inside 1": b'{"receipt": 1, "config": [], "selection": 3}',
    "wrong inside 2": b'{"receipt": 1, "config": {"rules": 3}, "selection": {"report": {}}, "output": {"path": 3}}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_receipt_is_refused_in_one_line(name, tmp_path):
    path = tmp_path / "r.json"
    path.write_bytes(HOSTILE[name])
    for function in (verify_file, report_file):
        with pytest.raises(UsageError) as refused:
            function(path)
        assert str(path) in str(refused.value)
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 600


def test_no_file_a_folder_a_pipe_and_an_impossible_name_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "pipe", Path("/dev/zero"), Path("a\0b"), Path("x" * 5000)):
        with pytest.raises(UsageError) as refused:
            read_receipt(path)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("output", "name"), "../selected.jsonl"),
        (("output", "name"), "/etc/passwd"),
        (("output", "name"), "a\\..\\b"),
        (("output", "name"), ""),
        (("output", "name"), "a\0b"),
        (("recorded",), []),
        (("recorded", "store"), "/dev/zero"),
        (("recorded", "store"), "md:elsewhere"),
        (("recorded", "store"), "a\0b"),
        (("recorded", "store"), "x" * 5000),
        (("recorded", "store"), ["store.duckdb"]),
        (("config", "seed"), 10**18),
        (("config", "seed"), 1e300),
        (("config", "rules", "sample"), 10**18),
        (("config", "rules", "keep"), 10**18),
        (("config", "select", "k"), 10**18),
        (("config", "select", "threshold"), 1e308),
        (("config", "select", "method"), "os.system"),
        (("config", "select", "parameters"), {"x": "y" * 10_000}),
        (("config", "judge"), "x" * 10_000),
        (("config", "rules"), 3),
        (("config", "corpus"), 3),
        (("corpus", "limit"), 2**63),
        (("corpus", "mapping"), {"a": [1]}),
        (("rules", "names"), ["a"]),
        (("rules", "names"), ["", "b", "c", "d", "e"]),
        (("raters", "sample"), "b2-nobody"),
        (("raters", "other"), "b2-nobody"),
        (("selection", "report", "features"), {"embeddings": "../../x"}),
        (("choice", "rules"), [1]),
    ],
)
def test_a_hostile_value_is_refused_or_differs_in_one_line(where, value, old):
    make("every")
    path = Path("every.jsonl.receipt.json")
    path.write_bytes(orjson.dumps(changed(json.loads(path.read_text()), where, value)))
    with contextlib.suppress(RefusedInOneLine):
        with in_one_line():
            checks = verify_file(path)
        assert where[0] == "recorded" or not all(one.agrees for one in checks)
        assert all(len(one.detail) < 1000 for one in checks)
