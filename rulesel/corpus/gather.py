"""Rows of a Parquet file or dataset, in any order, as a Parquet file."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rulesel.corpus.columnar import Columnar, Parquet
from rulesel.corpus.raw import Damaged
from rulesel.records import Int64

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_PART_ROWS = 10_000
_PART_BYTES = 16 << 20


def write_rows(reader: Columnar, rows: Int64, out: Path) -> None:
    """Write rows in the given order with the source's schema, metadata and, for Parquet, compression.

    The source is read once, front to back, and only where rows are wanted; these go to a scratch file beside the output,
    from which parts of about 16 MiB are put into order. Memory holds one part, however many rows there are.

    Args:
        reader: the source.
        rows: int64 (k,), row numbers, best first.
        out: the file to write.

    Raises:
        ValueError: a row number outside the source.
        OSError: the disk is full.
        Damaged: the source cannot be decoded.
    """
    import pyarrow as pa

    if len(rows) and (rows.min() < 0 or rows.max() >= reader.n_rows):
        raise ValueError(f"row {int(rows.max())} of a source of {reader.n_rows} rows")
    schema = pa.schema([f.with_type(_gatherable(f.type)) for f in reader.schema], metadata=reader.schema.metadata)
    order = np.argsort(rows, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    with (
        tempfile.NamedTemporaryFile(dir=out.parent, prefix=".rulesel-", suffix=".rows") as scratch,
        _writer(out, reader, schema) as writer,
    ):
        with pa.ipc.new_stream(scratch, schema) as stream:
            for part in _merged(_wanted(reader, rows[order], schema)):
                stream.write_table(part)
        scratch.flush()
        size = scratch.tell()
        step = max(1, min(_PART_ROWS, len(rows) * _PART_BYTES // max(1, size)))
        with pa.memory_map(scratch.name) as file, pa.ipc.open_stream(file) as stored:
            batches = list(stored)
            for start in range(0, len(rows), step):
                writer.write_table(_taken(batches, place[start : start + step]))


def _writer(out: Path, reader: Columnar, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer for rows of this schema whose file is read with the schema of the source."""
    import pyarrow.parquet as pq

    if reader.schema.equals(schema):
        return pq.ParquetWriter(out, reader.schema, compression=_codec(reader))
    # Arrow writes no views inside of structs: their texts are written, and the file says what they are read as
    writer = pq.ParquetWriter(out, schema, compression=_codec(reader), store_schema=False)
    stored = {"ARROW:schema": base64.b64encode(reader.schema.serialize().to_pybytes())}
    writer.add_key_value_metadata((reader.schema.metadata or {}) | stored)
    return writer


def _wanted(reader: Columnar, wanted: Int64, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Rows in the order of the source, with that schema; `wanted` ascends."""
    start = 0
    for n_rows, read in reader.spans():
        low, high = np.searchsorted(wanted, (start, start + n_rows))
        at = start
        for batch in read() if high > low else ():
            low, high = np.searchsorted(wanted, (at, at + batch.num_rows))
            if high > low:
                places = wanted[low:high] - at
                if batch.schema.equals(schema):
                    yield _valid(_rows_at(batch, places))
                else:
                    yield _rows_at(_valid(batch).cast(schema), places)
            at += batch.num_rows
        start += n_rows


def _valid(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch, if nothing in it points outside it; Arrow's own functions trust it from here on."""
    import pyarrow as pa

    try:
        batch.validate(full=True)
    except pa.ArrowInvalid as error:
        raise Damaged(" ".join(str(error).split())[:200]) from error
    return batch


def _merged(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Small batches put together, so that a sparse choice does not leave one for every few rows."""
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if rows >= _PART_ROWS or size >= _PART_BYTES:
            yield _table(held)
            held, rows, size = [], 0, 0
    if held:
        yield _table(held)


def _table(batches: list[pa.RecordBatch]) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_batches(batches).unify_dictionaries().combine_chunks()


def _taken(batches: list[pa.RecordBatch], places: Int64) -> pa.Table:
    """Rows at places of the batches, in the order of the places."""
    import pyarrow as pa

    ends = np.cumsum([batch.num_rows for batch in batches])
    order = np.argsort(places, kind="stable")
    ascending = places[order]
    which = np.searchsorted(ends, ascending, side="right")
    parts = []
    for number in np.unique(which):
        batch = batches[number]
        local = ascending[which == number] - (ends[number] - batch.num_rows)
        parts.append(_rows_at(batch, local))
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    (found,) = _table(parts).to_batches() or [None]
    return _table(parts) if found is None else pa.Table.from_batches([_rows_at(found, back)])


def _rows_at(batch: pa.RecordBatch, places: Int64) -> pa.RecordBatch:
    """The rows at these places, in their order."""
    import pyarrow as pa

    at = pa.array(places)
    return pa.RecordBatch.from_arrays([_at(column, at) for column in batch.columns], schema=batch.schema)


def _at(column: pa.Array, places: pa.Array) -> pa.Array:
    import pyarrow as pa

    try:
        return column.take(places)
    except pa.ArrowNotImplementedError:  # lists as views of texts as views: Arrow can neither gather nor convert them
        return pa.array([column[place].as_py() for place in places.to_pylist()], column.type)


def _gatherable(kind: pa.DataType) -> pa.DataType:
    """The type with texts and bytes as views replaced: Arrow cannot gather these, and each would keep all it is cut from."""
    import pyarrow as pa

    t = pa.types

    def inner(field: pa.Field) -> pa.Field:
        return field.with_type(_gatherable(field.type))

    if t.is_string_view(kind) or t.is_binary_view(kind):
        return pa.large_string() if t.is_string_view(kind) else pa.large_binary()
    if t.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _gatherable(kind.value_type), kind.ordered)
    if t.is_struct(kind):
        return pa.struct([inner(kind.field(i)) for i in range(kind.num_fields)])
    if t.is_map(kind):
        return pa.map_(inner(kind.key_field), inner(kind.item_field), kind.keys_sorted)
    if t.is_fixed_size_list(kind):
        return pa.list_(inner(kind.value_field), kind.list_size)
    if t.is_list(kind):
        return pa.list_(inner(kind.value_field))
    return pa.large_list(inner(kind.value_field)) if t.is_large_list(kind) else kind


def _codec(reader: Columnar) -> str:
    codec = reader.codec() if isinstance(reader, Parquet) else "snappy"
    return {"uncompressed": "none", "lz4_raw": "lz4"}.get(codec, codec)
