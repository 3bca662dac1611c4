"""The store: what goes in comes out, once, whoever asks and whatever is interrupted."""

import multiprocessing

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rulesel.digest import digest
from rulesel.errors import StoreError, UnknownName
from rulesel.records import Ratings, Rule, RuleSet, Status
from rulesel.store import Store
from rulesel.store.ratings import UNRATED
from rulesel.store.schema import MIGRATIONS

RULES = tuple(Rule(name=f"rule {i}", text=f"It does thing {i}.") for i in range(4))


def read(store, texts, path="c.jsonl", **info):
    fields = {"source_format": "jsonl", "shape": "text", "mapping": {"text": "text"}, "header": None, "limit": None}
    incoming = store.corpora.begin(path=path, **fields | info)
    for start in range(0, len(texts), 3):
        part = texts[start : start + 3]
        rows = np.arange(start, start + len(part))
        hashes = [digest({"text": text}) for text in part]
        incoming.add(rows, hashes, [None] * len(part), part, [f"{{{i}}}".encode() for i in rows])
    return incoming.finish(sha256=digest(texts), n_records=len(texts), skipped={})


def ratings(n, width, seed=0, fail=0.0):
    rng = np.random.default_rng(seed)
    status = np.where(rng.random((n, width)) < fail, Status.parse, Status.ok).astype(np.uint8)
    values = np.where(status == Status.ok, rng.random((n, width)), np.nan).astype(np.float32)
    return Ratings(values, status, reasons={(i, j): "prose" for i, j in np.argwhere(status).tolist()})


def test_duplicates_share_a_content_and_keep_their_own_record():
    with Store() as store:
        corpus = read(store, ["a", "b", "a", "c", "a", "b"])
        rows = store.corpora.rows(corpus.corpus)
        assert rows.occurrence.tolist() == [0, 0, 1, 0, 2, 1]
        assert len(set(rows.content.tolist())) == 3
        assert store.corpora.records(corpus.corpus, np.array([4, 0])) == [b"{4}", b"{0}"]
        ids = store.corpora.ids(corpus.corpus, rows.row)
        assert len(set(ids)) == 6
        assert ids[2].removesuffix("-1") == ids[0].removesuffix("-0")


def test_a_grown_corpus_shares_what_was_there():
    with Store() as store:
        first = store.corpora.rows(read(store, ["a", "b", "c"]).corpus)
        second = store.corpora.rows(read(store, ["x", "c", "b", "a", "c"]).corpus)
        assert second.content[[3, 2, 1]].tolist() == first.content.tolist()
        assert second.occurrence.tolist() == [0, 0, 0, 0, 1]
        assert store.db.one("SELECT count(*) FROM contents") == 4


def test_an_interrupted_reading_leaves_nothing_behind():
    with Store() as store:
        read(store, ["a", "b"])
        incoming = store.corpora.begin(
            path="c", source_format="jsonl", shape="text", mapping={}, header=None, limit=None
        )
        incoming.add(np.arange(2), [digest({"text": t}) for t in "pq"], [None, None], ["p", "q"], [b"{}", b"{}"])
        corpus = read(store, ["q", "a"])
        assert store.db.one("SELECT count(*) FROM contents") == 3
        assert store.db.one("SELECT count(*) FROM examples") == 4
        assert store.corpora.current() == corpus


def test_ratings_come_back_as_they_went_in():
    with Store() as store:
        rows = store.corpora.rows(read(store, [str(i) for i in range(20)]).corpus)
        numbers = store.rules.numbers(RULES)
        made = ratings(20, 4, fail=0.3)
        store.ratings.add(rows.content, numbers, 0, "sample", made)
        order = np.random.default_rng(1).permutation(20)
        values, status = store.ratings.matrix(rows.content[order], numbers[::-1], 0)
        np.testing.assert_array_equal(values, made.values[order][:, ::-1])
        np.testing.assert_array_equal(status, made.status[order][:, ::-1])
        assert store.ratings.failures(0, numbers) == {"parse": int((made.status != 0).sum())}


