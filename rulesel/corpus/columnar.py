"""Parquet files, and dataset directories as Hugging Face `datasets` saves them: JSON about Arrow streams."""

from __future__ import annotations

import json
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
        except (pa.ArrowException, OSError) as error:
            raise CorpusError(
                f"{source.name} starts like a Parquet file but cannot be read as one, so it is cut off or damaged; "
                f"fetch it again. ({' '.join(str(error).split())[:200]})"
            ) from error
        _check_names(schema, source.name)
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


class DatasetDirectory(Columnar):
    """Reads one split of a dataset saved with `save_to_disk`."""

    format: ClassVar[Format] = "dataset"

    def __init__(self, source: Source) -> None:
        import pyarrow as pa

        self._split, directory = _split(source)
        paths = _data_files(directory, source)
        self._rows: list[int] = []
        schema = None
        for path in paths:
            try:
                with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
                    schema = schema or stream.schema
                    self._rows.append(sum(batch.num_rows for batch in stream))
            except (pa.ArrowException, OSError) as error:
                raise CorpusError(
                    f"{source.name}: {path.name} is cut off or damaged; save the dataset again."
                ) from error
        _check_names(schema, source.name)
        super().__init__(paths, schema, sum(self._rows))

    def spans(self) -> Iterator[tuple[int, Callable[[], Batches]]]:
        """See `Columnar`: the files."""
        for path, n_rows in zip(self.paths, self._rows, strict=True):
            yield n_rows, lambda path=path: _stream(path)  # type: ignore[misc]

    def describe(self) -> str:
        """See `RecordReader`."""
        return f"dataset directory, {self._split}{self.n_rows:,} rows"


def _stream(path: Path) -> Batches:
    import pyarrow as pa

    with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
        for batch in stream:
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield batch.slice(start, BATCH_ROWS)


def _split(source: Source) -> tuple[str, Path]:
    """What to say about the split, and its directory; "train" where there are several."""
    listing = source.path / "dataset_dict.json"
    if not listing.exists():
        return "", source.path
    splits = _json(listing, source).get("splits")
    splits = [name for name in splits if isinstance(name, str)] if isinstance(splits, list) else []
    if len(splits) > 1 and "train" not in splits:
        paths = ", ".join(str(source.path / name) for name in splits)
        raise CorpusError(f"{source.name} holds several splits. Give one: {paths}")
    if not splits:
        raise CorpusError(f"{source.name} names no split in dataset_dict.json; save the dataset again.")
    chosen = "train" if "train" in splits else splits[0]
    others = ", ".join(name for name in splits if name != chosen)
    return f"split {chosen}" + (f" (not read: {others}), " if others else ", "), source.path / chosen


def _data_files(directory: Path, source: Source) -> list[Path]:
    state = directory / "state.json"
    if not state.exists():
        raise CorpusError(
            f"{source.name} is a directory, but no saved dataset (it has no state.json).{_inside(directory)}"
        )
    content = _json(state, source)
    if content.get("_indices_data_files") or content.get("_indices_files"):
        raise CorpusError(f"{source.name} is a view into other rows. Call flatten_indices() and save it again.")
    entries = content.get("_data_files")
    names = [e.get("filename") for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []
    paths = [directory / name for name in names if isinstance(name, str)]
    missing = [path.name for path in paths if not path.is_file()]
    if missing or not paths:
        raise CorpusError(
            f"{source.name}: the data file {missing[0] if missing else '*.arrow'} is missing; save it again."
        )
    return paths


def _inside(directory: Path) -> str:
    """A hint at what in the directory could be read."""
    known = (".jsonl", ".ndjson", ".jsonl.gz", ".jsonl.zst", ".parquet", ".csv")
    found = sorted(path for path in directory.rglob("*") if path.name.endswith(known) or path.name == "state.json")
    if not found:
        return " Give a file, or a directory written by save_to_disk."
    first = found[0].parent if found[0].name == "state.json" else found[0]
    return f" Did you mean {str(first)!r}?" + (f" ({len(found)} such inside)" if len(found) > 1 else "")


def _json(path: Path, source: Source) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CorpusError(f"{source.name}: {path.name} cannot be read; save the dataset again.") from error
    return content if isinstance(content, dict) else {}


def _check_names(schema: pa.Schema, name: str) -> None:
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
