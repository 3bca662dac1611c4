"""Answers from a store that is only read: one example, a file, a receipt checked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from pyarrow import compute

from rulesel.errors import UnknownName, UsageError
from rulesel.pipeline.judging import current_corpus
from rulesel.pipeline.naming import By, Names, made_by
from rulesel.pipeline.outputs import replacing
from rulesel.receipt import Check, as_json, read_receipt, store_path, verify
from rulesel.store import Store

FORMULA = "^[=+\\-@\t\r\n]"
"""What a text begins with that a spreadsheet runs as a formula."""

VIEWS = ("ratings_long", "ratings_wide", "selection_view", "column_view", "current_examples", "calls", "rules", "runs")


def explain(store: Store, example: str, *, by: By | None = None, id_field: str | None = None) -> dict[str, Any]:
    """Everything known of one example of the current corpus.

    Args:
        store: opened for reading.
        example: the record's own id, rulesel's id or the beginning of one, or a row number.
        by: which of these it is; None where only one is possible.
        id_field: field of the records that holds their own ids.

    Raises:
        UsageError: there is no such example, or more than one.
    """
    current = current_corpus(store)
    names = Names(store, current, id_field)
    row = int(names.rows.row[names.one(example, by)])
    ((identity, content, prompt, response, corpus),) = store.db.rows(
        "SELECT example_id, content, prompt, response, corpus FROM current_examples WHERE row = ?", row
    )
    ratings = store.db.arrow(
        "WITH mine AS (SELECT * FROM ratings WHERE content = ?) "
        "SELECT u.name AS rule, u.text, a.judge AS rater, m.value AS rating, l.status, w.reason, "
        "(SELECT 100.0 * avg((r.value < m.value)::INT) FROM ratings r WHERE r.rule = m.rule AND r.rater = m.rater "
        "AND r.value IS NOT NULL AND r.content IN (SELECT content FROM current_examples)) AS percentile "
        "FROM mine m JOIN rules u USING (rule) JOIN raters a USING (rater) "
        "LEFT JOIN ratings_long l ON l.rule_id = u.id AND l.rater_id = a.id AND l.row = ? "
        "LEFT JOIN rating_reasons w ON w.content = m.content AND w.rule = m.rule AND w.rater = m.rater ORDER BY u.rule",
        content,
        row,
    )
    columns = store.db.arrow(
        "SELECT k.name, k.direction, v.value, k.id, k.provenance FROM column_values v JOIN columns k "
        'USING ("column") WHERE content = ? ORDER BY k.name, k.used_at DESC, k."column" DESC',
        content,
    ).to_pylist()
    for column in columns:
        column["made"] = made_by(json.loads(column.pop("provenance")))
    selections = store.db.arrow(
        "SELECT s.selection, s.method, s.n, r.rank, r.key FROM selections s LEFT JOIN selection_rows r "
        "ON r.selection = s.selection AND r.row = ? WHERE s.corpus = ? ORDER BY s.made_at",
        row,
        corpus,
    )
    result: dict[str, Any] = as_json(
        {
            "id": identity,
            "row": row,
            "prompt": prompt,
            "response": response,
            "ratings": ratings.to_pylist(),
            "columns": columns,
            "selections": selections.to_pylist(),
        }
    )
    return result


def export(store: Store, view: str, out: Path, *, raw: bool = False) -> int:
    """Write a view as Parquet or CSV; returns the number of rows.

    Args:
        store: opened for reading.
        view: one of `VIEWS`.
        out: a .parquet or .csv file, there whole or not at all.
        raw: leave texts in a CSV as they are; else one that a spreadsheet takes for a formula gets an apostrophe before it.

    Raises:
        UsageError: no such view, a file name that says neither format, or a file that cannot be written.
    """
    import duckdb

    if view not in VIEWS:
        raise UnknownName("view", view, VIEWS)
    if out.suffix not in {".parquet", ".csv"}:
        raise UsageError(f"-o {out}: name a .parquet or .csv file.")
    try:
        reader = store.db.con.sql(f"SELECT * FROM {view}").to_arrow_reader(100_000)
    except duckdb.CatalogException as error:
        raise UsageError(f"The store has no {view} yet: a run makes it.") from error
    try:
        with replacing(out) as file:
            if out.suffix == ".parquet":
                with pq.ParquetWriter(file, reader.schema) as writer:
                    return _written(writer, reader)
            plain = (batch if raw else harmless(batch) for batch in reader)
            names = reader.schema.names if raw else [_harmless(name) for name in reader.schema.names]
            with pyarrow.csv.CSVWriter(file, pa.schema(list(map(_renamed, reader.schema, names)))) as writer:
                return _written(writer, plain)
    except OSError as error:
        raise UsageError(f"-o {out}: {error.strerror or error}.") from error


def _written(writer: Any, batches: Iterable[Any]) -> int:  # noqa: ANN401 - pyarrow comes without types
    n = 0
    for batch in batches:
        writer.write_batch(batch)
        n += batch.num_rows
    return n


def harmless(batch: Any) -> Any:  # noqa: ANN401 - pyarrow comes without types
    """An Arrow batch in which no text, and no column's name, is a formula to a spreadsheet."""
    columns = []
    for column in batch.columns:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            words = column.cast(kind)
            marked = compute.binary_join_element_wise("'", words, "")
            column = compute.if_else(compute.match_substring_regex(words, FORMULA), marked, words).cast(column.type)
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, names=[_harmless(name) for name in batch.schema.names])


def _harmless(text: str) -> str:
    return f"'{text}" if re.match(FORMULA, text) else text


def _renamed(field: Any, name: str) -> Any:  # noqa: ANN401 - pyarrow comes without types
    return field.with_name(name)


def verify_file(path: Path, store: Path | None = None) -> list[Check]:
    """Check a receipt file against its store.

    Raises:
        UsageError: it is no receipt, or the store is not found.
    """
    receipt = read_receipt(path)
    with Store(store or store_path(receipt, path), read_only=True) as opened:
        return verify(receipt, opened, path.parent)