@settings(max_examples=20)
@given(st.data())
@pytest.mark.slow
def test_missing_cells_are_exactly_those_nobody_rated(data):
    with Store() as store:
        n = data.draw(st.integers(1, 9))
        contents = store.corpora.rows(read(store, [str(i) for i in range(n)]).corpus).content
        numbers = store.rules.numbers(RULES)
        have = np.array(data.draw(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=n, max_size=n)))
        for i, j in np.argwhere(have):
            store.ratings.add(contents[[i]], [numbers[j]], 0, "corpus", ratings(1, 1))
            store.ratings.add(contents[[i]], [numbers[j]], 1, "corpus", ratings(1, 1))  # another rater's do not count
        found = store.ratings.missing(contents, numbers, 0)
        cells = [(content, rule) for cells in found for content in cells.contents.tolist() for rule in cells.rules]
        expected = {(contents[i], numbers[j]) for i, j in np.argwhere(~have)}
        assert len(cells) == len(set(cells))
        assert set(cells) == expected
        _, status = store.ratings.matrix(contents, numbers, 0)
        np.testing.assert_array_equal(status == UNRATED, ~have)


def test_forgotten_failures_are_missing_again():
    with Store() as store:
        contents = store.corpora.rows(read(store, ["a", "b", "c"]).corpus).content
        numbers = store.rules.numbers(RULES)
        made = ratings(3, 4, fail=0.5, seed=3)
        store.ratings.add(contents, numbers, 0, "corpus", made)
        failed = int((made.status != 0).sum())
        assert failed > 0
        assert store.ratings.forget(0, [Status.http]) == 0
        assert store.ratings.forget(0, [Status.parse, Status.ok]) == failed
        assert sum(cells.n for cells in store.ratings.missing(contents, numbers, 0)) == failed


def test_a_rule_set_comes_back_whole():
    rules = (
        Rule(name="a", text="A.", polarity="negative", sql="1.0"),
        Rule.model_validate({"name": "b", "text": "B.", "anchors": {"low": "none", "high": "all"}}),
    )
    rule_set = RuleSet(origin="here", domain="things", rules=rules)
    with Store() as store:
        store.rules.keep(rule_set)
        store.rules.keep(rule_set)
        assert store.rules.rule_set(rule_set.id) == rule_set
        with pytest.raises(KeyError):
            store.rules.rule_set("b2-none")


def test_columns_follow_the_content_and_the_newest_name_wins():
    with Store() as store:
        contents = store.corpora.rows(read(store, ["a", "b", "c"]).corpus).content
        store.columns.add("grade", "i1", contents, np.array([1.0, np.nan, 3.0]), provenance={})
        values, direction = store.columns.read("grade", contents[::-1])
        np.testing.assert_array_equal(values, [3.0, np.nan, 1.0])
        assert direction == "higher"
        store.columns.add("grade", "i2", contents[:1], np.array([7.0]), direction="lower", provenance={})
        values, direction = store.columns.read("grade", contents)
        np.testing.assert_array_equal(values, [7.0, np.nan, np.nan])
        assert direction == "lower"
        with pytest.raises(UnknownName, match="Did you mean 'grade'"):
            store.columns.read("grad", contents)


def test_statuses_and_stages_are_text_for_people_who_write_sql():
    with Store() as store:
        contents = store.corpora.rows(read(store, ["a", "b", "a"]).corpus).content
        numbers = store.rules.numbers(RULES)
        rater = store.rules.rater("r1", "signals", {}, {})
        status = np.zeros((3, 4), dtype=np.uint8)
        status[1, 2] = Status.low_mass
        values = np.where(status == 0, 0.5, np.nan).astype(np.float32)
        store.ratings.add(
            contents[:2], numbers, rater, "sample", Ratings(values[:2], status[:2], reasons={(1, 2): "why"})
        )
        rows = store.db.rows("SELECT stage, status, reason, score FROM ratings_long WHERE status <> 'ok'")
        assert rows == [("sample", "low_mass", "why", None)]
        assert store.db.one("SELECT count(*) FROM ratings_long") == 8
        store.ratings.widen(numbers, ['say "hi"', "b", "c", "d"], [rater] * 4)
        wide = store.db.arrow("SELECT * FROM ratings_wide ORDER BY row")
        assert wide.column_names == ["example_id", "row", 'say "hi"', "b", "c", "d"]
        assert wide.num_rows == 2
        other = store.rules.rater("b2-other", "other", {}, {})
        higher = Ratings(np.full((2, 4), 0.75, dtype=np.float32), np.zeros((2, 4), dtype=np.uint8))
        store.ratings.add(contents[:2], numbers, other, "corpus", higher)
        store.ratings.widen(numbers, ["a", "b", "c", "d"], [rater, other, rater, rater])
        assert store.db.rows("SELECT a, b, c FROM ratings_wide ORDER BY row") == [(0.5, 0.75, 0.5), (0.5, 0.75, None)]


