"""select, explain, sql, export, import, merge, verify, runs: what a store holds."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from rulesel.cli import _options as o
from rulesel.cli._output import as_json, echo

Opt = typer.Option
StoreFile = Annotated[Path, Opt("--store", help="The store file.")]
AsJson = Annotated[bool, Opt("--json", help="JSON for machines.")]
IdField = Annotated[
    str | None, Opt(help="Field of the records that holds their own ids; id, or the first like it, if not given.")
]
BY_HELP = "What the ids are: row (number, from 0), id (the records' own), content (rulesel's)"
By = Annotated[
    str | None,
    Opt("--by", metavar="row|id|content|order", help=f"{BY_HELP}, or order (the file is in the corpus's order)."),
]


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (select, explain, sql, export, merge, verify, runs):
        app.command()(command)
    imports = typer.Typer(help="Bring your own numbers.", no_args_is_help=True)
    imports.command("ratings")(import_ratings)
    imports.command("column")(import_column)
    imports.command("embedding")(import_embedding)
    app.add_typer(imports, name="import")


def select(
    store: StoreFile,
    out: Annotated[str, Opt("-o", "--out", callback=o.file_name, help="Where the selected records go.")],
    method: Annotated[str, Opt(help="Selection method; see `rulesel catalog`.")] = "top_k",
    k: Annotated[int | None, Opt("-k", help="How many examples.")] = None,
    fraction: Annotated[float | None, Opt(help="This share of the pool instead.")] = None,
    threshold: Annotated[
        float | None, Opt(help="Only examples whose --quality is at least this (at most, where lower is better).")
    ] = None,
    max_tokens: Annotated[int | None, Opt(help="Until about this many tokens (4 characters each).")] = None,
    per: Annotated[str | None, Opt(metavar="FIELD=N", help="At most N for each value of a field.")] = None,
    quality: Annotated[str, Opt(help="The column that says how good an example is.")] = "score",
    param: Annotated[list[str] | None, Opt(metavar="NAME=VALUE", help="Parameter of the method.")] = None,
    embedding: Annotated[
        str | None,
        Opt(help="Vectors to compare by: an imported name, a sentence-transformers folder, or 'projection'."),
    ] = None,
    tags: Annotated[str, Opt(help="Labels for mig: 'clusters', 'clusters:N', or a field of the records.")] = "clusters",
    against: Annotated[
        list[str] | None, Opt(metavar="FILE", help="Evaluation file; overlap with it is counted. May be repeated.")
    ] = None,
    as_: Annotated[str | None, Opt("--as", help="messages, alpaca or sharegpt.")] = None,
    seed: Annotated[int, Opt(help="Names every draw.")] = 0,
    duplicates: Annotated[str, Opt(help="keep-first or keep-all.")] = "keep-first",
    json: AsJson = False,
) -> None:
    """Pick from what a store holds, with any method and any column."""
    from rulesel import config as configs
    from rulesel.cli._options import parameters, quota
    from rulesel.cli._terminal import watching
    from rulesel.pipeline.selecting import select as pick

    amount = {"k": k, "fraction": fraction, "threshold": threshold, "max_tokens": max_tokens}
    chosen = {"method": method, "parameters": parameters(param), "quality": quality, "per": quota(per) or {}} | amount
    chosen |= {"embedding": embedding, "tags": tags}
    values = {"select": chosen, "store": str(store), "out": out, "as": as_, "seed": seed, "duplicates": duplicates}
    config = configs.check(configs.PickConfig, values)
    with watching() as watcher:
        receipt = pick(config, watcher, against=against or ())
    if json:
        as_json(receipt)
        return
    counts = receipt["counts"]
    echo(f"{out}, {out}.scores.parquet, {out}.dropped.jsonl, {out}.receipt.json")
    echo(
        f"in {counts['in']:,} = selected {counts['selected']:,} + not selected {counts['not_selected']:,} "
        f"+ failed {counts['failed']:,}"
    )


def explain(
    example: Annotated[
        str, typer.Argument(help="The record's own id, rulesel's id or its beginning, or a row number from 0.")
    ],
    store: StoreFile,
    by: Annotated[
        str | None, Opt("--by", metavar="row|id|content", help=f"{BY_HELP}; needed where it can be both.")
    ] = None,
    id_field: IdField = None,
    json: AsJson = False,
) -> None:
    """Everything known of one example: its texts, every rating, its place in each selection."""
    from rulesel.cli._terminal import excerpt, table
    from rulesel.pipeline.explaining import explain as find
    from rulesel.pipeline.naming import named_by
    from rulesel.store import Store

    with Store(store, read_only=True) as opened:
        found = find(opened, example, by=named_by(by), id_field=id_field)
    if json:
        as_json(found)
        return
    echo(f"{found['id']}  row {found['row']}")
    if found["prompt"] is not None:
        echo(f"prompt    {excerpt(found['prompt'], 200)}")
    echo(f"response  {excerpt(found['response'], 200)}\n")
    table(
        "",
        ("rule", "rater", "rating", "status", "percentile", "reason"),
        [
            (r["rule"], r["rater"], _number(r["rating"]), r["status"], _number(r["percentile"], 0), r["reason"])
            for r in found["ratings"]
        ],
        right=("rating", "percentile"),
    )
    for column in found["columns"]:
        made = f"{column['made']}, {column['id'][:11]}"
        echo(f"column {column['name']}: {_number(column['value'], 3)} ({column['direction']} is better; {made})")
    for chosen in found["selections"]:
        place = f"rank {chosen['rank']} of {chosen['n']}" if chosen["rank"] else f"not among the {chosen['n']}"
        echo(f"selection {chosen['selection'][:11]} ({chosen['method']}): {place}")


def sql(
    query: Annotated[str, typer.Argument(help="One SELECT; the store is read-only.")],
    store: StoreFile,
    json: AsJson = False,
    limit: Annotated[int, Opt(help="Rows shown at most; 0 for all. --json gives all.", min=0)] = 100,
) -> None:
    """Ask the store in SQL. Views: ratings_long, ratings_wide, selection_view, column_view, current_examples."""
    from rulesel.cli._terminal import shortened, table
    from rulesel.errors import UsageError
    from rulesel.pipeline.asking import query as ask
    from rulesel.store import Store

    with Store(store, read_only=True) as opened:
        found = ask(opened, query, 0 if json else limit)
    if json:
        if len(set(found.names)) < len(found.names):
            raise UsageError("SQL: two columns have the same name, and JSON holds one of each: name them with AS.")
        as_json([dict(zip(found.names, row, strict=True)) for row in found.rows])
        return
    table("", found.names, [[shortened(cell) for cell in row] for row in found.rows])
    if found.more:
        echo(f"(more rows than {limit:,}; --limit 0 shows all)")


def export(
    out: Annotated[Path, Opt("-o", "--out", callback=o.file_name, help="A .parquet or .csv file.")],
    store: StoreFile,
    view: Annotated[str, Opt(help="A view or table.")] = "ratings_wide",
    raw: Annotated[
        bool, Opt("--raw", help="CSV: leave texts as they are, formulas of spreadsheets (= + - @ at the start) too.")
    ] = False,
) -> None:
    """Write a view or table of the store as a Parquet or CSV file."""
    from rulesel.pipeline.explaining import export as write
    from rulesel.store import Store

    with Store(store, read_only=True) as opened:
        n = write(opened, view, out, raw=raw)
    echo(f"{out}: {n:,} rows of {view}")


def merge(
    store: StoreFile,
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of shards, or one of several; the store's own if not named.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Take the parts that `score --shard` wrote into the store; what is there already is left alone."""
    from rulesel.cli._terminal import watching
    from rulesel.pipeline.sharding import merge as take
    from rulesel.store import Store

    with watching() as watcher, Store(store, must_exist=True) as opened:
        found = take(opened, folder, watcher)
    if json:
        as_json(asdict(found))
        return
    echo(
        f"{found.shards:,} of {found.of:,} shards: {found.new:,} ratings new, {found.known:,} known"
        + (f"; {found.forgotten:,} failures that were forgotten stay out" if found.forgotten else "")
        + (f"; {found.unknown:,} examples are not in this store" if found.unknown else "")
    )
    if found.shards == found.of:
        echo("All are there: the command of the workers without --shard computes the scores.")


