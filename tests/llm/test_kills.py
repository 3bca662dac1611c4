"""kill -9 and Ctrl-C at any moment: the same command goes on, and only what was under way is paid twice."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

CELLS, CONCURRENCY = 600, 16
JOB = """
import json, sys
from pathlib import Path
from rulesel.llm.base import ChatRequest, Completion
from rulesel.llm.names import open_chat
from rulesel.llm.prices import Price
from rulesel.llm.sender import Limits
from rulesel.store.ledger import Ledger

name, path, cells, concurrency = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
ledger = Ledger(path, run="r")
chat = open_chat(
    name, ledger=ledger.stage("s"), limits=Limits(concurrency=concurrency), lean=True, prices={"m": Price(input=1, output=1)}
)
print("ready", flush=True)
requests = (ChatRequest((("user", f"{i} from 0 to 5"),), max_tokens=1, top_logprobs=20) for i in range(cells))
texts = []
try:
    for answer in chat.complete(requests):
        assert isinstance(answer, Completion)
        texts.append(answer.text)
except KeyboardInterrupt:
    sys.exit(130)
print(json.dumps({"texts": texts, "requests": ledger.spent.requests, "lost": ledger._one("SELECT count(*) FROM calls WHERE status = 'lost'")[0]}))
"""


def start(name: str, path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", JOB, name, str(path), str(CELLS), str(CONCURRENCY)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def finish(name: str, path: Path) -> dict[str, Any]:
    out, _ = start(name, path).communicate(timeout=60)
    return json.loads(out)


@pytest.mark.parametrize(("how", "times"), [(signal.SIGKILL, 6), (signal.SIGINT, 3)])
def test_the_same_command_goes_on_and_ends_equal(
    serve: Callable[..., Any], tmp_path: Path, how: signal.Signals, times: int
) -> None:
    server = serve(latency=0.02)
    rng = random.Random(5)
    for _ in range(times):
        process = start(server.name, tmp_path / "r.sqlite")
        time.sleep(rng.uniform(0.0, 0.15))
        process.send_signal(how)
        code = process.wait(20)
        assert process.stdout is not None
        process.stdout.close()
        assert code in ({-9, 0} if how is signal.SIGKILL else {130, 0})
    ended = finish(server.name, tmp_path / "r.sqlite")
    stats = server.stats()
    whole = finish(server.name, tmp_path / "other.sqlite")
    assert ended["texts"] == whole["texts"]
    assert len(ended["texts"]) == CELLS
    kills = times if how is signal.SIGKILL else 0
    assert stats["requests"] <= CELLS + kills * CONCURRENCY
    assert stats["requests"] <= ended["requests"], "what a kill left under way counts as spent"
    assert ended["lost"] <= kills * CONCURRENCY
