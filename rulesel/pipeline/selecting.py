"""A selection from the columns a store holds, without rating anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson

from rulesel import receipt as receipts
from rulesel.config import PickConfig
from rulesel.corpus import check_output
from rulesel.errors import UsageError
from rulesel.pipeline.outputs import fate_of, replacing, write_tables
from rulesel.pipeline.watch import Watcher
from rulesel.store import Store


def select(config: PickConfig, watcher: Watcher | None = None) -> dict[str, Any]:
    """Pick from the current corpus of a store by one of its columns; returns the receipt.

    Raises:
        UsageError: the store holds no corpus, no such column, or the output cannot be written.
    """
    watcher = watcher or Watcher()
    if config.store is None:
        raise UsageError("Name the store to select from: --store FILE")
    out = Path(config.out)
    with Store(Path(config.store), must_exist=True) as store:
        corpus = store.corpora.current()
        if corpus is None:
            raise UsageError(f"{config.store} holds no corpus: `rulesel run` or `rulesel score` reads one.")
        source = receipts.source_of(corpus)
        check_output(out, source.format, config.as_, shape=corpus.shape, corpus=Path(corpus.path))
        found = receipts.from_column(store, config, corpus)
        selection = receipts.selection_of(store, config.select, config.seed, corpus, found)
        rows = found.rows.row[found.pool[selection.indices]]
        sha256 = receipts.write_records(out, store, config.as_, corpus, rows)
        fate = fate_of(found, selection)
        tables = out.with_name(out.name + ".scores.parquet"), out.with_name(out.name + ".dropped.jsonl")
        write_tables(*tables, store, corpus, found, fate, [], watcher)
        receipt = receipts.column_receipt(store, config, corpus, found, selection, output_sha256=sha256)
        store.selections.keep(
            receipt["selection"]["id"],
            receipt["run"],
            corpus.corpus,
            config.select.method,
            rows,
            selection.keys,
            receipt,
        )
    with replacing(out.with_name(out.name + ".receipt.json")) as file:
        file.write(orjson.dumps(receipt, option=orjson.OPT_INDENT_2) + b"\n")
    unscored = int(np.isnan(found.scores).sum())
    if unscored:
        watcher.say(f"{unscored:,} examples have no {config.select.quality!r} and cannot be selected")
    return receipt
