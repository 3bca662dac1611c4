"""A rater that answers one number to everything is stopped after fifty rows, before the rest of it is paid for."""

import math

import numpy as np
import pytest

from rulesel.errors import RuleselError, TooManyFailures
from rulesel.llm.base import Completion
from rulesel.llm.fake import Fake, unit
from rulesel.pipeline import Watcher, run
from rulesel.pipeline.constant import Constant, narrow
from rulesel.records import Rule
from rulesel.store import Store

RULES = {3: Rule(name="a", text="A."), 5: Rule(name="b", text="B.", polarity="negative")}


class Recorder(Watcher):
    def __init__(self):
        self.said = []

    def say(self, line):
        self.said.append(line)


@pytest.fixture
def model(monkeypatch):
    """`fake:model` asks `model.answer`, and counts."""

    class Model:
        asked = 0
        answer = staticmethod(lambda request: "4")

    def script(request):
        Model.asked += 1
        said = Model.answer(request)
        return said if isinstance(said, Completion) else Completion(said)

    monkeypatch.setattr(Fake, "named", classmethod(lambda cls, name: cls(script)))
    return Model


def config_of(model_config, planted, **over):
    planted(400)
    return model_config("fake:model", rules={"sample": 400, "keep": 3}, **over)


def ratings(tmp_path):
    with Store(tmp_path / "store.duckdb", read_only=True) as store:
        return store.db.one("SELECT count(*) FROM ratings")


def test_one_answer_to_everything_stops_after_fifty_rows_and_is_named(model, model_config, planted, tmp_path):
    config = config_of(model_config, planted)
    with pytest.raises(TooManyFailures) as error:
        run(config)
    assert error.value.exit_code == 4
    assert "Stopped after 50 examples: of 250 answers fake:model gave 4 in 100%" in str(error.value)
    assert ratings(tmp_path) == 250, "what was rated is kept"
    assert model.asked <= 250 + 5 * config.concurrency
    asked = model.asked
    with pytest.raises(TooManyFailures, match="Stopped after 50 examples"):
        run(config)
    assert model.asked == asked, "the same command pays for nothing more"


def test_an_attempt_that_was_stopped_before_counts(model, model_config, planted, tmp_path):
    config = config_of(model_config, planted, max_requests=180)
    with pytest.raises(RuleselError, match="max-requests"):
        run(config)
    before = ratings(tmp_path)
    assert before < 250
    with pytest.raises(TooManyFailures, match="Stopped after"):
        run(config.model_copy(update={"max_requests": None}))
    assert ratings(tmp_path) <= 300


def test_a_rule_that_varies_lets_the_run_go_on(model, model_config, planted):
    def answer(request):
        text = str(request.messages)
        return "4" if "trait 0" not in text else str(int(6 * unit(text)))

    model.answer = staticmethod(answer)
    run(config_of(model_config, planted))
    assert model.asked == 5 * 400


def test_a_narrow_spread_of_expectations_is_a_warning(model, model_config, planted):
    def answer(request):
        high = 0.80 + 0.05 * unit(str(request.messages))
        return Completion("4", logprobs=((("4", math.log(high)), ("3", math.log(1 - high))),))

    model.answer = staticmethod(answer)
    recorder = Recorder()
    run(config_of(model_config, planted, max_failed=0.5), recorder)
    (line,) = [line for line in recorder.said if line.startswith("warning: 5 of 5 rules")]
    assert "hardly tells these examples apart" in line


def test_failures_asked_again_do_not_stop_a_run_that_ended_well(model, model_config, planted, tmp_path):
    from rulesel.pipeline.retrying import find_failures, go_on

    def answer(request):
        drawn = unit(str(request.messages))
        return "no digit here" if drawn < 0.2 else str(int(6 * unit("again", str(drawn))))

    model.answer = staticmethod(answer)
    run(config_of(model_config, planted, max_failed=0.5, coverage=0.1))
    asked = model.asked
    model.answer = staticmethod(lambda request: "4")
    go_on(find_failures(tmp_path / "store.duckdb"), {})
    assert model.asked > asked + 250


def count(n, *columns):
    constant = Constant("m", RULES)
    constant.add([3, 5], np.array(columns, dtype=np.float32).T[:n])
    return constant


def test_every_rule_needs_its_own_number_and_fifty_rows():
    same = np.full(100, 0.8), np.full(100, 0.2)
    count(49, *same).alarm()
    with pytest.raises(TooManyFailures, match="of 100 answers m gave 4 in 100%"):
        count(50, *same).alarm()
    varied = same[1].copy()
    varied[:2] = 0.4, 0.6
    count(50, same[0], varied).alarm()  # 96 %
    with pytest.raises(TooManyFailures, match="4 in 99%"):
        count(100, same[0], varied).alarm()  # 98 %


def test_equal_is_to_a_thousandth_and_failures_are_no_answers():
    near = np.full(60, 0.8) + np.linspace(-4e-4, 4e-4, 60)
    with pytest.raises(TooManyFailures):
        count(60, near, np.full(60, np.nan)).alarm()
    count(60, np.full(60, np.nan), np.full(60, np.nan)).alarm()
    count(60, np.linspace(0.7, 0.8, 60), near).alarm()


def test_narrow_counts_rules_whose_ratings_hardly_differ():
    wide, close = np.linspace(0, 1, 50), np.linspace(0.6, 0.65, 50)
    assert narrow(np.stack([wide, close, np.full(50, np.nan)], axis=1).astype(np.float32)) == 1
