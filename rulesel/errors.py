"""The errors rulesel raises on purpose, each with the exit code the command line gives it.

RuleselError                 exit 1   something failed; the message says what
  UsageError                 exit 2   bad usage, config or input; nothing was spent
    UnknownName              exit 2   no such plug-in, pack or prompt; suggests the nearest
    MissingExtra             exit 2   an optional package is not installed; names the pip line
    CorpusError              exit 2   the corpus cannot be read
    PromptError              exit 2   a prompt file is malformed or wrongly filled in
    StoreError               exit 2   the store is locked, damaged or from a newer rulesel
  NothingSelected            exit 1   a selection without a row; the message says why
  ModelError                 exit 1   a model or its endpoint refuses every request
  BudgetReached              exit 3   --max-cost or --max-requests reached; the same command resumes
  TooManyFailures            exit 4   more cells failed than --max-failed allows; everything rated is kept
  Interrupted                exit 130 Ctrl-C; what was under way is committed and the same command resumes

A caller's mistake in a pure function is a ValueError. The failure of one rating is data, never an exception.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class RuleselError(Exception):
    """Base of every error raised on purpose; its text is one line for the user."""

    exit_code: ClassVar[int] = 1


class UsageError(RuleselError):
    """Bad usage, configuration or input: nothing has been spent."""

    exit_code = 2


class UnknownName(UsageError):
    """A name that does not exist, with the nearest one that does."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(f"No {kind} named {name!r}.{hint} Known: {', '.join(names)}.")


class MissingExtra(UsageError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str, feature: str) -> None:
        super().__init__(f"{feature} needs {package!r}. Install it: pip install 'rulesel[{extra}]'")


class CorpusError(UsageError):
    """The corpus cannot be read."""


class PromptError(UsageError):
    """A prompt file is malformed or wrongly filled in."""


class StoreError(UsageError):
    """The store is locked, damaged or was written by a newer rulesel."""


class NothingSelected(RuleselError):
    """A selection without a row."""


class ModelError(RuleselError):
    """A model or its endpoint refuses every request (key, name, quota)."""


class BudgetReached(RuleselError):
    """The budget of the run is spent; the same command goes on from here."""

    exit_code = 3


class TooManyFailures(RuleselError):
    """More cells failed than --max-failed allows; what was rated is kept."""

    exit_code = 4


class Interrupted(RuleselError):
    """Stopped by the user; the same command goes on from here."""

    exit_code = 130


def listed(mistakes: list[str]) -> str:
    """Mistakes of one input on one line; of very many the first ten, and how many more there are."""
    more = f"; and {len(mistakes) - 10:,} more" if len(mistakes) > 10 else ""
    return "; ".join(mistakes[:10]) + more
