"""No test reaches beyond this machine."""

import ipaddress
import socket

import pytest


@pytest.fixture(autouse=True)
def _only_loopback(monkeypatch):
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in {socket.AF_INET, socket.AF_INET6}:
            host = address[0]
            local = host == "localhost" or (host and ipaddress.ip_address(host).is_loopback)
            if not local:
                raise AssertionError(f"a test tried to reach {host}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
