"""The columns of a Parquet, CSV or JSON-lines file, numbers as float64 arrays, everything else as lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from rulesel.errors import UsageError
from rulesel.records import Float64

NESTED = ("scores", "ratings")
"""Fields whose list or object of numbers is spread into columns of its own."""

BLOCK = 4096
"""JSON lines turned into arrays at a time, so that a large file is never held as Python numbers."""

Column = Float64 | list[Any]


@dataclass(frozen=True, slots=True)
class Columns:
    """A file, column by column.

    Attributes:
        values: column -> (rows,) numbers with NaN for null, or a list of what the file holds.
        nested: the columns that came out of a list or an object, in order.
    """

    values: dict[str, Column]
    nested: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many rows the file has."""
        return len(next(iter(self.values.values()), ()))


def read_columns(path: Path) -> Columns:
    """Read a whole file into columns.

    Raises:
        UsageError: no such file, an ending that is not known, content that is not what the ending says, or no rows.
    """
    readers = {".parquet": _parquet, ".csv": _delimited, ".tsv": _delimited, ".jsonl": _lines, ".ndjson": _lines}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UsageError(f"{path}: expected a file that ends in {', '.join(readers)}.")
    if not path.is_file():
        raise UsageError(f"{path} does not exist or is no file.")
    columns = reader(path)
    if columns.rows == 0:
        raise UsageError(f"{path} holds no rows.")
    return columns


def _parquet(path: Path) -> Columns:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return _from_arrow(path, parquet.ParquetFile(path).read())
    except (pa.ArrowInvalid, OSError) as error:
        raise UsageError(f"{path} is not readable as Parquet: {error}") from error


def _delimited(path: Path) -> Columns:
    import pyarrow as pa
    from pyarrow import csv

    parse = csv.ParseOptions(delimiter="\t" if path.suffix.lower() == ".tsv" else ",", newlines_in_values=True)
    convert = csv.ConvertOptions(strings_can_be_null=True, null_values=["", "NA", "NaN", "nan", "null", "None"])
    try:
        return _from_arrow(path, csv.read_csv(path, parse_options=parse, convert_options=convert))
    except (pa.ArrowInvalid, OSError) as error:
        raise UsageError(f"{path} is not readable as a table: {error}") from error


def _from_arrow(path: Path, table: Any) -> Columns:  # noqa: ANN401 - pyarrow comes without types
    import pyarrow as pa

    twice = {name for name in table.column_names if table.column_names.count(name) > 1}
    if twice:
        raise UsageError(f"{path} has the column {min(twice)!r} more than once.")
    parts = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
            parts[name] = Columns({name: column.cast(pa.float64(), safe=False).to_numpy()})
        else:
            blocks = range(0, len(column), BLOCK)
            parts[name] = _join([_block([{name: v} for v in column.slice(at, BLOCK).to_pylist()]) for at in blocks])
    columns = Columns({})
    for part in parts.values():
        columns.values.update(part.values)
        columns.nested.extend(part.nested)
    return columns


def _lines(path: Path) -> Columns:
    records = _records(path)
    blocks = []
    while block := list(islice(records, BLOCK)):
        blocks.append(_block(block))
    return _join(blocks)


def _records(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = orjson.loads(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
            except orjson.JSONDecodeError as error:
                raise UsageError(f"{path}:{number} is not JSON: {error}") from error
            if not isinstance(record, dict):
                raise UsageError(f"{path}:{number} is not a JSON object.")
            yield record


def _block(records: Sequence[dict[str, Any]]) -> Columns:
    nested: dict[str, None] = {}
    flat = []
    for record in records:
        scalars: dict[str, Any] = {}
        for name, value in record.items():
            if name in NESTED and isinstance(value, dict | list):
                inner = value if isinstance(value, dict) else {str(at + 1): one for at, one in enumerate(value)}
                scalars |= inner
                nested |= dict.fromkeys(inner)
            else:
                scalars[name] = value
        flat.append(scalars)
    names = dict.fromkeys(name for record in flat for name in record)
    return Columns({name: _pack([record.get(name) for record in flat]) for name in names}, list(nested))


def _pack(values: list[Any]) -> Column:
    if all(value is None or isinstance(value, int | float) for value in values):
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return values


def _join(blocks: Sequence[Columns]) -> Columns:
    joined = Columns({}, list(dict.fromkeys(name for block in blocks for name in block.nested)))
    for name in dict.fromkeys(name for block in blocks for name in block.values):
        parts = [block.values.get(name, np.full(block.rows, np.nan)) for block in blocks]
        if all(isinstance(part, np.ndarray) for part in parts):
            joined.values[name] = np.concatenate(parts)
        else:
            joined.values[name] = [one for part in parts for one in (part if isinstance(part, list) else part.tolist())]
    return joined
