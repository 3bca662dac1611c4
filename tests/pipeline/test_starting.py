"""The start of a rater's answers over a run's life: chosen once, shown, kept, found again."""

import json
import shlex

import pytest

from rulesel.config import JudgeConfig, check
from rulesel.errors import ModelError, TooManyFailures, UsageError
from rulesel.llm.fake_tokens import ByteTokenizer, FakeTokenModel
from rulesel.pipeline import Watcher, run, score
from rulesel.pipeline.calibrating import CalibrationConfig, calibrate
from rulesel.pipeline.checking import CanaryConfig, canary_shifts
from rulesel.pipeline.doctor import examine_model
from rulesel.pipeline.explaining import verify_file
from rulesel.pipeline.judging import judge
from rulesel.pipeline.planning import plan
from rulesel.pipeline.retrying import find_failures, go_on
from rulesel.pipeline.run_report import report_file
from rulesel.pipeline.sharding import merge
from rulesel.pipeline.shares import rate_share
from rulesel.raters.vllm import Vllm
from rulesel.reporting.run_page import run_page
from rulesel.store import Store


class Recorder(Watcher):
    def __init__(self):
        self.said = []

    def say(self, line):
        self.said.append(line)


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """`vllm:FOLDER` with an engine that answers with a digit after "Rating: " alone; its masses can be changed."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 8192}))
    (folder / "model.safetensors").write_bytes(b"none")
    opened, opening = [], Vllm.open
    masses = {"mass": 0.1, "after": {"Rating: ": 0.9, "Score: ": 0.7}}

    def fake(rater):
        if rater._opened is None and rater._owner is None:
            opened.append(FakeTokenModel(**masses))
            rater.use(opened[-1], ByteTokenizer(), 8192)
        return opening(rater)

    monkeypatch.setattr(Vllm, "open", fake)
    return f"vllm:{folder}", opened, masses


def cells(path):
    with Store(path, read_only=True) as store:
        return store.db.rows(
            "SELECT a.id, r.stage, count(*), count(*) FILTER (r.status = 0) FROM ratings r JOIN raters a USING (rater) "
            "GROUP BY ALL ORDER BY ALL"
        )


def test_a_run_tries_the_starts_keeps_the_best_and_says_so(model_config, engine, tmp_path):
    recorder = Recorder()
    outcome = run(model_config(engine[0], rules={"retest": 10}), recorder)
    (line,) = [line for line in recorder.said if line.startswith("answer start")]
    assert line == (
        "answer start: 'Rating: '; the digits 0 to 5 then have 90% of the probability or more in nine of ten answers "
        "(10% without a start)"
    )
    assert outcome.receipt["answer_starts"] == {"sample": "Rating: ", "corpus": "Rating: ", "retest": "Rating: "}
    assert all(n == ok for _, _, n, ok in cells(tmp_path / "store.duckdb"))
    assert len(engine[1]) == 1
    with Store(tmp_path / "store.duckdb", read_only=True) as store:
        provenance = json.loads(store.db.one("SELECT provenance FROM raters ORDER BY rater LIMIT 1"))
    assert provenance["start"] == "Rating: "
    assert provenance["start_mass"] == pytest.approx(0.9, abs=1e-5)


def test_a_later_run_does_not_choose_again(model_config, engine, planted, tmp_path):
    run(model_config(engine[0]))
    before = {rater for rater, *_ in cells(tmp_path / "store.duckdb")}
    engine[2]["after"] = {"Rating: ": 0.7, "Score: ": 0.95}
    planted(90)
    recorder = Recorder()
    run(model_config(engine[0]), recorder)
    assert {rater for rater, *_ in cells(tmp_path / "store.duckdb")} == before
    assert not [line for line in recorder.said if line.startswith("answer start: 'Score")]
    assert plan(model_config(engine[0])).calls == 0


def test_verify_needs_no_weights(model_config, engine, tmp_path):
    run(model_config(engine[0]))
    (tmp_path / "model" / "model.safetensors").unlink()
    assert all(one.agrees for one in verify_file(tmp_path / "out.jsonl.receipt.json"))


def test_failures_are_asked_again_with_the_same_start(model_config, engine, tmp_path):
    run(model_config(engine[0]))
    with Store(tmp_path / "store.duckdb") as store:
        store.db.con.execute("UPDATE ratings SET status = 4, value = NULL WHERE content = 3")
    before = cells(tmp_path / "store.duckdb")
    go_on(find_failures(tmp_path / "store.duckdb"), {})
    after = cells(tmp_path / "store.duckdb")
    assert [one[:3] for one in after] == [one[:3] for one in before]
    assert all(n == ok for _, _, n, ok in after)


def test_every_worker_uses_the_start_of_the_first(model_config, engine, tmp_path):
    config = model_config(engine[0])
    rate_share(config, (1, 2))
    engine[2]["after"] = {"Rating: ": 0.7, "Score: ": 0.95}
    rate_share(config, (2, 2))
    with Store(tmp_path / "store.duckdb") as store:
        merge(store)
    assert len({rater for rater, *_ in cells(tmp_path / "store.duckdb")}) == 1
    score(config)
    assert all(n == ok for _, _, n, ok in cells(tmp_path / "store.duckdb"))


def test_no_rating_is_made_where_no_start_helps(model_config, engine, tmp_path):
    engine[2]["after"] = {}
    with pytest.raises(ModelError, match=r"nothing was rated.*\n.*start of the answer"):
        run(model_config(engine[0]))
    assert cells(tmp_path / "store.duckdb") == []


def test_ratings_made_without_a_start_stay_valid(model_config, engine, tmp_path):
    engine[2]["mass"] = 0.8
    run(model_config(engine[0], judge_parameters={"start": ""}))
    before = cells(tmp_path / "store.duckdb")
    run(model_config(engine[0]))
    assert cells(tmp_path / "store.duckdb") == before


def test_ratings_that_failed_without_a_start_do_not_keep_it_away(model_config, engine, tmp_path):
    with pytest.raises(Exception, match=r"failed|digit"):
        run(model_config(engine[0], judge_parameters={"start": ""}))
    run(model_config(engine[0]))
    assert any(ok for *_, ok in cells(tmp_path / "store.duckdb"))


def test_a_start_that_is_named_is_not_tried(model_config, engine):
    recorder = Recorder()
    outcome = run(model_config(engine[0], judge_parameters={"start": "Score: "}), recorder)
    assert outcome.receipt["answer_starts"]["sample"] == "Score: "
    assert not [line for line in recorder.said if line.startswith("answer start")]


def test_doctor_shows_what_each_start_does(engine):
    found = {one.what: one for one in examine_model(engine[0])}
    assert found["answer start"].state == "ok"
    assert "'Rating: '" in found["answer start"].found
    assert found["rating"].state == "ok"
    engine[2]["after"] = {}
    failed = examine_model(engine[0])[-1]
    assert failed.state == "failed"
    assert "none                  0.10, 0.10" in failed.found


def test_doctor_tries_a_start_of_the_users_own(engine):
    engine[2]["after"] = {"Mark: ": 0.9}
    found = {one.what: one for one in examine_model(engine[0], parameters={"starts": ["Mark: "]})}
    assert "'Mark: '" in found["answer start"].found
    assert found["rating"].state == "ok"


def test_doctor_tries_the_starts_on_a_server_whose_model_begins_with_a_word(serve):
    server = serve(wordy=True)
    found = {one.what: one for one in examine_model(server.name)}
    assert found["answer start"].state == "warning"
    assert found["answer start"].found.startswith("'Rating: '")
    assert found["answer start"].remedy == "rate with --judge-param 'start=Rating: '"


def test_doctor_says_where_a_server_does_not_continue_a_message(serve):
    server = serve(wordy=True, continues=False)
    found = {one.what: one for one in examine_model(server.name)}
    assert found["answer start"].state == "warning"
    assert "start" in found["answer start"].found
    assert "start=" not in found["answer start"].remedy


def test_doctor_asks_a_model_that_answers_at_once_no_more_than_once(serve):
    server = serve()
    assert "answer start" not in {one.what for one in examine_model(server.name)}
    assert server.stats()["requests"] == 1


def test_the_start_that_doctor_names_gives_every_rating_a_value(serve, model_config):
    server = serve(wordy=True)
    with pytest.raises(TooManyFailures, match="rulesel doctor --judge"):
        run(model_config(server.name, rules={"sample": 60}))
    assert run(model_config(server.name, judge_parameters={"start": "Rating: "})).scored.status.max() == 0


def columns(path):
    with Store(path, read_only=True) as store:
        return store.db.rows(
            'SELECT k.id, k.name, count(v.value) FROM columns k JOIN column_values v USING ("column") '
            "WHERE k.name = 'overall' GROUP BY ALL"
        )


def test_a_model_in_this_process_grades_the_sample_on_the_engine_that_rates(model_config, engine, tmp_path):
    recorder = Recorder()
    config = model_config(engine[0], rules={"anchor": "overall"})
    outcome = run(config, recorder)
    ((_, _, graded),) = columns(tmp_path / "store.duckdb")
    assert graded == 30
    assert len(engine[1]) == 1, "one engine, not two"
    assert any("30 with an anchor" in line for line in recorder.said)
    (tmp_path / "model" / "model.safetensors").unlink()
    assert all(one.agrees for one in verify_file(tmp_path / "out.jsonl.receipt.json"))
    assert outcome.receipt["answer_starts"]["sample"] == "Rating: "


def test_judge_grades_with_a_model_in_this_process_and_a_run_takes_its_grades(model_config, engine, tmp_path):
    store = tmp_path / "store.duckdb"
    config = model_config(engine[0], domain="tasks", rules={"anchor": "overall"})
    given = {"corpus": config.corpus.model_dump(), "store": str(store), "judge": engine[0], "about": "tasks"}
    found = judge(check(JudgeConfig, given))
    assert (found.graded, found.examples, found.failed) == (60, 60, {})
    assert engine[1][0].closed == 1
    before = columns(store)
    run(config)
    assert columns(store) == before


def test_a_rubric_on_a_scale_of_its_own_is_graded_in_this_process_too(model_config, engine, planted, tmp_path):
    config = model_config(engine[0])
    given = {"corpus": config.corpus.model_dump(), "store": str(tmp_path / "store.duckdb"), "judge": engine[0]}
    assert judge(check(JudgeConfig, given | {"rubric": "deita-quality", "sample": 8})).graded == 8


def test_other_weights_are_another_judge(model_config, engine, tmp_path):
    config = model_config(engine[0])
    given = {"corpus": config.corpus.model_dump(), "store": str(tmp_path / "store.duckdb"), "judge": engine[0]}
    judge(check(JudgeConfig, given))
    (tmp_path / "model" / "model.safetensors").write_bytes(b"other")
    judge(check(JudgeConfig, given))
    assert len(columns(tmp_path / "store.duckdb")) == 2


def test_a_model_in_this_process_writes_no_rules(model_config, engine):
    config = model_config(engine[0], domain="tasks")
    config = config.model_copy(update={"rules": config.rules.model_copy(update={"source": None, "writer": engine[0]})})
    with pytest.raises(UsageError, match="it rates and grades"):
        run(config)


def test_a_report_shows_the_checks_there_are_and_the_commands_of_the_others(model_config, engine, tmp_path):
    run(model_config(engine[0], rules={"retest": 20}))
    receipt, store = tmp_path / "out.jsonl.receipt.json", str(tmp_path / "store.duckdb")
    retest, order, canary = report_file(receipt).trust
    assert retest.found.startswith("20 examples; a rule's ranks then and now correlate")
    assert order.found is canary.found is None
    options = [shlex.split(one.command)[-1] for one in (order, canary)]
    assert options == ["--order", "--canaries"]
    assert shlex.split(order.command)[:7] == ["rulesel", "judge", "check", "--store", store, "--judge", engine[0]]
    before = cells(tmp_path / "store.duckdb")
    given = {"store": store, "judge": engine[0], "examples": 12}
    calibrate(check(CalibrationConfig, given), ordered=True, repeated=False)
    shifts = canary_shifts(check(CanaryConfig, given))
    assert all(one.n == 12 for one in shifts), "the start of the run's answers is the one that is tested"
    figures = report_file(receipt)
    assert [one.command for one in figures.trust] == [None] * 3
    assert "12 examples" in figures.trust[1].found
    assert "of 5 rules give in" in figures.trust[2].found
    assert "How far the judge can be trusted" in run_page(figures)
    assert cells(tmp_path / "store.duckdb") == before


def test_a_report_of_computed_ratings_has_no_checks_of_a_judge(run_config, tmp_path):
    run(run_config())
    assert report_file(tmp_path / "out.jsonl.receipt.json").trust == []
