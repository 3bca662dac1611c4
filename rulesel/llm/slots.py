"""Requests of one stream in the caller's order, and how two threads tell one another what became of them."""

from __future__ import annotations

import asyncio
import math
import queue
import time
from collections.abc import Callable

from rulesel.llm.base import ChatRequest, Completion, Failure
from rulesel.llm.sender import Job

HEARTBEAT = 0.25
"""Seconds between two looks at whether to go on waiting."""


class Flow:
    """What passes between the caller's thread, which draws requests, and the loop's, which finishes them."""

    __slots__ = ("finished", "ready", "started", "wake_at")

    def __init__(self) -> None:
        """Nothing is started yet."""
        self.ready: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.started = 0  # by the caller
        self.finished = 0  # by the loop
        self.wake_at: float = math.inf  # how many finished requests make room for more

    @property
    def under_way(self) -> int:
        """Requests started and not finished."""
        return self.started - self.finished


class Slot(Job):
    """A job in the caller's order: what became of it, and how its caller is woken."""

    __slots__ = ("awaited", "done", "error", "flow", "result", "task")

    def __init__(self, request: ChatRequest, key: str, flow: Flow) -> None:
        """Args: what is asked, its key, the flow it is part of."""
        super().__init__(request, key)
        self.flow = flow
        self.result: Completion | Failure | None = None
        self.error: BaseException | None = None
        self.task: asyncio.Task[Completion | Failure] | None = None
        self.done = self.awaited = False

    def finish(self, result: Completion | Failure | None, error: BaseException | None = None) -> None:
        """Keep what became of it, and wake the caller if that is waited for; called by the loop."""
        del self.request  # which may be long
        self.result, self.error, self.done = result, error, True
        self.flow.finished += 1
        if self.awaited or self.flow.finished >= self.flow.wake_at:
            self.flow.ready.put(None)

    def finish_with(self, task: asyncio.Task[Completion | Failure]) -> None:
        """The same from a task that has ended."""
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        self.finish(None if error else task.result(), error)

    def wait(
        self, wake_at: float = math.inf, heartbeat: Callable[[], None] | None = None, seconds: float | None = None
    ) -> None:
        """Wait until it is done, or so many of the flow are.

        Args:
            wake_at: how many.
            heartbeat: called now and then, and may raise.
            seconds: the longest wait, None for no bound.
        """
        self.awaited, self.flow.wake_at = True, wake_at
        until = math.inf if seconds is None else time.monotonic() + seconds
        while not self.done and self.flow.finished < wake_at:
            left = until - time.monotonic()
            if left <= 0:
                return
            beat = math.inf if heartbeat is None else HEARTBEAT
            try:
                self.flow.ready.get(timeout=None if min(beat, left) == math.inf else min(beat, left))
            except queue.Empty:
                if heartbeat is not None:
                    heartbeat()
