"""Parts: the ratings of one shard in a Parquet file, one row a cell, there whole or not at all."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rulesel.errors import UsageError
from rulesel.records import Ratings

_WORD = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        pa.field("example", pa.string(), nullable=False, metadata={"doc": "content hash"}),
        pa.field("rule", _WORD, nullable=False, metadata={"doc": "rule id"}),
        pa.field("rater", _WORD, nullable=False, metadata={"doc": "rater id"}),
        pa.field("value", pa.float32(), metadata={"doc": "0 to 1, higher is better; null unless status is 0"}),
        pa.field("status", pa.uint8(), nullable=False),
        pa.field("flags", pa.uint8(), nullable=False),
        pa.field(
            "mass", pa.float32(), metadata={"doc": "probability on the labels, null where there is no such thing"}
        ),
        pa.field("reason", pa.string(), metadata={"doc": "the raw answer of some failed cells"}),
    ]
)
"""Cells stand example by example, each under all rules in the same order."""


@dataclass(frozen=True, slots=True)
class Part:
    """Ratings of n examples under R rules, as read from a file.

    Attributes:
        examples: n content hashes.
        rules: R rule ids.
        rater: id of the rater.
        ratings: the ratings.
        provenance: what the rater said of itself.
    """

    examples: list[str]
    rules: list[str]
    rater: str
    ratings: Ratings
    provenance: dict[str, Any]


def write_part(
    path: Path,
    rater: str,
    rules: Sequence[str],
    rated: Iterable[tuple[list[str], Ratings]],
    provenance: dict[str, Any],
) -> int:
    """Write a part as the ratings come, then put it in its place in one step.

    Args:
        path: where it goes.
        rater: id of the rater.
        rules: R rule ids.
        rated: content hashes with their ratings, a batch at a time.
        provenance: kept in the file's metadata.

    Returns:
        How many examples it holds.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}")
    count = 0
    schema = SCHEMA.with_metadata({"provenance": json.dumps(provenance)})
    try:
        with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
            for hashes, ratings in rated:
                writer.write_table(_table(rater, rules, hashes, ratings).cast(schema))
                count += len(hashes)
        _put(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return count


def _put(partial: Path, path: Path) -> None:
    """Move a whole part to its place and remove what killed workers left of it."""
    try:
        partial.replace(path)
    except FileNotFoundError:  # another worker finished the same shard and tidied up
        if not path.exists():
            raise
    for left in path.parent.glob(f".{path.name}.*"):
        left.unlink(missing_ok=True)


def read_part(path: Path) -> Part:
    """Read a part.

    Raises:
        UsageError: the file is no part.
    """
    try:
        table = pq.read_table(path)
        columns = {name: table.column(name).combine_chunks() for name in SCHEMA.names}
    except (KeyError, pa.ArrowInvalid) as error:
        raise UsageError(f"{path} holds no ratings of rulesel: {error}") from error
    provenance = json.loads((table.schema.metadata or {}).get(b"provenance", b"{}"))
    rules = [str(rule) for rule in columns["rule"].dictionary.to_pylist()]
    raters = columns["rater"].unique().to_pylist()
    if not len(table):
        return Part([], rules, "", _empty(len(rules)), provenance)
    shape = (len(table) // len(rules), len(rules))
    if len(raters) != 1 or len(table) % len(rules) or columns["rule"].to_pylist()[: len(rules)] != rules:
        raise UsageError(f"{path} does not hold each example under the same rules.")
    status = columns["status"].to_numpy().reshape(shape)
    mass = columns["mass"]
    reasons = columns["reason"]
    at = np.flatnonzero(reasons.is_valid().to_numpy(zero_copy_only=False))
    return Part(
        columns["example"].take(pa.array(np.arange(0, len(table), len(rules)))).to_pylist(),
        rules,
        raters[0],
        Ratings(
            _floats(columns["value"]).reshape(shape),
            status,
            columns["flags"].to_numpy().reshape(shape),
            None if mass.null_count == len(mass) else _floats(mass).reshape(shape),
            {(int(i) // len(rules), int(i) % len(rules)): reasons[int(i)].as_py() for i in at},
        ),
        provenance,
    )


def _table(rater: str, rules: Sequence[str], hashes: list[str], ratings: Ratings) -> pa.Table:
    n, R = ratings.values.shape
    reasons: list[str | None] = [None] * (n * R)
    for (i, j), reason in ratings.reasons.items():
        reasons[i * R + j] = reason
    numbers = pa.array(np.tile(np.arange(R, dtype=np.int32), n))
    return pa.table(
        {
            "example": pa.array(hashes, pa.string()).take(pa.array(np.repeat(np.arange(n), R))),
            "rule": pa.DictionaryArray.from_arrays(numbers, pa.array(rules, pa.string())),
            "rater": pa.DictionaryArray.from_arrays(pa.array(np.zeros(n * R, dtype=np.int32)), pa.array([rater])),
            "value": pa.array(ratings.values.ravel(), from_pandas=True),
            "status": ratings.status.ravel(),
            "flags": ratings.flags.ravel(),
            "mass": pa.nulls(n * R, pa.float32())
            if ratings.mass is None
            else pa.array(ratings.mass.ravel(), from_pandas=True),
            "reason": pa.array(reasons, pa.string()),
        }
    )


def _floats(column: pa.Array) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Nulls as NaN."""
    return np.array(column.to_numpy(zero_copy_only=False), dtype=np.float32)


def _empty(rules: int) -> Ratings:
    return Ratings(np.empty((0, rules), dtype=np.float32), np.empty((0, rules), dtype=np.uint8))
