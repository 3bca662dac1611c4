"""The whole chain: byte for byte, accounted for, derived again, resumed."""

import csv
import json

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from rulesel.config import RunConfig, check, load, merged
from rulesel.errors import CorpusError, Interrupted, StoreError, TooManyFailures, UsageError
from rulesel.pipeline import Watcher, run
from rulesel.pipeline.asking import query
from rulesel.pipeline.explaining import explain, export, verify_file
from rulesel.pipeline.rating import ALARM_ROWS, Tally, wilson_lower
from rulesel.pipeline.selecting import select
from rulesel.records import Status
from rulesel.store import Store


def lines(path):
    return path.read_bytes().split(b"\n")[:-1]


class Recorder(Watcher):
    def __init__(self, stop_after=None):
        self.said = []
        self.steps = []
        self.stop_after = stop_after

    def say(self, line):
        self.said.append(line)

    def progress(self, progress):
        self.steps.append(progress)
        if self.stop_after is not None and len(self.steps) >= self.stop_after:
            self.stopping = True


def test_the_selection_is_the_corpus_own_lines_in_rank_order(run_config, corpus, tmp_path):
    outcome = run(run_config())
    written = lines(tmp_path / "out.jsonl")
    assert len(written) == 40
    assert set(written) <= set(lines(corpus))
    scores = outcome.scored.scores
    order = sorted(range(400), key=lambda i: -scores[i])[:40]
    assert sorted(scores[outcome.selection.indices], reverse=True) == pytest.approx(sorted(scores[order], reverse=True))
    rows = outcome.scored.rows.row[outcome.selection.indices]
    assert [lines(corpus)[row] for row in rows] == written


def test_the_score_is_the_mean_of_the_z_scored_ratings(run_config):
    outcome = run(run_config())
    choice, values = outcome.choice, outcome.scored.values.astype(float)
    z = (values - choice.mean[choice.indices]) / choice.sd[choice.indices]
    np.testing.assert_allclose(outcome.scored.scores, z @ choice.weights, atol=1e-9)


def test_every_row_is_accounted_for(run_config, corpus, tmp_path):
    with corpus.open("ab") as file:
        file.write(lines(corpus)[3] + b"\n" + b'{"broken\n' + b'{"instruction": "x", "output": ""}\n')
    outcome = run(run_config())
    counts = outcome.receipt["counts"]
    assert counts["in"] == 403
    assert counts["in"] == counts["selected"] + counts["not_selected"] + counts["failed"]
    assert counts["unreadable"] == 2
    assert counts["duplicates"] == 1
    assert outcome.last_line == "in 403 = selected 40 + not selected 361 + failed 2"
    dropped = [json.loads(line) for line in lines(tmp_path / "out.jsonl.dropped.jsonl")]
    assert len(dropped) == 363
    unreadable = [(one["row"], one["kind"]) for one in dropped[-2:]]
    assert [kind for _, kind in unreadable] == ["unreadable", "unreadable"]
    assert [row for row, _ in unreadable] == [401, 402]
    twin = next(d for d in dropped if d["kind"] == "duplicate")
    assert twin["row"] == 400
    assert twin["reason"] == "same content as row 3"
    table = pq.read_table(tmp_path / "out.jsonl.scores.parquet").to_pydict()
    assert len(table["row"]) == 401
    ranked = sorted((r, row) for r, row in zip(table["rank"], table["row"], strict=True) if r is not None)
    assert [r for r, _ in ranked] == list(range(1, 41))
    assert [lines(corpus)[row] for _, row in ranked] == lines(tmp_path / "out.jsonl")


def test_the_receipt_verifies_and_a_tampered_output_does_not(run_config, tmp_path):
    run(run_config())
    receipt = tmp_path / "out.jsonl.receipt.json"
    assert all(check.agrees for check in verify_file(receipt))
    out = tmp_path / "out.jsonl"
    out.write_bytes(out.read_bytes().replace(b"one", b"two", 1))
    assert [check.what for check in verify_file(receipt) if not check.agrees] == ["file"]


def test_a_changed_rating_is_noticed(run_config, tmp_path):
    outcome = run(run_config())
    with Store(tmp_path / "store.duckdb") as store:
        best = int(outcome.scored.rows.content[outcome.selection.indices[0]])
        store.db.con.execute("UPDATE ratings SET value = 0 WHERE content = ?", [best])
    assert not all(check.agrees for check in verify_file(tmp_path / "out.jsonl.receipt.json"))


def test_a_second_run_rates_nothing_and_ends_equal(run_config, tmp_path):
    run(run_config())
    first = (tmp_path / "out.jsonl").read_bytes(), (tmp_path / "out.jsonl.receipt.json").read_bytes()
    with Store(tmp_path / "store.duckdb", read_only=True) as store:
        cells = store.db.one("SELECT count(*) FROM ratings")
    run(run_config())
    assert ((tmp_path / "out.jsonl").read_bytes(), (tmp_path / "out.jsonl.receipt.json").read_bytes()) == first
    with Store(tmp_path / "store.duckdb", read_only=True) as store:
        assert store.db.one("SELECT count(*) FROM ratings") == cells
        assert store.db.rows("SELECT attempt, outcome FROM runs ORDER BY attempt") == [(1, "done"), (2, "done")]


