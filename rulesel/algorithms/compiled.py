"""Loops over arrays that no NumPy call makes in one pass, compiled by Numba when they are first called."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

REORDER = {"reassoc", "nnan", "nsz"}
"""Sums may be taken in several lanes at once, and numbers are finite; the same call still gives the same bits."""


def compiled(function: Callable[P, T]) -> Callable[P, T]:
    """Compile a function of finite arrays; it runs without the interpreter's lock.

    Compiling takes about a second, once: the machine code is kept beside the source, or in the user's cache, for the
    next process.
    """

    @cache
    def ready() -> Any:  # noqa: ANN401 - optional type of an untyped package
        from numba import njit

        try:
            return njit(nogil=True, fastmath=REORDER, cache=True)(function)
        except RuntimeError:  # no folder to keep it in
            return njit(nogil=True, fastmath=REORDER)(function)

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        found: T = ready()(*args, **kwargs)
        return found

    return run
