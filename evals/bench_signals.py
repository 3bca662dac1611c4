"""The embedded rater alone: examples a second and peak memory of ten pack rules, and whether the cost is linear in rows.

    python evals/bench_signals.py [--pack general-instructions] [--rows 100000 300000 1000000]

Examples have a prompt of 60 and a response of 500 characters, made of words with the frequencies of English text, and are
made a batch at a time. Every size runs in a process of its own, so that its peak memory is its own; the time of making
the texts is left out. CPU seconds are printed beside wall seconds: on a machine that others use, they are the fair figure.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np

from rulesel.llm.base import ChatModel
from rulesel.raters import Lent
from rulesel.raters.signals import Signals
from rulesel.raters.signals.processes import end_idle
from rulesel.records import Batch, Rule
from rulesel.rules.packs import load_rules

CHARS = 500
RULES = 10


def texts(rng: np.random.Generator, words: np.ndarray, weights: np.ndarray, n: int, chars: int) -> list[str]:
    drawn = rng.choice(words, size=(n, chars // 4), p=weights)
    return [" ".join(row)[: chars - 1] + "." for row in drawn]


def batches(n: int, size: int, waits: list[float]) -> Iterator[Batch]:
    """The examples; what making them costs is added to `waits`."""
    rng = np.random.default_rng(0)
    words = np.array(["".join(rng.choice(list("etaoinshrdlucmfwyp"), rng.integers(2, 10))) for _ in range(20_000)])
    weights = 1 / np.arange(2, len(words) + 2)
    weights /= weights.sum()
    for start in range(0, n, size):
        began, cpu = time.perf_counter(), time.process_time()
        k = min(size, n - start)
        prompts: list[str | None] = [*texts(rng, words, weights, k, 60)]
        responses = [r.replace(" a", ". A").replace(" m", ", m") for r in texts(rng, words, weights, k, CHARS)]
        waits[0] += time.perf_counter() - began
        waits[1] += time.process_time() - cpu
        yield Batch([""] * k, prompts, responses)


def no_model(name: str) -> ChatModel:
    raise NotImplementedError(name)


def measure(pack: str, n: int) -> dict[str, float]:
    """Rate n examples here; CPU and memory are those of this process and of the one that computes the rules."""
    rules: list[Rule] = [rule for rule in load_rules(f"pack:{pack}").rules if rule.sql is not None][:RULES]
    rater, lent, waits, ok = Signals(), Lent(b"", no_model), [0.0, 0.0], 0
    for _ in rater.rate([Batch(["a"], ["b"], ["c"])], rules, lent):
        pass
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began, cpu = time.perf_counter(), time.process_time()
    for ratings in rater.rate(batches(n, rater.chunk, waits), rules, lent):
        ok += int(np.isfinite(ratings.values).sum())
    wall, cpu = time.perf_counter() - began - waits[0], time.process_time() - cpu - waits[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    end_idle()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu, peak = cpu + children.ru_utime + children.ru_stime, peak + children.ru_maxrss / 1024
    return {"rows": n, "rated": ok, "wall": wall, "cpu": cpu, "base": base, "peak": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pack", default="general-instructions")
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.pack, options.one)))
        return
    print(f"{RULES} rules of pack:{options.pack}, responses of {CHARS} characters")
    first = None
    for n in options.rows:
        command = [sys.executable, __file__, "--pack", options.pack, "--one", str(n)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        per_row = found["cpu"] / n * 1e6
        first = first or per_row
        print(
            f"{n:>9,} examples: {found['wall']:7.1f} s wall, {found['cpu']:7.1f} s CPU, "
            f"{n / found['wall']:8,.0f} examples/s, {per_row:6.1f} us CPU an example ({per_row / first:.2f} of the first), "
            f"peak {found['peak']:,.0f} MiB (+{found['peak'] - found['base']:,.0f}), {found['rated']:,} ratings",
            flush=True,
        )


if __name__ == "__main__":
    main()
