"""catalog, doctor: what there is, and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rulesel.cli import _options as o
from rulesel.cli._output import as_json

if TYPE_CHECKING:
    from rulesel.selection import Selector

Opt = typer.Option


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(catalog)
    app.command()(doctor)


def catalog(
    json: Annotated[bool, Opt("--json", help="With parameter schemas, for machines.")] = False,
) -> None:
    """List selectors, raters, judges and rule packs with their parameters."""
    from rulesel.cli._terminal import table
    from rulesel.judges import Judge
    from rulesel.judges.rubric import BUILT_IN
    from rulesel.plugins import find, names
    from rulesel.raters import Rater
    from rulesel.rules.packs import load_rules, pack_names
    from rulesel.selection import Selector

    selectors = [find("rulesel.selection", name, Selector) for name in names("rulesel.selection")]
    raters = [find("rulesel.raters", name, Rater) for name in names("rulesel.raters")]
    judges = [find("rulesel.judges", name, Judge) for name in names("rulesel.judges")]
    packs = {name: load_rules(f"pack:{name}") for name in pack_names()}
    if json:
        as_json(
            {
                "selectors": [_entry(one) | {"reads": one.reads, "cost": one.cost} for one in selectors],
                "raters": [_entry(one) for one in raters],
                "judges": [_entry(one) for one in judges],
                "rubrics": list(BUILT_IN),
                "packs": [{"name": name, "rules": len(rules)} for name, rules in packs.items()],
            }
        )
        return
    table(
        "Selection methods (--method)",
        ("name", "what, from what, at what cost", "parameters"),
        [(s.name, "\n".join(filter(None, _about(s))) + "\n", _parameters(s)) for s in selectors],
    )
    table("\nRaters (--judge)", ("name", "what", "parameters"), [(r.name, r.summary, _parameters(r)) for r in raters])
    table(
        "\nJudges (rulesel judge --rubric)",
        ("rubric", "what", "parameters"),
        [(", ".join(BUILT_IN) if j.name == "rubric" else j.name, j.summary, _parameters(j)) for j in judges],
    )
    table(
        "\nRule packs (--rules pack:NAME)",
        ("name", "rules", "measured without a model"),
        [(name, len(rules), sum(rule.sql is not None for rule in rules.rules)) for name, rules in packs.items()],
        right=("rules", "measured without a model"),
    )


def doctor(
    judge: Annotated[str | None, Opt(help="Ask this model for one digit, and tell what stands in its way.")] = None,
    judge_param: o.JudgeParam = None,
    config: Annotated[str | None, Opt(help="A rulesel.yaml, for its prices.")] = None,
    json: Annotated[bool, Opt("--json", help="JSON for machines.")] = False,
) -> None:
    """Say what is installed, what is missing, and the command that brings it."""
    from rulesel.cli._terminal import table
    from rulesel.pipeline.doctor import examine, examine_model

    findings = examine() if judge is None else examine_model(judge, config, o.parameters(judge_param, "--judge-param"))
    if json:
        as_json([finding._asdict() for finding in findings])
    else:
        table("", ("", "what", "found", "to do"), findings)
    if any(finding[0] in {"missing", "failed"} for finding in findings):
        raise typer.Exit(1)


def _entry(plugin: Any) -> dict[str, Any]:  # noqa: ANN401 - a plug-in class
    return {
        "name": plugin.name,
        "version": plugin.version,
        "summary": plugin.summary,
        "source": plugin.source,
        "parameters": plugin.model_json_schema(),
    }


def _about(selector: type[Selector]) -> tuple[str, str, str]:
    return selector.summary, f"reads {', '.join(selector.reads) or 'nothing'}; cost {selector.cost}", selector.source


def _parameters(plugin: Any) -> str:  # noqa: ANN401 - a plug-in class
    return "\n".join(
        name if field.is_required() else f"{name}={field.get_default(call_default_factory=True)}"
        for name, field in plugin.model_fields.items()
    )
