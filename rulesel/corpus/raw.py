"""What every format yields: one record after the other, readable or not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

Format = Literal["jsonl", "csv", "parquet", "dataset"]

MAX_RECORD = 64 << 20
"""Bytes of the longest record that is read; a longer one is skipped and counted."""

MAX_LINE = 4 * MAX_RECORD
"""Bytes after which a line that has not ended is taken for one without end."""

BOM = b"\xef\xbb\xbf"
"""UTF-8's byte order mark: it belongs to the file, not to the first record."""

TOO_LONG = f"longer than {MAX_RECORD >> 20} MiB"
BLANK = "blank line"
NOT_UTF8 = "not valid UTF-8"
NOT_JSON = "not valid JSON"
NOT_OBJECT = "valid JSON, but not an object with fields"
TOO_DEEP = "nested too deeply"
SURROGATE = "half of a surrogate pair in the text (a broken \\ud800 escape)"
RAGGED = "not as many fields as the header"
MALFORMED = "quotes or line breaks out of place"
MAX_UNUSABLE = 1_000_000
"""Records in a row that cannot be used, after which a source is given up."""

UNREADABLE = "a value that cannot be decoded"


class Unusable(ValueError):
    """A record that cannot become an example; the text is the reason it is counted under."""


class Damaged(Exception):
    """The bytes end early or are damaged, so that nothing after this point can be read."""


class Foreign(Damaged):
    """The source is written in a way that would be misread; the text says how, and what to do."""


class Raw(NamedTuple):
    """One record as it stands in the source.

    Attributes:
        line: 1-based line (JSON Lines, CSV) or row (Parquet, dataset) where it starts.
        record: what is stored: the bytes of the line or CSV row, or the row as JSON.
        fields: field name -> value; None where the record cannot be read.
        reason: why it cannot be read; "" where it can.
    """

    line: int
    record: bytes
    fields: dict[str, Any] | None
    reason: str


class RecordReader(ABC):
    """Reads one source from start to end, as often as asked."""

    format: ClassVar[Format]
    header: bytes | None = None
    n_bytes: int
    paths: list[Path]
    """The files that are read."""

    bytes_read: int = 0
    """Bytes of the source used up so far by the latest reading, for progress."""

    @abstractmethod
    def records(self) -> Iterator[Raw]:
        """Every record in the order of the source.

        Raises:
            Damaged: the source ends early or is damaged.
        """

    @abstractmethod
    def sha256(self) -> str:
        """SHA-256 of the source's bytes in hexadecimal; reads the rest of them where that is still to be done."""

    @abstractmethod
    def describe(self) -> str:
        """The format in words."""
