"""Files of numbers into a store: every number reaches its record, or nothing is taken."""

import json

import numpy as np
import orjson
import pyarrow as pa
import pytest
from pyarrow import parquet

from rulesel.config import CorpusConfig, check
from rulesel.errors import UsageError
from rulesel.pipeline import Watcher
from rulesel.pipeline.checking import gold_of
from rulesel.pipeline.explaining import explain
from rulesel.pipeline.importing import import_column, import_embedding, import_ratings
from rulesel.pipeline.reading import open_source, read_corpus
from rulesel.rules.packs import load_rules
from rulesel.store import Store

SHUFFLED = [5, 3, 1, 7, 2, 6, 4]


@pytest.fixture
def stored(tmp_path):
    """A function that opens a store on a corpus whose records have the given ids; None for a record without one."""
    opened = []

    def make(ids, *, field="id", extra=None, limit=None, broken=(), file=False):
        lines = []
        for row, one in enumerate(ids):
            record = {"instruction": f"Question {row}", "output": f"Answer {row}"} | (extra or {}).get(row, {})
            if one is not None:
                record[field] = one
            lines.append(b"{" if row in broken else orjson.dumps(record))
        path = tmp_path / f"corpus{len(opened)}.jsonl"
        path.write_bytes(b"\n".join(lines) + b"\n")
        config = check(CorpusConfig, {"path": str(path), "limit": limit})
        store = Store(tmp_path / f"s{len(opened)}.duckdb" if file else None)
        opened.append(store)
        store.__enter__()
        read_corpus(store, config, open_source(config), Watcher())
        return store

    yield make
    for store in opened:
        store.__exit__(None, None, None)


