from __future__ import annotations

import numpy as np
import pytest

from rulesel.reporting.run import Run
from rulesel.reporting.run_figures import RunFigures, Stage
from rulesel.reporting.run_measure import measure
from rulesel.reporting.run_page import run_page, summary
from rulesel.rules.audit_figures import AuditFigures

N, K = 200, 40


def run(**changes: object) -> Run:
    rng = np.random.default_rng(0)
    ratings = rng.random((N, 3))
    ratings[5] = [0, 1, 0]
    ratings[:4, 0] = np.nan
    scores = np.nanmean(ratings, axis=1)
    scores[[7, 9]] = np.nan
    lengths = rng.lognormal(6, 1, N)
    known = {
        "corpus": "c.jsonl",
        "scores": scores,
        "selected": np.argsort(-np.nan_to_num(scores, nan=-1), kind="stable")[:K],
        "method": "top_k",
        "ratings": ratings,
        "names": ["<b>a</b>", "b", "c"],
        "lengths": lengths,
        "flaws": ["wrong_answer" if row % 4 == 0 else None for row in range(N)],
        "sources": ["web" if row % 2 else f"s{row % 40}" for row in range(N)],
        "again": {"b": (ratings[:30, 1], ratings[:30, 1] * 2 + 1), "c": (ratings[:3, 2], ratings[:3, 2])},
        "tied": 1,
        "failures": {"parse": 4},
        "stages": [Stage(name="score", calls=600, dollars=None)],
        "texts": lambda rows: [f"row {row} <script>" for row in rows],
    }
    return Run(**(known | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def figures() -> RunFigures:
    return measure(run())


def test_every_row_is_accounted_for(figures: RunFigures) -> None:
    assert figures.rows == figures.selected + figures.not_selected + figures.failed == N
    assert figures.failed == 2


def test_the_baselines_are_what_they_say(figures: RunFigures) -> None:
    given = run()
    by_name = {one.name: one for one in figures.baselines}
    assert list(by_name) == ["selected", "random", "longest", "all"]
    chosen, guess, longest = by_name["selected"], by_name["random"], by_name["longest"]
    assert given.lengths is not None
    assert chosen.score is not None
    assert chosen.score.value == pytest.approx(np.nanmean(given.scores[given.selected]))
    assert longest.length is not None
    assert longest.length.value == pytest.approx(np.sort(given.lengths)[-K:].mean())
    assert guess.overlap is not None
    assert guess.overlap.value == pytest.approx(K / (N - 2), abs=0.02)
    assert guess.flawed is not None
    assert guess.flawed.value == pytest.approx(K / 4, abs=0.6)
    assert guess.flawed.low is not None
    assert guess.flawed.low < guess.flawed.value
    assert chosen.flawed is not None
    assert chosen.flawed.value == sum(row % 4 == 0 for row in given.selected)


def test_flaws_and_sources_are_counted_in_corpus_and_selection(figures: RunFigures) -> None:
    flaws = {one.value: (one.all, one.selected) for one in figures.flaws}
    assert flaws["sound"][0] == 150
    assert flaws["wrong_answer"][0] == 50
    assert sum(selected for _, selected in flaws.values()) == K
    sources = figures.drift.sources
    assert sources[0].value == "web"
    assert sources[-1].value.endswith("others")
    assert sum(one.all for one in sources) == N
    assert sum(one.selected for one in sources) == K


def test_rules_shift_towards_the_selection_and_failures_are_counted(figures: RunFigures) -> None:
    assert all((one.shift or 0) > 0.3 for one in figures.rules)
    assert [one.failed for one in figures.rules] == [4, 0, 0]


def test_the_most_disputed_row_is_the_one_the_rules_disagree_on() -> None:
    ratings = np.random.default_rng(1).normal(0.5, 0.01, (N, 4))
    ratings[17] = [0.4, 0.6, 0.4, 0.6]
    figures = measure(run(ratings=ratings, names=["a", "b", "c", "d"]))
    assert figures.disputed[0].row == 17
    assert figures.disputed[0].text == "row 17 <script>"


def test_best_and_worst_rows_are_in_order_and_carry_their_rank(figures: RunFigures) -> None:
    scores = [one.score or 0 for one in figures.best]
    assert scores == sorted(scores, reverse=True)
    assert [one.rank for one in figures.best] == list(range(1, 11))
    assert all(one.rank is None for one in figures.worst)
    assert {one.row for one in figures.worst}.isdisjoint({7, 9})


def test_agreement_is_pearsons_with_its_interval_and_none_on_too_few_rows(figures: RunFigures) -> None:
    b, c = figures.agreement
    assert b.correlation is not None
    assert b.correlation.value == pytest.approx(1.0)
    assert b.correlation.low is not None
    assert b.correlation.low > 0.99
    assert c.rows == 3
    assert c.correlation is None


def test_longer_picks_are_said_to_be_longer() -> None:
    given = run()
    assert given.lengths is not None
    figures = measure(run(selected=np.argsort(-given.lengths)[:K]))
    assert (figures.drift.length_shift or 0) > 1
    assert any("longer than the corpus" in sentence for sentence in summary(figures))
    assert figures.baselines[2].overlap is not None
    assert figures.baselines[2].overlap.value == 1


def test_figures_reproduce_and_survive_json(figures: RunFigures) -> None:
    assert measure(run()) == figures
    assert RunFigures.model_validate_json(figures.model_dump_json()) == figures


def test_a_run_with_nothing_but_scores_has_a_page() -> None:
    figures = measure(Run(corpus="c", scores=np.ones(10), selected=np.arange(3), method="random"))
    assert "All scores are equal" in run_page(figures)
    assert measure(Run(corpus="c", scores=np.ones(3), selected=np.arange(0), method="random")).selected == 0


def test_the_page_escapes_what_it_shows_and_includes_the_audit(figures: RunFigures, audit: AuditFigures) -> None:
    page = run_page(figures.model_copy(update={"audit": audit}))
    assert "row 1 <script>" not in page
    assert "<b>a</b>" not in page
    assert '<section id="every">' in page
    assert '<section id="against">' in page
    assert "unknown" in page
    assert '<section id="every">' not in run_page(figures)


def test_columns_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="lengths has 3 rows"):
        measure(run(lengths=np.ones(3)))


def test_the_interval_of_a_perfect_agreement_holds_it() -> None:
    column = np.arange(20.0)
    run = Run(corpus="c", scores=column, selected=np.arange(5), method="top_k", again={"r": (column, column)})
    found = measure(run).agreement[0].correlation
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high
