"""What `rulesel verify` prints, and its exit codes: 0 verified, 1 not, 2 no receipt."""

import gzip
import json
import shutil
from pathlib import Path

import pytest

OLD = Path(__file__).parents[1] / "fixtures" / "store_v1"


@pytest.fixture
def old(tmp_path, monkeypatch):
    folder = tmp_path / "old"
    shutil.copytree(OLD, folder)
    (folder / "store.duckdb").write_bytes(gzip.decompress((folder / "store.duckdb.gz").read_bytes()))
    monkeypatch.chdir(folder)
    return folder


def test_a_receipt_is_verified(old, rulesel):
    ended = rulesel("verify", "own.jsonl.receipt.json")
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "verified")


def test_one_with_another_value_is_not_and_the_value_is_shown_harmlessly(old, rulesel):
    receipt = json.loads(Path("own.jsonl.receipt.json").read_text())
    receipt["corpus"]["shape"] = "\x1b]52;c;eA==\x07\u202e"
    Path("own.jsonl.receipt.json").write_text(json.dumps(receipt))
    ended = rulesel("verify", "own.jsonl.receipt.json")
    assert (ended.code, ended.out.splitlines()[-1]) == (1, "NOT verified: see what differs")
    assert "DIFFERS  corpus: corpus.shape is " in ended.out
    assert not {"\x1b", "\x07", "\u202e"} & set(ended.out)


def test_one_of_the_version_that_permuted_columns_is_named(old, rulesel):
    ended = rulesel("verify", "every.jsonl.receipt.json")
    assert ended.code == 1
    assert "took the ratings of rules from the wrong columns" in ended.out


@pytest.mark.parametrize("path", ["own.jsonl", ".", "nothing.json", "corpus.jsonl"])
def test_what_is_no_receipt_is_one_line(path, old, rulesel):
    ended = rulesel("verify", path)
    assert (ended.code, ended.out) == (2, "")
    assert len(ended.err.splitlines()) == 1
    assert ended.err.startswith("rulesel: ")
