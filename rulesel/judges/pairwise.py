"""Which of two examples meets a criterion better, asked in both orders; strengths by Bradley and Terry.

Judges favour a position, most of all between near equals (arXiv 2406.07791), so every pair is asked both ways and the
probabilities are averaged, as QuRating does with votes (arXiv 2402.09739). An answer that cannot be read drops its
pair; it is never a loss.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, field_validator

from rulesel.algorithms.bradley_terry import Strengths, bradley_terry
from rulesel.digest import digest
from rulesel.judges import Grades, Judge
from rulesel.llm.base import ChatModel, ChatRequest, Lent
from rulesel.llm.fence import Fenced, fence
from rulesel.llm.grouped import Group, by_group
from rulesel.llm.labels import Reading, read_label, reason_of
from rulesel.llm.names import model_id
from rulesel.llm.wire import TOP_LOGPROBS
from rulesel.prompts import load
from rulesel.records import Batch, Float64, Int64, Status, UInt8

LABELS = {"A": 1.0, "B": 0.0, "C": 0.5}
"""What an answer is worth to the example shown first."""


@dataclass(frozen=True, slots=True)
class Preferences:
    """Comparisons of m pairs, in both orders.

    Attributes:
        pairs: int64 (m, 2), rows (i, j).
        forward: float64 (m,), preference for i with i shown first, in [0, 1]; NaN where the answer failed.
        backward: float64 (m,), preference for j with j shown first; NaN where the answer failed.
        reasons: for failed answers why, by (pair, 0 forward or 1 backward).
    """

    pairs: Int64
    forward: Float64
    backward: Float64
    reasons: dict[tuple[int, int], str]

    @property
    def probability(self) -> Float64:
        """float64 (m,), preference for i over j freed of the additive part of position bias; NaN where one failed."""
        return (self.forward + 1.0 - self.backward) / 2.0

    def report(self) -> dict[str, Any]:
        """Pairs, failures, share of pairs won by the same example in both orders, share won by whatever came first."""
        known = ~np.isnan(self.probability)
        forward, backward = self.forward[known], self.backward[known]
        decided = (forward != 0.5) & (backward != 0.5)
        same = (forward[decided] > 0.5) == (backward[decided] < 0.5)
        first = np.concatenate([forward[decided], backward[decided]]) > 0.5
        return {
            "pairs": len(self.pairs),
            "failed": int((~known).sum()),
            "consistent": float(same.mean()) if same.size else math.nan,
            "first_position": float(first.mean()) if first.size else math.nan,
        }


class Pairwise(Judge):
    """Log-strengths from comparisons of a sample."""

    name: ClassVar[str] = "pairwise"
    version: ClassVar[int] = 1
    source: ClassVar[str] = "arXiv 2402.09739; Bradley and Terry 1952"
    summary: ClassVar[str] = "Comparisons in both orders, fitted to one strength an example; for samples, not corpora."

    model: str
    about: str = "which of the two is the better example to train a language model on"
    degree: int | None = Field(None, ge=2)
    """How many others each example is compared with; None for max(6, 2 ln n)."""
    rounds: int = Field(2, ge=1)
    """After the first, neighbours in strength that are not told apart yet are compared too."""
    ridge: float = Field(0.05, ge=0)
    document_chars: int = Field(12_000, ge=200)
    seed: int = 0
    prompt: str = "compare_answers@1"

    @field_validator("model")
    @classmethod
    def _names_a_model(cls, value: str) -> str:
        model_id(value)
        return value

    @property
    def id(self) -> str:
        """Content address of model, prompt, plan of pairs and truncation."""
        parameters = self.model_dump(exclude={"model", "prompt"})
        return digest([self.name, self.version, self.maker(self.model), load(self.prompt).id, parameters])

    @property
    def column(self) -> str:
        """Always the same."""
        return "pairwise"

    @property
    def scale(self) -> tuple[float, float]:
        """Log-strengths have no bounds."""
        return -math.inf, math.inf

    def grade(self, batches: Iterable[Batch], lent: Lent) -> Iterator[Grades]:
        """Compare all examples with one another and yield their strengths, a `Grades` a batch.

        Strengths are log-odds: a difference of 1.1 is a preference of 3 to 1. An example all of whose pairs failed has
        status parse. The report of the first `Grades` holds the consistency of the judge and the standard errors.
        """
        parts = list(batches)
        whole = _joined(parts)
        n = len(whole)
        if n < 2:
            for part in parts:
                yield _alone(len(part))
            return
        rng = np.random.default_rng(self.seed)
        chat = lent.chat(self.model)
        found = self.compare(
            whole, regular_pairs(n, self.degree or max(6, math.ceil(2 * math.log(n))), rng), chat, lent
        )
        for _ in range(1, self.rounds):
            more = _undecided(fit(found, n, self.ridge), found.pairs)
            if not len(more):
                break
            found = _merged(found, self.compare(whole, more, chat, lent))
        yield from _strengths(parts, found, fit(found, n, self.ridge))

    def compare(self, batch: Batch, pairs: Int64, chat: ChatModel, lent: Lent) -> Preferences:
        """Ask about every pair in both orders.

        Args:
            batch: the examples.
            pairs: int64 (m, 2), rows of the batch.
            chat: whom to ask.
            lent: the store's secret.
        """
        group = Group(None, 2 * len(pairs), self.requests(batch, pairs, lent.secret))
        readings = next(by_group(chat, [group], lambda answer: read_label(answer, LABELS)))[1]
        values = np.array([r.value for r in readings], dtype=np.float64).reshape(-1, 2)
        return Preferences(pairs, values[:, 0], values[:, 1], _reasons(readings))

    def requests(self, batch: Batch, pairs: Int64, secret: bytes) -> Iterator[ChatRequest]:
        """The exact requests, two a pair: as given, then swapped."""
        prompt = load(self.prompt)
        for i, j in pairs.tolist():
            for first, second in ((i, j), (j, i)):
                a, b = self._fence(batch, first, secret), self._fence(batch, second, secret)
                messages = prompt.messages(
                    nonce=a.nonce, first=a.text, second=b.text.replace(b.nonce, a.nonce), criterion=self.about
                )
                yield ChatRequest(messages, max_tokens=1, top_logprobs=TOP_LOGPROBS)

    def _fence(self, batch: Batch, i: int, secret: bytes) -> Fenced:
        return fence(secret, batch.hashes[i], batch.prompts[i], batch.responses[i], max_chars=self.document_chars)


def regular_pairs(n: int, degree: int, rng: np.random.Generator) -> Int64:
    """Random pairs in which every one of n items has about the same number of partners, all connected.

    Returns:
        int64 (m, 2) with i < j, no pair twice; each item has at most `degree` partners (an even number), fewer only
        where random cycles met.
    """
    edges: set[tuple[int, int]] = set()
    if degree >= n - 1:
        edges = {(i, j) for i in range(n) for j in range(i + 1, n)}
    for _ in range(0 if edges else max(1, degree // 2)):
        order = rng.permutation(n).tolist()
        edges |= {(min(a, b), max(a, b)) for a, b in zip(order, order[1:] + order[:1], strict=True)}
    return np.array(sorted(edges), dtype=np.int64).reshape(-1, 2)


def fit(found: Preferences, n: int, ridge: float) -> Strengths:
    """Strengths of n items; a pair of probability p counts as p wins and 1 - p losses."""
    p = found.probability
    known = ~np.isnan(p)
    (i, j), p = found.pairs[known].T, p[known]
    rows = np.concatenate([np.column_stack([i, j, p]), np.column_stack([j, i, 1.0 - p])])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # components are part of the result
        return bradley_terry(rows, n, ridge=ridge)


def _undecided(fitted: Strengths, asked: Int64) -> Int64:
    """Neighbours in strength closer than their joint standard error, and not compared yet."""
    order = np.argsort(-fitted.strength, kind="stable")
    a, b = order[:-1], order[1:]
    error = np.hypot(fitted.standard_error[a], fitted.standard_error[b])
    close = np.abs(fitted.strength[a] - fitted.strength[b]) < error
    have = set(map(tuple, asked.tolist()))
    new = [(min(i, j), max(i, j)) for i, j in zip(a[close].tolist(), b[close].tolist(), strict=True)]
    return np.array([pair for pair in new if pair not in have], dtype=np.int64).reshape(-1, 2)


def _merged(one: Preferences, other: Preferences) -> Preferences:
    at = len(one.pairs)
    return Preferences(
        np.concatenate([one.pairs, other.pairs]),
        np.concatenate([one.forward, other.forward]),
        np.concatenate([one.backward, other.backward]),
        one.reasons | {(at + pair, order): why for (pair, order), why in other.reasons.items()},
    )


def _strengths(parts: Sequence[Batch], found: Preferences, fitted: Strengths) -> Iterator[Grades]:
    known = ~np.isnan(found.probability)
    compared = np.zeros(len(fitted.strength), dtype=bool)
    compared[found.pairs[known].ravel()] = True
    why = {int(row): reason for (pair, _), reason in found.reasons.items() for row in found.pairs[pair]}
    status: UInt8 = np.where(compared, Status.ok, Status.parse).astype(np.uint8)
    values = np.where(compared, fitted.strength, np.nan).astype(np.float32)
    report = found.report() | {"standard_error": fitted.standard_error, "component": fitted.component}
    start = 0
    for part in parts:
        rows = slice(start, start + len(part))
        reasons = {i: why.get(start + i, "its comparisons failed") for i in range(len(part)) if not compared[start + i]}
        yield Grades(
            values[rows],
            status[rows],
            np.zeros(len(part), dtype=np.uint8),
            None,
            reasons,
            {} if start else report,
        )
        start += len(part)


def _alone(n: int) -> Grades:
    """There is nothing to compare with."""
    status = np.full(n, Status.not_applicable, dtype=np.uint8)
    return Grades(np.full(n, np.nan, dtype=np.float32), status, np.zeros(n, dtype=np.uint8))


def _reasons(readings: Sequence[Reading]) -> dict[tuple[int, int], str]:
    failed = ((at, reading) for at, reading in enumerate(readings) if reading.status is not Status.ok)
    return {(at // 2, at % 2): reason_of(reading) for at, reading in failed}


def _joined(parts: Sequence[Batch]) -> Batch:
    return Batch(
        [content for part in parts for content in part.hashes],
        [prompt for part in parts for prompt in part.prompts],
        [response for part in parts for response in part.responses],
    )
