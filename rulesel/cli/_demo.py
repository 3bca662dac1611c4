"""What the demo prints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import typer

from rulesel.cli._terminal import excerpt, table, watching
from rulesel.cli.runs import show
from rulesel.pipeline.demo import Demo, K
from rulesel.pipeline.demo import demo as run


def run_demo(folder: Path) -> None:
    """Run the chain on the bundled corpus and show what came of it."""
    with watching() as watcher:
        found = run(folder, watcher)
    typer.echo("")
    show(found.outcome, json=False)
    scores = found.outcome.scored
    order = np.argsort(-scores.scores, kind="stable")
    lines = (folder / "corpus.jsonl").read_bytes().splitlines()
    for title, part in (("Ten best by score", order[:10]), ("Ten worst", order[::-1][:10])):
        rows = []
        for i in part.tolist():
            row = int(scores.rows.row[scores.pool[i]])
            record = orjson.loads(lines[row])
            task = excerpt(record["instruction"], 40)
            rows.append((f"{scores.scores[i]:.2f}", found.flaws[row] or "good", task, excerpt(record["output"], 60)))
        table(f"\n{title}", ("score", "truth", "instruction", "output"), rows, right=("score",))
    _flaws(found)
    out = found.outcome.receipt["output"]["path"]
    typer.echo(f"\nNext: rulesel explain 0 --store {folder / 'demo.duckdb'}   ·   rulesel verify {out}.receipt.json")


def _flaws(found: Demo) -> None:
    planted = sum(flaw is not None for flaw in found.flaws)
    kinds = sorted({flaw for flaw in found.flaws if flaw is not None})
    columns = ("flaw", "planted", *found.kept)
    rows = [(kind, found.flaws.count(kind), *(kept[kind] for kept in found.kept.values())) for kind in kinds]
    rows.append(("all", planted, *(sum(kept.values()) for kept in found.kept.values())))
    table(f"\nPlanted flaws among {K} picks of {len(found.flaws)}", columns, rows, right=columns[1:])
    typer.echo(
        "`signals` measures form with SQL (length, repetition, truncation, refusals, format …): it cannot tell a wrong\n"
        "answer from a right one. A judge that reads (`--judge MODEL`) can."
    )
