"""The small HTTP client against servers that speak HTTP in all its ways, and ways that are none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from rulesel.llm.faults import Retryable
from rulesel.llm.http import Http, Reply

BODY = b'{"choices": []}'


def exchange(*answers: bytes, close: bool = False, pieces: int = 0, times: int = 1) -> tuple[list[Reply | str], int]:
    """Ask a server that sends the given bytes, one answer a request; returns the replies and connections made."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length")
                )
                await reader.readexactly(length)
                answer = answers[min(asked, len(answers)) - 1]
                step = pieces or len(answer) or 1
                for i in range(0, len(answer), step):
                    writer.write(answer[i : i + step])
                    await writer.drain()
                    if pieces:
                        await asyncio.sleep(0)
                if close:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    asked = 0

    async def run() -> list[Reply | str]:
        nonlocal asked
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        http = Http(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", "key", 0.5)
        replies: list[Reply | str] = []
        for _ in range(times):
            asked += 1
            try:
                replies.append(await http.chat({"model": "m"}))
            except Retryable as fault:
                replies.append(f"{fault.failure.kind}: {fault.failure.reason}")
        await http.close()
        server.close()
        return replies

    return asyncio.run(run()), connections


PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\nX-A:  b \r\n\r\n" + BODY
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"
    + BODY[:5]
    + b"\r\nA;x=y\r\n"
    + BODY[5:]
    + b"\r\n0\r\n\r\n"
)
TRAILERS = CHUNKED[:-2] + b"X-Sum: 1\r\n\r\n"


@pytest.mark.parametrize("pieces", [0, 1, 7])
@pytest.mark.parametrize("answer", [PLAIN, CHUNKED, TRAILERS, b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN])
def test_an_answer_is_read_in_whatever_pieces_it_comes(answer: bytes, pieces: int) -> None:
    replies, connections = exchange(answer, pieces=pieces, times=3)
    assert [r.body for r in replies if isinstance(r, Reply)] == [BODY] * 3
    assert connections == 1, "a connection is kept"


def test_headers_are_read_in_lower_case() -> None:
    (reply,), _ = exchange(PLAIN)
    assert isinstance(reply, Reply)
    assert reply.headers["x-a"] == "b"


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n"])
def test_an_answer_without_a_length_ends_with_its_connection(head: bytes) -> None:
    replies, connections = exchange(head + BODY, close=True, times=2)
    assert [r.body for r in replies if isinstance(r, Reply)] == [BODY] * 2
    assert connections == 2


@pytest.mark.parametrize("field", [b"Connection: close\r\n", b"connection: Close\r\n"])
def test_a_connection_that_will_close_is_not_used_again(field: bytes) -> None:
    answer = PLAIN.replace(b"X-A", field + b"X-A")
    assert exchange(answer, times=3)[1] == 3


def test_a_status_of_any_kind_is_an_answer() -> None:
    (reply,), _ = exchange(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: 2\r\n\r\n")
    assert isinstance(reply, Reply)
    assert (reply.status, reply.headers["retry-after"], reply.body) == (503, "2", b"")
    (none,), _ = exchange(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert isinstance(none, Reply)
    assert none.body == b""


@pytest.mark.parametrize(
    ("answer", "close", "kind"),
    [
        (b"", True, "http: connection broke: closed before any answer"),
        (PLAIN[:-4], True, "http: connection broke: closed in the middle of the answer"),
        (CHUNKED[:-7], True, "http: connection broke: closed in the middle of the answer"),
        (PLAIN[:-4], False, "timeout: no answer in 0.5 s"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", False, "http: connection broke: no HTTP"),
        (b"HTTP/1.1 abc\r\n\r\n", False, "http: connection broke: no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", False, "http: connection broke: content-length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nxx", False, "http: connection broke: chunk size"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nxx",
            False,
            "http: connection broke: invalid literal",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
            False,
            "http: connection broke: an answer in gzip",
        ),
        (b"x" * 70_000, False, "http: connection broke: no end of the headers"),
    ],
)
def test_what_is_no_whole_answer_is_a_fault_that_may_pass(answer: bytes, close: bool, kind: str) -> None:
    (reply,), _ = exchange(answer, close=close)
    assert isinstance(reply, str)
    assert reply.startswith(kind)


def test_bytes_nobody_asked_for_end_a_connection() -> None:
    replies, connections = exchange(PLAIN + b"HTTP/1.1 200 OK\r\n", PLAIN, times=2)
    assert [r.body for r in replies if isinstance(r, Reply)] == [BODY] * 2
    assert connections == 2


def test_nobody_at_the_address_is_said() -> None:
    async def run() -> Retryable:
        with pytest.raises(Retryable) as caught:
            await Http("http://127.0.0.1:9/v1", None, 1.0).chat({})
        return caught.value

    fault = asyncio.run(run())
    assert fault.unreachable
    assert not fault.failure.maybe_paid


def test_the_key_goes_into_one_header(serve: Callable[..., object]) -> None:
    server = serve(key="k-123456")
    http = Http(server.base, "k-123456", 5.0)  # type: ignore[attr-defined]
    reply = asyncio.run(_once(http))
    assert reply.status == 200
    assert server.stats()["authorizations"] == ["Bearer k-123456"]  # type: ignore[attr-defined]


async def _once(http: Http) -> Reply:
    try:
        return await http.chat({"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 1})
    finally:
        await http.close()
