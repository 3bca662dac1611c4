"""What a job tells whoever watches it, and how it is told to stop."""

from __future__ import annotations

from collections.abc import Mapping
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
    """

    stage: str
    done: int
    total: int | None
    unit: str
    failed: Mapping[str, int] = field(default_factory=dict)
    dollars: float | None = None


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
