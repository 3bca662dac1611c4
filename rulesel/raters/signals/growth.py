"""How large an expression becomes when rulesel's functions in it are written out, computed without writing them out.

A parameter that a function uses twice doubles what it is given, at each level of nesting; so does IN.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any

from rulesel.raters.signals.tree import Node, arguments, parse
from rulesel.raters.signals.vocabulary import MACROS

if TYPE_CHECKING:
    import duckdb

LARGEST = 3000
"""Nodes an expression may have when it is written out; planning takes time and memory in proportion."""
_TOO_LARGE = 10**9
Bodies = dict[tuple[str, int], tuple[list[str], Counter[str]]]
"""Name and number of parameters of a function to those parameters and the sizes of its body."""
_OWN = ""
"""Stands for what does not depend on a parameter."""


def written_out(connection: duckdb.DuckDBPyConnection, root: Node, functions: frozenset[str]) -> int:
    """Nodes of an expression with every function of rulesel's replaced by its body.

    Args:
        connection: what can parse.
        root: the tree of the expression.
        functions: what it may call.

    Raises:
        RecursionError: it is nested too deeply.
    """
    return sum(_sizes(root, _bodies(connection, functions)).values())


def _sizes(value: Any, bodies: Bodies) -> Counter[str]:  # noqa: ANN401 - any JSON value
    """How often each column or parameter stands in the written-out tree; nodes that are neither are under `_OWN`."""
    found: Counter[str] = Counter()
    if isinstance(value, list):
        for part in value:
            found.update(_sizes(part, bodies))
    elif isinstance(value, dict):
        called = arguments(value) if value.get("class") == "FUNCTION" else []
        body = bodies.get((value.get("function_name", "").lower(), len(called)))
        if value.get("class") == "COLUMN_REF":
            found[".".join(value["column_names"]).lower()] += 1
        elif body is not None:
            found.update(_called(*body, [_sizes(argument, bodies) for argument in called]))
        elif value.get("type") in ("COMPARE_IN", "COMPARE_NOT_IN"):  # planned as a comparison with each entry
            first, *entries = value["children"]
            found.update(_called(["x"], Counter(x=1 + len(entries)), [_sizes(first, bodies)]))
            found.update(_sizes(entries, bodies))
        else:
            found[_OWN] += "class" in value
            for part in value.values():
                found.update(_sizes(part, bodies))
    return found


def _called(parameters: list[str], body: Counter[str], given: list[Counter[str]]) -> Counter[str]:
    """The sizes of a body with what is given in the place of its parameters."""
    found = Counter({name: n for name, n in body.items() if name not in parameters})
    for parameter, sizes in zip(parameters, given, strict=False):
        for name, n in sizes.items():
            found[name] = min(_TOO_LARGE, found[name] + n * body[parameter])
    return found


@cache
def _bodies(connection: duckdb.DuckDBPyConnection, functions: frozenset[str]) -> Bodies:
    """The functions that are replaced by a body, DuckDB's own and rulesel's; in each those above it are written out."""
    found: Bodies = {}
    own = connection.execute(
        "SELECT function_name, parameters, macro_definition FROM duckdb_functions() "
        "WHERE internal AND function_type = 'macro' AND list_contains(?::VARCHAR[], function_name) ORDER BY ALL",
        [sorted(functions)],
    ).fetchall()
    ours = [(name, [p.strip() for p in macro.parameters.split(",")], macro.sql) for name, macro in MACROS.items()]
    for name, parameters, sql in [*own, *ours]:
        found[name, len(parameters)] = (list(parameters), _sizes(parse(connection, sql), found))
    return found
