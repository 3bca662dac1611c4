"""Two selections side by side, and beside random and longest of the same size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rulesel.config import SelectConfig
from rulesel.corpus import field_values
from rulesel.errors import CorpusError, UsageError
from rulesel.evaluation.subset import Measured, Yardstick, averaged, baselines
from rulesel.pipeline.featuring import embedding_of
from rulesel.pipeline.run_report import SOURCE_FIELDS
from rulesel.pipeline.watch import Watcher
from rulesel.receipt import as_json, features_of, permuted_column, pool_of, read_receipt, row_ids, source_of, store_path
from rulesel.records import Float32, Float64, Int64
from rulesel.selection import Pool
from rulesel.store import CorpusRecord, Rows, Store

SWAPS = 5
WORDS = ("ttr", "mtld")
"""Measures that need no vectors."""
SOURCES = 10
"""Sources shown, the most frequent of the pool."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A selection as the store holds it.

    Attributes:
        selection: its id.
        rows: positions among the rows compared, best first.
        receipt: how it was made.
    """

    selection: str
    rows: Int64
    receipt: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Compared:
    """The rows that two selections were made from: of one corpus in its order, or of two, each example once.

    Attributes:
        corpora: the corpus of A, and that of B if it is another.
        corpus: int64 (N,), which of them each row is of.
        rows: the rows.
    """

    corpora: tuple[CorpusRecord, ...]
    corpus: Int64
    rows: Rows


@dataclass(frozen=True, slots=True)
class _Pool:
    """What is known of every row compared, in the same order."""

    offered: Pool
    contents: Int64
    vectors: Float32
    scores: Float64
    sources: tuple[str, list[str]] | None
    partly: bool
    """Two corpora, one of which has no vectors: sets with such rows are not measured by vectors."""


def compare(
    store: Store, a: str, b: str, *, source: str | None = None, watcher: Watcher | None = None
) -> dict[str, Any]:
    """How two selections differ. Those of two corpora are matched by content: the same example is the same row.

    Args:
        store: open for writing: an embedding is computed where there is none.
        a: a file of selected records, its receipt, or a selection's id or its beginning.
        b: the other one.
        source: field of the records that says where an example comes from; one named for it where None.
        watcher: told what takes time.

    Returns:
        JSON values: `selections`, `overlap`, `swaps` (the best of each that the other lacks), `shifts` (length and score
        by set) and `sources` (shares by set), `measures` (diversity and coverage by set), `spread` (of random).

    Raises:
        UsageError: the store does not know them.
    """
    watcher = watcher or Watcher()
    compared, one, other = _both(store, a, b)
    if len(compared.corpora) > 1:
        watcher.say("The selections are of two corpora: rows are matched by content.")
    pool = _pool(store, compared, one, other, source, watcher)
    sets = {"A": [one.rows], "B": [other.rows]} | baselines(pool.offered, len(one.rows))
    yardstick = Yardstick(pool.vectors)
    numbers = {
        name: averaged([_measured(store, yardstick, pool, rows) for rows in draws]) for name, draws in sets.items()
    }
    shared = np.intersect1d(one.rows, other.rows)
    union = len(one.rows) + len(other.rows) - len(shared)
    found: dict[str, Any] = as_json(
        {
            "selections": {"A": _named(one), "B": _named(other)},
            "overlap": {
                "both": len(shared),
                "only_A": len(one.rows) - len(shared),
                "only_B": len(other.rows) - len(shared),
                "jaccard": len(shared) / union if union else 1.0,
            },
            "swaps": {
                "only_A": _swaps(store, compared, pool, one.rows, shared),
                "only_B": _swaps(store, compared, pool, other.rows, shared),
            },
            "shifts": _shifts(pool, sets),
            "sources": _shares(pool, sets),
            "measures": {name: dict(found.values) for name, found in numbers.items()},
            "spread": dict(numbers["random"].spread),
        }
    )
    return found


def store_of(a: str, b: str) -> Path:
    """The store that a receipt among the two names, where none is given.

    Raises:
        UsageError: neither is a receipt, or its store is not where it was.
    """
    for name in (a, b):
        path = _file(name)
        if path is not None:
            place = store_path(read_receipt(path), path)
            if not place.exists():
                raise UsageError(f"The store {place} is not there: name it with --store.")
            return place
    raise UsageError("Name the store with --store, or give receipts instead of ids.")


def _file(name: str) -> Path | None:
    """The receipt file that a name stands for: itself, or the one beside the records; None for an id."""
    path = Path(name)
    beside = path.with_name(path.name + ".receipt.json")
    return (beside if beside.is_file() else path) if path.is_file() else None


def _both(store: Store, a: str, b: str) -> tuple[_Compared, Chosen, Chosen]:
    numbers, picked, selections = [], [], []
    for name in (a, b):
        path = _file(name)
        selection = store.selections.find(name if path is None else str(read_receipt(path)["selection"]["id"]))
        number, rows = store.selections.rows(selection)
        numbers.append(number)
        picked.append(rows)
        selections.append(selection)
    compared = _compared(store, *numbers)
    places = []
    for number, rows in zip(numbers, picked, strict=True):
        every = store.corpora.rows(number)
        at = np.searchsorted(every.row, rows)
        places.append(_places(compared.rows, every.content[at], _counted(every.content[at])))
    one, other = (
        Chosen(selection, place, store.selections.receipt(selection))
        for selection, place in zip(selections, places, strict=True)
    )
    return compared, one, other


def _compared(store: Store, a: int, b: int) -> _Compared:
    """Every row of the corpus of A, and those of the corpus of B whose examples it lacks."""
    first = store.corpora.rows(a)
    if a == b:
        return _Compared((store.corpora.get(a),), np.zeros(len(first), dtype=np.int64), first)
    second = store.corpora.rows(b)
    new = _places(first, second.content, second.occurrence) < 0
    rows = Rows(*(np.concatenate([getattr(first, f.name), getattr(second, f.name)[new]]) for f in fields(Rows)))
    corpus = np.repeat(np.arange(2), [len(first), int(new.sum())])
    return _Compared((store.corpora.get(a), store.corpora.get(b)), corpus, rows)


def _counted(contents: Int64) -> Int64:
    """How many times each content came before: of records with the same text it does not matter which was picked."""
    seen: Counter[int] = Counter()
    counts = []
    for content in contents.tolist():
        counts.append(seen[content])
        seen[content] += 1
    return np.array(counts, dtype=np.int64)


def _places(rows: Rows, contents: Int64, occurrences: npt.NDArray[np.integer[Any]]) -> Int64:
    """Where examples stand among rows; -1 for those that are not there."""
    place = {key: at for at, key in enumerate(zip(rows.content.tolist(), rows.occurrence.tolist(), strict=True))}
    wanted = zip(contents.tolist(), occurrences.tolist(), strict=True)
    return np.fromiter((place.get(key, -1) for key in wanted), dtype=np.int64, count=len(contents))


def _pool(store: Store, compared: _Compared, one: Chosen, other: Chosen, source: str | None, watcher: Watcher) -> _Pool:
    rows = compared.rows
    features = [features_of(chosen.receipt).get("embeddings") for chosen in (one, other)]
    embedding = next(filter(None, features), None)
    embedding = embedding or embedding_of(store, SelectConfig(k=1), compared.corpora[0], watcher)
    scores = _scores(store, one.receipt, rows.content)
    duplicates = one.receipt["config"]["duplicates"]
    left_out = np.setdiff1d(np.arange(len(rows)), pool_of(rows, duplicates))
    lengths = store.corpora.lengths(rows.content)
    offered = Pool(n=len(rows), ids=row_ids(rows), columns={"length": lengths.astype(np.float64)}, given=left_out)
    vectors = store.features.read(embedding, rows.content)
    partly = len(compared.corpora) > 1 and bool(np.isnan(vectors).any())
    if partly:
        watcher.say("The vectors are of one of the corpora: sets with rows of the other are not measured by vectors.")
    return _Pool(offered, rows.content, vectors, scores, _sources(store, compared, source), partly)


def _scores(store: Store, receipt: Mapping[str, Any], contents: Int64) -> Float64:
    """What the rows of a selection were scored by: the run's own scores, or the column; NaN where it is not there."""
    if (identity := receipt.get("scores")) is not None:
        return store.columns.read_identity("score", identity, contents)
    column = receipt["config"]["select"]["quality"]
    if column not in store.columns.names() or permuted_column(store, column):
        return np.full(len(contents), np.nan)
    values, direction = store.columns.read(column, contents)
    return values if direction == "higher" else -values


