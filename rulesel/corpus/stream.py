"""Bytes of a file as blocks and lines: decompressed, counted and hashed on the way, never all of them in memory."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from rulesel.corpus.raw import MAX_LINE, MAX_RECORD, Damaged, Foreign

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Compression = Literal["gzip", "zstd"]
BLOCK = 1 << 20
_LONG_WINDOW = (
    "is zstd with a window beyond the 128 MiB that are read. Unpack it, which needs that memory: zstd -d --keep --long=31 "
    "and the file's name."
)
_GZIP_FORMAT = 31  # zlib's wbits for a stream with gzip's header and checksum


class Tally(io.RawIOBase):
    """A file that counts and hashes what is read from it."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self._hash = hashlib.sha256()
        self.n_bytes = 0

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read at most as much as the buffer holds; 0 at the end."""
        view = memoryview(buffer).cast("B")
        n = self._file.readinto(view)  # type: ignore[attr-defined]  # every binary file has it, typeshed's IO has not
        self._hash.update(view[:n])
        self.n_bytes += n
        return int(n)

    def sha256(self) -> str:
        """SHA-256 of the whole file in hexadecimal; reads what is left of it."""
        for _ in plain(self):
            pass
        return self._hash.hexdigest()


def sha256_of(paths: Iterable[Path]) -> str:
    """SHA-256 of the bytes of files, one after the other, in hexadecimal."""
    whole = hashlib.sha256()
    for path in paths:
        with path.open("rb", buffering=0) as file:
            for block in plain(file):
                whole.update(block)
    return whole.hexdigest()


def blocks(file: Tally, compression: Compression | None) -> Iterator[bytes]:
    """The content of a file, decompressed, in blocks of about a mebibyte.

    Raises:
        Damaged: a compressed stream ends early or is broken.
    """
    if compression == "gzip":
        return _gunzip(file)
    return _unzstd(file) if compression == "zstd" else plain(file)


def plain(file: io.RawIOBase | IO[bytes]) -> Iterator[bytes]:
    """What is left of a file in blocks."""
    while block := file.read(BLOCK):
        yield block


def _gunzip(file: Tally) -> Iterator[bytes]:
    member = zlib.decompressobj(_GZIP_FORMAT)
    for block in plain(file):
        while block:
            if member.eof:
                block = block.lstrip(b"\0")  # padding between members is legal
                if not block:
                    break
                member = zlib.decompressobj(_GZIP_FORMAT)
            try:
                out = member.decompress(block, BLOCK)
            except zlib.error as error:
                raise Damaged(f"the gzip data is broken: {error}") from error
            block = member.unused_data if member.eof else member.unconsumed_tail
            if out:
                yield out
    if not member.eof:
        raise Damaged("the gzip data ends early")


def _unzstd(file: Tally) -> Iterator[bytes]:
    import pyarrow as pa

    stream = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")
    while True:
        try:
            block = stream.read(BLOCK)
        except OSError as error:
            if "too much memory" in str(error):
                raise Foreign(_LONG_WINDOW) from error
            early = "Truncated" in str(error)
            raise Damaged("the zstd data ends early" if early else f"the zstd data is broken: {error}") from error
        if not block:
            return
        yield block


def lines(content: Iterable[bytes]) -> Iterator[list[bytes | None]]:
    r"""Lines without their "\n", a list for each block; None for a line longer than `MAX_RECORD`.

    Only "\n" ends a line: a carriage return and Unicode's own separators stay in it.
    """
    held: list[bytes] = []
    size = 0
    for block in content:
        parts: list[bytes | None] = [*block.split(b"\n")]
        rest = parts.pop() or b""
        if parts:
            size += len(parts[0] or b"")
            parts[0] = None if size > MAX_RECORD else b"".join((*held, parts[0] or b""))
            yield parts
            held, size = [], 0
        size += len(rest)
        if size > MAX_LINE:
            raise Foreign(
                f"holds a line that does not end within {MAX_LINE >> 20:,} MiB; it is no JSON Lines and no CSV."
            )
        if size > MAX_RECORD:
            held = []
        elif rest:
            held.append(rest)
    if size:
        yield [None if size > MAX_RECORD else b"".join(held)]
