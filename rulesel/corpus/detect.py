"""Which format a file is in, by what is in it; its name decides only where the content leaves it open."""

from __future__ import annotations

import json

import orjson

from rulesel.corpus.advice import Subject
from rulesel.corpus.columnar import Parquet
from rulesel.corpus.dataset import DatasetDirectory
from rulesel.corpus.jsonl import JsonLines
from rulesel.corpus.raw import BOM, Damaged, Foreign, RecordReader
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
_ENCODINGS = (
    ("UTF-32", b"\xff\xfe\0\0"),
    ("UTF-32", b"\0\0\xfe\xff"),
    ("UTF-16", b"\xff\xfe"),
    ("UTF-16", b"\xfe\xff"),
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
        subject = Subject(source.name, compression)
        _refuse_foreign(head, subject)
        _refuse_text(head, subject)
        return (Csv if _is_csv(head, source.name) else JsonLines)(source, compression)
    except Foreign as error:
        raise CorpusError(f"{source.name} {error}") from error
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


def _refuse_foreign(head: bytes, subject: Subject) -> None:
    name = subject.name
    for magic, what, advice in _FOREIGN:
        if head.startswith(magic):
            raise CorpusError(f"{name} is {what}. {advice.replace('{file}', subject.file)}")
    inside = f" inside {subject.compression}" if subject.compression else ""
    if head[_TAR[0] :].startswith(_TAR[1]):
        raise CorpusError(f"{name} is a tar archive{inside}. Unpack it: tar xkf {subject.file}")
    if head[_DUCKDB[0] :].startswith(_DUCKDB[1]):
        raise CorpusError(f"{name} is a DuckDB database. To read a store, give it as --store; {_READABLE}.")
    if head.startswith((_PARQUET, *_COMPRESSED)):
        raise CorpusError(f"{name} is packed twice: Parquet, gzip or zstd{inside}. Unpack the outer layer.")


_ARRAY = "python3 -c 'import json, sys; [print(json.dumps(r)) for r in json.loads(sys.stdin.buffer.read())]'"
_OBJECTS = (
    r"""python3 -c 'exec("import json, re, sys\ns = sys.stdin.buffer.read().decode(\"utf-8-sig\")\n"""
    r"""d, w = json.JSONDecoder(), re.compile(r\"\\s*\")\ni = w.match(s).end()\nwhile i < len(s):\n"""
    r"""  r, i = d.raw_decode(s, i)\n  print(json.dumps(r))\n  i = w.match(s, i).end()")'"""
)


def _refuse_text(head: bytes, subject: Subject) -> None:
    """Refuse text in another encoding, and JSON that is not in lines."""
    for encoding, magic in _ENCODINGS:
        if head.startswith(magic):
            command = subject.through(f"iconv -f {encoding} -t UTF-8", ".utf8")
            raise CorpusError(f"{subject.name} is text in {encoding}. Convert it: {command}")
    for encoding, zeros, texts in (
        ("UTF-16LE", head[1:200:2], head[:200:2]),
        ("UTF-16BE", head[:200:2], head[1:200:2]),
    ):
        if len(head) > 8 and not zeros.strip(b"\0") and b"\0" not in texts:
            command = subject.through(f"iconv -f {encoding} -t UTF-8", ".utf8")
            raise CorpusError(f"{subject.name} is text in {encoding}. Convert it: {command}")
    text = head.removeprefix(BOM).lstrip()
    first = text.split(b"\n", 1)[0]
    if text.startswith(b"[") and not (_is_json(first) and text[len(first) :].strip()):
        raise CorpusError(
            f"{subject.name} is one JSON array, not JSON Lines. Convert it: {subject.through(_ARRAY, '.jsonl')}"
        )
    if b"\r" in head and b"\n" not in head:
        command = subject.through("tr '\\r' '\\n'", ".lf")
        raise CorpusError(f"{subject.name} ends its lines with CR alone. Convert it: {command}")
    how = _several_lines(text, first)
    if how:
        raise CorpusError(
            f"{subject.name} has {how}, and one object a line is read. Convert it: {subject.through(_OBJECTS, '.jsonl')}"
        )


def _is_json(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _several_lines(text: bytes, first: bytes) -> str:
    """What is wrong with the lines of a file of objects; empty if nothing is."""
    if not text.startswith(b"{") or _is_json(first):
        return ""
    if first.strip() == b"{" and b"\n" in text:
        return "objects that span several lines"
    decoded = text.decode("utf-8", "replace")
    try:
        _, end = json.JSONDecoder().raw_decode(decoded)
    except (ValueError, RecursionError):
        return ""
    if "\n" in decoded[:end]:
        return "objects that span several lines"
    return "several objects in one line" if decoded[end:].split("\n", 1)[0].lstrip().startswith("{") else ""


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
