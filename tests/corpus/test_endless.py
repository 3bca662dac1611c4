"""What has no end, is a bomb or changes meanwhile is refused with one line, in bounded memory."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rulesel.corpus import open_corpus, reader, source, stream
from rulesel.errors import CorpusError, Interrupted

GOOD = b'{"prompt": "p", "response": "r"}\n'


def refused(path: Path | str) -> str:
    with pytest.raises(CorpusError) as error:
        list(open_corpus(path).chunks())
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_device_behind_a_link_is_refused(tmp_path: Path) -> None:
    for device in ("/dev/zero", "/dev/null"):
        link = tmp_path / "corpus.jsonl"
        link.unlink(missing_ok=True)
        link.symlink_to(device)
        assert "is a device, not a file" in refused(link)


def test_a_pipe_through_which_nothing_comes_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "FIRST_WAIT", 0.02)
    monkeypatch.setattr(source, "LOOK", 0.01)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert "Nothing has come through" in refused(path)


def test_a_pipe_that_falls_silent_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "LATER_WAIT", 0.02)
    monkeypatch.setattr(source, "LOOK", 0.01)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    handle = os.open(path, os.O_RDWR)
    os.write(handle, GOOD)
    try:
        assert "Nothing has come through" in refused(path)
    finally:
        os.close(handle)


def test_waiting_for_a_pipe_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "LOOK", 0.01)
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def check() -> None:
        raise Interrupted("stop")

    with pytest.raises(Interrupted):
        open_corpus(path, check=check)


def test_reading_can_be_stopped_where_no_record_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(GOOD + b"\n" * 20_000)
    asked: list[None] = []
    list(open_corpus(path, check=lambda: asked.append(None)).chunks())
    assert len(asked) == 2


def endless(monkeypatch: pytest.MonkeyPatch, bound: int) -> None:
    for module in (source, stream):
        monkeypatch.setattr(module, "MAX_LINE", bound)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_line_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    endless(monkeypatch, 4 << 20)
    path = tmp_path / "a.jsonl"
    path.write_bytes(pack(b"x" * (6 << 20)))
    assert "a line that does not end within" in refused(path)
    path.write_bytes(pack(GOOD * 2000 + bytes(6 << 20)))
    assert "a line that does not end within" in refused(path)


def test_a_line_without_end_through_a_pipe_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endless(monkeypatch, 1 << 14)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    handle = os.open(path, os.O_RDWR)
    os.write(handle, GOOD + b"x" * (1 << 15))
    try:
        assert "a line that does not end within" in refused(path)
    finally:
        os.close(handle)


def test_what_comes_through_a_pipe_does_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "ROOM", 1 << 62)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(GOOD)))
    assert "Point TMPDIR to a larger disk" in refused("-")


def test_records_without_number_that_cannot_be_used_are_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "MAX_UNUSABLE", 5000)
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(GOOD + b"\n" * 5000))
    assert sum(map(len, open_corpus(path).chunks())) == 1
    path.write_bytes(gzip.compress(GOOD + b"\n" * 5001))
    assert "the last 5,000 records cannot be used (blank line)" in refused(path)


@pytest.mark.parametrize("when", ["before", "between"])
@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_a_corpus_that_changes_while_it_is_read_is_refused(tmp_path: Path, when: str, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    rows = {"prompt": [f"p{i}" for i in range(50)], "response": ["r"] * 50}

    def write(n: int) -> None:
        if kind == "parquet":
            pq.write_table(pa.table(rows).slice(0, n), path)
        elif kind == "csv":
            path.write_text("prompt,response\n" + "".join(f"p{i},r\n" for i in range(n)))
        else:
            path.write_bytes(GOOD * n)

    write(40)
    corpus = open_corpus(path)
    chunks = corpus.chunks(7)
    if when == "between":
        next(chunks)
    os.utime(path, ns=(1, 1))
    write(50)
    with pytest.raises(CorpusError, match=r"has changed while it was read|damaged"):
        list(chunks)
    corpus = open_corpus(path)
    list(corpus.chunks())
    write(41)
    if kind == "parquet":  # its bytes are hashed after its rows are read
        with pytest.raises(CorpusError, match="has changed while it was read"):
            _ = corpus.sha256


READ = """
import resource, sys
from pathlib import Path
from rulesel.corpus import open_corpus
from rulesel.errors import CorpusError
import pyarrow.parquet
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    corpus = open_corpus(Path(sys.argv[1]))
    n = sum(len(chunk) for chunk in corpus.chunks(10))
    print(n)
except CorpusError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def measured(path: Path) -> tuple[str, int]:
    """What a process that reads the file says, and by how many MiB it grew."""
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True)
    said, grown = done.stdout.splitlines()
    return said, int(grown)


@pytest.mark.slow
def test_a_small_parquet_file_of_large_rows_is_read_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    large = pa.DictionaryArray.from_arrays(pa.array([0] * 600, pa.int8()), pa.array([os.urandom(1 << 19).hex()]))
    pq.write_table(pa.table({"text": large.dictionary_decode()}), path)  # 600 MiB of text
    assert path.stat().st_size < 4 << 20
    said, grown = measured(path)
    assert said == "600"
    assert grown < 300


@pytest.mark.slow
def test_a_bomb_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    packer = zlib.compressobj(9, wbits=31)
    with path.open("wb") as file:
        for block in (GOOD, *[bytes(1 << 20)] * 400):
            file.write(packer.compress(block))
        file.write(packer.flush())
    assert path.stat().st_size < 1 << 20
    said, grown = measured(path)
    assert "a line that does not end within 256 MiB" in said
    assert grown < 100
