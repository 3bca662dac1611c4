"""Which way of choosing rules is best, on folders of real ratings and on planted ones.

    python -m evals.rule_choice FOLDER... [--splits 200] [--out evals/results]

Reads ratings.jsonl (id, scores, overall, truth) and, where there, rerated.jsonl and pairwise.jsonl of each folder.
Writes rule_choice.md, rule_choice.json and plots; they hold figures only, no record and no rating.
"""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the matrices are small; the splits are the parallel part

from evals.rule_choice.experiment import Tally, run_splits
from evals.rule_choice.folders import Folder, load
from evals.rule_choice.page import write
from evals.rule_choice.planted import study

SIZES = (3, 5, 10, 15)

PLANTED = (
    ("equal qualities, 1000 examples", {}),
    ("equal qualities, 300 examples", {"n": 300}),
    ("unequal qualities and rules, 1000 examples", {"equal": False}),
    ("a general factor (30 %), 1000 examples", {"general": 0.3}),
)


def part(job: tuple[Folder, list[int]]) -> Tally:
    return run_splits(*job, SIZES)


def main() -> None:
    """Run the splits in parallel, then the planted study, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--planted", type=int, default=40, help="planted sets of each kind")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=Path("evals/results"))
    options = parser.parse_args()
    began = time.perf_counter()
    folders = [load(path) for path in options.folders]
    step = 5
    jobs = [
        (folder, list(range(start, min(start + step, options.splits))))
        for folder in folders
        for start in range(0, options.splits, step)
    ]
    tally = Tally()
    with ProcessPoolExecutor(options.workers) as pool:
        for done, piece in enumerate(pool.map(part, jobs), 1):
            tally.add(piece)
            if done % 10 == 0:
                print(f"{done} of {len(jobs)} parts after {time.perf_counter() - began:.0f} s", flush=True)
    planted = {name: study(options.planted, **how) for name, how in PLANTED}
    write(options.out, folders, tally, planted, SIZES, options.splits)
    print(f"wrote {options.out}/rule_choice.md after {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
