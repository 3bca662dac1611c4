"""No test reaches beyond this machine, and every one repeats; with --most-cpu what is not marked slow is quick."""

import importlib
import ipaddress
import os
import socket

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


def pytest_addoption(parser):
    parser.addoption(
        "--most-cpu", type=float, metavar="S", help="a test not marked slow fails where it takes more seconds of CPU"
    )


def pytest_sessionstart(session):
    if session.config.getoption("--most-cpu") is not None:  # not to be held against the test that comes first
        for slow_to_import in ("openai.resources.chat", "duckdb", "pyarrow.parquet", "scipy.stats", "numba", "dppy"):
            importlib.import_module(slow_to_import)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Seconds of CPU, of ended children too, so that a busy machine changes little; Numba's compiling is taken off."""
    most = item.config.getoption("--most-cpu")
    if most is None or item.get_closest_marker("slow"):
        return (yield)
    from numba.core.event import install_timer

    compiling = []
    began = sum(os.times()[:4])
    with install_timer("numba:compile", compiling.append):
        result = yield
    spent = sum(os.times()[:4]) - began - sum(compiling)
    if spent > most:
        pytest.fail(f"{spent:.1f} s of CPU without the marker slow: mark it, or make it quicker", pytrace=False)
    return result


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
