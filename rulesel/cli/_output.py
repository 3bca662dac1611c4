"""The one place that prints. For a person everything is made visible; for a machine every value is kept."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import traceback
from typing import Any

from rulesel.visible import HIDDEN, visible


def prepare() -> None:
    """Have characters that the terminal's encoding lacks written as escapes, instead of failing on them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def echo(text: str = "", *, err: bool = False) -> None:
    """Print text for a person, on standard output or standard error."""
    stream = sys.stderr if err else sys.stdout
    stream.write(visible(text) + "\n")
    stream.flush()


def complain(message: str) -> None:
    """Print an error: one line on standard error, whatever the message holds."""
    echo("rulesel: " + " ".join(message.split()), err=True)


def show_fault(error: BaseException) -> None:
    """Print the traceback of an error that nothing expected."""
    echo("".join(traceback.format_exception(error)) + f"rulesel: a fault of rulesel: {type(error).__name__}", err=True)


def as_json(value: Any, *, indent: int | None = 2, err: bool = False) -> None:  # noqa: ANN401 - any JSON value
    """Print a JSON value for a machine."""
    _machine(json.dumps(value, indent=indent, ensure_ascii=False, default=str), err=err)


def raw_json(text: str) -> None:
    """Print JSON text that is already made."""
    _machine(text, err=False)


def _machine(text: str, *, err: bool) -> None:
    """JSON has an escape for every character, so that the values are kept and a terminal obeys none of them."""
    stream = sys.stderr if err else sys.stdout
    text = HIDDEN.sub(lambda found: json.dumps(found[0])[1:-1], text)
    with contextlib.suppress(UnicodeEncodeError, LookupError):
        text.encode(stream.encoding or "utf-8")
        stream.write(text + "\n")
        stream.flush()
        return
    stream.write("".join(c if c.isascii() else json.dumps(c)[1:-1] for c in text) + "\n")
    stream.flush()
