"""Ratings through a server that misbehaves, in a process that is killed: what is rated, what is asked, what is paid.

    python evals/endpoint_faults.py --examples 2000 --rules 10 --kills 20 --interrupts 5

One request in ten meets a fault (429 with and without Retry-After, 500, 503, a stall, a dropped connection, half a
body, nothing, null, HTML, prose, a refusal, a number out of range, white space, another model's answer). The same
command is started until it ends; kill -9 and Ctrl-C strike at random moments. Printed: cells by status, whether a
failure carries a number, requests against their bound, the server's bill against the ledger's, and whether the result
equals that of an undisturbed run against a server without faults, wherever both have a rating.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path

import numpy as np

SERVER = Path(__file__).parent.parent / "tests" / "llm" / "server.py"
TRANSPORT = [
    "429",
    "429_after",
    "500",
    "503",
    "stall",
    "drop",
    "half",
    "empty_body",
    "null_body",
    "html",
    "wrong_model",
]
CONTENT = ["empty", "null", "prose", "refusal", "range", "whitespace"]
PRICE = {"input": 1.0, "output": 4.0}


def work(name: str, folder: str, examples: int, rules: int, concurrency: int) -> None:
    """One attempt at the job, in a process of its own."""
    from rulesel.llm.names import open_chat
    from rulesel.llm.prices import Price
    from rulesel.llm.sender import Limits
    from rulesel.raters import Lent, rater_for
    from rulesel.records import Batch, Rule
    from rulesel.store.ledger import Ledger

    ledger = Ledger(Path(folder) / "replies.sqlite", run="eval", max_cost=1e6)
    limits = Limits(concurrency=concurrency, seconds=2.0, backoff=0.05)
    chat = open_chat(name, ledger=ledger.stage("corpus"), limits=limits, lean=True, prices={"m": Price(**PRICE)})
    asked = [Rule(name=f"r{j}", text=f"The text has property {j}.") for j in range(rules)]
    rows = range(examples)
    batches = (
        Batch([f"hash-{i}" for i in part], [None] * len(part), [f"Text {i} planted=0.{i % 10}" for i in part])
        for part in (rows[at : at + 256] for at in range(0, examples, 256))
    )
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    try:
        parts = list(rater_for(name).rate(batches, asked, Lent(b"secret", lambda _: chat)))
    except KeyboardInterrupt:
        chat.close()
        sys.exit(130)
    np.savez(
        Path(folder) / "ratings.npz",
        values=np.concatenate([p.values for p in parts]),
        status=np.concatenate([p.status for p in parts]),
        bill=[ledger.spent.requests, ledger.spent.cost],
    )
    chat.close()
    ledger.close()


class Server:
    """One server process."""

    def __init__(self, options: dict[str, object]) -> None:
        command = [sys.executable, str(SERVER), "--options", json.dumps(options)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = self.process.stdout.readline().strip()

    def stats(self) -> dict[str, object]:
        """What it was asked."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/_stats", timeout=30) as answer:
            return json.loads(answer.read())

    def stop(self) -> None:
        """End it."""
        self.process.stdin.close()
        self.process.wait()


def start(server: Server, folder: str, given: argparse.Namespace) -> subprocess.Popen:
    name = f"http://127.0.0.1:{server.port}/v1#m"
    command = [
        sys.executable,
        __file__,
        "--work",
        name,
        folder,
        *map(str, (given.examples, given.rules, given.concurrency)),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    return process


def run(server: Server, given: argparse.Namespace, blows: list[signal.Signals]) -> tuple[np.lib.npyio.NpzFile, Counter]:
    """Start the job until it ends; blows that come too late count for nothing."""
    rng = random.Random(given.seed)
    codes: Counter = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for blow in blows:
            process = start(server, folder, given)
            time.sleep(rng.uniform(0.2, given.longest))
            process.send_signal(blow)
            codes[process.wait()] += 1
        process = start(server, folder, given)
        codes[process.wait()] += 1
        return dict(np.load(Path(folder) / "ratings.npz")), codes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--rules", type=int, default=10)
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--interrupts", type=int, default=5)
    parser.add_argument("--longest", type=float, default=2.5, help="seconds an attempt lives at most before a blow")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rate = 0.1 / len(TRANSPORT + CONTENT)
    faulty = Server({"latency": 0.005, "faults": dict.fromkeys(TRANSPORT + CONTENT, rate), "seed": given.seed})
    clean = Server({"latency": 0.005})
    blows = [signal.SIGKILL] * given.kills + [signal.SIGINT] * given.interrupts
    random.Random(given.seed).shuffle(blows)
    began = time.perf_counter()
    found, codes = run(faulty, given, blows)
    seconds = time.perf_counter() - began
    whole, _ = run(clean, given, [])
    stats = faulty.stats()
    faulty.stop()
    clean.stop()

    cells = given.examples * given.rules
    ok = found["status"] == 0
    retried = sum(stats["faults"].get(kind, 0) for kind in TRANSPORT)
    billed = (stats["prompt_tokens"] * PRICE["input"] + stats["completion_tokens"] * PRICE["output"]) / 1e6
    report = {
        "cells": cells,
        "by status": {int(s): int((found["status"] == s).sum()) for s in np.unique(found["status"])},
        "failures with a number": int((~np.isnan(found["values"][~ok])).sum()),
        "equal to the undisturbed run": bool(np.allclose(found["values"][ok], whole["values"][ok], atol=1e-6)),
        "requests": stats["requests"],
        "bound: cells + retries + kills x concurrency": cells + retried + codes[-signal.SIGKILL] * given.concurrency,
        "completions paid twice": stats["repeated"],
        "the server's bill": round(billed, 6),
        "the ledger's": round(float(found["bill"][1]), 6),
        "requests by the ledger": int(found["bill"][0]),
        "exit codes": dict(codes),
        "seconds": round(seconds, 1),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], sys.argv[3], *map(int, sys.argv[4:7]))
    else:
        main()
