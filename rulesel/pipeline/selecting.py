"""A selection from the columns a store holds, without rating anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from rulesel import receipt as receipts
from rulesel.config import PickConfig, SelectConfig
from rulesel.corpus import check_output
from rulesel.errors import UnknownName, UsageError
from rulesel.pipeline.featuring import overlap
from rulesel.pipeline.limits import limits_of
from rulesel.pipeline.naming import which_column
from rulesel.pipeline.outputs import check_beside, fate_of, replacing, write_tables
from rulesel.pipeline.picking import picked
from rulesel.pipeline.watch import Watcher
from rulesel.records import Int64, Selection
from rulesel.store import CorpusRecord, Store


def select(config: PickConfig, watcher: Watcher | None = None, *, against: Sequence[str] = ()) -> dict[str, Any]:
    """Pick from the current corpus of a store by one of its columns; returns the receipt.

    Args:
        config: what to pick, and where to write it.
        watcher: told what happens.
        against: evaluation files; how many examples, and how many picks, share runs of 13 words with them is said and
            kept in the receipt, and the share of every example in the column `overlap`.

    Raises:
        UsageError: the store holds no corpus, no such column, or the output cannot be written.
        NothingSelected: no row is picked.
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
        path = Path(corpus.path)
        check_output(out, source.format, config.as_, shape=corpus.shape, corpus=path, header=corpus.header)
        check_beside(out, path, Path(config.store), *map(Path, against))
        names = store.columns.names()
        if config.select.quality not in (*names, SelectConfig.model_fields["quality"].default):
            raise UnknownName("column", config.select.quality, names)
        if config.select.needs_quality and (which := which_column(store, config.select.quality)):
            watcher.say(which)
        receipts.refuse_permuted(store, config.select.quality)
        found = receipts.from_column(store, config, corpus)
        selection = picked(store, config.select, config.seed, corpus, found, watcher)
        seen = {}
        if against:
            contents = found.rows.content[found.pool[selection.indices]]
            seen = {"overlap": _contamination(store, against, corpus, contents, watcher)}
        rows = found.rows.row[found.pool[selection.indices]]
        sha256 = receipts.write_records(out, store, config.as_, corpus, rows)
        fate = fate_of(found, selection)
        limits = limits_of(store, config.select, corpus, found, selection)
        tables = out.with_name(out.name + ".scores.parquet"), out.with_name(out.name + ".dropped.jsonl")
        write_tables(*tables, store, corpus, found, fate, [], limits, watcher)
        settings, output = receipts.pick_settings(config), (out.name, sha256)
        receipt = receipts.column_receipt(store, config, corpus, found, selection, settings=settings, output=output)
        receipt |= receipts.recorded(store, config, corpus, config.out, seen)
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
    _tell(config, selection, watcher)
    return receipt


def _contamination(
    store: Store, against: Sequence[str], corpus: CorpusRecord, picked: Int64, watcher: Watcher
) -> dict[str, Any]:
    """How many examples, and how many picks, share runs of words with evaluation files."""
    share, contents = overlap(store, against, corpus, watcher)
    touched = contents[np.nan_to_num(share) > 0]
    n = int(np.isin(picked, touched).sum())
    names = ", ".join(Path(path).name for path in against)
    watcher.say(f"overlap with {names}: {len(touched):,} of {len(contents):,} texts share a run of words, {n:,} picked")
    return {"against": [Path(path).name for path in against], "texts": len(touched), "picked": n}


def _tell(config: PickConfig, selection: Selection, watcher: Watcher) -> None:
    report, method = selection.report, config.select.method
    if report["without_score"]:
        watcher.say(f"{report['without_score']:,} examples have no {config.select.quality!r} and cannot be selected")
    if report.get("shortfall"):
        watcher.say(f"{method}: {report['shortfall']:,} rows fewer than asked for; its report in the receipt says more")
    if report.get("token_shortfall"):
        watcher.say(f"{method}: the picks have {report['token_shortfall']:,} tokens (estimated) fewer than asked for")
