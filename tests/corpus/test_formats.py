"""The same examples come out of every format, however they are packed and named."""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import hashlib
import io
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rulesel.corpus import Corpus, field_values, open_corpus
from rulesel.errors import CorpusError

ROWS = [
    {"prompt": f'p{i}\n\u2028, "q"; é', "response": f"r{i}", "source": "web" if i % 3 else "book"} for i in range(50)
]
Save = Callable[[list[pa.Table], Path], None]


def jsonl() -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=i % 2 == 0).encode() + b"\n" for i, row in enumerate(ROWS))


def table(rows: list[dict[str, str]] = ROWS) -> pa.Table:
    return pa.Table.from_pylist(rows)


def csv_text(mark: str = ",", end: str = "\n") -> bytes:
    sink = io.StringIO()
    writer = csv.DictWriter(sink, ROWS[0], delimiter=mark, lineterminator=end)
    writer.writeheader()
    writer.writerows(ROWS)
    return sink.getvalue().encode()


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(table(), sink, row_group_size=20)
    return sink.getvalue()


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


def hashes(corpus: Corpus, size: int = 7) -> list[str]:
    return [h for chunk in corpus.chunks(size) for h in chunk.hashes]


FILES = {
    "a.jsonl": (jsonl(), "jsonl", "JSON Lines"),
    "no newline at the end": (jsonl()[:-1], "jsonl", "JSON Lines"),
    "crlf.jsonl": (jsonl().replace(b"\n", b"\r\n"), "jsonl", "JSON Lines"),
    "bom.jsonl": (b"\xef\xbb\xbf" + jsonl(), "jsonl", "JSON Lines"),
    "a.jsonl.gz": (gzip.compress(jsonl()), "jsonl", "JSON Lines, gzip"),
    "a.jsonl.zst": (zstd(jsonl()), "jsonl", "JSON Lines, zstd"),
    "gzip in two members": (gzip.compress(jsonl()[:3000]) + gzip.compress(jsonl()[3000:]), "jsonl", "JSON Lines, gzip"),
    "gzip, padded": (gzip.compress(jsonl()) + bytes(512), "jsonl", "JSON Lines, gzip"),
    "zstd in two frames": (zstd(jsonl()[:3000]) + zstd(jsonl()[3000:]), "jsonl", "JSON Lines, zstd"),
    "gzip named.jsonl": (gzip.compress(jsonl()), "jsonl", "JSON Lines, gzip"),
    "plain named.jsonl.gz": (jsonl(), "jsonl", "JSON Lines"),
    "json lines named.csv": (jsonl(), "jsonl", "JSON Lines"),
    "json lines named.parquet": (jsonl(), "jsonl", "JSON Lines"),
    "a.csv": (csv_text(), "csv", "CSV"),
    "a.csv.gz": (gzip.compress(csv_text()), "csv", "CSV, gzip"),
    "crlf.csv": (csv_text(end="\r\n"), "csv", "CSV"),
    "bom.csv": (b"\xef\xbb\xbf" + csv_text(), "csv", "CSV"),
    "a.tsv": (csv_text("\t"), "csv", "CSV, separated by tabs"),
    "semicolons.csv": (csv_text(";"), "csv", "CSV, separated by ;"),
    "csv without a name": (csv_text(), "csv", "CSV"),
    "csv named.jsonl": (csv_text(), "csv", "CSV"),
    "a.parquet": (parquet(), "parquet", "Parquet, 50 rows"),
    "parquet named.jsonl": (parquet(), "parquet", "Parquet, 50 rows"),
}
EXPECTED = [
    "b2-"
    + hashlib.blake2b(
        json.dumps(
            {"prompt": r["prompt"], "response": r["response"]}, ensure_ascii=False, separators=(",", ":")
        ).encode(),
        digest_size=16,
    ).hexdigest()
    for r in ROWS
]


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_examples(tmp_path: Path, name: str) -> None:
    content, found, described = FILES[name]
    path = tmp_path / name
    path.write_bytes(content)
    corpus = open_corpus(path)
    assert (corpus.format, corpus.describe()[0]) == (found, f"format: {described}")
    assert hashes(corpus) == EXPECTED
    assert hashes(corpus, 1) == hashes(corpus, 50) == hashes(corpus, 1000) == EXPECTED
    assert (corpus.n_records, corpus.n_examples, corpus.skipped) == (50, 50, {})
    assert corpus.sha256 == open_corpus(path).sha256 == hashlib.sha256(content).hexdigest()
    assert corpus.n_bytes == corpus.bytes_read == len(content)
    assert set(corpus.fields) == set(ROWS[0])


def test_a_dataset_directory_gives_the_same_examples(tmp_path: Path, save_to_disk: Save) -> None:
    save_to_disk([table(ROWS[:20]), table(ROWS[20:])], tmp_path / "train")
    corpus = open_corpus(tmp_path / "train")
    assert hashes(corpus) == EXPECTED
    assert corpus.describe()[0] == "format: dataset directory, 50 rows"
    files = sorted((tmp_path / "train").glob("*.arrow"))
    assert corpus.sha256 == hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    assert corpus.n_bytes == sum(file.stat().st_size for file in files)


