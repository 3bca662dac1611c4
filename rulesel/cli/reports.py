"""rules audit, report: pages about a choice of rules and about a whole run."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rulesel.cli import _options as o
from rulesel.cli._output import echo, raw_json

Opt = typer.Option


def register(app: typer.Typer) -> None:
    """Add these commands; `rules` is a group by now."""
    app.command()(report)
    rules = next(group.typer_instance for group in app.registered_groups if group.name == "rules")
    assert rules is not None, "cli.rules registers first"
    rules.command()(audit)


def audit(
    store: Annotated[Path | None, Opt("--store", help="A store that holds ratings.")] = None,
    ratings: Annotated[
        Path | None, Opt(help="Or a file of ratings, whoever made them: Parquet, CSV, JSON Lines.")
    ] = None,
    rules: Annotated[str | None, Opt(help="With --ratings: the texts of the rules, a YAML file or pack:NAME.")] = None,
    gold: Annotated[str | None, Opt(help="A column that says how good some examples are, higher is better.")] = None,
    keep: Annotated[str | None, Opt("-r", "--keep", help="Rules to choose, or 'auto'.")] = None,
    judge: Annotated[str | None, Opt(help="With --store: whose ratings.")] = None,
    seed: Annotated[int, Opt(help="Names the resamples.")] = 0,
    out: Annotated[
        Path | None, Opt("-o", "--out", callback=o.file_name, help="Where the page goes; audit.html.")
    ] = None,
    json: Annotated[bool, Opt("--json", help="Print the figures as JSON; a page only with -o.")] = False,
) -> None:
    """What is to be known of a choice of rules, as one HTML page: correlations, worth, stability, warnings."""
    from rulesel.errors import UsageError
    from rulesel.pipeline.auditing import audit_ratings, audit_store
    from rulesel.pipeline.naming import which_column
    from rulesel.reporting.audit_page import audit_page, summary
    from rulesel.store import Store

    if (store is None) == (ratings is None):
        raise UsageError("Say what to audit: --store FILE or --ratings FILE, one of them.")
    if store is not None and rules is not None:
        raise UsageError("--rules goes with --ratings; a store knows its rules.")
    if ratings is not None and judge is not None:
        raise UsageError("--judge goes with --store; a file holds one rater's ratings.")
    size = _keep(keep)
    if ratings is not None:
        found = audit_ratings(ratings, rules=rules, gold=gold, keep=size, seed=seed)
    else:
        assert store is not None, "one of them was given"
        with Store(store, read_only=True) as opened:
            if gold and (which := which_column(opened, gold)):
                echo(which, err=True)
            found = audit_store(opened, judge=judge, gold=gold, keep=size, seed=seed)
    for column, why in found.skipped.items():
        echo(f"column {column!r} is no rule: {why}", err=json)
    if json:
        raw_json(found.figures.model_dump_json())
    if out is not None or not json:
        page = out or Path("audit.html")
        _write(page, audit_page(found.figures, made=_made()))
        echo(f"{page}: {found.about}", err=json)
    if not json:
        echo("\n".join(summary(found.figures)))
        for warning in found.figures.warnings:
            if warning.grave:
                echo(f"warning: {warning.text}")


def report(
    receipt: Annotated[Path, typer.Argument(help="The receipt of a run, or of a selection.")],
    store: Annotated[Path | None, Opt("--store", help="Its store, if it was moved.")] = None,
    out: Annotated[
        Path | None, Opt("-o", "--out", callback=o.file_name, help="Where the page goes; report.html.")
    ] = None,
    json: Annotated[bool, Opt("--json", help="Print the figures as JSON; a page only with -o.")] = False,
) -> None:
    """A whole run as one HTML page: scores, baselines, drift, rows to read, agreement, cost, and the rules' audit."""
    from rulesel.pipeline.run_report import report_file
    from rulesel.reporting.run_page import summary

    figures = report_file(receipt, store)
    if json:
        raw_json(figures.model_dump_json())
    if out is not None or not json:
        page = out or Path("report.html")
        write_report(page, figures)
        echo(f"{page}: {figures.selected:,} of {figures.rows:,} examples", err=json)
    if not json:
        echo("\n".join(summary(figures)))


def write_report(path: Path, figures: Any) -> None:  # noqa: ANN401 - reporting's RunFigures, imported late
    """Write the page of a run's figures."""
    from rulesel.reporting.run_page import run_page

    _write(path, run_page(figures, made=_made()))


def _keep(keep: str | None) -> int | Literal["auto"] | None:
    from rulesel.errors import UsageError

    if keep is None:
        return None
    if keep == "auto":
        return "auto"
    if keep.isdigit() and int(keep):
        return int(keep)
    raise UsageError(f"-r {keep}: give a number of rules of at least 1, or 'auto'.")


def _write(path: Path, page: str) -> None:
    from rulesel.errors import UsageError
    from rulesel.pipeline.outputs import replacing

    try:
        with replacing(path) as file:
            file.write(page.encode())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}.") from error


def _made() -> str:
    from rulesel import __version__

    return f"{datetime.now().astimezone():%Y-%m-%d %H:%M}, rulesel {__version__}"
