"""What was asked of models and what it cost, in a SQLite file beside the store.

SQLite, because a booking must be durable before a request leaves, thousands of times a second, which a column store
is not made for. Rows of finished calls move on into the store; replies go once what was made of them is there. The
file may be deleted: then what was not yet in the store is paid for again, and nothing else is lost.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rulesel.errors import BudgetReached, UsageError
from rulesel.store.ledger_file import open_file, settle_lost

if TYPE_CHECKING:
    import pyarrow as pa

    from rulesel.llm.base import Outcome

_COLUMNS = (
    "call, run, stage, key, model, called, seconds, attempts, status, prompt_tokens, cached_tokens, completion_tokens, "
    "cost, reason"
)


@dataclass
class Spent:
    """The bill of a run so far, earlier attempts included; tokens and outcomes are this process's.

    Attributes:
        requests: sent, retries included.
        cost: dollars, as far as prices are known.
        reserved: dollars booked for what is under way.
        unpriced: requests of this process whose price is unknown.
        reused: requests of this process answered from kept replies, for nothing.
        prompt_tokens, cached_tokens, completion_tokens: as the servers counted them.
        outcomes: attempts by status.
    """

    requests: int = 0
    cost: float = 0.0
    reserved: float = 0.0
    unpriced: int = 0
    reused: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)


class Ledger:
    """The calls of one run, and its budget. All methods may be called from any thread."""

    def __init__(
        self,
        path: Path | None,
        *,
        run: str = "",
        max_cost: float | None = None,
        max_requests: int | None = None,
        already: tuple[int, float] = (0, 0.0),
    ) -> None:
        """Open or create; what an earlier process left under way is booked as spent.

        Args:
            path: the SQLite file, None for memory.
            run: whose budget it is; the same in every attempt at a run.
            max_cost: most dollars of the run.
            max_requests: most requests of the run.
            already: requests and dollars of the run that the store knows of, in case this file was deleted.

        Raises:
            StoreError: the file is no such ledger, damaged, or another process's.
        """
        self._run, self._max_cost, self._max_requests = run, max_cost, max_requests
        self._session = secrets.token_hex(6)
        self._lock = threading.RLock()
        self._open: dict[str, tuple[int, float]] = {}
        self._drained = 0
        self.spent = Spent()
        self._con = open_file(path)
        self._settlements = settle_lost(self._con)
        known = self._one("SELECT coalesce(sum(requests), 0), coalesce(sum(cost), 0) FROM totals WHERE run = ?", run)
        there = self._one("SELECT count(*), coalesce(sum(cost), 0) FROM calls WHERE run = ?", run)
        self.spent.requests = max(int(known[0] + there[0]), already[0])
        self.spent.cost = max(float(known[1] + there[1]), already[1])

    def stage(self, name: str) -> StageLedger:
        """The ledger as one stage of the run sees it; the name is kept with its calls."""
        return StageLedger(self, name)

    def finished(self) -> pa.Table:
        """Settled calls that have not moved into the store yet.

        Returns:
            Arrow table with columns call (unique for ever), run, stage, key, model, called (timestamp, UTC), seconds,
            attempts, status, prompt_tokens, cached_tokens, completion_tokens, cost (NULL if unknown), reason.
        """
        import pyarrow as pa

        with self._lock:
            self._commit()
            rows = self._con.execute(
                f"SELECT {_COLUMNS} FROM calls WHERE settled IS NOT NULL ORDER BY number"
            ).fetchall()
            self._drained = self._settlements
        text, real, count = pa.string(), pa.float64(), pa.int64()
        types = [text] * 5 + [pa.timestamp("us", tz="UTC"), real, count, text, count, count, count, real, text]
        columns: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in types]
        columns[5] = [int(at * 1e6) for at in columns[5]]
        names = _COLUMNS.split(", ")
        return pa.table({name: pa.array(c, t) for name, c, t in zip(names, columns, types, strict=True)})

    def moved(self) -> None:
        """The rows last given by `finished` are safe in the store: only their totals stay here."""
        with self._lock:
            self._begin()
            self._con.execute(
                "INSERT INTO totals SELECT run, count(*), coalesce(sum(cost), 0) FROM calls WHERE settled <= ? "
                "GROUP BY run ON CONFLICT (run) DO UPDATE SET requests = requests + excluded.requests, "
                "cost = cost + excluded.cost",
                [self._drained],
            )
            self._con.execute("DELETE FROM calls WHERE settled <= ?", [self._drained])
            self._commit()

    def close(self) -> None:
        """Commit and let go of the file; harmless when called twice."""
        with self._lock:
            self._commit()
            self._con.close()

    def _one(self, query: str, *parameters: object) -> tuple[Any, ...]:
        row: tuple[Any, ...] = self._con.execute(query, parameters).fetchone()
        return row

    def _begin(self) -> None:
        if not self._con.in_transaction:
            self._con.execute("BEGIN")

    def _commit(self) -> None:
        if self._con.in_transaction:
            self._con.execute("COMMIT")

    def _lookup(self, key: str) -> bytes | None:
        with self._lock:
            row = self._con.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
            if row is None:
                return None
            self.spent.reused += 1
            return bytes(row[0])

    def _reserve(self, stage: str, key: str, model: str, cost: float | None) -> None:
        with self._lock:
            self._afford(model, cost)
            self._begin()
            done = self._con.execute(
                "INSERT INTO calls (call, run, stage, key, model, called, status, cost) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (f"{self._session}-{self.spent.requests}", self._run, stage, key, model, time.time(), "reserved", cost),
            )
            assert done.lastrowid is not None
            self._open[key] = (done.lastrowid, cost or 0.0)
            self.spent.requests += 1
            self.spent.reserved += cost or 0.0

    def _afford(self, model: str, cost: float | None) -> None:
        spent = self.spent
        if self._max_requests is not None and spent.requests >= self._max_requests:
            raise BudgetReached(f"--max-requests {self._max_requests} is reached; the same command goes on from here.")
        if self._max_cost is None:
            return
        if cost is None:
            raise UsageError(
                f"The price of {model!r} is unknown, so --max-cost cannot be kept. Name it in the config: "
                f"prices: {{{model!r}: {{input: …, output: …}}}} (dollars for a million tokens)."
            )
        if spent.cost + spent.reserved + cost > self._max_cost + 1e-9:
            raise BudgetReached(
                f"--max-cost {self._max_cost:g} is reached: ${spent.cost:.4f} spent, and the next request could cost "
                f"${cost:.4f}; the same command goes on from here."
            )

    def _settle(self, stage: str, key: str, outcome: Outcome) -> None:
        with self._lock:
            number, reserved = self._open.pop(key)
            self._settlements += 1
            self._begin()
            self._con.execute(
                "UPDATE calls SET settled = ?, seconds = ?, attempts = ?, status = ?, prompt_tokens = ?, "
                "cached_tokens = ?, completion_tokens = ?, cost = ?, reason = ? WHERE number = ?",
                (
                    self._settlements,
                    outcome.seconds,
                    outcome.attempts,
                    outcome.status,
                    outcome.prompt_tokens,
                    outcome.cached_tokens,
                    outcome.completion_tokens,
                    outcome.cost,
                    outcome.reason or None,
                    number,
                ),
            )
            if outcome.reply is not None:
                self._con.execute("INSERT OR REPLACE INTO replies VALUES (?, ?, ?)", (key, stage, outcome.reply))
            self._count(outcome, reserved)

    def _count(self, outcome: Outcome, reserved: float) -> None:
        spent = self.spent
        spent.reserved = spent.reserved - reserved if self._open else 0.0  # no drift
        spent.cost += outcome.cost or 0.0
        spent.unpriced += outcome.cost is None
        spent.prompt_tokens += outcome.prompt_tokens
        spent.cached_tokens += outcome.cached_tokens
        spent.completion_tokens += outcome.completion_tokens
        spent.outcomes[outcome.status] += 1

    def _flush(self) -> None:
        with self._lock:
            self._commit()

    def _release(self, keys: list[str]) -> None:
        with self._lock:
            self._begin()
            self._con.executemany("DELETE FROM replies WHERE key = ?", [(key,) for key in keys])
            self._commit()


class StageLedger:
    """Implements `rulesel.llm.base.Ledger` for one stage of a run."""

    def __init__(self, ledger: Ledger, stage: str) -> None:
        self._ledger, self._stage = ledger, stage
        self._delivered: list[str] = []

    def lookup(self, key: str) -> bytes | None:
        """The stored reply to that request."""
        return self._ledger._lookup(key)

    def reserve(self, key: str, model: str, cost: float | None) -> None:
        """Book one request at its worst.

        Raises:
            BudgetReached: the run may not send it.
            UsageError: there is a `max_cost` and the price is unknown.
        """
        self._ledger._reserve(self._stage, key, model, cost)

    def settle(self, key: str, outcome: Outcome) -> None:
        """Replace the reservation by what it came to."""
        self._ledger._settle(self._stage, key, outcome)

    def commit(self) -> None:
        """Make everything booked so far survive a kill."""
        self._ledger._flush()

    def delivered(self, key: str) -> None:
        """The reply was handed to whoever asked."""
        self._delivered.append(key)

    def release(self) -> None:
        """What was made of the replies handed out so far is in the store: forget them."""
        keys, self._delivered = self._delivered, []
        self._ledger._release(keys)
