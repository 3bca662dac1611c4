"""What was read: contents (rated once) and the records that carry them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rulesel.records import Batch, Int64
from rulesel.store.database import Database, now


@dataclass(frozen=True, slots=True)
class CorpusRecord:
    """A corpus as the store knows it.

    Attributes:
        corpus: its number in the store.
        path: where it was read from, as the user wrote it.
        sha256: of the source's bytes.
        row_limit: how many records were read at most; None for all.
        n_records: records met, unreadable ones included.
        n_examples: records read, duplicates included.
        skipped: reason -> count, of records that could not be read.
    """

    corpus: int
    path: str
    format: str
    shape: str
    mapping: dict[str, str]
    header: bytes | None
    sha256: str
    row_limit: int | None
    n_records: int
    n_examples: int
    skipped: dict[str, int]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a corpus in its own order, one array entry a row.

    Attributes:
        row: int64, 0-based record number in the source.
        content: int64, number of the content in the store.
        occurrence: int32, 0 for the first record with this content, then 1, 2, …
        hash_key: uint64, first 64 bits of the content hash: stable wherever the same text is read.
    """

    row: Int64
    content: Int64
    occurrence: npt.NDArray[np.int32]
    hash_key: npt.NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.row)


class Corpora:
    """Corpora, their records and contents."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def find(self, sha256: str, mapping: dict[str, str], row_limit: int | None) -> CorpusRecord | None:
        """The corpus with that very content, mapping and limit, if it has been read whole."""
        found = self._db.one(
            "SELECT corpus FROM corpora WHERE finished AND sha256 = ? AND mapping = ? AND row_limit IS NOT DISTINCT FROM ?",
            sha256,
            json.dumps(mapping),
            row_limit,
        )
        return None if found is None else self.get(int(found))

    def get(self, corpus: int) -> CorpusRecord:
        """A corpus by its number."""
        names = [field.name for field in fields(CorpusRecord)]
        row = self._db.rows(f"SELECT {', '.join(names)} FROM corpora WHERE corpus = ? AND finished", corpus)[0]
        values = dict(zip(names, row, strict=True))
        return CorpusRecord(
            **values | {"mapping": json.loads(values["mapping"]), "skipped": json.loads(values["skipped"])}
        )

    def current(self) -> CorpusRecord | None:
        """The corpus read last."""
        number = self._db.one("SELECT corpus FROM current_corpus")
        return None if number is None else self.get(int(number))

    def unreadable(self, corpus: int) -> list[tuple[int, int, str]]:
        """Row, line and reason of records that could not be read, as far as they were listed, by row."""
        return self._db.rows("SELECT row, line, reason FROM unreadable WHERE corpus = ? ORDER BY row", corpus)

    def touch(self, corpus: int) -> None:
        """Make a known corpus the current one."""
        self._db.con.execute("UPDATE corpora SET read_at = ? WHERE corpus = ?", [now(), corpus])

    def begin(
        self,
        *,
        path: str,
        source_format: str,
        shape: str,
        mapping: dict[str, str],
        header: bytes | None,
        limit: int | None,
    ) -> Incoming:
        """Start reading a corpus; what an interrupted reading left is removed first."""
        with self._db.transaction():
            for (first,) in self._db.rows("SELECT first_content FROM corpora WHERE NOT finished"):
                self._db.con.execute("DELETE FROM contents WHERE content >= ?", [first])
            self._db.con.execute("DELETE FROM examples WHERE corpus IN (SELECT corpus FROM corpora WHERE NOT finished)")
            self._db.con.execute(
                "DELETE FROM unreadable WHERE corpus IN (SELECT corpus FROM corpora WHERE NOT finished)"
            )
            self._db.con.execute("DELETE FROM corpora WHERE NOT finished")
            corpus = int(self._db.one("SELECT coalesce(max(corpus), -1) + 1 FROM corpora"))
            first = int(self._db.one("SELECT coalesce(max(content), -1) + 1 FROM contents"))
            self._db.con.execute(
                "INSERT INTO corpora (corpus, path, format, shape, mapping, header, row_limit, first_content, finished) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, false)",
                [corpus, path, source_format, shape, json.dumps(mapping), header, limit, first],
            )
        return Incoming(self._db, corpus, first)

    def rows(self, corpus: int) -> Rows:
        """Every row of a corpus, in the order of the source."""
        table = self._db.arrow(
            "SELECT e.row, e.content, e.occurrence, c.hash_key FROM examples e JOIN contents c USING (content) "
            "WHERE e.corpus = ? ORDER BY e.row",
            corpus,
        )
        return Rows(*(table.column(i).to_numpy() for i in range(4)))

    def batches(self, contents: Int64, size: int) -> Iterator[tuple[Int64, Batch]]:
        """Texts of the given contents (ascending), `size` at a time."""
        for start in range(0, len(contents), size):
            part = contents[start : start + size]
            yield part, self._batch(part)

    def texts(self, contents: Sequence[int] | Int64) -> dict[int, tuple[str | None, str]]:
        """Prompt and response of a few contents."""
        part = np.unique(np.asarray(contents, dtype=np.int64))
        batch = self._batch(part)
        return {int(c): (p, r) for c, p, r in zip(part, batch.prompts, batch.responses, strict=True)}

    def records(self, corpus: int, rows: Int64) -> list[bytes]:
        """The stored records of the given rows, in the given order."""
        return [text.encode() for text in self._of_rows(corpus, rows, "e.record").column(0).to_pylist()]

    def pairs(self, corpus: int, rows: Int64) -> list[tuple[str | None, str]]:
        """Prompt and response of the given rows, in the given order."""
        table = self._of_rows(corpus, rows, "c.prompt, c.response")
        return list(zip(table.column(0).to_pylist(), table.column(1).to_pylist(), strict=True))

    def ids(self, corpus: int, rows: Int64) -> list[str]:
        """Example ids (content hash, dash, occurrence) of the given rows, in the given order."""
        return list(self._of_rows(corpus, rows, "c.hash || '-' || e.occurrence").column(0).to_pylist())

    def hashes(self, contents: Int64) -> list[str]:
        """Content hashes of the given contents, ascending by number."""
        return self._batch(np.unique(contents)).hashes

    def lengths(self, contents: Int64) -> Int64:
        """Characters of prompt and response together, for contents in any order."""
        table = self._db.arrow(
            "SELECT content, coalesce(length(prompt), 0) + length(response) AS n FROM contents ORDER BY content"
        )
        known = table.column(0).to_numpy()
        return np.asarray(table.column(1).to_numpy()[np.searchsorted(known, contents)], dtype=np.int64)

    def _of_rows(self, corpus: int, rows: Int64, columns: str) -> pa.Table:
        self._db.con.register("wanted_rows", pa.table({"row": rows, "position": np.arange(len(rows))}))
        try:
            return self._db.arrow(
                f"SELECT {columns} FROM wanted_rows w JOIN examples e ON e.row = w.row AND e.corpus = ? "
                "JOIN contents c USING (content) ORDER BY w.position",
                corpus,
            )
        finally:
            self._db.con.unregister("wanted_rows")

    def _batch(self, part: Int64) -> Batch:
        self._db.con.register("wanted_contents", pa.table({"content": part}))
        try:
            table = self._db.arrow(
                "SELECT hash, prompt, response FROM contents JOIN wanted_contents USING (content) "
                "WHERE content BETWEEN ? AND ? ORDER BY content",
                int(part[0]) if len(part) else 0,
                int(part[-1]) if len(part) else 0,
            )
        finally:
            self._db.con.unregister("wanted_contents")
        return Batch(*(table.column(i).to_pylist() for i in range(3)))


class Incoming:
    """A corpus on its way in; nothing counts until `finish`."""

    def __init__(self, db: Database, corpus: int, first_content: int) -> None:
        self._db = db
        self.corpus = corpus
        self._first = self._next = first_content

    def add(
        self,
        rows: Int64,
        hashes: list[str],
        prompts: Sequence[str | None],
        responses: Sequence[str],
        records: Sequence[bytes],
    ) -> None:
        """Append a chunk, in one transaction; all five have one entry a record."""
        content, new = self._numbers(hashes)
        keys = np.frombuffer(bytes.fromhex("".join(h[-32:-16] for h in hashes)), dtype=">u8").astype(np.uint64)
        contents = pa.table(
            {
                "content": content,
                "hash": pa.array(hashes, pa.string()),
                "hash_key": keys,
                "prompt": pa.array(prompts, pa.string()),
                "response": pa.array(responses, pa.string()),
            }
        ).filter(pa.array(new))
        examples = pa.table(
            {
                "corpus": pa.array(np.full(len(rows), self.corpus, dtype=np.int32)),
                "row": rows,
                "content": content,
                "occurrence": pa.array(np.zeros(len(rows), dtype=np.int32)),
                "record": pa.array(records, pa.string()),
            }
        )
        with self._db.transaction():
            self._db.insert("contents", contents)
            self._db.insert("examples", examples)
        self._next += int(new.sum())

    def finish(
        self,
        *,
        sha256: str,
        n_records: int,
        skipped: dict[str, int],
        unreadable: Sequence[tuple[int, int, str]] = (),
    ) -> CorpusRecord:
        """Join equal contents, number their occurrences, and make this the current corpus.

        Args:
            sha256: of the source.
            n_records: records met.
            skipped: reason -> count of those that could not be read.
            unreadable: row, line and reason of these, as far as they are listed.
        """
        con = self._db.con
        with self._db.transaction():
            con.execute(
                "CREATE TEMP TABLE twins AS SELECT content, keep FROM (SELECT content, hash, "
                "min(content) OVER (PARTITION BY hash) AS keep FROM contents WHERE content >= ?) WHERE content <> keep",
                [self._first],
            )
            con.execute("UPDATE examples SET content = keep FROM twins t WHERE examples.content = t.content")
            con.execute("DELETE FROM contents WHERE content IN (SELECT content FROM twins)")
            con.execute("DROP TABLE twins")
            row, line, reason = zip(*unreadable, strict=True) if unreadable else ((), (), ())
            listed = {"row": pa.array(row, pa.int64()), "line": pa.array(line, pa.int64())}
            listed |= {
                "corpus": pa.array([self.corpus] * len(row), pa.int32()),
                "reason": pa.array(reason, pa.string()),
            }
            self._db.insert("unreadable", pa.table(listed).select(["corpus", "row", "line", "reason"]))
            con.execute(
                "UPDATE examples SET occurrence = n.occurrence FROM (SELECT row, row_number() OVER "
                "(PARTITION BY content ORDER BY row) - 1 AS occurrence FROM examples WHERE corpus = $1 AND content IN "
                "(SELECT content FROM examples WHERE corpus = $1 GROUP BY content HAVING count(*) > 1)) n "
                "WHERE examples.corpus = $1 AND examples.row = n.row AND n.occurrence > 0",
                {"1": self.corpus},
            )
            n_examples = int(self._db.one("SELECT count(*) FROM examples WHERE corpus = ?", self.corpus))
            con.execute(
                "UPDATE corpora SET finished = true, sha256 = ?, n_records = ?, n_examples = ?, skipped = ?, read_at = ? "
                "WHERE corpus = ?",
                [sha256, n_records, n_examples, json.dumps(skipped), now(), self.corpus],
            )
        return Corpora(self._db).get(self.corpus)

    def _numbers(self, hashes: list[str]) -> tuple[Int64, npt.NDArray[np.bool_]]:
        """Content numbers of a chunk, and which of them are new to the store."""
        content = np.full(len(hashes), -1, dtype=np.int64)
        if self._first > 0:
            self._db.con.register("chunk_hashes", pa.table({"position": np.arange(len(hashes)), "hash": hashes}))
            try:
                known = self._db.arrow(
                    "SELECT k.position, c.content FROM chunk_hashes k JOIN contents c USING (hash) WHERE c.content < ?",
                    self._first,
                )
            finally:
                self._db.con.unregister("chunk_hashes")
            content[known.column(0).to_numpy()] = known.column(1).to_numpy()
        new = content < 0
        content[new] = np.arange(self._next, self._next + int(new.sum()))
        return content, new