def _measured(store: Store, yardstick: Yardstick, pool: _Pool, rows: Int64) -> Measured:
    texts = store.corpora.texts(pool.contents[rows])
    responses = [texts[content][1] for content in pool.contents[rows].tolist()]
    found = yardstick.measure(rows, responses)
    if pool.partly and np.isnan(pool.vectors[rows]).any():
        return Measured({name: v if name in WORDS else np.nan for name, v in found.values.items()}, found.spread)
    return found


def _named(chosen: Chosen) -> dict[str, Any]:
    method = chosen.receipt["selection"]["method"]
    return {"id": chosen.selection, "n": len(chosen.rows), "method": method["name"], "parameters": method}


def _swaps(store: Store, compared: _Compared, pool: _Pool, rows: Int64, shared: Int64) -> list[dict[str, Any]]:
    """The best rows of a set that are not shared."""
    ranks = np.flatnonzero(~np.isin(rows, shared))[:SWAPS]
    texts = store.corpora.texts(pool.contents[rows[ranks]])
    told = []
    for rank, row in zip(ranks.tolist(), rows[ranks].tolist(), strict=True):
        number, corpus = int(compared.rows.row[row]), compared.corpora[compared.corpus[row]]
        (identity,) = store.corpora.ids(corpus.corpus, np.array([number]))
        prompt, response = texts[int(pool.contents[row])]
        told.append(
            {
                "rank": rank + 1,
                "id": identity,
                "row": number,
                "score": pool.scores[row],
                "prompt": prompt,
                "response": response,
            }
        )
    return told


