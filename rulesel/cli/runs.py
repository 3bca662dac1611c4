"""run, demo, init: the whole chain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

Opt = typer.Option


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(run)
    app.command()(score)
    app.command()(demo)
    app.command()(init)


def run(
    corpus: Annotated[
        str, typer.Argument(help="Corpus (JSONL, CSV, Parquet, dataset directory, '-') or a rulesel.yaml.")
    ],
    domain: Annotated[str | None, Opt(help="What the examples are for, in a sentence.")] = None,
    k: Annotated[int | None, Opt("-k", help="How many examples to select.")] = None,
    fraction: Annotated[float | None, Opt(help="Select this share of the pool instead.")] = None,
    threshold: Annotated[float | None, Opt(help="Select only scores of at least this.")] = None,
    max_tokens: Annotated[int | None, Opt(help="Select until about this many tokens (4 characters each).")] = None,
    per: Annotated[str | None, Opt(metavar="FIELD=N", help="At most N for each value of a field.")] = None,
    judge: Annotated[str | None, Opt(help="Who rates: signals, or a model.")] = None,
    sample_judge: Annotated[str | None, Opt(help="Who rates the sample, if somebody else.")] = None,
    rules: Annotated[str | None, Opt(help="Rules: a YAML file or pack:NAME.")] = None,
    sample: Annotated[int | None, Opt(help="Examples rated on every rule, to choose rules by.")] = None,
    keep: Annotated[str | None, Opt("-r", "--keep", help="Rules to keep, or 'auto'.")] = None,
    method: Annotated[str | None, Opt(help="Selection method; see `rulesel catalog`.")] = None,
    param: Annotated[list[str] | None, Opt(metavar="NAME=VALUE", help="Parameter of the method.")] = None,
    out: Annotated[str | None, Opt("-o", "--out", help="Where the selected records go.")] = None,
    as_: Annotated[
        str | None, Opt("--as", help="messages, alpaca or sharegpt instead of the records as they are.")
    ] = None,
    store: Annotated[str | None, Opt(help="The store; <corpus>.duckdb if not named.")] = None,
    seed: Annotated[int | None, Opt(help="Names every draw.")] = None,
    limit: Annotated[int | None, Opt(help="Read at most this many examples.")] = None,
    duplicates: Annotated[str | None, Opt(help="keep-first or keep-all.")] = None,
    coverage: Annotated[float | None, Opt(help="Least share of the rules that must be rated.")] = None,
    max_failed: Annotated[float | None, Opt(help="Largest share of ratings that may fail.")] = None,
    prompt_field: Annotated[str | None, Opt(help="Field of the prompt.")] = None,
    response_field: Annotated[str | None, Opt(help="Field of the response.")] = None,
    text_field: Annotated[str | None, Opt(help="Field of plain text.")] = None,
    json: Annotated[bool, Opt("--json", help="Print the receipt as JSON.")] = False,
) -> None:
    """Read a corpus, choose rules, rate it, and select the best examples.

    The same command goes on after any interruption and pays for nothing twice.
    """
    from rulesel import config as configs
    from rulesel.cli._terminal import watching
    from rulesel.pipeline import run as run_pipeline

    is_config = Path(corpus).suffix in {".yaml", ".yml"}
    base = configs.load(Path(corpus)) if is_config else {"corpus": {"path": corpus}}
    over: dict[str, Any] = {
        "corpus": {
            "prompt_field": prompt_field,
            "response_field": response_field,
            "text_field": text_field,
            "limit": limit,
        },
        "duplicates": duplicates,
        "domain": domain,
        "judge": judge,
        "sample_judge": sample_judge,
        "rules": {"source": rules, "sample": sample, "keep": _keep(keep)},
        "select": {
            "method": method,
            "parameters": parameters(param) or None,
            "k": k,
            "fraction": fraction,
            "threshold": threshold,
            "max_tokens": max_tokens,
            "per": quota(per),
        },
        "coverage": coverage,
        "seed": seed,
        "out": out,
        "as": as_,
        "store": store,
        "max_failed": max_failed,
    }
    config = configs.check(configs.RunConfig, {"select": {}} | configs.merged(base, over))
    with watching() as watcher:
        outcome = run_pipeline(config, watcher)
    show(outcome, json=json)


def score(
    corpus: Annotated[str, typer.Argument(help="Corpus (JSONL, CSV, Parquet, dataset directory, '-').")],
    domain: Annotated[str | None, Opt(help="What the examples are for, in a sentence.")] = None,
    judge: Annotated[str | None, Opt(help="Who rates: signals, or a model.")] = None,
    sample_judge: Annotated[str | None, Opt(help="Who rates the sample, if somebody else.")] = None,
    rules: Annotated[str | None, Opt(help="Rules: a YAML file or pack:NAME.")] = None,
    sample: Annotated[int | None, Opt(help="Examples rated on every rule, to choose rules by.")] = None,
    keep: Annotated[str | None, Opt("-r", "--keep", help="Rules to keep, or 'auto'.")] = None,
    store: Annotated[str | None, Opt(help="The store; <corpus>.duckdb if not named.")] = None,
    seed: Annotated[int | None, Opt(help="Names every draw.")] = None,
    limit: Annotated[int | None, Opt(help="Read at most this many examples.")] = None,
    coverage: Annotated[float | None, Opt(help="Least share of the rules that must be rated.")] = None,
    max_failed: Annotated[float | None, Opt(help="Largest share of ratings that may fail.")] = None,
    prompt_field: Annotated[str | None, Opt(help="Field of the prompt.")] = None,
    response_field: Annotated[str | None, Opt(help="Field of the response.")] = None,
    text_field: Annotated[str | None, Opt(help="Field of plain text.")] = None,
) -> None:
    """Rate a corpus on chosen rules and leave the score in the store, for `select`."""
    from rulesel import config as configs
    from rulesel.cli._terminal import watching
    from rulesel.pipeline import score as score_corpus

    fields: dict[str, Any] = {"prompt_field": prompt_field, "response_field": response_field, "text_field": text_field}
    values = {
        "corpus": {"path": corpus, "limit": limit} | fields,
        "domain": domain,
        "judge": judge,
        "sample_judge": sample_judge,
        "rules": {"source": rules, "sample": sample, "keep": _keep(keep)},
        "store": store,
        "seed": seed,
        "coverage": coverage,
        "max_failed": max_failed,
    }
    config = configs.check(configs.ScoreConfig, configs.merged({}, values))
    with watching() as watcher:
        found = score_corpus(config, watcher)
    n = len(found.scored.scores)
    unscored = int((found.scored.scores != found.scored.scores).sum())
    typer.echo(
        f"{n - unscored:,} of {n:,} examples scored on {len(found.choice.indices)} rules; store {config.store_path}"
    )


def demo(
    folder: Annotated[Path, Opt("--out", "-o", help="Folder for the demo's files.")] = Path("rulesel-demo"),
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
    typer.echo(f"Wrote {path}. Edit it, then: rulesel run {path}")


def parameters(given: list[str] | None) -> dict[str, Any]:
    """NAME=VALUE options as values: numbers, true/false and null as YAML reads them."""
    import yaml

    from rulesel.errors import UsageError

    found: dict[str, Any] = {}
    for one in given or []:
        name, sign, value = one.partition("=")
        if not sign or not name:
            raise UsageError(f"--param takes NAME=VALUE, got {one!r}.")
        found[name] = yaml.safe_load(value)
    return found


def _keep(given: str | None) -> int | str | None:
    return int(given) if given and given.isdigit() else given


def quota(given: str | None) -> dict[str, int] | None:
    """FIELD=N as a mapping."""
    from rulesel.errors import UsageError

    if given is None:
        return None
    field, _, n = given.rpartition("=")
    if not field or not n.isdigit():
        raise UsageError(f"--per takes FIELD=N, got {given!r}.")
    return {field: int(n)}


def show(outcome: Any, *, json: bool) -> None:  # noqa: ANN401 - pipeline.Outcome, imported late
    """The chosen rules, the files, and the account of every row."""
    from rulesel.cli._terminal import as_json, table

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
    typer.echo("new: share of the rule's variation that the rules above it do not already tell")
    out = receipt["output"]["path"]
    typer.echo(f"\n{out}, {out}.scores.parquet, {out}.dropped.jsonl, {out}.receipt.json; store {receipt['store']}")
    ties = receipt["selection"]["report"].get("ties_at_cut", 0)
    if ties:
        typer.echo(f"{ties:,} of the picks share their score with rows left out; content hashes decided among them")
    shortfall = receipt["selection"]["report"].get("shortfall", 0)
    if shortfall:
        typer.echo(f"asked for {shortfall:,} more than the pool has with a score")
    typer.echo(outcome.last_line)
