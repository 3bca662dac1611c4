"""Columns: one number an example, kept for good with its provenance and direction."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from rulesel.errors import StoreError, UnknownName
from rulesel.records import Bool, Float64, Int64
from rulesel.store.database import Database, now

SLACK = 1e-9
"""Relative difference by which the same computation may differ between machines."""


class Columns:
    """Named columns over contents; a name may be given again, and then means the one asked for last."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def names(self) -> list[str]:
        """Names of all columns, each once."""
        return [name for (name,) in self._db.rows("SELECT DISTINCT name FROM columns ORDER BY name")]

    def add(
        self,
        name: str,
        identity: str,
        contents: Int64,
        values: Float64,
        *,
        direction: str = "higher",
        provenance: dict[str, Any],
        reasons: dict[int, str] | None = None,
    ) -> None:
        """Keep a column; one of the same identity grows by the contents it lacks, and the name means it from now on.

        Args:
            name: how selectors and tables call it.
            identity: content address of what made the numbers.
            contents: (n,) distinct content numbers.
            values: (n,), NaN where there is no number.
            direction: "higher" or "lower" is better.
            provenance: what made the numbers, as JSON.
            reasons: why a value is missing, by position.

        Raises:
            StoreError: a column of that identity holds other numbers, or is better the other way.
        """
        with self._db.transaction():
            old = self._number(name, identity)
            if old is None:
                self._make(name, identity, contents, values, direction, provenance, reasons)
                return
            there = self._holds(old, contents)
            differ = _differ(self._values(old, contents[there]), values[there])
            held = self._db.one('SELECT direction FROM columns WHERE "column" = ?', old)
            if held != direction or differ.any():
                raise StoreError(
                    f"The store holds another column {name!r} under {identity} (of {int(differ.sum()):,} examples it "
                    "has other numbers): it was changed by hand or by another version of rulesel. Take a new store."
                )
            new = np.flatnonzero(~there)
            why = [reasons.get(i) for i in new.tolist()] if reasons else None
            self._append(old, contents[new], values[new], why)
            self.use(name, identity)

    def replace(
        self,
        name: str,
        identity: str,
        contents: Int64,
        values: Float64,
        *,
        direction: str = "higher",
        provenance: dict[str, Any],
        reasons: dict[int, str] | None = None,
    ) -> None:
        """Keep a column that was made anew as a whole in place of the one of that identity; arguments as for `add`."""
        with self._db.transaction():
            old = self._number(name, identity)
            if old is not None:
                self._db.con.execute('DELETE FROM column_values WHERE "column" = ?', [old])
                self._db.con.execute('DELETE FROM columns WHERE "column" = ?', [old])
            self._make(name, identity, contents, values, direction, provenance, reasons)

    def _make(
        self,
        name: str,
        identity: str,
        contents: Int64,
        values: Float64,
        direction: str,
        provenance: dict[str, Any],
        reasons: dict[int, str] | None,
    ) -> None:
        why = [reasons.get(i) for i in range(len(contents))] if reasons else None
        self._append(self._new(name, identity, direction, provenance), contents, values, why)

    def missing(self, identity: str, name: str, contents: Int64, *, again: Collection[str] = ()) -> Int64:
        """Those of the contents (ascending, distinct) that the column has no entry for.

        An entry that failed is one, unless its reason begins with a kind in `again`.
        """
        table = self._db.arrow(
            'SELECT v.content FROM column_values v JOIN columns k USING ("column") WHERE k.id = ? AND k.name = ? '
            "AND (v.value IS NOT NULL OR v.reason IS NULL OR NOT list_contains(?, split_part(v.reason, ':', 1)))",
            identity,
            name,
            list(again),
        )
        return np.setdiff1d(contents, table.column(0).to_numpy())

    def extend(
        self,
        name: str,
        identity: str,
        contents: Int64,
        values: Float64,
        *,
        direction: str = "higher",
        provenance: dict[str, Any],
        reasons: Sequence[str | None],
    ) -> None:
        """Entries of a column, made if need be, in place of those the contents have.

        Arguments as for `add`, with a reason or None for each entry.
        """
        with self._db.transaction():
            number = self._number(name, identity)
            if number is None:
                number = self._new(name, identity, direction, provenance)
            else:
                self._clear(number, contents)
            self._append(number, contents, values, list(reasons))

    def use(self, name: str, identity: str) -> None:
        """Have the name mean this column from now on, if there is one."""
        self._db.con.execute("UPDATE columns SET used_at = ? WHERE id = ? AND name = ?", [now(), identity, name])

    def read_identity(self, name: str, identity: str, contents: Int64) -> Float64:
        """Values of one very column for contents in any order; NaN where there is none."""
        number = self._number(name, identity)
        return np.full(len(contents), np.nan) if number is None else self._values(number, contents)

    def read(self, name: str, contents: Int64) -> tuple[Float64, str]:
        """Values of the column of that name asked for last, for contents in any order, and its direction.

        Raises:
            UnknownName: there is no such column.
        """
        number, direction = self._meant(name, '"column", direction')
        return self._values(number, contents), str(direction)

    def made_from(self, name: str) -> tuple[str, dict[str, Any]]:
        """Identity and provenance of the column of that name asked for last.

        Raises:
            UnknownName: there is no such column.
        """
        identity, provenance = self._meant(name, "id, provenance")
        return str(identity), dict(json.loads(provenance))

    def meanings(self, name: str) -> list[tuple[str, dict[str, Any]]]:
        """Identity and provenance of every column of that name, the one asked for last first."""
        rows = self._db.rows(
            'SELECT id, provenance FROM columns WHERE name = ? ORDER BY used_at DESC, "column" DESC', name
        )
        return [(str(identity), dict(json.loads(provenance))) for identity, provenance in rows]

    def _meant(self, name: str, fields: str) -> tuple[Any, ...]:
        rows = self._db.rows(
            f'SELECT {fields} FROM columns WHERE name = ? ORDER BY used_at DESC, "column" DESC LIMIT 1', name
        )
        if not rows:
            raise UnknownName("column", name, self.names())
        return rows[0]

    def _holds(self, number: int, contents: Int64) -> Bool:
        table = self._db.arrow('SELECT content FROM column_values WHERE "column" = ?', number)
        held: Bool = np.isin(contents, table.column(0).to_numpy())
        return held

    def _number(self, name: str, identity: str) -> int | None:
        found = self._db.one('SELECT "column" FROM columns WHERE id = ? AND name = ?', identity, name)
        return None if found is None else int(found)

    def _new(self, name: str, identity: str, direction: str, provenance: dict[str, Any]) -> int:
        number = int(self._db.one('SELECT coalesce(max("column"), -1) + 1 FROM columns'))
        made = now()
        self._db.con.execute(
            'INSERT INTO columns ("column", id, name, direction, provenance, made_at, used_at) '
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            [number, identity, name, direction, json.dumps(provenance), made, made],
        )
        return number

    def _clear(self, number: int, contents: Int64) -> None:
        self._db.con.register("scope", pa.table({"content": contents}))
        try:
            self._db.con.execute(
                'DELETE FROM column_values WHERE "column" = ? AND content IN (SELECT content FROM scope)', [number]
            )
        finally:
            self._db.con.unregister("scope")

    def _append(self, number: int, contents: Int64, values: Float64, reasons: list[str | None] | None) -> None:
        self._db.insert(
            "column_values",
            pa.table(
                {
                    "column": np.full(len(contents), number, dtype=np.int32),
                    "content": contents,
                    "value": pa.array(np.asarray(values, dtype=np.float64), from_pandas=True),
                    "reason": pa.array(reasons, pa.string()) if reasons else pa.nulls(len(contents), pa.string()),
                }
            ),
        )

    def _values(self, number: int, contents: Int64) -> Float64:
        table = self._db.arrow('SELECT content, value FROM column_values WHERE "column" = ? ORDER BY content', number)
        known, found = table.column(0).to_numpy(), table.column(1).to_numpy()
        values = np.full(len(contents), np.nan)
        if len(known):
            at = np.minimum(np.searchsorted(known, contents), len(known) - 1)
            hit = known[at] == contents
            values[hit] = found[at[hit]]
        return values

    def failures(self, name: str, identity: str) -> dict[str, int]:
        """How many entries of one very column are missing, by the kind its reason begins with."""
        return dict(
            self._db.rows(
                "SELECT split_part(reason, ':', 1), count(*) FROM column_values WHERE \"column\" = ? AND value IS NULL "
                "AND reason IS NOT NULL GROUP BY ALL ORDER BY ALL",
                self._number(name, identity),
            )
        )

    def failed(self, kinds: Sequence[str]) -> int:
        """How many entries of all columns are missing for a reason that begins with one of the kinds."""
        return int(
            self._db.one(
                "SELECT count(*) FROM column_values WHERE value IS NULL AND list_contains(?, split_part(reason, ':', 1))",
                list(kinds),
            )
        )

    def forget(self, kinds: Sequence[str]) -> int:
        """Delete the missing entries of all columns whose reason begins with one of the kinds; returns how many."""
        return int(
            self._db.one(
                "DELETE FROM column_values WHERE value IS NULL AND list_contains(?, split_part(reason, ':', 1))",
                list(kinds),
            )
        )


def _differ(held: Float64, given: Float64) -> Bool:
    """Where two versions of a column are not the same but for rounding."""
    same = (held == given) | (np.isnan(held) & np.isnan(given))
    with np.errstate(invalid="ignore"):
        close = np.abs(held - given) <= SLACK * np.maximum(1.0, np.abs(held))
    apart: Bool = ~same & ~close
    return apart
