"""Templates to one self-contained page: style and script inside, a policy that forbids everything else."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from rulesel.records import Status
from rulesel.reporting.charts import bars
from rulesel.rules.audit_figures import RuleFigures
from rulesel.rules.audit_warnings import number
from rulesel.visible import visible

HERE = Path(__file__).parent

FAILURES = {
    Status.parse: "without a rating in the answer",
    Status.range: "off the scale",
    Status.refused: "refused",
    Status.low_mass: "unsure (low mass on the labels)",
    Status.cut_answer: "cut off",
    Status.timeout: "timed out",
    Status.http: "not answered",
    Status.not_applicable: "not applicable",
}


def page(template: str, *, title: str, embedded: dict[str, Any], **values: object) -> str:
    """Fill a template.

    Args:
        template: file name in this folder.
        title: of the window.
        embedded: what the page's script reads; escaped so that no text can end the script.
        values: for the template; text is escaped, `Markup` is not.
    """
    script = (HERE / "page.js").read_text(encoding="utf-8")
    sha256 = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .get_template(template)
        .render(
            title=visible(title),
            embedded=embedded,
            style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
            script=Markup(script),
            script_hash=f"sha256-{sha256}",
            **values,
        )
    )


def optional(value: float | None) -> str:
    """A correlation or share, or a dash."""
    return "–" if value is None else number(value)


def percent(value: float | None) -> str:
    """A share in percent, or a dash."""
    return "–" if value is None else f"{100 * value:.0f}\u202f%"


def count(value: float) -> str:
    """A whole number, thousands apart by a thin space."""
    return f"{value:,.0f}".replace(",", "\u202f")


def short(value: float | None) -> str:
    """A rating or mean on its own scale, or a dash."""
    return "–" if value is None else f"{value:.3g}"


def quoted(text: str) -> Markup:
    """A sentence whose quoted names do not turn the direction of the rest."""
    return Markup(re.sub("“([^”]*)”", r"“<bdi>\1</bdi>”", str(escape(visible(text)))))


def failed(card: RuleFigures) -> str:
    """Share of a rule's ratings that failed."""
    lost = sum(count for kind, count in card.failures.items() if kind != Status.not_applicable.name)
    return percent(lost / (lost + card.rated)) if lost else "0"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["bars"] = bars
    environment.filters |= {
        "visible": visible,
        "quoted": quoted,
        "number": optional,
        "percent": percent,
        "count": count,
        "short": short,
        "one": lambda value: f"{value:.1f}",
        "failed": failed,
        "status": lambda kind: FAILURES.get(Status[kind], kind) if kind in Status.__members__ else kind,
    }
    return environment
