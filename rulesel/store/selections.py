"""Runs and what they chose."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa

from rulesel.digest import PREFIX
from rulesel.errors import UnknownName
from rulesel.records import Float64, Int64
from rulesel.store.database import Database, now


class SelectionTable:
    """Runs, selections and their ranked rows."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def start_run(self, run: str, config: dict[str, Any], packages: dict[str, str]) -> int:
        """Record that a run starts or goes on; returns the attempt, 1 for the first."""
        attempt = int(self._db.one("SELECT count(*) + 1 FROM runs WHERE run = ?", run))
        self._db.con.execute(
            "INSERT INTO runs (run, attempt, started, outcome, config, packages) VALUES (?, ?, ?, 'running', ?, ?)",
            [run, attempt, now(), json.dumps(config), json.dumps(packages)],
        )
        return attempt

    def end_run(self, run: str, attempt: int, outcome: str) -> None:
        """Record how an attempt ended."""
        self._db.con.execute(
            "UPDATE runs SET ended = ?, outcome = ? WHERE run = ? AND attempt = ?",
            [now(), outcome, run, attempt],
        )

    def runs(self) -> list[dict[str, Any]]:
        """All attempts, newest first."""
        names = ("run", "attempt", "started", "ended", "outcome", "config")
        rows = self._db.rows(f"SELECT {', '.join(names)} FROM runs ORDER BY started DESC")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def keep(
        self, selection: str, run: str, corpus: int, method: str, rows: Int64, keys: Float64, receipt: dict[str, Any]
    ) -> None:
        """Keep a selection; one of the same id is replaced.

        Args:
            selection: content address of how it was made.
            run: the run it belongs to.
            corpus: the corpus the rows are of.
            method: the selector's name.
            rows: (k,) rows of the corpus, best first.
            keys: (k,) what each was picked by.
            receipt: enough to derive it again.
        """
        k = len(rows)
        with self._db.transaction():
            for table in ("selection_rows", "selections"):
                self._db.con.execute(f"DELETE FROM {table} WHERE selection = ?", [selection])
            self._db.con.execute(
                "INSERT INTO selections VALUES (?, ?, ?, ?, ?, ?, ?)",
                [selection, run, corpus, method, k, json.dumps(receipt), now()],
            )
            self._db.insert(
                "selection_rows",
                pa.table(
                    {
                        "selection": pa.array([selection] * k, pa.string()),
                        "rank": np.arange(1, k + 1),
                        "corpus": np.full(k, corpus, dtype=np.int32),
                        "row": np.asarray(rows, dtype=np.int64),
                        "key": np.asarray(keys, dtype=np.float64),
                    }
                ),
            )

    def latest(self) -> str | None:
        """Id of the selection made last."""
        found = self._db.one("SELECT selection FROM selections ORDER BY made_at DESC LIMIT 1")
        return None if found is None else str(found)

    def find(self, beginning: str) -> str:
        """Id of the selection whose id begins so, with or without its prefix.

        Raises:
            UnknownName: there is none, or more than one.
        """
        known = [str(one) for (one,) in self._db.rows("SELECT selection FROM selections ORDER BY made_at DESC")]
        found = [
            one
            for one in known
            if beginning and (one.startswith(beginning) or one[len(PREFIX) :].startswith(beginning))
        ]
        if len(found) != 1:
            raise UnknownName("selection", beginning, known)
        return found[0]

    def rows(self, selection: str) -> tuple[int, Int64]:
        """Corpus of a selection and the rows it picked, best first."""
        table = self._db.arrow("SELECT corpus, row FROM selection_rows WHERE selection = ? ORDER BY rank", selection)
        corpus = self._db.one("SELECT corpus FROM selections WHERE selection = ?", selection)
        return int(corpus), table.column(1).to_numpy()

    def receipt(self, selection: str) -> dict[str, Any]:
        """The receipt kept with a selection.

        Raises:
            KeyError: the store knows no such selection.
        """
        found = self._db.one("SELECT receipt FROM selections WHERE selection = ?", selection)
        if found is None:
            raise KeyError(selection)
        receipt: dict[str, Any] = json.loads(found)
        return receipt
