"""Whatever bytes a file holds, reading it gives examples or a message, never another exception."""

from __future__ import annotations

import gzip
import io
import shutil
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rulesel.corpus import open_corpus
from rulesel.errors import CorpusError

ROWS = [
    {"prompt": f"p{i}", "response": f'r, "{i}"\n' * 3, "messages": [{"role": "user", "content": "q"}]}
    for i in range(40)
]


def packed(content: bytes, codec: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


def files() -> dict[str, bytes]:
    table = pa.Table.from_pylist(ROWS)
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=10)
    arrow = io.BytesIO()
    with pa.ipc.new_stream(arrow, table.schema) as stream:
        stream.write_table(table, max_chunksize=10)
    jsonl = b'{"prompt": "p", "response": "\\u00e9 r", "n": 1.5}\n' * 40
    csv = b"prompt,response\n" + b'p,"a ""quoted""\nline"\n' * 40
    return {
        "jsonl": jsonl,
        "csv": csv,
        "gzip": gzip.compress(jsonl, mtime=0),
        "zstd": packed(jsonl, "zstd"),
        "parquet": sink.getvalue(),
        "arrow": arrow.getvalue(),
    }


FILES = files()
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), st.binary(max_size=4)), min_size=1, max_size=4)


def damage(content: bytes, edits: list[tuple[float, int, bytes]], keep: float) -> bytes:
    """Some bytes replaced by others, and the end cut off."""
    for where, n, put in edits:
        at = int(where * len(content))
        content = content[:at] + put + content[at + n :]
    return content[: round(keep * len(content))]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damage")


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=60, deadline=None)
@given(edits=EDITS, keep=st.sampled_from([1.0, 1.0, 0.999, 0.9, 0.5]))
def test_a_damaged_file_is_read_or_refused(
    directory: Path, name: str, edits: list[tuple[float, int, bytes]], keep: float
) -> None:
    path = directory / f"corpus.{name}"
    path.write_bytes(damage(FILES[name], edits, keep))
    if name == "arrow":
        shutil.rmtree(directory / "dataset", ignore_errors=True)
        (directory / "dataset").mkdir()
        shutil.copy(path, directory / "dataset" / "a.arrow")
        (directory / "dataset" / "state.json").write_text('{"_data_files": [{"filename": "a.arrow"}]}')
        path = directory / "dataset"
    with suppress(CorpusError):
        corpus = open_corpus(path)
        n = sum(len(chunk) for chunk in corpus.chunks(7))
        assert n <= corpus.n_records == n + sum(corpus.skipped.values())


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200))
@pytest.mark.slow
def test_any_bytes_are_read_or_refused(directory: Path, content: bytes) -> None:
    path = directory / "any"
    path.write_bytes(content)
    with suppress(CorpusError):
        list(open_corpus(path).chunks())
