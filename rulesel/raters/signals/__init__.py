"""The embedded rater: every rule's `sql` expression, evaluated on the text of an example. No model, no key, no network.

It measures surface signals of quality. It cannot tell a right answer from a wrong one that looks the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version as installed
from queue import LifoQueue
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, PrivateAttr

from rulesel.digest import digest
from rulesel.raters import Lent, Rater
from rulesel.raters.signals.engine import Answers
from rulesel.raters.signals.isolation import TOO_LONG, Isolated, Known, refusal
from rulesel.raters.signals.vocabulary import COLUMNS, MACROS
from rulesel.records import Batch, Flag, Int64, Ratings, Rule, Status

if TYPE_CHECKING:
    import pyarrow as pa

TOLERANCE = 1e-6
"""How far outside [0, 1] a value may lie and still be taken for the end of the scale."""
_MOST_ROWS = 16_384
_FEWEST_ROWS = 1024
"""Rows of a query: planning one takes as long as rating a few hundred rows."""
_BYTES = 4_000_000
_MOST_WORKERS = 8
_MOST_SLOW = 3
"""Expressions whose check may run out of time before no more are checked."""
_REASONS = 20
"""Failed cells of a rule and batch whose reason is kept."""


class Signals(Rater):
    """Ratings by SQL: a rule's `sql` is one scalar DuckDB expression in [0, 1].

    Expressions may name the columns of `vocabulary.COLUMNS` and call the functions of `expression.FUNCTIONS`. NULL
    means that the rule has no meaning for the example (status not_applicable); an expression that raises on an example
    gives status parse there; NaN or a value outside [0, 1] gives status range; one that does not come to an end on a
    block of examples gives status timeout there. For a rule of negative polarity the rating is 1 - value.
    """

    name = "signals"
    chunk = 8192
    exact = True
    summary = "Surface signals in SQL: instant, free, reproducible; blind to whether an answer is right."

    max_chars: int = Field(default=50_000, ge=100)
    """A longer prompt or response is cut to its head and tail; the cell is flagged document_cut."""

    _refusals: dict[str, str | None] = PrivateAttr(default_factory=dict)

    @property
    def id(self) -> str:
        """Content address of version, parameters and vocabulary, whatever release of DuckDB evaluates it."""
        words = {name: column.sql for name, column in COLUMNS.items()}
        calls = {name: [macro.parameters, macro.sql] for name, macro in MACROS.items()}
        return digest([self.name, self.version, self.model_dump(mode="json"), words, calls])

    def provenance(self) -> dict[str, Any]:
        """The release of DuckDB."""
        return {"duckdb": installed("duckdb")}

    def refuses(self, rule: Rule) -> str | None:
        """Why the rule's expression cannot be evaluated, or None."""
        if rule.sql is None:
            return "the rule has no sql expression"
        if rule.sql not in self._refusals:
            if list(self._refusals.values()).count(TOO_LONG) >= _MOST_SLOW:
                return f"it was not checked: {_MOST_SLOW} others took too long to be checked"
            self._refusals[rule.sql] = refusal(rule.sql)
        return self._refusals[rule.sql]

    def rate(self, batches: Iterable[Batch], rules: Sequence[Rule], lent: Lent) -> Iterator[Ratings]:  # noqa: ARG002
        """Yield the ratings of each batch; a refused rule is not_applicable throughout, and nothing of it is run."""
        refused = {j: reason for j, rule in enumerate(rules) if (reason := self.refuses(rule)) is not None}
        accepted = np.array([j for j in range(len(rules)) if j not in refused], dtype=np.int64)
        workers = min(_MOST_WORKERS, os.cpu_count() or 1)
        known = Known([rules[j].sql or "" for j in accepted], self.max_chars)
        free: LifoQueue[Isolated] = LifoQueue()
        everyone = [Isolated(known) for _ in range(workers)]
        for one in everyone:
            free.put(one)
        with ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(workers))
            stack.push(partial(_let_go, everyone))
            for batch in batches:
                tables = _tables(batch, workers)
                answers = list(pool.map(partial(_evaluate, free), tables)) if len(accepted) else []
                yield _ratings(len(batch), rules, refused, accepted, answers)


