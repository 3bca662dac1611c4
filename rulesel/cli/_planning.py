"""What `plan` prints."""

from __future__ import annotations

from typing import Any

from rulesel.cli._output import echo
from rulesel.cli._terminal import table

COLUMNS = ("stage", "model", "paid", "requests", "in", "cached", "out", "dollars", "hours")


def show_plan(found: Any) -> None:  # noqa: ANN401 - pipeline.planning.Plan, imported late
    """The bill by stage, its sum, and the first prompt that would be sent."""
    if not found.stages:
        echo("No request is sent: everything is rated on this machine, and nobody sends a bill.")
        return
    rows = []
    for stage in found.stages:
        left = ("0", *[""] * 5) if stage.quote is None else _amounts(stage.quote)
        rows.append((stage.stage, stage.model.rpartition("#")[2], f"{stage.paid:,}", *left))
    table("", COLUMNS, rows, right=COLUMNS[2:])
    dollars = "unknown" if found.dollars is None else _range(found.dollars)
    echo(f"\nrequests {found.calls:,} · dollars {dollars} · hours {_range(found.hours)}")
    echo("in, cached, out: tokens, likely; paid: answers the store has already, which cost nothing")
    if found.dollars is None:
        echo(
            "A price nobody knows is named in the config, for a million tokens: prices: {MODEL: {input: …, output: …}}"
        )
    asked = [stage for stage in found.stages if stage.quote is not None]
    first = next((stage for stage in asked if stage.stage != "write"), asked[0] if asked else None)
    if first is not None:
        note = "" if found.written else "; the rule is a stand-in, for none is written yet"
        echo(f"\nThe first request of stage {first.stage!r}, word for word{note}:\n\n{first.quote.first}")


def _amounts(quote: Any) -> tuple[str, ...]:  # noqa: ANN401 - llm.quote.Quote, imported late
    dollars = "unknown" if quote.dollars is None else f"{quote.dollars.likely:.2f}"
    tokens = (_count(r.likely) for r in (quote.prompt_tokens, quote.cached_tokens, quote.completion_tokens))
    return (f"{quote.calls:,}", *tokens, dollars, f"{quote.hours.likely:.2f}")


def _count(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f}{unit}"
    return f"{value:.0f}"


def _range(r: Any) -> str:  # noqa: ANN401 - llm.quote.Range, imported late
    return f"{r.likely:.2f} ({r.low:.2f} to {r.high:.2f})"
