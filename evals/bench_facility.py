"""Facility location: time, memory and value beside apricot, submodlib and a float64 run of the definition.

    python evals/bench_facility.py [--sizes 5000:500,20000:1000] [--rounds 3] [--graph 200000:5000]

Rows are unit-norm float32, d = 384, from 200 Gaussian clusters of long-tail sizes, seed 0. One float32 kernel, negative
cosines cut to 0 (apricot takes no others), is made once and handed to everyone; its time is not counted. apricot-select
and submodlib-py are compared where they are installed; the methods take turns, and a ratio is that of one round.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rulesel.algorithms.coverage import facility_value
from rulesel.algorithms.facility import facility_location
from rulesel.algorithms.inverted_lists import knn_graph
from rulesel.algorithms.kernels import embedding_kernel, given_kernel
from rulesel.algorithms.neighbors import unit_rows

Rows = NDArray[np.float32]
Method = Callable[[], NDArray[np.int64]]

DENSE_DEFINITION = 5000
"""Rows up to which the definition is run in float64 to check every pick."""


def workload(n: int, d: int = 384, clusters: int = 200, seed: int = 0) -> Rows:
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((clusters, d))
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    share = 1 / np.arange(1, clusters + 1)
    label = rng.choice(clusters, size=n, p=share / share.sum())
    rows = np.empty((n, d), dtype=np.float32)
    for start in range(0, n, 20_000):
        part = label[start : start + 20_000]
        block = centers[part] + rng.standard_normal((len(part), d)) / np.sqrt(d)
        rows[start : start + 20_000] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return rows


def wrong_picks(kernel: Rows, picks: NDArray[np.int64]) -> int:
    """Steps at which a float64 run of the definition finds a row better by more than 1e-6 of its gain."""
    similarity = kernel.astype(np.float64)
    covered, wrong = np.zeros(len(kernel)), 0
    left = np.ones(len(kernel), dtype=bool)
    for row in picks.tolist():
        gains = np.concatenate([np.maximum(part - covered, 0).sum(axis=1) for part in np.array_split(similarity, 50)])
        wrong += bool(gains[row] < gains[left].max() * (1 - 1e-6))
        left[row] = False
        np.maximum(covered, similarity[row], out=covered)
    return wrong


def peers(kernel: Rows, k: int) -> dict[str, Method]:
    found: dict[str, Method] = {}
    if importlib.util.find_spec("apricot"):
        from apricot import FacilityLocationSelection

        def apricot() -> NDArray[np.int64]:
            model = FacilityLocationSelection(k, metric="precomputed", optimizer="lazy")
            return np.asarray(model.fit(kernel).ranking, dtype=np.int64)

        found["apricot lazy"] = apricot
    if importlib.util.find_spec("submodlib"):
        from submodlib.functions.facilityLocation import FacilityLocationFunction

        def submodlib() -> NDArray[np.int64]:
            model = FacilityLocationFunction(n=len(kernel), mode="dense", sijs=kernel, separate_rep=False)
            options = {"stopIfZeroGain": False, "stopIfNegativeGain": False, "show_progress": False}
            return np.array([row for row, _ in model.maximize(budget=k, optimizer="LazyGreedy", **options)])

        found["submodlib LazyGreedy"] = submodlib
    return found


@contextlib.contextmanager
def silence() -> Any:
    """What a compiled peer prints is not ours to show."""
    held, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(held, 1)
        os.close(held)
        os.close(nowhere)


def timed(method: Method) -> tuple[float, NDArray[np.int64]]:
    start = time.perf_counter()
    picks = method()
    return time.perf_counter() - start, picks


def compare(n: int, k: int, rounds: int) -> None:
    rows = workload(n)
    kernel = np.maximum(rows @ rows.T, 0)
    held = given_kernel(kernel)
    methods: dict[str, Method] = {"rulesel, kernel given": lambda: facility_location(given_kernel(kernel), k).indices}
    methods |= peers(kernel, k)
    methods["rulesel, on the fly"] = lambda: facility_location(embedding_kernel(rows), k).indices
    methods["rulesel, graph of 64"] = lambda: facility_location(knn_graph(unit_rows(rows), 64), k).indices
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    values: dict[str, float] = {}
    for _ in range(rounds):
        for name, method in methods.items():
            with silence():
                spent, picks = timed(method)
            seconds[name].append(spent)
            values[name] = facility_value(held, picks)
    best = values["rulesel, kernel given"]
    print(f"\nn = {n}, k = {k}, {rounds} rounds\n{'':24}{'seconds':>9}  {'spread':>15}  {'ratio to ours':>17}  value")
    for name, spent in seconds.items():
        ratio = np.divide(spent, seconds["rulesel, kernel given"])
        print(
            f"{name:24}{np.median(spent):9.3f}  {min(spent):7.3f}-{max(spent):7.3f}"
            f"  {np.median(ratio):6.1f} ({min(ratio):.1f}-{max(ratio):.1f})  {values[name] / best:.6f}"
        )
    if n <= DENSE_DEFINITION:
        picks = facility_location(held, k).indices
        print(f"picks that a float64 run of the definition would not make: {wrong_picks(kernel, picks)} of {k}")


def large(n: int, k: int) -> None:
    rows = workload(n)
    start = time.perf_counter()
    unit = unit_rows(rows)
    del rows
    graph = knn_graph(unit, 64)
    ready = time.perf_counter()
    picks = facility_location(graph, k).indices
    done = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    some = np.random.default_rng(0).choice(n, size=k, replace=False)
    kernel = embedding_kernel(unit)
    value, chance = facility_value(kernel, picks), facility_value(kernel, some)
    print(
        f"\nn = {n}, k = {k}: graph {ready - start:.0f} s, recall {graph.recall:.3f}; greedy {done - ready:.1f} s; peak "
        f"{peak:.2f} GiB; value {value:.0f}, of a random set {chance:.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="5000:500,20000:1000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--graph", default="", help="n:k from a graph of neighbours alone")
    options = parser.parse_args()
    if options.graph:
        large(*map(int, options.graph.split(":")))
        return
    for size in options.sizes.split(","):
        compare(*map(int, size.split(":")), options.rounds)


if __name__ == "__main__":
    main()
