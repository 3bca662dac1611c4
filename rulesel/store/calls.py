"""Calls to models: what each took and cost."""

from __future__ import annotations

import pyarrow as pa

from rulesel.store.database import Database


class Calls:
    """Finished calls, moved here from the ledger a batch at a time."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, finished: pa.Table) -> None:
        """Append calls as `Ledger.finished` gives them; those already here are left out.

        A call that is here has its own time, so only the end of the table is looked at.
        """
        self._db.con.register("finished_calls", finished)
        try:
            with self._db.transaction():
                self._db.con.execute(
                    "INSERT INTO calls BY NAME SELECT * REPLACE (called AT TIME ZONE 'UTC' AS called) FROM finished_calls "
                    "WHERE call NOT IN (SELECT call FROM calls WHERE called >= "
                    "(SELECT min(called) AT TIME ZONE 'UTC' FROM finished_calls))"
                )
        finally:
            self._db.con.unregister("finished_calls")

    def of_run(self, run: str) -> tuple[int, float]:
        """Requests and dollars of a run, retries included."""
        row = self._db.rows("SELECT count(*), coalesce(sum(cost), 0) FROM calls WHERE run = ?", run)[0]
        return int(row[0]), float(row[1])

    def measured(self, model: str, stage: str) -> tuple[int, float, float]:
        """Of the answered calls of a stage to a model: how many, prompt tokens each, seconds each; zeros if none."""
        row = self._db.rows(
            "SELECT count(*), coalesce(avg(prompt_tokens), 0), coalesce(avg(seconds), 0) FROM calls "
            "WHERE model = ? AND stage = ? AND status = 'ok'",
            model,
            stage,
        )[0]
        return int(row[0]), float(row[1]), float(row[2])
