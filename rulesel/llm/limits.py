"""How fast and how much at once: buckets for a rate per minute, a gate whose width follows the server's answers."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

BURST_SECONDS = 0.5
"""How much of a rate may be spent at once."""


class Bucket:
    """A token bucket that lets a caller go into debt and says how long to wait for it."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Args: rate per minute above 0, and a clock in seconds."""
        self._rate = per_minute / 60.0
        self._most = max(1.0, self._rate * BURST_SECONDS)
        self._level = self._most
        self._clock = clock
        self._at = clock()

    def take(self, amount: float) -> float:
        """Take an amount; returns the seconds to wait before acting on it (0 if it was there)."""
        now = self._clock()
        self._level = min(self._most, self._level + (now - self._at) * self._rate) - amount
        self._at = now
        return max(0.0, -self._level / self._rate)

    def give_back(self, amount: float) -> None:
        """Correct an estimate that was too high; a negative amount corrects one that was too low."""
        self._level = min(self._most, self._level + amount)


class Gate:
    """Lets at most `width` requests be under way: additive increase, multiplicative decrease.

    Refusals for load narrow it by twice their share among the answers since the last time, at most by half, and at most
    once a `calm` interval; each width's worth of good answers adds one. So a server that is full halves the width, and
    one that refuses a request now and then is not starved. All methods run in one event loop.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic, calm: float = 1.0) -> None:
        """Args: most requests at once, a clock in seconds, least seconds between two narrowings."""
        self._most = most
        self._width = float(most)
        self._clock = clock
        self._calm = calm
        self._narrowed_at = float("-inf")
        self._good = self._refused = 0  # since then
        self._closed_until = float("-inf")
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.under_way = 0

    @property
    def width(self) -> int:
        """Requests allowed at once now."""
        return max(1, int(self._width))

    async def enter(self) -> None:
        """Wait for a place, in order of arrival."""
        if self.under_way >= self.width or self._waiting:
            place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            try:
                await place  # whoever wakes us has counted us in
            except asyncio.CancelledError:
                if place.done() and not place.cancelled():
                    self.leave()
                raise
        else:
            self.under_way += 1
        while (wait := self._closed_until - self._clock()) > 0:
            await asyncio.sleep(wait)

    def leave(self) -> None:
        """Give the place to whoever waits longest."""
        self.under_way -= 1
        while self._waiting and self.under_way < self.width:
            place = self._waiting.popleft()
            if not place.done():
                self.under_way += 1
                place.set_result(None)

    def good(self) -> None:
        """An answer came."""
        self._good += 1
        self._width = min(float(self._most), self._width + 1.0 / self._width)

    def throttled(self, retry_after: float | None = None) -> None:
        """The server refused for load; nothing is sent until `retry_after` seconds have passed, if it named them."""
        now = self._clock()
        if retry_after is not None:
            self._closed_until = max(self._closed_until, now + retry_after)
        self._refused += 1
        if now - self._narrowed_at >= self._calm:
            share = self._refused / (self._good + self._refused)
            self._width = max(1.0, self._width * max(0.5, 1.0 - 2.0 * share))
            self._narrowed_at, self._good, self._refused = now, 0, 0
