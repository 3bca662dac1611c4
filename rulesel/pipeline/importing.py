"""One's own numbers into the store: ratings by rule, a column of scores, or vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from rulesel.corpus.stream import sha256_of
from rulesel.digest import digest
from rulesel.errors import UsageError
from rulesel.pipeline.naming import By, Named, Names, id_fields
from rulesel.records import Float64, Int64, Ratings, RuleSet, Status
from rulesel.rules.columns_file import Columns, listed, numbers, read_columns, texts
from rulesel.rules.ratings_file import RatingsFile, named_rules, read_ratings
from rulesel.store import CorpusRecord, Store

TOPS = (1.0, 5.0, 10.0, 100.0)
"""Upper ends a scale is taken to have, unless it is given: the least that holds every rating."""

SHOWN = 5
"""Rules that are named when they have come in."""

VECTOR_FIELDS = ("embedding", "vector")


@dataclass(frozen=True, slots=True)
class Imported:
    """What came in.

    Attributes:
        examples: how many examples have it now.
        rules: how many rules; None for a column or vectors.
        unknown: names in the file that the corpus does not know.
        note: under which name and on which scale.
        ids: how the file's rows were matched with the corpus's, in words.
        left_out: what was not taken, in words.
    """

    examples: int
    rules: int | None
    unknown: int
    note: str
    ids: str
    left_out: tuple[str, ...] = ()


def import_ratings(
    store: Store,
    path: Path,
    *,
    judge: str | None = None,
    rules: RuleSet | None = None,
    scale: tuple[float, float] | None = None,
    anchor: str | None = None,
    by: By | None = None,
    id_field: str | None = None,
) -> Imported:
    """Take ratings from a file, long or wide; see `rules.ratings_file`.

    Args:
        store: where they go. Without a corpus in it the file's ids become its examples, without texts.
        path: Parquet, CSV or JSON lines.
        judge: how the rater is called; the file's name if not given.
        rules: the rules' texts, matched to the file's by name, or by position where the file has no names.
        scale: lowest and highest rating; the least usual scale from 0 that holds them all if not given.
        anchor: a column of the file with an outside number for each example, kept as a column of the store.
        by: what the file's ids are; see `naming`. None where the ids must say.
        id_field: field of the corpus's records that holds their own ids; see `naming.Names` where it is None.

    Raises:
        UsageError: the file cannot be read, no id is known, ids can be read in two ways, an example is rated twice, no
            rating is a number, or one lies outside the scale.
    """
    found = read_ratings(path, anchor=anchor, ids=id_fields(by, id_field))
    rule_set = _rule_set(found, rules, path)
    if not np.isfinite(found.values).any():
        raise UsageError(f"{path} holds no rating that is a number.")
    low, high = scale or _scale(found, path)
    if not low < high:
        raise UsageError(f"--scale {low:g} {high:g}: the lowest rating comes first, and must be below the highest.")
    values = (found.values.astype(np.float64) - low) / (high - low)
    if np.nanmin(values, initial=0) < 0 or np.nanmax(values, initial=1) > 1:
        raise UsageError(f"{path}: ratings lie outside the scale {low:g} to {high:g}. Give the right one with --scale.")
    ids = [one or None for one in found.ids]
    corpus = store.corpora.current() or _placeholder(store, [one for one in ids if one])
    names = Names(store, corpus, id_field, called=found.named)
    matched = _matched(
        names, path, found.beside, found.named, ids, by, frozenset() if anchor is None else frozenset({anchor})
    )
    taken = _one_each(names, matched, found.values, path, ids)
    name = judge or f"file:{path.name}"
    store.rules.keep(rule_set)
    parameters = {"file": path.name, "sha256": sha256_of([path]), "scale": [low, high]} | _pinned(
        corpus, matched, names.id_field
    )
    rater = store.rules.rater(digest(["imported/2", name, parameters]), name, parameters, {})
    _keep_ratings(store, store.rules.numbers(rule_set.rules), rater, taken.contents, values[taken.rows], found, taken)
    if anchor is not None and found.anchor is not None:
        _keep_column(store, anchor, parameters, taken.contents, found.anchor[taken.rows])
    some = ", ".join(found.names[:SHOWN]) + (", …" if len(found.names) > SHOWN else "")
    note = f"{some}; scale {low:g} to {high:g}, rater {name!r}"
    failed = int(np.isin(found.status[taken.rows], (Status.parse, Status.range)).sum())
    left = (f"{failed:,} ratings are missing, no numbers or not finite",) if failed else ()
    return Imported(
        len(taken.rows), len(rule_set), matched.unknown, note, matched.said, _left_out(matched, taken) + left
    )


def import_column(
    store: Store,
    path: Path,
    column: str,
    *,
    name: str | None = None,
    lower: bool = False,
    by: By | None = None,
    id_field: str | None = None,
) -> Imported:
    """Take one number an example from a file with ids, or in the corpus's order.

    Args:
        store: where it goes; it must hold a corpus.
        path: Parquet, CSV or JSON lines.
        column: the file's column.
        name: how the store calls it; the same if not given.
        lower: lower is better.
        by: as for `import_ratings`.
        id_field: as for `import_ratings`.

    Raises:
        UsageError: no such column, something in it that is no number, no number at all, no id is known, ids can be read
            in two ways, or one id has two numbers. A column of that name that the store has stays.
    """
    corpus = _corpus(store)
    columns = read_columns(path)
    values = _column(path, columns, column)
    named = next((one for one in id_fields(by, id_field) if one in columns.values), None)
    ids = None if named is None else texts(columns.values[named])
    names = Names(store, corpus, id_field, called=named)
    matched = _matched(names, path, columns, named, ids, by, frozenset({column}))
    taken = _one_each(names, matched, values[:, None], path, ids)
    found = values[taken.rows]
    finite = np.isfinite(found)
    if not finite.any():
        raise UsageError(f"{path}: no example of the corpus has a number in column {column!r}.")
    provenance = {"file": path.name, "column": column, "sha256": sha256_of([path])} | _pinned(
        corpus, matched, names.id_field
    )
    _keep_column(store, name or column, provenance, taken.contents[finite], found[finite], lower=lower)
    infinite, missing = int(np.isinf(found).sum()), int(np.isnan(found).sum())
    left = [f"{missing:,} without a number"] if missing else []
    left += [f"{infinite:,} not finite, taken as missing"] if infinite else []
    note = f"column {name or column!r}"
    return Imported(int(finite.sum()), None, matched.unknown, note, matched.said, (*_left_out(matched, taken), *left))


def import_embedding(
    store: Store, path: Path, *, name: str = "embedding", by: By | None = None, id_field: str | None = None
) -> Imported:
    """Take one vector an example: a .npy array in the corpus's order, or Parquet or JSON lines with a column of vectors.

    The vectors lie beside the store as a memory-mapped .npy file, a row a content, NaN where none is known.

    Raises:
        UsageError: the file cannot be read, is not (n, d), holds no finite vector, or its ids are not clear.
    """
    corpus = _corpus(store)
    if store.path is None:
        raise UsageError("A store in memory has no place for vectors.")
    vectors, columns, called = _vectors(path)
    named = next((one for one in id_fields(by, id_field) if one in columns.values), None)
    ids = None if named is None else texts(columns.values[named])
    names = Names(store, corpus, id_field, called=named)
    matched = _matched(names, path, columns, named, ids, by, frozenset({called}), n=len(vectors))
    taken = _one_each(names, matched, vectors, path, ids)
    found = np.asarray(vectors[taken.rows], dtype=np.float32)
    bad = ~np.isfinite(found).all(axis=1)
    if bad.all():
        raise UsageError(f"{path} holds no vector of finite numbers for an example of the corpus.")
    n = int(store.db.one("SELECT max(content) + 1 FROM contents"))
    pinned = _pinned(corpus, matched, names.id_field)
    identity = digest(["imported/2", name, sha256_of([path]), pinned])
    table = store.features.table(identity, n, vectors.shape[1])
    table[taken.contents[~bad]] = found[~bad]
    table.flush()
    store.features.register(name, identity, {"file": path.name} | pinned)
    left = (f"{int(bad.sum()):,} without a vector of finite numbers",) if bad.any() else ()
    note = f"{vectors.shape[1]} dimensions as {name!r}"
    kept = int((~bad).sum())
    return Imported(kept, None, matched.unknown, note, matched.said, _left_out(matched, taken) + left)


@dataclass(frozen=True, slots=True)
class _Taken:
    """Rows of a file that go into the store, one a content.

    Attributes:
        rows: int64 (m,), which rows of the file.
        contents: int64 (m,), the contents they are about, ascending.
        repeated: how many further rows say the same of an example that was there before.
        differing: how many texts stand in several records, with different numbers.
    """

    rows: Int64
    contents: Int64
    repeated: int
    differing: int


def _matched(
    names: Names,
    path: Path,
    columns: Columns,
    called: str | None,
    ids: Sequence[str | None] | None,
    by: By | None,
    values: frozenset[str],
    *,
    n: int | None = None,
) -> Named:
    """The corpus's rows that the rows of a file are about."""
    if called is None or ids is None:
        if by not in (None, "order"):
            raise UsageError(f"--by {by}: {path} has no column that names examples ({', '.join(id_fields(by, None))}).")
        length = n if n is not None else columns.rows if ids is None else len(ids)
        return names.in_order(length, columns, source=str(path), stated=by == "order", values=values)
    return names.find(ids, by, source=str(path), called=called)


