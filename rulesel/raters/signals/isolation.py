"""Evaluation in another process: an expression that outlasts its time or its memory loses its cells of that block alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rulesel.raters.signals.engine import Answers, joined
from rulesel.raters.signals.processes import Ended, Process, give_back, take
from rulesel.raters.signals.worker import Check, Evaluation

if TYPE_CHECKING:
    import pyarrow as pa

CHECKING = 3.0
"""Seconds of computing that the check of an expression may take."""
SECONDS = 5.0
"""Seconds of computing that an expression may take on a block of examples."""
TOO_LONG = "it takes too long to be checked"
GIVEN_UP = 3
"""Blocks on which an expression may fail so before it is not evaluated any more."""


def refusal(sql: str) -> str | None:
    """Why this expression may not be run, or None; found out in another process."""
    process = take()
    try:
        answer: str | None = process.ask(CHECKING, Check(sql))
    except Ended as ended:
        return TOO_LONG if ended.late else f"it cannot be checked: {ended}"
    except BaseException:
        process.end()
        raise
    give_back(process)
    return answer


class Known:
    """What a job has learnt of its expressions, shared by all its evaluators.

    Attributes:
        expressions: which have passed the check.
        max_chars: where texts are cut.
        fragile: index of an expression to the error it raised.
        lost: index of an expression to how many blocks it lost to time or memory; those are evaluated alone.
    """

    def __init__(self, expressions: Sequence[str], max_chars: int) -> None:
        """Nothing is known yet."""
        self.expressions = expressions
        self.max_chars = max_chars
        self.fragile: dict[int, str] = {}
        self.lost: Counter[int] = Counter()


class Isolated:
    """Evaluates the expressions of a job in a process of its own."""

    def __init__(self, known: Known) -> None:
        """The process is started when there is something to evaluate."""
        self._known = known
        self._process: Process | None = None

    def evaluate(self, table: pa.Table) -> Answers:
        """Values of every expression for a table with string columns prompt and response, in its order."""
        known, stream = self._known, _stream(table)
        together = [j for j in range(len(known.expressions)) if j not in known.lost]
        alone = [j for j in range(len(known.expressions)) if j in known.lost]
        parts: dict[int, Answers] = {}
        if together:
            try:
                first = self._ask(together, stream)
                parts |= {j: first.column(at) for at, j in enumerate(together)}
            except Ended as ended:
                if len(together) == 1:
                    parts[together[0]] = self._lose(together[0], len(table), ended)
                else:
                    alone = sorted(together + alone)
        for j in alone:
            parts[j] = self._alone(j, len(table), stream)
        return joined([parts[j] for j in range(len(known.expressions))])

    def _alone(self, j: int, n: int, stream: bytes) -> Answers:
        if self._known.lost[j] >= GIVEN_UP:
            return _none(n, late=True, why=f"the expression was given up after {GIVEN_UP} blocks without an end")
        try:
            return self._ask([j], stream)
        except Ended as ended:
            return self._lose(j, n, ended)

    def _lose(self, j: int, n: int, ended: Ended) -> Answers:
        self._known.lost[j] += 1
        why = f"the expression computed for more than {SECONDS:g} s on {n:,} examples" if ended.late else str(ended)
        return _none(n, late=ended.late, why=why)

    def _ask(self, which: Sequence[int], stream: bytes) -> Answers:
        known = self._known
        if self._process is None:
            self._process = take()
        fragile = {at: known.fragile[j] for at, j in enumerate(which) if j in known.fragile}
        request = Evaluation([known.expressions[j] for j in which], fragile, known.max_chars, stream)
        try:
            answers: Answers = self._process.ask(SECONDS * (1 + (len(which) - 1) / 20), request)
        except Ended:
            self.end()
            raise
        known.fragile |= {which[at]: message for at, message in answers.errors.items()}
        return answers

    def end(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def close(self) -> None:
        """Let go of the process; it has answered whatever it was asked."""
        if self._process is not None:
            give_back(self._process)
            self._process = None


def _stream(table: pa.Table) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    stream: bytes = sink.getvalue().to_pybytes()
    return stream


def _none(n: int, *, late: bool, why: str) -> Answers:
    """One expression without any value."""
    every, none = np.ones((n, 1), dtype=bool), np.zeros((n, 1), dtype=bool)
    found: dict[str, Any] = {"late": every, "failed": none} if late else {"late": none, "failed": every}
    return Answers(np.full((n, 1), np.nan), null=none, cut=none[:, 0], errors={0: why}, **found)
