"""The store: one DuckDB file that keeps everything measured and everything chosen."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from rulesel.store.calls import Calls
from rulesel.store.columns import Columns
from rulesel.store.corpora import Corpora, CorpusRecord, Rows
from rulesel.store.database import Database, fault_of
from rulesel.store.features import Features
from rulesel.store.ratings import Cells, RatingTable
from rulesel.store.rules import RuleTable
from rulesel.store.selections import SelectionTable

__all__ = ["Cells", "CorpusRecord", "Rows", "Store"]


class Store:
    """Examples, rules, ratings, columns and selections in one file.

    One process at a time holds the file. A store without a path lives in memory.
    """

    def __init__(self, path: Path | None = None, *, read_only: bool = False, must_exist: bool = False) -> None:
        """Open, or create unless it must exist; raises StoreError as `Database` does."""
        self.db = Database(path, read_only=read_only, must_exist=must_exist or read_only)
        self.corpora = Corpora(self.db)
        self.rules = RuleTable(self.db)
        self.ratings = RatingTable(self.db)
        self.columns = Columns(self.db)
        self.features = Features(self.db)
        self.calls = Calls(self.db)
        self.selections = SelectionTable(self.db)

    @property
    def path(self) -> Path | None:
        """The file, None for a store in memory."""
        return self.db.path

    @property
    def secret(self) -> bytes:
        """Made once with the store; documents' nonces derive from it."""
        return bytes.fromhex(self.db.setting("secret"))

    def close(self) -> None:
        """Let go of the file; harmless when called twice."""
        self.db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
        fault = None if error is None else fault_of(self.path, error)
        if fault is not None:
            raise fault from error
