"""The processes that evaluate expressions, kept for the next who needs one, and ended with this process."""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from typing import Any

from rulesel.errors import RuleselError

_PASSED_ON = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "TEMP", "TMP", "LANG", "LC_ALL")
"""Variables of the environment that a process gets; keys are none of its business."""
_SLOWEST = 6
"""Seconds on the clock for one of computing, on a machine that does other things too."""


class Ended(Exception):
    """The process ended over a request."""

    def __init__(self, *, late: bool) -> None:
        """`late`: its time was up; else its memory ran out, or something in it broke."""
        super().__init__(
            "its time was up" if late else "the process that evaluated it ended, for want of memory perhaps"
        )
        self.late = late


class Process:
    """One process; it answers one request at a time."""

    def __init__(self) -> None:
        """Start it; it is ready some tenths of a second later."""
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(place for place in sys.path if place)
        self._late = False
        self.owner = os.getpid()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "rulesel.raters.signals.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,  # Ctrl-C is for this process alone, which then ends that one
            )
        except OSError as error:
            raise RuleselError(f"No process for rules' SQL could be started: {error.strerror}.") from error

    def ask(self, seconds: float, request: object) -> Any:  # noqa: ANN401 - what the request gives
        """The answer to a request of `worker`, which may compute for that many seconds.

        Raises:
            Ended: there is none, and there will be no other.
        """
        timer = threading.Timer(_SLOWEST * seconds + 30, self._end_late)
        timer.start()
        try:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            pickle.dump((seconds, request), self._process.stdin)
            self._process.stdin.flush()
            answer = pickle.load(self._process.stdout)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            code = self._process.wait()
            self.end()
            raise Ended(late=self._late or code == -getattr(signal, "SIGPROF", 0)) from None
        finally:
            timer.cancel()
        if isinstance(answer, MemoryError):
            self.end()
            raise Ended(late=False)
        return answer

    def _end_late(self) -> None:
        self._late = True
        self._process.kill()

    def end(self) -> None:
        """End it at once, whatever it is doing; harmless when called twice."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()


_idle: list[Process] = []
_lock = threading.Lock()


def take() -> Process:
    """A process for oneself alone."""
    with _lock:
        while _idle:
            process = _idle.pop()
            if process.owner == os.getpid():  # not one of the process that this one was forked from
                return process
    return Process()


def give_back(process: Process) -> None:
    """Leave a process to the next; it has answered whatever it was asked."""
    with _lock:
        _idle.append(process)


@atexit.register
def end_idle() -> None:
    """End the processes that wait for work."""
    with _lock:
        for process in _idle:
            if process.owner == os.getpid():
                process.end()
        _idle.clear()
