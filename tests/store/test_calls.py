"""Calls move from the ledger into the store, each once."""

import pytest

from rulesel.llm.base import Outcome
from rulesel.store import Store
from rulesel.store.ledger import Ledger


def outcome(cost):
    return Outcome("ok", "", b"reply", 100, 0, 1, cost, 1, 0.5)


@pytest.fixture
def ledger():
    made = Ledger(None, run="r")
    yield made
    made.close()


def ask(ledger, keys):
    stage = ledger.stage("corpus")
    for key in keys:
        stage.reserve(key, "m", 0.5)
        stage.settle(key, outcome(0.25))


def test_a_call_that_a_crash_moves_twice_is_kept_once(ledger):
    store = Store()
    ask(ledger, "abc")
    first = ledger.finished()
    store.calls.add(first)
    ask(ledger, "de")  # the crash comes here, before the ledger is told that the first three have moved
    store.calls.add(ledger.finished())
    store.calls.add(first)
    assert store.calls.of_run("r") == (5, 1.25)


def test_what_calls_took_is_measured_by_model_and_stage(ledger):
    store = Store()
    assert store.calls.measured("m", "corpus") == (0, 0, 0)
    ask(ledger, "abc")
    store.calls.add(ledger.finished())
    assert store.calls.measured("m", "corpus") == (3, 100, 0.5)
    assert store.calls.measured("m", "sample") == (0, 0, 0)
