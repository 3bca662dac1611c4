"""k-center: time beside a loop over scikit-learn's pairwise distances and a plain float32 NumPy loop.

    python evals/bench_kcenter.py [--sizes 20000:1000,100000:5000] [--rounds 3] [--peers-up-to 20000]

Rows are unit-norm float32, d = 384, from 200 Gaussian clusters of long-tail sizes, seed 0; everyone starts at row 0. The
methods take turns, and a ratio is that of one round. Every pick is checked in float64: a pick is wrong when another
row lay farther by more than 1e-6 of its distance.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import time
from collections.abc import Callable

import numpy as np
from bench_facility import workload
from numpy.typing import NDArray

from rulesel.algorithms.kcenter import kcenter

Rows = NDArray[np.float32]
Picks = NDArray[np.int64]


def numpy_loop(X: Rows, k: int) -> Picks:
    picks = [0]
    nearest = X @ X[0]
    while len(picks) < k:
        picks.append(int(nearest.argmin()))
        np.maximum(nearest, X @ X[picks[-1]], out=nearest)
    return np.array(picks)


def sklearn_loop(X: Rows, k: int) -> Picks:
    from sklearn.metrics import pairwise_distances

    picks = [0]
    distance = pairwise_distances(X, X[:1]).ravel()
    while len(picks) < k:
        picks.append(int(distance.argmax()))
        np.minimum(distance, pairwise_distances(X, X[picks[-1:]]).ravel(), out=distance)
    return np.array(picks)


def wrong_picks(X: Rows, picks: Picks, block: int = 64) -> int:
    """Steps at which a float64 run of the definition finds a row farther by more than 1e-6 of the distance."""
    wrong, nearest = 0, np.full(len(X), np.inf)
    for start in range(0, len(picks), block):
        some = picks[start : start + block]
        centers = X[some].astype(np.float64)
        square = np.empty((len(X), len(some)))
        for at in range(0, len(X), 8192):
            rows = X[at : at + 8192].astype(np.float64)
            own = np.einsum("ij,ij->i", rows, rows)[:, None] + np.einsum("ij,ij->i", centers, centers)
            square[at : at + 8192] = np.maximum(own - 2 * rows @ centers.T, 0)
        for step, row in enumerate(some.tolist()):
            if start + step:
                wrong += bool(nearest[row] ** 0.5 < nearest.max() ** 0.5 * (1 - 1e-6))
            np.minimum(nearest, square[:, step], out=nearest)
    return wrong


def timed(method: Callable[[Rows, int], Picks], X: Rows, k: int) -> tuple[float, Picks]:
    start = time.perf_counter()
    picks = method(X, k)
    return time.perf_counter() - start, picks


def spread(values: list[float]) -> str:
    return f"{np.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def compare(n: int, k: int, rounds: int, peers_up_to: int) -> None:
    X = workload(n)
    peers: dict[str, Callable[[Rows, int], Picks]] = {"NumPy loop": numpy_loop}
    if n <= peers_up_to and importlib.util.find_spec("sklearn"):
        peers["scikit-learn loop"] = sklearn_loop
    times: dict[str, list[float]] = {name: [] for name in ("rulesel", *peers)}
    for _ in range(rounds):
        seconds, picks = timed(lambda rows, size: kcenter(rows, size, first=0)[0], X, k)
        times["rulesel"].append(seconds)
        for name, method in peers.items():
            times[name].append(timed(method, X, k)[0])
    print(f"n = {n}, k = {k}: {wrong_picks(X, picks)} wrong picks")
    for name, seconds_of in times.items():
        ratio = [theirs / ours for theirs, ours in zip(seconds_of, times["rulesel"], strict=True)]
        print(f"  {name:18} {np.median(seconds_of):8.3f} s   {spread(ratio)} x rulesel's time")
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="20000:1000,100000:5000", help="n:k pairs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers-up-to", type=int, default=20_000, help="most rows for the scikit-learn loop")
    options = parser.parse_args()
    for size in options.sizes.split(","):
        n, k = map(int, size.split(":"))
        compare(n, k, options.rounds, options.peers_up_to)


if __name__ == "__main__":
    main()
