"""What a rule is worth: relevance, common factors, evidence; and how many rules are suggested."""

from __future__ import annotations

import numpy as np
import pytest

from rulesel.algorithms.moments import noise_edge
from rulesel.rules.filters import item_rest, nearest_agreement, reversed_rules
from rulesel.rules.how_many import automatic, residual_variance, suggest
from rulesel.rules.weights import aggregation_weights
from rulesel.rules.worth import Worth, anchor_evidence, common_factors, relevance_from_anchor

PAIR = np.array([[1, 0.8, 0], [0.8, 1, 0], [0, 0, 1]])


def blocks(count, size, c):
    C = np.kron(np.eye(count), np.full((size, size), c))
    np.fill_diagonal(C, 1)
    return C


def one_factor(rules, loading):
    C = np.full((rules, rules), loading**2)
    np.fill_diagonal(C, 1)
    return C


def everyone(C):
    return np.ones(len(C), dtype=bool)


def test_item_rest_correlation_is_that_of_the_columns():
    S = np.random.default_rng(0).normal(size=(200, 5)) + np.random.default_rng(1).normal(size=(200, 1))
    Z = (S - S.mean(axis=0)) / S.std(axis=0)
    found = item_rest(np.corrcoef(S.T), np.array([True, True, False, True, True]))
    for j in (0, 1, 3, 4):
        rest = Z[:, [k for k in (0, 1, 3, 4) if k != j]].mean(axis=1)
        assert found[j] == pytest.approx(np.corrcoef(Z[:, j], rest)[0, 1])
    assert found[2] == pytest.approx(np.corrcoef(Z[:, 2], Z[:, [0, 1, 3, 4]].mean(axis=1))[0, 1])


def test_one_general_factor_is_full_evidence_and_many_equal_ones_are_none():
    common, evidence = common_factors(one_factor(20, 0.8), 500)
    assert evidence == 1
    np.testing.assert_allclose(common, 0.64 + 0.36 / 20)
    common, evidence = common_factors(blocks(6, 4, 0.6), 500)
    assert evidence == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(common, 0.6 + 0.4 / 4)


def test_rules_rated_at_random_have_no_part_in_common_factors():
    rng = np.random.default_rng(0)
    S = np.hstack([rng.normal(size=(400, 1)) + 0.6 * rng.normal(size=(400, 10)), rng.normal(size=(400, 4))])
    common, _ = common_factors(np.corrcoef(S.T), 400)
    assert common[:10].min() > 0.6
    assert common[10:].max() < 0.05


def test_relevance_counts_as_far_as_there_is_evidence():
    relevance, flat = np.array([0.9, 0.3, -0.5]), np.ones(3)
    sure = Worth(relevance, flat, flat, 1.0).q
    np.testing.assert_allclose(sure, [0.81, 0.09, 0.0025])
    np.testing.assert_allclose(Worth(relevance, flat, flat, 0.0).q, 1)
    trusted = Worth(relevance, np.array([0.5, 1, 1]), np.array([1, 1, 0.5]), 0.0).q
    np.testing.assert_allclose(trusted, [0.5, 1, 0.5])


def test_thirty_grades_are_spread_over_correlated_rules():
    rng = np.random.default_rng(3)
    n, errors, plain = 300, [], []
    for _ in range(20):
        good = rng.normal(size=(n, 1))
        S = np.hstack([good + 0.8 * rng.normal(size=(n, 10)), rng.normal(size=(n, 1)) + 0.8 * rng.normal(size=(n, 10))])
        Z = (S - S.mean(axis=0)) / S.std(axis=0)
        C = np.corrcoef(S.T)
        relevance, own = relevance_from_anchor(Z[:30], good[:30, 0] + 0.5 * rng.normal(size=30), C, everyone(C))
        truth = np.array([np.corrcoef(Z[:, j], good[:, 0])[0, 1] for j in range(20)])
        errors.append(((relevance / relevance.max() - truth / truth.max()) ** 2).mean())
        plain.append(((own / own.max() - truth / truth.max()) ** 2).mean())
    assert np.mean(errors) < 0.8 * np.mean(plain)


