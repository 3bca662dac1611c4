"""The store at 10 million ratings: ingest, mean and top 1 %, missing cells, matrix, explain.

    python evals/bench_store.py [ROWS] [RULES]

Prints one line a measurement, the median of three with the spread, and compares the ingest with DuckDB's own bulk insert
of the same Arrow tables in the same run.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from rulesel.records import Ratings, Rule
from rulesel.store import Store

CHUNK = 100_000


def timed(work: Callable[[], Any], repeats: int = 3) -> tuple[float, float, float]:
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds)), min(seconds), max(seconds)


def show(what: str, seconds: tuple[float, float, float], note: str = "") -> None:
    print(f"{what:52s} {seconds[0]:8.3f} s  ({seconds[1]:.3f} to {seconds[2]:.3f})  {note}")


def ingest(path: Path, n: int, width: int, values: np.ndarray) -> Store:
    store = Store(path)
    rules = store.rules.numbers([Rule(name=f"r{j}", text=f"It is good in way {j}.") for j in range(width)])
    status = np.zeros((CHUNK, width), dtype=np.uint8)
    for start in range(0, n, CHUNK):
        part = values[start : start + CHUNK]
        contents = np.arange(start, start + len(part), dtype=np.int64)
        store.ratings.add(contents, rules, 0, "corpus", Ratings(part, status[: len(part)]))
    return store


def bare(path: Path, n: int, width: int, values: np.ndarray) -> None:
    con = duckdb.connect(str(path))
    con.execute("CREATE TABLE t (content BIGINT, rule INTEGER, value FLOAT)")
    for start in range(0, n, CHUNK):
        part = values[start : start + CHUNK]
        table = pa.table(
            {
                "content": np.repeat(np.arange(start, start + len(part)), width),
                "rule": np.tile(np.arange(width, dtype=np.int32), len(part)),
                "value": part.ravel(),
            }
        )
        con.register("incoming", table)
        con.execute("INSERT INTO t SELECT * FROM incoming")
        con.unregister("incoming")
    con.close()


def main() -> None:
    n, width = (int(v) for v in (*sys.argv[1:], "1000000", "10")[:2]) if len(sys.argv) > 2 else (1_000_000, 10)
    values = np.random.default_rng(0).random((n, width)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        began = time.perf_counter()
        store = ingest(root / "store.duckdb", n, width, values)
        ours = time.perf_counter() - began
        began = time.perf_counter()
        bare(root / "bare.duckdb", n, width, values)
        theirs = time.perf_counter() - began
        print(f"{n:,} examples x {width} rules = {n * width:,} ratings")
        print(
            f"{'ingest, a transaction a chunk of 100,000 examples':52s} {ours:8.3f} s  {n * width / ours:,.0f} ratings/s"
        )
        print(f"{'  bare DuckDB insert of three columns, same run':52s} {theirs:8.3f} s  ratio {ours / theirs:.2f}")
        contents, rules = np.arange(n, dtype=np.int64), list(range(width))
        top = (
            "SELECT content FROM (SELECT content, avg(value) AS m FROM ratings WHERE rater = 0 GROUP BY content) "
            f"ORDER BY m DESC LIMIT {n // 100}"
        )
        show("mean over rules and top 1 % in SQL", timed(lambda: store.db.rows(top)))
        show("matrix out, float32", timed(lambda: store.ratings.matrix(contents, rules, 0)))
        show("missing cells, none missing", timed(lambda: store.ratings.missing(contents, rules, 0)))
        more = np.arange(n + n // 100, dtype=np.int64)
        cells = sum(c.n for c in store.ratings.missing(more, [*rules, width], 0))
        show(
            "missing cells, 1 % new rows and a new rule",
            timed(lambda: store.ratings.missing(more, [*rules, width], 0)),
            f"{cells:,} cells",
        )
        store.close()
        size = (root / "store.duckdb").stat().st_size
        show("open and close", timed(lambda: Store(root / "store.duckdb").close()))
        print(f"{'file':52s} {size / 1e6:8.1f} MB")
        print(f"{'peak memory':52s} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:8.2f} GiB")


if __name__ == "__main__":
    main()
