"""run, plan, score, retry-failed, demo, init: the whole chain, and what it would cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rulesel.cli import _options as o
from rulesel.cli._output import as_json, echo

Opt = typer.Option


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (run, plan, score, demo, init):
        app.command()(command)
    app.command("retry-failed")(retry_failed)


@o.taking(o.CHAIN)
def run(
    corpus: o.CorpusArgument,
    k: Annotated[int | None, Opt("-k", help="How many examples to select.")] = None,
    fraction: Annotated[float | None, Opt(help="Select this share of the pool instead.")] = None,
    threshold: Annotated[float | None, Opt(help="Select only scores of at least this (standard deviations).")] = None,
    max_tokens: Annotated[int | None, Opt(help="Select until about this many tokens (4 characters each).")] = None,
    per: Annotated[str | None, Opt(metavar="FIELD=N", help="At most N for each value of a field.")] = None,
    method: Annotated[str | None, Opt(help="Selection method; see `rulesel catalog`.")] = None,
    param: Annotated[list[str] | None, Opt(metavar="NAME=VALUE", help="Parameter of the method.")] = None,
    out: Annotated[str | None, Opt("-o", "--out", callback=o.file_name, help="Where the selected records go.")] = None,
    as_: Annotated[
        str | None, Opt("--as", help="messages, alpaca or sharegpt instead of the records as they are.")
    ] = None,
    json: Annotated[bool, Opt("--json", help="Print the receipt as JSON.")] = False,
    **given: Any,  # noqa: ANN401 - what typer read
) -> None:
    """Read a corpus, choose rules, rate it, and select the best examples.

    The same command goes on after any interruption and pays for nothing twice.
    """
    from rulesel import config as configs
    from rulesel.cli._terminal import watching
    from rulesel.pipeline import run as run_pipeline

    over = o.scoring(given) | {
        "select": {
            "method": method,
            "parameters": o.parameters(param) or None,
            "k": k,
            "fraction": fraction,
            "threshold": threshold,
            "max_tokens": max_tokens,
            "per": o.quota(per),
        },
        "out": out,
        "as": as_,
    }
    config = configs.check(configs.RunConfig, {"select": {}} | configs.merged(o.base_of(corpus), over))
    with watching() as watcher:
        outcome = run_pipeline(config, watcher)
    show(outcome, json=json)


@o.taking(o.CHAIN)
def plan(corpus: o.CorpusArgument, json: o.AsJson = False, **given: Any) -> None:  # noqa: ANN401 - what typer read
    """What a run with these options would ask of models: requests, tokens, dollars, hours. Nothing is sent."""
    from rulesel.cli._planning import show_plan
    from rulesel.cli._terminal import watching
    from rulesel.pipeline.planning import plan as quote

    config = o.score_config(corpus, given)
    with watching() as watcher:
        found = quote(config, watcher)
    if json:
        as_json(found.as_dict())
    else:
        show_plan(found)


@o.taking(o.CHAIN)
def score(
    corpus: o.CorpusArgument,
    shard: Annotated[
        str | None, Opt(metavar="I/N", help="Rate what falls to worker I of N, into parts that `merge` takes.")
    ] = None,
    **given: Any,  # noqa: ANN401 - what typer read
) -> None:
    """Rate a corpus on chosen rules and leave the score in the store, for `select`.

    With --shard any number of processes share the work, on all machines that see the store's folder; then `rulesel
    merge`, and the same command without --shard.
    """
    from rulesel.cli._terminal import watching
    from rulesel.pipeline import score as score_corpus

    config = o.score_config(corpus, given)
    if shard is not None:
        rate_shard(config, shard)
        return
    with watching() as watcher:
        found = score_corpus(config, watcher)
    echo(f"{found.last_line}; store {config.store_path}")


def rate_shard(config: Any, shard: str) -> None:  # noqa: ANN401 - config.ScoreConfig, imported late
    """One worker's share of the corpus."""
    from rulesel.cli._terminal import watching
    from rulesel.engines import share_of
    from rulesel.errors import UsageError
    from rulesel.pipeline.shares import rate_share

    if config.engine != "local":
        raise UsageError("Either --shard or --engine ray: Ray hands out the shards itself.")
    share = share_of(shard)
    with watching() as watcher:
        found = rate_share(config, share, watcher)
    echo(f"{found.last_line}; then: rulesel merge --store {found.store}")


@o.taking(o.SPENDING)
def retry_failed(
    store: Annotated[Path, Opt("--store", help="The store file.")],
    kind: Annotated[
        list[str] | None, Opt(help="parse, range, refused, low_mass, cut_answer, timeout or http; may be repeated.")
    ] = None,
    forget: Annotated[bool, Opt("--forget", help="Only forget them; the same command as before asks again.")] = False,
    json: o.AsJson = False,
    **given: Any,  # noqa: ANN401 - what typer read
) -> None:
    """Ask again for the ratings and grades that failed, and go on with the last run."""
    from rulesel.cli._terminal import watching
    from rulesel.pipeline import Outcome
    from rulesel.pipeline.retrying import find_failures, go_on

    found = find_failures(store, kind or [], forget=forget)
    kinds = ", ".join(f"{name} {n:,}" for name, n in found.ratings.items()) or "none"
    echo(f"{'forgotten' if forget else 'failed'}: ratings: {kinds}; grades: {found.grades:,}", err=json)
    if forget or not found.total:
        return
    with watching() as watcher:
        outcomes = go_on(found, o.spending(given), watcher)
    for outcome in outcomes:
        if isinstance(outcome, Outcome):
            show(outcome, json=json)
        else:
            echo(outcome.last_line, err=json)


def demo(
    folder: Annotated[Path, Opt("--out", "-o", callback=o.file_name, help="Folder for the demo's files.")] = Path(
        "rulesel-demo"
    ),
) -> None:
    """The whole chain on bundled examples: no key, no network."""
    from rulesel.cli._demo import run_demo

    run_demo(folder)


def init(
    path: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("rulesel.yaml"),
    force: Annotated[bool, Opt("--force", help="Overwrite.")] = False,
) -> None:
    """Write a commented configuration file."""
    from rulesel.cli._init import write_config

    write_config(path, overwrite=force)
    echo(f"Wrote {path}. Edit it, then: rulesel run {path}")


def show(outcome: Any, *, json: bool) -> None:  # noqa: ANN401 - pipeline.Outcome, imported late
    """The chosen rules, the files, and the account of every row."""
    from rulesel.cli._terminal import table

    receipt = outcome.receipt
    if json:
        as_json(receipt)
        return
    rules = receipt["choice"]["rules"]
    table(
        "Chosen rules",
        ("#", "rule", "weight", "mean", "sd", "new"),
        [
            (i, r["name"], f"{r['weight']:.2f}", f"{r['mean']:.2f}", f"{r['sd']:.2f}", f"{r['residual']:.0%}")
            for i, r in enumerate(rules, 1)
        ],
        right=("#", "weight", "mean", "sd", "new"),
    )
    echo("new: share of the rule's variation that the rules above it do not already tell")
    out = receipt["recorded"]["output"]
    echo(
        f"\n{out}, {out}.scores.parquet, {out}.dropped.jsonl, {out}.receipt.json; store {receipt['recorded']['store']}"
    )
    ties = receipt["selection"]["report"].get("ties_at_cut", 0)
    if ties:
        echo(f"{ties:,} of the picks share their score with rows left out; content hashes decided among them")
    shortfall = receipt["selection"]["report"].get("shortfall", 0)
    if shortfall:
        echo(f"asked for {shortfall:,} more than the pool has with a score")
    echo(outcome.last_line)
