"""A judge tested against itself: orders of the prompt, company, and what is refused."""

import json
import subprocess
import sys

import pytest

from rulesel.config import check
from rulesel.errors import UsageError
from rulesel.llm.fake_tokens import ByteTokenizer, FakeTokenModel
from rulesel.pipeline import score
from rulesel.pipeline.calibrating import CalibrationConfig, calibrate
from rulesel.raters.vllm import Vllm
from rulesel.store import Store


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """`vllm:FOLDER` with an engine that is none; tells which engines were closed."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 8192}))
    (folder / "model.safetensors").write_bytes(b"none")
    opened, opening = [], Vllm.open

    def fake(rater):
        if rater._opened is None:
            opened.append(FakeTokenModel())
            rater.use(opened[-1], ByteTokenizer(), 8192)
        return opening(rater)

    monkeypatch.setattr(Vllm, "open", fake)
    return f"vllm:{folder}", opened


@pytest.fixture
def scored(model_config, engine):
    """A store with ratings by that engine."""
    config = model_config(engine[0])
    score(config)
    return config.store_path


def test_one_engine_rates_sample_and_corpus(scored, engine):
    assert len(engine[1]) == 1


def test_order_and_repetition_share_an_engine_and_leave_no_rating(scored, engine):
    def cells():
        with Store(scored, read_only=True) as store:
            return store.db.rows("SELECT count(*), count(DISTINCT rater) FROM ratings")

    before = cells()
    config = check(CalibrationConfig, {"store": str(scored), "judge": engine[0], "examples": 20})
    found = calibrate(config, ordered=True, repeated=True)
    assert [one.rule for one in found.order] == [f"trait {j}" for j in range(5)]
    assert all(one.n == 20 for one in found.order)
    assert [one.arm for one in found.repeat][-1] == "one rule at a time"
    assert [(one.largest, one.flipped) for one in found.repeat] == [(0.0, 0)] * 4
    assert cells() == before
    assert len(engine[1]) == 2


def test_parts_that_were_not_asked_for_are_none(scored, engine):
    config = check(CalibrationConfig, {"store": str(scored), "judge": engine[0], "examples": 5})
    assert calibrate(config, ordered=True, repeated=False).repeat is None
    assert calibrate(config, ordered=False, repeated=True).order is None


def test_a_model_that_keeps_its_answers_is_not_asked_twice(scored):
    config = check(CalibrationConfig, {"store": str(scored), "judge": "fake:planted"})
    with pytest.raises(UsageError, match="never asked again"):
        calibrate(config, ordered=False, repeated=True)


def test_a_rater_without_a_prompt_has_no_order(scored):
    config = check(CalibrationConfig, {"store": str(scored), "judge": "signals", "rules": "pack:general-instructions"})
    with pytest.raises(UsageError, match="no prompt whose order"):
        calibrate(config, ordered=True, repeated=False)


def test_the_command_line_shows_each_rule(scored):
    command = [sys.executable, "-m", "rulesel", "judge", "check", "--store", str(scored), "--judge", "fake:planted"]
    done = subprocess.run([*command, "--order", "--examples", "12"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "trait 3" in done.stdout
    assert "of 5 rules rank the examples otherwise" in done.stdout
    asked = subprocess.run([*command, "--order", "--json"], capture_output=True, text=True, check=True)
    assert {one["rule"] for one in json.loads(asked.stdout)["order"]} == {f"trait {j}" for j in range(5)}
    refused = subprocess.run([*command, "--repeat"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    nothing = subprocess.run(command, capture_output=True, text=True, check=False)
    assert nothing.returncode == 2
    assert "--order, --repeat" in nothing.stderr
