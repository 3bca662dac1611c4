"""A local server in a process of its own, with what it was asked."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SERVER = Path(__file__).with_name("server.py")


class Served:
    """One running server."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.base = f"http://127.0.0.1:{self.port}/v1"
        self.name = f"{self.base}#m"

    def begin(self, options: dict[str, Any]) -> Served:
        self._ask("/_start", json.dumps(options).encode())
        self.name = f"{self.base}#{options.get('model', 'm')}"
        return self

    def _ask(self, path: str, body: bytes | None = None) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", body, timeout=10) as answer:
            return json.loads(answer.read())

    def stats(self) -> dict[str, Any]:
        return self._ask("/_stats")

    def set(self, **options: Any) -> None:
        self._ask("/_set", json.dumps(options).encode())

    def stop(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


@pytest.fixture(scope="session")
def servers() -> Iterator[list[Served]]:
    """Servers that wait for a test."""
    idle: list[Served] = []
    yield idle
    for server in idle:
        server.stop()


@pytest.fixture
def serve(servers: list[Served]) -> Iterator[Callable[..., Served]]:
    """Lends servers for one test; `serve(latency=.01, faults={"500": .1})` takes the options of server.py."""
    lent: list[Served] = []

    def start(**options: Any) -> Served:
        lent.append(servers.pop() if servers else Served())
        return lent[-1].begin(options)

    yield start
    servers += lent


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in the developer's environment goes nowhere."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "RULESEL_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def raw_server() -> Iterator[Callable[[bytes], str]]:
    """`raw_server(bytes)` answers every connection with these bytes and closes it; returns "http://host:port"."""
    sockets: list[socket.socket] = []

    def start(answer: bytes) -> str:
        listening = socket.create_server(("127.0.0.1", 0))
        sockets.append(listening)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1 << 16)
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield start
    for listening in sockets:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
