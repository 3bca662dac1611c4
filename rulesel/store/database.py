"""The DuckDB file: opening it, saying who holds it, and bringing an older one up to date."""

from __future__ import annotations

import contextlib
import re
import secrets
import sqlite3
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rulesel.errors import RuleselError, StoreError
from rulesel.store.schema import MIGRATIONS

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

STORAGE_VERSION = "v1.5.0"
"""Files are written in this form, so that DuckDB 1.5 and 2.x both read them."""


class Database:
    """One open store file; everything else in this package goes through its connection."""

    def __init__(
        self, path: Path | None, *, read_only: bool = False, must_exist: bool = False, memory: str = "3GiB"
    ) -> None:
        """Open or create a store.

        Args:
            path: the file; None for a store in memory (tests, experiments).
            read_only: leave what the file holds as it is; one of an older rulesel is brought up to date all the same.
            must_exist: do not create it.
            memory: most memory DuckDB may use before it spills beside the file.

        Raises:
            StoreError: another process holds the file, it is no store, a newer rulesel wrote it, or an older one did
                and it cannot be written to.
        """
        self.path = path
        if must_exist and path is not None and not path.exists():
            raise StoreError(f"There is no store {path}. A run makes one: rulesel run CORPUS --store {path}")
        self.con = _connect(path, read_only, memory)
        try:
            have = self._version()
            if have < len(MIGRATIONS):
                if read_only:
                    self._reopen(memory, read_only=False)
                self._migrate(have)
                if read_only:
                    self._reopen(memory, read_only=True)
        except BaseException as error:
            self.con.close()
            fault = fault_of(path, error)
            if fault is not None:
                raise fault from error
            raise

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401 - SQL values
        """All rows of a query, for small results."""
        return list(self.con.execute(query, list(parameters)).fetchall())

    def one(self, query: str, *parameters: Any) -> Any:  # noqa: ANN401 - a SQL value
        """First value of the first row, None if there is no row."""
        found = self.rows(query, *parameters)
        return found[0][0] if found else None

    def arrow(self, query: str, *parameters: Any) -> pa.Table:  # noqa: ANN401 - SQL values
        """The whole result as an Arrow table."""
        return self.con.sql(query, params=list(parameters)).to_arrow_table()

    def insert(self, table: str, rows: pa.Table, constant: dict[str, int] | None = None) -> None:
        """Append an Arrow table whose columns are named as the table's; `constant` columns are the same in every row."""
        import duckdb

        fixed = "".join(
            f", {value} AS {name}" for name, value in (constant or {}).items() if name not in rows.column_names
        )
        self.con.register("incoming_rows", rows)
        try:
            self.con.execute(f"INSERT INTO {table} BY NAME SELECT *{fixed} FROM incoming_rows")
        finally:
            with contextlib.suppress(duckdb.Error):  # after an error the transaction takes nothing but its end
                self.con.unregister("incoming_rows")

    def transaction(self) -> Transaction:
        """All or nothing: commits at the end of the block, rolls back if it raises."""
        return Transaction(self.con)

    def setting(self, name: str) -> str:
        """A value that was made once with the store, such as its `secret`."""
        return str(self.one("SELECT value FROM settings WHERE name = ?", name))

    def close(self) -> None:
        """Write the log back into the file and let go of it."""
        self.con.close()

    def _reopen(self, memory: str, *, read_only: bool) -> None:
        self.con.close()
        self.con = _connect(self.path, read_only, memory)

    def _version(self) -> int:
        """How many migrations the file has had."""
        known = self.one("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'schema_version' AND NOT internal")
        have = int(self.one("SELECT coalesce(max(version), 0) FROM schema_version")) if known else 0
        if have > len(MIGRATIONS):
            raise StoreError(
                f"{self.path} was written by a newer rulesel (schema {have}, this one knows {len(MIGRATIONS)}): "
                "pip install -U rulesel"
            )
        if have == 0 and self.one("SELECT count(*) FROM duckdb_tables() WHERE NOT internal"):
            raise StoreError(f"{self.path} is a DuckDB file, but no rulesel store: name another with --store")
        return have

    def _migrate(self, have: int) -> None:
        for number, statements in enumerate(MIGRATIONS[have:], start=have + 1):
            with self.transaction():
                self.con.execute(statements)
                self.con.execute("INSERT INTO schema_version VALUES (?, ?, ?)", [number, now(), _own_version()])
                if number == 1:
                    self.con.execute("INSERT INTO settings VALUES ('secret', ?)", [secrets.token_hex(16)])


