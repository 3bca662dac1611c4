"""The SQLite file of a ledger: its tables, and what an earlier process left in it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from rulesel.errors import StoreError

VERSION = 1

_SCHEMA = """
CREATE TABLE replies (key TEXT PRIMARY KEY, stage TEXT NOT NULL, reply BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE calls (
    number INTEGER PRIMARY KEY, call TEXT NOT NULL, run TEXT NOT NULL, stage TEXT NOT NULL, key TEXT NOT NULL,
    model TEXT NOT NULL, called REAL NOT NULL, settled INTEGER, seconds REAL, attempts INTEGER, status TEXT NOT NULL,
    prompt_tokens INTEGER, cached_tokens INTEGER, completion_tokens INTEGER, cost REAL, reason TEXT
);
CREATE TABLE totals (run TEXT PRIMARY KEY, requests INTEGER NOT NULL, cost REAL NOT NULL) WITHOUT ROWID;
"""


def open_file(path: Path | None) -> sqlite3.Connection:
    """Open or create; None for memory. Whatever is committed survives any kill of the process.

    Raises:
        StoreError: it is no ledger, damaged, from a newer rulesel, or another process's.
    """
    try:
        con = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False, timeout=5.0)
        con.execute("PRAGMA journal_mode = WAL")
        con.execute("PRAGMA synchronous = NORMAL")
        version = int(con.execute("PRAGMA user_version").fetchone()[0])
        if version == 0:
            con.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA.split(";"):
                con.execute(statement)
            con.execute(f"PRAGMA user_version = {VERSION}")
            con.execute("COMMIT")
    except sqlite3.DatabaseError as error:
        raise StoreError(_why(path, str(error))) from error
    if version > VERSION:
        con.close()
        raise StoreError(f"{path} was written by a newer rulesel: pip install -U rulesel")
    return con


def _why(path: Path | None, message: str) -> str:
    if "locked" in message:
        return f"{path} is in use by another process. One process at a time: wait for it."
    if "not a database" in message or "malformed" in message:
        return (
            f"{path} is damaged ({message}). It holds answers on their way into the store; move it away, and those that "
            "had not arrived are asked for again."
        )
    if path is not None and path.is_dir():
        return f"{path} is a directory, where the answers on their way into the store are to be kept. Move it away."
    return f"{path} cannot be opened: {message}"


def settle_lost(con: sqlite3.Connection) -> int:
    """Book what an earlier process left under way at its worst; returns the number of the last settlement."""
    last = int(con.execute("SELECT coalesce(max(settled), 0) FROM calls").fetchone()[0]) + 1
    con.execute(
        "UPDATE calls SET status = 'lost', settled = ?, reason = 'the process ended while it was under way' "
        "WHERE settled IS NULL",
        [last],
    )
    return last
