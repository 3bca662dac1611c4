"""Kill a worker ten times and terminate it five times while it rates; the end must equal an undisturbed run.

.venv-vllm/bin/python evals/stop_vllm.py [--kills 10] [--terms 5]
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import tiny_llama

from rulesel.engines import Job, make_job, open_job
from rulesel.engines.local import rate_shards
from rulesel.engines.parts import read_part
from rulesel.raters import rater_for
from rulesel.records import Batch, Rule

WORKER = """
import sys, time
from pathlib import Path
from rulesel.engines import open_job
from rulesel.engines.local import rate_shards

def tell(shard, ratings):
    print(shard, flush=True)
    time.sleep(0.05)

if __name__ == "__main__":
    job = open_job(Path(sys.argv[1]))
    rate_shards(job, job.missing(), progress=tell)
"""


def left_of(mark: str) -> int:
    """Processes alive with that mark in their environment, after ten seconds at most."""
    alive: list[str] = []
    for _ in range(100):
        alive = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (
                    mark.encode() in (process / "environ").read_bytes()
                    and (process / "stat").read_text().split()[2] != "Z"
                ):
                    alive.append(process.name)
            except OSError:
                continue
        if not alive:
            break
        time.sleep(0.1)
    return len(alive)


def ratings(job: Job) -> np.ndarray:
    return np.concatenate([read_part(job.ratings_path(shard)).ratings.values for shard in range(job.shards)])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=10)
    options.add_argument("--terms", type=int, default=5)
    chosen = options.parse_args()
    rng = np.random.default_rng(3)
    with tempfile.TemporaryDirectory() as root:
        folder = tiny_llama.save(Path(root) / "model")
        rules = [
            Rule(name=f"r{j}", text=f"The answer is {word}.") for j, word in enumerate(["clear", "short", "right"])
        ]
        texts = list(tiny_llama.documents(480, 40, seed=2))
        batch = Batch([f"b2-{i:032x}" for i in range(480)], [None] * 480, texts)
        judge = f"vllm:{folder}"
        rater = rater_for(judge, dtype="float32", document_tokens=300, cache_gib=1 / 32)
        job = make_job(Path(root) / "stopped", judge, rater, rules, b"k" * 32, [batch], size=4)
        stops = [signal.SIGKILL] * chosen.kills + [signal.SIGTERM] * chosen.terms
        orphans = 0
        for stop in rng.permutation(stops):
            mark = uuid.uuid4().hex
            with subprocess.Popen(
                [sys.executable, "-c", WORKER, str(job.folder)],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"RULESEL_MARK": mark},
            ) as worker:
                for _ in range(rng.integers(2, 8)):
                    worker.stdout.readline()
                time.sleep(rng.uniform(0, 0.05))
                worker.send_signal(int(stop))
            orphans += left_of(mark)
            print(
                f"{signal.Signals(int(stop)).name}: {job.shards - len(job.missing())} of {job.shards} shards done",
                flush=True,
            )
        rate_shards(job, job.missing(), rater=rater)
        whole = make_job(Path(root) / "whole", judge, rater, rules, b"k" * 32, [batch], size=4)
        rate_shards(whole, whole.missing(), rater=rater)
        rater.close()
        largest = float(np.nanmax(np.abs(ratings(open_job(job.folder)) - ratings(whole))))
        same = np.array_equal(np.isnan(ratings(job)), np.isnan(ratings(whole)))
        files = len(list((job.folder / "ratings").iterdir()))
        print(
            f"{len(stops)} stops, {orphans} processes left behind, largest difference {largest:.1e}, same failures: {same}, "
            f"{files} files for {job.shards} shards"
        )


if __name__ == "__main__":
    main()
