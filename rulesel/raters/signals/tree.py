"""DuckDB's parse tree of one expression, the same for the releases it is read from (1.5 and 2.0)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

Node = dict[str, Any]
"""A node of the tree; `class` tells the kind of expression."""

_QUIET = {"type", "select_list", "from_table", "aggregate_handling", "cte_map"}


class NotAnExpression(Exception):
    """The text is not one expression; the message says what it is instead."""


def operand_case(sql: str) -> bool:
    """Whether a CASE stands in what another CASE compares: reading it copies the inner one for every WHEN."""
    import duckdb

    raw = sql.encode()
    comparing: list[bool] = []
    words = [raw[at : at + 5].lower() for at, kind in duckdb.tokenize(sql) if kind == duckdb.token_type.keyword]
    for word, after in pairwise([*words, b""]):
        if word.startswith(b"case"):
            if any(comparing):
                return True
            comparing.append(not after.startswith(b"when"))
        elif comparing and word.startswith(b"when"):
            comparing[-1] = False
        elif comparing and word.startswith(b"end"):
            comparing.pop()
    return False


def parse(connection: duckdb.DuckDBPyConnection, sql: str) -> Node:
    """The tree of an expression, without source positions.

    The expression is read once bare and once in brackets, as the rater embeds it; the two trees must agree, so that no
    bracket, comment or comma in it can reach out of its place.

    Raises:
        NotAnExpression: it cannot be parsed, or is more than one expression.
        ValueError, RecursionError: it is nested too deeply to be read back.
    """
    tree = _only_expression(_serialized(connection, f"SELECT {sql}"))
    if tree != _only_expression(_serialized(connection, f"SELECT (\n{sql}\n)")):
        raise NotAnExpression("the expression means something else inside brackets")
    return tree


def _serialized(connection: duckdb.DuckDBPyConnection, query: str) -> Node:
    ((answer,),) = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [query]).fetchall()
    tree: Node = json.loads(answer)
    if tree["error"]:
        raise NotAnExpression(f"DuckDB cannot read it: {tree.get('error_message', 'not a SELECT')}")
    return tree


def _only_expression(tree: Node) -> Node:
    """The one expression of a bare SELECT."""
    statements = tree["statements"]
    if len(statements) != 1:
        raise NotAnExpression(f"one expression is wanted, not {len(statements)} statements")
    node = statements[0]["node"]
    if node.get("type") != "SELECT_NODE" or len(node["select_list"]) != 1:
        raise NotAnExpression("one expression is wanted, not a list or a combined query")
    clauses = [key for key, value in node.items() if key not in _QUIET and value] + node["cte_map"]["map"]
    if clauses or node["from_table"]["type"] != "EMPTY" or node["aggregate_handling"] != "STANDARD_HANDLING":
        raise NotAnExpression(
            "an expression is wanted, not a query: no FROM, WHERE, GROUP BY, ORDER BY, LIMIT, DISTINCT"
        )
    (expression,) = node["select_list"]
    if expression.get("alias"):
        raise NotAnExpression(f"an expression is wanted, without a name (AS {expression['alias']})")
    bare: Node = _without_positions(expression)
    return bare


def _without_positions(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {k: _without_positions(v) for k, v in value.items() if not k.startswith("query_location")}
    return [_without_positions(v) for v in value] if isinstance(value, list) else value


def arguments(function: Node) -> list[Node]:
    """Argument expressions: `children` in 1.5, named `arguments` in 2.0."""
    return function["children"] if "children" in function else [a["expression"] for a in function["arguments"]]


def constant(node: Node) -> str | None:
    """The text of a constant; None for whatever is none."""
    if node["class"] != "CONSTANT":
        return None
    return str(node["literal"]["text"] if "literal" in node else node["value"].get("value", ""))


def cast_types(cast: Node) -> Iterator[str]:
    """Names of the types a cast goes to, those inside a list type included, in lower case."""
    waiting = [cast.get("type_expr") or cast["cast_type"]]
    while waiting:
        kind = waiting.pop()
        yield str(kind.get("type_name") or kind["id"]).lower()
        waiting += [child for child in kind.get("children") or () if child.get("class") == "TYPE"]
        if (kind.get("type_info") or {}).get("child_type"):
            waiting.append(kind["type_info"]["child_type"])


def bound_names(left: Node) -> Iterator[str]:
    """Variables that the left side of a lambda names."""
    if left["class"] == "COLUMN_REF":
        yield from (name.lower() for name in left["column_names"])
    elif left["class"] == "FUNCTION":
        for argument in arguments(left):
            yield from bound_names(argument)


def operators(sql: str) -> Iterator[str]:
    """Operator signs as they are written: the tree shows what they became."""
    import duckdb

    raw = sql.encode()
    tokens = duckdb.tokenize(sql)
    ends = [at for at, _ in tokens[1:]] + [len(raw)]
    for (start, kind), end in zip(tokens, ends, strict=True):
        if kind == duckdb.token_type.operator:
            yield raw[start:end].decode(errors="replace").strip()
