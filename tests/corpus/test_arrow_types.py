"""Every Arrow type that Parquet can hold is read, and its rows come out as they are."""

from __future__ import annotations

import base64
import datetime
import decimal
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rulesel.corpus import check_output, open_corpus, write_selection
from rulesel.errors import UsageError

LONG = "a text too long to stand in a view itself"


def column(value: Any, kind: pa.DataType) -> pa.Array:
    return pa.array([value, None, value, value, value], kind)


def dictionary(values: pa.Array) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([0, None, 0, 1, 1], pa.int8()), values)


COLUMNS: dict[str, pa.Array] = {
    **{f"timestamp {unit}": column(12345, pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")},
    **{f"duration {unit}": column(12345, pa.duration(unit)) for unit in ("s", "ms", "us", "ns")},
    **{f"list of timestamp {unit}": column([1, None], pa.list_(pa.timestamp(unit))) for unit in ("ms", "us", "ns")},
    "zoned": column(1, pa.timestamp("ns", "Europe/Oslo")),
    "an unknown zone": column(1, pa.timestamp("us", "Mars/Phobos")),
    "an unknown zone in a list": column([1], pa.list_(pa.timestamp("ns", "Mars/Phobos"))),
    "far future": column(2**62, pa.timestamp("us")),
    "struct of time": column(
        {"at": 1, "took": 2, "of": 3},
        pa.struct([("at", pa.timestamp("ns")), ("took", pa.duration("ns")), ("of", pa.time64("ns"))]),
    ),
    "map to time": column([("k", 1)], pa.map_(pa.string(), pa.timestamp("ns"))),
    "list of structs of time": column([{"at": 1}], pa.list_(pa.struct([("at", pa.timestamp("ns"))]))),
    "date": column(datetime.date(2024, 5, 6), pa.date32()),
    "list of dates": column([datetime.date(2024, 5, 6)], pa.list_(pa.date32())),
    "date64": column(86400000, pa.date64()),
    "far date": column(2**30, pa.date32()),
    "far dates": column([2**30], pa.list_(pa.date32())),
    "time": column(5, pa.time32("ms")),
    "time ns": column(5, pa.time64("ns")),
    "decimal": column(decimal.Decimal("1.50"), pa.decimal128(5, 2)),
    "wide decimal": column(decimal.Decimal("1.50"), pa.decimal256(60, 2)),
    "uint64": column(2**64 - 1, pa.uint64()),
    "half": column(1.5, pa.float16()),
    "struct of halves": column({"a": 1.5}, pa.struct([("a", pa.float16())])),
    "nulls": pa.nulls(5),
    "list of nulls": column([None], pa.list_(pa.null())),
    "large text": column(LONG, pa.large_string()),
    "view": column(LONG, pa.string_view()),
    "binary view": column(b"\xff" + LONG.encode(), pa.binary_view()),
    "list of views": column([LONG, None], pa.list_(pa.string_view())),
    "fixed list of views": column([LONG, None], pa.list_(pa.string_view(), 2)),
    "map of views": column([(LONG, LONG)], pa.map_(pa.string_view(), pa.string_view())),
    "list view": column([1, 2], pa.list_view(pa.int32())),
    "list view of text": column([LONG], pa.list_view(pa.string())),
    "list view of views": column([LONG], pa.list_view(pa.string_view())),
    "large list view of time": column([1], pa.large_list_view(pa.timestamp("ns"))),
    "fixed binary": column(b"abcd", pa.binary(4)),
    "struct of binary": column({"a": b"\xff"}, pa.struct([("a", pa.binary())])),
    "vector": column([1.0, 2.0], pa.list_(pa.float32(), 2)),
    "fixed list of structs": column([{"a": 1}, None], pa.list_(pa.struct([("a", pa.int64())]), 2)),
    "dictionary": dictionary(pa.array(["a", "b"])),
    "dictionary of time": dictionary(pa.array([1, 2], pa.timestamp("ns"))),
    "list of dictionary": pa.ListArray.from_arrays([0, 1, 2, 3, 4, 5], pa.array(list("abcab")).dictionary_encode()),
    "map of maps": column([("k", [("j", 1)])], pa.map_(pa.string(), pa.map_(pa.string(), pa.int64()))),
    "tensor": pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.float32(), [2]), pa.array([[1.0, 2.0]] * 5, pa.list_(pa.float32(), 2))
    ),
}
for _name in ("uuid", "json_", "bool8"):
    if hasattr(pa, _name):
        _kind = getattr(pa, _name)()
        _storage = {"uuid": [b"0123456789abcdef"], "json_": ['{"a": 1}'], "bool8": [1]}[_name] * 5
        COLUMNS[_name] = pa.ExtensionArray.from_storage(_kind, pa.array(_storage, _kind.storage_type))


