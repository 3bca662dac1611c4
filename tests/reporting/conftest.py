"""Figures of a small hostile rule set, and a browser driven over a pipe where there is one."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rulesel.records import Rule, RuleSet
from rulesel.rules.audit import audit_rules
from rulesel.rules.audit_cards import Known
from rulesel.rules.audit_figures import AuditFigures
from rulesel.rules.choose import choose_rules

HOSTILE = "</style></script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
RIGHT_TO_LEFT = "\u202eevil txet\u202c \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627"
LONG = "A long rule. " * 800

RULES = RuleSet(
    origin="<i>file</i>",
    domain=f"advice {HOSTILE}",
    rules=(
        Rule(name="clear & <b>plain</b>", text=HOSTILE),
        Rule(name="</style><script>alert(1)</script>", text="It is short."),
        Rule(name=RIGHT_TO_LEFT, text=RIGHT_TO_LEFT),
        Rule(name="long", text=LONG),
        Rule(name="{{ 7 * 7 }} {% raw %}", text="It does not \x07 ring; {{ config }}."),
        *(Rule(name=f"rule {at}", text=f"It has quality {at}.") for at in range(5, 14)),
    ),
)


def ratings() -> np.ndarray:
    rng = np.random.default_rng(0)
    quality = rng.normal(size=(200, 5)) + rng.normal(size=(200, 1))
    S = np.round(np.clip(5 + 2 * quality[:, np.arange(14) % 5] + rng.normal(size=(200, 14)), 0, 10))
    S[rng.random(S.shape) < 0.05] = np.nan
    return S


@pytest.fixture(scope="session")
def audit() -> AuditFigures:
    S = ratings()
    names = [rule.name for rule in RULES.rules]

    def choose(rows: np.ndarray) -> Any:
        return choose_rules(S[rows], 5, names=names, required=[0, 2])

    known = Known(
        ids=[f"id {row} {HOSTILE}" for row in range(len(S))],
        texts=lambda rows: [f"{HOSTILE} {RIGHT_TO_LEFT} row {row}" for row in rows],
        tokens=np.full(14, 50.0),
    )
    anchor = np.full(len(S), np.nan)
    anchor[:40] = np.nanmean(S[:40], axis=1)
    return audit_rules(RULES, S, choose(np.arange(len(S))), choose=choose, known=known, anchor=anchor, repeats=8)


LAUNCH = """
import fcntl, os, sys
read, write = (fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3])
os.dup2(read, 3)
os.dup2(write, 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""
"""Chromium speaks its protocol on descriptors 3 and 4."""

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)


class Browser:
    """Chromium over its debugging pipe: loads one file at a width and evaluates expressions in it."""

    def __init__(self, binary: str, folder: Path) -> None:
        to_read, self._out = os.pipe()
        self._in, to_write = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(to_read), str(to_write), binary, *FLAGS, f"--user-data-dir={folder}"],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._rest = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []
        self._session: str | None = None
        target = self._call("Target.createTarget", {"url": "about:blank"})["targetId"]
        self._session = self._call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable", {})

    def load(self, path: Path, width: int, *, dark: bool = False) -> None:
        self.events.clear()
        self._call(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
        )
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", {"features": [feature]})
        self._call("Page.navigate", {"url": path.as_uri()})
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._message())

    def evaluate(self, expression: str) -> Any:
        found = self._call("Runtime.evaluate", {"expression": expression, "returnByValue": True})
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def complaints(self) -> list[dict[str, Any]]:
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [event for event in self.events if event["method"] in kinds]

    def requests(self) -> list[str]:
        sent = [event for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._out, b'{"id":0,"method":"Browser.close"}\0')
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._out)
        os.close(self._in)

    def _call(self, method: str, params: dict[str, Any]) -> Any:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            if "method" in answer:
                self.events.append(answer)

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], 60)
            part = os.read(self._in, 1 << 16) if ready else b""
            assert part, "the browser ended or hangs"
            self._rest += part
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome")))
    binary = next(found, None)
    if binary is None:
        pytest.skip("no Chromium on this machine: the pages were not opened (apt-get install chromium)")
    opened = Browser(binary, tmp_path_factory.mktemp("chromium"))
    yield opened
    opened.close()