def test_many_grades_give_the_plain_order_of_correlations():
    rng = np.random.default_rng(0)
    S = rng.normal(size=(5000, 6))
    grade = S @ [3, 2, 1, 0, 0, -1] + rng.normal(size=5000)
    Z = (S - S.mean(axis=0)) / S.std(axis=0)
    C = np.corrcoef(S.T)
    relevance, own = relevance_from_anchor(Z, grade, C, everyone(C))
    np.testing.assert_allclose(own, [np.corrcoef(Z[:, j], grade)[0, 1] for j in range(6)], atol=1e-9)
    np.testing.assert_allclose(relevance, own / np.sqrt(15 / 16), atol=0.02)


def test_an_anchor_that_repeats_the_rules_is_no_new_evidence():
    own = np.array([0.8, 0.6, 0.1, 0.2])
    assert anchor_evidence(own, own, 30) == 0
    assert anchor_evidence(own, own + 0.1, 30) == 0
    assert anchor_evidence(own, own[::-1], 1000) > 0.9
    assert anchor_evidence(own, own[::-1], 1000) > anchor_evidence(own, own[::-1], 100)


def test_a_reversed_rule_among_many_qualities_is_known_by_its_neighbours():
    C = blocks(10, 4, 0.6)
    C[:4, 3] *= -1
    C[3, :4] *= -1
    assert item_rest(C, everyone(C))[3] > -0.2
    assert nearest_agreement(C, everyone(C))[3] == pytest.approx(-1)
    assert nearest_agreement(C, everyone(C))[:3].min() > 0
    _, dropped = reversed_rules(C, everyone(C), np.zeros(40, dtype=bool), None, range(40), np.full(40, 1000))
    assert set(dropped) == {3}
    sign, dropped = reversed_rules(C, everyone(C), np.arange(40) == 3, None, range(40), np.full(40, 1000))
    assert dropped == {}
    assert np.flatnonzero(sign < 0).tolist() == [3]


def test_residuals_fall_where_qualities_end():
    C = blocks(5, 3, 0.7)
    order = [0, 3, 6, 9, 12, 1]
    left = residual_variance(C, order)
    np.testing.assert_allclose(left[:5], 1)
    assert left[5] == pytest.approx(1 - 0.49)
    found = suggest(C, np.ones(15), 1000)
    assert found["residual"] == found["eigenvalues"] == 5
    assert automatic(found, 15) == 5
    assert automatic({"residual": 1}, 15) == 3
    assert automatic({"residual": 40}, 50) == 15
    assert automatic({"residual": 40}, 2) == 2
    assert noise_edge(50, 2000) == pytest.approx(1.341, abs=1e-3)


def test_decorrelated_weights_share_a_vote_among_copies():
    weights = aggregation_weights("decorrelated", PAIR)
    wanted = np.array([1 / 1.9, 1 / 1.9, 1 / 1.1])
    np.testing.assert_allclose(weights, wanted / wanted.sum())
    least = np.array([5 / 19, 5 / 19, 9 / 19])  # without the ridge: the weights of least variance
    assert least @ PAIR @ least == pytest.approx(0.4737, abs=1e-4)
    assert weights @ PAIR @ weights == pytest.approx(0.4737, abs=1e-3)
    uniform = aggregation_weights("uniform", PAIR)
    assert uniform @ PAIR @ uniform == pytest.approx(0.5111, abs=1e-4)


def test_fitted_weights_stay_near_uniform_with_few_grades_and_leave_with_many():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(3000, 3))
    grade = Z[:, 0] + 0.2 * rng.normal(size=3000)
    few = aggregation_weights("fitted", np.eye(3), graded=(Z[:5], grade[:5]))
    many = aggregation_weights("fitted", np.eye(3), graded=(Z, grade))
    assert many[0] > 0.95
    assert few[0] < 0.8
