"""What the demo prints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson

from rulesel.cli._output import echo
from rulesel.cli._terminal import excerpt, table, watching
from rulesel.cli.reports import write_report
from rulesel.cli.runs import show
from rulesel.pipeline.demo import Demo, K
from rulesel.pipeline.demo import demo as run

CONTENT = ("unsafe_advice", "wrong_answer")
"""Flaws that only a reader can see."""


def run_demo(folder: Path) -> None:
    """Run the chain on the bundled corpus and show what came of it."""
    with watching() as watcher:
        found = run(folder, watcher)
    echo("")
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
    page = folder / "report.html"
    write_report(page, found.figures)
    out = found.outcome.receipt["recorded"]["output"]
    echo(f"\nReport: {page} (scores, baselines, drift, rows to read, and the audit of the rules)")
    echo(f"Next: rulesel explain 0 --store {folder / 'demo.duckdb'}   ·   rulesel verify {out}.receipt.json")


def _flaws(found: Demo) -> None:
    kinds = sorted({flaw for flaw in found.flaws if flaw is not None})
    columns = ("flaw", "planted", *found.kept)

    def row(name: str, members: list[str]) -> tuple[object, ...]:
        planted = sum(found.flaws.count(kind) for kind in members)
        return (name, planted, *(sum(kept[kind] for kind in members) for kept in found.kept.values()))

    rows = [row(kind, [kind]) for kind in kinds]
    form = [kind for kind in kinds if kind not in CONTENT]
    rows += [("",) * len(columns), row("flaws of form", form), row("flaws of content", [*CONTENT]), row("all", kinds)]
    table(f"\nPlanted flaws among {K} picks of {len(found.flaws)}", columns, rows, right=columns[1:])
    echo(
        "`signals` measures form with SQL (length, repetition, truncation, refusals, format …). It cannot tell a wrong\n"
        "answer from a right one, and may even prefer it; a judge that reads (--judge MODEL) can."
    )
