"""Columns that say how good examples are: which one is meant, and what is no help."""

import numpy as np
import pytest

from rulesel.config import PickConfig, check
from rulesel.errors import UnknownName, UsageError
from rulesel.pipeline import Watcher, rate_sample
from rulesel.pipeline.auditing import audit_ratings, audit_store
from rulesel.pipeline.checking import against_gold, gold_of
from rulesel.pipeline.choosing import choose
from rulesel.pipeline.explaining import explain
from rulesel.pipeline.selecting import select
from rulesel.store import Store


class Recorder(Watcher):
    def __init__(self):
        self.said = []

    def say(self, line):
        self.said.append(line)


@pytest.fixture
def rated(run_config, tmp_path):
    """A store with a rated sample, a column of one number, one of none, and two of one name."""
    config = run_config(rules={"sample": 60}, corpus={"limit": 80})
    rate_sample(config)
    with Store(config.store_path) as store:
        contents = np.arange(80)
        store.columns.add("same", "b2-1", contents, np.full(80, 3.0), provenance={})
        store.columns.add("empty", "b2-2", contents + 1000, np.arange(80.0), provenance={})
        for identity, about, values in (("b2-3", "maths", contents), ("b2-4", "poems", -contents)):
            provenance = {"model": "m", "about": about}
            store.columns.add("overall", identity, contents, values.astype(float), provenance=provenance)
    return config.store_path


BAD = [
    ("same", r"'same' is 3 wherever it is known: it tells no example from another"),
    ("empty", r"'empty' has no number for any of the"),
    ("nothing", r"No column named 'nothing'"),
]


@pytest.mark.parametrize(("name", "message"), BAD)
def test_a_reference_that_is_no_help_is_refused_in_one_line(rated, run_config, name, message):
    with Store(rated) as store:
        with pytest.raises(UsageError, match=message):
            against_gold(store, name)
        with pytest.raises(UsageError, match=message):
            against_gold(store, "overall", [name])
        with pytest.raises(UsageError, match=message):
            audit_store(store, gold=name)
        with pytest.raises(UsageError, match=message):
            choose(store, run_config().rules, judge=None, gold=name, seed=0)


@pytest.mark.parametrize(("name", "message"), BAD)
def test_and_before_anything_is_rated(rated, run_config, monkeypatch, name, message):
    monkeypatch.setattr("rulesel.pipeline.chain.Chain._rate", lambda *_: pytest.fail("asked"))
    with pytest.raises(UsageError, match=message):
        rate_sample(run_config(rules={"anchor": name}, corpus={"limit": 80}))


def test_a_file_s_reference_that_is_no_help_is_refused(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("id,a,b,overall\n" + "".join(f"{i},{i % 3},{i % 5},7\n" for i in range(30)))
    with pytest.raises(UsageError, match="'overall' is 7 wherever it is known"):
        audit_ratings(path, gold="overall")
    with pytest.raises(UnknownName, match="'truth'"):
        audit_ratings(path, gold="truth")


def test_which_of_several_columns_of_a_name_is_meant_is_said(rated, tmp_path):
    pick = {"select": {"k": 1, "quality": "overall"}, "store": str(rated), "out": str(tmp_path / "o.jsonl")}

    def chosen():
        watcher = Recorder()
        receipt = select(check(PickConfig, pick), watcher)
        with Store(rated, read_only=True) as store:
            (row,) = store.selections.rows(receipt["selection"]["id"])[1].tolist()
        (said,) = [line for line in watcher.said if "columns are called" in line]
        return row, said

    row, said = chosen()
    assert said.startswith(
        "2 columns are called 'overall'; taken is the one asked for last, by m about 'poems' (b2-4), not"
    )
    assert row == 0
    with Store(rated) as store:
        store.columns.use("overall", "b2-3")
        both = [one for one in explain(store, "5", by="row")["columns"] if one["name"] == "overall"]
    assert [(one["id"], one["made"], one["value"]) for one in both] == [
        ("b2-3", "by m about 'maths'", 5.0),
        ("b2-4", "by m about 'poems'", -5.0),
    ]
    row, said = chosen()
    assert "by m about 'maths' (b2-3), not by m about 'poems' (b2-4)" in said
    assert row == 79


def test_labels_from_a_file_do_not_take_the_name_of_a_column_of_the_store(rated, tmp_path):
    path = tmp_path / "gold.csv"
    path.write_text("row,overall,truth\n" + "".join(f"{i},{i % 4},{i % 2}\n" for i in range(80)))
    with Store(rated) as store:
        assert gold_of(store, str(path), "truth") == "truth"
        assert gold_of(store, str(path), "truth") == "truth"
        assert gold_of(store, str(path), "overall") == "overall of gold.csv"
        assert store.columns.made_from("overall")[0] == "b2-4"