def test_of_several_splits_train_is_read_and_the_others_are_named(tmp_path: Path, save_to_disk: Save) -> None:
    save_to_disk([table()], tmp_path / "train")
    save_to_disk([table(ROWS[:3])], tmp_path / "test")
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["test", "train"]}')
    corpus = open_corpus(tmp_path)
    assert hashes(corpus) == EXPECTED
    assert corpus.describe()[0] == "format: dataset directory, split train (not read: test), 50 rows"
    assert len(hashes(open_corpus(tmp_path / "test"))) == 3


@pytest.mark.parametrize("content", [jsonl(), gzip.compress(jsonl()), csv_text(), parquet()])
def test_standard_input_gives_the_same_examples(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    corpus = open_corpus("-")
    assert corpus.path == "-"
    assert hashes(corpus) == hashes(corpus) == EXPECTED
    assert corpus.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b'{"text": "a"}\nx\n\n{"text": "b"}\n', [1, 4]),
        (b'text\na\n\n"b\nb"\nc,d\ne\n', [2, 4, 7]),
    ],
)
def test_rows_and_lines_name_the_same_record_at_any_chunk_size(
    tmp_path: Path, content: bytes, lines: list[int]
) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    corpus = open_corpus(path)
    assert [line for chunk in corpus.chunks() for line in chunk.lines] == lines
    assert [line for chunk in corpus.chunks(1) for line in chunk.lines] == lines
    assert corpus.n_records == corpus.n_examples + sum(corpus.skipped.values())


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.parquet"])
def test_a_limit_counts_examples_and_the_hash_is_of_the_whole_source(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name][0])
    corpus = open_corpus(path, limit=8)
    assert hashes(corpus) == EXPECTED[:8]
    assert (corpus.n_records, corpus.n_examples) == (8, 8)
    assert corpus.sha256 == hashlib.sha256(FILES[name][0]).hexdigest()


def test_any_field_is_read_again_from_the_records(tmp_path: Path, save_to_disk: Save) -> None:
    save_to_disk([table()], tmp_path / "dataset")
    for name in FILES:
        (tmp_path / name).write_bytes(FILES[name][0])
    for name in [*FILES, "dataset"]:
        corpus = open_corpus(tmp_path / name)
        records = [record for chunk in corpus.chunks() for record in chunk.records]
        for field in ("source", "prompt"):
            assert field_values(records, corpus.format, corpus.header, field) == [row[field] for row in ROWS]


def test_values_of_any_type_are_read_as_text() -> None:
    records = [b'{"n": 3}', b'{"n": null}', b"{}", b'{"n": "x"}', b'{"n": [1, {"b": 2, "a": true}]}', b'{"n": NaN}']
    assert field_values(records, "jsonl", None, "n") == ["3", None, None, "x", '[1, {"a": true, "b": 2}]', "NaN"]


def test_a_value_nested_too_deeply_is_no_value() -> None:
    record = b'{"text": "t", "n": ' + b"[" * 1000 + b"]" * 1000 + b"}"
    assert field_values([record], "jsonl", None, "n") == [None]
    assert field_values([record], "jsonl", None, "text") == ["t"]


def test_an_unknown_csv_field_is_refused() -> None:
    with pytest.raises(CorpusError, match="Did you mean 'source'"):
        field_values([b"a,b"], "csv", b"source,text\n", "sourc")


def test_a_row_of_any_arrow_types_is_shown_as_json(tmp_path: Path) -> None:
    moment = datetime.datetime(2024, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)
    columns = {
        "text": pa.array(["t"]),
        "day": pa.array([moment.date()]),
        "ns": pa.array([1], pa.timestamp("ns")),
        "took": pa.array([5], pa.duration("ns")),
        "price": pa.array([decimal.Decimal("1.50")]),
        "kind": pa.array(["k"]).dictionary_encode(),
        "meta": pa.array([{"a": 1, "when": moment, "raw": b"xy"}]),
        "tags": pa.array([["a", "b"]]),
        "pairs": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
        "vector": pa.array([[0.5] * 3]),
        "fixed": pa.array([[0.5] * 3], pa.list_(pa.float32(), 3)),
        "image": pa.array([b"\x89PNG"]),
        "score": pa.array([float("nan")]),
        "none": pa.nulls(1),
    }
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path)
    corpus = open_corpus(path)
    (chunk,) = corpus.chunks()
    shown = json.loads(chunk.records[0])
    assert shown == {
        "text": "t",
        "day": "2024-05-06",
        "ns": "1970-01-01 00:00:00.000000001",
        "took": "5",
        "price": "1.50",
        "kind": "k",
        "meta": {"a": 1, "when": "2024-05-06T07:08:09+00:00", "raw": "<2 bytes>"},
        "tags": ["a", "b"],
        "pairs": [["a", 1]],
        "score": None,
        "none": None,
    }


def test_messages_in_parquet_are_read(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"messages": [turns, turns]}), path)
    corpus = open_corpus(path)
    (chunk,) = corpus.chunks()
    assert (corpus.shape, chunk.prompts, chunk.responses) == ("messages", ["q", "q"], ["a", "a"])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.slow
def test_reading_holds_a_chunk_and_not_the_file(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "a.jsonl"
    line = b'{"prompt": "p", "response": "' + b"x" * 4000 + b'"}\n'
    content = line * 10_000
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    corpus = open_corpus(path)
    tracemalloc.start()
    try:
        n = sum(len(chunk) for chunk in corpus.chunks(200))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert n == 10_000
    assert peak < 12 << 20 < len(content) // 3
