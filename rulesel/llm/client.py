"""A chat model over any backend: synchronous outside, one event loop in one thread inside, results in order."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from rulesel.errors import ModelError
from rulesel.llm.backend import Backend, Capability
from rulesel.llm.base import ChatRequest, Completion, Failure, Ledger, decode
from rulesel.llm.faults import Final, Retryable
from rulesel.llm.prices import Price
from rulesel.llm.sender import Limits, Sender
from rulesel.llm.slots import Flow, Slot

_HAND_OVER = 32
"""Requests handed to the event loop at a time."""
_PATIENT = 16
"""Windows of answers kept while an earlier request stalls or is tried again."""
GRACE = 5.0
"""Seconds for which an answer that is under way is waited for when a stream is left early."""


class Client:
    """A `ChatModel` with one layer of retries, limits, budget and cache."""

    def __init__(
        self,
        model: str,
        backend: Callable[[], Backend],
        *,
        ledger: Ledger | None = None,
        price: Price | None = None,
        limits: Limits | None = None,
        heartbeat: Callable[[], None] | None = None,
    ) -> None:
        """Keep the parameters; nothing is imported, opened or sent.

        Args:
            model: identity of the model, without host and key.
            backend: makes the backend, when the first request has to be sent.
            ledger: what was asked and paid before; None remembers nothing.
            price: dollars a token, None if unknown.
            limits: how hard to ask.
            heartbeat: called now and then while an answer is waited for; what it raises ends the stream.
        """
        self._id = model
        self._heartbeat = heartbeat
        self._make = backend
        self._ledger = ledger
        self._price = price
        self._limits = limits or Limits()
        self._window = max(4 * self._limits.concurrency, 2 * _HAND_OVER)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._backend: Backend | None = None
        self._sender: Sender | None = None

    @property
    def id(self) -> str:
        """Identity of the model."""
        return self._id

    @property
    def price(self) -> Price | None:
        """Dollars a token, None if unknown."""
        return self._price

    def complete(self, requests: Iterable[ChatRequest]) -> Iterator[Completion | Failure]:
        """Yield one result a request, in order.

        Requests are drawn a window ahead of the answers taken, and further while the first answer in order is waited
        for, so that one request that stalls does not hold up all the others.

        Leaving early, also by Ctrl-C, waits `GRACE` seconds for what is under way and keeps it in the ledger; what has
        not come by then is booked at its worst. A second Ctrl-C does not wait.

        Raises:
            ModelError: no request to this model can succeed.
            BudgetReached: the ledger allows no further request; what was under way is kept.
        """
        source, slots, flow = iter(requests), deque[Slot](), Flow()
        exhausted = False
        try:
            while True:
                if not exhausted and (room := self._room(slots, flow)):
                    exhausted = self._draw(source, slots, flow, room)
                if not slots:
                    return
                if not slots[0].done:
                    more = not exhausted and len(slots) < _PATIENT * self._window
                    slots[0].wait(flow.started - self._window + _HAND_OVER if more else math.inf, self._heartbeat)
                    continue
                slot = slots.popleft()
                if slot.error is not None:
                    raise slot.error
                assert slot.result is not None
                if self._ledger is not None:
                    self._ledger.delivered(slot.key)
                yield slot.result
        finally:
            self._abandon([slot for slot in slots if not slot.done])

    def probe(self, request: ChatRequest) -> Capability:
        """What one request shows of the model; it goes past ledger and cache, and is sent again only in another form.

        Raises:
            ModelError: it failed, in one line.
        """
        loop = self._running()
        try:
            return asyncio.run_coroutine_threadsafe(self._probe(request), loop).result()
        except (Retryable, Final) as fault:
            raise ModelError(f"{self._id}: {fault.failure.reason}") from None

    def close(self) -> None:
        """Let go of connections and of the thread; harmless when called twice."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self._loop = self._thread = None
        with suppress(TimeoutError):  # then the thread, which is a daemon, ends with the process
            asyncio.run_coroutine_threadsafe(self._shut(), loop).result(10.0)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10.0)
        if not thread.is_alive():
            loop.close()
        self._backend = self._sender = None

    def _room(self, slots: deque[Slot], flow: Flow) -> int:
        """How many requests to draw now: none, or enough to be worth while."""
        ahead = len(slots)
        if slots and not slots[0].done and ahead < _PATIENT * self._window:
            ahead = min(ahead, flow.under_way)
        return self._window - ahead if ahead <= self._window - _HAND_OVER else 0

    def _draw(self, source: Iterator[ChatRequest], slots: deque[Slot], flow: Flow, n: int) -> bool:
        """Draw and start so many requests; returns whether the source is exhausted."""
        fresh: list[Slot] = []
        try:
            for _ in range(n):
                request = next(source, None)
                if request is None:
                    return True
                slot = Slot(request, request.id(self._id), flow)
                slots.append(slot)
                reply = self._ledger.lookup(slot.key) if self._ledger is not None else None
                if reply is not None:
                    slot.result, slot.done = decode(reply), True
                    continue
                flow.started += 1
                fresh.append(slot)
                if len(fresh) == _HAND_OVER:
                    self._hand_over(fresh)
                    fresh = []
            return False
        finally:
            if fresh:
                self._hand_over(fresh)

    def _hand_over(self, slots: list[Slot]) -> None:
        self._running().call_soon_threadsafe(self._launch, slots)

    def _abandon(self, slots: list[Slot]) -> None:
        if not slots or self._loop is None:
            return
        self._loop.call_soon_threadsafe(_drop, slots)
        if not _finished(slots, GRACE):
            self._loop.call_soon_threadsafe(_cancel, slots)
            _finished(slots, GRACE)

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever, name=f"chat {self._id}", daemon=True)
            thread.start()
            self._loop, self._thread = loop, thread  # together, and only once it runs: Ctrl-C may strike in between
        return self._loop

    # what follows runs in the event loop

    def _opened(self) -> tuple[Backend, Sender]:
        if self._backend is None or self._sender is None:
            self._backend = self._make()
            self._sender = Sender(self._id, self._backend, self._ledger, self._price, self._limits)
        return self._backend, self._sender

    def _launch(self, slots: list[Slot]) -> None:
        loop = asyncio.get_running_loop()
        try:
            sender = self._opened()[1]
        except Exception as error:  # noqa: BLE001 - a missing package, a wrong name: raised in the caller's thread
            for slot in slots:
                slot.finish(None, error)
            return
        for slot in slots:
            slot.task = loop.create_task(sender.answer(slot))
            slot.task.add_done_callback(slot.finish_with)  # also where it is cancelled before it has begun

    async def _probe(self, request: ChatRequest) -> Capability:
        backend, _ = self._opened()
        began = time.perf_counter()
        completion = await _send_in_some_form(backend, request)
        seconds = time.perf_counter() - began
        alternatives = max((len(token) for token in completion.logprobs), default=0)
        counted = completion.prompt_tokens > 0
        return Capability(alternatives, counted, await backend.context(), seconds, completion.text)

    async def _shut(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._backend is not None:
            await self._backend.close()


async def _send_in_some_form(backend: Backend, request: ChatRequest) -> Completion:
    for _ in range(7):
        try:
            return await backend.send(request)
        except Retryable as fault:
            if not fault.at_once:  # otherwise the backend knows a simpler form
                raise
    return await backend.send(request)


def _finished(slots: list[Slot], seconds: float) -> bool:
    """Wait until all are done; False if that takes longer."""
    until = time.monotonic() + seconds
    for slot in slots:
        slot.wait(seconds=until - time.monotonic())
    return all(slot.done for slot in slots)


def _cancel(slots: list[Slot]) -> None:
    for slot in slots:
        if slot.task is not None:
            slot.task.cancel()


def _drop(slots: list[Slot]) -> None:
    for slot in slots:
        slot.dropped = True
        if slot.task is None and not slot.done:  # Ctrl-C struck before it was handed over
            slot.finish(None, asyncio.CancelledError())
        elif slot.task is not None and not slot.sent:
            slot.task.cancel()
