"""select with methods that read vectors: supplied, kept, derived again."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from rulesel.config import CorpusConfig, PickConfig, ScoreConfig, check
from rulesel.errors import Interrupted, NothingSelected, StoreError, UnknownName, UsageError
from rulesel.pipeline import Watcher, featuring, picking, run, score
from rulesel.pipeline.explaining import verify_file
from rulesel.pipeline.importing import import_embedding
from rulesel.pipeline.reading import open_source, read_corpus
from rulesel.pipeline.selecting import select
from rulesel.plugins import find, names
from rulesel.receipt.offering import labels_of
from rulesel.selection import Selector
from rulesel.selection._ranking import by_key
from rulesel.selection.longest import Longest
from rulesel.store import Store


class Recorder(Watcher):
    def __init__(self, stop_at=None):
        self.said, self.steps, self.stop_at = [], [], stop_at

    def say(self, line):
        self.said.append(line)

    def progress(self, progress):
        self.steps.append(progress)
        if progress.stage == self.stop_at:
            self.stopping = True


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("scored") / "store.duckdb"


@pytest.fixture
def store(run_config, kept, tmp_path):
    """A scored store of 400 examples; scored once, copied for every test."""
    place = tmp_path / "store.duckdb"
    if kept.exists():
        shutil.copy(kept, place)
    else:
        score(check(ScoreConfig, run_config().model_dump(exclude={"select", "out", "as_"})))
        shutil.copy(place, kept)
    return place


@pytest.fixture
def picked(store, tmp_path):
    """A function that selects 30 and returns the receipt; keyword arguments go to `select`."""

    def make(method, watcher=None, out="out.jsonl", against=(), **more):
        config = check(
            PickConfig,
            {"select": {"method": method, "k": 30} | more, "store": str(store), "out": str(tmp_path / out)},
        )
        return select(config, watcher, against=against)

    return make


@pytest.mark.parametrize("method", names("rulesel.selection"))
def test_every_method_selects_from_a_scored_store_and_is_derived_again(method, picked, tmp_path):
    receipt = picked(method)
    assert receipt["selection"]["n"] + receipt["selection"]["report"].get("shortfall", 0) == 30
    checks = verify_file(tmp_path / "out.jsonl.receipt.json")
    assert all(one.agrees for one in checks), checks


def test_vectors_are_computed_once_and_lie_beside_the_store(picked, store):
    first, second = Recorder(), Recorder()
    receipt = picked("kcenter", first)
    picked("facility_location", second)
    assert any(line.startswith("projection: 400 of 400") for line in first.said)
    assert not any("projection" in line for line in second.said)
    name = receipt["selection"]["report"]["features"]["embeddings"]
    vectors = np.load(store.with_name("store.duckdb.features") / f"{name}.npy", mmap_mode="r")
    assert np.isfinite(vectors).all()


def test_an_interrupted_embedding_goes_on_where_it_was(picked, store, monkeypatch):
    monkeypatch.setattr(featuring, "BATCH", 100)
    with pytest.raises(Interrupted):
        picked("kcenter", Recorder(stop_at="projection"))
    again = Recorder()
    interrupted = picked("kcenter", again)
    assert any(line.startswith("projection: 300 of 400") for line in again.said)
    for file in store.with_name("store.duckdb.features").iterdir():
        file.unlink()
    assert picked("kcenter")["selection"]["sha256"] == interrupted["selection"]["sha256"]


def test_an_imported_embedding_comes_first_and_others_can_be_named(picked, store, tmp_path):
    projected = picked("kcenter")
    np.save(tmp_path / "e.npy", np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32))
    with Store(store) as opened:
        import_embedding(opened, tmp_path / "e.npy")
    imported = picked("kcenter")
    assert imported["selection"]["sha256"] != projected["selection"]["sha256"]
    assert picked("kcenter", embedding="projection")["selection"]["sha256"] == projected["selection"]["sha256"]
    assert picked("kcenter", embedding="embedding")["selection"]["sha256"] == imported["selection"]["sha256"]
    with pytest.raises(UsageError, match=r"projection.*rulesel import embedding"):
        picked("kcenter", embedding="nothing")
    with pytest.raises(UsageError, match="no model folder"):
        picked("kcenter", embedding="./nothing")


def test_a_receipt_is_checked_with_the_vectors_it_names(picked, store, tmp_path):
    picked("kcenter")
    np.save(tmp_path / "e.npy", np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32))
    with Store(store) as opened:
        import_embedding(opened, tmp_path / "e.npy")
    assert all(one.agrees for one in verify_file(tmp_path / "out.jsonl.receipt.json"))
    for file in store.with_name("store.duckdb.features").iterdir():
        file.unlink()
    with pytest.raises(StoreError, match="not beside the store"):
        verify_file(tmp_path / "out.jsonl.receipt.json")


def test_rows_without_a_vector_are_left_out_and_counted(picked, store, tmp_path):
    vectors = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)
    vectors[390:] = np.nan
    np.save(tmp_path / "e.npy", vectors)
    with Store(store) as opened:
        import_embedding(opened, tmp_path / "e.npy")
    receipt = picked("kcenter", k=400)
    assert receipt["selection"]["n"] == 390
    assert receipt["selection"]["report"]["excluded"] == 10
    assert receipt["selection"]["report"]["shortfall"] == 10


def test_tags_come_from_a_field_or_from_clusters(picked):
    field = picked("mig", tags="source")["selection"]["report"]
    assert field["labels"] == 5
    assert "features" not in field
    clusters = picked("mig", tags="clusters:7")["selection"]["report"]
    assert clusters["labels"] == 7
    assert set(clusters["features"]) == {"embeddings", "tags"}
    with pytest.raises(UsageError, match="clusters:N"):
        picked("mig", tags="clusters:none")
    with pytest.raises(UsageError, match=r"No record has a label in a field 'mood'.*--tags"):
        picked("mig", tags="mood")


def test_a_fields_labels_are_a_list_or_one():
    assert labels_of('["a", "b"]') == ["a", "b"]
    assert labels_of("[1, 2]") == ["1", "2"]
    assert labels_of("plain words") == ["plain words"]
    assert labels_of("[not json") == ["[not json"]
    assert labels_of(None) == labels_of(" ") == []


def test_parameters_name_rows_of_the_corpus_also_where_duplicates_were_left_out(tmp_path, corpus):
    lines = Path(corpus).read_text().splitlines()[:60]
    copied = tmp_path / "copied.jsonl"
    copied.write_text("\n".join([lines[0], *lines]) + "\n")  # row 1 is a copy of row 0
    source = CorpusConfig(path=str(copied))
    with Store(tmp_path / "copied.duckdb") as opened:
        read_corpus(opened, source, open_source(source), Watcher())

    def kcenter(**parameters):
        chosen = {"method": "kcenter", "k": 3, "parameters": parameters}
        values = {"store": str(tmp_path / "copied.duckdb"), "out": str(tmp_path / "three.jsonl"), "select": chosen}
        select(check(PickConfig, values))
        return (tmp_path / "three.jsonl").read_text().splitlines()

    assert kcenter(first=40)[0] == lines[39]
    first = kcenter()[0]
    assert first not in kcenter(given=[lines.index(first) + 1 if first != lines[0] else 0])
    with pytest.raises(UsageError, match="given names row 1, which is not among the 60 rows offered"):
        kcenter(given=[1])


def test_a_field_that_no_record_has_is_said(picked):
    with pytest.raises(UsageError, match="No record of the corpus has a field 'nobody'"):
        picked("top_k", k=None, per={"nobody": 2})


def test_a_budget_of_tokens_that_was_not_reached_is_said(picked):
    told = Recorder()
    picked("top_k", told, k=None, max_tokens=10**9)
    assert any("tokens (estimated) fewer than asked for" in line for line in told.said)


def test_contamination_is_counted_and_kept(picked, store, corpus, tmp_path):
    lines = corpus.read_text().splitlines()
    exam = tmp_path / "exam.jsonl"
    exam.write_text("\n".join(lines[:25]) + "\n")
    watcher = Recorder()
    report = picked("top_k", watcher, k=400, against=[str(exam)])["recorded"]["overlap"]
    assert report["against"] == ["exam.jsonl"]
    assert report["texts"] == report["picked"] >= 25
    assert any("share a run of words" in line for line in watcher.said)
    with Store(store, read_only=True) as opened:
        assert "overlap" in opened.columns.names()


def test_a_method_that_ignores_quality_needs_no_score_and_loses_no_row(run_config, tmp_path, corpus):
    config = CorpusConfig(path=str(corpus))
    with Store(tmp_path / "bare.duckdb") as opened:
        read_corpus(opened, config, open_source(config), Watcher())
    values = {"store": str(tmp_path / "bare.duckdb"), "out": str(tmp_path / "bare.jsonl")}
    counts = select(check(PickConfig, values | {"select": {"method": "kcenter", "k": 30}}))["counts"]
    assert (counts["selected"], counts["not_selected"], counts["failed"]) == (30, 370, 0)
    with pytest.raises(UnknownName, match="score"):
        select(check(PickConfig, values | {"select": {"method": "top_k", "k": 30}}))


def test_long_selections_give_a_sign_of_life(picked, monkeypatch):
    quiet = Recorder()
    picked("kcenter", quiet)
    assert not any("kcenter on" in line for line in quiet.said)
    monkeypatch.setattr(picking, "PATIENCE", 0.0)
    watcher = Recorder()
    picked("kcenter", watcher)
    assert any(line.startswith("kcenter on 400") for line in watcher.said)
    assert [step for step in watcher.steps if step.stage == "select"][-1].done == 30


def test_a_long_selection_can_be_interrupted(picked, monkeypatch):
    monkeypatch.setattr(picking, "PATIENCE", 0.0)
    with pytest.raises(Interrupted):
        picked("kcenter", Recorder(stop_at="select"))


def test_a_run_may_use_any_method(run_config, tmp_path):
    outcome = run(run_config(select={"method": "deita", "parameters": {"threshold": 0.5}}))
    assert outcome.receipt["selection"]["n"] <= 40
    assert all(one.agrees for one in verify_file(tmp_path / "out.jsonl.receipt.json"))


@pytest.fixture
def effort(store):
    """A column in which lower is better: row n of the 400 takes n / 400; the last ten have no number."""
    values = np.arange(400) / 400
    values[390:] = np.nan
    with Store(store) as opened:
        contents = opened.corpora.rows(opened.corpora.current().corpus).content
        opened.columns.add("effort", "made here", contents, values, direction="lower", provenance={})
    return values


def rows_of(store, receipt):
    with Store(store, read_only=True) as opened:
        return opened.selections.rows(receipt["selection"]["id"])[1].tolist()


def test_a_threshold_is_in_the_columns_own_unit_and_at_most_where_lower_is_better(picked, store, effort):
    receipt = picked("top_k", k=None, threshold=0.1, quality="effort")
    assert rows_of(store, receipt) == list(range(41))
    assert receipt["selection"]["report"]["below_threshold"] == 400 - 41
    table = pq.read_table(store.with_name("out.jsonl.scores.parquet")).to_pylist()
    assert [row["score"] for row in table[:390]] == effort[:390].tolist()
    assert "score 0.100, place 41 of 390" in table[40]["reason"]
    assert len(rows_of(store, picked("kcenter", k=None, threshold=0.1, quality="effort"))) == 41
    with pytest.raises(NothingSelected, match=r"top_k selects nothing: no 'effort' is at most -0.5; the best is 0\."):
        picked("top_k", k=None, threshold=-0.5, quality="effort")
    with pytest.raises(NothingSelected, match=r"no 'score' is at least 50; the best is "):
        picked("top_k", k=None, threshold=50.0)


def test_a_column_that_a_method_reads_is_turned_so_that_higher_is_better(picked, store, effort, monkeypatch):
    seen = []

    def select(self, pool, k, seed):
        seen.append((pool.need("effort"), pool.raw("effort")))
        return by_key(pool, pool.need("effort"), k)

    monkeypatch.setattr(Longest, "reads", ("effort",))
    monkeypatch.setattr(Longest, "select", select)
    assert rows_of(store, picked("longest", k=3)) == [0, 1, 2]
    assert rows_of(store, picked("longest", k=3, threshold=0.5, quality="effort")) == [0, 1, 2]
    for turned, raw in seen:  # of all rows, and of those that a threshold leaves
        np.testing.assert_array_equal(raw, effort[: len(raw)])
        np.testing.assert_array_equal(turned, -raw)


def test_an_imported_embedding_of_another_corpus_is_not_taken(picked, store, tmp_path, corpus):
    projected = picked("kcenter")["selection"]["sha256"]
    np.save(tmp_path / "e.npy", np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32))
    lines = corpus.read_text().splitlines()
    other = tmp_path / "other.jsonl"
    other.write_text(
        "\n".join(line.replace("Question", "Another") for line in lines[:47]) + "\n" + "\n".join(lines[:3])
    )
    config = CorpusConfig(path=str(other))
    with Store(store) as opened:
        read_corpus(opened, config, open_source(config), Watcher())
        import_embedding(opened, tmp_path / "e.npy")
        there = opened.corpora.current().corpus
    imported = picked("kcenter", k=5)
    assert "projection" not in {name for name in imported["selection"]["report"]["features"]}
    assert len(rows_of(store, imported)) == 5
    with Store(store) as opened:
        read_corpus(opened, CorpusConfig(path=str(corpus)), open_source(CorpusConfig(path=str(corpus))), Watcher())
        assert opened.corpora.current().corpus != there
    told = Recorder()
    assert picked("kcenter", told)["selection"]["sha256"] == projected
    assert any("vectors of 3 of the 400 examples: the projection is used instead" in line for line in told.said)
    assert len(rows_of(store, picked("kcenter", embedding="embedding"))) == 3


@pytest.mark.parametrize("method", names("rulesel.selection"))
def test_a_selection_of_nothing_is_an_error_that_says_why(method, picked, store, effort, tmp_path):
    with pytest.raises(NothingSelected, match=rf"{method} selects nothing: no 'effort' is at most -1; the best is 0\."):
        picked(method, out="nothing.jsonl", threshold=-1.0, quality="effort")
    with pytest.raises(
        NothingSelected, match=f"{method} selects nothing: all 400 examples are given as chosen already"
    ):
        picked(method, out="nothing.jsonl", parameters={"given": list(range(400))})
    assert not (tmp_path / "nothing.jsonl").exists()


QUALITY = [name for name in names("rulesel.selection") if "quality" in find("rulesel.selection", name, Selector).reads]


@pytest.mark.parametrize(
    ("method", "parameters"), [*((name, {}) for name in QUALITY), ("novelselect", {"weigh": True})]
)
def test_quality_that_is_known_of_no_example_is_an_error(method, parameters, picked, store):
    with Store(store) as opened:
        opened.columns.add("elsewhere", "x", np.array([10**6]), np.ones(1), provenance={})
    with pytest.raises(NothingSelected, match="none of the 400 examples has a number in the column 'elsewhere'"):
        picked(method, quality="elsewhere", parameters=parameters)
    with pytest.raises(UnknownName, match="No column named 'nowhere'"):
        picked(method, quality="nowhere", parameters=parameters)


def test_vectors_that_no_example_has_are_an_error(picked, store, tmp_path):
    with Store(store) as opened:
        n = int(opened.db.one("SELECT max(content) + 1 FROM contents"))
        opened.features.table("none", n, 2).flush()
        opened.features.register("none", "none", {})
    with pytest.raises(NothingSelected, match="none of the 400 examples has embeddings"):
        picked("kcenter", embedding="none")


def test_a_column_that_does_not_exist_is_refused_also_where_the_method_ignores_quality(picked):
    with pytest.raises(UnknownName, match=r"No column named 'scare'\. Did you mean 'score'"):
        picked("kcenter", quality="scare")
