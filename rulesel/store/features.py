"""Features: vectors of contents in memory-mapped files beside the store, one a feature, a row a content.

A row of NaN has not been computed; one of infinities was, and there is no vector. So a file that was being filled when
the power went is simply filled further.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from rulesel.errors import StoreError, UnknownName
from rulesel.records import Float32, Int64
from rulesel.store.database import Database, now

BLOCK = 65_536
Table = np.memmap[Any, np.dtype[np.float32]]


class Features:
    """Vectors by the identity of what made them; a name means the newest of that name."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def find(self, identity: str, n: int) -> Table | None:
        """The file of a feature as `table` gives it, None where there is none yet."""
        place = self._place(f"{identity}.npy")
        if not place.exists():
            return None
        old: Table = np.load(place, mmap_mode="r+", allow_pickle=False)
        if len(old) >= n:
            return old
        part = place.with_suffix(".part")
        fresh = _blank(part, n, old.shape[1])
        for start in range(0, len(old), BLOCK):
            copied = old[start : start + BLOCK]
            fresh[start : start + len(copied)] = copied
        fresh.flush()
        part.replace(place)
        return fresh

    def table(self, identity: str, n: int, dimension: int) -> Table:
        """The file of a feature with room for n contents, to write to: made, or made longer, where needed.

        Raises:
            StoreError: the store lies in memory and has no place for files.
        """
        found = self.find(identity, n)
        if found is not None:
            return found
        place = self._place(f"{identity}.npy")
        place.parent.mkdir(exist_ok=True)
        part = place.with_suffix(".part")
        fresh = _blank(part, n, dimension)
        fresh.flush()
        part.replace(place)
        return fresh

    def register(self, name: str, identity: str, provenance: dict[str, Any]) -> None:
        """Record a file that `table` made; one of the same identity is replaced."""
        file = f"{identity}.npy"
        n, dimension = np.load(self._place(file), mmap_mode="r", allow_pickle=False).shape
        with self._db.transaction():
            self._db.con.execute("DELETE FROM features WHERE id = ?", [identity])
            self._db.con.execute(
                "INSERT INTO features VALUES (?, ?, ?, ?, ?, ?, ?)",
                [identity, name, file, n, dimension, json.dumps(provenance), now()],
            )

    def has(self, identity: str) -> bool:
        """Whether a feature of that identity is registered."""
        return bool(self._db.one("SELECT count(*) > 0 FROM features WHERE id = ?", identity))

    def called(self, name: str) -> list[str]:
        """Identities of the features of that name, newest first."""
        return [
            str(one)
            for (one,) in self._db.rows("SELECT id FROM features WHERE name = ? ORDER BY made_at DESC, id", name)
        ]

    def named(self, name: str) -> str:
        """Identity of the newest feature of that name.

        Raises:
            UnknownName: there is none.
        """
        found = self.called(name)
        if not found:
            names = [one for (one,) in self._db.rows("SELECT DISTINCT name FROM features ORDER BY name")]
            raise UnknownName("feature", name, names)
        return found[0]

    def known(self, identity: str, contents: Int64) -> int:
        """How many of the contents have a vector; raises StoreError as `read` does."""
        table = self._open(identity)
        first = table[contents[contents < len(table)], 0]
        return int(np.isfinite(first).sum())

    def read(self, identity: str, contents: Int64) -> Float32:
        """Vectors of contents in any order, float32 (n, d); a row of NaN where there is none.

        Raises:
            StoreError: the feature or its file is gone.
        """
        table = self._open(identity)
        found = np.full((len(contents), table.shape[1]), np.nan, dtype=np.float32)
        inside = np.flatnonzero(contents < len(table))
        for start in range(0, len(inside), BLOCK):
            some = inside[start : start + BLOCK]
            rows = table[contents[some]]
            rows[np.isinf(rows[:, 0])] = np.nan
            found[some] = rows
        return found

    def _open(self, identity: str) -> Table:
        file = self._db.one("SELECT path FROM features WHERE id = ?", identity)
        if file is None or not self._place(str(file)).exists():
            raise StoreError(
                f"The vectors {identity} are not beside the store: select again, or bring the folder "
                f"{self._place('').name} along."
            )
        table: Table = np.load(self._place(str(file)), mmap_mode="r", allow_pickle=False)
        return table

    def _place(self, file: str) -> Path:
        if self._db.path is None:
            raise StoreError("A store in memory keeps no vectors: name a file.")
        return self._db.path.with_name(self._db.path.name + ".features") / file


def _blank(path: Path, n: int, dimension: int) -> Table:
    fresh: Table = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, dimension))
    for start in range(0, n, BLOCK):
        fresh[start : start + BLOCK] = np.nan
    return fresh
