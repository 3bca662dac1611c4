"""A small corpus with a known order of quality, and rules that SQL can measure."""

import importlib.util
import json
import random
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.slow)


RULES = """\
origin: written for the tests
domain: answers to questions
rules:
  - name: long enough
    text: The response is long enough to answer.
    sql: least(1.0, n_words / 40.0)
  - name: numbered
    text: The response numbers its steps.
    sql: "least(1.0, length(regexp_replace(response, '[^0-9]', '', 'g')) / 6.0)"
  - name: ends well
    text: The response ends with a full stop.
    sql: "case when ends_with(response, '.') then 1.0 else 0.1 end"
  - name: shouts
    text: The response shouts.
    polarity: negative
    sql: "least(1.0, length(regexp_replace(response, '[^!]', '', 'g')) / 4.0)"
  - name: asks back
    text: The response asks back.
    polarity: negative
    sql: "least(1.0, length(regexp_replace(response, '[^?]', '', 'g')) / 4.0)"
"""


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return path


def record(i, rng):
    words = " ".join(rng.choice(["one", "two", "three", "four", "seven"]) for _ in range(rng.randint(2, 60)))
    digits = "".join(rng.choice("0123456789") for _ in range(rng.randint(0, 8)))
    end = "!" * rng.randint(0, 5) + "?" * rng.randint(0, 5) + rng.choice(["", "."])
    return {
        "instruction": f"Question {i}",
        "input": "",
        "output": f"{words} {digits}{end}",
        "source": f"s{i % 5}",
        "n": i,
    }


@pytest.fixture
def corpus(tmp_path):
    rng = random.Random(0)
    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps(record(i, rng), ensure_ascii=False) + "\n" for i in range(400)))
    return path


@pytest.fixture
def run_config(corpus, rules, tmp_path):
    """A function that makes a configuration; keyword arguments override it section by section."""
    from rulesel.config import RunConfig, check, merged

    def make(**over):
        values = {
            "corpus": {"path": str(corpus)},
            "rules": {"source": str(rules), "sample": 200, "keep": 3},
            "select": {"k": 40},
            "out": str(tmp_path / "out.jsonl"),
            "store": str(tmp_path / "store.duckdb"),
        }
        return check(RunConfig, merged(values, over))

    return make


# what follows is for runs with a model: the server of tests/llm, lent here too
_found = importlib.util.spec_from_file_location("llm_server", Path(__file__).parents[1] / "llm" / "conftest.py")
_llm = importlib.util.module_from_spec(_found)
sys.modules["llm_server"] = _llm
_found.loader.exec_module(_llm)
servers, serve, no_keys = _llm.servers, _llm.serve, _llm.no_keys

READ_RULES = [f"  - {{name: trait {j}, text: The answer has trait {j}.}}\n" for j in range(5)]


@pytest.fixture
def planted(tmp_path):
    """A file of examples that say how good they are; `planted(n)` writes the first n."""
    path = tmp_path / "planted.jsonl"

    def write(n):
        rows = ({"instruction": f"Task {i}", "output": f"Answer {i}, planted={i % 97 / 97:.3f}"} for i in range(n))
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    write(60)
    return write


@pytest.fixture
def model_config(planted, tmp_path):
    """A function that makes a configuration in which a model rates everything under five rules."""
    from rulesel.config import RunConfig, check, merged

    path = tmp_path / "planted.jsonl"
    rules = tmp_path / "read.yaml"
    rules.write_text("rules:\n" + "".join(READ_RULES))

    def make(model, **over):
        values = {
            "corpus": {"path": str(path)},
            "judge": model,
            "rules": {"source": str(rules), "sample": 30, "keep": 3, "anchor": "none"},
            "select": {"k": 10},
            "concurrency": 16,
            "timeout": 2.0,
            "out": str(tmp_path / "out.jsonl"),
            "store": str(tmp_path / "store.duckdb"),
        }
        return check(RunConfig, merged(values, over))

    return make


@pytest.fixture(autouse=True)
def _one_secret(monkeypatch):
    """Every store of these tests draws the same secret, so that a fake model says the same each time."""
    monkeypatch.setattr("rulesel.store.database.secrets", SimpleNamespace(token_hex=lambda n: "5a" * n))
