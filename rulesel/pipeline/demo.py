"""The whole chain on the bundled corpus, whose flaws are known, against random and longest, and its report."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from rulesel.config import RunConfig, check
from rulesel.extras import shipped
from rulesel.pipeline import Outcome, Watcher, run
from rulesel.pipeline.run_report import report
from rulesel.plugins import build
from rulesel.receipt import row_ids
from rulesel.records import Int64
from rulesel.reporting.run_figures import RunFigures
from rulesel.selection import Pool, Selector, choose
from rulesel.store import Store

DOMAIN = "general instructions for an everyday assistant"
K = 80


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo shows.

    Attributes:
        outcome: the run.
        flaws: the planted flaw of each row, None for a good one.
        kept: method -> planted flaws by kind among its K picks.
        figures: the figures of the report.
    """

    outcome: Outcome
    flaws: list[str | None]
    kept: dict[str, Counter[str]]
    figures: RunFigures


def demo(folder: Path, watcher: Watcher | None = None) -> Demo:
    """Run the chain in `folder`, which is made if need be, and count the planted flaws each method keeps."""
    folder.mkdir(parents=True, exist_ok=True)
    corpus = folder / "corpus.jsonl"
    shutil.copyfile(shipped("data") / "demo" / "corpus.jsonl", corpus)
    lines = (shipped("data") / "demo" / "truth.jsonl").read_bytes().splitlines()
    flaws: list[str | None] = [orjson.loads(line)["flaw"] for line in lines]
    values = {
        "corpus": {"path": str(corpus)},
        "domain": DOMAIN,
        "select": {"k": K},
        "out": str(folder / "selected.jsonl"),
        "store": str(folder / "demo.duckdb"),
    }
    config = check(RunConfig, values)
    outcome = run(config, watcher)
    found = outcome.scored
    rows = found.rows.row[found.pool]
    with Store(config.store_path, read_only=True) as store:
        lengths = store.corpora.lengths(found.rows.content[found.pool]).astype(np.float64)
        figures = report(outcome.receipt, store, flaws=dict(enumerate(flaws)))
    pool = Pool(n=len(found.pool), ids=row_ids(found.rows)[found.pool], columns={"length": lengths})
    picks: dict[str, Int64] = {"rulesel": outcome.selection.indices}
    for name in ("random", "longest"):
        picks[name] = choose(build("rulesel.selection", name, Selector, {}), pool, k=K).indices
    kept = {
        name: Counter(flaw for row in rows[indices].tolist() if (flaw := flaws[row]) is not None)
        for name, indices in picks.items()
    }
    return Demo(outcome, flaws, kept, figures)
