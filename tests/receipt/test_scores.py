"""The scores of a run: right with all rules kept, never taken for those of another run, never those of a wrong version."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from rulesel.config import PickConfig, RunConfig, check, load
from rulesel.errors import UsageError
from rulesel.pipeline import Watcher, run
from rulesel.pipeline.comparing import compare
from rulesel.pipeline.explaining import verify_file
from rulesel.pipeline.selecting import select
from rulesel.store import Store

pytestmark = pytest.mark.slow


def ran(name="every", **over):
    return run(check(RunConfig, load(Path(f"{name}.yaml")) | {"yes": True} | over), Watcher())


def columns():
    with Store(Path("store.duckdb"), read_only=True) as store:
        return store.db.rows('SELECT id, "column" FROM columns WHERE name = \'score\' ORDER BY "column"')


def test_with_all_rules_kept_the_score_is_the_weighted_mean_of_the_rules_own_ratings(old):
    found = ran()
    choice = found.choice
    assert len(choice.indices) == 5
    assert choice.indices != [0, 1, 2, 3, 4]
    with Store(Path("store.duckdb"), read_only=True) as store:
        wanted = np.zeros(len(found.scored.pool))
        for j, weight in zip(choice.indices, choice.weights, strict=True):
            rule = found.rule_set.rules[j]
            held = dict(
                store.db.rows(
                    "SELECT content, value FROM ratings JOIN rules USING (rule) JOIN raters USING (rater) "
                    "WHERE rules.id = ? AND judge = 'signals'",
                    rule.id,
                )
            )
            values = np.array([held[c] for c in found.scored.rows.content[found.scored.pool].tolist()])
            wanted += weight * choice.sign[j] * (values - choice.mean[j]) / choice.sd[j]
    np.testing.assert_allclose(found.scored.scores, wanted, atol=1e-6)
    assert all(check.agrees for check in verify_file(Path("every.jsonl.receipt.json")))


def test_two_samples_have_two_columns_of_scores(old):
    before = columns()
    first = ran(seed=1)
    second = ran(seed=2)
    assert sorted(first.choice.indices) == sorted(second.choice.indices)
    assert len(columns()) == len(before) + 2
    with Store(Path("store.duckdb"), read_only=True) as store:
        for found, (identity, _) in zip((first, second), columns()[-2:], strict=True):
            contents = found.scored.rows.content[found.scored.pool]
            np.testing.assert_array_equal(store.columns.read_identity("score", identity, contents), found.scored.scores)
    assert np.abs(first.scored.scores - second.scored.scores).max() > 0.01
    ran(seed=1)
    assert len(columns()) == len(before) + 2


def test_a_rating_that_came_later_makes_other_scores_not_an_error(old):
    first = ran()
    gone = int(first.scored.rows.content[first.scored.pool[0]])
    with Store(Path("store.duckdb")) as store:
        store.db.con.execute(
            "UPDATE ratings SET value = NULL, status = 1 WHERE content = ? AND rule = ?",
            [gone, first.scored.numbers[0]],
        )
    assert np.isnan(ran().scored.scores[0])
    with Store(Path("store.duckdb")) as store:
        store.db.con.execute("DELETE FROM ratings WHERE status = 1")
    np.testing.assert_array_equal(ran().scored.scores, first.scored.scores)


def test_scores_of_the_version_that_permuted_columns_are_not_selected_by(old):
    config = check(PickConfig, {"select": {"k": 8}, "store": "store.duckdb", "out": "best.jsonl"})
    with pytest.raises(UsageError, match=r"'score' was computed by an earlier version .* wrong columns"):
        select(config, Watcher())
    picked = ran().receipt["selection"]["sha256"]
    assert select(config, Watcher())["selection"]["sha256"] == picked


def test_two_runs_are_compared_by_the_scores_of_the_first_whatever_ran_since(old):
    first = ran(seed=1, out="first.jsonl")
    ran("rulesel", out="second.jsonl")
    with Store(Path("store.duckdb")) as store:
        found = compare(store, "first.jsonl", "second.jsonl")
    scores = first.scored.scores
    assert found["shifts"]["A"]["mean_score"] == pytest.approx(scores[first.selection.indices].mean())
    assert found["shifts"]["pool"]["mean_score"] == pytest.approx(scores.mean())


def test_the_table_shows_the_share_of_the_weight_and_places_with_ties_by_id(old):
    config = load(Path("every.yaml"))["rules"] | {"weights": "decorrelated"}
    first = ran(rules=config)
    gone = int(first.scored.rows.content[first.scored.pool[4]])
    with Store(Path("store.duckdb")) as store:
        where = "content = ? AND rule = ?"
        store.db.con.execute(
            f"UPDATE ratings SET value = NULL, status = 1 WHERE {where}", [gone, first.scored.numbers[1]]
        )
    found = ran(rules=config, duplicates="keep-all", coverage=0.5, select={"k": 38})
    table = pq.read_table("every.jsonl.scores.parquet").to_pydict()
    (row,) = np.flatnonzero((found.scored.rows.content == gone) & (found.scored.rows.occurrence == 0))
    assert table["coverage"][row] == pytest.approx(1 - found.choice.weights[1])
    assert found.choice.weights[1] != pytest.approx(0.2, abs=1e-3)
    places = [int(why.rsplit("place ", 1)[1].split(" ")[0]) for why in table["reason"]]
    assert places == table["rank"]  # two rows are the same text
