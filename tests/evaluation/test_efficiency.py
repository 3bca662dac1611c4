"""Selectors compared by trained models."""

import numpy as np
import pytest

from rulesel.evaluation.efficiency import Trained, standings


def scores(share, n=400, seed=0):
    return (np.random.default_rng(seed).random(n) < share).astype(float)


def test_selectors_are_ranked_beside_random_and_judged_by_the_interval():
    models = {
        "random": Trained(100, scores(0.5)),
        "good": Trained(100, scores(0.8, seed=1)),
        "same": Trained(100, scores(0.51, seed=2)),
        "bad": Trained(50, scores(0.2, seed=3)),
    }
    found = standings(models, pool=1000, full=scores(0.6, seed=4))
    verdicts = {one.name: one.verdict for one in found}
    assert (found[0].name, found[-1].name) == ("good", "bad")
    assert verdicts["good"] == "better than random"
    assert verdicts["same"] == "not better than random"
    assert verdicts["bad"] == "worse than random"
    assert verdicts["random"] == "the baseline"
    base = next(one for one in found if one.name == "random")
    assert base.to_random == 1
    assert base.fraction == pytest.approx(0.1)
    assert base.ratio == pytest.approx(models["random"].scores.mean() / scores(0.6, seed=4).mean())


def test_without_random_there_is_no_comparison():
    with pytest.raises(ValueError, match="random"):
        standings({"good": Trained(1, np.ones(3))}, pool=10)
