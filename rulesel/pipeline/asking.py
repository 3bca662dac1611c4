"""A query of the user's over a store: it asks, and can change, read and load nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from rulesel.errors import UsageError
from rulesel.store import Store

if TYPE_CHECKING:
    import duckdb

_TABLE_FUNCTIONS = frozenset(
    {
        *("range", "generate_series", "unnest", "repeat", "repeat_row", "json_each", "json_tree"),
        *("pragma_table_info", "pragma_show", "pragma_version", "pragma_database_size", "pragma_storage_info"),
        *("duckdb_columns", "duckdb_constraints", "duckdb_functions", "duckdb_indexes", "duckdb_keywords"),
        *("duckdb_schemas", "duckdb_settings", "duckdb_tables", "duckdb_types", "duckdb_views"),
    }
)
"""Functions that stand for a table and do nothing else; others read files, write logs or change settings."""


class Found(NamedTuple):
    """Names of the columns, the rows, and whether there are more."""

    names: list[str]
    rows: list[tuple[Any, ...]]
    more: bool


def query(store: Store, text: str, limit: int = 0) -> Found:
    """Run one SELECT.

    Args:
        store: opened for reading.
        text: the query; WITH, FROM, VALUES, SHOW, DESCRIBE and SUMMARIZE are selections too.
        limit: rows wanted at most; 0 for all.

    Raises:
        UsageError: it is none, it would do more than ask, or DuckDB refuses it; the message is DuckDB's.
    """
    import duckdb

    con = store.db.con
    try:
        text.encode()  # bytes of the command line that are no UTF-8 arrive as lone surrogates
        for setting in ("enable_external_access", "python_enable_replacements"):
            con.execute(f"SET {setting} = false")
        problem = _problem(con, text)
        if problem is not None:
            raise UsageError(f"SQL: {problem}")
        result = con.sql(text)
        rows: list[tuple[Any, ...]] = (result.limit(limit + 1) if limit else result).fetchall()
    except (duckdb.Error, RecursionError, UnicodeEncodeError) as error:
        raise UsageError(f"SQL: {str(error).strip() or type(error).__name__}") from error
    return Found(list(result.columns), rows[:limit] if limit else rows, bool(limit) and len(rows) > limit)


def _problem(con: duckdb.DuckDBPyConnection, text: str) -> str | None:
    """Why this is no query that only asks, or None."""
    import duckdb

    statements = con.extract_statements(text)
    if len(statements) != 1:
        return f"one SELECT is wanted, not {len(statements) or 'an empty text'}{' statements' if statements else ''}"
    kind = statements[0].type
    if kind != duckdb.StatementType.SELECT:
        return f"{kind.name} is not allowed: `sql` asks and changes nothing; give a SELECT"
    ((answer,),) = con.execute("SELECT json_serialize_sql(?::VARCHAR)", [text]).fetchall()
    tree = json.loads(answer)
    if tree["error"]:
        return str(tree.get("error_message", "this cannot be read"))
    for name in _table_functions(tree):
        if name not in _TABLE_FUNCTIONS:
            return f"{name} is not allowed: `sql` reads the store's tables and views and does nothing else"
    return None


def _table_functions(tree: dict[str, Any]) -> Iterator[str]:
    waiting: list[Any] = [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            if value.get("type") == "TABLE_FUNCTION":
                yield str(value["function"]["function_name"]).lower()
            waiting += value.values()
