"""Audit and report: from a store, a file of ratings, or a receipt to figures and pages."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import pytest

from rulesel.cli import reports as verbs
from rulesel.errors import RuleselError, StoreError, UnknownName, UsageError
from rulesel.pipeline import run
from rulesel.pipeline.auditing import audit_ratings, audit_store
from rulesel.pipeline.run_report import report, report_file
from rulesel.pipeline.selecting import select
from rulesel.store import Store


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr("rulesel.rules.audit.REPEATS", 8)


@pytest.fixture
def planted():
    """Ratings of eight rules: 0 to 3 tell of quality each in its own way, 4 repeats 0, the rest is noise."""
    rng = np.random.default_rng(1)
    quality = rng.normal(size=150)
    S = rng.normal(size=(150, 8))
    S[:, :4] += quality[:, None]
    S[:, 4] = S[:, 0] + 0.05 * rng.normal(size=150)
    return quality, S


@pytest.fixture
def wide(planted, tmp_path):
    """The same as a file, with an outside label and a text beside the ratings."""
    quality, S = planted
    path = tmp_path / "ratings.jsonl"
    rows = [
        {"id": f"e{i}", "note": "a text", "truth": float(quality[i])} | {f"rule {j}": float(S[i, j]) for j in range(8)}
        for i in range(len(S))
    ]
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def test_a_file_of_ratings_is_audited_and_what_was_not_read_is_said(wide):
    found = audit_ratings(wide, keep=3)
    assert len(found.figures.rules) == 8
    assert len(found.figures.chosen) == 3
    assert set(found.skipped) == {"note", "truth"}
    assert found.figures.anchored == 0
    assert found.figures.bootstrap is not None


def test_the_gold_column_is_the_anchor_and_never_a_rule(wide):
    figures = audit_ratings(wide, gold="truth", keep=3).figures
    assert figures.anchored == 150
    assert "truth" not in {card.name for card in figures.rules}
    assert set(figures.chosen) <= {0, 1, 2, 3, 4}
    assert not {0, 4} <= set(figures.chosen)
    with pytest.raises(UnknownName):
        audit_ratings(wide, gold="truht")


def test_without_a_number_fewer_rules_than_ten_are_no_failure_but_asking_for_too_many_is(wide):
    assert 1 <= len(audit_ratings(wide).figures.chosen) <= 8
    with pytest.raises(RuleselError, match="No rules could be chosen"):
        audit_ratings(wide, keep=9)


def test_texts_of_rules_are_found_by_name_or_by_place(planted, tmp_path):
    _, S = planted
    file = tmp_path / "lists.jsonl"
    file.write_bytes(b"".join(orjson.dumps({"id": str(i), "scores": row.tolist()}) + b"\n" for i, row in enumerate(S)))
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "rules:\n" + "".join(f"  - name: r{j}\n    text: The response does thing {j}.\n" for j in range(8))
    )
    figures = audit_ratings(file, rules=str(rules), keep=3).figures
    assert [card.text for card in figures.rules] == [f"The response does thing {j}." for j in range(8)]
    rules.write_text("rules:\n  - name: other\n    text: The response does something else.\n")
    with pytest.raises(UnknownName):
        audit_ratings(file, rules=str(rules), keep=1)


def test_the_bootstrap_of_a_file_reproduces_and_follows_the_seed(wide):
    first, again, other = (audit_ratings(wide, keep=3, seed=seed).figures for seed in (0, 0, 1))
    assert first == again
    assert first.bootstrap != other.bootstrap


def test_a_store_is_audited_on_its_last_runs_own_choice(run_config, tmp_path):
    outcome = run(run_config())
    with Store(tmp_path / "store.duckdb", read_only=True) as store:
        found = audit_store(store)
        fewer = audit_store(store, keep=2)
    assert found.figures.chosen == outcome.choice.indices
    np.testing.assert_allclose(found.figures.weights, outcome.choice.weights)
    assert found.figures.examples == 200
    card = found.figures.rules[outcome.choice.indices[0]]
    assert card.highest[0].text.startswith("Question ")
    assert card.failures == {}
    assert len(fewer.figures.chosen) == 2


def test_a_store_with_a_column_of_truth_is_audited_against_it(run_config, corpus, tmp_path):
    from rulesel.pipeline.importing import import_column

    run(run_config())
    gold = tmp_path / "gold.jsonl"
    lines = [json.loads(line) for line in corpus.read_text().splitlines()]
    gold.write_text("".join(json.dumps({"id": row["n"], "truth": len(row["output"])}) + "\n" for row in lines))
    with Store(tmp_path / "store.duckdb") as store:
        import_column(store, gold, "truth", name="truth", lower=False, id_field="n")
    with Store(tmp_path / "store.duckdb", read_only=True) as store:
        figures = audit_store(store, gold="truth").figures
        anew = audit_store(store, judge="signals", gold="truth", keep=2)
    assert figures.anchored == 200
    relevance = {card.name: card.relevance.value for card in figures.rules if card.relevance}
    assert relevance["long enough"] > 0.8
    assert anew.about == "a choice on the ratings of signals"
    assert anew.figures.rules[anew.figures.chosen[0]].name == "long enough"


def test_a_store_without_ratings_says_so(tmp_path):
    with Store(tmp_path / "empty.duckdb"):
        pass
    with Store(tmp_path / "empty.duckdb", read_only=True) as store, pytest.raises(UsageError, match="no ratings"):
        audit_store(store)


def test_a_report_accounts_for_the_run_it_tells_of(run_config, tmp_path):
    outcome = run(run_config())
    figures = report_file(tmp_path / "out.jsonl.receipt.json")
    counts = outcome.receipt["counts"]
    assert (figures.rows, figures.selected, figures.failed) == (400, counts["selected"], counts["failed"])
    assert figures.not_selected == counts["not_selected"]
    assert figures.tied == outcome.selection.report["ties_at_cut"]
    best = int(np.argmax(outcome.scored.scores))
    assert figures.best[0].row == best
    assert figures.best[0].text.startswith(f"Question {best}\n\n")
    assert sum(share.all for share in figures.drift.sources) == 400
    assert {share.value for share in figures.drift.sources} == {f"s{i}" for i in range(5)}
    assert figures.audit is not None
    assert figures.audit.chosen == outcome.choice.indices
    assert [shift.name for shift in figures.rules] == [rule["name"] for rule in outcome.receipt["choice"]["rules"]]
    assert figures.stages == []


def test_known_flaws_are_counted_by_row(run_config, tmp_path):
    outcome = run(run_config())
    flaws = {row: "odd" if row % 2 else None for row in range(400)}
    with Store(tmp_path / "store.duckdb", read_only=True) as store:
        figures = report(outcome.receipt, store, flaws=flaws)
    found = {share.value: (share.all, share.selected) for share in figures.flaws}
    rows = outcome.scored.rows.row[outcome.scored.pool[outcome.selection.indices]]
    assert found == {"odd": (200, int((rows % 2).sum())), "sound": (200, int((rows % 2 == 0).sum()))}


def test_a_selection_by_a_column_has_a_report_without_rules(run_config, corpus, tmp_path):
    from rulesel.config import PickConfig, check

    run(run_config())
    values = {
        "select": {"method": "random", "k": 30},
        "out": str(tmp_path / "other.jsonl"),
        "store": str(tmp_path / "store.duckdb"),
    }
    select(check(PickConfig, values))
    figures = report_file(tmp_path / "other.jsonl.receipt.json")
    assert (figures.selected, figures.method, figures.audit, figures.rules) == (30, "random", None, [])
    with Store(tmp_path / "store.duckdb", read_only=True) as store:
        assert audit_store(store).about.startswith("the last run's choice")


def test_a_receipt_that_the_store_does_not_bear_out_is_refused(run_config, tmp_path):
    run(run_config())
    path = tmp_path / "out.jsonl.receipt.json"
    receipt = orjson.loads(path.read_bytes())
    path.write_bytes(orjson.dumps(receipt | {"selection": receipt["selection"] | {"sha256": "0" * 64}}))
    with pytest.raises(UsageError, match="another selection"):
        report_file(path)
    path.write_bytes(orjson.dumps(receipt | {"corpus": receipt["corpus"] | {"sha256": "0" * 64}}))
    with pytest.raises(UsageError, match="does not hold the corpus"):
        report_file(path)
    path.write_bytes(orjson.dumps(receipt | {"rules": receipt["rules"] | {"id": "0" * 64}}))
    with pytest.raises(UsageError, match="not the store of this receipt"):
        report_file(path)
    path.write_text('{"receipt": 7}')
    with pytest.raises(UsageError, match="no receipt"):
        report_file(path)
    with pytest.raises(UsageError, match="No such file"):
        report_file(tmp_path / "none.json")
    path.write_bytes(orjson.dumps(receipt))
    with pytest.raises(StoreError):
        report_file(path, tmp_path / "none.duckdb")


def test_the_verbs_write_pages_and_print_figures(run_config, tmp_path, monkeypatch, capsys):
    run(run_config())
    monkeypatch.chdir(tmp_path)
    receipt = tmp_path / "out.jsonl.receipt.json"
    verbs.report(receipt)
    assert "report.html: 40 of 400 examples" in capsys.readouterr().out
    assert "Report of a selection" in (tmp_path / "report.html").read_text()
    verbs.audit(store=tmp_path / "store.duckdb", json=True)
    assert len(json.loads(capsys.readouterr().out)["chosen"]) == 3
    assert not (tmp_path / "audit.html").exists()
    verbs.report(receipt, json=True, out=tmp_path / "both.html")
    assert json.loads(capsys.readouterr().out)["selected"] == 40
    assert (tmp_path / "both.html").exists()


def test_a_hostile_rule_of_a_ratings_file_stays_text_on_the_page(planted, tmp_path):
    _, S = planted
    names = [f"rule {j}" for j in range(7)] + ["</style><script>alert(1)</script>"]
    rows = [{"id": str(i)} | dict(zip(names, row.tolist(), strict=True)) for i, row in enumerate(S)]
    (tmp_path / "r.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    words = ("rules", "audit", "--ratings", "r.jsonl", "-r", "3", "-o", "page.html")
    done = subprocess.run(
        [sys.executable, "-m", "rulesel", *words], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.html").read_text()
    assert "<script>alert" not in page
    assert "alert(1)" in page


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "--store FILE or --ratings FILE"),
        ({"store": Path("a"), "ratings": Path("b")}, "--store FILE or --ratings FILE"),
        ({"store": Path("a"), "rules": "b"}, "--rules goes with --ratings"),
        ({"ratings": Path("a"), "judge": "b"}, "--judge goes with --store"),
        ({"ratings": Path("a"), "keep": "0"}, "at least 1"),
    ],
)
def test_arguments_that_do_not_fit_together_are_a_usage_error(given, says):
    with pytest.raises(UsageError, match=says):
        verbs.audit(**given)


def test_the_report_of_a_model_s_run_tells_agreement_cost_and_reliability(run_config, tmp_path):
    outcome = run(
        run_config(
            judge="fake:planted",
            sample_judge="fake:planted,seed=5,prose=.05",
            rules={"sample": 60, "retest": 40, "anchor": "overall", "keep": 2},
            corpus={"limit": 80},
            domain="answers to questions",
            yes=True,
            max_failed=1.0,
        )
    )
    figures = report_file(tmp_path / "out.jsonl.receipt.json")
    by_name = {stage.name: stage for stage in figures.stages}
    with Store(tmp_path / "store.duckdb", read_only=True) as store:
        calls = dict(store.db.rows("SELECT stage, count(*) FROM calls GROUP BY stage"))
    assert {name: stage.calls for name, stage in by_name.items()} == calls
    assert all(stage.tokens_in > 0 and stage.seconds >= 0 for stage in figures.stages)
    assert [one.name for one in figures.agreement] == [
        "score, asked again in other words",
        "score by fake:planted,seed=5,prose=.05 and by fake:planted",
        "score and the overall grade, which the choice was given",
    ]
    assert figures.agreement[0].rows <= 40
    assert figures.audit.chosen == outcome.choice.indices
    assert figures.audit.cost.tokens_chosen > 0
    known = [card.reliability for card in figures.audit.rules if card.reliability is not None]
    assert known
    assert all(one.low <= one.value <= one.high for one in known)