def texts(n: int = 5) -> dict[str, list[str]]:
    return {"prompt": [f"p{i}" for i in range(n)], "response": [f"r{i}" for i in range(n)]}


def same(found: pa.Table, expected: pa.Table) -> bool:
    """Equal to the last bit; NaN is no matter here."""
    columns = zip(found.columns, expected.columns, strict=True)
    return found.schema.equals(expected.schema, check_metadata=True) and all(a.equals(b) for a, b in columns)


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_any_type_costs_no_row_and_comes_out_whole(tmp_path: Path, name: str) -> None:
    path, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.table(texts() | {"x": COLUMNS[name]}), path, row_group_size=2)
    corpus = open_corpus(path)
    chunks = list(corpus.chunks(2))
    assert corpus.skipped == {}
    shown = [json.loads(record) for chunk in chunks for record in chunk.records]
    assert [row["prompt"] for row in shown] == texts()["prompt"]
    order = [4, 1, 0, 3]
    write_selection(out, corpus.source, order)
    source = pq.read_table(path)
    expected = pa.concat_tables([source.slice(i, 1) for i in order])
    assert same(pq.read_table(out), expected)


def test_times_finer_than_microseconds_are_shown_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    names = ("struct of time", "map to time", "an unknown zone", "dictionary of time", "list of structs of time")
    pq.write_table(pa.table(texts() | {name: COLUMNS[name] for name in names}), path)
    (chunk,) = open_corpus(path).chunks()
    shown = json.loads(chunk.records[0])
    moment = "1970-01-01 00:00:00.000000001"
    assert shown["struct of time"] == {"at": moment, "took": "2", "of": "00:00:00.000000003"}
    assert shown["map to time"] == [["k", moment]]
    assert shown["an unknown zone"] == "1970-01-01 00:00:00.000001"
    assert shown["dictionary of time"] == moment
    assert shown["list of structs of time"] == [{"at": moment}]


def test_conversations_of_views_are_read_and_written(tmp_path: Path) -> None:
    """As polars writes them: the file holds texts, and says that they are read as views."""
    path, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    turns = [
        [{"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": f"{LONG} {i}"}] for i in range(3000)
    ]

    def conversation(text: pa.DataType) -> pa.DataType:
        return pa.large_list(pa.field("element", pa.struct([("role", text), ("content", text)])))

    schema = pa.schema(
        [("messages", conversation(pa.string_view())), ("x", pa.string_view())], metadata={"mine": "kept"}
    )
    table = pa.table({"messages": pa.array(turns, conversation(pa.string())), "x": ["x"] * 3000})
    with pq.ParquetWriter(path, table.schema, store_schema=False) as writer:
        stored = {"ARROW:schema": base64.b64encode(schema.serialize().to_pybytes())}
        writer.add_key_value_metadata({"mine": "kept"} | stored)
        writer.write_table(table, row_group_size=700)
    assert pq.read_schema(path).equals(schema, check_metadata=True)
    corpus = open_corpus(path)
    assert sum(map(len, corpus.chunks())) == 3000
    order = [2999, 0, *range(1, 2999, 7)]
    write_selection(out, corpus.source, order)
    found = pq.read_table(out)
    assert found.schema.equals(schema, check_metadata=True)
    assert found["messages"].to_pylist() == [turns[i] for i in order]
    assert out.stat().st_size < path.stat().st_size


def test_a_dataset_column_that_parquet_cannot_hold_is_refused_before_any_work(
    tmp_path: Path, save_to_disk: Callable[[list[pa.Table], Path], None]
) -> None:
    union = pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])])
    save_to_disk([pa.table(texts(2) | {"u": union, "dict": pa.array(["a", "b"]).dictionary_encode()})], tmp_path / "d")
    corpus = open_corpus(tmp_path / "d")
    assert sum(map(len, corpus.chunks())) == 2
    out = tmp_path / "out.parquet"
    with pytest.raises(UsageError, match=r"cannot hold the column 'u' \(sparse_union.*--as messages"):
        check_output(out, corpus.format, header=corpus.header)
    check_output(tmp_path / "out.jsonl", corpus.format, "messages", header=corpus.header)