def test_more_rows_and_another_rule_pay_only_for_the_new_cells(run_config, corpus, rules, tmp_path):
    run(run_config(rules={"keep": 5, "sample": 10_000}))
    with Store(tmp_path / "store.duckdb", read_only=True) as store:
        before = store.db.one("SELECT count(*) FROM ratings")
    assert before == 400 * 5
    with corpus.open("a") as file:
        for i in range(100):
            file.write(json.dumps({"instruction": f"New {i}", "input": "", "output": f"new answer {i}."}) + "\n")
    rules.write_text(
        rules.read_text()
        + "  - {name: short, text: The response is short., sql: '1.0 - least(1.0, n_chars / 300.0)'}\n"
    )
    run(run_config(rules={"keep": 6, "sample": 10_000}))
    with Store(tmp_path / "store.duckdb", read_only=True) as store:
        assert store.db.one("SELECT count(*) FROM ratings") == 500 * 6
        assert store.db.one("SELECT count(*) FROM (SELECT DISTINCT content, rule, rater FROM ratings)") == 500 * 6


@pytest.mark.parametrize("after", [1, 2, 3])
def test_an_interrupted_run_goes_on_and_ends_equal(run_config, tmp_path, after):
    with pytest.raises(Interrupted, match="same command goes on"):
        run(run_config(), Recorder(stop_after=after))
    resumed = run(run_config())
    again = run(run_config(store=str(tmp_path / "other.duckdb"), out=str(tmp_path / "again.jsonl")))
    assert resumed.receipt["selection"]["sha256"] == again.receipt["selection"]["sha256"]
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "again.jsonl").read_bytes()


def test_quota_fraction_threshold_tokens(run_config, tmp_path):
    outcome = run(run_config(select={"per": {"source": 3}, "k": None}))
    records = [json.loads(line) for line in lines(tmp_path / "out.jsonl")]
    assert {r["source"] for r in records} == {f"s{i}" for i in range(5)}
    assert len(records) == 15
    assert len(run(run_config(select={"k": 400, "threshold": 0.0})).selection) < 400
    values = run_config().model_dump(by_alias=True)
    values["select"] = {"fraction": 0.1}
    assert len(run(type(run_config()).model_validate(values)).selection) == 40
    values["select"] = {"max_tokens": 500}
    found = run(type(run_config()).model_validate(values))
    assert 500 <= found.selection.report["tokens"] < 700
    assert outcome.scored.scores.shape == (400,)


def test_select_reads_the_stored_score_and_verifies(run_config, tmp_path):
    from rulesel.config import PickConfig

    first = run(run_config())
    config = PickConfig(select={"k": 40}, out=str(tmp_path / "pick.jsonl"), store=str(tmp_path / "store.duckdb"))
    receipt = select(config)
    assert receipt["selection"]["sha256"] == first.receipt["selection"]["sha256"]
    assert (tmp_path / "pick.jsonl").read_bytes() == (tmp_path / "out.jsonl").read_bytes()
    assert all(check.agrees for check in verify_file(tmp_path / "pick.jsonl.receipt.json"))
    with pytest.raises(UsageError, match=r"No column named 'scores'\. Did you mean 'score'"):
        select(config.model_copy(update={"select": config.select.model_copy(update={"quality": "scores"})}))


def test_explain_names_every_rating_and_place(run_config, tmp_path):
    outcome = run(run_config())
    best = int(outcome.scored.rows.row[outcome.selection.indices[0]])
    with Store(tmp_path / "store.duckdb", read_only=True) as store:
        found = explain(store, str(best))
        assert found["selections"][0]["rank"] == 1
        assert len(found["ratings"]) >= 3
        assert found["prompt"] == f"Question {best}"
        assert explain(store, found["id"][:20])["row"] == best
        with pytest.raises(UsageError, match="no example 'b2-zz'"):
            explain(store, "b2-zz")


