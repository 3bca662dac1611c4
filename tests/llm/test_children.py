"""Processes that rulesel starts get no key: neither in their environment nor on their command line."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from rulesel.engines.ray import _start
from rulesel.llm.redact import keys_kept_back
from rulesel.raters.signals.processes import Process

CANARY = "sk-canary-3c5e7a9b1d2f"
NAMES = ("OPENAI_API_KEY", "RULESEL_API_KEY", "ANTHROPIC_API_KEY")


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    for name in NAMES:
        monkeypatch.setenv(name, CANARY)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc here")
def test_the_process_that_runs_rules_sql_gets_no_key():
    process = Process()
    try:
        place = Path("/proc") / str(process._process.pid)
        assert CANARY.encode() not in place.joinpath("environ").read_bytes()
        assert CANARY.encode() not in place.joinpath("cmdline").read_bytes()
    finally:
        process.end()


def test_keys_are_kept_back_for_a_while_and_tokens_stay(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    with keys_kept_back():
        assert CANARY not in os.environ.values()
        assert os.environ["HF_TOKEN"] == "hf_canary"
    assert [os.environ[name] for name in NAMES] == [CANARY] * 3


def test_they_come_back_when_the_start_fails():
    with pytest.raises(RuntimeError), keys_kept_back():
        raise RuntimeError
    assert os.environ["OPENAI_API_KEY"] == CANARY


def test_a_cluster_on_this_machine_is_started_without_keys():
    seen = {}
    _start(SimpleNamespace(init=lambda **_: seen.update(os.environ)))
    assert seen
    assert CANARY not in seen.values()
