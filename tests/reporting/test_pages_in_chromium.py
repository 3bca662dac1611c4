from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rulesel.reporting.audit_page import audit_page
from rulesel.reporting.run import Run
from rulesel.reporting.run_measure import measure
from rulesel.reporting.run_page import run_page
from rulesel.rules.audit_figures import AuditFigures
from rulesel.visible import visible

pytestmark = pytest.mark.slow

SIZES = [1400, 400]


@pytest.fixture(scope="module")
def page(audit: AuditFigures, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audit") / "audit.html"
    path.write_text(audit_page(audit), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def report(audit: AuditFigures, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=300)
    run = Run(
        corpus="</title><script>document.title='owned'</script>",
        scores=scores,
        selected=np.argsort(-scores)[:40],
        method="top_k",
        lengths=rng.lognormal(6, 1, 300),
        texts=lambda rows: [f"<script>document.title='owned'</script> {row}" for row in rows],
        flaws=[None if row % 3 else "<b>off</b>" for row in range(300)],
        audit=audit,
    )
    path = tmp_path_factory.mktemp("run") / "run.html"
    path.write_text(run_page(measure(run)), encoding="utf-8")
    return path


def inner_text(browser: Any, selector: str) -> str:
    return str(browser.evaluate(f"document.querySelector({selector!r}).innerText"))


@pytest.mark.parametrize("width", SIZES)
def test_a_page_opens_without_complaint_fetches_nothing_and_fits_the_width(
    browser: Any, page: Path, report: Path, width: int
) -> None:
    for path in (page, report):
        browser.load(path, width)
        assert browser.complaints() == []
        assert [url for url in browser.requests() if not url.startswith("data:")] == [path.as_uri()]
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        assert "owned" not in browser.evaluate("document.title")


@pytest.mark.parametrize("width", SIZES)
def test_heat_map_and_cards_are_visible(browser: Any, page: Path, audit: AuditFigures, width: int) -> None:
    browser.load(page, width)
    box = "(() => { const b = document.querySelector('%s').getBoundingClientRect(); return [b.width, b.height]; })()"
    for selector in (".map image", ".map .tree", "details.card[open] .body", ".chart.spark", ".strip"):
        wide, high = browser.evaluate(box % selector)
        assert wide > 40, selector
        assert high > 15, selector
    assert browser.evaluate("document.querySelector('.map image').complete ?? true")
    assert browser.evaluate("document.querySelectorAll('details.card').length") == len(audit.rules)
    assert browser.evaluate("document.querySelectorAll('details.card[open]').length") == len(audit.chosen)


def test_hostile_rules_are_shown_as_their_text(browser: Any, page: Path, audit: AuditFigures) -> None:
    browser.load(page, 1400)
    browser.evaluate("for (const card of document.querySelectorAll('details.card')) card.open = true")
    for card in audit.rules:
        name = inner_text(browser, f"#rule-{card.index} .title")
        assert name == visible(card.name)
        text = inner_text(browser, f"#rule-{card.index} .body .text")
        assert " ".join(text.split()) == " ".join(visible(card.text).split())
    assert browser.evaluate("document.querySelectorAll('script').length") == 2
    assert browser.evaluate("document.querySelectorAll('img').length") == 0
    # Neighbours of the right-to-left name stand where they would beside any other name.
    left = "document.querySelector('#rule-%d .state').getBoundingClientRect().right"
    assert browser.evaluate(left % 2) == browser.evaluate(left % 0)


def test_the_pointer_reads_the_map_and_the_filter_hides_cards(browser: Any, page: Path, audit: AuditFigures) -> None:
    browser.load(page, 1400)
    browser.evaluate(
        "(() => { const f = document.querySelector('.map .frame'); f.scrollIntoView(); const b = f.getBoundingClientRect();"
        "f.dispatchEvent(new PointerEvent('pointermove', {clientX: b.right - 2, clientY: b.top + 2})); })()"
    )
    tip = inner_text(browser, "#tip")
    value = audit.map.correlation[0][-1]
    assert tip.endswith(f": {round(value, 2):.2f}")
    browser.evaluate(
        "(() => { const i = document.querySelector('.tools input'); i.value = 'quality 7'; i.dispatchEvent(new Event('input')); })()"
    )
    shown = browser.evaluate("[...document.querySelectorAll('details.card:not([hidden])')].map((c) => c.id)")
    assert shown == ["rule-7"]
    assert browser.complaints() == []


def test_sorting_puts_the_chosen_rules_first_in_their_order(browser: Any, page: Path, audit: AuditFigures) -> None:
    browser.load(page, 1400)
    browser.evaluate(
        "(() => { const s = document.querySelector('.tools select'); s.value = 'place'; s.dispatchEvent(new Event('change')); })()"
    )
    order = browser.evaluate("[...document.querySelectorAll('details.card')].map((c) => Number(c.dataset.index))")
    assert order[: len(audit.chosen)] == audit.chosen


def test_the_page_is_dark_where_the_reader_prefers_it(browser: Any, page: Path) -> None:
    colour = "getComputedStyle(document.documentElement).backgroundColor"
    browser.load(page, 1400)
    light = browser.evaluate(colour)
    browser.load(page, 1400, dark=True)
    assert browser.evaluate(colour) != light
