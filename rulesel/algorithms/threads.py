"""How many threads linear algebra may take."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def one_blas_thread(function: Callable[P, T]) -> Callable[P, T]:
    """Run a function with one thread of BLAS.

    Matrices of a few hundred rows gain next to nothing from more, and where other work has the cores the threads wait
    for one another: choosing among 500 rules took eight times as long on two busy cores.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(limits=1, user_api="blas"):
            return function(*args, **kwargs)

    return run
