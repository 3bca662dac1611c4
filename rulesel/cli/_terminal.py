"""What a person sees while a job runs."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text
from typing_extensions import override

from rulesel.cli._output import as_json, echo
from rulesel.pipeline.watch import Progress, Watcher
from rulesel.visible import visible

EVERY = 10.0
"""Seconds between progress lines where there is no terminal."""

err = Console(stderr=True, highlight=False, soft_wrap=True)

W = TypeVar("W", bound=Watcher)


class LineWatcher(Watcher):
    """Without a terminal: one JSON line every ten seconds, and one when a stage ends."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._started = self._last
        self._stage = ""
        self._offset = 0

    @override
    def say(self, line: str) -> None:
        echo(line, err=True)

    @override
    def progress(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.stage != self._stage:
            self._stage, self._started, self._offset = progress.stage, now, progress.done
        if now - self._last < EVERY and progress.done != progress.total:
            return
        self._last = now
        line = {
            "stage": progress.stage,
            "done": progress.done,
            "total": progress.total,
            "unit": progress.unit,
            "per_second": round(self.rate(progress, now), 1) or None,  # at the first word of a stage there is no rate
            "failed": dict(progress.failed),
            "reused": progress.reused,
        }
        as_json(line | ({} if progress.dollars is None else {"dollars": progress.dollars}), indent=None, err=True)

    def rate(self, progress: Progress, now: float) -> float:
        """Units a second in this stage of this attempt."""
        return (progress.done - self._offset) / max(now - self._started, 1e-3)


class LiveWatcher(LineWatcher):
    """On a terminal: one live line with units, rate, time left, dollars and failures."""

    def __init__(self) -> None:
        super().__init__()
        self._status = err.status("", spinner="dots")
        self._drawn = 0.0

    @override
    def say(self, line: str) -> None:
        err.print(Text(visible(line)))

    @override
    def progress(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.stage != self._stage:
            self._stage, self._started, self._offset = progress.stage, now, progress.done
            self._status.start()
        if now - self._drawn < 0.1 and progress.done != progress.total:
            return
        self._drawn = now
        rate = self.rate(progress, now)
        parts = [f"{progress.stage}: {progress.done:,}" + (f" of {progress.total:,}" if progress.total else "")]
        parts[0] += f" {progress.unit}"
        if rate > 0:
            parts.append(f"{rate:,.0f}/s")
            if progress.total:
                parts.append(f"{_duration((progress.total - progress.done) / rate)} left")
        if progress.dollars is not None:
            parts.append(f"${progress.dollars:.2f}")
        if progress.reused:
            parts.append(f"{progress.reused:,} kept from before")
        parts += [f"{name} {n:,}" for name, n in progress.failed.items()]
        self._status.update(Text(visible(" · ".join(parts))))

    @override
    def confirm(self, question: str) -> bool:
        if not sys.stdin.isatty():
            return False
        self._status.stop()
        err.print(Text(visible(f"{question} Go on? [y/N] ")), end="")
        stop = signal.signal(signal.SIGINT, signal.default_int_handler)  # nothing is under way that could be lost
        try:
            return sys.stdin.readline().strip().lower() in {"y", "yes"}
        finally:
            signal.signal(signal.SIGINT, stop)

    def close(self) -> None:
        """Remove the live line."""
        self._status.stop()


@contextmanager
def watching() -> Iterator[Watcher]:
    """A watcher for where the output goes; Ctrl-C asks it to stop after the batch, a second one stops at once."""
    watcher = LiveWatcher() if err.is_terminal else LineWatcher()

    def stop(_number: int, _frame: FrameType | None) -> None:
        if watcher.stopping:
            raise KeyboardInterrupt
        watcher.stopping = True
        watcher.say("Stopping once what is under way has come in; press Ctrl-C again to stop at once.")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield watcher
    finally:
        if isinstance(watcher, LiveWatcher):
            watcher.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, right: Sequence[str] = ()) -> None:
    """Print a table; title, heads and cells are plain text, whatever brackets they hold."""
    made = Table(title=_plain(title) if title else None, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        made.add_column(_plain(column, "bold"), justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*("" if cell is None else _plain(str(cell)) for cell in row))
    Console(highlight=False).print(made)


def excerpt(text: str, width: int = 72) -> str:
    """The beginning of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"


def shortened(cell: Any, most: int = 2000) -> Any:  # noqa: ANN401 - any value of a query
    """A value that a table can show: a text longer than `most` characters loses its end."""
    text = str(cell)
    return cell if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


def _plain(text: str, style: str = "") -> Text:
    return Text(visible(text), style)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