def verify(
    receipt: Annotated[Path, typer.Argument(help="A .receipt.json file.")],
    store: Annotated[Path | None, Opt(help="The store, if it is not where the receipt says.")] = None,
    json: AsJson = False,
) -> None:
    """Derive a selection again from the store and compare it with its receipt, all but what that calls recorded."""
    from rulesel.pipeline.explaining import verify_file

    checks = verify_file(receipt, store)
    if json:
        as_json([check._asdict() for check in checks])
    else:
        for check in checks:
            echo(f"{'ok      ' if check.agrees else 'DIFFERS '} {check.what}: {check.detail}")
        agree = all(check.agrees for check in checks)
        echo("verified" if agree else "NOT verified: see what differs")
    if not all(check.agrees for check in checks):
        raise typer.Exit(1)


def runs(store: StoreFile, json: AsJson = False) -> None:
    """List the runs of a store."""
    from rulesel.cli._terminal import table
    from rulesel.store import Store

    with Store(store, read_only=True) as opened:
        found = opened.selections.runs()
    if json:
        as_json(found)
        return
    rows = [
        (r["run"][:11], r["attempt"], f"{r['started']:%Y-%m-%d %H:%M:%S}", r["outcome"], _seconds(r)) for r in found
    ]
    table("", ("run", "attempt", "started", "outcome", "seconds"), rows, right=("attempt", "seconds"))


