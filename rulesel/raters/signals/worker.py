"""A process of its own in which expressions are checked and evaluated.

It reads requests from standard input and answers on standard output until its input ends. The operating system ends it
when a request has used up its time: neither a pattern that is matched nor a query that is planned can be interrupted
otherwise.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rulesel.raters.signals.engine import Answers, Evaluator, connect
from rulesel.raters.signals.expression import refusal

if TYPE_CHECKING:
    import duckdb

MEMORY = 2 * 2**30
"""Bytes the process may take beyond what it has when it is ready."""


@dataclass(frozen=True, slots=True)
class Check:
    """Why an expression may not be run, or None."""

    sql: str

    def __call__(self, connection: duckdb.DuckDBPyConnection) -> str | None:
        """Answer the request."""
        return refusal(connection, self.sql)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Values of expressions for a table.

    Attributes:
        expressions: which have passed the check.
        fragile: index of an expression to the error it raised before: it is evaluated under TRY.
        max_chars: where texts are cut.
        table: string columns prompt and response, as an Arrow stream.
    """

    expressions: Sequence[str]
    fragile: dict[int, str]
    max_chars: int
    table: bytes

    def __call__(self, connection: duckdb.DuckDBPyConnection) -> Answers:
        """Answer the request."""
        import pyarrow as pa

        with pa.ipc.open_stream(self.table) as stream:
            table = stream.read_all()
        return Evaluator(connection, self.expressions, self.max_chars, self.fragile).evaluate(table)


def _bound_memory() -> None:
    """Bound the address space, where the system can."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _end_after(seconds: float) -> None:
    """Have this process ended once it has computed that long from now; 0 for no limit."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def main() -> None:
    """Answer requests: pairs of seconds and what is to be called with the connection."""
    answers = os.fdopen(os.dup(sys.__stdout__.fileno()), "wb")  # type: ignore[union-attr]  # a pipe
    os.dup2(2, 1)  # what a library prints is no answer
    requests = sys.stdin.buffer
    connection = connect()
    refusal(connection, "1")  # what takes long the first time is no request's business
    _bound_memory()
    while True:
        try:
            seconds, request = pickle.load(requests)
        except EOFError:
            return
        answer: Any
        _end_after(seconds)
        try:
            answer = request(connection)
        except MemoryError as error:
            answer = error
        _end_after(0)
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    main()
