"""The whole chain by `signals` on synthetic corpora: examples a second, peak memory, and whether cost is linear in rows.

    python evals/bench_run.py [ROWS ...]        default: 100000 300000 1000000

Each size runs in a process of its own: read, rate a sample of 1000 on all rules of the pack, choose 10, rate everything,
score, select 1 %, write records, scores, reasons and receipt.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rulesel.config import RunConfig, check
from rulesel.pipeline import Progress, Watcher, run
from rulesel.raters.signals.processes import end_idle

WORDS = [
    "the",
    "a",
    "model",
    "data",
    "answer",
    "question",
    "number",
    "list",
    "step",
    "value",
    "time",
    "people",
    "water",
    "city",
    "because",
    "however",
    "first",
    "then",
    "12",
    "3.5",
]


def write_corpus(path: Path, n: int) -> None:
    rng = random.Random(0)
    with path.open("w") as file:
        for i in range(n):
            text = " ".join(rng.choices(WORDS, k=84)).capitalize() + rng.choice([".", ".", "!", ""])
            record = {"instruction": f"Explain item {i} in a few sentences.", "input": "", "output": text[:460]}
            file.write(json.dumps(record) + "\n")


class Clock(Watcher):
    def __init__(self) -> None:
        self.stages: dict[str, float] = {}
        self._stage, self._since = "read", time.perf_counter()

    def progress(self, progress: Progress) -> None:
        now = time.perf_counter()
        if progress.stage != self._stage:
            self.stages[self._stage] = now - self._since
            self._stage, self._since = progress.stage, now

    def end(self) -> None:
        self.stages[self._stage] = time.perf_counter() - self._since


def cpu_seconds() -> float:
    """Of this process and of those that it has started and that have ended."""
    kinds = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, kinds))


def one(n: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_corpus(root / "corpus.jsonl", n)
        values = {
            "corpus": {"path": str(root / "corpus.jsonl")},
            "rules": {"source": "pack:general-instructions", "keep": 10},
            "select": {"k": n // 100},
            "out": str(root / "out.jsonl"),
        }
        clock = Clock()
        before = cpu_seconds()
        began = time.perf_counter()
        run(check(RunConfig, values), clock)
        seconds = time.perf_counter() - began
        clock.end()
        end_idle()  # what the rules' own process used counts too, once it has ended
        cpu = cpu_seconds() - before
        kinds = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
        peak = sum(resource.getrusage(kind).ru_maxrss for kind in kinds) / 2**20
        store = (root / "corpus.jsonl.duckdb").stat().st_size / 1e6
        corpus = (root / "corpus.jsonl").stat().st_size / 1e6
        stages = ", ".join(f"{stage} {spent:.1f}" for stage, spent in clock.stages.items())
        print(
            f"{n:>9,} examples  {seconds:7.1f} s  {n / seconds:8,.0f} examples/s  {cpu:6.1f} CPU s, {1e6 * cpu / n:.0f} us/example  "
            f"peak {peak:.2f} GiB  corpus {corpus:.0f} MB  store {store:.0f} MB  ({stages})",
            flush=True,
        )


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        one(int(sys.argv[2]))
        return
    for n in [int(word) for word in sys.argv[1:]] or [100_000, 300_000, 1_000_000]:
        subprocess.run([sys.executable, __file__, "--one", str(n)], check=True)


if __name__ == "__main__":
    main()