def _shifts(pool: _Pool, sets: Mapping[str, Sequence[Int64]]) -> dict[str, dict[str, float]]:
    """Mean and median length in characters and mean score of every set and of the pool."""
    found = {}
    every = np.setdiff1d(np.arange(pool.offered.n), pool.offered.given)
    for name, draws in {**sets, "pool": [every]}.items():
        rows = np.concatenate(draws)
        length, score = pool.offered.columns["length"][rows], pool.scores[rows]
        known = score[~np.isnan(score)]
        found[name] = {
            "mean_length": _mean(length),
            "median_length": float(np.median(length)) if len(length) else np.nan,
            "mean_score": _mean(known),
        }
    return found


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _sources(store: Store, compared: _Compared, source: str | None) -> tuple[str, list[str]] | None:
    """The field that says where examples come from, and each row's value."""
    for field in SOURCE_FIELDS if source is None else (source,):
        values: list[str | None] = []
        try:
            for number, corpus in enumerate(compared.corpora):
                rows = compared.rows.row[compared.corpus == number]
                records = store.corpora.records(corpus.corpus, rows)
                values += field_values(records, source_of(corpus).format, corpus.header, field)
        except CorpusError:
            if source is not None:
                raise
            continue
        if any(values):
            return field, [value or "not said" for value in values]
    if source is not None:
        raise UsageError(f"No record has a field {source!r}.")
    return None


def _shares(pool: _Pool, sets: Mapping[str, Sequence[Int64]]) -> dict[str, Any] | None:
    """Share of each source in every set and in the pool."""
    if pool.sources is None:
        return None
    field, values = pool.sources
    every = np.setdiff1d(np.arange(pool.offered.n), pool.offered.given)
    counts = {
        name: Counter(values[row] for row in np.concatenate(draws).tolist())
        for name, draws in {**sets, "pool": [every]}.items()
    }
    shown = [value for value, _ in counts["pool"].most_common(SOURCES)]
    shares = {name: {value: count[value] / max(count.total(), 1) for value in shown} for name, count in counts.items()}
    return {"field": field, "shares": shares}
