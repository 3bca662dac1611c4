"""The files beside a selection: every row's score, and why each row that was left out was left out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from rulesel.receipt import Scored
from rulesel.records import Float64, Int64, Selection, Status
from rulesel.store import CorpusRecord, Store
from rulesel.store.ratings import UNRATED

STATUS_NAMES = np.array([status.name for status in Status] + [""] * (UNRATED - len(Status)) + ["unrated"], dtype=object)
BLOCK = 50_000


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of every row of the corpus, and why, in words.

    Attributes:
        rank: int64 (N,), 1 for the best; 0 where not selected.
        key: float64 (N,), what a selected row was picked by; NaN elsewhere.
        score: float64 (N,), NaN where there is none.
        failed: bool (N,), no score under the coverage gate.
        place: int64 (N,), rank by score among all scored rows, 1 for the best; 0 where there is no score.
        pool_position: int64 (N,), position in the pool; -1 for duplicates left out of it.
        first_row: content -> the row that came first, for contents that came more than once.
    """

    rank: Int64
    key: Float64
    score: Float64
    failed: np.ndarray[Any, np.dtype[np.bool_]]
    place: Int64
    pool_position: Int64
    first_row: dict[int, int]


def fate_of(found: Scored, selection: Selection) -> Fate:
    """Line everything up with the rows of the corpus."""
    n = len(found.rows)
    position = np.full(n, -1, dtype=np.int64)
    position[found.pool] = np.arange(len(found.pool))
    rank, key, score = np.zeros(n, dtype=np.int64), np.full(n, np.nan), np.full(n, np.nan)
    picked = found.pool[selection.indices]
    rank[picked] = np.arange(1, len(picked) + 1)
    key[picked] = selection.keys
    score[found.pool] = found.scores
    failed = np.zeros(n, dtype=bool)
    failed[found.pool] = np.isnan(found.scores)
    place = np.zeros(n, dtype=np.int64)
    scored = np.flatnonzero(~np.isnan(score))
    place[scored[np.argsort(-score[scored], kind="stable")]] = np.arange(1, len(scored) + 1)
    return Fate(rank, key, score, failed, place, position, _first_rows(found))


def reasons(fate: Fate, found: Scored, names: Sequence[str], rows: slice) -> Iterator[str]:
    """Why each row of a slice was selected or left out, in words."""
    n_scored = int((fate.place > 0).sum())
    for i in range(rows.start, rows.stop):
        at = int(fate.pool_position[i])
        if at < 0:
            yield f"same content as row {fate.first_row[int(found.rows.content[i])]}"
            continue
        values = found.values[at]
        if fate.failed[i] and not names:
            yield "the column has no value here"
            continue
        if fate.failed[i]:
            lost = [
                f"{names[j]} ({STATUS_NAMES[found.status[at, j]]})" for j in np.flatnonzero(np.isnan(values)).tolist()
            ]
            yield f"too few ratings for a score: {', '.join(lost)} missing"
            continue
        standing = f"rank {fate.rank[i]}: " if fate.rank[i] else "not selected: "
        standing += f"score {fate.score[i]:.3f}, place {fate.place[i]} of {n_scored}"
        if names:
            best, worst = int(np.nanargmax(values)), int(np.nanargmin(values))
            standing += f"; highest {names[best]} {values[best]:.2f}, lowest {names[worst]} {values[worst]:.2f}"
        yield standing


def write_scores(
    path: Path, store: Store, corpus: CorpusRecord, found: Scored, fate: Fate, names: Sequence[str]
) -> None:
    """Every row of the corpus with its ratings, score, rank and reason, as Parquet; written whole or not at all."""
    with replacing(path) as file:
        writer: pq.ParquetWriter | None = None
        for rows in _slices(len(found.rows)):
            table = _block(store, corpus, found, fate, names, rows)
            writer = writer or pq.ParquetWriter(file, table.schema, compression="zstd")
            writer.write_table(table)
        if writer is not None:
            writer.close()


def write_dropped(
    path: Path, store: Store, corpus: CorpusRecord, found: Scored, fate: Fate, names: Sequence[str]
) -> None:
    """A JSON line for every row that was not selected: id, row, score, kind and reason."""
    with replacing(path) as file:
        for rows in _slices(len(found.rows)):
            ids = store.corpora.ids(corpus.corpus, found.rows.row[rows])
            for offset, reason in enumerate(reasons(fate, found, names, rows)):
                i = rows.start + offset
                if fate.rank[i]:
                    continue
                kind = "duplicate" if fate.pool_position[i] < 0 else "failed" if fate.failed[i] else "not_selected"
                score = None if np.isnan(fate.score[i]) else float(fate.score[i])
                line = {
                    "id": ids[offset],
                    "row": int(found.rows.row[i]),
                    "kind": kind,
                    "score": score,
                    "reason": reason,
                }
                file.write(orjson.dumps(line) + b"\n")


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name only when it is whole and on disk."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _block(
    store: Store, corpus: CorpusRecord, found: Scored, fate: Fate, names: Sequence[str], rows: slice
) -> pa.Table:
    at = fate.pool_position[rows]
    inside = at >= 0
    values = np.full((len(at), len(names)), np.nan, dtype=np.float32)
    status = np.full((len(at), len(names)), UNRATED, dtype=np.uint8)
    values[inside], status[inside] = found.values[at[inside]], found.status[at[inside]]
    rank = fate.rank[rows]
    columns: dict[str, pa.Array] = {
        "id": pa.array(store.corpora.ids(corpus.corpus, found.rows.row[rows]), pa.string()),
        "row": pa.array(found.rows.row[rows]),
        "rank": pa.array(rank, mask=rank == 0),
        "key": pa.array(fate.key[rows], from_pandas=True),
        "score": pa.array(fate.score[rows], from_pandas=True),
        "coverage": pa.array(1.0 - np.isnan(values).sum(axis=1) / max(len(names), 1), mask=~inside),
        "reason": pa.array(list(reasons(fate, found, names, rows)), pa.string()),
    }
    for j, name in enumerate(names):
        columns[f"rating: {name}"] = pa.array(values[:, j], from_pandas=True)
        columns[f"status: {name}"] = pa.array(STATUS_NAMES[status[:, j]], pa.string())
    return pa.table(columns)


def _first_rows(found: Scored) -> dict[int, int]:
    twins = found.rows.content[found.rows.occurrence > 0]
    first = np.flatnonzero((found.rows.occurrence == 0) & np.isin(found.rows.content, twins))
    return dict(zip(found.rows.content[first].tolist(), found.rows.row[first].tolist(), strict=True))


def _slices(n: int) -> Iterator[slice]:
    for start in range(0, n, BLOCK):
        yield slice(start, min(start + BLOCK, n))
