"""Which SQL expressions a rule may hold: an allow-list, checked on the tree that DuckDB's own parser builds.

The list keeps an expression from reading anything but the example it is given, and keeps its cost and its memory in
proportion to the example: patterns are constants (RE2 matches them in linear time), a lambda may look at an entry of
the example but neither search nor copy the whole of it, and the steps that lengthen a text are few. Whatever is not on
the list is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rulesel.raters.signals.growth import LARGEST, written_out
from rulesel.raters.signals.tree import (
    Node,
    NotAnExpression,
    arguments,
    bound_names,
    cast_types,
    constant,
    operand_case,
    operators,
    parse,
)
from rulesel.raters.signals.vocabulary import COLUMNS, MACROS

if TYPE_CHECKING:
    import duckdb

LONGEST = 10_000
"""Characters an expression may have."""

FUNCTIONS = frozenset(
    """
    + - * / // % ** ^ || ~~ !~~ ~~* !~~* ^@
    abs array_to_string ascii ceil ceiling concat concat_ws contains ends_with exp floor greatest if instr isfinite isinf
    isnan jaccard least left len length list_avg list_concat list_contains list_count list_distinct list_filter
    list_has_all list_has_any list_intersect list_max list_median list_min list_position list_product list_slice
    list_sort list_stddev_pop list_sum list_transform list_unique list_value ln log log10 log2 lower ltrim nullif ord
    position pow power prefix regexp_extract regexp_extract_all regexp_full_match regexp_matches regexp_replace replace
    reverse right round rtrim sign sqrt starts_with string_split string_split_regex strip_accents strlen strpos substr
    substring suffix translate trim trunc unicode upper
    """.split()  # noqa: SIM905 - a list of a hundred quoted names is harder to read
) | frozenset(MACROS)
"""Functions and operators an expression may call, rulesel's own included."""