def now() -> datetime:
    """The time in UTC, as the store keeps it."""
    return datetime.now(UTC).replace(tzinfo=None)


class Transaction:
    """A block that is committed whole or not at all."""

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        self._con = con

    def __enter__(self) -> None:
        self._con.execute("BEGIN")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        import duckdb

        if kind is None:
            self._con.execute("COMMIT")
        else:
            with contextlib.suppress(duckdb.Error):  # after some errors there is nothing left to roll back
                self._con.execute("ROLLBACK")


def _own_version() -> str:
    try:
        return version("rulesel")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0"


def _connect(path: Path | None, read_only: bool, memory: str) -> duckdb.DuckDBPyConnection:  # noqa: FBT001 - private
    import duckdb

    con = duckdb.connect(":memory:", config={"memory_limit": memory})
    con.execute("SET preserve_insertion_order = false")
    con.execute("SET enable_progress_bar = false")
    if path is None:
        return con
    if not path.parent.is_dir():
        raise StoreError(f"There is no folder {path.parent} for the store {path.name}.")
    con.execute(f"SET temp_directory = '{_quoted(path)}.tmp'")
    new = f"(STORAGE_VERSION '{STORAGE_VERSION}')"
    option = "(READ_ONLY)" if read_only else "" if path.exists() else new
    try:
        con.execute(f"ATTACH '{_quoted(path)}' AS store {option}")
    except duckdb.Error as error:
        con.close()
        raise StoreError(_why(path, str(error))) from error
    con.execute("USE store")
    return con


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _why(path: Path, message: str) -> str:
    holder = re.search(r"held in (?P<who>.+?) \(PID (?P<pid>\d+)\)", message)
    if holder or re.search(r"(?i)\block on file|used by another process", message):
        who = f"process {holder['pid']} ({Path(holder['who']).name})" if holder else "another process"
        return f"{path} is in use by {who}. One process at a time: wait for it, or name another file with --store."
    if "not a valid DuckDB" in message:
        return f"{path} is no DuckDB file. Name another file with --store."
    if path.is_dir():
        return f"{path} is a directory. Name a file with --store."
    if re.search(r"(?i)corrupt|checksum|could not read enough bytes|serializ|internal error|invalidated", message):
        return f"{path} is damaged: {message.splitlines()[0]}. Go on from a copy, or with another file: --store."
    return f"{path} cannot be opened: {message.splitlines()[0]}"


def fault_of(path: Path | None, error: BaseException) -> RuleselError | None:
    """What befell the machine or the file while a store was open, in one line; None for any other error.

    Args:
        path: the store.
        error: what DuckDB, or SQLite for the replies beside the store, has raised.
    """
    import duckdb

    if not isinstance(error, (duckdb.Error, sqlite3.Error)):
        return None
    while isinstance(error.__context__, (duckdb.Error, sqlite3.Error)):  # the first of several tells the cause
        error = error.__context__
    message = str(error).strip() or type(error).__name__
    if re.search(r"(?i)no space left|disk is full|file too large|disk quota", message):
        return RuleselError(
            f"{path}: no space is left on the disk. What was committed is kept: make room, and the same command goes on."
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return RuleselError(f"{path}: DuckDB has run out of memory: {message.splitlines()[0]}")
    if isinstance(error, (duckdb.FatalException, duckdb.InternalException, duckdb.SerializationException)):
        return StoreError(_why(path or Path(":memory:"), f"internal error: {message}"))
    if isinstance(error, (duckdb.IOException, sqlite3.DatabaseError)):
        return StoreError(f"{path} cannot be read or written: {message.splitlines()[0]}")
    return None
