"""The files beside a selection: every row's score, and why each row that was left out was left out."""

from __future__ import annotations

import os
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from rulesel.errors import UsageError
from rulesel.pipeline.limits import Limits
from rulesel.pipeline.watch import Progress, Watcher
from rulesel.receipt import Scored, row_ids
from rulesel.records import Float32, Float64, Int64, Selection, Status
from rulesel.store import CorpusRecord, Store
from rulesel.store.ratings import UNRATED

STATUS_NAMES = [status.name for status in Status] + [""] * (UNRATED - len(Status)) + ["unrated"]
BLOCK = 50_000


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of every row of the corpus, and why, in words.

    Attributes:
        rank: int64 (N,), 1 for the best; 0 where not selected.
        key: float64 (N,), what a selected row was picked by; NaN elsewhere.
        score: float64 (N,), in the unit of its column, NaN where there is none.
        failed: bool (N,), no score under the coverage gate.
        place: int64 (N,), rank by score among all scored rows, 1 for the best, ties by id as in selections; 0 where
            there is no score.
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
    failed[found.pool] = np.isnan(found.scores) & (selection.report["without_score"] > 0)
    failed[picked] = False
    place = np.zeros(n, dtype=np.int64)
    scored = np.flatnonzero(~np.isnan(score))
    best_first = np.lexsort((row_ids(found.rows)[scored], -score[scored]))
    place[scored[best_first]] = np.arange(1, len(scored) + 1)
    own = -score if found.turned else score
    return Fate(rank, key, own, failed, place, position, _first_rows(found))


def write_tables(
    scores: Path,
    dropped: Path,
    store: Store,
    corpus: CorpusRecord,
    found: Scored,
    fate: Fate,
    names: Sequence[str],
    limits: Limits,
    watcher: Watcher,
) -> None:
    """Write every row with its ratings, score, rank and reason, and every row left out; each file whole or not at all.

    Args:
        scores: a Parquet file with a row for each example of the corpus.
        dropped: a JSON-lines file with a line for each record that was not selected: id, row, kind, score, reason; for
            one that could not be read its line, too.
        store: where the ids come from.
        corpus: the corpus.
        found: the pool with its scores.
        fate: what became of every row.
        names: the chosen rules' names, columns of `found.values`.
        limits: what kept rows out beside their scores.
        watcher: told after every block.
    """
    n = len(found.rows)
    unread = deque(_unreadable(store, corpus))
    with replacing(scores) as table_file, replacing(dropped) as lines_file:
        writer: pq.ParquetWriter | None = None
        for start in range(0, n, BLOCK):
            rows = slice(start, min(start + BLOCK, n))
            ids = store.corpora.ids(corpus.corpus, found.rows.row[rows])
            words = reasons(fate, found, names, limits, rows)
            table = _block(found, fate, names, rows, ids, words)
            writer = writer or pq.ParquetWriter(table_file, table.schema, compression="zstd")
            writer.write_table(table)
            last = int(found.rows.row[rows.stop - 1]) if rows.stop < n else None
            lines_file.write(b"".join(_merged(_dropped(found, fate, rows, ids, words), unread, last)))
            watcher.progress(Progress("write output", rows.stop, n, "rows"))
        if writer is not None:
            writer.close()


def reasons(fate: Fate, found: Scored, names: Sequence[str], limits: Limits, rows: slice) -> list[str]:
    """Why each row of a slice was selected or left out, in words."""
    n_scored = int((fate.place > 0).sum())
    at = fate.pool_position[rows]
    values = found.values[np.maximum(at, 0)]
    if names:
        present = ~np.isnan(values)
        best = np.where(present, values, -1.0).argmax(axis=1).tolist()
        worst = np.where(present, values, 2.0).argmin(axis=1).tolist()
    else:
        best = worst = [0] * len(at)
    told: list[str] = []
    fates = zip(at.tolist(), fate.rank[rows].tolist(), fate.failed[rows].tolist(), strict=True)
    numbers = zip(fate.score[rows].tolist(), fate.place[rows].tolist(), strict=True)
    for i, ((position, rank, failed), (score, place)) in enumerate(zip(fates, numbers, strict=True)):
        if position < 0:
            told.append(f"same content as row {fate.first_row[int(found.rows.content[rows.start + i])]}")
        elif failed:
            told.append(_lost(found, names, position))
        else:
            standing = f"rank {rank}: " if rank else "not selected: "
            standing += "no score" if np.isnan(score) else f"score {score:.3f}, place {place} of {n_scored}"
            if not rank and (why := limits.why(position)):
                standing += f"; {why}"
            if names:
                high, low = best[i], worst[i]
                standing += f"; highest {names[high]} {values[i, high]:.2f}, lowest {names[low]} {values[i, low]:.2f}"
            told.append(standing)
    return told