def _one_each(
    names: Names, matched: Named, values: npt.NDArray[np.floating[Any]], path: Path, ids: Sequence[str | None] | None
) -> _Taken:
    """One row of the file a content: of records with the same text the first in the corpus counts.

    Raises:
        UsageError: two rows of the file are about one record and say different things.
    """
    rows = np.flatnonzero(matched.at >= 0)
    at = matched.at[rows]
    order = np.lexsort((rows, at))
    rows, at = rows[order], at[order]
    again = np.flatnonzero(at[1:] == at[:-1])
    differ = _differing(values, rows[again], rows[again + 1])
    if differ.any():
        one, other = (int(rows[again[np.argmax(differ)] + step]) for step in (0, 1))
        called = f"row {one}" if ids is None else repr(ids[one])
        told = f" ({values[one, 0]:g} and {values[other, 0]:g})" if values.shape[1] == 1 else ""
        raise UsageError(
            f"{path} names {called} more than once with different numbers{told}; {int(differ.sum()):,} such "
            f"{'pair' if differ.sum() == 1 else 'pairs'} in all. Keep one row an example, or take their mean first."
        )
    first = np.ones(len(rows), dtype=bool)
    first[again + 1] = False
    rows, contents = rows[first], names.rows.content[at[first]]
    lacking = ~np.isfinite(values[rows]).any(axis=1)
    order = np.lexsort((lacking, contents))  # stable: the corpus's order within
    rows, contents, lacking = rows[order], contents[order], lacking[order]
    twins = np.flatnonzero(contents[1:] == contents[:-1])
    unlike = contents[twins][_differing(values, rows[twins], rows[twins + 1]) & ~lacking[twins + 1]]
    kept = np.ones(len(rows), dtype=bool)
    kept[twins + 1] = False
    return _Taken(rows[kept], contents[kept], len(again), len(np.unique(unlike)))


