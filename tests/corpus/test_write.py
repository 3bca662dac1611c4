"""Selections are written in the order given, byte for byte, whole or not at all."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rulesel.corpus import Corpus, SourceInfo, Stored, check_output, gather, open_corpus, write_selection
from rulesel.corpus.convert import Shape
from rulesel.errors import CorpusError, RuleselError, UsageError

Save = Callable[[list[pa.Table], Path], None]
JSONL = SourceInfo("jsonl", None, Path("a.jsonl"), "text")


def records(corpus: Corpus) -> list[bytes]:
    return [record for chunk in corpus.chunks(3) for record in chunk.records]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- byte for byte -------------------------------------------------------------------------------------------------

FIELDS = st.fixed_dictionaries(
    {"prompt": st.text(), "response": st.text()},
    optional={"n": st.integers() | st.floats() | st.none(), "\u2028": st.lists(st.text(max_size=3), max_size=3)},
)
LINES = st.one_of(
    st.builds(
        lambda fields, ascii_, gap, end: (
            json.dumps(fields, ensure_ascii=ascii_, separators=gap).encode("utf-8", "replace") + end
        ),
        FIELDS,
        st.booleans(),
        st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " : ")]),
        st.sampled_from([b"", b"\r", b"  "]),
    ),
    st.binary(max_size=20).map(lambda b: b.replace(b"\n", b"")),
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("round-trip")


@settings(max_examples=150, deadline=None)
@given(lines=st.lists(LINES, max_size=8), last=st.booleans(), random=st.randoms(use_true_random=False))
@pytest.mark.slow
def test_json_lines_come_out_as_they_went_in(directory: Path, lines: list[bytes], last: bool, random: object) -> None:
    lines.insert(0, b'{"prompt": "p", "response": "r"}')  # any other first line may look like another format
    path, out = directory / "in.jsonl", directory / "out.jsonl"
    path.write_bytes(b"\n".join(lines) + (b"\n" if last or not lines[-1] else b""))
    corpus = open_corpus(path)
    chunks = list(corpus.chunks(3))
    rows = [int(row) for chunk in chunks for row in chunk.rows]
    stored = [record for chunk in chunks for record in chunk.records]
    assert stored == [line for row, line in enumerate(lines) if row in rows]
    assert corpus.n_records == len(rows) + sum(corpus.skipped.values()) == len(lines)
    random.shuffle(stored)  # type: ignore[attr-defined]
    assert write_selection(out, corpus.source, stored) == sha256(out)
    assert out.read_bytes() == b"".join(record + b"\n" for record in stored)
    assert records(open_corpus(out)) == stored


CELLS = st.one_of(
    st.text(st.characters(exclude_characters='",\n\r\x00', codec="utf-8"), min_size=1).map(lambda t: (t, t)),
    st.text(st.characters(codec="utf-8"), min_size=1).map(lambda t: (t, '"' + t.replace('"', '""') + '"')),
)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8),
    end=st.sampled_from(["\n", "\r\n"]),
    bom=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    last=st.booleans(),
)
@pytest.mark.slow
def test_csv_rows_come_out_as_they_went_in(
    directory: Path, rows: list[tuple[tuple[str, str], tuple[str, str]]], end: str, bom: bytes, last: bool
) -> None:
    rows.append((("p", "p"), ("r", '"r"')))
    header = bom + ("prompt,response" + end).encode()
    raw = [f"{a},{b}".encode() for (_, a), (_, b) in rows]
    path, out = directory / "in.csv", directory / "out.csv"
    path.write_bytes(header + end.encode().join(raw) + (end.encode() if last else b""))
    corpus = open_corpus(path)
    chunks = list(corpus.chunks(3))
    usable = [i for i, ((a, _), (b, _)) in enumerate(rows) if a.strip() and b.strip()]
    assert [int(row) for chunk in chunks for row in chunk.rows] == usable
    pairs = [pair for c in chunks for pair in zip(c.prompts, c.responses, strict=True)]
    assert pairs == [(rows[i][0][0], rows[i][1][0]) for i in usable]
    stored = [record for chunk in chunks for record in chunk.records]
    assert stored == [raw[i] for i in usable]
    assert corpus.header == header
    stored.reverse()
    assert write_selection(out, corpus.source, stored) == sha256(out)
    assert out.read_bytes() == header + b"".join(record + end.encode() for record in stored)
    assert records(open_corpus(out)) == stored


# --- packed --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz", "out.jsonl.zst", "out"])
def test_the_name_decides_the_packing_and_equal_content_gives_equal_bytes(tmp_path: Path, name: str) -> None:
    stored = [b'{"text": "%d"}' % i for i in range(1000)]
    out, other = tmp_path / name, tmp_path / ("other-" + name)
    assert write_selection(out, JSONL, stored) == write_selection(other, JSONL, iter(stored)) == sha256(out)
    assert records(open_corpus(out)) == stored
    packed = out.read_bytes()[:2]
    assert (packed == b"\x1f\x8b", packed == b"\x28\xb5") == (name.endswith("gz"), name.endswith("zst"))
    if name.endswith("gz"):
        assert gzip.decompress(out.read_bytes()) == b"".join(record + b"\n" for record in stored)


def test_an_empty_selection_is_an_empty_file(tmp_path: Path) -> None:
    assert write_selection(tmp_path / "out.jsonl", JSONL, []) == hashlib.sha256(b"").hexdigest()


# --- rows of an Arrow schema ---------------------------------------------------------------------------------------


def rich_table(n: int) -> pa.Table:
    rng = np.random.default_rng(0)
    turns = [[{"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": f"a{i}"}] for i in range(n)]
    table = pa.table(
        {
            "prompt": pa.array([f"p{i}" for i in range(n)], pa.large_string()),
            "response": [None if i % 17 == 3 else f"r{i}" for i in range(n)],
            "kind": pa.array([f"k{i % 5}" for i in range(n)]).dictionary_encode(),
            "vector": pa.array(list(rng.random((n, 4))), pa.list_(pa.float64(), 4)),
            "turns": turns,
            "when": pa.array(range(n), pa.timestamp("us", "UTC")),
            "image": [b"\x00\xff%d" % i for i in range(n)],
        }
    )
    schema = table.schema.with_metadata({b"huggingface": b'{"info": {}}', b"mine": b"kept"})
    return table.cast(schema.set(0, schema.field(0).with_metadata({b"unit": b"words"})))


@pytest.mark.parametrize("codec", ["zstd", "snappy", "none"])
def test_parquet_rows_come_out_whole_in_the_order_given(
    tmp_path: Path, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather, "_PART_ROWS", 23)
    table = rich_table(500)
    path, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(table, path, row_group_size=60, compression=codec)
    corpus = open_corpus(path)
    usable = np.concatenate([chunk.rows for chunk in corpus.chunks()])
    assert corpus.skipped == {"'response' is null": 30}
    rows = np.random.default_rng(1).permutation(usable)[:200]
    assert write_selection(out, corpus.source, (int(row) for row in rows)) == sha256(out)
    written = pq.read_table(out)
    assert written.schema.equals(pq.read_schema(path), check_metadata=True)
    assert written.schema.metadata == table.schema.metadata
    assert written.to_pylist() == table.take(pa.array(rows)).to_pylist()
    expected = {"none": "UNCOMPRESSED"}.get(codec, codec.upper())
    assert pq.ParquetFile(out).metadata.row_group(0).column(0).compression == expected


def test_dataset_rows_come_out_as_parquet(tmp_path: Path, save_to_disk: Save) -> None:
    table = rich_table(90)
    save_to_disk([table[:40], table[40:]], tmp_path / "data")
    corpus = open_corpus(tmp_path / "data")
    rows = [89, 0, 39, 40, 41, 1]
    out = tmp_path / "out.parquet"
    write_selection(out, corpus.source, rows)
    written = pq.read_table(out)
    assert written.to_pylist() == table.take(pa.array(rows)).to_pylist()
    assert written.schema.metadata == table.schema.metadata
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "out.parquet"]


def test_columns_of_growing_dictionaries_are_put_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "_PART_ROWS", 7)
    path, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    kinds = pa.array([f"k{i // 3}" for i in range(60)]).dictionary_encode()
    pq.write_table(pa.table({"text": [f"t{i}" for i in range(60)], "kind": kinds}), path, row_group_size=10)
    write_selection(out, open_corpus(path).source, list(range(59, -1, -1)))
    assert pq.read_table(out)["kind"].to_pylist() == [f"k{i // 3}" for i in range(59, -1, -1)]


def test_no_rows_make_a_parquet_file_with_the_schema(tmp_path: Path) -> None:
    path, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(rich_table(3), path)
    write_selection(out, open_corpus(path).source, [])
    assert pq.read_schema(out).equals(pq.read_schema(path), check_metadata=True)
    with pytest.raises(ValueError, match="row 3 of a source of 3 rows"):
        write_selection(out, open_corpus(path).source, [0, 3])


def test_rows_of_a_source_that_changed_are_not_written(tmp_path: Path) -> None:
    path, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.table({"text": ["a", "b"]}), path)
    source = open_corpus(path).source
    pq.write_table(pa.table({"text": ["a", "c"]}), path)
    with pytest.raises(CorpusError, match="has changed since it was read; its rows cannot be written"):
        write_selection(out, source, [0])
    path.unlink()
    with pytest.raises(CorpusError, match="has gone"):
        write_selection(out, source, [0])
    assert list(tmp_path.iterdir()) == []


def test_rows_from_standard_input_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": ["a", "b", "c"]}), sink)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(sink.getvalue())))
    corpus = open_corpus("-")
    write_selection(tmp_path / "out.parquet", corpus.source, [2, 0])
    assert pq.read_table(tmp_path / "out.parquet")["text"].to_pylist() == ["c", "a"]


def test_ordering_rows_holds_a_part_and_not_the_selection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "_PART_BYTES", 1 << 20)
    path, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    n = 6000
    texts = pa.array([f"{i:05d}" + "x" * 5000 for i in range(n)])
    pq.write_table(pa.table({"text": texts}), path, row_group_size=500, use_dictionary=False)
    del texts
    pool = pa.default_memory_pool()
    source = SourceInfo("parquet", None, path, "text")
    before = pool.max_memory()
    peaks: list[int] = []
    taken = gather._taken

    def watched(batches: list[pa.RecordBatch], places: np.ndarray) -> pa.Table:
        peaks.append(pool.bytes_allocated())
        return taken(batches, places)

    monkeypatch.setattr(gather, "_taken", watched)
    rows = np.random.default_rng(0).permutation(n)
    write_selection(out, source, rows.tolist())
    assert len(peaks) > 20
    assert max(peaks) < 12 << 20 < n * 5000
    assert before >= 0
    assert [t[:5] for t in pq.read_table(out)["text"].to_pylist()] == [f"{i:05d}" for i in rows]


# --- other shapes --------------------------------------------------------------------------------------------------

TURNS = [
    {"from": speaker, "value": text}
    for speaker, text in (("system", "Be brief."), ("human", "q"), ("gpt", "a"), ("human", "q2"), ("gpt", "a2"))
]
MARKED = "[system]\nBe brief.\n\n[user]\nq\n\n[assistant]\na\n\n[user]\nq2"


@pytest.mark.parametrize(
    ("as_", "record", "pair", "line"),
    [
        (
            "messages",
            {"instruction": "q", "output": "é"},
            ("q", "é"),
            {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "é"}]},
        ),
        ("alpaca", {"instruction": "q", "output": "a"}, ("q", "a"), {"instruction": "q", "input": "", "output": "a"}),
        (
            "sharegpt",
            {"question": "q", "answer": "a"},
            ("q", "a"),
            {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        ),
        (
            "messages",
            {"conversations": TURNS},
            (MARKED, "a2"),
            {
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "q"},
                    {"role": "assistant", "content": "a"},
                    {"role": "user", "content": "q2"},
                    {"role": "assistant", "content": "a2"},
                ]
            },
        ),
        (
            "alpaca",
            {"conversations": TURNS},
            (MARKED, "a2"),
            {"instruction": MARKED, "input": "", "output": "a2"},
        ),
        (
            "messages",
            {"instruction": MARKED, "output": "a2"},
            (MARKED, "a2"),
            {"messages": [{"role": "user", "content": MARKED}, {"role": "assistant", "content": "a2"}]},
        ),
    ],
)
def test_examples_are_written_in_another_shape(
    tmp_path: Path, as_: Shape, record: dict[str, object], pair: tuple[str, str], line: dict[str, object]
) -> None:
    path, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_text(json.dumps(record))
    corpus = open_corpus(path)
    (chunk,) = corpus.chunks()
    stored = [Stored(*pair, chunk.records[0])]
    assert (chunk.prompts[0], chunk.responses[0]) == pair
    assert write_selection(out, corpus.source, stored, as_=as_) == sha256(out)
    assert out.read_text("utf-8") == json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n"
    (chunk,) = open_corpus(out).chunks()
    if "conversations" in record or "[" not in pair[0]:
        assert (chunk.prompts[0], chunk.responses[0]) == pair


# --- whole or not at all -------------------------------------------------------------------------------------------


def test_an_interrupted_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("old\n")

    def lines() -> Iterator[bytes]:
        yield b"new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_selection(out, JSONL, lines())
    assert out.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [out]


def test_a_full_disk_is_an_error_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RuleselError, match=r"out.jsonl could not be written: No space left on device\.") as error:
        write_selection(tmp_path / "out.jsonl", JSONL, [b"{}"])
    assert error.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_a_link_keeps_pointing_at_the_file_that_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    out = tmp_path / "out.jsonl"
    out.symlink_to("real/out.jsonl")
    write_selection(out, JSONL, [b"{}"])
    assert out.is_symlink()
    assert (tmp_path / "real" / "out.jsonl").read_bytes() == b"{}\n"


def test_an_output_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    write_selection(tmp_path / "out.jsonl", JSONL, [b"{}"])
    assert (tmp_path / "out.jsonl").stat().st_mode == (tmp_path / "plain").stat().st_mode


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("out", "kind", "as_"),
    [
        ("o.jsonl", "jsonl", None),
        ("o.ndjson", "jsonl", None),
        ("o.json", "jsonl", None),
        ("o.JSONL.GZ", "jsonl", None),
        ("o.jsonl.zst", "jsonl", None),
        ("o", "jsonl", None),
        ("o.v2", "parquet", None),
        ("o.csv", "csv", None),
        ("o.tsv.gz", "csv", None),
        ("o.parquet", "parquet", None),
        ("o.parquet", "dataset", None),
        ("o.jsonl", "csv", "alpaca"),
        ("o.jsonl.gz", "dataset", "messages"),
    ],
)
def test_a_fitting_name_is_taken(tmp_path: Path, out: str, kind: str, as_: str | None) -> None:
    check_output(tmp_path / out, kind, as_)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("out", "kind", "as_", "message"),
    [
        (
            "o.csv",
            "jsonl",
            None,
            "-o o.csv: records of a jsonl corpus are written as JSON Lines. Name it o.jsonl.",
        ),
        (
            "o.jsonl.gz",
            "csv",
            None,
            "records of a csv corpus are written as CSV. Name it o.csv. For JSON Lines add --as messages|alpaca|sharegpt.",
        ),
        ("o.jsonl", "dataset", None, "a dataset corpus are written as Parquet. Name it o.parquet. For JSON Lines add"),
        ("o.parquet", "jsonl", None, "Name it o.jsonl."),
        ("o.parquet", "parquet", "messages", "--as messages writes JSON Lines. Name it o.jsonl."),
        ("o.parquet.gz", "parquet", None, "Parquet is compressed inside. Name it o.parquet."),
        ("o.gz", "parquet", None, "Parquet is compressed inside. Name it o.parquet."),
        ("o.jsonl", "jsonl", "chatml", "--as chatml: there are messages, alpaca, sharegpt."),
        ("no/o.jsonl", "jsonl", None, "the directory does not exist. Make it: mkdir -p no"),
        (".", "jsonl", None, "-o . is a directory. Give a file in it: selected.jsonl"),
        ("/dev/null", "jsonl", None, "-o /dev/null is not a regular file."),
        ("in.jsonl", "jsonl", None, "-o in.jsonl is the corpus itself. Give another name."),
        ("link.jsonl", "jsonl", None, "-o link.jsonl is the corpus itself."),
    ],
)
def test_an_output_that_cannot_be_is_refused_with_a_better_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, kind: str, as_: str | None, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.jsonl").write_bytes(b"{}")
    Path("link.jsonl").symlink_to("in.jsonl")
    with pytest.raises(UsageError) as error:
        check_output(Path(out), kind, as_, corpus=Path("in.jsonl"))  # type: ignore[arg-type]
    assert message in str(error.value)
    assert error.value.exit_code == 2


def test_plain_text_is_not_written_as_question_and_answer(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--as alpaca needs prompts and responses, and the corpus is plain text"):
        check_output(tmp_path / "o.jsonl", "jsonl", "alpaca", shape="text")


@pytest.mark.slow
def test_many_records_are_written_without_being_held(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        write_selection(tmp_path / "out.jsonl", JSONL, (b"%09d" % i * 100 for i in range(50_000)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "out.jsonl").stat().st_size == 50_000 * 901
    assert peak < 6 << 20
