"""Selections as files: the source's own records byte for byte, or converted; whole or not at all."""

from __future__ import annotations

import gzip
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from rulesel.corpus.columnar import Columnar
from rulesel.corpus.convert import SHAPES, Shape, Stored, converted
from rulesel.corpus.detect import open_reader
from rulesel.corpus.fields import fields_reader
from rulesel.corpus.gather import write_rows
from rulesel.corpus.mapping import FieldMapping
from rulesel.corpus.raw import Damaged, Format
from rulesel.corpus.reader import SourceInfo
from rulesel.corpus.source import Source
from rulesel.corpus.stream import sha256_of
from rulesel.errors import CorpusError, RuleselError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

_KINDS = {
    ".jsonl": "JSON Lines",
    ".ndjson": "JSON Lines",
    ".json": "JSON Lines",
    ".csv": "CSV",
    ".tsv": "CSV",
    ".parquet": "Parquet",
    ".yaml": "YAML",
    ".yml": "YAML",
    ".duckdb": "DuckDB",
    ".sqlite": "SQLite",
    ".arrow": "Arrow",
}
_KIND_OF_FORMAT: dict[Format, str] = {"jsonl": "JSON Lines", "csv": "CSV", "parquet": "Parquet", "dataset": "Parquet"}
_SUFFIX = {"JSON Lines": ".jsonl", "CSV": ".csv", "Parquet": ".parquet"}


def check_output(
    out: Path,
    format: Format,  # noqa: A002
    as_: str | None = None,
    *,
    shape: str | None = None,
    corpus: Path | None = None,
    header: bytes | None = None,
) -> None:
    """Refuse an output that cannot be written, before any work is done.

    Records are written as the source has them: JSON Lines and CSV stay what they are (the name may end in .gz or .zst
    as well), Parquet and dataset directories become Parquet; `as_` makes JSON Lines of any. A name that says another
    format is refused, one that says none is taken.

    Args:
        out: the file to be written.
        format: the corpus's format.
        as_: messages, alpaca or sharegpt.
        shape: the corpus's shape.
        corpus: the corpus itself, which is never overwritten.
        header: the corpus's header; of a dataset directory, its columns have to fit into Parquet.

    Raises:
        UsageError: says what to change.
    """
    if as_ is not None and as_ not in SHAPES:
        raise UsageError(f"--as {as_}: there are {', '.join(SHAPES)}.")
    if as_ is not None and shape == "text":
        raise UsageError(f"--as {as_} needs prompts and responses, and the corpus is plain text. Leave --as out.")
    _check_place(out, corpus)
    if format == "dataset" and as_ is None and header is not None:
        _check_columns(out, header)
    kind = "JSON Lines" if as_ else _KIND_OF_FORMAT[format]
    bare, packed = _unpacked_name(out)
    named = _KINDS.get(bare.suffix.lower())
    better = bare.with_suffix(_SUFFIX[kind]) if named else bare.with_name(bare.name + _SUFFIX[kind])
    if packed and kind == "Parquet":
        raise UsageError(f"-o {out}: Parquet is compressed inside. Name it {better}.")
    if named not in (None, kind):
        why = f"--as {as_} writes" if as_ else f"records of a {format} corpus are written as"
        hint = "" if as_ or named != "JSON Lines" else f" For JSON Lines add --as {'|'.join(SHAPES)}."
        raise UsageError(f"-o {out}: {why} {kind}. Name it {better}.{hint}")


def _check_place(out: Path, corpus: Path | None) -> None:
    if str(out) == "-":
        raise UsageError("-o -: a selection is several files, which need a name. Give one: -o selected.jsonl")
    if out.is_dir():
        raise UsageError(f"-o {out} is a directory. Give a file in it: {out / 'selected.jsonl'}")
    if out.exists() and not out.is_file():
        raise UsageError(f"-o {out} is not a regular file. Give a file to be written.")
    if not out.parent.is_dir():
        raise UsageError(f"-o {out}: the directory does not exist. Make it: mkdir -p {out.parent}")
    if not os.access(out.resolve().parent, os.W_OK):
        raise UsageError(f"-o {out}: the directory {out.parent} may not be written to.")
    if corpus is not None and out.exists() and corpus.exists() and out.samefile(corpus):
        raise UsageError(f"-o {out} is the corpus itself. Give another name.")


