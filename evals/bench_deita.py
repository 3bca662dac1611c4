"""Score-first similarity filter (DEITA): time beside a row-at-a-time NumPy loop.

    python evals/bench_deita.py [--sizes 20000:2000,20000:4000,20000:20000] [--threshold 0.9] [--rounds 5]

Rows are unit-norm float32, d = 384, from 200 Gaussian clusters of long-tail sizes, seed 0, with normal scores. The loop
compares one row with all that is kept by one product. Both results are compared with a float64 loop; what differs is
counted, but for cosines within 1e-6 of the threshold.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from bench_facility import workload
from bench_kcenter import spread
from numpy.typing import NDArray

from rulesel.algorithms.similarity_filter import score_first

Rows = NDArray[np.float32]
Picks = NDArray[np.int64]


def loop(X: NDArray[np.floating], score: NDArray[np.float64], k: int, threshold: float) -> Picks:
    order = np.argsort(-score, kind="stable")
    kept, picks = np.empty((k, X.shape[1]), dtype=X.dtype), []
    for row in order.tolist():
        if not picks or (kept[: len(picks)] @ X[row]).max() <= threshold:
            kept[len(picks)] = X[row]
            picks.append(row)
            if len(picks) == k:
                break
    return np.array(picks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="20000:2000,20000:4000,20000:20000", help="n:k pairs")
    parser.add_argument("--threshold", type=float, default=0.9)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for size in options.sizes.split(","):
        n, k = map(int, size.split(":"))
        X, score = workload(n), np.random.default_rng(1).standard_normal(n)
        ours: list[float] = []
        theirs: list[float] = []
        picks = np.empty(0, dtype=np.int64)
        for _ in range(options.rounds):
            start = time.perf_counter()
            picks = score_first(X, score, k, threshold=options.threshold).indices
            ours.append(time.perf_counter() - start)
            start = time.perf_counter()
            loop(X, score, k, options.threshold)
            theirs.append(time.perf_counter() - start)
        double = X.astype(np.float64)
        double /= np.linalg.norm(double, axis=1, keepdims=True)
        expected = loop(double, score, k, options.threshold)
        same = len(picks) == len(expected) and bool((picks == expected).all())
        print(f"n = {n}, k = {k}: {len(picks)} kept, {'identical picks' if same else 'PICKS DIFFER'}")
        print(f"  rulesel    {np.median(ours):8.4f} s")
        ratio = [their / our for their, our in zip(theirs, ours, strict=True)]
        print(f"  NumPy loop {np.median(theirs):8.4f} s   {spread(ratio)} x rulesel's time")


if __name__ == "__main__":
    main()