@pytest.fixture
def scores(tmp_path):
    """A function that writes a CSV and returns its path."""

    def write(text, name="scores.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def column(store, name="q"):
    """row -> value."""
    rows = store.corpora.rows(store.corpora.current().corpus)
    values, _ = store.columns.read(name, rows.content)
    return {row: value for row, value in zip(rows.row.tolist(), values.tolist(), strict=True) if value == value}


def csv_of(ids, values=None):
    values = [10 * int(float(one)) for one in ids] if values is None else values
    return "id,q\n" + "".join(f"{one},{value}\n" for one, value in zip(ids, values, strict=True))


def test_a_file_without_ids_is_in_the_order_of_the_corpus_whatever_its_ids(stored, scores):
    store = stored([1, 2, 3, 4])
    found = import_column(store, scores("q\n9\n8\n7\n6\n"), "q")
    assert column(store) == {0: 9, 1: 8, 2: 7, 3: 6}
    assert found.ids == "in the corpus's order"


@pytest.mark.parametrize("text", ["q\n9\n8\n7\n", "q\n9\n8\n7\n6\n5\n"])
def test_a_file_without_ids_has_as_many_rows_as_the_corpus(stored, scores, text):
    store = stored([1, 2, 3, 4])
    for by in (None, "order"):
        with pytest.raises(UsageError, match=r"names no examples and has \d rows; the corpus has 4 records"):
            import_column(store, scores(text), "q", by=by)
    assert store.columns.names() == []


def test_order_counts_records_that_could_not_be_read(stored, scores):
    store = stored([1, 2, 3, 4], broken=[1])
    import_column(store, scores("q\n9\n8\n7\n6\n"), "q")
    assert column(store) == {0: 9, 2: 7, 3: 6}
    with pytest.raises(UsageError, match="4 records, of which 1 could not be read"):
        import_column(store, scores("q\n9\n7\n6\n"), "q")


def test_of_a_corpus_read_to_a_limit_the_first_rows_are_meant(stored, scores):
    store = stored([1, 2, 3, 4], limit=3)
    found = import_column(store, scores("q\n9\n8\n7\n6\n"), "q")
    assert column(store) == {0: 9, 1: 8, 2: 7}
    assert found.unknown == 1


def test_a_column_of_the_corpus_that_says_another_order_is_believed(stored, scores):
    store = stored(["a", "b", "c"], field="code")
    there = scores("code,q\na,1\nb,2\nc,3\n")
    import_column(store, there, "q")
    assert column(store) == {0: 1, 1: 2, 2: 3}
    moved = scores("code,q\nc,3\nb,2\na,1\n", "moved.csv")
    with pytest.raises(UsageError, match=r"'code'.*'c' stands where row 0 \(Question 0\) has 'a'.*--id-field code"):
        import_column(store, moved, "q")
    import_column(store, moved, "q", id_field="code")
    assert column(store) == {0: 1, 1: 2, 2: 3}
    import_column(store, moved, "q", by="order")
    assert column(store) == {0: 3, 1: 2, 2: 1}


@pytest.mark.parametrize("field", ["uid", "uuid", "_id", "example"])
def test_ids_of_the_records_are_found_under_their_usual_names(stored, scores, field):
    store = stored(["a", "b", "c"], field=field)
    import_column(store, scores(f"{field},q\nc,3\na,1\nb,2\n"), "q")
    assert column(store) == {0: 1, 1: 2, 2: 3}
    import_column(store, scores("id,q\nc,6\na,4\nb,5\n", "other.csv"), "q")
    assert column(store) == {0: 4, 1: 5, 2: 6}


@pytest.mark.parametrize("header", ["", "Unnamed: 0", "index"])
def test_an_index_in_another_order_is_believed(stored, scores, header):
    store = stored([None, None, None])
    import_column(store, scores(f"{header},q\n0,1\n1,2\n2,3\n"), "q")
    assert column(store) == {0: 1, 1: 2, 2: 3}
    with pytest.raises(UsageError, match="numbers its rows in another order"):
        import_column(store, scores(f"{header},q\n2,1\n1,2\n0,3\n"), "q")
    import_column(store, scores(f"{header},q\n2,1\n1,2\n0,3\n"), "q", by="row")
    assert column(store) == {0: 3, 1: 2, 2: 1}


@pytest.mark.parametrize("own", [int, float, str, lambda one: f"{one}.0"])
@pytest.mark.parametrize("written", [str, lambda one: f"{one}.0"])
def test_a_whole_number_is_the_same_id_however_it_is_written(stored, scores, own, written):
    store = stored([own(one) for one in SHUFFLED])
    import_column(store, scores(csv_of([written(one) for one in range(1, 8)])), "q")
    assert column(store) == {row: 10 * one for row, one in enumerate(SHUFFLED)}


def test_ids_that_differ_only_in_how_a_number_is_written_are_told_apart(stored, scores):
    store = stored(["1", "1.0", "2"])
    import_column(store, scores("id,q\n1.0,5\n1,6\n"), "q")
    assert column(store) == {0: 6, 1: 5}
    with pytest.raises(UsageError, match="differ only in how a number is written"):
        import_column(store, scores("id,q\n1.00,5\n2,6\n"), "q")


def test_ids_padded_with_zeros_are_text(stored, scores):
    store = stored(["0003", "0001", "0002"])
    import_column(store, scores("id,q\n0001,1\n0002,2\n0003,3\n"), "q")
    assert column(store) == {0: 3, 1: 1, 2: 2}
    with pytest.raises(UsageError, match="'id' has '1', the corpus has the id '0001'"):
        import_column(store, scores("id,q\n1,7\n2,8\n0,9\n"), "q")
    assert column(store) == {0: 3, 1: 1, 2: 2}


def test_words_for_missing_numbers_may_be_ids(stored, scores):
    store = stored(["NA", "null", "nan"])
    import_column(store, scores("id,q\nnull,2\nNA,1\nnan,\n"), "q")
    assert column(store) == {0: 1, 1: 2}


BIG = [2**53 + 1, 2**53, 2**53 + 3, 2**53 + 2]


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl", "nulls"])
def test_whole_numbers_beyond_2_to_the_53_stay_whole(stored, scores, tmp_path, kind):
    store = stored(BIG)
    path = tmp_path / f"scores.{'parquet' if kind == 'nulls' else kind}"
    ids = [*sorted(BIG), None] if kind == "nulls" else sorted(BIG)
    if kind == "csv":
        scores(csv_of(ids, [0, 1, 2, 3]))
    elif kind == "jsonl":
        path.write_text("".join(json.dumps({"id": one, "q": n}) + "\n" for n, one in enumerate(ids)))
    else:
        parquet.write_table(pa.table({"id": pa.array(ids, pa.int64()), "q": list(range(len(ids)))}), path)
    import_column(store, path, "q")
    assert column(store) == {0: 1, 1: 0, 2: 3, 3: 2}
    import_ratings(store, path, scale=(0, 10))
    assert store.db.one("SELECT count(*) FROM ratings WHERE value IS NOT NULL") == 4


def test_ids_that_went_through_floating_point_are_not_believed_beyond_2_to_the_53(stored, tmp_path):
    store = stored(BIG)
    path = tmp_path / "scores.parquet"
    parquet.write_table(
        pa.table({"id": pa.array(BIG, pa.int64()).cast(pa.float64(), safe=False), "q": [1, 1, 2, 2]}), path
    )
    with pytest.raises(UsageError, match="none of the 4 ids"):
        import_column(store, path, "q")


def test_ids_that_can_be_rows_as_well_are_refused_with_both_readings(stored, scores):
    store = stored([1, 2, 3, 4, 5, 6, 7, 8])
    with pytest.raises(
        UsageError,
        match=r"two ways: as the records' own 'id' 7 of 8 fit and '1' is row 0 \(Question 0\); as row numbers.* 8 of 8 fit "
        r"and '1' is row 1 \(Question 1\)\. Say --by id or --by row",
    ):
        import_column(store, scores(csv_of(range(8))), "q")
    import_column(store, scores(csv_of(range(8))), "q", by="row")
    assert column(store)[0] == 0
    assert column(store)[7] == 70
    found = import_column(store, scores(csv_of(range(8))), "q", by="id")
    assert column(store)[0] == 10
    assert found.unknown == 1


def test_a_column_called_as_the_corpus_calls_its_ids_holds_these(stored, scores):
    store = stored([2, 0, 1])
    import_column(store, scores("id,q\n0,10\n1,11\n2,12\n"), "q")
    assert column(store) == {0: 12, 1: 10, 2: 11}
    with pytest.raises(UsageError, match="'example' can be read in two ways"):
        import_column(store, scores("example,q\n0,10\n1,11\n2,12\n"), "q")
    import_column(store, scores("row,q\n0,10\n1,11\n2,12\n"), "q")
    assert column(store) == {0: 10, 1: 11, 2: 12}


def test_ids_that_fit_only_as_rows_are_asked_about_where_the_corpus_has_ids(stored, scores):
    store = stored(["x", "y", "z"])
    with pytest.raises(
        UsageError, match=r"row numbers \(3 of 3 fit\), but the records have ids of their own, such as 'x'"
    ):
        import_column(store, scores("id,q\n0,1\n1,2\n2,3\n"), "q")
    found = import_column(store, scores("id,q\n0,1\n1,2\n2,3\n"), "q", by="row")
    assert column(store) == {0: 1, 1: 2, 2: 3}
    assert found.ids == "'id' read as row numbers from 0"


def test_rows_of_a_corpus_without_ids_count_from_0(stored, scores):
    store = stored([None] * 4)
    import_column(store, scores("id,q\n2,1\n0,3\n"), "q")
    assert column(store) == {0: 3, 2: 1}
    with pytest.raises(UsageError, match=r"counted from 0, '1' is row 1 \(Question 1\); counted from 1 it is row 0"):
        import_column(store, scores("id,q\n1,1\n3,3\n"), "q")
    for by in ("row", None):
        with pytest.raises(UsageError, match=r"'4' is no row of the corpus: rows run from 0 to 3|counts from 0"):
            import_column(store, scores("id,q\n1,1\n2,2\n3,3\n4,4\n"), "q", by=by)


def test_rulesels_own_ids_and_their_hashes_are_known(stored, scores):
    store = stored([7, 8, 9])
    ids = store.corpora.ids(0, np.arange(3))
    import_column(store, scores(csv_of([ids[2], ids[0].rpartition("-")[0], "b2-0"], [1, 2, 3])), "q")
    assert column(store) == {2: 1, 0: 2}


def test_ids_in_any_order_some_unknown_some_empty_are_counted(stored, scores):
    store = stored([10, 20, 30, 40])
    found = import_column(store, scores("id,q\n30,3\n,9\n10,1\n99,4\n20,NA\n40,\n"), "q")
    assert column(store) == {0: 1, 2: 3}
    assert (found.examples, found.unknown) == (2, 1)
    assert found.left_out == ("1 rows without an id", "2 without a number")


def test_one_id_with_two_numbers_is_refused_and_the_same_twice_is_counted(stored, scores):
    store = stored([10, 20, 30])
    with pytest.raises(UsageError, match=r"names '20' more than once with different numbers \(2 and 9\)"):
        import_column(store, scores("id,q\n10,1\n20,2\n20.0,9\n30,3\n"), "q")
    found = import_column(store, scores("id,q\n10,1\n20,2\n20,2\n30,3\n"), "q")
    assert column(store) == {0: 1, 1: 2, 2: 3}
    assert found.left_out == ("1 rows that repeat another",)


def test_of_records_with_the_same_text_the_first_one_counts_and_it_is_said(stored, scores):
    same = {"instruction": "Q", "output": "A"}
    store = stored([1, 2, 3], extra={0: same, 2: same})
    found = import_column(store, scores("id,q\n3,5\n1,4\n2,2\n"), "q")
    assert column(store) == {0: 4, 1: 2, 2: 4}
    assert "1 texts stand in several records with different numbers" in found.left_out[0]
    import_column(store, scores("id,q\n3,5\n1,\n2,2\n"), "q")
    assert column(store) == {0: 5, 1: 2, 2: 5}


def test_an_id_of_two_records_is_refused(stored, scores):
    store = stored([1, 2, 1])
    with pytest.raises(UsageError, match=r"'1' is the 'id' of several records .* row 0 \(Question 0\) and row 2"):
        import_column(store, scores("id,q\n1,5\n2,4\n"), "q")
    import_column(store, scores("row,q\n0,5\n2,4\n"), "q")
    assert column(store) == {0: 5, 2: 4}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,q\n10,\n20,\n30,\n", "holds no numbers: every cell is empty"),
        ("id,q\n10,nan\n20,NA\n30,None\n", "holds no numbers: every cell is empty"),
        ("id,q\n10,inf\n20,-inf\n30,\n", "no example of the corpus has a number"),
        ("id,q\n10,low\n20,high\n30,\n", "holds no numbers; the first cell that is not empty is 'low'"),
        ("id,q\n10,1\n20,broken\n30,3\n", r"'broken' in row 2, which is no number \(1 such cells\)"),
        ("id,q\n10,1\n20,1_000\n30,3\n", "'1_000' in row 2"),
        ("id,q\n99,1\n98,1\n", "none of the 2 ids in 'id' "),
        ("id,q\n,1\n,2\n", "'id' is empty"),
        ("id,q\n10,1\n20\n", "not readable as a table"),
        ("id,q\n", "holds no rows"),
        ("id,q\n10,\n20,\n99,3\n", "no example of the corpus has a number"),
    ],
)
def test_what_holds_no_numbers_is_refused_and_the_column_before_it_stays(stored, scores, text, message):
    store = stored([10, 20, 30])
    import_column(store, scores("id,q\n10,1\n20,2\n30,3\n", "good.csv"), "q")
    with pytest.raises(UsageError, match=message):
        import_column(store, scores(text), "q")
    assert column(store) == {0: 1, 1: 2, 2: 3}


