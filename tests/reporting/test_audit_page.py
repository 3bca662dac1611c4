from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest

import rulesel.reporting
from rulesel.reporting.audit_page import audit_page, summary
from rulesel.reporting.render import quoted
from rulesel.reporting.run_figures import RunFigures
from rulesel.rules.audit_figures import AuditFigures

FOLDER = Path(rulesel.reporting.__file__).parent


@pytest.fixture(scope="module")
def page(audit: AuditFigures) -> str:
    return audit_page(audit, made="made <today>")


@pytest.mark.slow
def test_the_page_is_one_file_that_names_no_address(page: str) -> None:
    assert not re.search(r'\b(?:src|href|action)="(?!#|data:)', page)
    assert not re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", page.replace("http://www.w3.org/2000/svg", ""))
    assert "@import" not in page
    assert "url(" not in page


def test_the_policy_allows_the_pages_own_script_and_nothing_else(page: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    script = re.search(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src &#39;sha256-{digest}&#39;" in policy[1] or f"script-src 'sha256-{digest}'" in policy[1]
    assert policy[1].startswith("default-src 'none'")


def test_untrusted_text_is_escaped_everywhere(page: str) -> None:
    outside = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert "<script>document.title" not in outside
    assert "<script>alert" not in outside
    assert "<b>plain" not in outside
    assert "<img" not in outside
    assert "\u202e" not in page
    assert "\x07" not in page
    assert "made &lt;today&gt;" in page
    assert page.count("</style>") == 1
    assert page.count("</script>") == 2
    assert "{{ 7 * 7 }}" in page  # a rule is no template


def test_names_in_a_warning_are_isolated_and_escaped() -> None:
    text = "“<b>\u05e9\u202e” repeats “x”."
    assert quoted(text) == "“<bdi>&lt;b&gt;\u05e9[U+202E]</bdi>” repeats “<bdi>x</bdi>”."


def test_the_embedded_values_cannot_end_the_script(page: str) -> None:
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, flags=re.DOTALL)
    assert found is not None
    assert "<" not in found[1]
    assert json.loads(found[1])["map"]["names"][1] == "</style><script>alert(1)</script>"


def test_a_page_shows_every_section_rule_and_warning(page: str, audit: AuditFigures) -> None:
    for section in ("warnings", "chosen", "map", "adds", "arms", "stability", "cost", "every", "words"):
        assert f'<section id="{section}">' in page
        assert f'href="#{section}"' in page
    assert page.count('<details class="card"') == len(audit.rules)
    assert page.count('<li class="grave">') == sum(one.grave for one in audit.warnings)


def test_a_choice_without_resamples_texts_or_prices_has_a_page_too(audit: AuditFigures) -> None:
    bare = audit.model_copy(
        update={
            "bootstrap": None,
            "warnings": [],
            "anchored": 0,
            "rules": [
                one.model_copy(
                    update={"bootstrap": None, "highest": [], "lowest": [], "reliability": None, "tokens": None}
                )
                for one in audit.rules
            ],
        }
    )
    page = audit_page(bare)
    assert "was not repeated" in page
    assert "<p>None.</p>" in page
    assert "mean of the other rules shows it" in page


def test_the_summary_is_a_few_sentences(audit: AuditFigures) -> None:
    sentences = summary(audit)
    assert sentences[0].startswith(f"{len(audit.chosen)} of {len(audit.rules)} rules were chosen")
    assert all(sentence.endswith(".") for sentence in sentences)


@pytest.mark.parametrize(("name", "model"), [("audit", AuditFigures), ("run", RunFigures)])
def test_the_published_schema_is_the_models(name: str, model: type[AuditFigures] | type[RunFigures]) -> None:
    published = json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))
    assert published == model.model_json_schema(mode="serialization"), (
        f"write model_json_schema(mode='serialization') of {model.__name__} to rulesel/reporting/{name}.schema.json"
    )
