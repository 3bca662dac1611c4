"""Damaged files, a full disk, a directory in a file's place: one clear line each, and what was committed stays."""

import contextlib
import resource
import sqlite3

import duckdb
import pyarrow as pa
import pytest

from rulesel.errors import RuleselError, StoreError
from rulesel.store import Store
from rulesel.store.database import fault_of
from rulesel.store.ledger import Ledger


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a store that holds something."""
    path = tmp_path_factory.mktemp("whole") / "s.duckdb"
    with Store(path) as store:
        fill(store, 20_000)
    return path.read_bytes()


def fill(store, n):
    rows = pa.table({"name": [f"{i}-{i * 7919}" for i in range(n)], "value": [str(i) * 20 for i in range(n)]})
    with store.db.transaction():
        store.db.insert("settings", rows)


def damaged(content, kind):
    flipped = bytearray(content)
    for at in range(9000, len(flipped), 701):
        flipped[at] ^= 0xFF
    return {
        "garbage": b"\x93\x01" * 4000,
        "empty": b"",
        "cut in the header": content[:5000],
        "cut in the middle": content[: len(content) // 2],
        "flipped": bytes(flipped),
        "zeros": content[:12_288] + bytes(len(content) - 12_288),
    }[kind]


KINDS = ["garbage", "empty", "cut in the header", "cut in the middle", "flipped", "zeros"]


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_store_is_one_line_that_says_so(tmp_path, whole, kind, read_only):
    path = tmp_path / "s.duckdb"
    content = damaged(whole, kind)
    path.write_bytes(content)
    with pytest.raises(StoreError) as refused, Store(path, read_only=read_only) as store:
        store.db.rows("SELECT count(DISTINCT value) FROM settings")
    message = str(refused.value)
    assert str(path) in message
    assert "in use" not in message
    assert "\n" not in message
    assert path.read_bytes() == content


def test_a_directory_is_no_store(tmp_path):
    with pytest.raises(StoreError, match="is a directory"):
        Store(tmp_path)


def test_damage_that_shows_while_a_store_is_open_is_one_line(tmp_path):
    for error in (duckdb.IOException("IO Error: Could not read"), duckdb.FatalException("FATAL: invalidated"), sqlite3.DatabaseError("malformed")):  # fmt: skip
        with pytest.raises(StoreError, match="s\\.duckdb"), Store(tmp_path / "s.duckdb"):
            raise error
    with pytest.raises(RuleselError, match="run out of memory"), Store(tmp_path / "s.duckdb"):
        raise duckdb.OutOfMemoryException("Out of Memory Error: failed")
    with pytest.raises(duckdb.BinderException), Store(tmp_path / "s.duckdb"):
        raise duckdb.BinderException("a fault of rulesel keeps its traceback")
    assert fault_of(None, ValueError("no")) is None


@contextlib.contextmanager
def small_disk(most):
    """No file may grow beyond that many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
def test_a_full_disk_loses_nothing_that_was_committed(tmp_path):
    path = tmp_path / "s.duckdb"
    with Store(path) as store:
        fill(store, 10)

    def too_much():
        with Store(path) as store:
            store.db.con.execute("INSERT INTO settings VALUES ('mine', '1')")
            fill(store, 200_000)

    with small_disk(path.stat().st_size + 50_000), pytest.raises(RuleselError, match="no space is left") as full:
        too_much()
    assert full.value.exit_code == 1
    assert "\n" not in str(full.value)
    with Store(path) as store:
        assert store.db.one("SELECT count(*) FROM settings") == 12
        fill(store, 100_000)


@pytest.mark.parametrize("content", [b"\x93\x01" * 4000, b"SQLite format 3\0" + b"\xff" * 8000])
def test_damaged_replies_are_one_line_and_are_not_touched(tmp_path, content):
    path = tmp_path / "s.replies.sqlite"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"is damaged .*move it away"):
        Ledger(path)
    assert path.read_bytes() == content


def test_a_directory_in_the_place_of_the_replies_is_named(tmp_path):
    with pytest.raises(StoreError, match="is a directory"):
        Ledger(tmp_path)


@pytest.mark.slow
def test_replies_that_another_process_writes_are_in_use(tmp_path):
    path = tmp_path / "s.replies.sqlite"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    other.execute("CREATE TABLE mine (a)")
    with pytest.raises(StoreError, match="in use by another process"):
        Ledger(path)
    other.close()