def test_what_is_not_finite_is_missing_and_counted(stored, scores):
    store = stored([10, 20, 30])
    found = import_column(store, scores("id,q\n10,1\n20,inf\n30,3\n"), "q")
    assert column(store) == {0: 1, 2: 3}
    assert found.left_out == ("1 not finite, taken as missing",)


def test_the_same_file_matched_in_another_way_is_taken_in_anew(stored, tmp_path, scores):
    store = stored([1, 2, 0])
    path = scores("id,helpful\n0,1\n1,5\n2,9\n")
    import_ratings(store, path, scale=(0, 10))
    import_ratings(store, path, scale=(0, 10), by="row", judge="rows")
    found = {
        who: store.db.rows("SELECT row, round(10 * score) FROM ratings_long WHERE rater = ? ORDER BY row", who)
        for who in ("file:scores.csv", "rows")
    }
    assert found == {"file:scores.csv": [(0, 5), (1, 9), (2, 1)], "rows": [(0, 1), (1, 5), (2, 9)]}


@pytest.mark.parametrize("text", ["id,helpful\n10,\n20,\n", "id,rule,score\n10,a,\n20,a,none\n"])
def test_ratings_without_a_number_are_refused(stored, scores, text):
    with pytest.raises(UsageError, match="holds no rating that is a number"):
        import_ratings(stored([10, 20]), scores(text))


