"""The verb `sql`."""

import json

import pytest

from rulesel.store import Store


@pytest.fixture
def ask(tmp_path, rulesel):
    path = tmp_path / "s.duckdb"
    Store(path).close()
    return lambda *words: rulesel("sql", *words, "--store", path)


@pytest.mark.parametrize("text", ["", "CALL enable_logging('x')", "SELEC", "SELECT nothing", "SET threads = 1"])
def test_what_cannot_be_asked_is_one_line_and_exit_2(ask, text):
    ended = ask(text)
    assert ended.code == 2
    assert ended.err.startswith("rulesel: SQL: ")
    assert ended.err.count("\n") == 1
    assert ended.out == ""


def test_a_terminal_gets_bounded_rows_and_cells(ask):
    ended = ask("SELECT repeat('x', 100000) AS a, range FROM range(1000)", "--limit", "3")
    assert ended.code == 0
    assert len(ended.out) < 15_000
    assert "(100,000 characters)" in ended.out.replace("\n", "").replace("  ", "")
    assert "more rows than 3" in ended.out


def test_json_is_whole_and_loses_no_column(ask):
    assert len(json.loads(ask("SELECT range FROM range(1000)", "--json").out)) == 1000
    ended = ask("SELECT 1 AS a, 2 AS a", "--json")
    assert ended.code == 2
    assert "name them with AS" in ended.err
