"""Every mistake that can be known beforehand ends with exit 2 before the first request."""

import inspect
import json
import subprocess
import sys

import pytest

from rulesel.cli import runs
from rulesel.errors import RuleselError, UsageError
from rulesel.pipeline import Watcher, run
from rulesel.plugins import find, names
from rulesel.selection import Selector

SAFE = {
    "json": "a switch",
    "yes": "a switch",
    "measure": "a switch",
    "domain": "any text will do",
    "seed": "any number will do",
}
"""Options of `run` that no value is wrong for."""

WRONG = {
    "k": ["-k", "0"],
    "fraction": ["--fraction", "1.5"],
    "threshold": ["--threshold", "high"],
    "max_tokens": ["-k", "3", "--max-tokens", "0"],
    "per": ["--per", "nofield=3"],
    "method": ["-k", "3", "--method", "topk"],
    "param": ["-k", "3", "--method", "kcenter", "--param", "first=9999"],
    "out": ["-k", "3", "-o", "missing/out.jsonl"],
    "as_": ["-k", "3", "--as", "chat"],
    "judge": ["-k", "3", "--judge", "no model"],
    "judge_param": ["-k", "3", "--judge-param", "nonsense=1"],
    "sample_judge": ["-k", "3", "--sample-judge", "no model"],
    "writer": ["-k", "3", "--writer", "no model"],
    "rules": ["-k", "3", "--rules", "missing.yaml"],
    "count": ["-k", "3", "--count", "1"],
    "sample": ["-k", "3", "--sample", "1"],
    "anchor": ["-k", "3", "--anchor", "nocolumn"],
    "retest": ["-k", "3", "--retest", "31"],
    "keep": ["-k", "3", "-r", "few"],
    "coverage": ["-k", "3", "--coverage", "90"],
    "engine": ["-k", "3", "--engine", "spark"],
    "actors": ["-k", "3", "--actors", "0"],
    "store": ["-k", "3", "--store", "missing/store.duckdb"],
    "duplicates": ["-k", "3", "--duplicates", "all"],
    "prompt_field": ["-k", "3", "--prompt-field", "nofield"],
    "response_field": ["-k", "3", "--response-field", "nofield"],
    "text_field": ["-k", "3", "--text-field", "nofield"],
    "limit": ["-k", "3", "--limit", "0"],
    "max_failed": ["-k", "3", "--max-failed", "2"],
    "max_cost": ["-k", "3", "--max-cost", "5"],
    "max_requests": ["-k", "3", "--max-requests", "-1"],
    "concurrency": ["-k", "3", "--concurrency", "0"],
    "rpm": ["-k", "3", "--rpm", "0"],
    "tpm": ["-k", "3", "--tpm", "0"],
    "timeout": ["-k", "3", "--timeout", "0"],
    "corpus": ["-k", "3"],
}


@pytest.fixture
def command(serve, planted, tmp_path, monkeypatch):
    """Run the command line in this process; returns the exit code and what it wrote to stderr."""
    monkeypatch.chdir(tmp_path)
    rules = "rules:\n" + "".join(f"  - {{name: trait {j}, text: The answer has trait {j}.}}\n" for j in range(5))
    (tmp_path / "rules.yaml").write_text(rules)
    server = serve()

    def call(*words, corpus="planted.jsonl"):
        given = [
            "run",
            corpus,
            "--rules",
            "rules.yaml",
            "--judge",
            server.name,
            "--sample",
            "30",
            "-r",
            "3",
            "--anchor",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "rulesel", *given, "none", "-o", "out.jsonl", "--yes", *words],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stderr, server.stats()["requests"]

    return call


def test_every_option_of_run_is_walked():
    options = set(inspect.signature(runs.run).parameters)
    assert options == set(WRONG) | set(SAFE)


@pytest.mark.parametrize("option", sorted(WRONG))
def test_a_wrong_value_is_found_before_the_first_request(command, option):
    corpus = "missing.jsonl" if option == "corpus" else "planted.jsonl"
    code, said, requests = command(*WRONG[option], corpus=corpus)
    assert code == 2, said
    assert requests == 0
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "over",
    [
        {"select": {"quality": "grade"}},
        {"select": {"method": "mig", "tags": "nofield"}},
        {"select": {"method": "kcenter", "embedding": "nothing"}},
        {"select": {"method": "kcenter", "parameters": {"given": [9999]}}},
        {"select": {"method": "quality_dpp", "parameters": {"draw": "sample", "given": [1]}}},
        {"select": {"method": "novelselect", "parameters": {"neighbors": 0}}},
        {"rules": {"required": ["no such rule"]}},
        {"rules": {"forbidden": ["no such rule"]}},
        {"rules": {"required": ["trait 0", "trait 1", "trait 2", "trait 3"]}},
        {"rules": {"method": "paper", "required": ["trait 0"]}},
        {"rules": {"anchor": "grade"}},
        {"rules": {"retest": 31}},
    ],
    ids=json.dumps,
)
def test_a_setting_that_cannot_work_is_found_before_the_first_request(serve, model_config, over):
    server = serve()
    with pytest.raises(RuleselError) as caught:
        run(model_config(server.name, **over))
    assert caught.value.exit_code == 2
    assert server.stats()["requests"] == 0


def test_work_that_takes_hours_is_refused_before_the_first_request(serve, model_config, monkeypatch):
    monkeypatch.setattr("rulesel.selection._offer.LONGEST", 1e-12)
    server = serve()
    with pytest.raises(UsageError, match="hours"):
        run(model_config(server.name, select={"method": "novelselect"}))
    assert server.stats()["requests"] == 0


def test_a_folder_in_the_place_of_a_side_file_is_found_before_the_first_request(serve, model_config, tmp_path):
    (tmp_path / "out.jsonl.scores.parquet").mkdir()
    server = serve()
    with pytest.raises(UsageError, match="in the way"):
        run(model_config(server.name))
    assert server.stats()["requests"] == 0


def test_more_than_there_are_is_said_before_the_first_request(serve, model_config):
    server = serve()
    said = []

    class Recorder(Watcher):
        def say(self, line):
            said.append((line, server.stats()["requests"]))

    run(model_config(server.name, select={"k": 100}), Recorder())
    assert ("asked for 100 of 60 examples: at most those can be selected", 0) in said


@pytest.mark.parametrize("method", names("rulesel.selection"))
def test_no_method_fails_the_rehearsal_with_its_own_defaults(serve, model_config, method):
    assert find("rulesel.selection", method, Selector)
    server = serve()
    try:
        run(model_config(server.name, select={"method": method}))
    except UsageError:
        assert server.stats()["requests"] == 0