def _lost(found: Scored, names: Sequence[str], position: int) -> str:
    if not names:
        return "the column has no value here"
    missing = np.flatnonzero(np.isnan(found.values[position])).tolist()
    lost = [f"{names[j]} ({STATUS_NAMES[found.status[position, j]]})" for j in missing]
    return f"too few ratings for a score: {', '.join(lost)} missing"


Line = tuple[int, dict[str, Any]]
"""The row a line of dropped.jsonl is about, and the line."""


def _dropped(found: Scored, fate: Fate, rows: slice, ids: list[str], words: list[str]) -> Iterator[Line]:
    columns = (found.rows.row, fate.rank, fate.pool_position, fate.failed, fate.score)
    for i, (row, rank, position, failed, score) in enumerate(zip(*(c[rows].tolist() for c in columns), strict=True)):
        if not rank:
            kind = "duplicate" if position < 0 else "failed" if failed else "not_selected"
            yield row, {"id": ids[i], "row": row, "kind": kind, "score": score, "reason": words[i]}


def _unreadable(store: Store, corpus: CorpusRecord) -> Iterator[Line]:
    """A line for each record that could not be read; those that are only counted stand at the end, a line a reason."""
    left = Counter(corpus.skipped)
    for row, line, reason in store.corpora.unreadable(corpus.corpus):
        left[reason] -= 1
        yield row, {"id": None, "row": row, "kind": "unreadable", "score": None, "line": line, "reason": reason}
    for reason, n in left.items():
        if n > 0:
            told = {"id": None, "row": None, "kind": "unreadable", "score": None, "count": n, "reason": reason}
            yield sys.maxsize, told


def _merged(lines: Iterable[Line], unread: deque[Line], last: int | None) -> Iterator[bytes]:
    """Lines by row, as JSON; `last` is the last row of these, None where all that are left belong to them."""
    for row, line in lines:
        while unread and unread[0][0] < row:
            yield orjson.dumps(unread.popleft()[1], option=orjson.OPT_APPEND_NEWLINE)
        yield orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)  # NaN becomes null
    while unread and (last is None or unread[0][0] < last):
        yield orjson.dumps(unread.popleft()[1], option=orjson.OPT_APPEND_NEWLINE)


def check_beside(out: Path, *inputs: Path) -> None:
    """Refuse an output whose side files cannot be written, or would take the place of what is read, before any work.

    Args:
        out: the output.
        inputs: files that the command reads, as far as they are there.

    Raises:
        UsageError: something that is no file stands in the place of one, or an input does.
    """
    for suffix in ("", ".scores.parquet", ".dropped.jsonl", ".receipt.json"):
        place = out.with_name(out.name + suffix)
        taken = next((path for path in inputs if path.exists() and place.exists() and place.samefile(path)), None)
        if taken is not None:
            raise UsageError(f"-o {out} would write {place}, and {taken} is read. Give another name.")
        if place.exists() and not place.is_file():
            raise UsageError(f"{place} is in the way of a file that belongs to -o {out}. Give another name.")


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
    except OSError as error:
        if error.filename not in {None, str(part)}:
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error  # the name the user gave
    finally:
        part.unlink(missing_ok=True)


def _block(found: Scored, fate: Fate, names: Sequence[str], rows: slice, ids: list[str], words: list[str]) -> pa.Table:
    at = fate.pool_position[rows]
    inside = at >= 0
    values = np.full((len(at), len(names)), np.nan, dtype=np.float32)
    status = np.full((len(at), len(names)), UNRATED, dtype=np.uint8)
    values[inside], status[inside] = found.values[at[inside]], found.status[at[inside]]
    rank = fate.rank[rows]
    columns: dict[str, pa.Array] = {
        "id": pa.array(ids, pa.string()),
        "row": pa.array(found.rows.row[rows]),
        "rank": pa.array(rank, mask=rank == 0),
        "key": pa.array(fate.key[rows], from_pandas=True),
        "score": pa.array(fate.score[rows], from_pandas=True),
        "coverage": pa.array(_coverage(values, found.weights), mask=~inside),
        "reason": pa.array(words, pa.string()),
    }
    for j, name in enumerate(names):
        columns[f"rating: {name}"] = pa.array(values[:, j], from_pandas=True)
        columns[f"status: {name}"] = pa.DictionaryArray.from_arrays(status[:, j], STATUS_NAMES)
    return pa.table(columns)


def _coverage(values: Float32, weights: Float64) -> Float64:
    """Share of the weight that is rated, what the gate of the score looks at; 1 where no rules were chosen."""
    size = np.abs(weights)
    missing: Float64 = (np.isnan(values) * size).sum(axis=1)
    return 1.0 - missing / (size.sum() if len(size) else 1.0)


def _first_rows(found: Scored) -> dict[int, int]:
    twins = found.rows.content[found.rows.occurrence > 0]
    first = np.flatnonzero((found.rows.occurrence == 0) & np.isin(found.rows.content, twins))
    return dict(zip(found.rows.content[first].tolist(), found.rows.row[first].tolist(), strict=True))
