"""One's own numbers into the store: ratings by rule, or a column of scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow.parquet as pq

from rulesel.corpus import field_values
from rulesel.corpus.stream import sha256_of
from rulesel.digest import digest
from rulesel.errors import UsageError
from rulesel.receipt import source_of
from rulesel.records import Float64, Int64, Ratings, Rule, RuleSet
from rulesel.rules.columns_file import read_columns
from rulesel.rules.ratings_file import RatingsFile, read_ratings
from rulesel.store import CorpusRecord, Store

TOPS = (1.0, 5.0, 10.0, 100.0)
"""Upper ends a scale is taken to have, unless it is given: the least that holds every rating."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What came in: examples, rules or None, and how many ids the corpus did not know."""

    examples: int
    rules: int | None
    unknown: int
    note: str


def import_ratings(
    store: Store,
    path: Path,
    *,
    judge: str | None = None,
    rules: RuleSet | None = None,
    scale: tuple[float, float] | None = None,
    anchor: str | None = None,
    id_field: str = "id",
) -> Imported:
    """Take ratings from a file, long or wide; see `rules.ratings_file`.

    Args:
        store: where they go. Without a corpus in it the file's ids become its examples, without texts.
        path: Parquet, CSV or JSON lines.
        judge: how the rater is called; the file's name if not given.
        rules: the rules' texts, matched to the file's by name, or by position where the file has no names.
        scale: lowest and highest rating; the least usual scale from 0 that holds them all if not given.
        anchor: a column of the file with an outside number for each example, kept as a column of the store.
        id_field: field of the corpus's records that the file's ids mean, where they are no ids of rulesel.

    Raises:
        UsageError: the file cannot be read, no id is known, or a rating lies outside the scale.
    """
    found = read_ratings(path, anchor=anchor)
    rule_set = _rule_set(found, rules, path)
    low, high = scale or _scale(found, path)
    values = (found.values.astype(np.float64) - low) / (high - low)
    if np.nanmin(values, initial=0) < 0 or np.nanmax(values, initial=1) > 1:
        raise UsageError(f"{path}: ratings lie outside the scale {low:g} to {high:g}. Give the right one with --scale.")
    contents, unknown = _contents(store, found.ids, id_field)
    known = contents >= 0
    name = judge or f"file:{path.name}"
    store.rules.keep(rule_set)
    numbers = store.rules.numbers(rule_set.rules)
    parameters = {"file": path.name, "sha256": sha256_of([path]), "scale": [low, high]}
    rater = store.rules.rater(digest(["imported/1", name, parameters]), name, parameters, {})
    ratings = Ratings(values[known].astype(np.float32), found.status[known])
    for cells in store.ratings.missing(contents[known], numbers, rater):
        order = np.argsort(contents[known], kind="stable")
        at = order[np.searchsorted(contents[known][order], cells.contents)]
        block = np.ix_(at, np.array([numbers.index(rule) for rule in cells.rules]))
        store.ratings.add(
            cells.contents, cells.rules, rater, "imported", Ratings(ratings.values[block], ratings.status[block])
        )
    if anchor is not None and found.anchor is not None:
        _keep_column(store, anchor, parameters, contents[known], found.anchor[known])
    return Imported(int(known.sum()), len(rule_set), unknown, f"scale {low:g} to {high:g}, rater {name!r}")


def import_column(
    store: Store, path: Path, column: str, *, name: str | None = None, lower: bool = False, id_field: str = "id"
) -> Imported:
    """Take one number an example from a file with ids (or in the corpus's order).

    Args:
        store: where it goes; it must hold a corpus.
        path: Parquet, CSV or JSON lines.
        column: the file's column.
        name: how the store calls it; the same if not given.
        lower: lower is better.
        id_field: as for `import_ratings`.

    Raises:
        UsageError: no such column, no number in it, or no id is known.
    """
    if store.corpora.current() is None:
        raise UsageError("The store holds no corpus yet: read one first, for example with `rulesel score`.")
    columns = read_columns(path)
    if column not in columns.values:
        raise UsageError(f"{path} has no column {column!r}. It has: {', '.join(columns.values)}.")
    values = columns.values[column]
    if not isinstance(values, np.ndarray):
        raise UsageError(f"{path}: column {column!r} holds no numbers.")
    ids = next((columns.values[c] for c in ("id", "example_id", "example") if c in columns.values), range(columns.rows))
    texts = [str(int(one)) if isinstance(one, float) else str(one) for one in cast(Sequence[Any], ids)]
    contents, unknown = _contents(store, texts, id_field)
    known = contents >= 0
    provenance = {"file": path.name, "column": column, "sha256": sha256_of([path])}
    _keep_column(store, name or column, provenance, contents[known], values[known], lower=lower)
    return Imported(int(known.sum()), None, unknown, f"column {name or column!r}")


def _keep_column(
    store: Store, name: str, provenance: dict[str, Any], contents: Int64, values: Float64, *, lower: bool = False
) -> None:
    distinct, first = np.unique(contents, return_index=True)
    store.columns.add(
        name,
        digest(["imported/2", name, provenance, lower, store.corpora.hashes(distinct), values[first].tolist()]),
        distinct,
        values[first],
        direction="lower" if lower else "higher",
        provenance=provenance,
    )