def test_ratings_are_matched_as_columns_are(stored, scores):
    store = stored([1, 2, 3])
    import_ratings(store, scores("helpful\n1\n2\n3\n"), scale=(0, 4), judge="order")
    import_ratings(store, scores("id,rule,score\n3,helpful,3\n1,helpful,1\n,helpful,2\n,helpful,3\n"), scale=(0, 4))
    found = store.db.rows("SELECT rater, row, score FROM ratings_long WHERE status = 'ok' ORDER BY ALL")
    in_order = [("order", row, (row + 1) / 4) for row in range(3)]
    assert found == [("file:scores.csv", 0, 0.25), ("file:scores.csv", 2, 0.75), *in_order]
    with pytest.raises(UsageError, match="must be below the highest"):
        import_ratings(store, scores("helpful\n1\n2\n3\n"), scale=(4, 4))


def test_rules_that_the_set_does_not_have_are_not_matched_by_position(stored, scores, rules):
    store = stored([1, 2])
    with pytest.raises(UsageError, match="the rule set has no rule named 'Long'"):
        import_ratings(
            store,
            scores("id,Long,Numbered,Ends,Shouts,Asks\n1,0,1,2,3,4\n2,0,1,2,3,4\n"),
            rules=load_rules(str(rules)),
        )


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", ">f4"])
def test_an_array_in_the_order_of_the_corpus(stored, tmp_path, dtype):
    store = stored([1, 2, 3], file=True)
    vectors = np.array([[1, 0], [0, 2], [3, 3]], dtype=dtype)
    np.save(tmp_path / "v.npy", vectors)
    import_embedding(store, tmp_path / "v.npy")
    assert stored_vectors(store).tolist() == [[1, 0], [0, 2], [3, 3]]


