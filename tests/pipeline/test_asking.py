"""`sql` asks; whatever else a statement does is refused in one line, and the process lives."""

import pytest

from rulesel.errors import UsageError
from rulesel.pipeline.asking import query
from rulesel.store import Store


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "s.duckdb"
    Store(path).close()
    with Store(path, read_only=True) as opened:
        yield opened


REFUSED = {
    "": "an empty text",
    " ; ": "an empty text",
    "-- nothing": "an empty text",
    "SELECT 1; SELECT 2": "2 statements",
    "SELEC 1": "syntax error",
    "SELECT": "SELECT",
    "SELECT nothing": "nothing",
    "SELECT ?": "parameter",
    "SELECT error('x')": "x",
    "CALL enable_logging('x')": "CALL is not allowed",
    "CALL enable_logging(storage='stdout')": "CALL is not allowed",
    "SELECT * FROM enable_logging()": "enable_logging is not allowed",
    "WITH a AS (FROM enable_logging()) FROM a": "enable_logging is not allowed",
    "SELECT (SELECT count(*) FROM force_checkpoint())": "force_checkpoint is not allowed",
    "DESCRIBE SELECT * FROM enable_logging()": "enable_logging is not allowed",
    "FROM query('SELECT 1')": "query is not allowed",
    "SELECT * FROM read_csv('/etc/passwd')": "read_csv is not allowed",
    "SELECT * FROM '/etc/passwd'": "not",
    "SELECT * FROM glob('*')": "glob is not allowed",
    "INSERT INTO rules SELECT * FROM rules": "INSERT is not allowed",
    "WITH x AS (INSERT INTO settings VALUES ('a', 'b') RETURNING *) SELECT * FROM x": "",
    "CREATE TABLE t AS SELECT 1": "CREATE is not allowed",
    "COPY rules TO 'x.csv'": "COPY is not allowed",
    "ATTACH 'z.duckdb'": "ATTACH is not allowed",
    "DETACH store": "DETACH is not allowed",
    "INSTALL httpfs": "is not allowed",
    "LOAD httpfs": "LOAD is not allowed",
    "SET threads = 1": "SET is not allowed",
    "RESET threads": "is not allowed",
    "PRAGMA enable_profiling": "is not allowed",
    "CHECKPOINT": "is not allowed",
    "VACUUM": "VACUUM is not allowed",
    "USE memory": "is not allowed",
    "EXPORT DATABASE 'x'": "EXPORT is not allowed",
    "PREPARE x AS SELECT 1": "PREPARE is not allowed",
    "BEGIN": "TRANSACTION is not allowed",
    "SELECT " + "-(" * 3000 + "1" + ")" * 3000: "depth",
    "SELECT \ud800": "",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: ascii(text[:40]))
def test_what_does_more_than_ask_is_refused(store, text, tmp_path):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError) as refused:
        query(store, text)
    assert str(refused.value).startswith("SQL: ")
    assert REFUSED[text].lower() in str(refused.value).lower()
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1", "select 1;", "WITH a AS (SELECT 1) FROM a", "VALUES (1)", "FROM rules", "SHOW TABLES", "DESCRIBE rules",
        "SUMMARIZE rules", "SELECT * FROM range(3)", "SELECT * FROM duckdb_tables()", "SELECT unnest([1, 2])",
        "SELECT 'COPY; DROP TABLE rules'",
    ],
)  # fmt: skip
def test_what_asks_is_answered(store, text):
    found = query(store, text)
    assert found.names
    assert not found.more


def test_a_variable_of_this_program_is_no_table(store):
    import pyarrow as pa

    mine = pa.table({"a": [1]})
    with pytest.raises(UsageError, match="mine"):
        query(store, "SELECT * FROM mine")
    assert mine


def test_no_more_rows_are_fetched_than_are_shown(store):
    found = query(store, "SELECT range FROM range(1000000000000)", limit=5)
    assert (len(found.rows), found.more) == (5, True)
    assert not query(store, "SELECT range FROM range(5)", limit=5).more
