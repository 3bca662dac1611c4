"""compare: two selections side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rulesel.cli._output import as_json, echo

Opt = typer.Option
SETS = ("A", "B", "random", "longest")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(compare)


def compare(
    a: Annotated[
        str, typer.Argument(metavar="A", help="A file of selected records, its receipt, or a selection's id.")
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The other.")],
    store: Annotated[Path | None, Opt("--store", help="The store, if it is not where the receipt says.")] = None,
    source: Annotated[str | None, Opt(help="Field of the records that says where an example comes from.")] = None,
    json: Annotated[bool, Opt("--json", help="JSON for machines.")] = False,
) -> None:
    """Overlap, swaps, and shifts in length, source and score of two selections, beside random and longest."""
    from rulesel.cli._terminal import watching
    from rulesel.pipeline.comparing import compare as side_by_side
    from rulesel.pipeline.comparing import store_of
    from rulesel.store import Store

    with watching() as watcher, Store(store or store_of(a, b), must_exist=True) as opened:
        found = side_by_side(opened, a, b, source=source, watcher=watcher)
    if json:
        as_json(found)
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    from rulesel.cli._terminal import table

    for name, one in found["selections"].items():
        echo(f"{name}  {one['method']}, {one['n']:,} rows, {one['id'][:11]}")
    overlap = found["overlap"]
    echo(
        f"in both {overlap['both']:,}, only in A {overlap['only_A']:,}, only in B {overlap['only_B']:,} "
        f"(Jaccard {overlap['jaccard']:.3f})\n"
    )
    columns = [name for name in (*SETS, "pool") if name in found["shifts"]]
    rows = [
        (label, *(_number(found["shifts"][name][key], digits) for name in columns))
        for label, key, digits in (
            ("characters, mean", "mean_length", 0),
            ("characters, median", "median_length", 0),
            ("score, mean", "mean_score", 3),
        )
    ]
    for measure in found["measures"]["A"]:
        values = [_number(found["measures"][name][measure]) for name in SETS]
        if (spread := found["spread"].get(measure)) is not None:
            values[SETS.index("random")] += f" ±{_number(spread)}"
        rows.append((measure, *values, ""))
    if found["sources"]:
        shares = found["sources"]["shares"]
        for value in shares["pool"]:
            share = [f"{100 * shares[name][value]:.1f}%" for name in columns]
            rows.append((f"{found['sources']['field']} {value}"[:32], *share))
    table("", ("", *columns), rows, right=columns)
    for name in ("A", "B"):
        _swaps(name, found["swaps"][f"only_{name}"])


def _swaps(name: str, rows: list[dict[str, Any]]) -> None:
    from rulesel.cli._terminal import excerpt

    if rows:
        echo(f"\nbest of {name} that the other lacks")
    for row in rows:
        text = excerpt(row["response"] if row["prompt"] is None else f"{row['prompt']} → {row['response']}", 88)
        echo(f"  rank {row['rank']}, row {row['row']}, score {_number(row['score'])}: {text}")


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"
