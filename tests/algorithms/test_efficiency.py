"""The survey's two rankings with its own numbers, and the bootstrap of a ratio."""

from __future__ import annotations

import numpy as np
import pytest

from rulesel.algorithms.efficiency import (
    ANCHORS,
    PUBLISHED,
    dense_rank,
    efficiency,
    feasibility,
    improvement_ratio,
    ratio_interval,
    selected_fraction,
)

# trained models, steps, reproducible, model free, dataset free, api free
METHODS = {
    "AlpaGasus": (0, 2, False, True, True, False),
    "InsTag": (0, 3, False, True, True, False),
    "CaR": (0, 4, True, True, True, True),
    "Nuggets": (0, 4, True, True, True, True),
    "SelectIT": (0, 4, True, True, True, True),
    "Superfiltering": (1, 3, True, False, False, True),
    "IFD": (1, 3, True, False, False, True),
    "LESS": (1, 4, True, False, False, True),
    "DEITA": (2, 5, True, False, False, False),
    "InstructionGPT-4": (30, 4, True, False, True, False),
    "SHED": (500, 3, True, False, False, True),
    "Instruction-Mining": (129, 4, False, False, True, False),
}


def published_standing():
    fraction, ratio = zip(*PUBLISHED.values(), strict=True)
    return dict(zip(PUBLISHED, efficiency(fraction, ratio).distance, strict=True))


def test_the_published_methods_stand_where_the_page_puts_them():
    expected = {
        "IFD": 183.03,
        "LESS": 34.01,
        "Superfiltering": 24.69,
        "SelectIT": 14.54,
        "Instruction-Mining": 0,
        "InstructionGPT-4": 0,
        "SHED": -14.38,
        "Nuggets": -21.75,
        "InsTag": -28.81,
        "CaR": -29.08,
        "DEITA": -41.75,
        "AlpaGasus": -179.78,
    }
    standing = published_standing()
    for method, distance in expected.items():
        assert standing[method] == pytest.approx(distance, abs=0.006)
    others = [method for method in expected if expected[method]]
    assert sorted(others, key=lambda method: -standing[method]) == others


def test_the_order_is_that_of_the_height_above_the_line():
    rng = np.random.default_rng(0)
    fraction, ratio = rng.uniform(0.01, 0.5, 40), rng.uniform(0.8, 2, 40)
    (x0, y0), (x1, y1) = ANCHORS
    above = ratio - (y0 + (y1 - y0) / (x1 - x0) * (fraction - x0))
    distance, rank = efficiency(fraction, ratio)
    assert np.argsort(-distance).tolist() == np.argsort(-above).tolist()
    assert np.sign(distance).tolist() == np.sign(above).tolist()
    assert rank[np.argsort(-above)].tolist() == list(range(1, 41))


def test_leaving_out_a_method_keeps_the_order_and_other_anchors_change_it():
    fraction, ratio = (np.array(part) for part in zip(*PUBLISHED.values(), strict=True))
    order = np.argsort(-efficiency(fraction, ratio).distance, kind="stable")
    kept = order[order != 6]
    assert np.argsort(-efficiency(fraction, ratio).distance[np.sort(kept)], kind="stable").size == 11
    without = np.delete(np.arange(12), 6)
    ranks = efficiency(fraction[without], ratio[without]).rank
    assert [without[at] for at in np.argsort(ranks, kind="stable")] == kept.tolist()
    steep = efficiency(fraction, ratio, anchors=((0.02, 1.0), (0.2, 1.8)))
    assert np.argsort(-steep.distance, kind="stable").tolist() != order.tolist()


def test_feasibility_ranks_the_published_methods():
    weight = [1.5 if method == "Superfiltering" else 2.0 for method in METHODS]
    trained, steps, reproducible, model, dataset, api = zip(*METHODS.values(), strict=True)
    found = feasibility(
        trained,
        steps,
        reproducible=reproducible,
        model_free=model,
        dataset_free=dataset,
        api_free=api,
        model_weight=weight,
    )
    assert dict(zip(METHODS, found.rank.tolist(), strict=True)) == {
        "AlpaGasus": 1,
        "CaR": 1,
        "Nuggets": 1,
        "SelectIT": 1,
        "InsTag": 2,
        "Superfiltering": 3,
        "IFD": 4,
        "LESS": 5,
        "InstructionGPT-4": 6,
        "DEITA": 7,
        "Instruction-Mining": 7,
        "SHED": 8,
    }
    penalties = dict(zip(METHODS, zip(found.simplicity, found.flexibility, strict=True), strict=True))
    assert penalties["AlpaGasus"] == (3, 1)
    assert penalties["Superfiltering"] == (4.5, 5)
    assert penalties["InstructionGPT-4"] == (64, 4)
    assert penalties["SHED"] == (200, 5)


def test_ratios_on_the_three_scales():
    assert improvement_ratio([0.4, 0.6], [0.4, 0.6]) == 1
    assert improvement_ratio([3, 1], [4]) == pytest.approx(0.5)
    assert improvement_ratio(0.97, 1, scale="same_benchmark") == pytest.approx(1.349754, abs=1e-6)
    assert improvement_ratio(0.99, 1, scale="other_benchmark") == pytest.approx(1.371333, abs=1e-6)
    assert selected_fraction(5, 200) == 0.025


def test_dense_ranks_have_no_gaps_and_ties_share():
    assert dense_rank([3, 1, 1 + 1e-7, 2, 3]).tolist() == [3, 1, 1, 2, 3]
    assert dense_rank([]).tolist() == []


@pytest.mark.slow
def test_the_interval_covers_a_ratio_of_one_for_equal_models_only():
    rng = np.random.default_rng(0)
    base = rng.uniform(0, 1, 400)
    same = ratio_interval(base + rng.normal(0, 0.1, 400), base, seed=0)
    better = ratio_interval(base + 0.1, base, seed=0)
    assert same.low < 1 < same.high
    assert 1 < better.low < better.ratio < better.high
    assert ratio_interval(base, base, seed=1) == (1, 1, 1)
    covered = 0
    for seed in range(60):
        draw = np.random.default_rng(seed)
        base = draw.uniform(0.5, 1.5, 200)
        low, high = ratio_interval(1.2 * base + draw.normal(0, 0.5, 200), base, seed=seed, draws=300)[1:]
        covered += low <= 1.2 <= high
    assert covered > 50


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: improvement_ratio([1, 2], [1, 2, 3]), "baseline"),
        (lambda: improvement_ratio([1.0], [0.0]), "not 0"),
        (lambda: improvement_ratio([np.nan], [1.0]), "finite"),
        (lambda: selected_fraction(3, 2), "pool of 2"),
        (lambda: efficiency([0.1], [1, 2]), "as many"),
        (lambda: efficiency([0.1], [1.0], anchors=((0.1, 1), (0.1, 2))), "same share"),
        (lambda: ratio_interval([1.0], [1.0, 2], seed=0), "as many"),
        (lambda: ratio_interval([1.0], [1.0], seed=0, level=1), "level"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
