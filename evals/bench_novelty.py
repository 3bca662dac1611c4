"""NovelSelect: time beside dense NumPy runs of the definition.

    python evals/bench_novelty.py [--size 10000:500] [--rounds 3] [--mode published]

Rows are unit-norm float32, d = 384, from 200 Gaussian clusters of long-tail sizes, seed 0; everyone starts at row 0. The
definition works out the novelty of every row at every step from the distances to all rows chosen, densities included:
as it is written (all distances anew at each step, ranked by argsort, float32), and with what can be kept being kept
(each distance computed once, one sort of values a step; "published" only). A float64 run checks every pick: a pick is
wrong when another row's novelty was higher by more than 1e-6 of it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from bench_facility import workload
from bench_kcenter import spread
from numpy.typing import NDArray

from rulesel.algorithms.density import local_density
from rulesel.algorithms.novelselect import novelselect

Rows = NDArray[np.float32]
Picks = NDArray[np.int64]


def dense_density(X: Rows, neighbors: int = 10) -> Rows:
    square = np.einsum("ij,ij->i", X, X)
    distance = np.maximum(square[:, None] + square - 2 * (X @ X.T), 0)
    distance.sort(axis=1)
    density: Rows = (distance[:, 1 : neighbors + 1].mean(axis=1) + np.float32(1e-9)) ** np.float32(-0.5)
    return density


def novelty(distance: Rows, density: Rows, picks: list[int], mode: str) -> Rows:
    """Of every row, given its distances to the picks (n, t)."""
    weight = (1 / np.arange(1, len(picks) + 1)).astype(distance.dtype)
    term = distance * (density[:, None] + density[picks] if mode == "published" else density[picks])
    order = np.argsort(term if mode == "published" else distance, axis=1)
    value: Rows = np.take_along_axis(term, order, axis=1) @ weight
    return value


def as_written(X: Rows, k: int, mode: str) -> Picks:
    density, picks = dense_density(X), [0]
    while len(picks) < k:
        value = novelty(1 - X @ X[picks].T, density, picks, mode)
        value[picks] = -np.inf
        picks.append(int(value.argmax()))
    return np.array(picks)


def kept(X: Rows, k: int, mode: str) -> Picks:
    assert mode == "published"
    density, picks = dense_density(X), [0]
    term = np.empty((len(X), k), dtype=np.float32)
    while len(picks) < k:
        t = len(picks)
        term[:, t - 1] = (1 - X @ X[picks[-1]]) * (density + density[picks[-1]])
        value = np.sort(term[:, :t], axis=1) @ (1 / np.arange(1, t + 1)).astype(np.float32)
        value[picks] = -np.inf
        picks.append(int(value.argmax()))
    return np.array(picks)


def wrong_picks(X: Rows, picks: Picks, mode: str) -> int:
    rows, density = X.astype(np.float64), local_density(X, mode="published" if mode == "published" else "corrected")
    distance, wrong = np.empty((len(X), len(picks))), 0
    for t in range(1, len(picks)):
        distance[:, t - 1] = np.maximum(1 - rows @ rows[picks[t - 1]], 0)
        value = novelty(distance[:, :t], density, picks[:t].tolist(), mode)  # type: ignore[arg-type]  # float64 here
        value[picks[:t]] = -np.inf
        wrong += bool(value[picks[t]] < value.max() * (1 - 1e-6))
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="10000:500", help="n:k")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mode", choices=["published", "corrected"], default="published")
    options = parser.parse_args()
    n, k = map(int, options.size.split(":"))
    X = workload(n)
    methods: dict[str, Callable[[], Picks]] = {
        "rulesel": lambda: novelselect(X, k, first=0, mode=options.mode)[0],
        "definition": lambda: as_written(X, k, options.mode),
    }
    if options.mode == "published":
        methods["definition, kept"] = lambda: kept(X, k, options.mode)
    times: dict[str, list[float]] = {name: [] for name in methods}
    picks = np.empty(0, dtype=np.int64)
    for _ in range(options.rounds):
        for name, method in methods.items():
            start = time.perf_counter()
            found = method()
            times[name].append(time.perf_counter() - start)
            picks = found if name == "rulesel" else picks
    print(f"n = {n}, k = {k}, {options.mode}: {wrong_picks(X, picks, options.mode)} wrong picks")
    for name, seconds in times.items():
        ratio = [theirs / ours for theirs, ours in zip(seconds, times["rulesel"], strict=True)]
        print(f"  {name:18} {np.median(seconds):8.3f} s   {spread(ratio)} x rulesel's time")


if __name__ == "__main__":
    main()
