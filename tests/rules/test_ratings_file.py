from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from rulesel.errors import UsageError
from rulesel.records import Status
from rulesel.rules.columns_file import BLOCK
from rulesel.rules.ratings_file import RatingsFile, named_rules, read_ratings

WIDE = {
    "id": ["a", "b", "c"],
    "clear": [0.5, None, 1.0],
    "short": [3, 4, 5],
    "note": ["x", "y", "z"],
    "overall": [1.0, 2.0, 3.0],
}
EXPECTED = np.array([[0.5, 3], [np.nan, 4], [1.0, 5]], dtype=np.float32)


def lines(path: Path, records: list[object]) -> Path:
    path.write_bytes(b"\n".join(orjson.dumps(record) for record in records) + b"\n")
    return path


def written(folder: Path, kind: str, columns: dict[str, list[object]]) -> Path:
    path = folder / f"ratings.{kind}"
    table = pa.table(columns)
    if kind == "parquet":
        parquet.write_table(table, path)
    elif kind == "csv":
        csv.write_csv(table, path)
    else:
        lines(path, table.to_pylist())
    return path


def check_wide(found: RatingsFile) -> None:
    assert found.ids == ["a", "b", "c"]
    assert found.names == ["clear", "short"]
    assert found.values.dtype == np.float32
    np.testing.assert_array_equal(found.values, EXPECTED)
    assert found.status.tolist() == [[0, 0], [Status.parse, 0], [0, 0]]
    assert found.shape == "wide"


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_a_wide_file_has_one_column_a_rule(tmp_path: Path, kind: str) -> None:
    found = read_ratings(written(tmp_path, kind, WIDE))
    check_wide(found)
    assert found.anchor is None
    assert set(found.skipped) == {"note", "overall"}
    assert "anchor" in found.skipped["overall"]


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_a_long_file_says_the_same_as_the_wide_one(tmp_path: Path, kind: str) -> None:
    rows = [
        {"example_id": example, "rule_name": rule, "score": value, "rater": "r"}
        for rule in ("clear", "short")
        for example, value in zip(WIDE["id"], WIDE[rule], strict=True)
    ]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    found = read_ratings(written(tmp_path, kind, columns))
    assert found.shape == "long"
    assert found.ids == ["a", "b", "c"]
    assert found.names == ["clear", "short"]
    np.testing.assert_array_equal(found.values, EXPECTED)
    assert found.skipped == {"rater": "stands beside the ratings"}


def test_a_pair_that_a_long_file_does_not_mention_is_not_applicable_and_a_status_is_kept(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "r.jsonl",
        [
            {"id": "a", "rule": "x", "score": 1, "status": "ok"},
            {"id": "a", "rule": "y", "score": None, "status": "low_mass"},
            {"id": "b", "rule": "x", "score": 0.25, "status": "timeout"},
        ],
    )
    found = read_ratings(path)
    assert found.status.tolist() == [[Status.ok, Status.low_mass], [Status.timeout, Status.not_applicable]]
    assert np.isnan(found.values).tolist() == [[False, True], [True, True]]


@pytest.mark.parametrize("scores", [[1, 2.5, None], {"clear": 1, "short": 2.5, "third": None}])
def test_a_nested_field_of_scores_is_spread_and_what_stands_beside_it_is_no_rule(
    tmp_path: Path, scores: object
) -> None:
    path = lines(tmp_path / "r.jsonl", [{"id": n, "scores": scores, "overall": 9 - n, "truth": 1} for n in range(3)])
    found = read_ratings(path, anchor="overall")
    assert found.names == (["1", "2", "3"] if isinstance(scores, list) else ["clear", "short", "third"])
    np.testing.assert_array_equal(found.values[1], np.array([1, 2.5, np.nan], dtype=np.float32))
    assert found.anchor is not None
    assert found.anchor.tolist() == [9, 8, 7]
    assert found.skipped == {"truth": "stands beside the ratings"}
    table = pa.Table.from_pylist([{"id": n, "scores": scores, "overall": 9 - n} for n in range(3)])
    parquet.write_table(table, tmp_path / "r.parquet")
    np.testing.assert_array_equal(read_ratings(tmp_path / "r.parquet").values, found.values)


def test_named_rules_come_in_the_order_asked_for_and_may_be_ones_that_look_like_labels(tmp_path: Path) -> None:
    found = read_ratings(written(tmp_path, "csv", WIDE), rules=["overall", "clear"])
    assert found.names == ["overall", "clear"]
    assert found.values[:, 0].tolist() == [1, 2, 3]


def test_words_and_infinities_among_numbers_are_failures_not_numbers(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("id,x,y\na,1,2\nb,n/a,1\nc,inf,0.5\n", encoding="utf-8")
    found = read_ratings(path)
    assert found.status[:, 0].tolist() == [Status.ok, Status.parse, Status.range]
    assert found.values[0, 0] == 1
    assert np.isnan(found.values[1:, 0]).all()


def test_without_ids_rows_are_numbered_and_json_fields_may_come_and_go(tmp_path: Path) -> None:
    path = lines(tmp_path / "r.jsonl", [{"x": 1}, {"y": 2}, *({"x": 0, "y": 1} for _ in range(BLOCK))])
    found = read_ratings(path)
    assert found.ids[:3] == ["0", "1", "2"]
    assert found.names == ["x", "y"]
    np.testing.assert_array_equal(found.values[:2], [[1, np.nan], [np.nan, 2]])
    assert len(found.values) == BLOCK + 2
    assert not np.isnan(found.values[2:]).any()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"id": "a", "x": 1}\n{broken\n', ":2 is not valid JSON"),
        ('{"id": "a", "x": 1}\n[1]\n', ":2 is valid JSON, but not an object"),
        ('{"id": "a", "x": 1}\n{"id": "a", "x": 2}\n', "more than one row"),
        ('{"id": "a", "x": "words"}\n', "no column of numbers"),
        ("", "holds no rows"),
        ('{"id": "a", "rule": "x", "score": 1}\n{"id": "a", "rule": "x", "score": 2}\n', "'a' on rule 'x' more than"),
    ],
)
def test_a_bad_file_is_refused_in_words(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        read_ratings(path)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "csv", WIDE)
    with pytest.raises(UsageError, match="Did you mean 'overall'"):
        read_ratings(path, anchor="overal")
    with pytest.raises(UsageError, match="'clarity'"):
        read_ratings(path, rules=["clarity"])
    with pytest.raises(UsageError, match="does not exist"):
        read_ratings(tmp_path / "none.csv")
    with pytest.raises(UsageError, match="ends in"):
        read_ratings(tmp_path / "none.xlsx")
    (tmp_path / "fake.parquet").write_text("no parquet", encoding="utf-8")
    with pytest.raises(UsageError, match="not readable as Parquet"):
        read_ratings(tmp_path / "fake.parquet")


def test_names_become_rules_with_labels_that_are_short_and_distinct() -> None:
    long = "The answer follows every explicit constraint in the instruction, in "
    rules = named_rules(["short", f"{long} count", f"{long} style", " tab\tand\nline "], origin="r.csv").rules
    assert [rule.text for rule in rules] == ["short", f"{long.strip()} count", f"{long.strip()} style", "tab and line"]
    assert len({rule.name for rule in rules}) == 4
    assert all(len(rule.name) <= 64 for rule in rules)
    assert rules[2].name.endswith(" 2")
    with pytest.raises(UsageError, match="same name"):
        named_rules(["a", "a "])
    with pytest.raises(UsageError, match="blank"):
        named_rules([" \n"])
