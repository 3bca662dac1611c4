from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from rulesel.algorithms.threads import one_blas_thread


def blas_threads() -> list[int]:
    np.ones((2, 2)) @ np.ones((2, 2))
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_a_function_runs_with_one_blas_thread_and_leaves_the_others_theirs() -> None:
    before = blas_threads()
    assert before
    assert set(one_blas_thread(blas_threads)()) == {1}
    assert blas_threads() == before


def test_an_error_gives_the_threads_back() -> None:
    def fail() -> None:
        raise ValueError("no")

    before = blas_threads()
    with pytest.raises(ValueError, match="no"):
        one_blas_thread(fail)()
    assert blas_threads() == before