def test_a_failed_transaction_leaves_no_half_of_it(monkeypatch):
    with Store() as store:
        contents = store.corpora.rows(read(store, ["a", "b"]).corpus).content
        numbers = store.rules.numbers(RULES)
        insert = store.db.insert

        def failing(table, rows, constant=None):
            if table == "rating_reasons":
                raise RuntimeError("disk")
            insert(table, rows, constant)

        monkeypatch.setattr(store.db, "insert", failing)
        with pytest.raises(RuntimeError, match="disk"):
            store.ratings.add(contents, numbers, 0, "sample", ratings(2, 4, fail=0.9))
        assert store.db.one("SELECT count(*) FROM ratings") == 0


def _hold(path, ready, done):
    with Store(path):
        ready.set()
        done.wait(30)


@pytest.mark.slow
def test_a_second_process_is_told_who_holds_the_file(tmp_path):
    path = tmp_path / "s.duckdb"
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(path, ready, done))
    holder.start()
    try:
        assert ready.wait(30)
        with pytest.raises(StoreError, match=rf"in use by process {holder.pid} .*--store"):
            Store(path)
    finally:
        done.set()
        holder.join()
    Store(path).close()


def test_a_newer_store_is_refused(tmp_path):
    path = tmp_path / "s.duckdb"
    with Store(path) as store:
        store.db.con.execute("INSERT INTO schema_version VALUES (?, now(), 'later')", [len(MIGRATIONS) + 1])
    with pytest.raises(StoreError, match="newer rulesel"):
        Store(path)


def test_what_is_no_store_is_refused(tmp_path):
    (tmp_path / "text.duckdb").write_text("hello " * 1000)
    with pytest.raises(StoreError, match=r"no DuckDB file|cannot be opened"):
        Store(tmp_path / "text.duckdb")
    with duckdb.connect(str(tmp_path / "other.duckdb")) as con:
        con.execute("CREATE TABLE mine (a INT)")
    with pytest.raises(StoreError, match="no rulesel store"):
        Store(tmp_path / "other.duckdb")
    with pytest.raises(StoreError, match="There is no store"):
        Store(tmp_path / "none.duckdb", must_exist=True)
    with pytest.raises(StoreError, match="no folder"):
        Store(tmp_path / "no" / "s.duckdb")


def test_the_secret_stays_with_the_store(tmp_path):
    with Store(tmp_path / "a.duckdb") as store:
        secret = store.secret
    with Store(tmp_path / "a.duckdb", read_only=True) as store:
        assert store.secret == secret
    with Store() as other:
        assert other.secret != secret


def test_files_are_written_in_the_form_that_duckdb_1_5_reads(tmp_path):
    with Store(tmp_path / "a.duckdb") as store:
        tags = store.db.one("SELECT tags::VARCHAR FROM duckdb_databases() WHERE database_name = 'store'")
    assert "v1.5" in tags


def test_other_numbers_under_an_identity_that_exists_are_refused(tmp_path):
    with Store(tmp_path / "s.duckdb") as store:
        contents, values = np.arange(3), np.array([1.0, np.nan, 3.0])
        store.columns.add("grade", "i", contents, values, provenance={})
        store.columns.add("grade", "i", np.array([2, 5]), np.array([3.0 * (1 + 1e-13), 5.0]), provenance={})
        np.testing.assert_array_equal(store.columns.read("grade", np.arange(6))[0], [1, np.nan, 3, np.nan, np.nan, 5])
        for other in ([1.0, 2.0, 3.0], [1.0, np.nan, np.nan], [1.0, np.nan, 3.0001]):
            with pytest.raises(StoreError, match=r"holds another column 'grade'.*1 examples"):
                store.columns.add("grade", "i", contents, np.array(other), provenance={})
        with pytest.raises(StoreError, match="another column"):
            store.columns.add("grade", "i", contents, values, direction="lower", provenance={})
        store.columns.replace("grade", "i", contents[:1], np.array([7.0]), provenance={})
        np.testing.assert_array_equal(store.columns.read("grade", contents)[0], [7, np.nan, np.nan])
