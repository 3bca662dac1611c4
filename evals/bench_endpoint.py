"""Requests a second of the rater's client against a bare AsyncOpenAI loop, on loopback.

    python evals/bench_endpoint.py --requests 4000 --rounds 3

Both ask a server of ours in another process, which waits 20 ms and answers one digit with log-probabilities, for the
same prompts of 3.5 kB. The rater's client keeps its ledger in a file, reserves and settles every request at a price
under a budget, paces by requests and tokens a minute, and finds every reply again in a second pass. The bare loop keeps
nothing. Rounds alternate, so that the load of the machine meets both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai

from rulesel.llm.base import ChatRequest, Completion
from rulesel.llm.names import open_chat
from rulesel.llm.prices import Price
from rulesel.llm.sender import Limits
from rulesel.store.ledger import Ledger

SERVER = Path(__file__).parent.parent / "tests" / "llm" / "server.py"
FILLER = "The quick brown fox jumps over the lazy dog while the band plays on. " * 50


@contextmanager
def server(latency: float) -> Iterator[str]:
    options = json.dumps({"canned": True, "latency": latency})
    command = [sys.executable, str(SERVER), "--options", options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
        process.stdin.close()


def prompts(n: int, tag: str) -> list[ChatRequest]:
    return [
        ChatRequest((("system", "Rate."), ("user", f"{tag} {i} {FILLER}\nRate it.")), max_tokens=1, top_logprobs=20)
        for i in range(n)
    ]


def bare(base: str, requests: list[ChatRequest], concurrency: int) -> float:
    async def run() -> float:
        client = openai.AsyncOpenAI(base_url=base, api_key="none", max_retries=0)
        places = asyncio.Semaphore(concurrency)

        async def one(request: ChatRequest) -> None:
            async with places:
                await client.chat.completions.create(
                    model="m",
                    messages=[{"role": role, "content": content} for role, content in request.messages],
                    max_tokens=1,
                    temperature=0.0,
                    logprobs=True,
                    top_logprobs=20,
                )

        began = time.perf_counter()
        await asyncio.gather(*map(one, requests))
        seconds = time.perf_counter() - began
        await client.close()
        return len(requests) / seconds

    return asyncio.run(run())


def ours(base: str, requests: list[ChatRequest], concurrency: int, *, lean: bool) -> tuple[float, float]:
    """Requests a second, fresh and from the kept replies."""
    limits = Limits(concurrency=concurrency, requests_per_minute=1e7, tokens_per_minute=1e10)
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "replies.sqlite", max_cost=1e6, max_requests=10**9)
        chat = open_chat(
            f"{base}#m",
            ledger=ledger.stage("bench"),
            prices={"m": Price(input=0.1, output=0.4)},
            limits=limits,
            lean=lean,
        )
        rates = []
        for _ in range(2):
            began = time.perf_counter()
            answers = list(chat.complete(iter(requests)))
            rates.append(len(requests) / (time.perf_counter() - began))
            assert len(answers) == len(requests)
            assert all(isinstance(answer, Completion) for answer in answers)
        assert ledger.spent.requests == len(requests)
        chat.close()
        ledger.close()
    return rates[0], rates[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency", type=float, default=0.02)
    given = parser.parse_args()
    rows = []
    with server(given.latency) as base:
        bare(base, prompts(64, "warm"), 64)
        for concurrency in (64, 256):
            found: dict[str, list[float]] = {"bare": [], "lean": [], "kept": [], "sdk": []}
            for turn in range(given.rounds):
                requests = prompts(given.requests, f"{concurrency}-{turn}")
                found["bare"].append(bare(base, requests[: given.requests // 4], concurrency))
                fresh, kept = ours(base, requests, concurrency, lean=True)
                found["lean"].append(fresh)
                found["kept"].append(kept)
                found["sdk"].append(ours(base, requests[: given.requests // 4], concurrency, lean=False)[0])
            medians = {name: round(statistics.median(rates)) for name, rates in found.items()}
            ratios = sorted(round(a / b, 2) for a, b in zip(found["lean"], found["bare"], strict=True))
            rows.append({"concurrency": concurrency, **medians, "lean/bare": ratios})
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
