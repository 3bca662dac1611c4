"""Where a corpus is: a file, a directory, or a copy of what can be read only once."""

from __future__ import annotations

import atexit
import difflib
import os
import select
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rulesel.corpus.raw import MAX_LINE
from rulesel.errors import CorpusError

STANDARD_INPUT = "standard input"
"""What messages call it."""

_BLOCK = 1 << 20
FIRST_WAIT = 60
"""Seconds until something has to come through a pipe."""

LOOK = 0.5
"""Seconds between two looks at whether the user wants to stop."""

LATER_WAIT = 600
"""Seconds of silence after that."""

ROOM = 512 << 20
"""Bytes of the temporary disk that are left free."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the bytes are.

    Attributes:
        path: a file, or the directory of a dataset.
        name: what messages call it: the path as the user wrote it, or "standard input".
    """

    path: Path
    name: str


def locate(path: Path | str, check: Callable[[], None] | None = None) -> Source:
    """Find the corpus; standard input ("-") and pipes are copied to a temporary file, which goes when the program ends.

    Raises:
        CorpusError: there is no such file, it may not be read, or nothing is piped in.
    """
    if str(path) == "-":
        if sys.stdin.isatty():
            raise CorpusError("The corpus is '-', but nothing is piped in. Pipe a file in, or give its path.")
        return _spool(sys.stdin.buffer, STANDARD_INPUT, check)
    path, name = Path(path), str(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return Source(path, name)
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            raise CorpusError(f"The corpus {name!r} is a device, not a file. Give a file, or pipe its content in.")
        if not stat.S_ISREG(mode):
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as pipe:
                return _spool(pipe, name, check)
        with path.open("rb"):
            return Source(path, name)
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


def _arriving(stream: IO[bytes], name: str, check: Callable[[], None] | None) -> Iterator[bytes]:
    """What comes through a pipe, as it comes.

    Raises:
        CorpusError: nothing comes, or a line has no end.
    """
    try:
        handle = stream.fileno()
    except (OSError, ValueError):  # no file behind it
        yield from iter(lambda: stream.read(_BLOCK), b"")
        return
    wait, line = FIRST_WAIT, 0
    while True:
        silent = 0.0
        while not select.select([handle], [], [], LOOK)[0] and silent < wait:
            silent += LOOK
            if check is not None:
                check()
        if silent >= wait:
            raise CorpusError(
                f"Nothing has come through {name} for {wait} seconds. Start what writes into it, or give a file."
            )
        block = os.read(handle, _BLOCK)
        if not block:
            return
        line = len(block) - block.rfind(b"\n") - 1 if b"\n" in block else line + len(block)
        if line > MAX_LINE:
            raise CorpusError(
                f"{name} sends a line that does not end within {MAX_LINE >> 20:,} MiB. Give JSON Lines or CSV."
            )
        yield block
        wait = LATER_WAIT


def _check_room(name: str) -> None:
    """Refuse to fill the disk with what may have no end."""
    if shutil.disk_usage(tempfile.gettempdir()).free < ROOM:
        raise CorpusError(
            f"{name} is copied to {tempfile.gettempdir()}, which has less than {ROOM >> 20:,} MiB left. Point TMPDIR to a "
            "larger disk, or give a file."
        )


def _spool(stream: IO[bytes], name: str, check: Callable[[], None] | None) -> Source:
    handle, spooled = tempfile.mkstemp(prefix="rulesel-", suffix=".corpus")
    atexit.register(Path(spooled).unlink, missing_ok=True)
    try:
        with os.fdopen(handle, "wb") as copy:
            for block in _arriving(stream, name, check):
                copy.write(block)
                _check_room(name)
    except OSError as error:
        raise CorpusError(
            f"{name} could not be copied to {tempfile.gettempdir()}: {error.strerror or error}. "
            "Point TMPDIR to a larger disk, or give a file."
        ) from error
    return Source(Path(spooled), name)
