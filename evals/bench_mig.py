"""MIG: time beside a dense NumPy run of the definition, and whether the picks are the same.

    python evals/bench_mig.py [--rows 20000] [--labels 1000] [-k 1000] [--rounds 5]

Labels: unit-norm float32, d = 384, three or four that mean nearly the same around each of 300 directions. Rows: 4.4
labels each, drawn by a long-tail law, and a quality. Our time includes everything from lists of labels to picks: the
graph of labels, the matrix, propagation. The definition starts from the propagated dense matrix and evaluates all rows
at every step; 100 of its steps are timed and scaled to k, and every pick of ours is checked against it.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
from numpy.typing import NDArray

from rulesel.algorithms.greedy import Picks
from rulesel.algorithms.label_graph import label_graph, label_rows, propagation
from rulesel.algorithms.mig import PUBLISHED, Gain, Phi, mig

STEPS = 100
Floats = NDArray[np.float64] | NDArray[np.float32]


def workload(n: int, count: int, seed: int = 0) -> tuple[list[list[int]], NDArray[np.float64], NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    meanings = rng.standard_normal((max(1, 3 * count // 10), 384))
    meanings /= np.linalg.norm(meanings, axis=1, keepdims=True)
    vectors = meanings[rng.integers(0, len(meanings), count)] + 0.25 * rng.standard_normal((count, 384)) / np.sqrt(384)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    share = 1 / np.arange(1, count + 1) ** 0.8
    bounds = np.cumsum(1 + rng.poisson(3.4, n))
    drawn = rng.choice(count, size=bounds[-1], p=share / share.sum())
    tags = [sorted(set(part.tolist())) for part in np.split(drawn, bounds[:-1])]
    return tags, rng.gamma(4, 3, n), vectors.astype(np.float32)


def chosen(
    tags: list[list[int]], quality: NDArray[np.float64], vectors: NDArray[np.float32], k: int, gain: Gain
) -> Picks:
    flow = propagation(label_graph(vectors, threshold=0.9))
    rows = label_rows(tags, quality, len(vectors))
    return mig(rows.amounts, k, flow=flow, gain=gain, phi=PUBLISHED if gain == "linear" else Phi())


def scores(spread: Floats, arrived: Floats, gain: Gain) -> Floats:
    if gain == "linear":
        return spread @ (0.8 * (arrived + spread.dtype.type(1e-6)) ** spread.dtype.type(-0.2))
    return ((arrived + spread) ** 0.8 - arrived**0.8).sum(axis=1)


def definition(spread: Floats, steps: int, gain: Gain) -> float:
    """Seconds a step."""
    arrived, gone = np.zeros(spread.shape[1], spread.dtype), np.zeros(len(spread), dtype=bool)
    start = time.perf_counter()
    for _ in range(steps):
        found = scores(spread, arrived, gain)
        found[gone] = -np.inf
        best = int(found.argmax())
        gone[best] = True
        arrived += spread[best]
    return (time.perf_counter() - start) / steps


def wrong_picks(spread: NDArray[np.float64], picks: NDArray[np.int64], gain: Gain) -> int:
    """Steps at which the definition finds a row better by more than 1e-6 of its gain."""
    arrived, gone, wrong = np.zeros(spread.shape[1]), np.zeros(len(spread), dtype=bool), 0
    for row in picks.tolist():
        found = scores(spread, arrived, gain)
        found[gone] = -np.inf
        wrong += bool(found[row] < found.max() * (1 - 1e-6))
        gone[row] = True
        arrived += spread[row]
    return wrong


def compare(n: int, count: int, k: int, rounds: int) -> None:
    tags, quality, vectors = workload(n, count)
    amounts = label_rows(tags, quality, count).amounts
    spread = (amounts @ propagation(label_graph(vectors, threshold=0.9))).toarray()
    single = spread.astype(np.float32)
    print(f"n = {n}, {count} labels, {amounts.nnz / n:.1f} a row ({(spread > 0).sum() / n:.1f} reached), k = {k}")
    print(f"{'':36}{'seconds':>9}  {'spread':>15}  ratio to ours")
    for gain in ("linear", "exact"):
        steps = STEPS if gain == "linear" else 2
        ours, dense, dense_single = [], [], []
        for _ in range(rounds):
            start = time.perf_counter()
            picks = chosen(tags, quality, vectors, k, gain)
            ours.append(time.perf_counter() - start)
            dense.append(k * definition(spread, steps, gain))
            dense_single.append(k * definition(single, steps, gain))
        name = "published (linear)" if gain == "linear" else "corrected (exact)"
        for label, spent in (("rulesel", ours), ("dense float64", dense), ("dense float32", dense_single)):
            ratio = np.divide(spent, ours)
            print(
                f"{name + ', ' + label:36}{np.median(spent):9.3f}  {min(spent):7.3f}-{max(spent):7.3f}"
                f"  {np.median(ratio):.0f} ({min(ratio):.0f}-{max(ratio):.0f})"
            )
        checked = picks.indices if gain == "linear" else picks.indices[:20]
        print(f"picks that the definition would not make: {wrong_picks(spread, checked, gain)} of {len(checked)}")


def alone(n: int, count: int, k: int) -> None:
    tags, quality, vectors = workload(n, count)
    for gain in ("linear", "exact"):
        start = time.perf_counter()
        picks = chosen(tags, quality, vectors, k, gain)
        spent = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"n = {n}, {count} labels, k = {len(picks.indices)}, {gain}: {spent:.1f} s, peak {peak:.1f} GiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--labels", type=int, default=1000)
    parser.add_argument("-k", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if options.rows * options.labels > 10**8:
        alone(options.rows, options.labels, options.k)
    else:
        compare(options.rows, options.labels, options.k, options.rounds)


if __name__ == "__main__":
    main()
