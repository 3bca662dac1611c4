"""One request, from the first try to the answer: retries, limits, budget, cache. Everything here runs in one event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NoReturn

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, stop_after_delay
from tenacity.wait import wait_random_exponential

from rulesel.errors import BudgetReached, ModelError, RuleselError
from rulesel.llm.backend import Backend
from rulesel.llm.base import ChatRequest, Completion, Failure, Ledger, Outcome, encode
from rulesel.llm.faults import Final, Retryable
from rulesel.llm.limits import Bucket, Gate
from rulesel.llm.prices import Price, bounded
from rulesel.llm.redact import one_line

ALONE = 5.0
"""Seconds for which the first request keeps others waiting, so that what a server does not take is found out once."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How hard a model may be asked.

    Attributes:
        concurrency: most requests at once; the server's refusals bring it down, its answers up again.
        requests_per_minute, tokens_per_minute: what the provider allows, None if it does not say.
        seconds: longest wait for one answer.
        attempts: most tries of one request.
        patience: seconds after which a request is not tried again.
        backoff: seconds of the first wait between tries, doubled each time, jittered, at most 60.
        unanswered: requests in a row that came to nothing after all their tries before the model counts as gone.
    """

    concurrency: int = 64
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    seconds: float = 120.0
    attempts: int = 6
    patience: float = 300.0
    backoff: float = 1.0
    unanswered: int = 20


class Job:
    """A request under its key; `dropped` once nobody waits for it, `sent` while the server has it."""

    __slots__ = ("dropped", "key", "request", "sent")

    def __init__(self, request: ChatRequest, key: str) -> None:
        self.request, self.key = request, key
        self.dropped = self.sent = False


class Sender:
    """Asks one backend."""

    def __init__(
        self, model: str, backend: Backend, ledger: Ledger | None, price: Price | None, limits: Limits
    ) -> None:
        """Args as for `client.Client`, and the backend itself."""
        self._id, self._backend, self._ledger, self._price, self._limits = model, backend, ledger, price, limits
        self._gate = Gate(limits.concurrency)
        self._requests = Bucket(limits.requests_per_minute) if limits.requests_per_minute else None
        self._tokens = Bucket(limits.tokens_per_minute) if limits.tokens_per_minute else None
        self._tries = AsyncRetrying(
            stop=stop_after_attempt(limits.attempts) | stop_after_delay(limits.patience),
            wait=_wait(limits),
            retry=retry_if_exception_type(Retryable),
            reraise=True,
        )
        self._flying: dict[str, asyncio.Future[Completion | Failure]] = {}
        self._committing: asyncio.Future[None] | None = None
        self._settled: asyncio.Future[None] | None = None
        self._booked = 0
        self._first = asyncio.Lock()
        self._understood = False
        self._unanswered = 0
        self._answered = False
        self._fatal: RuleselError | None = None

    async def answer(self, job: Job) -> Completion | Failure:
        """The answer of an identical request that is under way, or one of its own.

        Raises:
            ModelError: no request to this model can succeed.
            BudgetReached: the ledger allows no further request, and nothing is under way that could free some of it.
        """
        while (other := self._flying.get(job.key)) is not None:
            await asyncio.wait([other])
            if not other.cancelled():
                result = other.result()
                return replace(result, cost=0.0) if isinstance(result, Completion) else result
        mine: asyncio.Future[Completion | Failure] = asyncio.get_running_loop().create_future()
        self._flying[job.key] = mine
        try:
            result = await self._persist(job)
            mine.set_result(result)
            return result
        finally:
            del self._flying[job.key]
            if not mine.done():
                mine.cancel()

    async def _persist(self, job: Job) -> Completion | Failure:
        """Try until there is an answer, a final fault, or no patience left."""
        try:
            try:
                completion = await self._attempt(job, 1)
            except Retryable as first:
                completion = await self._again(job, first)
            self._unanswered, self._answered = 0, True
        except Final as fault:
            self._unanswered = 0
            return fault.failure
        except Retryable as fault:
            self._unanswered += 1
            if (fault.unreachable and not self._answered) or self._unanswered >= self._limits.unanswered:
                self._stop(ModelError(f"{self._id} does not answer: {fault.failure.reason}"))
            return fault.failure
        return completion

    async def _again(self, job: Job, first: Retryable) -> Completion:
        """Further attempts after the first one failed; the common case is spared the machinery."""
        number = 0

        async def attempt() -> Completion:
            nonlocal number
            number += 1
            if number == 1:
                raise first
            return await self._attempt(job, number)

        completion: Completion = await self._tries.copy()(attempt)
        return completion

    async def _attempt(self, job: Job, number: int) -> Completion:
        """One try. At first they go one at a time, until one is not met by a wish for another form."""
        self._check(job)
        if not self._understood:
            try:
                async with asyncio.timeout(ALONE):
                    await self._first.acquire()
            except TimeoutError:
                self._understood = True  # as far as can be told
            else:
                try:
                    if not self._understood:
                        return await self._alone(job, number)
                finally:
                    self._first.release()
            self._check(job)
        return await self._ask(job, number)

    async def _alone(self, job: Job, number: int) -> Completion:
        self._check(job)
        understood = True
        try:
            return await self._ask(job, number)
        except Retryable as fault:
            understood = not fault.at_once
            raise
        finally:
            self._understood = self._understood or understood

    async def _ask(self, job: Job, number: int) -> Completion:
        await self._pace(job.request)
        await self._gate.enter()
        try:
            self._check(job)
            worst = None if self._price is None else self._price.worst(job.request)
            await self._reserve(job, worst)
            began = time.perf_counter()
            try:
                await self._commit()
                completion = self._priced(await self._backend.send(job.request), job.request)
                self._gate.good()
                outcome = _success(completion, number, began)
            except (Retryable, Final) as fault:
                outcome = _failure(fault.failure, worst, number, began)
                if job.dropped:  # nobody waits for another try
                    raise asyncio.CancelledError from None
                raise self._noted(fault) from None
            except ModelError as error:
                outcome = _failure(Failure("http", one_line(str(error))), worst, number, began)
                self._stop(error)
            except BaseException as error:  # the loop is shutting down, or a fault of ours: nobody knows what it cost
                outcome = _failure(Failure("http", one_line(repr(error)), maybe_paid=True), worst, number, began)
                raise
            finally:
                self._booked -= 1
                job.sent = False
                await self._settle(job, outcome)
            return completion
        finally:
            self._gate.leave()

    def _check(self, job: Job) -> None:
        if self._fatal is not None:
            raise self._fatal
        if job.dropped:
            raise asyncio.CancelledError

    def _stop(self, error: RuleselError) -> NoReturn:
        """No further request is sent; those under way go on."""
        if self._fatal is None:
            self._fatal = error
        raise self._fatal from None

    def _noted(self, fault: Retryable | Final) -> Retryable | Final:
        """Slow down if the server asks for it; a wait beyond all patience is the end, of the run if it is for load."""
        if not isinstance(fault, Retryable):
            return fault
        if fault.retry_after is not None and fault.retry_after > self._limits.patience:
            line = f"{fault.failure.reason} (the server asks to wait {fault.retry_after:.0f} s)"
            if fault.throttled:
                self._stop(ModelError(f"{self._id}: {line}; the same command goes on from here"))
            return Final(replace(fault.failure, reason=line))
        if fault.throttled:
            self._gate.throttled(fault.retry_after)
        return fault

    async def _pace(self, request: ChatRequest) -> None:
        wait = self._requests.take(1) if self._requests else 0.0
        if self._tokens:
            wait = max(wait, self._tokens.take(_guess(request)))
        if wait > 0:
            await asyncio.sleep(wait)

    async def _reserve(self, job: Job, worst: float | None) -> None:
        """Book the request; where the budget is full, wait for what is under way to turn out cheaper."""
        while True:
            try:
                if self._ledger is not None:
                    self._ledger.reserve(job.key, self._id, worst)
                job.sent = True  # from here on it is waited for, never cancelled
                self._booked += 1
                return
            except BudgetReached as reached:
                if self._booked == 0:
                    self._stop(reached)
            if self._settled is None:
                self._settled = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._settled)
            self._check(job)

    async def _settle(self, job: Job, outcome: Outcome) -> None:
        if self._tokens:
            self._tokens.give_back(_guess(job.request) - outcome.prompt_tokens - outcome.completion_tokens)
        if self._ledger is not None:
            self._ledger.settle(job.key, outcome)
        await self._commit()
        if self._settled is not None:
            self._settled.set_result(None)
            self._settled = None

    async def _commit(self) -> None:
        """Wait until the ledger is durable; all who wait in one turn of the loop share a commit."""
        if self._ledger is None:
            return
        if self._committing is None:
            self._committing = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(self._flush)
        await asyncio.shield(self._committing)

    def _flush(self) -> None:
        assert self._committing is not None
        assert self._ledger is not None
        done, self._committing = self._committing, None
        try:
            self._ledger.commit()
        except Exception as error:  # noqa: BLE001 - reaches everyone who waits for the commit
            done.set_exception(error)
        else:
            done.set_result(None)

    def _priced(self, completion: Completion, request: ChatRequest) -> Completion:
        completion = bounded(completion, request)
        return completion if self._price is None else replace(completion, cost=self._price.cost(completion, request))


def _wait(limits: Limits) -> Callable[[RetryCallState], float]:
    jittered = wait_random_exponential(multiplier=limits.backoff, max=60.0, min=limits.backoff / 2)

    def seconds(state: RetryCallState) -> float:
        fault = state.outcome.exception() if state.outcome else None
        if isinstance(fault, Retryable) and (fault.retry_after or fault.at_once):
            return fault.retry_after or 0.0
        return jittered(state)

    return seconds


def _guess(request: ChatRequest) -> float:
    """Tokens of a request, for the rate limit alone: four characters a token, and the longest answer."""
    return sum(len(content) for _, content in request.messages) / 4.0 + request.max_tokens


def _success(completion: Completion, number: int, began: float) -> Outcome:
    counts = completion.prompt_tokens, completion.cached_tokens, completion.completion_tokens
    return Outcome("ok", "", encode(completion), *counts, completion.cost, number, time.perf_counter() - began)


def _failure(failure: Failure, worst: float | None, number: int, began: float) -> Outcome:
    cost = worst if failure.maybe_paid else 0.0
    return Outcome(failure.kind, failure.reason, None, 0, 0, 0, cost, number, time.perf_counter() - began)
