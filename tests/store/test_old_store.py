"""A store of the version before: opened, brought up to date, and gone on with."""

import gzip
import hashlib
import shutil
from pathlib import Path

import numpy as np
import orjson
import pytest

from rulesel.config import JudgeConfig, PickConfig, RunConfig, check, load
from rulesel.pipeline import Watcher, run
from rulesel.pipeline.explaining import explain, verify_file
from rulesel.pipeline.importing import import_ratings
from rulesel.pipeline.judging import judge
from rulesel.pipeline.selecting import select
from rulesel.records import Status
from rulesel.store import Store
from rulesel.store.schema import MIGRATIONS, STAGES

OLD = Path(__file__).parents[1] / "fixtures" / "store_v1"


@pytest.fixture
def old(tmp_path, monkeypatch):
    """The folder as it was left, and the current one."""
    folder = tmp_path / "old"
    shutil.copytree(OLD, folder)
    packed = folder / "store.duckdb.gz"
    (folder / "store.duckdb").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    monkeypatch.chdir(folder)
    return folder


def counted():
    with Store(Path("store.duckdb")) as store:
        return {table: store.db.one(f"SELECT count(*) FROM {table}") for table in ("ratings", "calls", "contents")}


def test_a_released_migration_never_changes():
    digests = [hashlib.sha256(one.encode()).hexdigest() for one in MIGRATIONS]
    assert digests[0] == "8ccf5e33bd5df1be74c58531b6bcc5802d426fdfdc40a4d71f96febe15e466b1"


def test_the_names_in_the_first_migration_are_still_those_of_the_code():
    """Views name stages and statuses by position: more may come at the end, with a new view, and none may move."""
    statuses = ["ok", "parse", "range", "refused", "low_mass", "cut_answer", "timeout", "http", "not_applicable"]
    assert [status.name for status in sorted(Status)][: len(statuses)] == statuses
    assert STAGES[:4] == ("sample", "corpus", "imported", "retest")


def test_it_is_brought_up_to_date_and_keeps_all_it_holds(old):
    with Store(old / "store.duckdb", read_only=True) as store:
        assert store.db.one("SELECT max(version) FROM schema_version") == len(MIGRATIONS)
        assert store.db.one("SELECT count(*) FROM columns WHERE used_at IS DISTINCT FROM made_at") == 0
        assert store.db.one("SELECT count(*) FROM ratings") == 456
        assert store.db.one("SELECT count(*) FROM ratings_long") > 0
        assert len(store.selections.runs()) == 4
    with Store(old / "store.duckdb", read_only=True) as store:
        assert store.db.one("SELECT count(*) FROM schema_version") == len(MIGRATIONS)


@pytest.mark.parametrize("name", ["selected", "read", "spread", "own"])
def test_what_was_selected_is_derived_again(name, old):
    checks = verify_file(Path(f"{name}.jsonl.receipt.json"))
    assert all(one.agrees for one in checks), checks


@pytest.mark.parametrize(("name", "out"), [("rulesel", "selected.jsonl"), ("read", "read.jsonl")])
@pytest.mark.slow
def test_a_run_goes_on_and_asks_nothing_anew(name, out, old):
    config = check(RunConfig, load(Path(f"{name}.yaml")) | {"yes": True})
    picked = Path(out).read_bytes()
    before = counted()
    Path(out).unlink()
    run(config, Watcher())
    assert counted() == before
    assert Path(out).read_bytes() == picked


def test_a_judge_finds_its_grades(old):
    before = counted()
    found = judge(check(JudgeConfig, {"judge": "fake:planted", "store": "store.duckdb", "yes": True}), Watcher())
    assert (found.graded, found.examples) == (37, 37)
    assert counted() == before


@pytest.mark.slow
def test_a_column_that_is_computed_now_is_the_one_a_name_means(old):
    """Three runs left a column `score`; the run that is repeated made its own first."""
    run(check(RunConfig, load(Path("rulesel.yaml")) | {"yes": True}), Watcher())
    with Store(Path("store.duckdb")) as store:
        made = store.db.rows("SELECT id FROM columns WHERE name = 'score' ORDER BY used_at DESC")[0][0]
        rows = store.corpora.rows(store.corpora.current().corpus)
        values, _ = store.columns.read("score", rows.content)
        np.testing.assert_array_equal(values, store.columns.read_identity("score", made, rows.content))
    config = {"select": {"k": 8}, "store": "store.duckdb", "out": "again.jsonl"}
    select(check(PickConfig, config), Watcher())
    assert Path("again.jsonl").read_bytes() == Path("selected.jsonl").read_bytes()


def test_it_is_selected_from(old):
    config = {"select": {"method": "top_k", "quality": "human", "k": 5}, "store": "store.duckdb", "out": "best.jsonl"}
    receipt = select(check(PickConfig, config), Watcher())
    grades = dict(line.split(",") for line in Path("grades.csv").read_text().splitlines()[1:])
    picked = [grades[orjson.loads(line)["id"]] for line in Path("best.jsonl").read_bytes().splitlines()]
    assert picked == sorted(grades.values(), reverse=True)[:5]
    assert receipt["selection"]["n"] == 5


def test_an_example_is_explained(old):
    with Store(old / "store.duckdb", read_only=True) as store:
        found = explain(store, "1")
    assert found["prompt"].startswith("Task 1: tell of ")
    assert {one["rater"] for one in found["ratings"]} == {"signals", "fake:planted"}
    assert {one["name"] for one in found["columns"]} == {"score", "overall", "human"}
    assert len(found["selections"]) == 5


def test_ratings_are_added(old):
    Path("more.csv").write_text("id,clear,kind\n" + "".join(f"t{i:02},{i % 6},{(i * 5) % 6}\n" for i in range(36)))
    with Store(old / "store.duckdb") as store:
        before = store.db.one("SELECT count(*) FROM ratings")
        import_ratings(store, Path("more.csv"))
        assert store.db.one("SELECT count(*) FROM ratings") == before + 72