def _check_columns(out: Path, header: bytes) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for field in pa.ipc.read_schema(pa.py_buffer(header)):
        try:
            pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([field])).close()
        except pa.ArrowNotImplementedError as error:
            raise UsageError(
                f"-o {out}: Parquet cannot hold the column {field.name!r} ({field.type}). Remove it from the dataset, or "
                f"write the texts alone: --as {'|'.join(SHAPES)}."
            ) from error


def _unpacked_name(out: Path) -> tuple[Path, str]:
    """The name without .gz or .zst, and which of them it had."""
    packed = out.suffix.lower() if out.suffix.lower() in (".gz", ".zst") else ""
    return (out.with_suffix("") if packed else out), packed


def write_selection(
    out: Path,
    source: SourceInfo,
    records: Iterable[bytes] | Iterable[int] | Iterable[Stored],
    *,
    as_: Shape | None = None,
) -> str:
    """Write a selection in the order given; the file appears whole under its name, or not at all.

    Args:
        out: the file; `check_output` has agreed to it.
        source: the corpus the selection is from.
        records: with `as_`, prompt, response and stored record of each example; else for JSON Lines and CSV the stored records, for
            Parquet and dataset directories the row numbers, whose rows are read from the source again.
        as_: messages, alpaca or sharegpt.

    Returns:
        SHA-256 of the bytes written, in hexadecimal.

    Raises:
        CorpusError: the source of the rows has gone, changed or is damaged.
        RuleselError: the file cannot be written.
    """
    with _whole_file(out) as unfinished:
        if as_ is not None:
            mapping = FieldMapping.from_words(source.shape, source.mapping)
            fields_of = fields_reader(source.format, source.header)
            lines = converted(cast("Iterable[Stored]", records), as_, mapping, fields_of)
            _write_lines(unfinished, out, (line + b"\n" for line in lines))
        elif source.format in ("parquet", "dataset"):
            _write_rows(unfinished, source, cast("Iterable[int]", records))
        else:
            _write_lines(unfinished, out, _as_they_are(source, cast("Iterable[bytes]", records)))
        return sha256_of([unfinished])


def _as_they_are(source: SourceInfo, records: Iterable[bytes]) -> Iterator[bytes]:
    header = source.header or b""
    end = b"\r\n" if header.endswith(b"\r\n") else b"\n"
    if header:
        yield header
    for record in records:
        yield record + end


def _write_lines(unfinished: Path, out: Path, lines: Iterable[bytes]) -> None:
    _, packed = _unpacked_name(out)
    if packed == ".zst":
        with _zstd(unfinished) as sink:
            for line in lines:
                sink.write(line)
        return
    with unfinished.open("xb") as file:
        if not packed:
            file.writelines(lines)
            return
        # no name and no time in the header: equal content, equal bytes
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=6) as sink:
            sink.writelines(lines)


def _zstd(path: Path) -> pa.NativeFile:
    import pyarrow as pa

    return pa.CompressedOutputStream(str(path), "zstd")


def _write_rows(unfinished: Path, source: SourceInfo, rows: Iterable[int]) -> None:
    if not source.path.exists():
        raise CorpusError(f"{source.path} has gone since it was read; its rows cannot be written.")
    reader = open_reader(Source(source.path, str(source.path)))
    if not isinstance(reader, Columnar) or source.sha256 not in (None, reader.sha256()):
        raise CorpusError(f"{source.path} has changed since it was read; its rows cannot be written. Run again.")
    try:
        write_rows(reader, np.fromiter(rows, dtype=np.int64), unfinished)
    except Damaged as error:
        raise CorpusError(f"{source.path} is damaged: {error}. Its rows cannot be written.") from error


@contextmanager
def _whole_file(out: Path) -> Iterator[Path]:
    """A name beside the output that takes its place at the end; on an error it goes and the output stays as it was."""
    target = Path(os.path.realpath(out))  # a link keeps pointing where it does
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield unfinished
        _to_disk(unfinished, os.O_RDWR)
        unfinished.replace(target)
        _to_disk(target.parent, os.O_RDONLY)
    except OSError as error:
        raise RuleselError(f"{out} could not be written: {error.strerror or error}.") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _to_disk(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
