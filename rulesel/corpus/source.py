"""Where a corpus is: a file, a directory, or a copy of what can be read only once."""

from __future__ import annotations

import atexit
import difflib
import os
import shutil
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rulesel.errors import CorpusError

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """Where the bytes are.

    Attributes:
        path: a file, or the directory of a dataset.
        name: what messages call it: the path as the user wrote it, or "standard input".
    """

    path: Path
    name: str


def locate(path: Path | str) -> Source:
    """Find the corpus; standard input ("-") and pipes are copied to a temporary file, which goes when the program ends.

    Raises:
        CorpusError: there is no such file, it may not be read, or nothing is piped in.
    """
    if str(path) == "-":
        if sys.stdin.isatty():
            raise CorpusError("The corpus is '-', but nothing is piped in. Pipe a file in, or give its path.")
        return _spool(sys.stdin.buffer, "standard input")
    path, name = Path(path), str(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return Source(path, name)
        with path.open("rb") as file:
            return Source(path, name) if stat.S_ISREG(mode) else _spool(file, name)
    except FileNotFoundError as error:
        raise CorpusError(f"There is no corpus {name!r}.{_nearest(path)}") from error
    except OSError as error:
        raise CorpusError(f"The corpus {name!r} cannot be read: {error.strerror or error}.") from error


def _nearest(path: Path) -> str:
    try:
        names = sorted(entry.name for entry in path.parent.iterdir())
    except OSError:
        return f" The directory {str(path.parent)!r} does not exist."
    near = difflib.get_close_matches(path.name, names, n=1)
    return f" Did you mean {str(path.with_name(near[0]))!r}?" if near else ""


def _spool(stream: IO[bytes], name: str) -> Source:
    handle, spooled = tempfile.mkstemp(prefix="rulesel-", suffix=".corpus")
    atexit.register(Path(spooled).unlink, missing_ok=True)
    try:
        with os.fdopen(handle, "wb") as copy:
            shutil.copyfileobj(stream, copy, _BLOCK)
    except OSError as error:
        raise CorpusError(
            f"{name} could not be copied to {tempfile.gettempdir()}: {error.strerror or error}. "
            "Point TMPDIR to a larger disk, or give a file."
        ) from error
    return Source(Path(spooled), name)
