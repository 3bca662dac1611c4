"""judge, judge check: opinions of whole examples, and how far they can be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typing_extensions import override

from rulesel.cli import _options as o
from rulesel.cli._output import as_json, echo

Opt = typer.Option


class _Grading(TyperGroup):
    """`judge CORPUS …` is `judge grade CORPUS …`."""

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["grade", *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(
        cls=_Grading,
        no_args_is_help=True,
        help="Grades and preferences of a model, without a run's rules: `rulesel judge CORPUS --judge MODEL`.",
    )
    group.command("grade")(grade)
    group.command("check")(check)
    app.add_typer(group, name="judge")


@o.taking(o.FIELDS | o.SPENDING)
def grade(
    corpus: Annotated[str | None, typer.Argument(help="A corpus; without one the store's own is graded.")] = None,
    judge: Annotated[str, Opt(help="The model.")] = "",
    rubric: Annotated[
        str, Opt(help="overall, alpagasus, deita-quality, deita-complexity, pairwise, or a YAML file.")
    ] = "overall",
    about: Annotated[str | None, Opt(help="Domain of 'overall', dimension of 'alpagasus', criterion of pairs.")] = None,
    sample: Annotated[int | None, Opt(help="Grade this many examples drawn at random, not all.")] = None,
    store: o.StoreName = None,
    seed: o.Seed = None,
    json: o.AsJson = False,
    **given: Any,  # noqa: ANN401 - what typer read
) -> None:
    """One grade an example, left in the store as a column that `select --quality NAME` reads."""
    from rulesel import config as configs
    from rulesel.cli._terminal import watching
    from rulesel.pipeline.judging import judge as ask
    from rulesel.receipt import as_json as plain

    values: dict[str, Any] = {
        "corpus": None if corpus is None else {"path": corpus} | {name: given[name] for name in o.FIELDS},
        "judge": judge,
        "rubric": rubric,
        "about": about,
        "sample": sample,
        "store": store,
        "seed": seed,
        **o.spending(given),
    }
    config = configs.check(configs.JudgeConfig, configs.merged({}, values))
    with watching() as watcher:
        found = ask(config, watcher)
    if json:
        as_json(plain({name: getattr(found, name) for name in found.__slots__}))
        return
    echo(found.last_line)
    for kind, n in found.failed.items():
        echo(f"  no grade: {kind} {n:,}")
    if "pairs" in found.report:
        r = found.report
        echo(
            f"  {r['pairs']:,} pairs in both orders, {r['failed']:,} failed; the same example won in both "
            f"{r['consistent']:.0%}; what came first won {r['first_position']:.0%}"
        )
    echo(f"rulesel select --store {config.store_path} --quality {found.column} -k … -o …")


@o.taking({name: kind for name, kind in o.SPENDING.items() if name != "max_failed"})
def check(
    store: Annotated[Path, Opt("--store", help="The store file.")],
    gold: Annotated[str | None, Opt(help="True labels: a column of the store, or a file.")] = None,
    field: Annotated[str | None, Opt(help="The file's column that holds them.")] = None,
    by: Annotated[
        str | None, Opt("--by", metavar="row|id|content|order", help="What the file's ids are; see `import column`.")
    ] = None,
    id_field: Annotated[str | None, Opt(help="Field of the records that holds their own ids.")] = None,
    column: Annotated[list[str] | None, Opt(help="A column to compare with them; all, if none is named.")] = None,
    canaries: Annotated[
        bool, Opt("--canaries", help="Rate a few examples with a demand appended, and show what it does to each rule.")
    ] = False,
    suspects: Annotated[bool, Opt("--suspects", help="List the documents that speak to the judge.")] = False,
    order: Annotated[
        bool, Opt("--order", help="Rate a sample document first and rule first: does the order change a rule's ranks?")
    ] = False,
    repeat: Annotated[
        bool, Opt("--repeat", help="Rate a few examples again, in other batches and orders: do the numbers drift?")
    ] = False,
    judge: Annotated[str | None, Opt(help="The model, for --canaries, --order and --repeat.")] = None,
    judge_param: o.JudgeParam = None,
    rules: o.Rules = None,
    examples: Annotated[int | None, Opt(help="How many examples --canaries, --order or --repeat take.")] = None,
    seed: o.Seed = None,
    json: o.AsJson = False,
    **given: Any,  # noqa: ANN401 - what typer read
) -> None:
    """How far a judge can be trusted: true labels, demands it should not heed, the order and company it rates in."""
    from rulesel.cli._judging import show_agreements, show_drift, show_orders, show_shifts, show_suspects
    from rulesel.cli._terminal import watching
    from rulesel.errors import UsageError
    from rulesel.pipeline import checking
    from rulesel.pipeline.naming import named_by, which_column
    from rulesel.receipt import as_json as plain
    from rulesel.store import Store

    if not (gold or canaries or suspects or order or repeat):
        raise UsageError(
            "Say what to check: --gold COLUMN or FILE, --suspects, or, with --judge MODEL, --canaries, --order, --repeat."
        )
    answer: dict[str, Any] = {}
    asked: dict[str, Any] = {"judge": judge, "rules": rules, "examples": examples, "seed": seed, "store": str(store)}
    asked |= o.spending(given)
    if gold or suspects:
        with Store(store, must_exist=True) as opened:
            if gold:
                name = checking.gold_of(opened, gold, field, by=named_by(by), id_field=id_field)
                for one in (name, *(column or ())):
                    if which := which_column(opened, one):
                        echo(which, err=True)
                answer["agreement"] = checking.against_gold(opened, name, column or [], seed=seed or 0)
            if suspects:
                answer["suspects"] = checking.suspects(opened)
    if canaries:
        from rulesel import config as configs

        asked["judge_parameters"] = o.parameters(judge_param, "--judge-param")
        config = configs.check(checking.CanaryConfig, configs.merged({}, asked))
        with watching() as watcher:
            answer["canaries"] = checking.canary_shifts(config, watcher)
    if order or repeat:
        asked["judge_parameters"] = o.parameters(judge_param, "--judge-param")
        answer |= _calibrated(asked, order=order, repeat=repeat)
    if json:
        as_json({name: [_record(one, plain) for one in found] for name, found in answer.items()})
        return
    show: dict[str, Any] = {"agreement": show_agreements, "suspects": show_suspects, "canaries": show_shifts}
    show |= {"order": show_orders, "repeat": show_drift}
    for what, found in answer.items():
        show[what](found)


def _calibrated(asked: dict[str, Any], *, order: bool, repeat: bool) -> dict[str, Any]:
    """What --order and --repeat find."""
    from rulesel import config as configs
    from rulesel.cli._terminal import watching
    from rulesel.pipeline.calibrating import CalibrationConfig, calibrate

    config = configs.check(CalibrationConfig, configs.merged({}, asked))
    with watching() as watcher:
        found = calibrate(config, watcher, ordered=order, repeated=repeat)
    return {name: part for name, part in found._asdict().items() if part is not None}


def _record(one: Any, plain: Any) -> dict[str, Any]:  # noqa: ANN401 - named tuples of pipeline.checking
    found: dict[str, Any] = plain(
        {k: _record(v, plain) if hasattr(v, "_asdict") else v for k, v in one._asdict().items()}
    )
    return found
