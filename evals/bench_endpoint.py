"""Requests a second of the rater's client against a bare AsyncOpenAI loop, on loopback.

    python evals/bench_endpoint.py --requests 4000 --rounds 3 [--rival /another/venv/bin/python]

Both ask a server of ours in another process, which waits 20 ms and answers one digit with log-probabilities, for the
same prompts of 3.5 kB. The rater's client keeps its ledger in a file, reserves and settles every request at a price
under a budget, paces by requests and tokens a minute, and finds every reply again in a second pass. The bare loop is
one AsyncOpenAI as it comes, a semaphore and a gather, in a process of its own; it keeps nothing. `--rival` names an
interpreter with another release of openai. Rounds alternate, so that the load of the machine meets both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

SERVER = Path(__file__).parent.parent / "tests" / "llm" / "server.py"
FILLER = "The quick brown fox jumps over the lazy dog while the band plays on. " * 50


@contextmanager
def server(latency: float) -> Iterator[str]:
    options = json.dumps({"canned": True, "latency": latency})
    command = [sys.executable, str(SERVER), "--options", options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
        process.stdin.close()


def prompt(i: int, tag: str) -> tuple[tuple[str, str], ...]:
    return ("system", "Rate."), ("user", f"{tag} {i} {FILLER}\nRate it.")


async def bare(base: str, n: int, concurrency: int, tag: str) -> dict[str, float]:
    """A script of twenty lines that somebody would write."""
    import openai

    client = openai.AsyncOpenAI(base_url=base, api_key="none", max_retries=0)
    places = asyncio.Semaphore(concurrency)

    async def one(i: int) -> None:
        async with places:
            await client.chat.completions.create(
                model="m",
                messages=[{"role": role, "content": content} for role, content in prompt(i, tag)],
                max_tokens=1,
                temperature=0.0,
                logprobs=True,
                top_logprobs=20,
            )

    await one(-1)  # imports and the first connection are not counted
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*map(one, range(n)))
    return {"rate": n / (time.perf_counter() - began), "cpu": (time.process_time() - cpu) / n}


def rival(python: str, *words: object) -> dict[str, float]:
    done = subprocess.run([python, __file__, "--bare", *map(str, words)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def ours(base: str, n: int, concurrency: int, tag: str, *, lean: bool) -> dict[str, float]:
    """Requests a second, fresh and from the kept replies; CPU seconds a fresh request."""
    from rulesel.llm.base import ChatRequest, Completion
    from rulesel.llm.names import open_chat
    from rulesel.llm.prices import Price
    from rulesel.llm.sender import Limits
    from rulesel.store.ledger import Ledger

    requests = [ChatRequest(prompt(i, tag), max_tokens=1, top_logprobs=20) for i in range(n)]
    limits = Limits(concurrency=concurrency, requests_per_minute=1e7, tokens_per_minute=1e10)
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "replies.sqlite", max_cost=1e6, max_requests=10**9)
        chat = open_chat(
            f"{base}#m",
            ledger=ledger.stage("bench"),
            prices={"m": Price(input=0.1, output=0.4)},
            limits=limits,
            lean=lean,
        )
        for turn in ("rate", "kept"):
            began, cpu = time.perf_counter(), time.process_time()
            answers = list(chat.complete(iter(requests)))
            found[turn] = n / (time.perf_counter() - began)
            found.setdefault("cpu", (time.process_time() - cpu) / n)
            assert len(answers) == n
            assert all(isinstance(answer, Completion) for answer in answers)
        assert ledger.spent.requests == n
        chat.close()
        ledger.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency", type=float, default=0.02)
    parser.add_argument("--rival", default=sys.executable, help="interpreter of the bare loop")
    given = parser.parse_args()
    rows = []
    with server(given.latency) as base:
        for concurrency in (64, 256):
            found: dict[str, list[dict[str, float]]] = {"bare": [], "lean": [], "sdk": []}
            for turn in range(given.rounds):
                asked = base, given.requests, concurrency
                fewer = base, given.requests // 4, concurrency
                found["bare"].append(rival(given.rival, *fewer, f"bare {concurrency} {turn}"))
                found["lean"].append(ours(*asked, f"{concurrency} {turn}", lean=True))
                found["sdk"].append(ours(*fewer, f"sdk {concurrency} {turn}", lean=False))
            row: dict[str, object] = {"concurrency": concurrency, "load": round(os.getloadavg()[0], 1)}
            for name, runs in found.items():
                row[name] = round(statistics.median(run["rate"] for run in runs))
                row[f"{name} ms CPU"] = round(1000 * statistics.median(run["cpu"] for run in runs), 2)
            row["kept"] = round(statistics.median(run["kept"] for run in found["lean"]))
            ratios = [a["rate"] / b["rate"] for a, b in zip(found["lean"], found["bare"], strict=True)]
            row["lean/bare"] = sorted(round(ratio, 1) for ratio in ratios)
            rows.append(row)
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--bare"]:
        measured = asyncio.run(bare(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]))
        print(json.dumps({**measured, "openai": version("openai")}))
    else:
        main()