def stored_vectors(store):
    identity = store.db.one("SELECT id FROM features ORDER BY made_at DESC LIMIT 1")
    return store.features.read(identity, store.corpora.rows(0).content)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([1, {"a": 1}], dtype=object), "no .npy array of numbers"),
        (np.zeros(3, dtype=[("id", int), ("vector", float, 2)]), "no plain array of numbers"),
        (np.zeros((3, 2), dtype=complex), "no plain array of numbers"),
        (np.full((3, 2), "a"), "no plain array of numbers"),
        (np.float32(3), r"array of shape \(\)"),
        (np.zeros(3, dtype=np.float32), r"array of shape \(3,\)"),
        (np.zeros((3, 2, 2), dtype=np.float32), "shape"),
        (np.zeros((3, 0), dtype=np.float32), "shape"),
        (np.zeros((2, 2), dtype=np.float32), "has 2 rows; the corpus has 3 records"),
        (np.zeros((4, 2), dtype=np.float32), "has 4 rows; the corpus has 3 records"),
        (np.full((3, 2), np.nan, dtype=np.float32), "no vector of finite numbers"),
        (np.full((3, 2), 1e300), "no vector of finite numbers"),
    ],
)
def test_an_array_that_does_not_fit_is_refused(stored, tmp_path, array, message):
    store = stored([1, 2, 3], file=True)
    np.save(tmp_path / "v.npy", array)
    with pytest.raises(UsageError, match=message):
        import_embedding(store, tmp_path / "v.npy")


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"text"])
def test_a_file_that_is_no_array_is_refused(stored, tmp_path, content):
    (tmp_path / "v.npy").write_bytes(content)
    with pytest.raises(UsageError, match=r"no \.npy array"):
        import_embedding(stored([1], file=True), tmp_path / "v.npy")
    with (tmp_path / "v.npy").open("wb") as file:
        np.savez(file, a=np.zeros((1, 2)))
    with pytest.raises(UsageError, match="no plain array"):
        import_embedding(stored([1], file=True), tmp_path / "v.npy")


