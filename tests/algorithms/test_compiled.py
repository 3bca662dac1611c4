"""Compiled loops: the same numbers in any company, and without a place to keep their code."""

from __future__ import annotations

import numpy as np
import pytest

from rulesel.algorithms.compiled import compiled
from rulesel.algorithms.coverage import coverage
from rulesel.algorithms.kernels import given_kernel


def test_a_loop_whose_code_cannot_be_kept_runs_all_the_same():
    scope: dict = {}
    exec(
        "def total(x):\n    s = 0.0\n    for v in x:\n        s += v\n    return s", scope
    )  # no file: no folder beside it
    assert compiled(scope["total"])(np.arange(4.0)) == 6


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_gain_does_not_depend_on_its_company_and_is_that_of_the_definition(dtype):
    rng = np.random.default_rng(0)
    kernel = rng.uniform(-1, 1, (400, 3001)).astype(dtype)
    kernel.setflags(write=False)
    objective = coverage(given_kernel(kernel))
    objective.accept(7)
    together = objective.probe(np.arange(400))()
    alone = np.array([objective.probe(np.array([row]))()[0] for row in range(400)])
    np.testing.assert_array_equal(together, alone)
    added = np.maximum(kernel - np.maximum(kernel[7], 0), 0)
    np.testing.assert_allclose(together, added.sum(axis=1, dtype=np.float64), rtol=1e-12)
    turned = coverage(given_kernel(np.asfortranarray(kernel)))
    turned.accept(7)
    np.testing.assert_allclose(turned.probe(np.arange(400))(), together, rtol=1e-12)
