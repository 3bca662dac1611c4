"""The measures of the rule choice experiment, by their definitions."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

PATH = Path(__file__).parents[2] / "evals" / "rule_choice" / "measures.py"
SPEC = importlib.util.spec_from_file_location("rule_choice_measures", PATH)
measures = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(measures)


def test_winning_rate_counts_ties_half():
    assert measures.winning_rate(np.array([0.10, 0.20]), np.array([0.15, 0.20, 0.30])) == 0.75


def test_auc_is_the_share_of_pairs_in_order_on_the_resampled_rows():
    rng = np.random.default_rng(0)
    score, truth = rng.integers(0, 5, 40).astype(float), rng.integers(0, 2, 40).astype(float)
    weight = measures.resamples(40, 5, seed=1)
    found = measures.auc(score, truth, weight)
    for row, value in zip(weight, found, strict=True):
        again = np.repeat(np.arange(40), row.astype(int))
        good, bad = score[again][truth[again] == 1], score[again][truth[again] == 0]
        pairs = np.subtract.outer(good, bad)
        assert value == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    assert measures.auc(truth, truth, weight[:1])[0] == 1
    assert np.isnan(measures.auc(score, np.ones(40), weight[:1])[0])


def test_spearman_of_the_whole_sample_is_scipys():
    rng = np.random.default_rng(1)
    a = rng.normal(size=30)
    b = a + rng.normal(size=30)
    assert measures.spearman(a, b, np.ones((1, 30)))[0] == pytest.approx(spearmanr(a, b).statistic)


def test_missing_scores_and_truths_are_left_out():
    score, truth = np.array([1, 2, np.nan, 4.0]), np.array([0, 1, 1, np.nan])
    assert measures.quality(score, truth, np.ones((1, 4)), binary=True)[0] == 1


def test_calibrated_error_does_not_depend_on_scale():
    rng = np.random.default_rng(2)
    v, g = rng.normal(size=50), rng.normal(size=50)
    fit = np.polyval(np.polyfit(v, g, 1), v)
    assert measures.calibrated_mse(v, g) == pytest.approx(((fit - g) ** 2).mean())
    assert measures.calibrated_mse(3 * v - 7, g) == pytest.approx(measures.calibrated_mse(v, g))


def test_the_first_resample_is_the_data():
    weight = measures.resamples(20, 4, seed=0)
    assert (weight[0] == 1).all()
    assert (weight.sum(axis=1) == 20).all()
    assert (weight[1:] != 1).any()
