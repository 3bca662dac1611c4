"""Which format a file is in, by what is in it; its name decides only where the content leaves it open."""

from __future__ import annotations

import shlex

from rulesel.corpus.columnar import Parquet
from rulesel.corpus.dataset import DatasetDirectory
from rulesel.corpus.jsonl import JsonLines
from rulesel.corpus.raw import BOM, Damaged, RecordReader
from rulesel.corpus.shapes import KNOWN_FIELDS
from rulesel.corpus.source import Source
from rulesel.corpus.stream import Compression, Tally, blocks
from rulesel.corpus.tabular import Csv, field_names
from rulesel.errors import CorpusError

_HEAD = 1 << 16
_COMPRESSED: dict[bytes, Compression] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_PARQUET = b"PAR1"
_READABLE = "rulesel reads JSON Lines, CSV (both also .gz and .zst), Parquet and saved datasets"
_FOREIGN: tuple[tuple[bytes, str, str], ...] = (
    (b"\xff\xfe", "text in UTF-16", "Convert it: iconv -f UTF-16 -t UTF-8 {file} > {stem}.utf8"),
    (b"\xfe\xff", "text in UTF-16", "Convert it: iconv -f UTF-16 -t UTF-8 {file} > {stem}.utf8"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file it stands for", "Fetch the file: git lfs pull"),
    (b"<!DOCTYPE", "a web page", "Download the file itself, perhaps with a login."),
    (b"<!doctype", "a web page", "Download the file itself, perhaps with a login."),
    (b"<html", "a web page", "Download the file itself, perhaps with a login."),
    (b"ARROW1", "a single Arrow file", "Give the directory that save_to_disk wrote, or a Parquet file."),
    (b"\xff\xff\xff\xff", "a single Arrow stream", "Give the directory that save_to_disk wrote, or a Parquet file."),
    (b"PK\x03\x04", "a zip archive (or an .xlsx workbook)", "Unpack it: unzip {file}; save a workbook as CSV."),
    (b"BZh", "compressed with bzip2", "Unpack it: bunzip2 --keep {file}"),
    (b"\xfd7zXZ", "compressed with xz", "Unpack it: unxz --keep {file}"),
    (b"7z\xbc\xaf", "a 7-Zip archive", "Unpack it: 7z x {file}"),
    (b"\x89PNG", "a PNG image", _READABLE + "."),
    (b"\xff\xd8\xff", "a JPEG image", _READABLE + "."),
    (b"GIF8", "a GIF image", _READABLE + "."),
    (b"%PDF", "a PDF document", _READABLE + "."),
    (b"SQLite format 3", "an SQLite database", _READABLE + "."),
    (b"\x80\x04", "a Python pickle", _READABLE + "."),
    (b"\x93NUMPY", "a NumPy array", _READABLE + "."),
    (b"\x89HDF", "an HDF5 file", _READABLE + "."),
    (b"\x7fELF", "a program", _READABLE + "."),
)
_TAR = (257, b"ustar")
_DUCKDB = (8, b"DUCK")


def open_reader(source: Source) -> RecordReader:
    """The reader for a source.

    Raises:
        CorpusError: it is empty, not a format that is read, or damaged at its very start.
    """
    if source.path.is_dir():
        return DatasetDirectory(source)
    if source.path.stat().st_size == 0:
        raise CorpusError(f"{source.name} is empty.")
    with source.path.open("rb") as file:
        start = file.read(8)
    if start.startswith(_PARQUET):
        return Parquet(source)
    compression = next((kind for magic, kind in _COMPRESSED.items() if start.startswith(magic)), None)
    try:
        head = _head(source, compression)
        if not head:
            raise CorpusError(f"{source.name} is empty.")
        _refuse_foreign(head, source.name, compression)
        return (Csv if _is_csv(head, source.name) else JsonLines)(source, compression)
    except Damaged as error:
        raise CorpusError(f"{source.name} cannot be read: {error}. Fetch it again.") from error


def _head(source: Source, compression: Compression | None) -> bytes:
    head = b""
    with source.path.open("rb", buffering=0) as file:
        try:
            for block in blocks(Tally(file), compression):
                head += block
                if len(head) >= _HEAD:
                    break
        except Damaged:
            if not head:
                raise
    return head[:_HEAD]  # of a file that is cut off later, what there is: reading will say how far it goes


def _refuse_foreign(head: bytes, name: str, compression: Compression | None) -> None:
    for magic, what, advice in _FOREIGN:
        if head.startswith(magic):
            raise CorpusError(f"{name} is {what}. {_fill(advice, name)}")
    inside = f" inside {compression}" if compression else ""
    if head[_TAR[0] :].startswith(_TAR[1]):
        raise CorpusError(f"{name} is a tar archive{inside}. {_fill('Unpack it: tar xf {file}', name)}")
    if head[_DUCKDB[0] :].startswith(_DUCKDB[1]):
        raise CorpusError(f"{name} is a DuckDB database. To read a store, give it as --store; {_READABLE}.")
    if head.startswith((_PARQUET, *_COMPRESSED)):
        raise CorpusError(f"{name} is packed twice: Parquet, gzip or zstd{inside}. Unpack the outer layer.")
    if head.removeprefix(BOM).lstrip().startswith(b"["):
        raise CorpusError(f"{name} is one JSON array, not JSON Lines. {_fill(_CONVERT, name, compression)}")
    if b"\r" in head and b"\n" not in head:
        raise CorpusError(f"{name} ends its lines with CR alone. {_fill(_NEWLINES, name, compression)}")


_CONVERT = (
    'Convert it: {unpack}python3 -c "import json, sys; '
    '[print(json.dumps(r)) for r in json.load(sys.stdin)]"{read} > {stem}.jsonl'
)
_NEWLINES = "Convert it: {unpack}tr '\\r' '\\n'{read} > {stem}.lf"
_UNPACK = {"gzip": "gzip -dc", "zstd": "zstd -dc"}


def _fill(advice: str, name: str, compression: Compression | None = None) -> str:
    """A command with the file's name in it."""
    file = "FILE" if name == "standard input" else name
    stem = file.removesuffix(".gz").removesuffix(".zst").removesuffix(".json").removesuffix(".jsonl")
    quoted = shlex.quote(file)
    unpack = f"{_UNPACK[compression]} {quoted} | " if compression else ""
    holes = {"unpack": unpack, "read": "" if compression else f" < {quoted}", "file": quoted, "stem": shlex.quote(stem)}
    for hole, value in holes.items():
        advice = advice.replace("{" + hole + "}", value)
    return advice


def _is_csv(head: bytes, name: str) -> bool:
    """Whether text is CSV: no object in it, and the file's name or the names in its first line say so."""
    rows = [row.lstrip() for row in head.removeprefix(BOM).splitlines() if row.strip()]
    if not rows or rows[0].startswith(b"{"):
        return False
    bare = name.lower().removesuffix(".gz").removesuffix(".zst")
    if bare.endswith((".csv", ".tsv")):
        return True
    if any(row.startswith(b"{") for row in rows):  # JSON Lines with a broken start
        return False
    columns = field_names(rows[0])
    return bool(KNOWN_FIELDS & set(columns)) or (len(columns) > 1 and not bare.endswith((".jsonl", ".ndjson", ".json")))
