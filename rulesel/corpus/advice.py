"""Commands for a message: each reads the file and writes another one, whose name no file has yet."""

from __future__ import annotations

import shlex
from itertools import count
from pathlib import Path
from typing import NamedTuple

from rulesel.corpus.source import STANDARD_INPUT
from rulesel.corpus.stream import Compression

_UNPACK = {"gzip": "gzip -dc", "zstd": "zstd -dc"}
_ENDINGS = (".gz", ".zst", ".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".utf8", ".lf")


class Subject(NamedTuple):
    """The file that a message is about.

    Attributes:
        name: as the user wrote it, or "standard input".
        compression: how its content is packed.
    """

    name: str
    compression: Compression | None = None

    @property
    def file(self) -> str:
        """The name for a shell, quoted; FILE for standard input."""
        return shlex.quote("FILE" if self.name == STANDARD_INPUT else self.name)

    def through(self, command: str, suffix: str) -> str:
        """The file's content through a filter, into another file."""
        other = shlex.quote(self.other(suffix))
        if self.compression is not None:
            return f"{_UNPACK[self.compression]} {self.file} | {command} > {other}"
        return f"{command} < {self.file} > {other}"

    def other(self, suffix: str) -> str:
        """A name beside the file that is free."""
        path = Path("FILE" if self.name == STANDARD_INPUT else self.name)
        stem = path.name
        while Path(stem).suffix.lower() in _ENDINGS:
            stem = Path(stem).stem
        names = (f"{stem}{f'.{n}' if n else ''}{suffix}" for n in count())
        return str(next(place for place in map(path.with_name, names) if not place.exists() and place != path))
