"""Rows of an Arrow schema, and Parquet files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import orjson

from rulesel.corpus.cells import rows_of
from rulesel.corpus.raw import UNREADABLE, Damaged, Format, Raw, RecordReader
from rulesel.corpus.source import Source
from rulesel.corpus.stream import sha256_of
from rulesel.errors import CorpusError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

BATCH_ROWS = 1000
BATCH_BYTES = 16 << 20
PROBED_ROWS = 8
Batches = Iterator["pa.RecordBatch"]
Read = Callable[[], Batches]


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
    def _spans(self) -> Iterator[tuple[int, Read]]:
        """The parts of the source that can be read alone, in order: their number of rows, and how to read them."""

    def spans(self) -> Iterator[tuple[int, Read]]:
        """The parts of the source in order: their number of rows, and how to read them; reading raises `Damaged`."""
        for n_rows, read in self._spans():
            yield n_rows, partial(_whole, read, n_rows)

    def records(self) -> Iterator[Raw]:
        """See `RecordReader`."""
        row = 0
        for batch in (batch for _, read in self.spans() for batch in read()):
            for fields in rows_of(batch):
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
                schema = file.schema_arrow
                n_rows = sum(file.metadata.row_group(group).num_rows for group in range(file.num_row_groups))
                check_names(schema, source.name)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise CorpusError(
                f"{source.name} starts like a Parquet file but cannot be read as one, so it is cut off or damaged; "
                f"fetch it again. ({' '.join(str(error).split())[:200]})"
            ) from error
        super().__init__([source.path], schema, n_rows)

    def _spans(self) -> Iterator[tuple[int, Read]]:
        """See `Columnar`: the row groups."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.paths[0]) as file:
            for group in range(file.num_row_groups):
                yield file.metadata.row_group(group).num_rows, partial(_of_group, file, group)

    def codec(self) -> str:
        """The compression of the first column. Asked for after reading: of a damaged file it would end the program."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.paths[0]) as file:
            coded = file.num_row_groups and file.metadata.num_columns
            return str(file.metadata.row_group(0).column(0).compression).lower() if coded else "snappy"

    def describe(self) -> str:
        """See `RecordReader`."""
        return f"Parquet, {self.n_rows:,} rows"


def _of_group(file: pq.ParquetFile, group: int) -> Batches:
    """The rows of a row group, in batches that its first rows say are of about 16 MiB: small files may hold large rows."""
    first = next(file.iter_batches(PROBED_ROWS, row_groups=[group]), None)
    if first is None or not first.num_rows:
        return
    size = min(BATCH_ROWS, max(1, BATCH_BYTES * first.num_rows // max(1, first.nbytes)))
    yield from file.iter_batches(size, row_groups=[group])


def _whole(read: Read, n_rows: int) -> Batches:
    """All rows of a part, or `Damaged`."""
    import pyarrow as pa

    seen = 0
    try:
        for batch in read():
            seen += batch.num_rows
            yield batch
    except (pa.ArrowException, OSError, ValueError) as error:
        raise Damaged(" ".join(str(error).split())[:200]) from error
    if seen != n_rows:
        raise Damaged(f"{n_rows:,} rows were to come and {seen:,} did")


def check_names(schema: pa.Schema, name: str) -> None:
    """Refuse two columns of one name.

    Raises:
        CorpusError: names the column.
    """
    twice = sorted({field for field in schema.names if schema.names.count(field) > 1})
    if twice:
        raise CorpusError(f"{name} has more than one column named {twice[0]!r}. Rename one.")


def _plain(value: object) -> str:
    """What JSON has no word for: bytes by their number, the rest as Python prints it."""
    return f"<{len(value)} bytes>" if isinstance(value, bytes) else str(value)
