"""Rows of an Arrow schema, and Parquet files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import orjson

from rulesel.corpus.raw import UNREADABLE, Damaged, Format, Raw, RecordReader
from rulesel.corpus.source import Source
from rulesel.corpus.stream import sha256_of
from rulesel.errors import CorpusError

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 1000
Batches = Iterator["pa.RecordBatch"]


class Columnar(RecordReader):
    """Reads rows of an Arrow schema.

    A record is the row as JSON, for the eye and for its fields: vectors and binary columns are left out, dates and
    decimals become text. Outputs are made from the source's own rows.
    """

    def __init__(self, paths: list[Path], schema: pa.Schema, n_rows: int) -> None:
        self.paths = paths
        self.schema = schema
        self.n_rows = n_rows
        self.header: bytes = schema.serialize().to_pybytes()
        self.n_bytes = sum(path.stat().st_size for path in paths)
        self._sha256: str | None = None

    @abstractmethod
    def spans(self) -> Iterator[tuple[int, Callable[[], Batches]]]:
        """The parts of the source that can be read alone, in order: their number of rows, and how to read them."""

    def batches(self) -> Batches:
        """All rows in order.

        Raises:
            Damaged: they cannot be decoded.
        """
        import pyarrow as pa

        try:
            for _, read in self.spans():
                yield from read()
        except (pa.ArrowException, OSError) as error:
            raise Damaged(" ".join(str(error).split())) from error

    def records(self) -> Iterator[Raw]:
        """See `RecordReader`."""
        row = 0
        for batch in self.batches():
            for fields in _rows(_shown(batch)):
                row += 1
                record = b"" if fields is None else orjson.dumps(fields, default=_plain)
                yield Raw(row, record, fields, UNREADABLE if fields is None else "")
            self.bytes_read = self.n_bytes * row // max(1, self.n_rows)

    def sha256(self) -> str:
        """See `RecordReader`."""
        if self._sha256 is None:
            self._sha256 = sha256_of(self.paths)
        return self._sha256


class Parquet(Columnar):
    """Reads a Parquet file."""

    format: ClassVar[Format] = "parquet"

    def __init__(self, source: Source) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(source.path) as file:
                schema, n_rows = file.schema_arrow, file.metadata.num_rows
                coded = file.num_row_groups and len(schema)
                self.codec = file.metadata.row_group(0).column(0).compression.lower() if coded else "snappy"
        except (pa.ArrowException, OSError) as error:
            raise CorpusError(
                f"{source.name} starts like a Parquet file but cannot be read as one, so it is cut off or damaged; "
                f"fetch it again. ({' '.join(str(error).split())[:200]})"
            ) from error
        check_names(schema, source.name)
        super().__init__([source.path], schema, n_rows)

    def spans(self) -> Iterator[tuple[int, Callable[[], Batches]]]:
        """See `Columnar`: the row groups."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.paths[0]) as file:
            for group in range(file.num_row_groups):
                n_rows = file.metadata.row_group(group).num_rows
                yield n_rows, lambda group=group: file.iter_batches(BATCH_ROWS, row_groups=[group])  # type: ignore[misc]

    def describe(self) -> str:
        """See `RecordReader`."""
        return f"Parquet, {self.n_rows:,} rows"


def check_names(schema: pa.Schema, name: str) -> None:
    """Refuse two columns of one name.

    Raises:
        CorpusError: names the column.
    """
    twice = sorted({field for field in schema.names if schema.names.count(field) > 1})
    if twice:
        raise CorpusError(f"{name} has more than one column named {twice[0]!r}. Rename one.")


def _shown(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The columns of a record: no vectors, no binary; dates as text."""
    import pyarrow as pa

    kept = [i for i, field in enumerate(batch.schema) if not _bulky(field.type)]
    batch = batch.select(kept)
    for i, field in enumerate(batch.schema):
        if pa.types.is_temporal(field.type):  # pandas would be needed for some of them as Python objects
            batch = batch.set_column(i, field.name, batch.column(i).cast(pa.string()))
    return batch


def _bulky(kind: pa.DataType) -> bool:
    import pyarrow as pa

    t = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _bulky(kind.storage_type)
    if t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind):
        inner = kind.value_type
        return t.is_integer(inner) or t.is_floating(inner) or _bulky(inner)
    return bool(t.is_binary(kind) or t.is_large_binary(kind) or t.is_fixed_size_binary(kind) or t.is_binary_view(kind))


def _rows(batch: pa.RecordBatch) -> list[dict[str, Any] | None]:
    """Rows as Python values; None for one that does not decode (text that is not UTF-8)."""
    try:
        return list(batch.to_pylist())
    except (UnicodeDecodeError, ValueError):
        pass
    rows: list[dict[str, Any] | None] = []
    for i in range(batch.num_rows):
        try:
            rows += batch.slice(i, 1).to_pylist()
        except (UnicodeDecodeError, ValueError):
            rows.append(None)
    return rows


def _plain(value: object) -> str:
    """What JSON has no word for: bytes by their number, the rest as Python prints it."""
    return f"<{len(value)} bytes>" if isinstance(value, bytes) else str(value)
