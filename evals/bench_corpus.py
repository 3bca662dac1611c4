"""How fast corpora are read and written, beside a bare loop over the same lines.

    python evals/bench_corpus.py [--rows 200000]

Examples of 500 characters are made in a temporary directory. "bare" is `orjson.loads` of every line and nothing else;
rulesel also maps the fields, hashes every example and the whole source, and keeps what a store would take.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import random
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from rulesel.corpus import open_corpus, write_selection


def make(directory: Path, n: int) -> dict[str, Path]:
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnop", k=6)) for _ in range(5000)]
    rows = [
        {
            "instruction": " ".join(rng.choices(words, k=25)),
            "input": "",
            "output": f"{' '.join(rng.choices(words, k=38))} {i}",
        }
        for i in range(n)
    ]
    paths = {name: directory / f"corpus.{name}" for name in ("jsonl", "jsonl.gz", "jsonl.zst", "csv", "parquet")}
    lines = b"".join(orjson.dumps(row) + b"\n" for row in rows)
    paths["jsonl"].write_bytes(lines)
    paths["jsonl.gz"].write_bytes(gzip.compress(lines, 6))
    with pa.CompressedOutputStream(str(paths["jsonl.zst"]), "zstd") as stream:
        stream.write(lines)
    with paths["csv"].open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    pq.write_table(pa.Table.from_pylist(rows), paths["parquet"], row_group_size=50_000)
    return paths


def seconds(work: Callable[[], int], n: int) -> float:
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        if work() != n:
            raise SystemExit("not every record was read")
        best = min(best, time.perf_counter() - start)
    return best


def bare(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for line in file if orjson.loads(line))


def read(path: Path) -> int:
    return sum(len(chunk) for chunk in open_corpus(path).chunks())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    n = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        paths = make(directory, n)
        base = seconds(lambda: bare(paths["jsonl"]), n)
        print(f"{'read':<22}{'records/s':>12}{'x bare':>8}{'MB':>8}")
        print(f"{'bare orjson loop':<22}{n / base:>12,.0f}{1:>8.1f}{paths['jsonl'].stat().st_size / 1e6:>8.0f}")
        for kind, path in paths.items():
            took = seconds(lambda path=path: read(path), n)
            print(f"{kind:<22}{n / took:>12,.0f}{took / base:>8.1f}{path.stat().st_size / 1e6:>8.0f}")
        print(f"\n{'write a tenth':<22}{'records/s':>12}")
        rows = random.Random(1).sample(range(n), n // 10)
        for kind in ("jsonl", "jsonl.gz", "parquet"):
            corpus = open_corpus(paths["parquet" if kind == "parquet" else "jsonl"])
            stored = [record for chunk in corpus.chunks() for record in chunk.records]
            chosen = rows if kind == "parquet" else [stored[row] for row in rows]
            start = time.perf_counter()
            write_selection(directory / f"out.{kind}", corpus.source, chosen)
            print(f"{kind:<22}{len(rows) / (time.perf_counter() - start):>12,.0f}")
            del stored, chosen
    print(
        f"\npeak memory of it all, the making of the files included: "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB"
    )


if __name__ == "__main__":
    main()