def test_an_exported_csv_holds_no_formula_unless_asked_for_raw_bytes(tmp_path):
    bad = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"]
    good = ["fine", "", "a=b", "'quoted", "naïve", None]
    with Store() as store:
        con = store.db.con
        con.execute('CREATE OR REPLACE TABLE runs AS SELECT unnest(?) AS "=head", -1.5 AS number', [bad + good])
        con.execute("ALTER TABLE runs ADD COLUMN kind ENUM('=x', 'y') DEFAULT '=x'")
        assert export(store, "runs", tmp_path / "a.csv") == len(bad + good)
        export(store, "runs", tmp_path / "raw.csv", raw=True)
        export(store, "runs", tmp_path / "a.parquet")
        with pytest.raises(UsageError, match=r"-o .*No such file"):
            export(store, "runs", tmp_path / "none" / "a.csv")
    with (tmp_path / "a.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["'=head", "number", "kind"]
    assert [row[0] for row in rows] == ["'" + one for one in bad] + [one or "" for one in good]
    assert {tuple(row[1:]) for row in rows} == {("-1.5", "'=x")}
    with (tmp_path / "raw.csv").open(newline="") as file:
        raw = [row[0] for row in csv.reader(file)]
    assert raw == ["=head", *bad, *(one or "" for one in good)]
    assert pq.read_table(tmp_path / "a.parquet").column(0).to_pylist() == bad + good


def test_sql_cannot_write_or_read_files(run_config, tmp_path):
    run(run_config())
    with Store(tmp_path / "store.duckdb", read_only=True) as store:
        names, rows, _ = query(store, "SELECT count(*) AS n FROM selection_view")
        assert (names, rows) == (["n"], [(40,)])
        for hostile in (
            "DELETE FROM ratings",
            "SELECT * FROM read_text('/etc/hostname')",
            "COPY ratings TO 'x.csv'",
            "SELECT",
        ):
            with pytest.raises(UsageError, match="SQL: "):
                query(store, hostile)
    with Store(tmp_path / "store.duckdb", read_only=True) as store:
        assert export(store, "ratings_wide", tmp_path / "wide.parquet") == 400
        assert (
            export(store, "ratings_long", tmp_path / "long.csv")
            == pq.read_table(tmp_path / "wide.parquet").num_rows * 3 + 400
        )


def test_nothing_is_made_when_the_input_is_wrong(run_config, tmp_path):
    for over, error in (
        ({"corpus": {"path": str(tmp_path / "none.jsonl")}}, CorpusError),
        ({"out": str(tmp_path / "no" / "out.jsonl")}, UsageError),
        ({"rules": {"source": "pack:nowhere"}}, UsageError),
    ):
        with pytest.raises(error):
            run(run_config(**over))
        assert not (tmp_path / "store.duckdb").exists()


def test_a_store_held_by_somebody_else_is_left_alone(run_config, tmp_path):
    (tmp_path / "store.duckdb").write_text("mine")
    with pytest.raises(StoreError):
        run(run_config())
    assert (tmp_path / "store.duckdb").read_text() == "mine"


def test_asking_for_more_than_there_is_is_reported(run_config):
    outcome = run(run_config(select={"k": 1000}))
    assert len(outcome.selection) == 400
    assert outcome.receipt["selection"]["report"]["shortfall"] == 600


def test_the_store_can_be_read_by_plain_duckdb(run_config, tmp_path):
    run(run_config())
    with duckdb.connect(str(tmp_path / "store.duckdb"), read_only=True) as con:
        assert con.execute("SELECT count(*) FROM selection_view").fetchall() == [(40,)]


def test_too_few_usable_rules_are_used_all_and_said(run_config):
    watcher = Recorder()
    outcome = run(run_config(rules={"keep": 5, "required": ["shouts"], "forbidden": ["ends well"]}), watcher)
    assert 1 <= len(outcome.choice.indices) < 5
    assert any(line.strip().startswith("asked for 5 rules, but only") for line in watcher.said)
    assert outcome.receipt["choice"]["warnings"]


def test_the_alarm_waits_for_fifty_rows_and_for_certainty():
    assert wilson_lower(50, 100) == pytest.approx(0.4038, abs=1e-4)
    failing, fine = np.full((ALARM_ROWS - 1, 4), Status.parse, dtype=np.uint8), np.zeros((200, 4), dtype=np.uint8)
    tally = Tally(0.1, "sample", {}, 800)
    tally.add(failing)
    tally.alarm()
    tally.add(failing[:1])
    with pytest.raises(TooManyFailures, match="parse 200"):
        tally.alarm()
    fine[:20] = Status.http  # exactly 10 %: not surely above
    tally = Tally(0.1, "sample", {}, 800)
    tally.add(fine)
    tally.alarm()
    few = Tally(0.1, "sample", {Status.ok: 9_000, Status.parse: 200}, 800)  # at most 1,000 of 10,000 can fail
    few.add(np.full((200, 4), Status.parse, dtype=np.uint8))
    few.alarm()
    tally = Tally(0.0, "sample", {}, 800)
    tally.add(np.full((200, 4), Status.not_applicable, dtype=np.uint8))
    tally.alarm()


def test_a_config_may_name_the_corpus_in_one_word_and_says_what_is_missing(tmp_path):
    (tmp_path / "run.yaml").write_text("corpus: mine.jsonl\nselect: {k: 3}\n")
    values = load(tmp_path / "run.yaml")
    assert merged(values, {"corpus": {"limit": 5}})["corpus"] == {"path": "mine.jsonl", "limit": 5}
    with pytest.raises(UsageError, match=r"^out is missing: give it as an option or as `out:` in the config$"):
        check(RunConfig, values)
