"""rules generate, rate, choose, lint, diff: the rules themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rulesel.cli import _options as o
from rulesel.cli._output import as_json, echo

Opt = typer.Option


def register(app: typer.Typer) -> None:
    """Add these commands."""
    group = typer.Typer(help="Write, choose and check rules.", no_args_is_help=True)
    for command in (generate, rate, choose, lint, diff):
        group.command()(command)
    app.add_typer(group, name="rules")


@o.taking({name: o.SPENDING[name] for name in ("max_cost", "max_requests", "yes")})
def generate(
    domain: Annotated[str, typer.Argument(help="What the examples are for: a sentence, or a file that holds it.")],
    writer: Annotated[str, Opt(help="The model that writes.")],
    out: Annotated[Path, Opt("-o", "--out", callback=o.file_name, help="Where the rules go, as YAML.")] = Path(
        "rules.yaml"
    ),
    sample: Annotated[str | None, Opt(help="A corpus; the writer is shown a few of its examples.")] = None,
    count: Annotated[int, Opt(help="Rules wanted.")] = 50,
    seed: Annotated[int, Opt(help="Which examples are shown.")] = 0,
    force: Annotated[bool, Opt("--force", help="Overwrite the file.")] = False,
    **given: Any,  # noqa: ANN401 - what typer read
) -> None:
    """Have a model write rules, merge those that say the same, and save them to be read and edited."""
    from rulesel import config as configs
    from rulesel.cli._terminal import table, watching
    from rulesel.errors import UsageError
    from rulesel.pipeline import authoring
    from rulesel.rules.lint import lint as look

    if out.exists() and not force:
        raise UsageError(f"{out} is there already: --force overwrites it, or name another with -o.")
    values: dict[str, Any] = {
        "domain": authoring.domain_of(domain),
        "sample": None if sample is None else {"path": sample, "limit": authoring.READ},
        "out": str(out),
        "writer": writer,
        "count": count,
        "seed": seed,
        **o.spending(given),
    }
    config = configs.check(authoring.AuthorConfig, configs.merged({}, values))
    with watching() as watcher:
        found = authoring.author(config, watcher)
    rules = found.rules.rules
    table(
        "",
        ("rule", "good if", "text"),
        [(r.name, "high" if r.polarity == "positive" else "low", r.text) for r in rules],
    )
    findings = look(found.rules)
    if findings:
        table(
            "\nTo look at", ("rule", "severity", "what", "fix"), [(f.rule, f.severity, f.what, f.fix) for f in findings]
        )
    echo(
        f"\n{len(rules)} rules in {out}; {len(found.merged)} merged, {len(found.rejected)} not read, {len(findings)} findings"
    )
    echo(f"Edit it, then: rulesel run CORPUS --rules {out} --judge MODEL -k … -o …")


@o.taking(o.CHAIN)
def rate(corpus: o.CorpusArgument, **given: Any) -> None:  # noqa: ANN401 - what typer read
    """Rate a sample on every rule and stop there: for `rules choose` and `rules audit`. A run goes on from it."""
    from rulesel.cli._terminal import watching
    from rulesel.pipeline import rate_sample

    config = o.score_config(corpus, given)
    with watching() as watcher:
        found = rate_sample(config, watcher)
    echo(found.last_line)
    echo(
        f"Next: rulesel rules audit --store {config.store_path}   ·   rulesel rules choose --store {config.store_path}"
    )


def choose(
    store: Annotated[Path, Opt("--store", help="A store that holds ratings.")],
    keep: Annotated[str, Opt("-r", "--keep", help="Rules to keep, or 'auto'.")] = "10",
    judge: Annotated[str | None, Opt(help="Whose ratings.")] = None,
    gold: Annotated[str | None, Opt(help="A column of the store that says how good some examples are.")] = None,
    method: Annotated[str, Opt(help="map, best_of, sample, marginal, cluster, top, exhaustive or paper.")] = "map",
    kernel: Annotated[str | None, Opt(help="weighted, correlation, covariance or gram.")] = None,
    weights: Annotated[str | None, Opt(help="How the chosen rules' ratings are averaged.")] = None,
    require: Annotated[list[str] | None, Opt(help="A rule that must be in; may be repeated.")] = None,
    forbid: Annotated[list[str] | None, Opt(help="A rule that must not.")] = None,
    seed: Annotated[int, Opt(help="Names the draw of a random method.")] = 0,
    out: Annotated[
        Path | None, Opt("-o", "--out", callback=o.file_name, help="Write the chosen rules as YAML.")
    ] = None,
    json: Annotated[bool, Opt("--json", help="JSON for machines.")] = False,
) -> None:
    """Choose independent, relevant rules from the ratings a store holds."""
    from rulesel import config as configs
    from rulesel.pipeline.choosing import choose as pick
    from rulesel.pipeline.naming import which_column
    from rulesel.rules.packs import save_rules
    from rulesel.store import Store

    values: dict[str, Any] = {
        "keep": int(keep) if keep.isdigit() else keep,
        "method": method,
        "kernel": kernel,
        "required": require or [],
        "forbidden": forbid or [],
    } | ({"weights": weights} if weights else {})
    config = configs.check(configs.RulesConfig, values)
    with Store(store, must_exist=True) as opened:
        if gold and (which := which_column(opened, gold)):
            echo(which, err=True)
        found = pick(opened, config, judge=judge, gold=gold, seed=seed)
    chosen = tuple(found.rule_set.rules[j] for j in found.choice.indices)
    if out is not None:
        save_rules(out, found.rule_set.model_copy(update={"rules": chosen}))
    if json:
        as_json(describe(found))
    else:
        show(found)


def lint(
    rules: Annotated[str, typer.Argument(help="A YAML file or pack:NAME.")],
    judge: Annotated[str | None, Opt(help="Who would rate; signals needs sql.")] = None,
    json: Annotated[bool, Opt("--json", help="JSON for machines.")] = False,
) -> None:
    """Find rules that cannot be rated well, and say what to do."""
    from rulesel.cli._terminal import table
    from rulesel.rules.lint import lint as check
    from rulesel.rules.packs import load_rules

    rule_set = load_rules(rules)
    findings = check(rule_set, judge=judge) if judge else check(rule_set)
    if json:
        as_json([finding._asdict() for finding in findings])
        return
    table("", ("rule", "severity", "what", "fix"), [(f.rule, f.severity, f.what, f.fix) for f in findings])
    echo(f"{len(rule_set)} rules, {len(findings)} findings")


def diff(
    before: Annotated[str, typer.Argument(help="A YAML file or pack:NAME.")],
    after: Annotated[str, typer.Argument(help="The same, edited.")],
    store: Annotated[Path | None, Opt("--store", help="Count the ratings the edit concerns.")] = None,
    json: Annotated[bool, Opt("--json", help="JSON for machines.")] = False,
) -> None:
    """Show what an edit changes, which ratings it makes stale, and what has to be rated anew."""
    from rulesel.cli._terminal import table
    from rulesel.pipeline.authoring import compare

    found = compare(before, after, store)
    edit = found.diff
    if json:
        names = {k: [r.name for r in getattr(edit, k)] for k in ("same", "added", "removed")}
        pairs = {k: [[b.name, a.name] for b, a in getattr(edit, k)] for k in ("renamed", "edited")}
        as_json(names | pairs | {"stale_ratings": found.ratings, "ratings_wanted": found.wanted})
        return
    rows = [
        *(("edited", a.name, f"{b.text}  ->  {a.text}" if a.text != b.text else a.text) for b, a in edit.edited),
        *(("added", rule.name, rule.text) for rule in edit.added),
        *(("removed", rule.name, rule.text) for rule in edit.removed),
        *(("renamed", a.name, f"was: {b.name}") for b, a in edit.renamed),
    ]
    table("", ("what", "rule", "text"), rows)
    echo(f"{len(edit.same)} rules keep their ratings, {len(edit.renamed)} of them under another name")
    for judge, n in found.ratings.items():
        echo(f"{judge}: {n:,} ratings are no longer read; they stay in the store, and undoing the edit costs nothing")
    for judge, n in found.wanted.items():
        echo(f"{judge}: about {n:,} ratings of the sample have to be made")


def describe(found: Any) -> dict[str, Any]:  # noqa: ANN401 - pipeline.choosing.Choice, imported late
    """A choice as JSON values."""
    from rulesel.receipt import as_json

    choice, rules = found.choice, found.rule_set.rules
    described: dict[str, Any] = as_json(
        {
            "judge": found.judge,
            "examples": len(found.sample.contents),
            "chosen": [
                {
                    "id": rules[j].id,
                    "name": rules[j].name,
                    "weight": w,
                    "q": choice.q[j],
                    "inclusion": choice.inclusion[j],
                }
                for j, w in zip(choice.indices, choice.weights, strict=True)
            ],
            "dropped": [{"rule": rules[j].name, "reason": why} for j, why in choice.dropped],
            "rho": choice.rho,
            "rms_corr": choice.rms_corr,
            "logdet": choice.logdet,
            "suggested_r": choice.suggested_r,
            "warnings": choice.warnings,
        }
    )
    return described


def show(found: Any) -> None:  # noqa: ANN401 - pipeline.choosing.Choice, imported late
    """A choice as a table with its reasons."""
    from rulesel.cli._terminal import table

    choice, rules = found.choice, found.rule_set.rules
    rows = [
        (i, rules[j].name, f"{w:.2f}", f"{choice.q[j]:.2f}", f"{d:.2f}", f"{choice.inclusion[j]:.2f}", rules[j].text)
        for i, (j, w, d) in enumerate(zip(choice.indices, choice.weights, choice.residual, strict=True), 1)
    ]
    table(
        f"{len(choice.indices)} of {len(rules)} rules, on {len(found.sample.contents):,} examples rated by {found.judge}",
        ("#", "rule", "weight", "worth", "new", "inclusion", "text"),
        rows,
        right=("#", "weight", "worth", "new", "inclusion"),
    )
    if choice.dropped:
        table("\nLeft out before choosing", ("rule", "why"), [(rules[j].name, why) for j, why in choice.dropped])
    echo(f"\nrho {choice.rho:.3f}, root mean square correlation {choice.rms_corr:.3f}, log det {choice.logdet:.2f}")
    for warning in choice.warnings:
        echo(f"warning: {warning}")