def _differing(values: npt.NDArray[np.floating[Any]], one: Int64, other: Int64) -> npt.NDArray[np.bool_]:
    same = (values[one] == values[other]) | (np.isnan(values[one]) & np.isnan(values[other]))
    return np.asarray(~same.all(axis=1))


def _left_out(matched: Named, taken: _Taken) -> tuple[str, ...]:
    told = []
    if matched.unnamed:
        told.append(f"{matched.unnamed:,} rows without an id")
    if taken.repeated:
        told.append(f"{taken.repeated:,} rows that repeat another")
    if taken.differing:
        told.append(
            f"{taken.differing:,} texts stand in several records with different numbers: the first record's counts"
        )
    return tuple(told)


def _pinned(corpus: CorpusRecord, matched: Named, id_field: str) -> dict[str, Any]:
    """What the match depends on, for the identity of what is taken in."""
    return {"corpus": corpus.sha256, "by": matched.by} | ({"id_field": id_field} if matched.by == "id" else {})


def _corpus(store: Store) -> CorpusRecord:
    corpus = store.corpora.current()
    if corpus is None:
        raise UsageError("The store holds no corpus yet: read one first, for example with `rulesel score`.")
    return corpus


def _column(path: Path, columns: Columns, name: str) -> Float64:
    values, strange = numbers(columns.column(name, path))
    if strange.any():
        row = int(np.argmax(strange))
        cell = texts(columns.values[name])[row]
        if strange.sum() == len(values) - np.isnan(values).sum() + strange.sum():
            raise UsageError(f"{path}: column {name!r} holds no numbers; the first cell that is not empty is {cell!r}.")
        raise UsageError(
            f"{path}: column {name!r} holds {cell!r} in row {row + 1:,}, which is no number ({int(strange.sum()):,} such "
            "cells). Leave a cell empty where there is no number."
        )
    if np.isnan(values).all():
        raise UsageError(f"{path}: column {name!r} holds no numbers: every cell is empty.")
    return values


def _keep_ratings(
    store: Store,
    rules: Sequence[int],
    rater: int,
    contents: Int64,
    values: Float64,
    found: RatingsFile,
    taken: _Taken,
) -> None:
    status = found.status[taken.rows]
    for cells in store.ratings.missing(contents, rules, rater):
        at = np.searchsorted(contents, cells.contents)
        block = np.ix_(at, np.array([rules.index(rule) for rule in cells.rules]))
        ratings = Ratings(values[block].astype(np.float32), status[block])
        store.ratings.add(cells.contents, cells.rules, rater, "imported", ratings)


