"""The columns of a Parquet, CSV or JSON-lines file, each as numbers or as the text that stands in the file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from rulesel.corpus.jsonl import parse
from rulesel.corpus.raw import BOM, Unusable
from rulesel.errors import UnknownName, UsageError
from rulesel.records import Float64

NESTED = ("scores", "ratings")
"""Fields whose list or object of numbers is spread into columns of its own."""

BLOCK = 4096
"""JSON lines turned into arrays at a time, so that a large file is never held as Python numbers."""

MISSING = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "null", "none"})
"""Words, in any case, that stand where a number is missing."""

WHOLE = 2**53
"""Below it, every whole number is a float64 of its own."""

Column: TypeAlias = "npt.NDArray[np.float64] | npt.NDArray[np.int64] | npt.NDArray[np.uint64] | list[Any] | Words"


@dataclass(frozen=True, slots=True)
class Words:
    """A column of a CSV: the text of each cell, in Arrow."""

    cells: Any

    def __len__(self) -> int:
        return len(self.cells)

    def numbers(self) -> Float64 | None:
        """The cells as numbers, NaN for a missing one; None where some cell is neither."""
        import pyarrow as pa
        from pyarrow import compute

        bare = compute.utf8_trim_whitespace(self.cells)
        missing = compute.is_in(compute.utf8_lower(bare), value_set=pa.array(sorted(MISSING)))
        try:
            found: Float64 = compute.if_else(missing, None, bare).cast(pa.float64()).to_numpy()
        except pa.ArrowInvalid:
            return None
        return found


@dataclass(frozen=True, slots=True)
class Columns:
    """A file, column by column.

    Attributes:
        values: column -> (rows,) numbers, whole ones beyond 2^53 exact, NaN for null; or a list of what the file holds.
        nested: the columns that came out of a list or an object, in order.
    """

    values: dict[str, Column]
    nested: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many rows the file has."""
        return len(next(iter(self.values.values()), ()))

    def column(self, name: str, path: Path) -> Column:
        """A column by its name.

        Raises:
            UnknownName: there is none.
        """
        if name not in self.values:
            raise UnknownName(f"column in {path}", name, self.values)
        return self.values[name]


def numbers(column: Column) -> tuple[Float64, npt.NDArray[np.bool_]]:
    """A column as numbers.

    Returns:
        float64 (rows,), NaN where there is no number; bool (rows,), where something else than a number or a word for
        a missing one stands.
    """
    if isinstance(column, np.ndarray):
        return column.astype(np.float64), np.zeros(len(column), dtype=bool)
    if isinstance(column, Words):
        known = column.numbers()
        if known is not None:
            return known, np.zeros(len(known), dtype=bool)
    found, strange = np.full(len(column), np.nan), np.zeros(len(column), dtype=bool)
    for row, value in enumerate(listed(column)):
        number = _number(value)
        if number is None:
            strange[row] = True
        else:
            found[row] = number
    return found, strange


def texts(column: Column) -> list[str | None]:
    """A column as text, written as `corpus.field_values` writes a field; None where null or blank.

    A whole number below 2^53 that is held as floating point is written without a fraction.
    """
    return [_text(value) for value in listed(column)]


def listed(column: Column) -> list[Any]:
    """A column as Python values."""
    if isinstance(column, list):
        return column
    found: list[Any] = column.cells.to_pylist() if isinstance(column, Words) else column.tolist()
    return found


def words(column: Column) -> list[str]:
    """A column as text, empty where null or blank."""
    return [text or "" for text in texts(column)]


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


def _number(value: object) -> float | None:
    """NaN for a missing one, None for what is none."""
    if value is None:
        return math.nan
    if isinstance(value, str):
        word = value.strip()
        if word.casefold() in MISSING:
            return math.nan
        if "_" in word:
            return None
        value = word
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None


def _text(value: object) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < WHOLE:
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        return value if value.strip() else None
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    except (TypeError, ValueError, RecursionError):  # a date, a decimal, a UUID
        return str(value)


def _parquet(path: Path) -> Columns:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{path} is not readable as Parquet: {error}") from error
    _check_names(path, table.column_names)
    return _spread({name: _from_arrow(column) for name, column in zip(table.column_names, table.columns, strict=True)})


def _delimited(path: Path) -> Columns:
    """Every cell as its text at first: what looks like a number may be an id, and an id may look like one."""
    import pyarrow as pa
    from pyarrow import csv

    parsing = csv.ParseOptions(delimiter="\t" if path.suffix.lower() == ".tsv" else ",", newlines_in_values=True)
    try:
        with csv.open_csv(path, parse_options=parsing) as reader:
            names = reader.schema.names
        _check_names(path, names)
        as_text = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
        table = csv.read_csv(path, parse_options=parsing, convert_options=as_text)
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{path} is not readable as a table: {error}") from error
    return Columns({name: Words(column) for name, column in zip(table.column_names, table.columns, strict=True)})


def _check_names(path: Path, names: Sequence[str]) -> None:
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise UsageError(f"{path} has the column {min(twice)!r} more than once.")


def _from_arrow(column: Any) -> Column:  # noqa: ANN401 - pyarrow comes without types
    import pyarrow as pa

    kind = column.type
    if pa.types.is_integer(kind) and not column.null_count:
        whole: Column = column.cast(pa.uint64() if pa.types.is_uint64(kind) else pa.int64()).to_numpy()
        return whole
    if pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        plain: Column = column.cast(pa.float64(), safe=False).to_numpy()
        return plain
    if pa.types.is_integer(kind) or pa.types.is_null(kind):
        return _pack(column.to_pylist())
    return list(column.to_pylist())


def _spread(values: dict[str, Column]) -> Columns:
    """Columns in which the lists and objects of `NESTED` are columns of their own."""
    parts = []
    for name, column in values.items():
        if name in NESTED and isinstance(column, list):
            starts = range(0, len(column), BLOCK)
            parts.append(_join([_block([{name: one} for one in column[at : at + BLOCK]]) for at in starts]))
        else:
            parts.append(Columns({name: column}))
    columns = Columns({})
    for part in parts:
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
                yield parse(line.removeprefix(BOM) if number == 1 else line)
            except Unusable as error:
                raise UsageError(f"{path}:{number} is {error}.") from None


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
    """Numbers as an array, unless one of them is too large to be a float64 without loss."""
    if all(value is None or isinstance(value, float) or _small(value) for value in values):
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return values


def _small(value: object) -> bool:
    return isinstance(value, int) and -WHOLE <= value <= WHOLE


def _join(blocks: Sequence[Columns]) -> Columns:
    joined = Columns({}, list(dict.fromkeys(name for block in blocks for name in block.nested)))
    for name in dict.fromkeys(name for block in blocks for name in block.values):
        parts = [block.values.get(name, np.full(block.rows, np.nan)) for block in blocks]
        arrays = [part for part in parts if isinstance(part, np.ndarray)]
        if len(arrays) == len(parts):
            joined.values[name] = np.concatenate(arrays)
        else:
            joined.values[name] = [one for part in parts for one in listed(part)]
    return joined
