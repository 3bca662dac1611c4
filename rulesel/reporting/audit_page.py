"""The audit of a choice of rules as one HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from rulesel.reporting.charts import dots, eigenvalues
from rulesel.reporting.heat_map import heat_map, packed
from rulesel.reporting.render import count, page, percent
from rulesel.reporting.svg import shortened
from rulesel.rules.audit_figures import Arm, AuditFigures, Estimate, RuleFigures, Warned
from rulesel.rules.audit_warnings import number

OFTEN = 0.3
"""Share of the resamples from which a rule that was not chosen is listed."""


class Panel(NamedTuple):
    """One small chart of the comparison."""

    name: str
    note: str
    chart: Markup


class Often(NamedTuple):
    """A rule that resamples choose and the choice does not, and the chosen rule it stands in for."""

    card: RuleFigures
    near: int
    correlation: float


def audit_page(figures: AuditFigures, *, made: str | None = None) -> str:
    """Render the figures of an audit.

    Args:
        figures: from `audit_rules`.
        made: when and by which version, for the footer; the page has no clock of its own.
    """
    return page(
        "audit.html.j2",
        title=f"Audit of {len(figures.chosen)} of {len(figures.rules)} rules",
        embedded=embedded(figures),
        made=made,
        **sections(figures),
    )


def embedded(figures: AuditFigures) -> dict[str, Any]:
    """What the page's script reads."""
    names = [shortened(card.name, 80) for card in figures.rules]
    return {"map": {"names": names, "order": figures.map.order, "packed": packed(figures.map.correlation)}}


def sections(figures: AuditFigures) -> dict[str, Any]:
    """Everything the audit's sections need, charts included."""
    arms = {arm.name: arm for arm in figures.arms}
    return {
        "figures": figures,
        "rules": figures.rules,
        "summary": summary(figures),
        "facts": _facts(figures),
        "warnings": _grouped(figures.warnings),
        "anchored": figures.anchored > 0,
        "chosen_matrix": _matrix(figures),
        "heat_map": heat_map(figures.map, [card.name for card in figures.rules], figures.chosen),
        "spectrum": eigenvalues(figures.spectrum),
        "suggested": _suggested(figures.suggested),
        "draws": {name: arms[name].draws if name in arms else 0 for name in ("random", "paper")},
        "panels": _panels(figures.arms),
        "often": _often(figures),
    }


def summary(figures: AuditFigures) -> list[str]:
    """The audit in a few sentences."""
    arms = {arm.name: arm for arm in figures.arms}
    chosen, guess = arms["chosen"], arms["random"]
    unusable = len(figures.rules) - figures.usable
    found = [
        f"{len(figures.chosen)} of {len(figures.rules)} rules were chosen from the ratings of "
        f"{count(figures.examples)} examples{f'; {unusable} could not be used' if unusable else ''}."
    ]
    if chosen.coverage is not None:
        found.append(
            f"They explain {percent(chosen.coverage.value)} of what the other usable rules say, at a typical "
            f"correlation of {number(chosen.rms_correlation.value)} among themselves; as many rules at random have "
            f"{number(guess.rms_correlation.value)}. Their mean relevance is {number(chosen.relevance.value)}, against "
            f"{number(guess.relevance.value)} at random."
        )
    boot = figures.bootstrap
    if boot is not None and boot.jaccard is not None and boot.score_stability is not None:
        found.append(
            f"On other examples of the same kind {percent(boot.jaccard)} of the set would stay, and the scores would "
            f"agree at {number(boot.score_stability)}."
        )
    grave = sum(one.grave for one in figures.warnings)
    if grave:
        found.append(f"{grave} warning{'s' if grave > 1 else ''} should be looked into before the rules are used.")
    return found


def _facts(figures: AuditFigures) -> list[tuple[str, str]]:
    chosen = next(arm for arm in figures.arms if arm.name == "chosen")
    facts = [
        (f"{len(figures.chosen)} of {len(figures.rules)}", "rules chosen"),
        (count(figures.examples), "examples rated"),
        (number(chosen.relevance.value), "mean relevance"),
        (number(chosen.rms_correlation.value), "typical correlation"),
    ]
    if figures.bootstrap is not None and figures.bootstrap.stability is not None:
        facts.append((number(figures.bootstrap.stability), "stability of the set"))
    cost = figures.cost
    share = (
        cost.tokens_chosen / cost.tokens_all
        if cost.tokens_chosen is not None and cost.tokens_all
        else cost.calls_chosen / cost.calls_all
    )
    facts.append((percent(share), "of the cost of all rules"))
    return facts


def _grouped(warnings: Sequence[Warned]) -> dict[str, list[Warned]]:
    """What was said of the choice, and the two long lists: rules that repeat a chosen one, rules left out."""
    repeated = [one for one in warnings if one.kind == "repeats"]
    dropped = [one for one in warnings if one.kind == "dropped" and not one.grave]
    return {
        "said": [one for one in warnings if one not in repeated and one not in dropped],
        "repeated": repeated,
        "dropped": dropped,
    }


def _matrix(figures: AuditFigures) -> list[dict[str, Any]]:
    place = {rule: at for at, rule in enumerate(figures.map.order)}
    rows = []
    for at, rule in enumerate(figures.chosen):
        values = [
            None if other == rule else figures.map.correlation[place[rule]][place[other]]
            for other in figures.chosen[: at + 1]
            if rule in place and other in place
        ]
        rows.append({"rule": rule, "values": values})
    return rows


def _suggested(suggested: Mapping[str, int]) -> list[tuple[str, int]]:
    words = {
        "residual": "what each adds",
        "eigenvalues": "the eigenvalues above noise",
        "effective": "the effective rank",
        "participation": "the participation ratio",
        "stability": "the stability of the set",
    }
    return [(words.get(name, name), number_) for name, number_ in suggested.items()]


def _panels(arms: Sequence[Arm]) -> list[Panel]:
    measures = (
        ("Relevance", "mean over the rules; right is better", "relevance"),
        ("Correlation among them", "root mean square; left is better", "rms_correlation"),
        ("Coverage", "share of the rules left out; right is better", "coverage"),
        ("Agreement with the grades", "Spearman; right is better", "agreement"),
    )
    panels = []
    for name, note, field in measures:
        rows: list[tuple[str, Estimate | None]] = [(arm.name, getattr(arm, field)) for arm in arms]
        values = [
            bound for _, one in rows if one is not None for bound in (one.value, one.low, one.high) if bound is not None
        ]
        if values:
            chart = dots(rows, title=f"{name}, {note}", low=min(0.0, *values), high=max(*values, 0.01), marked="chosen")
            panels.append(Panel(name, note, chart))
    return panels


def _often(figures: AuditFigures) -> list[Often]:
    place = {rule: at for at, rule in enumerate(figures.map.order)}
    known = [rule for rule in figures.chosen if rule in place]
    found = []
    for card in figures.rules:
        if card.place is None and card.index in place and (card.bootstrap or 0) >= OFTEN and known:
            row = figures.map.correlation[place[card.index]]
            near = max(known, key=lambda rule: abs(row[place[rule]]))
            found.append(Often(card, near, row[place[near]]))
    return sorted(found, key=lambda one: -(one.card.bootstrap or 0))
