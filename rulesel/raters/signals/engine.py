"""The DuckDB that evaluates rules' expressions: in memory, closed to files, network, extensions and settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from rulesel.raters.signals.vocabulary import COLUMNS, MACROS
from rulesel.records import Bool, Float64

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_MEMORY = "1GB"
_NO_VALUE = -1e300
"""Stands for NULL inside TRY, which itself gives NULL for an error."""


def connect() -> duckdb.DuckDBPyConnection:
    """A DuckDB of its own with the macros and a table `examples` of two rows; nothing outside it can be reached."""
    import duckdb

    settings: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": "false",
        "autoload_known_extensions": "false",
        "autoinstall_known_extensions": "false",
        "allow_community_extensions": "false",
        "python_enable_replacements": "false",
        "memory_limit": _MEMORY,
        "temp_directory": "",
        "threads": 1,
    }
    connection = duckdb.connect(":memory:", config=settings)
    for name, macro in MACROS.items():
        connection.execute(f"CREATE MACRO {name}({macro.parameters}) AS {macro.sql}")
    columns = ", ".join(f"{column.sql} AS {name}" for name, column in COLUMNS.items())
    connection.execute(
        f"CREATE TABLE examples AS SELECT {columns} FROM (VALUES ('1', '1'), (NULL, 'One, two. Three')) AS _(prompt, response)"
    )
    connection.execute("SET lock_configuration = true")
    return connection


@dataclass(frozen=True, slots=True)
class Answers:
    """What the expressions gave for n examples and E expressions.

    Attributes:
        values: float64 (n, E); NaN where there is none, or where the expression gave NaN.
        null: bool (n, E), the expression is NULL there.
        failed: bool (n, E), the expression raised there.
        cut: bool (n,), prompt or response was cut.
        errors: expression index to the message it raised, or to why it was ended.
        late: bool (n, E), its time was up before it had a value there; None where none was late.
    """

    values: Float64
    null: Bool
    failed: Bool
    cut: Bool
    errors: dict[int, str] = field(default_factory=dict)
    late: Bool | None = None

    def column(self, j: int) -> Answers:
        """What one expression gave."""
        at = slice(j, j + 1)
        errors = {0: self.errors[j]} if j in self.errors else {}
        late = None if self.late is None else self.late[:, at]
        return Answers(self.values[:, at], self.null[:, at], self.failed[:, at], self.cut, errors, late)


def joined(parts: Sequence[Answers]) -> Answers:
    """The answers of several expressions, one each, side by side."""
    return Answers(
        np.hstack([part.values for part in parts]),
        np.hstack([part.null for part in parts]),
        np.hstack([part.failed for part in parts]),
        np.logical_or.reduce([part.cut for part in parts]),
        {j: part.errors[0] for j, part in enumerate(parts) if part.errors},
        np.hstack([np.zeros_like(part.failed) if part.late is None else part.late for part in parts]),
    )


class Evaluator:
    """Evaluates checked expressions, all in one query a table of examples.

    An expression that raises is from then on wrapped in TRY, so that it loses only the rows it raises on.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        expressions: Sequence[str],
        max_chars: int,
        fragile: Mapping[int, str] | None = None,
    ) -> None:
        """Prepare.

        Args:
            connection: what `connect` gives.
            expressions: they have passed `expression.refusal`.
            max_chars: where texts are cut.
            fragile: index of an expression to the error it raised on other examples.
        """
        self._connection = connection
        self._expressions = expressions
        self._fragile = dict(fragile or {})
        self._examples = _examples(max_chars)

    def evaluate(self, table: pa.Table) -> Answers:
        """Values of every expression for a table with string columns prompt and response, in its order."""
        self._connection.register("batch", table)
        try:
            return self._together(len(table))
        finally:
            self._connection.unregister("batch")

    def _together(self, n: int) -> Answers:
        import duckdb

        everything = range(len(self._expressions))
        try:
            return self._query(everything)
        except duckdb.Error:
            for j in everything:
                if j not in self._fragile:
                    self._test(j)
        try:
            return self._query(everything)
        except duckdb.Error:
            return self._one_by_one(n)

    def _test(self, j: int) -> None:
        import duckdb

        try:
            self._query([j])
        except duckdb.Error as error:
            self._fragile[j] = str(error).strip().splitlines()[0]

    def _one_by_one(self, n: int) -> Answers:
        """Every expression in a query of its own; one that raises even under TRY has failed on all rows."""
        import duckdb

        columns = []
        for j in range(len(self._expressions)):
            try:
                columns.append(self._query([j]))
            except duckdb.Error as error:
                self._fragile[j] = str(error).strip().splitlines()[0]
                every, none = np.ones((n, 1), dtype=bool), np.zeros((n, 1), dtype=bool)
                columns.append(Answers(np.full((n, 1), np.nan), none, every, none[:, 0]))
        return replace(joined(columns), errors=dict(self._fragile))

    def _query(self, which: Sequence[int]) -> Answers:
        selected = ", ".join(["was_cut", *(f"{self._column(j)} AS r{j}" for j in which)])
        result = self._connection.sql(f"SELECT {selected} FROM {self._examples}").to_arrow_table()
        values = np.empty((len(result), len(which)))
        missing = np.zeros(values.shape, dtype=bool)
        for at in range(len(which)):
            column = result.column(at + 1).combine_chunks()
            values[:, at] = column.to_numpy(zero_copy_only=False)
            missing[:, at] = column.is_null().to_numpy(zero_copy_only=False)
        tried = np.array([j in self._fragile for j in which], dtype=bool)
        null = np.where(tried, values == _NO_VALUE, missing)
        values[null] = np.nan
        cut = result.column(0).combine_chunks().to_numpy(zero_copy_only=False).astype(bool)
        return Answers(values, null, missing & tried, cut, dict(self._fragile))

    def _column(self, j: int) -> str:
        plain = f"(\n{self._expressions[j]}\n)::DOUBLE"
        if j not in self._fragile:
            return plain
        # Common subexpressions are moved out of TRY and would raise outside of it; out of CASE they are not.
        return f"CASE WHEN n_chars >= 0 THEN TRY(coalesce({plain}, {_NO_VALUE})) END"


def _examples(max_chars: int) -> str:
    """The query that gives every column of the registered batch, over-long texts cut."""
    head = max_chars * 3 // 4
    cut = {
        name: f"CASE WHEN length({name}) > {max_chars} THEN left({name}, {head}) || right({name}, {max_chars - head}) "
        f"ELSE {name} END AS {name}"
        for name in ("prompt", "response")
    }
    was_cut = f"(length(response) > {max_chars} OR coalesce(length(prompt), 0) > {max_chars}) AS was_cut"
    columns = ", ".join(f"{column.sql} AS {name}" for name, column in COLUMNS.items())
    return (
        f"(SELECT was_cut, {columns} FROM (SELECT {cut['prompt']}, {cut['response']}, {was_cut} FROM batch) AS whole) "
        "AS examples"
    )