_CLASSES = frozenset(
    "BETWEEN CASE CAST COLUMN_REF COMPARISON CONJUNCTION CONSTANT FUNCTION LAMBDA OPERATOR TYPE".split()  # noqa: SIM905
)
_OPERATORS = {
    *("ARRAY_EXTRACT", "ARRAY_SLICE", "COMPARE_IN", "COMPARE_NOT_IN", "OPERATOR_COALESCE", "OPERATOR_TRY"),
    *("OPERATOR_IS_NOT_NULL", "OPERATOR_IS_NULL", "OPERATOR_NOT"),
}
_TYPES = {
    *("boolean", "varchar", "text", "string", "list", "decimal", "double", "float", "real"),
    *("int", "integer", "smallint", "bigint", "hugeint"),
}
_NUMERIC = {
    *("BOOLEAN", "DOUBLE", "FLOAT", "DECIMAL"),
    *(sign + size for sign in ("", "U") for size in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")),
}
_PATTERN_SECOND = {
    *("regexp_extract", "regexp_extract_all", "regexp_full_match", "regexp_matches", "regexp_replace"),
    *("string_split_regex", "hits"),
}
_LENGTHENING = {"||", "array_to_string", "concat", "concat_ws", "list_concat", "list_value", "trigrams"}
_MOST_LENGTHENING = 8
_LONGEST_IN_LAMBDA = 32
"""Characters of a constant that a lambda may add to every entry of a list."""
_LOOK_UPS = {"ARRAY_EXTRACT", "ends_with", "len", "length", "prefix", "starts_with", "suffix"}
"""What may take a text or list of the example inside a lambda: it neither copies it nor searches the whole of it."""
_OF_A_LIST = {"list_contains", "list_position"}
"""What may take a list of constants inside a lambda."""
_NUMBERS = {"n_chars", "n_words", "n_lines", "n_turns"}
_INSTEAD = {
    "~": "regexp_matches",
    "!~": "NOT regexp_matches",
    "~*": "regexp_matches with (?i)",
    "!~*": "NOT regexp_matches with (?i)",
    "->": "lambda x: …",
    "->>": "lambda x: …",
}
"""Operators that mean different things in different releases of DuckDB, and what to write."""


def refusal(connection: duckdb.DuckDBPyConnection, sql: str) -> str | None:
    """Why this expression may not be run, or None.

    Args:
        connection: what `engine.connect` gives: the macros, and the table `examples` of two small examples.
        sql: the expression.
    """
    import duckdb

    if len(sql) > LONGEST:
        return f"the expression has {len(sql):,} characters; at most {LONGEST:,} are read"
    try:
        if operand_case(sql):
            return "a CASE may not stand in what another CASE compares; write CASE WHEN … THEN"
        tree = parse(connection, sql)
        problem = next(_problems(tree), None) or next(_versioned(sql), None) or _size_problem(connection, tree)
        return problem or _type_problem(connection, sql) or _run_problem(connection, sql)
    except (NotAnExpression, duckdb.Error) as error:
        return str(error).strip().splitlines()[0]
    except (ValueError, RecursionError):
        return "the expression is nested too deeply"


def _problems(root: Node) -> Iterator[str]:
    """What is not on the list, in the order of the tree."""
    lengthening = 0
    waiting: list[tuple[Any, str, frozenset[str] | None]] = [(root, "", None)]
    while waiting:
        value, parent, bound = waiting.pop()
        if isinstance(value, list):
            waiting += [(v, parent, bound) for v in reversed(value)]
        if not isinstance(value, dict):
            continue
        kind = value.get("class")
        if kind is not None:
            yield from _problem_of(value, parent, bound)
            lengthening += _lengthens(value)
            parent = value.get("function_name", "").lower() or value["type"]
        if kind == "LAMBDA":
            bound = frozenset(bound_names(value["lhs"]))
            yield from (f"a lambda may not name its variable {n!r}: it is a column" for n in bound if n in COLUMNS)
            waiting.append((value["expr"], "", bound))
        elif kind != "CONSTANT":
            waiting += [(v, parent, bound) for v in reversed(list(value.values()))]
    if lengthening > _MOST_LENGTHENING:
        yield f"it puts together {lengthening} texts or lists; at most {_MOST_LENGTHENING} are allowed"


def _problem_of(node: Node, parent: str, bound: frozenset[str] | None) -> Iterator[str]:
    kind = node["class"]
    if kind not in _CLASSES:
        yield f"{kind.lower().replace('_', ' ')} is not allowed"
    elif kind == "FUNCTION":
        yield from _function_problem(node)
        if bound is not None:
            yield from _copying_problem(node, parent)
    elif kind == "OPERATOR" and node["type"] not in _OPERATORS:
        yield f"operator {node['type']} is not allowed"
    elif kind == "CAST":
        yield from (f"a cast to {name} is not allowed" for name in cast_types(node) if name not in _TYPES)
    elif kind == "LAMBDA" and bound is not None:
        yield "a lambda inside a lambda is not allowed: its cost grows with the square of the text"
    elif kind == "COLUMN_REF":
        yield from _column_problem(".".join(node["column_names"]).lower(), parent, bound)


def _column_problem(name: str, parent: str, bound: frozenset[str] | None) -> Iterator[str]:
    if name in (bound or ()):
        return
    if name not in COLUMNS:
        yield f"there is no column {name!r}; columns: {', '.join(COLUMNS)}"
    elif bound is not None and name not in _NUMBERS and parent not in _LOOK_UPS:
        yield f"inside a lambda {name!r} may be looked into ({', '.join(sorted(_LOOK_UPS))}) but not searched or copied"


def _function_problem(node: Node) -> Iterator[str]:
    name = node["function_name"].lower()
    owner = node.get("schema") or node.get("catalog")
    if owner not in {"", "main"}:
        yield f"{name} is called on {owner!r}; write {name}(…)"
    elif name not in FUNCTIONS:
        yield f"function {name!r} is not on the list"
    elif node.get("filter") or node.get("distinct") or node.get("export_state") or node["order_bys"]["orders"]:
        yield f"{name} takes no FILTER, DISTINCT or ORDER BY here"
    else:
        given = arguments(node)
        if name in _PATTERN_SECOND and (len(given) < 2 or constant(given[1]) is None):
            yield f"the pattern of {name} is to be a constant text"
        if name in {"replace", "regexp_replace"} and _put_in(given) not in {0, 1}:
            yield f"{name} may put in one character at most, as a constant"


def _put_in(given: list[Node]) -> int | None:
    """Characters that a replacement puts in; None where that is no constant."""
    put_in = constant(given[2]) if len(given) > 2 else None
    return None if put_in is None else len(put_in)


def _copying_problem(node: Node, parent: str) -> Iterator[str]:
    """Inside a lambda, what is added to every entry of a list is to be small."""
    name = node["function_name"].lower()
    if name == "list_value" and parent not in _OF_A_LIST:
        yield "inside a lambda a list may be looked into, not made"
    if name in _LENGTHENING and any(len(constant(a) or "") > _LONGEST_IN_LAMBDA for a in arguments(node)):
        yield f"inside a lambda {name} may add {_LONGEST_IN_LAMBDA} characters at most"


def _lengthens(node: Node) -> int:
    """How many texts or lists of the example this step puts together."""
    name = node.get("function_name", "").lower()
    if name == "regexp_replace":
        return int(_put_in(arguments(node)) != 0)
    return sum(constant(a) is None for a in arguments(node)) if name in _LENGTHENING else 0


def _versioned(sql: str) -> Iterator[str]:
    for sign in operators(sql):
        if sign in _INSTEAD:
            yield f"operator {sign} means different things in different releases of DuckDB; write {_INSTEAD[sign]}"


def _size_problem(connection: duckdb.DuckDBPyConnection, tree: Node) -> str | None:
    size = written_out(connection, tree, FUNCTIONS)
    if size <= LARGEST:
        return None
    return f"it has {size:,} parts when functions such as ramp are written out; at most {LARGEST:,} are allowed"


def _type_problem(connection: duckdb.DuckDBPyConnection, sql: str) -> str | None:
    """Bind the expression without running it; its value is to be a number or a truth value."""
    ((_, kind, *_),) = connection.execute(f"DESCRIBE SELECT (\n{sql}\n) FROM examples").fetchall()
    if str(kind).split("(")[0] in _NUMERIC:
        return None
    return f"its value is of type {str(kind).strip(chr(34))}, not a number"


def _run_problem(connection: duckdb.DuckDBPyConnection, sql: str) -> str | None:
    """Run the expression: what is wrong with it whatever the example (a bad pattern), some releases find only then.

    Errors that an example can cause (a text that is no number, a division by a count of 0) are not held against it.
    """
    import duckdb

    problem = None
    for row in range(2):
        try:
            connection.execute(f"SELECT (\n{sql}\n) FROM (SELECT * FROM examples WHERE rowid = {row})").fetchall()
        except duckdb.InvalidInputException as error:
            problem = str(error).strip().splitlines()[0]
        except duckdb.Error:
            return None
        else:
            return None
    return problem