def _rule_set(found: RatingsFile, rules: RuleSet | None, path: Path) -> RuleSet:
    if rules is None:
        return RuleSet(origin=f"file:{path.name}", rules=tuple(Rule(name=n[:64], text=n) for n in found.names))
    by_name = {rule.name: rule for rule in rules.rules}
    if all(name in by_name for name in found.names):
        return rules.model_copy(update={"rules": tuple(by_name[name] for name in found.names)})
    if len(rules) != len(found.names):
        raise UsageError(f"{path} has {len(found.names)} rules, the rule set {len(rules)}, and their names differ.")
    return rules


def _scale(found: RatingsFile, path: Path) -> tuple[float, float]:
    top = float(np.nanmax(found.values, initial=0))
    high = next((one for one in TOPS if top <= one), math.nan)
    if math.isnan(high) or np.nanmin(found.values, initial=0) < 0:
        raise UsageError(
            f"{path}: ratings run from {np.nanmin(found.values):g} to {top:g}. Say the scale with --scale."
        )
    return 0.0, high


def _contents(store: Store, ids: Sequence[str], id_field: str) -> tuple[Int64, int]:
    """The content each id means, -1 where the corpus has no such example."""
    corpus = store.corpora.current() or _placeholder(store, ids)
    rows = store.corpora.rows(corpus.corpus)
    own = dict(zip(store.corpora.ids(corpus.corpus, rows.row), rows.content.tolist(), strict=True))
    if not any(one in own for one in ids):
        own = _by_field(store, corpus, rows.row, rows.content, id_field)
    if not any(one in own for one in ids):
        own = {str(row): content for row, content in zip(rows.row.tolist(), rows.content.tolist(), strict=True)}
    contents = np.array([own.get(one, -1) for one in ids], dtype=np.int64)
    if not (contents >= 0).any():
        raise UsageError(
            f"None of the {len(ids):,} ids (first: {ids[0]!r}) is an id, a {id_field!r} or a row of the corpus. "
            "Name the records' field with --id-field."
        )
    return contents, int((contents < 0).sum())


def _by_field(store: Store, corpus: CorpusRecord, row: Int64, content: Int64, id_field: str) -> dict[str, int]:
    source = source_of(corpus)
    try:
        values = field_values(store.corpora.records(corpus.corpus, row), source.format, corpus.header, id_field)
    except UsageError:  # a CSV without such a field
        return {}
    return {value: number for value, number in zip(values, content.tolist(), strict=True) if value is not None}


def _placeholder(store: Store, ids: Sequence[str]) -> CorpusRecord:
    """A corpus of ids without texts, for ratings that come alone."""
    incoming = store.corpora.begin(
        path="(ids only)", source_format="jsonl", shape="text", mapping={}, header=None, limit=None
    )
    records = [orjson.dumps({"id": one}) for one in ids]
    incoming.add(np.arange(len(ids)), [digest({"id": one}) for one in ids], [None] * len(ids), [""] * len(ids), records)
    return incoming.finish(sha256=digest(list(ids)), n_records=len(ids), skipped={})


def import_embedding(store: Store, path: Path, *, name: str = "embedding", id_field: str = "id") -> Imported:
    """Take one vector an example: a .npy array in the corpus's order, or Parquet with id and vector.

    The vectors lie beside the store as a memory-mapped .npy file, a row a content, NaN where none is known.

    Raises:
        UsageError: the file cannot be read, is not (n, d), or no id is known.
    """
    corpus = store.corpora.current()
    if corpus is None or store.path is None:
        raise UsageError("The store holds no corpus yet: read one first, for example with `rulesel score`.")
    vectors, ids = _vectors(path)
    contents, unknown = _contents(store, ids, id_field)
    known = contents >= 0
    n = int(store.db.one("SELECT max(content) + 1 FROM contents"))
    identity = digest(["imported/1", name, sha256_of([path]), corpus.sha256])
    table = store.features.table(identity, n, vectors.shape[1])
    table[contents[known]] = vectors[known]
    table.flush()
    store.features.register(name, identity, {"file": path.name})
    return Imported(int(known.sum()), None, unknown, f"{vectors.shape[1]} dimensions as {name!r}")


def _vectors(path: Path) -> tuple[npt.NDArray[np.float32], list[str]]:
    if path.suffix == ".npy":
        try:
            vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} is no .npy array: {error}.") from error
        ids = [str(row) for row in range(len(vectors))]
    elif path.suffix == ".parquet":
        table = pq.read_table(path)
        name = next((c for c in ("embedding", "vector") if c in table.column_names), None)
        if name is None or "id" not in table.column_names:
            raise UsageError(f"{path} needs columns id and embedding. It has: {', '.join(table.column_names)}.")
        vectors = np.array(table.column(name).to_pylist(), dtype=np.float32)
        ids = [str(one) for one in table.column("id").to_pylist()]
    else:
        raise UsageError(f"{path}: give a .npy or .parquet file.")
    if vectors.ndim != 2:
        raise UsageError(f"{path} holds an array of shape {vectors.shape}; vectors are (n, d).")
    return vectors, ids
