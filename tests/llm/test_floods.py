"""Servers that never end an answer, send too much of it, or send a request elsewhere: every request is bounded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from rulesel.errors import BudgetReached
from rulesel.llm import client as clients
from rulesel.llm import sdk
from rulesel.llm.base import ChatRequest, Completion
from rulesel.llm.client import Client
from rulesel.llm.fake import Fake
from rulesel.llm.faults import Retryable
from rulesel.llm.http import Http, Incoming, Reply
from rulesel.llm.names import open_chat
from rulesel.llm.prices import Price
from rulesel.llm.sdk import Sdk
from rulesel.llm.sender import Limits
from rulesel.store.ledger import Ledger

MOST = 1 << 18
PAYLOAD = {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
FLOODS = {
    "one-byte chunks": (CHUNKED, b"1\r\nx\r\n" * 5000),
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"x-a: b\r\n" * 1000),
    "one header": (b"HTTP/1.1 200 OK\r\nx-a: ", b"x" * 10_000),
    "a body without a length": (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 100_000),
    "a body of a terabyte": (b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n", b"x"),
    "a chunk of a terabyte": (CHUNKED + b"e8d4a51000\r\n", b"x"),
    "a chunk extension": (CHUNKED + b"1;", b"x" * 10_000),
    "trailers": (CHUNKED + b"0\r\n", b"x-a: b\r\n" * 1000),
    "the body of an error": (b"HTTP/1.1 500 No\r\n\r\n", b"x" * 100_000),
}


async def at(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    ask: Callable[[str], Awaitable[Reply]],
) -> Reply | str:
    """What a request comes to at a server that answers so."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        return await ask(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    except Retryable as fault:
        return f"{fault.failure.kind}: {fault.failure.reason}"
    finally:
        server.close()


async def asked(transport: Http | Sdk, most: int = MOST) -> Reply:
    try:
        return await transport.chat(PAYLOAD, most)
    finally:
        await transport.close()


