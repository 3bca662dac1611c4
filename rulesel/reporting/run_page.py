"""The report of a whole run as one HTML file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from rulesel.reporting import audit_page
from rulesel.reporting.charts import length_ticks, overlaid, round_ticks
from rulesel.reporting.render import count, optional, page, percent
from rulesel.reporting.run_figures import Baseline, Distribution, RunFigures
from rulesel.rules.audit_warnings import number

Ticks = Callable[[float, float], list[tuple[float, str]]]


def run_page(figures: RunFigures, *, made: str | None = None) -> str:
    """Render the figures of a run.

    Args:
        figures: from `measure`.
        made: when and by which version, for the footer; the page has no clock of its own.
    """
    audit: dict[str, Any] = {"rules": []} if figures.audit is None else audit_page.sections(figures.audit)
    return page(
        "run.html.j2",
        title=f"Report: {figures.selected} of {figures.rows} examples",
        embedded={} if figures.audit is None else audit_page.embedded(figures.audit),
        made=made,
        run=figures,
        said=summary(figures),
        run_facts=_facts(figures),
        score_chart=_chart(figures.scores, "Scores of the corpus and of the selection"),
        length_chart=_chart(figures.drift.lengths, "Lengths in the corpus and in the selection", length_ticks),
        optional=optional,
        count=count,
        percent=percent,
        **audit,
    )


def summary(figures: RunFigures) -> list[str]:
    """The run in a few sentences."""
    by_name = {one.name: one for one in figures.baselines}
    chosen, guess, longest = by_name["selected"], by_name.get("random"), by_name.get("longest")
    found = []
    if chosen.flawed is not None and guess is not None and guess.flawed is not None:
        sentence = (
            f"{count(chosen.flawed.value)} of the selected examples carry a known flaw; a random selection has "
            f"{_range(guess)}"
        )
        if longest is not None and longest.flawed is not None:
            sentence += f", the longest answers {count(longest.flawed.value)}"
        found.append(sentence + ".")
    if longest is not None and longest.overlap is not None:
        found.append(f"{percent(longest.overlap.value)} of the selection are also among the longest examples.")
    shift = figures.drift.length_shift
    if shift is not None and abs(shift) >= 0.2:
        found.append(
            f"The selected examples are {'longer' if shift > 0 else 'shorter'} than the corpus "
            f"(by {number(abs(shift))} standard deviations of the logarithm)."
        )
    found += [
        f"{one.name}: {one.found}." if one.found else f"{one.name}: not checked yet: {one.command}"
        for one in figures.trust
    ]
    if figures.failed:
        found.append(f"{count(figures.failed)} example{' has' if figures.failed == 1 else 's have'} no score.")
    return found


def _range(one: Baseline) -> str:
    flawed = one.flawed
    if flawed is None:
        return "–"
    between = "" if flawed.low is None or flawed.high is None else f" ({count(flawed.low)} to {count(flawed.high)})"
    return f"{count(flawed.value)}{between}"


def _facts(figures: RunFigures) -> list[tuple[str, str]]:
    facts = [
        (count(figures.selected), "selected"),
        (count(figures.not_selected), "not selected"),
        (count(figures.failed), "without a score"),
    ]
    calls = sum(stage.calls for stage in figures.stages)
    if figures.stages:
        facts.append((count(calls), "calls"))
        known = [stage.dollars for stage in figures.stages if stage.dollars is not None]
        if len(known) == len(figures.stages):
            facts.append((f"${sum(known):,.2f}", "spent"))
    return facts


def _chart(distribution: Distribution | None, title: str, ticks: Ticks = round_ticks) -> Markup | None:
    if distribution is None:
        return None
    low, high = distribution.edges[0], distribution.edges[-1]
    groups = [(group.name, group.counts) for group in distribution.groups]
    return overlaid(distribution.edges, groups, ticks=ticks(low, high), title=title)
