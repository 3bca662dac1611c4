"""CSV: a header, then rows; a quoted field may hold delimiters, quotes (doubled) and line breaks."""

from __future__ import annotations

import csv
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import ClassVar, NamedTuple

from rulesel.corpus.advice import Subject
from rulesel.corpus.dialect import refuse_ambiguous, refuse_escapes, refuse_header, refuse_open, refuse_remains
from rulesel.corpus.raw import (
    BLANK,
    BOM,
    MALFORMED,
    MAX_RECORD,
    NOT_UTF8,
    RAGGED,
    TOO_LONG,
    Format,
    Raw,
    RecordReader,
)
from rulesel.corpus.source import Source
from rulesel.corpus.stream import Compression, Tally, blocks, lines, sha256_of
from rulesel.errors import CorpusError

_DELIMITERS = b",\t;|"


class Csv(RecordReader):
    """Reads CSV, plain or compressed.

    A record is the bytes of the row without its line end. The header keeps its byte order mark and its line end.
    """

    format: ClassVar[Format] = "csv"

    def __init__(self, source: Source, compression: Compression | None) -> None:
        self._path = source.path
        self.paths = [source.path]
        self._subject = Subject(source.name, compression)
        self._compression = compression
        self._sha256: str | None = None
        self.n_bytes = source.path.stat().st_size
        self.header: bytes = self._header(source.name)
        twice = [name for name, count in Counter(field_names(self.header)).items() if count > 1 and name]
        if twice:
            raise CorpusError(f"{source.name} has more than one column named {twice[0]!r}. Rename one.")

    def _header(self, name: str) -> bytes:
        with self._path.open("rb", buffering=0) as file:
            content = lines(blocks(Tally(file), self._compression))
            start = next(content)
            feed = _Lines(chain([start], content))
            refuse_header(start[0] or b"", self._subject)
            row = next(_rows(feed, delimiter(start[0] or b""), self._subject))
            if row.cells is None:
                raise CorpusError(f"{name}: the first row should name the columns: {row.reason}.")
            return b"\n".join(feed.used) + b"\n"

    def records(self) -> Iterator[Raw]:
        """See `RecordReader`."""
        names = field_names(self.header)
        with self._path.open("rb", buffering=0) as file:
            tally = Tally(file)
            mark = delimiter(self.header)
            rows = _rows(_Lines(lines(blocks(tally, self._compression))), mark, self._subject)
            next(rows, None)
            for line, record, cells, reason in rows:
                self.bytes_read = tally.n_bytes
                refuse_ambiguous(record, cells, mark, len(names), line, self._subject)
                if cells is None:
                    yield Raw(line, record, None, reason)
                elif len(cells) != len(names):
                    yield Raw(line, record, None, RAGGED if cells else BLANK)
                else:
                    yield Raw(line, record, dict(zip(names, cells, strict=True)), "")
            self._sha256 = tally.sha256()

    def sha256(self) -> str:
        """See `RecordReader`."""
        if self._sha256 is None:
            self._sha256 = sha256_of([self._path])
        return self._sha256

    def describe(self) -> str:
        """See `RecordReader`."""
        mark = delimiter(self.header)
        separated = {",": "", "\t": ", separated by tabs"}.get(mark, f", separated by {mark}")
        return "CSV" + separated + (f", {self._compression}" if self._compression else "")


def delimiter(header: bytes) -> str:
    """What separates the fields: of comma, tab, semicolon and bar the one most frequent in the header."""
    bare = re.sub(rb'"[^"]*"', b"", header)
    return chr(max(_DELIMITERS, key=lambda mark: bare.count(mark)))


def field_names(header: bytes) -> list[str]:
    """The fields a header names; none if it cannot be read as one."""
    text = header.removeprefix(BOM).decode("utf-8", "replace").rstrip("\r\n")
    try:
        return next(parse_rows([text], delimiter(header)), [])
    except csv.Error:
        return []


def parse_rows(records: Iterable[str], mark: str) -> Iterator[list[str]]:
    """The cells of rows that were read before."""
    _allow_long_fields()
    return csv.reader(records, delimiter=mark)


def _allow_long_fields() -> None:
    if csv.field_size_limit() < MAX_RECORD:  # one limit for the whole process, 128 KiB unless somebody raised it
        csv.field_size_limit(MAX_RECORD)


class _Row(NamedTuple):
    line: int
    record: bytes
    cells: list[str] | None
    reason: str


def _rows(feed: _Lines, mark: str, file: Subject) -> Iterator[_Row]:
    """Rows, the header among them. A row with broken quotes costs itself where it is sure to end with its line.

    Raises:
        Foreign: what follows a broken row may be the rest of it.
    """
    _allow_long_fields()
    reader = csv.reader(feed, delimiter=mark, strict=True)
    broken = 0
    while True:
        line = feed.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except _TooLong:
            if feed.n_lines > 1:
                refuse_open(line)
            broken = line
            yield _Row(line, b"", None, TOO_LONG)
        except csv.Error:
            row = b"\n".join(feed.used)
            refuse_escapes(row, line, file)
            if feed.n_lines > 1 or row.count(b'"') % 2:
                refuse_open(line)
            broken = line
            yield _Row(line, b"", None, MALFORMED)
        else:
            record = b"\n".join(feed.used).removesuffix(b"\r")
            if broken:
                refuse_remains(record, mark, broken, line)
            yield _Row(line, record, None if feed.undecodable else cells, NOT_UTF8 if feed.undecodable else "")


class _TooLong(Exception):
    """A row longer than MAX_RECORD."""


class _Lines:
    """Feeds lines to csv.reader and remembers which of them made up the row."""

    def __init__(self, source: Iterator[list[bytes | None]]) -> None:
        self._source = source
        self._waiting: deque[bytes | None] = deque()
        self._line = 0
        self._size = 0
        self._used: list[bytes | None] = []
        self.undecodable = False

    @property
    def used(self) -> list[bytes]:
        return [line for line in self._used if line is not None]

    @property
    def n_lines(self) -> int:
        """Lines of the row so far."""
        return len(self._used)

    def begin(self) -> int:
        """Start a row; the number of its first line."""
        self._used = []
        self._size = 0
        self.undecodable = False
        return self._line + 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while not self._waiting:
            self._waiting.extend(next(self._source))
        line = self._waiting.popleft()
        self._line += 1
        self._used.append(line)
        self._size += len(line or b"")
        if line is None or self._size > MAX_RECORD:
            raise _TooLong
        if self._line == 1:
            line = line.removeprefix(BOM)
        try:
            return line.decode("utf-8") + "\n"
        except UnicodeDecodeError:
            self.undecodable = True
            return line.decode("utf-8", "replace") + "\n"
