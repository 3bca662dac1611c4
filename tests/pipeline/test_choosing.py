"""A sample rated on its own, and rules chosen on it: what a run would choose, and at no further cost."""

import numpy as np
import pytest

from rulesel.config import RulesConfig
from rulesel.digest import digest
from rulesel.errors import UsageError
from rulesel.pipeline import Watcher, rate_sample, run
from rulesel.pipeline.auditing import audit_store
from rulesel.pipeline.choosing import choose, rated_sample
from rulesel.pipeline.explaining import explain
from rulesel.records import Ratings, Rule, RuleSet, Status
from rulesel.store import Store


def read_texts(store, texts):
    fields = {"source_format": "jsonl", "shape": "text", "mapping": {"text": "text"}, "header": None, "limit": None}
    incoming = store.corpora.begin(path="c.jsonl", **fields)
    rows = np.arange(len(texts))
    hashes = [digest({"text": text}) for text in texts]
    incoming.add(rows, hashes, [None] * len(texts), texts, [f'{{"row": {row}}}'.encode() for row in rows])
    return incoming.finish(sha256=digest(texts), n_records=len(texts), skipped={})


def chosen(path, r):
    with Store(path) as store:
        found = choose(store, RulesConfig(keep=r), judge=None, gold=None, seed=0)
    return [found.rule_set.rules[j].name for j in found.choice.indices], found.choice.kernel


def test_computed_ratings_are_chosen_from_as_in_a_run(run_config, tmp_path):
    config = run_config()
    found = rate_sample(config)
    assert found.last_line == "200 examples rated on 5 rules: 1,000 ratings, 0 failed"
    names, kernel = chosen(tmp_path / "store.duckdb", 3)
    assert kernel == "correlation"
    with Store(tmp_path / "store.duckdb", read_only=True) as store:
        audit = audit_store(store, keep=3).figures
    outcome = run(config)
    assert [outcome.rule_set.rules[j].name for j in outcome.choice.indices] == names
    assert [audit.rules[j].name for j in audit.chosen] == names


def test_what_does_not_apply_is_no_failure(run_config, rules, tmp_path):
    rules.write_text(
        rules.read_text()
        + """  - name: opens well
    text: The response opens with a small number.
    sql: "case when starts_with(response, 'two') or starts_with(response, 'one') then n_words / 100.0 end"
"""
    )
    found = rate_sample(run_config())
    apart = int((found.sample.status == Status.not_applicable).sum())
    assert 0 < apart < 200
    assert found.last_line.endswith(f"on 6 rules: {1200 - apart:,} ratings, 0 failed, {apart} not applicable")
    with Store(tmp_path / "store.duckdb", read_only=True) as store:
        assert store.ratings.failures(0, found.sample.numbers) == {}
        warned = audit_store(store, keep=3).figures.warnings
    assert not any("of the ratings of “opens well” failed" in one.text for one in warned)


def test_a_judge_s_own_grades_anchor_the_choice_and_the_run_asks_for_the_corpus_only(serve, model_config, tmp_path):
    server = serve()
    config = model_config(server.name, domain="answers that say how good they are")
    config = config.model_copy(update={"rules": config.rules.model_copy(update={"anchor": "overall"})})
    found = rate_sample(config)
    n = len(found.sample.contents)
    assert server.stats()["requests"] == n * len(found.rule_set) + n
    names, kernel = chosen(tmp_path / "store.duckdb", config.rules.keep)
    assert kernel == "weighted"
    before = server.stats()["requests"]
    outcome = run(config)
    assert [outcome.rule_set.rules[j].name for j in outcome.choice.indices] == names
    with Store(tmp_path / "store.duckdb", read_only=True) as store:
        stages = store.db.rows("SELECT stage, count(*) FROM calls GROUP BY stage ORDER BY stage")
    assert dict(stages)["sample"] == n * len(found.rule_set)
    assert server.stats()["requests"] - before == dict(stages)["corpus"]


def test_consent_is_asked_for_the_sample_alone(serve, model_config, monkeypatch):
    monkeypatch.setattr("rulesel.pipeline.chain.is_free", lambda name: False)
    server = serve()
    with pytest.raises(UsageError, match=r"150 requests at an unknown price\. Nothing was sent"):
        rate_sample(model_config(server.name))
    assert server.stats()["requests"] == 0


def test_rating_a_sample_needs_rules(run_config):
    config = run_config()
    with pytest.raises(UsageError, match="--domain"):
        rate_sample(config.model_copy(update={"rules": config.rules.model_copy(update={"source": None})}))


def rated_by(store, rules, contents, rater, values):
    numbers = store.rules.numbers(rules)
    name = store.rules.rater(rater, rater, {}, {})
    status = np.zeros(values.shape, dtype=np.uint8)
    store.ratings.add(contents, numbers, name, "sample", Ratings(values.astype(np.float32), status))


def test_of_equal_rule_sets_and_raters_the_last_is_taken(tmp_path):
    sets = [RuleSet(rules=tuple(Rule(name=f"{name} {j}", text=f"{name} {j}.") for j in range(3))) for name in "cab"]
    values = np.random.default_rng(0).random((8, 3))
    with Store(tmp_path / "equal.duckdb") as store:
        read_texts(store, [f"text {i}" for i in range(8)])
        for rater in ("first", "second"):
            for rules in sets:
                store.rules.keep(rules)
                rated_by(store, rules.rules, np.arange(8), rater, values)
        found, rater, _ = rated_sample(store)
    assert [rule.name for rule in found.rules] == ["b 0", "b 1", "b 2"]
    assert rater == "second"


def test_a_percentile_is_among_the_examples_of_the_current_corpus(tmp_path):
    rules = RuleSet(rules=(Rule(name="clear", text="It is clear."),))
    with Store(tmp_path / "two.duckdb") as store:
        read_texts(store, ["far better", "better still", "best"])
        read_texts(store, ["low", "middle", "high", "higher"])
        store.rules.keep(rules)
        rated_by(
            store, rules.rules, np.arange(7), "rater", np.array([[0.9], [0.95], [1.0], [0.1], [0.2], [0.3], [0.4]])
        )
        assert [explain(store, str(row))["ratings"][0]["percentile"] for row in range(4)] == [0, 25, 50, 75]


def test_a_run_says_which_rules_point_the_wrong_way(run_config, tmp_path):
    rules = tmp_path / "against.yaml"
    lengths = {"long": "n_words / 60.0", "longer": "(n_words + n_lines) / 62.0", "written": "n_chars / 300.0"}
    more = {**lengths, "numbered": "n_words / 60.0 + n_chars / 300.0", "short": "1.0 - n_words / 70.0"}
    rules.write_text(
        "rules:\n"
        + "".join(
            f'  - {{name: {name}, text: It is {name}., sql: "least(1.0, {sql})"}}\n' for name, sql in more.items()
        )
    )
    told = []
    watcher = Watcher()
    watcher.say = told.append
    run(run_config(rules={"source": str(rules), "keep": 2}), watcher)
    assert any("left out: 'short' points the wrong way: correlation -" in line for line in told), told
