"""What can be known of a run before anything is rated, so that no mistake is found out after it was paid for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rulesel.config import ScoreConfig, SelectConfig
from rulesel.errors import RuleselError, UnknownName, UsageError
from rulesel.features.embedding import Embedding
from rulesel.pipeline.featuring import check_labels, stored_embedding
from rulesel.pipeline.watch import Watcher
from rulesel.receipt import Evidence, Rated, choice_of, pool_of
from rulesel.receipt.offering import FIELDS, field_of
from rulesel.records import Float64, Int64, RuleSet
from rulesel.selection import Pool, choose
from rulesel.store import CorpusRecord, Store

MADE_BY_RUN = frozenset({"length", "score"})
"""Columns that a run brings itself."""

BLOCK = 1024
"""Records searched together for one that has a field."""

REHEARSED = 64
"""Rows a method is tried on."""

WIDTH = 384
"""Numbers in an embedding, where it is not there yet."""


def check_selection(
    store: Store, select: SelectConfig, corpus: CorpusRecord, duplicates: str, seed: int, watcher: Watcher
) -> None:
    """Check all that a selection needs except the scores: fields, columns, vectors, rows named, the method itself.

    Raises:
        UsageError: the selection would fail, whatever the scores turn out to be.
    """
    selector = select.selector
    rows = store.corpora.rows(corpus.corpus)
    offered = rows.row[pool_of(rows, duplicates)]
    for field in select.per:
        _check_field(store, corpus, offered, field)
    if "tags" in selector.reads and select.clusters is None:
        check_labels(store, corpus, select.tags)
    if "embeddings" in selector.reads or ("tags" in selector.reads and select.clusters is not None):
        _check_embedding(store, select.embedding)
    for name in selector.reads:
        if name not in FIELDS | MADE_BY_RUN:
            check_column(store, name)
    k = len(offered) if select.k is None else select.k
    if k > len(offered):
        watcher.say(f"asked for {k:,} of {len(offered):,} examples: at most those can be selected")
    try:
        if select.threshold is None and not select.per:  # they cut the pool down
            selector.check(len(offered), min(k, len(offered)), WIDTH)
        _rehearse(select, offered, seed)
    except ValueError as error:
        raise UsageError(f"{select.method}: {error}") from error


def check_choice(config: ScoreConfig, rule_set: RuleSet) -> None:
    """Try the choice of rules on made-up ratings, so that names, sizes and settings that do not fit are found.

    Raises:
        UsageError: the choice would fail, whatever the ratings turn out to be.
    """
    count = len(rule_set)
    n = max(REHEARSED, 3 * count)
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(n, 1)) + rng.normal(size=(n, count))).astype(np.float32)
    made_up = Rated(np.arange(n), list(range(count)), values, np.zeros((n, count), dtype=np.uint8))
    try:
        choice_of(config, rule_set, made_up, Evidence())
    except RuleselError as error:
        raise UsageError(str(error)) from error


def check_column(store: Store, name: str) -> None:
    """Raise UnknownName if the store holds no such column."""
    if name not in store.columns.names():
        raise UnknownName("column", name, store.columns.names())


def check_reference(name: str, values: Float64) -> None:
    """Refuse a column that cannot tell good examples from others.

    Raises:
        UsageError: none of the examples has a number, or all have the same one.
    """
    known = np.unique(values[~np.isnan(values)])
    if not len(known):
        raise UsageError(f"The column {name!r} has no number for any of the {len(values):,} examples.")
    if len(known) == 1:
        raise UsageError(
            f"The column {name!r} is {abs(known[0]):g} wherever it is known: it tells no example from another."
        )


def _check_field(store: Store, corpus: CorpusRecord, rows: Int64, field: str) -> None:
    for start in range(0, len(rows), BLOCK):
        if any(value is not None for value in field_of(store, corpus, rows[start : start + BLOCK], field)):
            return
    raise UsageError(f"No record of the corpus has a field {field!r}.")


def _check_embedding(store: Store, named: str | None) -> None:
    if named in {None, "projection"}:
        return
    if Path(str(named)).expanduser().is_dir():
        Embedding(model=named).check()
    else:
        stored_embedding(store, str(named))


def _rehearse(select: SelectConfig, offered: Int64, seed: int) -> None:
    """Run the method on few rows, those its parameters name among them, and made-up numbers."""
    selector = select.selector
    first = getattr(selector, "first", None)
    named = np.unique([*selector.given, *([] if first is None else [first])]).astype(np.int64)
    strange = np.setdiff1d(named, offered)
    if len(strange):
        raise ValueError(f"row {strange[0]} is named, which is not among the {len(offered):,} rows offered")
    rows = np.union1d(named, offered[:REHEARSED])
    rng = np.random.default_rng(0)
    numbers = rng.uniform(1.0, 2.0, len(rows))
    pool = Pool(
        n=len(rows),
        ids=rows.astype(np.uint64),
        quality=numbers,
        embeddings=rng.normal(size=(len(rows), 16)).astype(np.float32),
        tags=[[i % 5] for i in range(len(rows))],
        tag_embeddings=rng.normal(size=(5, 16)).astype(np.float32),
        columns={name: numbers for name in selector.reads if name not in FIELDS},
        token_counts=np.ones(len(rows), dtype=np.int64),
        origin=rows,
    )
    choose(selector, pool, k=min(8, len(rows) - len(selector.given)), seed=seed)
