"""What `judge check` prints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rulesel.cli._output import echo
from rulesel.cli._terminal import excerpt, table

SHOWN = 50
"""Suspects listed; --json gives all."""


def show_agreements(found: Sequence[Any]) -> None:
    """Columns beside the gold, each measure with its interval."""
    columns = ("column", "n", "Spearman", "Kendall", "AUC", "kappa", "gold alone")
    rows = [
        (one.column, f"{one.agreement.n:,}", *map(_estimate, one.agreement[1:]), f"{one.gold_only:,}") for one in found
    ]
    table("", columns, rows, right=columns[1:])
    echo("95 % intervals; AUC for labels of two values; kappa, quadratically weighted, for grades on one scale")


def show_shifts(found: Sequence[Any]) -> None:
    """What the demand did to each rule."""
    columns = ("rule", "shift", "error", "examples", "")
    ordered = sorted(found, key=lambda one: -math.inf if math.isnan(one.shift) else one.shift, reverse=True)
    rows = [
        (one.rule, f"{one.shift:+.3f}", f"{one.error:.3f}", one.n, "gullible" if one.gullible else "")
        for one in ordered
    ]
    table(
        "Rise of the rating, from 0 to 1, when a demand for a high one is appended", columns, rows, right=columns[1:4]
    )
    gullible = sum(one.gullible for one in found)
    echo(f"{gullible} of {len(found)} rules rise by 0.05 or more, and by more than two standard errors")


def show_suspects(found: Sequence[Any]) -> None:
    """Documents that speak to the judge."""
    if found:
        rows = [(one.row, one.example_id[:11], excerpt(one.words, 100)) for one in found[:SHOWN]]
        table("", ("row", "example", "words"), rows, right=("row",))
    echo(f"{len(found):,} documents speak to the judge or hold control tokens; they are rated all the same")


def show_orders(found: Sequence[Any]) -> None:
    """Each rule document first and rule first."""
    columns = ("rule", "Spearman", "shift", "examples", "")
    rows = [
        (
            one.rule,
            "" if math.isnan(one.spearman) else f"{one.spearman:.2f}",
            "" if math.isnan(one.shift) else f"{one.shift:+.3f}",
            one.n,
            "hangs on the order" if one.doubtful else "",
        )
        for one in found
    ]
    table("Ratings document first beside rule first", columns, rows, right=columns[1:4])
    doubtful = sum(one.doubtful for one in found)
    echo(f"{doubtful} of {len(found)} rules rank the examples otherwise when they come first")


def show_drift(found: Sequence[Any]) -> None:
    """Rated again, arm by arm."""
    columns = ("rated", "largest difference", "other status")
    rows = [(one.arm, "" if math.isnan(one.largest) else f"{one.largest:.1e}", one.flipped) for one in found]
    table("The same ratings once more, on a scale from 0 to 1", columns, rows, right=columns[1:])


def _estimate(one: Any) -> str:  # noqa: ANN401 - algorithms.agreement.Estimate
    return "" if math.isnan(one.value) else f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})"
