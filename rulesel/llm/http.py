"""A small HTTP/1.1 client for many short requests to one address: kept connections, nothing else.

A one-token rating is answered faster by a server with a warm prefix cache than general-purpose clients can ask for it.
Redirects, cookies, proxies and compression are left out on purpose; whoever needs them asks through the SDK.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from rulesel.errors import ModelError
from rulesel.llm.base import Failure
from rulesel.llm.faults import Retryable
from rulesel.llm.redact import one_line

CONNECT_SECONDS = 10.0
MOST_HEAD = 1 << 16
"""Bytes of the headers of an answer, and of what comes before an answer ("100 Continue")."""
MOST_BODY = 1 << 24
MOST_HEADS = 16
"""Heads of one answer, interim ones included."""
CHUNK_BYTES = 16
"""What a chunk counts beside its own bytes, so that a flood of tiny ones is long soon."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: status, headers with names in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Http:
    """A transport to one address."""

    def __init__(self, base: str, key: str | None, seconds: float) -> None:
        """Keep the parameters; connections are made when needed.

        Args:
            base: "http://host:port/v1" or https.
            key: bearer token, None to send none.
            seconds: longest wait for one answer.
        """
        parts = urlsplit(base)
        self._host, self._tls = parts.hostname or "", parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        self._path = parts.path.rstrip("/")
        self._bare = not self._path
        fields = [f"host: {parts.netloc.rpartition('@')[2]}", "accept: application/json", "user-agent: rulesel"]
        if key:
            fields.append(f"authorization: Bearer {key}")
        self._fields = "\r\n".join(fields)
        self._seconds = seconds
        self._idle: list[_Connection] = []
        self._context: ssl.SSLContext | None = None

    async def chat(self, payload: dict[str, Any], most: int = MOST_BODY) -> Reply:
        """Ask for a chat completion and wait for the whole answer, whatever its status.

        Args:
            payload: the JSON to send.
            most: bytes of the longest answer.

        Raises:
            Retryable: no connection, a broken one, no answer in time, or one that is too long.
        """
        body = orjson.dumps(payload)
        message = (
            f"POST {self._path}/chat/completions HTTP/1.1\r\n{self._fields}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        return await self._exchange(message, most)

    async def models(self, most: int = MOST_BODY) -> Reply:
        """Ask for the list of models; as `chat`."""
        return await self._exchange(f"GET {self._path}/models HTTP/1.1\r\n{self._fields}\r\n\r\n".encode(), most)

    def extend(self, path: str) -> bool:
        """Add a path to an address that was given without one; returns whether that was done."""
        if not self._bare or self._path:
            return False
        self._path = path
        return True

    async def close(self) -> None:
        """Close all idle connections."""
        while self._idle:
            self._idle.pop().drop()

    async def _exchange(self, message: bytes, most: int) -> Reply:
        connection = await self._connection()
        try:
            async with asyncio.timeout(self._seconds):
                reply = await connection.exchange(message, most)
        except TimeoutError as error:
            connection.drop()
            raise Retryable(Failure("timeout", f"no answer in {self._seconds:g} s", maybe_paid=True)) from error
        except (OSError, ValueError) as error:
            connection.drop()
            raise Retryable(Failure("http", f"connection broke: {error}", maybe_paid=True)) from error
        except asyncio.CancelledError:
            connection.drop()
            raise
        if connection.reusable:
            self._idle.append(connection)
        else:
            connection.drop()
        return reply

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable:
                return connection
            connection.drop()
        if self._tls and self._context is None:
            self._context = ssl.create_default_context()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await loop.create_connection(
                    _Connection, self._host, self._port, ssl=self._context if self._tls else None
                )
        except TimeoutError as error:
            raise Retryable(Failure("timeout", f"no connection in {CONNECT_SECONDS:g} s")) from error
        except ssl.SSLCertVerificationError as error:
            raise ModelError(f"{self._host}: {one_line(str(error))} (SSL_CERT_FILE names other authorities)") from error
        except OSError as error:
            line = f"no connection to {self._host}:{self._port}: {one_line(str(error))}"
            raise Retryable(Failure("http", line), unreachable=True) from error
        return connection


class _Connection(asyncio.Protocol):
    """One connection, one request at a time; every byte of an answer is looked at once."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[Reply] | None = None
        self._incoming = Incoming(0)
        self._transport: asyncio.Transport | None = None
        self._keep = True

    @property
    def reusable(self) -> bool:
        """Whether another request may go over it."""
        return self._keep and self._transport is not None and not self._transport.is_closing()

    async def exchange(self, message: bytes, most: int) -> Reply:
        """Send one request and wait for its answer of at most so many bytes; ValueError if what comes is no HTTP."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("closed by the server")
        self._answer = asyncio.get_running_loop().create_future()
        self._incoming = Incoming(most)
        self._transport.write(message)
        try:
            return await self._answer
        finally:
            self._answer = None

    def drop(self) -> None:
        """Close at once."""
        self._keep = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Part of an answer came."""
        if self._answer is None or self._answer.done():
            self.drop()  # nothing was asked
            return
        try:
            self._finish(self._incoming.feed(data), ended=False)
        except ValueError as error:
            self._answer.set_exception(error)
            self.drop()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; an answer without a length ends with it."""
        self._keep = False
        if self._answer is None or self._answer.done():
            return
        self._finish(self._incoming.end(), ended=True)
        if not self._answer.done():
            where = "in the middle of the answer" if self._incoming.begun else "before any answer"
            self._answer.set_exception(exc or ConnectionResetError(f"closed {where}"))

    def _finish(self, reply: Reply | None, *, ended: bool) -> None:
        if reply is None:
            return
        closing = reply.headers.get("connection", "").lower() == "close"
        self._keep = self._keep and not closing and not ended and not self._incoming.left
        assert self._answer is not None
        self._answer.set_result(reply)


class Incoming:
    """Puts one answer together from the pieces in which it comes."""

    def __init__(self, most: int) -> None:
        """Args: bytes of the longest answer, its framing included."""
        self._most = most
        self._came = self._heads = 0
        self._buffer = bytearray()
        self._looked = 0  # so much of the buffer is known to hold no end of a line
        self._status = 0
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._left: int | None = None  # bytes of the body or chunk still to come, None where there is no telling
        self._step: Callable[[], bool] = self._head
        self._whole = False

    @property
    def begun(self) -> bool:
        """Whether anything came."""
        return self._came > 0

    @property
    def left(self) -> int:
        """Bytes that came after the answer."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Reply | None:
        """Take a piece; returns the answer once it is whole.

        Raises:
            ValueError: it is no HTTP, or too long.
        """
        self._came += len(data)
        self._buffer += data
        while not self._whole and self._step():
            pass
        if self._whole:
            return Reply(self._status, self._headers, bytes(self._body))
        if self._came > self._most + MOST_HEAD:
            raise ValueError(f"an answer of more than {self._most:,} bytes")
        return None

    def end(self) -> Reply | None:
        """The connection is closed: the answer, if that is how it ends."""
        if self._step == self._rest and self._left is None:
            return Reply(self._status, self._headers, bytes(self._body))
        return None

    def _line(self, mark: bytes) -> bytes | None:
        """The buffer up to a mark, which is taken out with it; None if the mark has not come."""
        at = self._buffer.find(mark, self._looked)
        if at < 0:
            self._looked = max(0, len(self._buffer) - len(mark) + 1)
            if len(self._buffer) > MOST_HEAD:
                raise ValueError("no end of the headers" if len(mark) == 4 else "no end of a line")
            return None
        found = bytes(memoryview(self._buffer)[:at])
        del self._buffer[: at + len(mark)]
        self._looked = 0
        return found

    def _head(self) -> bool:
        head = self._line(b"\r\n\r\n")
        if head is None:
            return False
        self._heads += 1
        if self._heads > MOST_HEADS:
            raise ValueError("one interim answer after another")
        self._status, self._headers = _read_head(head)
        if 100 <= self._status < 200:
            return True
        if self._status in {204, 304}:
            self._whole = True
        elif "chunked" in self._headers.get("transfer-encoding", "").lower():
            self._step = self._size
        else:
            self._left = _length(self._headers.get("content-length"), self._most)
            self._step = self._rest
        return True

    def _rest(self) -> bool:
        if self._left is None:
            self._body += self._buffer
            self._buffer.clear()
            return False
        self._take(self._left)
        self._whole = self._left == 0
        return False

    def _size(self) -> bool:
        line = self._line(b"\r\n")
        if line is None:
            return False
        digits = line.partition(b";")[0].strip()
        if not digits.isalnum():
            raise ValueError(f"chunk size {digits[:20]!r}")
        self._came += CHUNK_BYTES
        self._left = int(digits[:16], 16)
        if len(digits) > 16 or self._left > self._most:
            raise ValueError(f"an answer of more than {self._most:,} bytes")
        self._step = self._chunk if self._left else self._trailer
        return True

    def _chunk(self) -> bool:
        assert self._left is not None
        self._take(self._left)
        if self._left or len(self._buffer) < 2:
            return False
        if self._buffer[:2] != b"\r\n":
            raise ValueError("a chunk that is longer than it says")
        del self._buffer[:2]
        self._step = self._size
        return True

    def _trailer(self) -> bool:
        line = self._line(b"\r\n")
        self._whole = line == b""
        return bool(line)

    def _take(self, most: int) -> None:
        """Move so many bytes of the buffer, or all there are, into the body."""
        part = memoryview(self._buffer)[:most]
        self._body += part
        count = len(part)
        part.release()
        del self._buffer[:count]
        assert self._left is not None
        self._left -= count


def _read_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    status = rest[:3]
    if not version.startswith("HTTP/1.") or not (status.isascii() and status.isdigit()):
        raise ValueError(f"no HTTP: {first[:60]!r}")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    if version == "HTTP/1.0":
        headers.setdefault("connection", "close")
    if headers.get("content-encoding", "identity") != "identity":
        raise ValueError(f"an answer in {headers['content-encoding'][:20]}, which was not asked for")
    return int(status), headers


def _length(value: str | None, most: int) -> int | None:
    """The length of a body, None if it is not said."""
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()):
        raise ValueError(f"content-length {value[:20]!r}")
    if len(value) > 16 or int(value) > most:
        raise ValueError(f"an answer of more than {most:,} bytes")
    return int(value)
