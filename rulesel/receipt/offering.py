"""From scores, columns and features to the rows picked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from rulesel.algorithms.given import Progress
from rulesel.algorithms.neighbors import unit_rows
from rulesel.config import SelectConfig
from rulesel.corpus import field_values
from rulesel.errors import UsageError
from rulesel.receipt.derive import Scored, row_ids, source_of
from rulesel.records import Float32, Float64, Int64, Selection
from rulesel.selection import Pool, choose
from rulesel.store import CorpusRecord, Store

CHARACTERS_PER_TOKEN = 4
"""For --max-tokens: an estimate, and called one wherever it is shown."""

FIELDS = frozenset(field.name for field in fields(Pool))


def selection_of(
    store: Store,
    select: SelectConfig,
    seed: int,
    corpus: CorpusRecord,
    found: Scored,
    *,
    features: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Selection:
    """The rows picked, as positions in `found.pool`.

    Args:
        store: where columns, texts' lengths and vectors come from.
        select: the method and how much to pick.
        seed: names every draw.
        corpus: whose rows these are.
        found: the pool with its scores.
        features: identities of the stored features that stand for the pool's "embeddings" and "tags"; written into
            the selection's report, from where `features_of` takes them again.
        progress: told (picked, k) now and then by methods that take long.

    Raises:
        UsageError: the method lacks something, or refuses its work.
    """
    contents = found.rows.content[found.pool]
    lengths = store.corpora.lengths(contents)
    selector = select.selector
    columns, turned = {"length": lengths.astype(np.float64)}, set()
    for name in selector.reads:
        if name not in FIELDS and name not in columns:
            values, direction = store.columns.read(name, contents)
            if direction != "higher":
                turned.add(name)
            columns[name] = -values if name in turned else values
    offered = Pool(
        n=len(found.pool),
        ids=row_ids(found.rows)[found.pool],
        quality=found.scores,
        columns=columns,
        token_counts=-(-lengths // CHARACTERS_PER_TOKEN),
        progress=progress,
        origin=found.rows.row[found.pool],
        turned=frozenset(turned),
        **_vectors(store, select, corpus, found, features or {}),
    )
    k = select.k if select.fraction is None else max(1, round(select.fraction * len(found.pool)))
    groups, per_group = None, None
    for field, per_group in select.per.items():  # noqa: B007 - at most one
        groups = field_of_pool(store, corpus, found, field)
    try:
        chosen = choose(
            selector,
            offered,
            k=k,
            max_tokens=select.max_tokens,
            threshold=-select.threshold if select.threshold is not None and found.turned else select.threshold,
            groups=groups,
            per_group=per_group,
            seed=seed,
        )
    except ValueError as error:
        raise UsageError(f"{select.method}: {error}") from error
    lost = int(np.isnan(found.scores).sum()) if select.needs_quality else 0
    told = {"without_score": lost} | ({"features": dict(features)} if features else {})
    return Selection(chosen.indices, chosen.keys, chosen.report | told)


def features_of(receipt: Mapping[str, Any]) -> dict[str, str]:
    """Identities of the features a selection was made with, by role, from its receipt."""
    return dict(receipt["selection"]["report"].get("features", {}))


def _vectors(
    store: Store, select: SelectConfig, corpus: CorpusRecord, found: Scored, features: Mapping[str, str]
) -> dict[str, Any]:
    """Embeddings and tags of the pool, as far as the method reads them."""
    reads = select.selector.reads
    given: dict[str, Any] = {}
    contents = found.rows.content[found.pool]
    if "embeddings" in features:
        given["embeddings"] = store.features.read(features["embeddings"], contents)
    if "tags" in features:
        label = store.features.read(features["tags"], contents)[:, 0]
        given["tags"] = [[] if np.isnan(one) else [int(one)] for one in label.tolist()]
        given["tag_embeddings"] = _centers(given["embeddings"], label)
    elif "tags" in reads and select.clusters is None:
        given["tags"] = [labels_of(value) for value in field_of_pool(store, corpus, found, select.tags)]
    return {name: value for name, value in given.items() if name in (*reads, "tag_embeddings")}


def labels_of(value: str | None) -> list[str]:
    """The labels a field's value holds: the entries of a JSON list, or the value itself."""
    if value is None or not value.strip():
        return []
    if value.lstrip().startswith("["):
        try:
            listed = json.loads(value)
        except ValueError:
            return [value]
        return [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in listed]
    return [value]


def field_of(store: Store, corpus: CorpusRecord, rows: Int64, field: str) -> list[str | None]:
    """The value of a field in each row of the pool, as text.

    Raises:
        UsageError: no record has it.
    """
    """The value of a field in some records of a corpus, as text; None where a record has none."""
    records = store.corpora.records(corpus.corpus, rows)
    return field_values(records, source_of(corpus).format, corpus.header, field)


def field_of_pool(store: Store, corpus: CorpusRecord, found: Scored, field: str) -> list[str | None]:
    """The value of a field in each row of the pool, as text.

    Raises:
        UsageError: no record has it.
    """
    values = field_of(store, corpus, found.rows.row[found.pool], field)
    if values and all(value is None for value in values):
        raise UsageError(f"No record of the corpus has a field {field!r}.")
    return values


def _centers(vectors: Float32, label: Float32) -> Float64:
    """Mean direction of the examples of each label, (labels, d)."""
    known = np.flatnonzero(~np.isnan(label))
    known = known[np.argsort(label[known], kind="stable")]
    labels, start = np.unique(label[known].astype(np.int64), return_index=True)
    centers = np.zeros((int(labels.max(initial=-1)) + 1, vectors.shape[1]))
    centers[labels] = np.add.reduceat(unit_rows(vectors[known], zero="isolate"), start, axis=0)
    return centers