def _keep_column(
    store: Store, name: str, provenance: dict[str, Any], contents: Int64, values: Float64, *, lower: bool = False
) -> None:
    store.columns.add(
        name,
        digest(["imported/2", name, provenance, lower, store.corpora.hashes(contents), values.tolist()]),
        contents,
        values,
        direction="lower" if lower else "higher",
        provenance=provenance,
    )


def _rule_set(found: RatingsFile, rules: RuleSet | None, path: Path) -> RuleSet:
    if rules is None:
        return named_rules(found.names, origin=f"file:{path.name}")
    by_name = {rule.name: rule for rule in rules.rules}
    if found.names == [str(place + 1) for place in range(len(rules))] and not by_name.keys() & set(found.names):
        return rules
    strange = [name for name in found.names if name not in by_name]
    if strange:
        raise UsageError(
            f"{path}: the rule set has no rule named {strange[0]!r} ({len(strange):,} of {len(found.names):,} names are not "
            f"in it). It has: {', '.join(by_name)}."
        )
    return rules.model_copy(update={"rules": tuple(by_name[name] for name in found.names)})


def _scale(found: RatingsFile, path: Path) -> tuple[float, float]:
    top = float(np.nanmax(found.values, initial=0))
    high = next((one for one in TOPS if top <= one), math.nan)
    if math.isnan(high) or np.nanmin(found.values, initial=0) < 0:
        raise UsageError(
            f"{path}: ratings run from {np.nanmin(found.values):g} to {top:g}. Say the scale with --scale."
        )
    return 0.0, high


def _placeholder(store: Store, ids: Sequence[str]) -> CorpusRecord:
    """A corpus of ids without texts, for ratings that come alone."""
    incoming = store.corpora.begin(
        path="(ids only)", source_format="jsonl", shape="text", mapping={}, header=None, limit=None
    )
    records = [orjson.dumps({"id": one}) for one in ids]
    incoming.add(np.arange(len(ids)), [digest({"id": one}) for one in ids], [None] * len(ids), [""] * len(ids), records)
    return incoming.finish(sha256=digest(list(ids)), n_records=len(ids), skipped={})


def _vectors(path: Path) -> tuple[npt.NDArray[np.float32], Columns, str]:
    """Vectors (n, d), NaN where there is none, the columns beside them, and the name of the column they were in."""
    if path.suffix == ".npy":
        return _array(path), Columns({}), ""
    if path.suffix not in {".parquet", ".jsonl", ".ndjson"}:
        raise UsageError(f"{path}: give a .npy, .parquet or .jsonl file.")
    columns = read_columns(path)
    called = next((name for name in VECTOR_FIELDS if name in columns.values), None)
    if called is None:
        raise UsageError(f"{path} needs a column embedding or vector. It has: {', '.join(columns.values)}.")
    return _stacked(path, called, listed(columns.values[called])), columns, called


def _array(path: Path) -> npt.NDArray[np.float32]:
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"{path} is no .npy array of numbers: {error}.") from error
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu":
        kind = found.dtype if isinstance(found, np.ndarray) else type(found).__name__
        raise UsageError(f"{path} holds no plain array of numbers but {kind}. Save a float32 array of shape (n, d).")
    if found.ndim != 2 or not found.shape[1]:
        raise UsageError(f"{path} holds an array of shape {found.shape}; vectors are (n, d).")
    return found if found.dtype == np.float32 else _as_float32(found)


def _as_float32(found: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore", invalid="ignore"):
        return found.astype(np.float32)


def _stacked(path: Path, called: str, cells: list[Any]) -> npt.NDArray[np.float32]:
    """Lists of numbers as rows; a missing list, or a missing number in one, makes a row of NaN.

    Raises:
        UsageError: they differ in length, or something else than numbers is among them.
    """
    first = next(((row, one) for row, one in enumerate(cells) if isinstance(one, list | tuple | np.ndarray)), None)
    if first is None or not len(first[1]):
        raise UsageError(f"{path}: column {called!r} holds no lists of numbers.")
    begin, width = first[0], len(first[1])
    vectors = np.full((len(cells), width), np.nan, dtype=np.float32)
    for row, one in enumerate(cells):
        if one is None or (isinstance(one, float) and math.isnan(one)):
            continue
        if not isinstance(one, list | tuple | np.ndarray):
            raise UsageError(f"{path}: {called!r} of row {row + 1:,} is no list of numbers.")
        if len(one) != width:
            raise UsageError(
                f"{path}: {called!r} has {width} numbers in row {begin + 1:,} and {len(one)} in row {row + 1:,}. Vectors "
                "must be of one length."
            )
        if not all(isinstance(value, int | float) or value is None for value in one):
            raise UsageError(f"{path}: {called!r} of row {row + 1:,} holds something else than numbers.")
        vectors[row] = _as_float32(np.array([np.nan if value is None else value for value in one], dtype=np.float64))
    return vectors
