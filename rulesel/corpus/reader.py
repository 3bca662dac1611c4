"""A corpus, read in chunks of examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rulesel.corpus.mapping import FieldMapping
from rulesel.corpus.raw import MAX_UNUSABLE, Damaged, Foreign, Format, Raw, RecordReader, Unusable
from rulesel.corpus.source import Source
from rulesel.digest import digest
from rulesel.errors import CorpusError
from rulesel.records import Int64

_LISTED = 100_000
_CHECKED = 10_000
"""Records between two looks at whether the user wants to stop."""


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is needed to write records of a corpus; values a store can keep.

    Attributes:
        format: jsonl, csv, parquet or dataset.
        header: CSV: the header's bytes with its line end; Parquet and dataset: the serialised Arrow schema; else None.
        path: where the rows of a Parquet file or dataset are read again; relative to the working directory if the
            user's path was.
        shape: how prompt and response were found; see `Corpus`.
        sha256: of the source's bytes; checked before rows are read again, unless None.
        mapping: how prompt and response were found, in words; see `Corpus`.
    """

    format: Format
    header: bytes | None
    path: Path
    shape: str
    sha256: str | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive examples of a corpus, one list entry an example.

    Attributes:
        rows: int64 (n,), 0-based record number in the source; skipped records have numbers too.
        hashes: content hashes of {"prompt", "response"}, or of {"text"} for plain text.
        prompts: None for plain text.
        responses: the response, or the plain text.
        records: what is stored: JSON Lines: the line without its newline; CSV: the row without its line end; Parquet and
            dataset: the row as JSON.
        lines: 1-based line where the record starts (row, for Parquet and dataset), for messages.
    """

    rows: Int64
    hashes: list[str]
    prompts: list[str | None]
    responses: list[str]
    records: list[bytes]
    lines: list[int]

    def __len__(self) -> int:
        return len(self.hashes)


@dataclass(frozen=True, slots=True)
class _Open:
    """A chunk that is being filled."""

    rows: list[int] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    prompts: list[str | None] = field(default_factory=list)
    responses: list[str] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)

    def close(self) -> Chunk:
        rows = np.asarray(self.rows, dtype=np.int64)
        return Chunk(rows, self.hashes, self.prompts, self.responses, self.records, self.lines)


class Corpus:
    """A corpus whose format and fields are known; reading it again gives the same examples.

    Attributes:
        path: as the user wrote it ("-" for standard input).
        format: jsonl, csv, parquet or dataset.
        shape: text, messages, alpaca, question/answer or prompt/response.
        mapping: what prompt and response (or text) are made of, in words.
        fields: names of the fields in the first records.
        n_bytes: size of the source.
        limit: examples read at most; None for all.
        skipped: reason -> number of records skipped by the latest reading.
        unreadable: row, line and reason of the first 100,000 of them.
        n_records: records met by the latest reading, skipped ones included.
        n_examples: examples given out by the latest reading.
    """

    def __init__(
        self,
        path: str,
        source: Source,
        reader: RecordReader,
        mapping: FieldMapping,
        fields: list[str],
        limit: int | None,
        check: Callable[[], None] | None = None,
    ) -> None:
        self.path = path
        self._check = check or (lambda: None)
        self._state = _state(reader.paths)
        self.format: Format = reader.format
        self.header = reader.header
        self.shape = mapping.shape
        self.mapping = mapping.words()
        self.fields = fields
        self.n_bytes = reader.n_bytes
        self.limit = limit
        self._source = source
        self._reader = reader
        self._field_mapping = mapping
        self._forget()

    def _forget(self) -> None:
        self.skipped: Counter[str] = Counter()
        self.unreadable: list[tuple[int, int, str]] = []
        self.n_records = 0
        self.n_examples = 0
        self._unusable = 0

    @property
    def skips(self) -> list[tuple[int, str]]:
        """Line and reason of `unreadable`."""
        return [(line, reason) for _, line, reason in self.unreadable]

    @property
    def bytes_read(self) -> int:
        """Bytes of the source used up by the latest reading, for progress."""
        return self._reader.bytes_read

    @property
    def sha256(self) -> str:
        """SHA-256 of the source's bytes in hexadecimal; free after a whole reading, one pass over the file before."""
        found = self._reader.sha256()
        self._refuse_changed()
        return found

    @property
    def source(self) -> SourceInfo:
        """What `write_selection` needs."""
        return SourceInfo(self.format, self.header, self._source.path, self.shape, self.sha256, self.mapping)

    def describe(self) -> list[str]:
        """Format and mapping in words, a line each."""
        mapped = ", ".join(f"{part} = {made_of}" for part, made_of in self.mapping.items())
        return [f"format: {self._reader.describe()}", f"shape: {self.shape}", f"mapping: {mapped}"]

    def chunks(self, size: int = 20_000) -> Iterator[Chunk]:
        """The examples in order, `size` at a time; counts and skips start anew.

        Raises:
            CorpusError: the source is cut off, damaged, or changes meanwhile. What was given out before stands for part of the corpus only
                and must not be taken for the whole; the message names the number of records that could be read.
        """
        self._forget()
        chunk = _Open()
        for raw in self._records():
            if not self._add(raw, chunk):
                continue
            if len(chunk.rows) == size:
                yield chunk.close()
                chunk = _Open()
            if self.n_examples == self.limit:
                break
        self._refuse_changed()
        if chunk.rows:
            yield chunk.close()

    def _refuse_changed(self) -> None:
        if _state(self._reader.paths) != self._state:
            raise CorpusError(f"{self._source.name} has changed while it was read. Run again when it is whole.")

    def _records(self) -> Iterator[Raw]:
        try:
            yield from self._reader.records()
        except Damaged as error:
            raise damaged(self._source.name, self.n_records, error) from error

    def _add(self, raw: Raw, chunk: _Open) -> bool:
        """Put a record into the chunk, or count why not."""
        line, record, fields, reason = raw
        row = self.n_records
        self.n_records += 1
        if self.n_records % _CHECKED == 0:
            self._check()
        try:
            if fields is None:
                raise Unusable(reason)
            prompt, response = self._field_mapping.read(fields, record)
            content = content_hash(prompt, response)
        except Unusable as error:
            self.skipped[str(error)] += 1
            self._unusable += 1
            if self._unusable > MAX_UNUSABLE:
                raise CorpusError(
                    f"{self._source.name}: the last {MAX_UNUSABLE:,} records cannot be used ({error}), up to line {line:,}; "
                    f"{self.n_examples:,} could be read before that. Remove what is not meant to be read."
                ) from error
            if len(self.unreadable) < _LISTED:
                self.unreadable.append((row, line, str(error)))
            return False
        self._unusable = 0
        self.n_examples += 1
        chunk.rows.append(row)
        chunk.hashes.append(content)
        chunk.prompts.append(prompt)
        chunk.responses.append(response)
        chunk.records.append(record)
        chunk.lines.append(line)
        return True


def _state(paths: list[Path]) -> list[tuple[int, int, int]]:
    """What changes when a file is written to or replaced."""
    try:
        return [(found.st_size, found.st_mtime_ns, found.st_ino) for found in (path.stat() for path in paths)]
    except OSError:
        return []


def content_hash(prompt: str | None, response: str) -> str:
    """Content address of an example: of {"prompt", "response"}, or of {"text"} where there is no prompt."""
    return digest({"text": response} if prompt is None else {"prompt": prompt, "response": response})


def damaged(name: str, n_records: int, error: Damaged) -> CorpusError:
    """The error for a source that ends early: how far it goes and what to do."""
    if isinstance(error, Foreign):
        return CorpusError(f"{name} {error}")
    return CorpusError(
        f"{name} is damaged: {error}. Records readable before that: {n_records:,}. "
        "Fetch the file again; nothing is selected from a part of it."
    )
