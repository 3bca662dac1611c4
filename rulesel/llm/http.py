"""A small HTTP/1.1 client for many short requests to one address: kept connections, nothing else.

A one-token rating is answered faster by a server with a warm prefix cache than general-purpose clients can ask for it.
Redirects, cookies, proxies and compression are left out on purpose; whoever needs them asks through the SDK.
"""

from __future__ import annotations

import asyncio
import ssl
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
MOST_BODY = 1 << 24


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
        fields = [f"host: {parts.netloc.rpartition('@')[2]}", "accept: application/json", "user-agent: rulesel"]
        if key:
            fields.append(f"authorization: Bearer {key}")
        self._fields = "\r\n".join(fields)
        self._seconds = seconds
        self._idle: list[_Connection] = []
        self._context: ssl.SSLContext | None = None

    async def chat(self, payload: dict[str, Any]) -> Reply:
        """Ask for a chat completion and wait for the whole answer, whatever its status.

        Raises:
            Retryable: no connection, a broken one, or no answer in time.
        """
        body = orjson.dumps(payload)
        return await self._exchange(
            f"POST {self._path}/chat/completions HTTP/1.1\r\n{self._fields}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n".encode()
            + body
        )

    async def models(self) -> Reply:
        """Ask for the list of models; raises as `chat` does."""
        return await self._exchange(f"GET {self._path}/models HTTP/1.1\r\n{self._fields}\r\n\r\n".encode())

    async def close(self) -> None:
        """Close all idle connections."""
        while self._idle:
            self._idle.pop().drop()

    async def _exchange(self, message: bytes) -> Reply:
        connection = await self._connection()
        try:
            async with asyncio.timeout(self._seconds):
                reply = await connection.exchange(message)
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
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._answer: asyncio.Future[Reply] | None = None
        self._head: tuple[int, dict[str, str], int] | None = None  # status, headers, where the body begins
        self._transport: asyncio.Transport | None = None
        self._keep = True

    @property
    def reusable(self) -> bool:
        """Whether another request may go over it."""
        return self._keep and not self._buffer and self._transport is not None and not self._transport.is_closing()

    async def exchange(self, message: bytes) -> Reply:
        """Send one request and wait for its answer; ValueError if what comes is no HTTP."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("closed by the server")
        self._answer = asyncio.get_running_loop().create_future()
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
        self._buffer += data
        if self._answer is None or self._answer.done():
            self._keep = False  # nobody asked
            return
        try:
            self._advance(ended=False)
        except ValueError as error:
            self._keep = False
            self._answer.set_exception(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; an answer without a length ends with it."""
        self._keep = False
        if self._answer is None or self._answer.done():
            return
        try:
            self._advance(ended=True)
        except ValueError as error:
            self._answer.set_exception(error)
        if not self._answer.done():
            where = "in the middle of the answer" if self._buffer or self._head else "before any answer"
            self._answer.set_exception(exc or ConnectionResetError(f"closed {where}"))

    def _advance(self, *, ended: bool) -> None:
        """Complete the answer if the buffer holds all of it."""
        while self._head is None or 100 <= self._head[0] < 200:
            if self._head is not None:
                self._buffer = self._buffer[self._head[2] :]
                self._head = None
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > MOST_HEAD:
                    raise ValueError("no end of the headers")
                return
            self._head = (*_read_head(bytes(self._buffer[:end])), end + 4)
        status, headers, start = self._head
        found = _read_body(self._buffer, start, status, headers, ended=ended)
        if found is None:
            if len(self._buffer) > MOST_BODY:
                raise ValueError("an answer beyond all measure")
            return
        body, end = found
        self._buffer = self._buffer[end:]
        self._head = None
        self._keep = self._keep and headers.get("connection", "").lower() != "close" and not ended
        assert self._answer is not None
        self._answer.set_result(Reply(status, headers, body))


def _read_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    status = rest[:3]
    if not version.startswith("HTTP/1.") or not status.isdigit():
        raise ValueError(f"no HTTP: {first[:60]!r}")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    if version == "HTTP/1.0":
        headers.setdefault("connection", "close")
    if headers.get("content-encoding", "identity") != "identity":
        raise ValueError(f"an answer in {headers['content-encoding']}, which was not asked for")
    return int(status), headers


def _read_body(
    buffer: bytearray, start: int, status: int, headers: dict[str, str], *, ended: bool
) -> tuple[bytes, int] | None:
    """The body and where it ends, None if it is not whole yet; ValueError if it is malformed."""
    if status in {204, 304}:
        return b"", start
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return _read_chunks(buffer, start)
    length = headers.get("content-length")
    if length is None:
        return (bytes(buffer[start:]), len(buffer)) if ended else None
    if not length.isdigit():
        raise ValueError(f"content-length {length[:20]!r}")
    end = start + int(length)
    return (bytes(buffer[start:end]), end) if len(buffer) >= end else None


def _read_chunks(buffer: bytearray, at: int) -> tuple[bytes, int] | None:
    parts: list[bytes] = []
    while (line := buffer.find(b"\r\n", at)) >= 0:
        digits = bytes(buffer[at:line]).partition(b";")[0].strip()
        if not digits.isalnum():
            raise ValueError(f"chunk size {digits[:20]!r}")
        size = int(digits, 16)
        at = line + 2
        if size == 0:
            end = at if buffer[at : at + 2] == b"\r\n" else buffer.find(b"\r\n\r\n", at)  # trailers end in a blank line
            if end < 0 or len(buffer) < end + 2:
                return None
            return b"".join(parts), end + (2 if end == at else 4)
        if len(buffer) < at + size + 2:
            return None
        parts.append(bytes(buffer[at : at + size]))
        at += size + 2
    return None