@pytest.mark.parametrize("kind", ["parquet", "fixed", "jsonl"])
def test_vectors_with_ids_reach_their_records_and_missing_ones_are_counted(stored, tmp_path, kind):
    store = stored([10, 20, 30, 40], file=True)
    ids, vectors = [40, 10, 20, 77], [[4.0, 4.0], [1.0, 0.0], None, [7.0, 7.0]]
    if kind == "jsonl":
        path = tmp_path / "v.jsonl"
        path.write_text(
            "".join(json.dumps({"id": i, "embedding": v}) + "\n" for i, v in zip(ids, vectors, strict=True))
        )
    else:
        path = tmp_path / "v.parquet"
        vector = pa.list_(pa.float32(), 2) if kind == "fixed" else pa.list_(pa.float64())
        parquet.write_table(pa.table({"id": ids, "vector": pa.array(vectors, vector)}), path)
    found = import_embedding(store, path)
    assert (found.examples, found.unknown) == (2, 1)
    assert found.left_out == ("1 without a vector of finite numbers",)
    np.testing.assert_array_equal(stored_vectors(store), [[1, 0], [np.nan] * 2, [np.nan] * 2, [4, 4]])


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ([[1.0, 2.0], [1.0]], "'embedding' has 2 numbers in row 1 and 1 in row 2"),
        ([None, None], "no lists of numbers"),
        (["a", "b"], "no lists of numbers"),
        ([["a"], ["b"]], "something else than numbers"),
        ([[], []], "no lists of numbers"),
        ([[1.0, None], None], "no vector of finite numbers"),
    ],
)
def test_vectors_that_are_none_are_refused(stored, tmp_path, vectors, message):
    path = tmp_path / "v.parquet"
    parquet.write_table(pa.table({"id": [1, 2], "embedding": vectors}), path)
    with pytest.raises(UsageError, match=message):
        import_embedding(stored([1, 2], file=True), path)


def test_the_same_vectors_matched_in_another_way_are_other_vectors(stored, tmp_path):
    store = stored([1, 2, 0], file=True)
    path = tmp_path / "v.parquet"
    parquet.write_table(pa.table({"id": [0, 1, 2], "embedding": [[0.0], [1.0], [2.0]]}), path)
    import_embedding(store, path)
    assert stored_vectors(store)[:, 0].tolist() == [1, 2, 0]
    import_embedding(store, path, by="row")
    assert stored_vectors(store)[:, 0].tolist() == [0, 1, 2]


def test_gold_labels_are_matched_in_the_same_way(stored, scores):
    store = stored([1, 2, 3, 4])
    path = scores("id,truth\n0,1\n1,0\n2,1\n3,0\n")
    with pytest.raises(UsageError, match="two ways"):
        gold_of(store, str(path), "truth")
    assert gold_of(store, str(path), "truth", by="row") == "truth"
    assert column(store, "truth") == {0: 1, 1: 0, 2: 1, 3: 0}


def test_explain_knows_ids_rows_and_says_when_a_name_is_both(stored):
    store = stored([0, 7, 3, "ticket-3", 1, 9, 2])
    assert explain(store, "7")["row"] == 1
    assert explain(store, "7.0")["row"] == 1
    assert explain(store, "6")["row"] == 6
    assert explain(store, "0")["row"] == 0
    assert explain(store, "ticket-3")["row"] == 3
    with pytest.raises(UsageError, match=r"'3' is the 'id' of row 2 .*Question 2.* and the number of row 3"):
        explain(store, "3")
    assert explain(store, "3", by="id")["row"] == 2
    assert explain(store, "3", by="row")["row"] == 3
    with pytest.raises(UsageError, match=r"no example '007'.*It has the id '7'"):
        explain(store, "007")
    with pytest.raises(UsageError, match="no example '99'"):
        explain(store, "99")
    identity = explain(store, "ticket-3")["id"]
    assert explain(store, identity[:12])["row"] == 3
    assert explain(store, "Question 5", id_field="instruction")["row"] == 5