def _let_go(everyone: Sequence[Isolated], kind: type[BaseException] | None, *_: object) -> None:
    """Give the processes back; after an error (Ctrl-C, say) one may be at work still, and is ended."""
    for one in everyone:
        if kind is None or kind is GeneratorExit:
            one.close()
        else:
            one.end()


def _evaluate(free: LifoQueue[Isolated], table: pa.Table) -> Answers:
    evaluator = free.get()
    try:
        return evaluator.evaluate(table)
    finally:
        free.put(evaluator)


def _tables(batch: Batch, parts: int) -> Iterator[pa.Table]:
    """The batch as Arrow tables of bounded rows and bytes, in order; `parts` of them if it is of middling size."""
    import pyarrow as pa
    import pyarrow.compute as pc

    prompts, responses = _strings(batch.prompts), _strings(batch.responses)
    sizes = pc.add(pc.binary_length(responses), pc.fill_null(pc.binary_length(prompts), 0)).to_numpy()
    ends = np.cumsum(sizes, dtype=np.int64)
    rows = min(_MOST_ROWS, max(_FEWEST_ROWS, -(-len(batch) // parts)))
    start = 0
    while start < len(batch):
        limit = (int(ends[start - 1]) if start else 0) + _BYTES
        end = min(start + rows, max(start + 1, int(np.searchsorted(ends, limit, side="right"))))
        yield pa.table({"prompt": prompts.slice(start, end - start), "response": responses.slice(start, end - start)})
        start = end


def _strings(texts: Sequence[str | None]) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.array(texts, pa.large_string())
    except UnicodeEncodeError:  # a lone surrogate is no character; it is read as a question mark
        clean = [text if text is None else text.encode(errors="replace").decode() for text in texts]
        return pa.array(clean, pa.large_string())


def _ratings(
    n: int, rules: Sequence[Rule], refused: dict[int, str], accepted: Int64, answers: Sequence[Answers]
) -> Ratings:
    """Values, statuses, flags and some reasons of one batch."""
    values = np.full((n, len(rules)), np.nan)
    status = np.full(values.shape, Status.not_applicable, dtype=np.uint8)
    flags = np.zeros(values.shape, dtype=np.uint8)
    reasons = {(row, j): reason for j, reason in refused.items() for row in range(min(n, _REASONS))}
    if answers:
        x = np.concatenate([a.values for a in answers])
        kinds = np.full(x.shape, Status.ok, dtype=np.uint8)
        kinds[~((x >= -TOLERANCE) & (x <= 1 + TOLERANCE))] = Status.range
        kinds[np.concatenate([a.null for a in answers])] = Status.not_applicable
        kinds[np.concatenate([a.failed for a in answers])] = Status.parse
        if any(a.late is not None for a in answers):
            late = [np.zeros_like(a.failed) if a.late is None else a.late for a in answers]
            kinds[np.concatenate(late)] = Status.timeout
        errors = {at: why for a in answers for at, why in a.errors.items()}
        reasons |= _reasons(x, kinds, accepted, errors)
        x[kinds != Status.ok] = np.nan
        negative = np.array([rules[j].polarity == "negative" for j in accepted], dtype=bool)
        values[:, accepted] = np.clip(np.where(negative, 1 - x, x), 0, 1)
        status[:, accepted] = kinds
        flags[np.ix_(np.concatenate([a.cut for a in answers]), accepted)] = Flag.document_cut
    return Ratings(values.astype(np.float32), status, flags, reasons=reasons)


def _reasons(
    x: np.ndarray[Any, Any], kinds: np.ndarray[Any, Any], accepted: Int64, errors: dict[int, str]
) -> dict[tuple[int, int], str]:
    """Reasons of the first failed cells of every expression."""
    reasons = {}
    for at, j in enumerate(accepted.tolist()):
        for row in np.flatnonzero(kinds[:, at] != Status.ok)[:_REASONS].tolist():
            what = {
                Status.range: f"the expression gives {x[row, at]:g}, outside [0, 1]",
                Status.not_applicable: "the expression is NULL for this example",
                Status.parse: errors.get(at, "the expression raised an error")[:300],
                Status.timeout: errors.get(at, "the expression took too long"),
            }
            reasons[row, j] = what[Status(kinds[row, at])]
    return reasons
