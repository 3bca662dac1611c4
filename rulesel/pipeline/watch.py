"""What a job tells whoever watches it, and how it is told to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rulesel.errors import Interrupted


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage is.

    Attributes:
        stage: what is being done, a verb.
        done: units done, in this attempt or an earlier one.
        total: units in all, None if that is not known yet.
        unit: what is counted.
        failed: cells that failed so far, by kind.
        dollars: spent so far; None where nothing is paid or the price is unknown.
        reused: answers that were kept from an earlier attempt and cost nothing now.
    """

    stage: str
    done: int
    total: int | None
    unit: str
    failed: Mapping[str, int] = field(default_factory=dict)
    dollars: float | None = None
    reused: int = 0


class Watcher:
    """Silent by itself; the command line and tests derive from it."""

    stopping = False
    """Set to True (from a signal handler, say) to stop after the batch under way."""

    def say(self, line: str) -> None:
        """A line worth keeping: a mapping, a choice, a warning."""

    def progress(self, progress: Progress) -> None:
        """Called after every batch."""

    def confirm(self, question: str) -> bool:  # noqa: ARG002 - for those who can ask
        """Ask a person before money is spent; False where there is nobody to ask."""
        return False

    def check(self) -> None:
        """Called between batches, when everything so far is committed.

        Raises:
            Interrupted: the user asked to stop.
        """
        if self.stopping:
            raise Interrupted("Interrupted. Everything so far is kept: the same command goes on from here.")


class Pulse:
    """Progress between batches, while a model answers one request after another, and a stop between two answers."""

    EVERY = 0.25
    """Seconds between two reports."""

    def __init__(self, watcher: Watcher, progress: Callable[[int], Progress]) -> None:
        """Args: who watches; how far the stage is after so many answers since the last batch was kept."""
        self._watcher, self._progress = watcher, progress
        self._answers = 0
        self._next = 0.0

    def answered(self) -> None:
        """Count an answer.

        Raises:
            Interrupted: the user asked to stop.
        """
        self._answers += 1
        self._watcher.check()
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self.EVERY
            self._watcher.progress(self._progress(self._answers))

    def kept(self) -> None:
        """A batch is in the store: tell, and count anew."""
        self._answers = 0
        self._watcher.progress(self._progress(0))
        self._watcher.check()