def import_ratings(
    path: Annotated[Path, typer.Argument(help="Parquet, CSV or JSON lines; long or wide.")],
    store: StoreFile,
    judge: Annotated[str | None, Opt(help="How to call the rater.")] = None,
    rules: Annotated[str | None, Opt(help="The rules' texts: a YAML file or pack:NAME.")] = None,
    scale: Annotated[tuple[float, float] | None, Opt(help="Lowest and highest rating.")] = None,
    anchor: Annotated[str | None, Opt(help="A column with an outside number for each example.")] = None,
    by: By = None,
    id_field: IdField = None,
) -> None:
    """Ratings that somebody else made, so that `rules choose` and `select` can use them."""
    from rulesel.pipeline.importing import import_ratings as take
    from rulesel.pipeline.naming import named_by
    from rulesel.rules.packs import load_rules
    from rulesel.store import Store

    with Store(store) as opened:
        named = load_rules(rules) if rules else None
        way = named_by(by)
        found = take(opened, path, judge=judge, rules=named, scale=scale, anchor=anchor, by=way, id_field=id_field)
    _show_imported(found)


def import_column(
    path: Annotated[Path, typer.Argument(help="Parquet, CSV or JSON lines.")],
    column: Annotated[str, Opt(help="The file's column.")],
    store: StoreFile,
    name: Annotated[str | None, Opt(help="What to call it.")] = None,
    lower: Annotated[bool, Opt("--lower", help="Lower is better.")] = False,
    by: By = None,
    id_field: IdField = None,
) -> None:
    """One number an example, for `select --quality NAME`."""
    from rulesel.pipeline.importing import import_column as take
    from rulesel.pipeline.naming import named_by
    from rulesel.store import Store

    with Store(store, must_exist=True) as opened:
        found = take(opened, path, column, name=name, lower=lower, by=named_by(by), id_field=id_field)
    _show_imported(found)


def import_embedding(
    path: Annotated[
        Path, typer.Argument(help=".npy (rows in the corpus's order), or Parquet or JSON lines with id and vector.")
    ],
    store: StoreFile,
    name: Annotated[str, Opt(help="What to call it.")] = "embedding",
    by: By = None,
    id_field: IdField = None,
) -> None:
    """One vector an example, for methods that spread out."""
    from rulesel.pipeline.importing import import_embedding as take
    from rulesel.pipeline.naming import named_by
    from rulesel.store import Store

    with Store(store, must_exist=True) as opened:
        found = take(opened, path, name=name, by=named_by(by), id_field=id_field)
    _show_imported(found)


def _show_imported(found: Any) -> None:  # noqa: ANN401 - pipeline.importing.Imported
    rules = "" if found.rules is None else f" × {found.rules} rules"
    more = "".join(f"; {one}" for one in found.left_out)
    echo(f"{found.examples:,} examples{rules} ({found.note}); {found.ids}; {found.unknown:,} unknown ids{more}")


def _number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _seconds(run: dict[str, Any]) -> str:
    return "" if run["ended"] is None else f"{(run['ended'] - run['started']).total_seconds():.1f}"