@pytest.mark.parametrize("way", [Http, pytest.param(Sdk, marks=pytest.mark.slow)])
@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_ends_the_request(flood: str, way: type[Http | Sdk], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdk, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(sdk, "MOST_BODY", MOST)
    begin, more = FLOODS[flood]
    seconds = 60.0 if way is Http else 0.5

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(begin)
        while True:
            writer.write(more)
            await writer.drain()
            await asyncio.sleep(0)

    found = asyncio.run(at(answer, lambda base: asked(way(base, "key-123456", seconds))))
    assert isinstance(found, str)
    ends = "http: connection broke" if way is Http else ("http: connection broke", "timeout: no answer in 0.5 s")
    assert found.startswith(ends), "the size is bounded, not the time alone"


@pytest.mark.parametrize("way", [Http, Sdk])
@pytest.mark.parametrize(
    "begin", [b"", b"HTTP/1.1 200 OK\r\nx: ", CHUNKED, b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n"]
)
def test_a_drip_ends_with_the_time_of_the_request(
    begin: bytes, way: type[Http | Sdk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sdk, "CONNECT_SECONDS", 0.0)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(begin)
        while begin:
            writer.write(b"1\r\nx\r\n" if begin is CHUNKED else b"x")
            await writer.drain()
            await asyncio.sleep(0.02)
        await reader.read()

    found = asyncio.run(asyncio.wait_for(at(answer, lambda base: asked(way(base, None, 0.2))), 20))
    assert found == "timeout: no answer in 0.2 s"


@pytest.mark.parametrize("way", [Http, Sdk])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(way: type[Http | Sdk], status: int) -> None:
    other: list[bytes] = []

    async def run() -> Reply | str:
        async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            other.append(await reader.readuntil(b"\r\n\r\n"))
            writer.close()

        second = await asyncio.start_server(elsewhere, "127.0.0.1", 0)
        target = f"http://127.0.0.1:{second.sockets[0].getsockname()[1]}/v1/chat/completions"

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 {status} Moved\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n".encode())
            await writer.drain()
            await reader.read()

        try:
            return await at(answer, lambda base: asked(way(base, "key-123456", 5.0)))
        finally:
            second.close()

    found = asyncio.run(run())
    assert isinstance(found, Reply)
    assert found.status == status
    assert other == []


def test_every_byte_is_looked_at_once_whatever_the_pieces() -> None:
    answer = CHUNKED + b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n"
    incoming = Incoming(len(answer) * 4)
    reply = None
    for i in range(0, len(answer), 64):
        reply = incoming.feed(answer[i : i + 64])
    assert reply is not None
    assert reply.body == b"x" * 20_000


def test_a_short_answer_in_many_interim_ones_and_chunks_is_an_answer() -> None:
    answer = (
        b"HTTP/1.1 100 Continue\r\n\r\n" * 5 + CHUNKED + b"".join(b"1\r\n%c\r\n" % c for c in b"hello") + b"0\r\n\r\n"
    )
    reply = Incoming(MOST).feed(answer)
    assert reply is not None
    assert reply.body == b"hello"


class Endless(Fake):
    """Answers the first request at once and no other."""

    def __init__(self) -> None:
        super().__init__(lambda _: Completion("4", prompt_tokens=1, completion_tokens=1))
        self.waiting = threading.Event()

    async def send(self, request: ChatRequest) -> Completion:
        if self.asked:
            self.waiting.set()
            await asyncio.sleep(3600)
        return await super().send(request)


def test_leaving_early_waits_for_no_answer_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "GRACE", 0.05)
    backend, ledger, price = Endless(), Ledger(None), Price(input=0, output=1e6)
    client = Client("m", lambda: backend, ledger=ledger.stage("s"), price=price, limits=Limits(concurrency=4))
    answers = client.complete(ChatRequest((("user", str(i)),), max_tokens=1) for i in range(50))
    next(answers)
    assert backend.waiting.wait(10)
    answers.close()  # type: ignore[attr-defined]
    client.close()
    spent = ledger.spent
    assert spent.requests == spent.outcomes["ok"] + spent.outcomes["http"] <= 5
    assert spent.reserved == 0.0
    assert spent.cost == spent.requests, "what may have been billed counts as spent"


@pytest.mark.parametrize("lean", [True, False])
@pytest.mark.parametrize(
    "suffix", ["/v1", "/v1/", "/v1/chat/completions", "/v1/chat/completions/", "/v1/models", "", "/"]
)
def test_an_address_is_taken_as_servers_document_it(serve: Callable[..., Any], suffix: str, lean: bool) -> None:
    server = serve()
    base = server.base.removesuffix("/v1")
    chat = open_chat(f"{base}{suffix}#m", limits=Limits(backoff=0.01), lean=lean)
    results = list(chat.complete([ChatRequest((("user", f"{i} from 0 to 5"),), max_tokens=1) for i in range(3)]))
    chat.close()
    assert [type(r) for r in results] == [Completion] * 3


def test_what_a_kill_left_under_way_counts_against_the_budget(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    ledger = Ledger(path, run="r", max_cost=3.0)
    stage = ledger.stage("s")
    for i in range(2):
        stage.reserve(f"k{i}", "m", 1.0)
    stage.commit()
    del stage, ledger  # as a kill leaves it: nothing is settled
    again = Ledger(path, run="r", max_cost=3.0)
    assert again.spent.cost == 2.0
    backend = Fake(lambda _: Completion("4", prompt_tokens=1, completion_tokens=1))
    client = Client(
        "m", lambda: backend, ledger=again.stage("s"), price=Price(input=0, output=1e6), limits=Limits(concurrency=8)
    )
    with pytest.raises(BudgetReached, match="--max-cost 3"):
        list(client.complete(ChatRequest((("user", str(i)),), max_tokens=1) for i in range(5)))
    client.close()
    assert backend.asked == 1
    again.close()
