"""Every record that came in is in the output or in dropped.jsonl, with the reason that kept it out."""

import json
from pathlib import Path

import numpy as np
import pytest

from rulesel.config import CorpusConfig, PickConfig, RunConfig, check
from rulesel.corpus import check_output, reader
from rulesel.errors import UsageError
from rulesel.pipeline import Watcher, run
from rulesel.pipeline.outputs import check_beside
from rulesel.pipeline.reading import open_source, read_corpus
from rulesel.pipeline.selecting import select
from rulesel.store import Store

SOURCES = ["forum", "forum", "mail", None, "forum", "mail"]
GOOD = [{"prompt": f"p{i}", "response": f"r{i}", "source": source} for i, source in enumerate(SOURCES)]
BAD = ['{"prompt": "p"', '["a"]', '{"prompt": "p", "response": ""}', "", '{"prompt": null, "response": "r"}']


@pytest.fixture
def picked(tmp_path, monkeypatch):
    """A function that reads records, scores them 0.9, 0.8, … and selects; returns output and dropped lines."""
    monkeypatch.chdir(tmp_path)

    def make(lines, direction="higher", **options):
        Path("s.duckdb").unlink(missing_ok=True)
        Path("corpus.jsonl").write_text("\n".join(lines) + "\n")
        with Store(Path("s.duckdb")) as store:
            config = CorpusConfig(path="corpus.jsonl")
            corpus = read_corpus(store, config, open_source(config), Watcher())
            contents = np.unique(store.corpora.rows(corpus.corpus).content)
            values = 0.9 - 0.1 * np.arange(len(contents))
            store.columns.add("q", "q", contents, values, direction=direction, provenance={})
        asked = {"method": "top_k", "quality": "q"} | options
        select(check(PickConfig, {"store": "s.duckdb", "out": "out.jsonl", "select": asked}), Watcher())
        found = [json.loads(line) for line in Path("out.jsonl.dropped.jsonl").read_text().splitlines()]
        return Path("out.jsonl").read_text().splitlines(), found

    return make


def test_in_is_selected_and_dropped(picked):
    lines = [json.dumps(GOOD[0]), BAD[0], json.dumps(GOOD[1]), json.dumps(GOOD[0]), *BAD[1:], json.dumps(GOOD[2])]
    out, dropped = picked(lines, k=1)
    assert len(out) + len(dropped) == len(lines)
    assert [line["row"] for line in dropped] == [1, 2, 3, 4, 5, 6, 7, 8]
    unread = {line["row"]: line for line in dropped if line["kind"] == "unreadable"}
    assert sorted(unread) == [1, 4, 5, 6, 7]
    assert unread[1]["line"] == 2
    reasons = ("not valid JSON", "not an object", "is empty", "blank", "is null")
    assert all(word in unread[row]["reason"] for row, word in zip((1, 4, 5, 6, 7), reasons, strict=True))


def test_what_is_not_listed_is_counted(picked, monkeypatch):
    monkeypatch.setattr(reader, "_LISTED", 2)
    out, dropped = picked([json.dumps(GOOD[0]), *BAD, *BAD, json.dumps(GOOD[1])], k=1)
    unread = [line for line in dropped if line["kind"] == "unreadable"]
    assert [line["row"] for line in unread[:2]] == [1, 2]
    assert all(line["row"] is None for line in unread[2:])
    assert len(out) + len(dropped) - len(unread) + sum(line.get("count", 1) for line in unread) == 12


def test_a_corpus_read_by_an_older_version_is_counted(picked):
    lines = [json.dumps(GOOD[0]), *BAD, json.dumps(GOOD[1])]
    picked(lines, k=1)
    with Store(Path("s.duckdb")) as store:
        store.db.con.execute("DELETE FROM unreadable")
    asked = {"method": "top_k", "quality": "q", "k": 1}
    select(check(PickConfig, {"store": "s.duckdb", "out": "out.jsonl", "select": asked}), Watcher())
    dropped = [json.loads(line) for line in Path("out.jsonl.dropped.jsonl").read_text().splitlines()]
    assert sum(line.get("count", 0) for line in dropped) == len(BAD)


def reasons(dropped):
    return {line["row"]: line["reason"] for line in dropped}


def test_a_row_over_the_quota_says_so(picked):
    _, dropped = picked(map(json.dumps, GOOD), k=3, per={"source": 1})
    why = reasons(dropped)
    assert sorted(why) == [1, 4, 5]
    assert "--per source=1 allows 1 of source 'forum'" in why[1]
    assert "source 'mail'" in why[5]


def test_a_quota_that_did_not_bind_is_not_named(picked):
    _, dropped = picked(map(json.dumps, GOOD), k=2, per={"source": 3})
    assert all("quota" not in why for why in reasons(dropped).values())


@pytest.mark.parametrize(
    ("direction", "threshold", "out", "word"),
    [("higher", 0.65, [3, 4, 5], "below"), ("lower", 0.65, [0, 1, 2], "above")],
)
def test_a_row_beyond_the_threshold_says_so(picked, direction, threshold, out, word):
    _, dropped = picked(map(json.dumps, GOOD), direction=direction, threshold=threshold, k=6)
    why = reasons(dropped)
    assert sorted(why) == out
    assert all(f"{word} the threshold 0.65" in one for one in why.values())


def test_a_spent_token_budget_is_named(picked):
    _, dropped = picked(map(json.dumps, GOOD), max_tokens=2)
    assert all("the 2 tokens (estimated) were used up" in why for why in reasons(dropped).values())
    assert dropped


@pytest.mark.parametrize(
    ("out", "inputs"),
    [
        ("o.jsonl", ["o.jsonl"]),
        ("o.jsonl", ["o.jsonl.dropped.jsonl"]),
        ("o.jsonl", ["rules.yaml", "o.jsonl.scores.parquet"]),
        ("o.jsonl", ["o.jsonl.receipt.json"]),
        ("link.jsonl", ["o.jsonl"]),
    ],
)
def test_no_output_takes_the_place_of_an_input(tmp_path, monkeypatch, out, inputs):
    monkeypatch.chdir(tmp_path)
    for name in inputs:
        Path(name).write_text("kept")
    Path("link.jsonl").symlink_to("o.jsonl")
    with pytest.raises(UsageError, match="is read"):
        check_beside(Path(out), *map(Path, inputs))
    check_beside(Path("other.jsonl"), *map(Path, inputs))


def test_rows_left_out_before_are_no_output_of_their_own_selection(picked):
    picked([json.dumps(GOOD[0]), json.dumps(GOOD[1])], k=1)
    dropped = Path("out.jsonl.dropped.jsonl")
    dropped.write_text("".join(json.dumps(row) + "\n" for row in GOOD))
    config = {"corpus": {"path": str(dropped)}, "out": "out.jsonl", "select": {"k": 1}, "store": "t.duckdb"}
    with pytest.raises(UsageError, match="is read"):
        run(check(RunConfig, config), Watcher())
    assert len(dropped.read_text().splitlines()) == len(GOOD)
    with pytest.raises(UsageError, match="Name it rules"):
        check_output(Path("rules.yaml"), "jsonl")
