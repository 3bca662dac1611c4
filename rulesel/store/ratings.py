"""The cells of the ratings table: which are missing, and the matrix of those that are there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rulesel.records import Flag, Float32, Int64, Ratings, Status, UInt8
from rulesel.store.database import Database
from rulesel.store.schema import STAGES

SPARSE = 8
"""A scope that holds less than one in this many of the contents it spans is looked up by a join."""

UNRATED = 255
"""Status of a cell that nobody has rated yet."""


@dataclass(frozen=True, slots=True)
class Cells:
    """A block of cells without a rating: every content with every rule."""

    contents: Int64
    rules: tuple[int, ...]

    @property
    def n(self) -> int:
        """How many cells."""
        return len(self.contents) * len(self.rules)


class RatingTable:
    """Ratings keyed by content, rule and rater."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def missing(
        self, contents: Int64, rules: Sequence[int], rater: int, *, again: Collection[Status] = ()
    ) -> list[Cells]:
        """Cells without a rating, as blocks; contents ascending within each.

        Counting a content's ratings settles nearly all of them; only the partly rated are looked at cell by cell.

        Args:
            contents: rows, in any order.
            rules: columns.
            rater: number of the rater.
            again: cells that failed in one of these ways count as missing, too.
        """
        contents = np.unique(contents)
        count = np.zeros(len(contents), dtype=np.int64)
        settled = f"status NOT IN ({_numbers([int(status) for status in again])})" if again else "true"
        columns = f"content, (count(*) FILTER ({settled}))::INTEGER AS n"
        for found in self._stream(contents, rules, rater, columns, "GROUP BY content"):
            at, here = _positions(contents, found.column(0).to_numpy())
            count[at] = found.column(1).to_numpy()[here]
        blocks = [Cells(contents[count == 0], tuple(rules))] if (count == 0).any() else []
        partial = contents[(count > 0) & (count < len(rules))]
        return blocks + self._partly(partial, rules, rater, again)

    def _partly(self, contents: Int64, rules: Sequence[int], rater: int, again: Collection[Status]) -> list[Cells]:
        if not len(contents):
            return []
        lacking = np.isin(self.matrix(contents, rules, rater)[1], [UNRATED, *again])
        packed = np.packbits(lacking, axis=1)
        keys = packed.view(f"V{packed.shape[1]}").reshape(-1) if packed.shape[1] > 8 else _as_words(packed)
        _, first, which = np.unique(keys, return_index=True, return_inverse=True)
        return [
            Cells(contents[which == i], tuple(r for r, absent in zip(rules, lacking[row], strict=True) if absent))
            for i, row in enumerate(first.tolist())
        ]

    def add(
        self,
        contents: Int64,
        rules: Sequence[int],
        rater: int,
        stage: str,
        ratings: Ratings,
        *,
        replace: bool = False,
    ) -> None:
        """Add the ratings of a block, in one transaction.

        Args:
            contents: (n,), the rows of `ratings`.
            rules: (R,), its columns.
            rater: number of the rater.
            stage: one of `schema.STAGES`.
            ratings: (n, R).
            replace: in place of what the block's cells hold; otherwise they must hold nothing.
        """
        n, width = ratings.values.shape
        failed = ratings.status.ravel() != Status.ok
        columns = {
            "content": np.repeat(contents, width),
            "rule": np.tile(np.asarray(rules, dtype=np.int32), n),
            "value": pa.array(ratings.values.ravel(), mask=failed if failed.any() else None),
            "status": ratings.status.ravel(),
        }
        if ratings.flags.any():
            columns["flags"] = ratings.flags.ravel()
        if ratings.mass is not None:
            columns["mass"] = pa.array(ratings.mass.ravel(), from_pandas=True)
        constant = {"rater": int(rater), "stage": STAGES.index(stage), "flags": 0}
        with self._db.transaction():
            if replace:
                self._clear(contents, rules, rater)
            self._db.insert("ratings", pa.table(columns), constant)
            if ratings.reasons:
                cells = list(ratings.reasons)
                self._db.insert(
                    "rating_reasons",
                    pa.table(
                        {
                            "content": contents[[i for i, _ in cells]],
                            "rule": pa.array([rules[j] for _, j in cells], pa.int32()),
                            "rater": pa.array([rater] * len(cells), pa.int32()),
                            "reason": list(ratings.reasons.values()),
                        }
                    ),
                )

    def keep_merged(self, part: str, sha256: str) -> None:
        """Remember that a part has been taken in, by the bytes it had."""
        with self._db.transaction():
            self._db.con.execute("DELETE FROM settings WHERE name = ?", [f"merged {part}"])
            self._db.con.execute("INSERT INTO settings VALUES (?, ?)", [f"merged {part}", sha256])

    def merged(self, part: str) -> str | None:
        """The bytes' SHA-256 of a part that has been taken in; None of one that has not."""
        known = self._db.one("SELECT value FROM settings WHERE name = ?", f"merged {part}")
        return None if known is None else str(known)

    def _clear(self, contents: Int64, rules: Sequence[int], rater: int) -> None:
        self._db.con.register("scope", pa.table({"content": contents}))
        try:
            for table in ("ratings", "rating_reasons"):
                self._db.con.execute(
                    f"DELETE FROM {table} WHERE rater = ? AND rule IN ({_numbers(rules)}) "
                    "AND content IN (SELECT content FROM scope)",
                    [rater],
                )
        finally:
            self._db.con.unregister("scope")

    def matrix(self, contents: Int64, rules: Sequence[int], rater: int) -> tuple[Float32, UInt8]:
        """Values and statuses of the given contents (in any order, repeats allowed) under the given rules.

        Returns:
            values float32 (n, R), NaN where failed or unrated; status uint8 (n, R), `UNRATED` where nobody rated.
        """
        distinct, back = np.unique(contents, return_inverse=True)
        values = np.full((len(distinct), len(rules)), np.nan, dtype=np.float32)
        status = np.full((len(distinct), len(rules)), UNRATED, dtype=np.uint8)
        column = np.zeros(max(rules, default=0) + 1, dtype=np.int64)
        column[list(rules)] = np.arange(len(rules))
        for found in self._stream(distinct, rules, rater, "content, rule, value, status"):
            at, here = _positions(distinct, found.column(0).to_numpy())
            to = column[found.column(1).to_numpy()[here]]
            values[at, to] = found.column(2).to_numpy(zero_copy_only=False)[here]
            status[at, to] = found.column(3).to_numpy()[here]
        if len(back) == len(distinct) and (contents == distinct).all():
            return values, status
        return values[back], status[back]

    def mostly_ok(self, rater: str) -> bool:
        """Whether more than half of that rater's ratings have a value."""
        ok, total = self._db.rows(
            "SELECT count(*) FILTER (status = 0), count(*) FROM ratings JOIN raters a USING (rater) WHERE a.id = ?",
            rater,
        )[0]
        return 2 * int(ok) > int(total)

    def failures(self, rater: int, rules: Sequence[int]) -> dict[str, int]:
        """How many cells failed, by kind; not_applicable is no failure."""
        rows = self._db.rows(
            f"SELECT status, count(*) FROM ratings WHERE rater = ? AND rule IN ({_numbers(rules)}) AND status NOT IN (?, ?) "
            "GROUP BY status ORDER BY status",
            rater,
            int(Status.ok),
            int(Status.not_applicable),
        )
        return {Status(status).name: int(n) for status, n in rows}

    def by_status(self, contents: Int64, rules: Sequence[int], rater: int) -> dict[Status, int]:
        """How many of the cells contents (distinct) × rules have each status; cells without a rating are not counted."""
        self._db.con.register("scope", pa.table({"content": contents}))
        try:
            rows = self._db.rows(
                f"SELECT status, count(*) FROM ratings WHERE rater = ? AND rule IN ({_numbers(rules)}) "
                "AND content IN (SELECT content FROM scope) GROUP BY status",
                rater,
            )
        finally:
            self._db.con.unregister("scope")
        return {Status(status): int(n) for status, n in rows}

    def failed(self, statuses: Collection[Status]) -> dict[str, int]:
        """How many cells of all raters failed in each of these ways."""
        rows = self._db.rows(
            f"SELECT status, count(*) FROM ratings WHERE status IN ({_numbers([int(s) for s in statuses])}) "
            "GROUP BY status ORDER BY status"
        )
        return {Status(status).name: int(n) for status, n in rows}

    def forget(self, rater: int, statuses: Sequence[Status]) -> int:
        """Delete failed cells of the given kinds, so that they are rated again; returns how many."""
        kinds = _numbers([int(s) for s in statuses if s is not Status.ok])
        with self._db.transaction():
            self._db.con.execute(
                "DELETE FROM rating_reasons w WHERE w.rater = ? AND EXISTS (SELECT 1 FROM ratings r WHERE r.content = "
                f"w.content AND r.rule = w.rule AND r.rater = w.rater AND r.status IN ({kinds}))",
                [rater],
            )
            return int(self._db.one(f"DELETE FROM ratings WHERE rater = ? AND status IN ({kinds})", rater))

    def reasons(self, content: int, rater: int) -> dict[int, str]:
        """Why cells of one content failed, by rule number."""
        return dict(
            self._db.rows("SELECT rule, reason FROM rating_reasons WHERE content = ? AND rater = ?", content, rater)
        )

    def flags(self, contents: Int64, rater: int) -> dict[Flag, int]:
        """How many of the contents have a rating with each flag."""
        one_each = ", ".join(f"count(DISTINCT content) FILTER (flags & {int(flag)} <> 0)" for flag in Flag)
        self._db.con.register("scope", pa.table({"content": contents}))
        try:
            (counts,) = self._db.rows(
                f"SELECT {one_each} FROM ratings WHERE rater = ? AND flags <> 0 AND content IN (SELECT content FROM scope)",
                rater,
            )
        finally:
            self._db.con.unregister("scope")
        return {flag: int(n) for flag, n in zip(Flag, counts, strict=True)}

    def widen(self, rules: Sequence[int], names: Sequence[str], raters: Sequence[int]) -> None:
        """Make the view `ratings_wide` of the latest run: a row an example, a column a rule, each by its own rater."""
        columns = ", ".join(
            f"max(r.value) FILTER (r.rule = {int(rule)} AND r.rater = {int(rater)}) "
            f'AS "{name.replace(chr(34), chr(34) * 2)}"'
            for rule, name, rater in zip(rules, names, raters, strict=True)
        )
        self._db.con.execute(
            f"CREATE OR REPLACE VIEW ratings_wide AS SELECT e.example_id, e.row, {columns} FROM current_examples e "
            f"JOIN ratings r ON r.content = e.content AND r.rater IN ({_numbers(raters)}) WHERE e.occurrence = 0 "
            "GROUP BY e.example_id, e.row"
        )

    def blocks(self, cells: Sequence[Cells], size: int) -> Iterator[Cells]:
        """The same cells in blocks of at most `size` contents."""
        for block in cells:
            for start in range(0, len(block.contents), size):
                yield Cells(block.contents[start : start + size], block.rules)

    def _stream(
        self, contents: Int64, rules: Sequence[int], rater: int, columns: str, tail: str = ""
    ) -> Iterator[pa.RecordBatch]:
        """Columns of the ratings of these contents (ascending), a million rows at a time; others may come along."""
        if not len(contents):
            return
        low, high = int(contents[0]), int(contents[-1])
        where = f"rater = {int(rater)} AND rule IN ({_numbers(rules)}) AND content BETWEEN {low} AND {high}"
        few = len(contents) < (high - low + 1) / SPARSE
        if few:  # a join pays only where it keeps little
            self._db.con.register("scope", pa.table({"content": contents}))
            where += " AND content IN (SELECT content FROM scope)"
        try:
            yield from self._db.con.sql(f"SELECT {columns} FROM ratings WHERE {where} {tail}").to_arrow_reader(
                1_000_000
            )
        finally:
            if few:
                self._db.con.unregister("scope")


def _positions(contents: Int64, found: Int64) -> tuple[Int64, npt.NDArray[np.bool_]]:
    """Where each found content stands among the wanted ones, and which of the found are wanted at all."""
    if len(contents) == contents[-1] - contents[0] + 1:  # a run of numbers needs no search
        return found - contents[0], np.ones(len(found), dtype=bool)
    at = np.searchsorted(contents, found)
    here = contents[at] == found
    return at[here], here


def _as_words(packed: UInt8) -> npt.NDArray[np.uint64]:
    padded = np.zeros((len(packed), 8), dtype=np.uint8)
    padded[:, : packed.shape[1]] = packed
    return padded.view(np.uint64).reshape(-1)


def _numbers(values: Sequence[int]) -> str:
    return ", ".join(str(int(v)) for v in values) or "NULL"
