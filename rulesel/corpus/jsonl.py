"""JSON Lines: one object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar

import orjson

from rulesel.corpus.raw import (
    BLANK,
    BOM,
    NOT_JSON,
    NOT_OBJECT,
    NOT_UTF8,
    SURROGATE,
    TOO_DEEP,
    TOO_LONG,
    Format,
    Raw,
    RecordReader,
    Unusable,
)
from rulesel.corpus.source import Source
from rulesel.corpus.stream import Compression, Tally, blocks, lines, sha256_of

_DIGITS = bytes(ord("0") if 48 <= byte < 58 else byte for byte in range(256))
_LONG_NUMBER = b"0" * 19


class JsonLines(RecordReader):
    """Reads JSON Lines, plain or compressed.

    A record is the line without its newline; a carriage return stays, a byte order mark at the start of the file goes.
    """

    format: ClassVar[Format] = "jsonl"

    def __init__(self, source: Source, compression: Compression | None) -> None:
        self._path = source.path
        self.paths = [source.path]
        self._compression = compression
        self._sha256: str | None = None
        self.n_bytes = source.path.stat().st_size

    def records(self) -> Iterator[Raw]:
        """See `RecordReader`."""
        line = 0
        with self._path.open("rb", buffering=0) as file:
            tally = Tally(file)
            for part in lines(blocks(tally, self._compression)):
                self.bytes_read = tally.n_bytes
                for record in part:
                    line += 1
                    if record is None:
                        yield Raw(line, b"", None, TOO_LONG)
                        continue
                    if line == 1:
                        record = record.removeprefix(BOM)
                    try:
                        yield Raw(line, record, parse(record), "")
                    except Unusable as error:
                        yield Raw(line, record, None, str(error))
            self._sha256 = tally.sha256()

    def sha256(self) -> str:
        """See `RecordReader`."""
        if self._sha256 is None:
            self._sha256 = sha256_of([self._path])
        return self._sha256

    def describe(self) -> str:
        """See `RecordReader`."""
        return "JSON Lines" + (f", {self._compression}" if self._compression else "")


def parse(record: bytes) -> dict[str, Any]:
    """The fields of a line of JSON Lines; of a key given twice the last value counts.

    Raises:
        Unusable: it is not an object in valid JSON; the text says why.
    """
    try:
        fields = orjson.loads(record)
    except orjson.JSONDecodeError:
        fields = _second_opinion(record)
    else:
        if _LONG_NUMBER in record.translate(_DIGITS):  # orjson makes a float of a whole number beyond 64 bits
            fields = _second_opinion(record)
    if type(fields) is not dict:
        raise Unusable(NOT_OBJECT)
    return fields


def _second_opinion(record: bytes) -> object:
    """What Python's own parser says: it reads the NaN and Infinity that Python's own writer writes."""
    if not record.strip():
        raise Unusable(BLANK)
    try:
        fields = json.loads(record.decode("utf-8"))
        json.dumps(fields, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError:
        raise Unusable(NOT_UTF8) from None
    except UnicodeEncodeError:
        raise Unusable(SURROGATE) from None
    except RecursionError:
        raise Unusable(TOO_DEEP) from None
    except ValueError:  # JSONDecodeError, and an integer of more digits than Python converts
        raise Unusable(NOT_JSON) from None
    return fields
