"""Rows of a Parquet file or dataset, in any order, as a Parquet file."""

from __future__ import annotations

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
    import pyarrow.parquet as pq

    if len(rows) and (rows.min() < 0 or rows.max() >= reader.n_rows):
        raise ValueError(f"row {int(rows.max())} of a source of {reader.n_rows} rows")
    order = np.argsort(rows, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    with (
        tempfile.NamedTemporaryFile(dir=out.parent, prefix=".rulesel-", suffix=".rows") as scratch,
        pq.ParquetWriter(out, reader.schema, compression=_codec(reader)) as writer,
    ):
        with pa.ipc.new_stream(scratch, reader.schema) as stream:
            for part in _merged(_wanted(reader, rows[order])):
                stream.write_table(part)
        scratch.flush()
        size = scratch.tell()
        step = max(1, min(_PART_ROWS, len(rows) * _PART_BYTES // max(1, size)))
        with pa.memory_map(scratch.name) as file, pa.ipc.open_stream(file) as stored:
            batches = list(stored)
            for start in range(0, len(rows), step):
                writer.write_table(_taken(batches, place[start : start + step]))


def _wanted(reader: Columnar, wanted: Int64) -> Iterator[pa.RecordBatch]:
    """Rows in the order of the source; `wanted` ascends."""
    import pyarrow as pa

    start = 0
    for n_rows, read in reader.spans():
        low, high = np.searchsorted(wanted, (start, start + n_rows))
        at = start
        for batch in read() if high > low else ():
            low, high = np.searchsorted(wanted, (at, at + batch.num_rows))
            if high > low:
                yield _valid(batch.take(pa.array(wanted[low:high] - at)))
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
        parts.append(batch.take(pa.array(local)))
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return _table(parts).take(pa.array(back))


def _codec(reader: Columnar) -> str:
    codec = reader.codec() if isinstance(reader, Parquet) else "snappy"
    return {"uncompressed": "none", "lz4_raw": "lz4"}.get(codec, codec)
