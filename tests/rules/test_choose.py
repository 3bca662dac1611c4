"""Choosing rules: the worked table, filters with reasons, blind spots, and invariances."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest

from rulesel.algorithms.dpp import subset_probabilities
from rulesel.algorithms.moments import moments
from rulesel.rules.choose import choose_rules
from rulesel.rules.worth import retest_reliability

TABLE = np.array(
    [
        [0.9, 0.8, 0.1, 0.5],
        [0.9, 0.9, 0.2, 0.5],
        [0.8, 0.9, 0.0, 0.9],
        [0.8, 0.8, 0.1, 0.1],
        [0.9, 0.8, 0.3, 0.9],
        [0.8, 0.9, 0.3, 0.1],
    ]
)


def clusters(n=600, qualities=5, each=3, noise=0.6, seed=0):
    """Ratings of `qualities` independent latent qualities, `each` rules apiece, in [0, 1]; and their mean."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, qualities))
    common = latent.mean(axis=1, keepdims=True)
    S = np.repeat(latent + common, each, axis=1) + noise * rng.normal(size=(n, qualities * each))
    return 1 / (1 + np.exp(-S)), latent.mean(axis=1)


def reasons(choice):
    return dict(choice.dropped)


@pytest.mark.parametrize(
    ("kernel", "row", "top"),
    [
        ("gram", [0.0267, 0.0468, 0.3996, 0.0494, 0.4312, 0.0464], 10.4623),
        ("covariance", [0.0031, 0.0153, 0.1226, 0.0169, 0.1472, 0.6949], None),
        ("correlation", [0.1588, 0.1624, 0.1489, 0.1787, 0.1787, 0.1726], 1.5556),
    ],
)
def test_the_worked_table_of_pair_probabilities(kernel, row, top):
    sums = moments(TABLE)
    L = {"gram": sums.gram(), "covariance": sums.covariance(), "correlation": sums.correlation()}[kernel]
    _, p = subset_probabilities(L, 2)
    np.testing.assert_allclose(p, row, atol=1e-3)
    if top:
        assert np.linalg.eigvalsh(L)[-1] == pytest.approx(top, abs=1e-4)
    choice = choose_rules(TABLE, 2, kernel=kernel, method="exhaustive", negative=[0])
    best = list(itertools.combinations(range(4), 2))[int(np.argmax(row))]
    ties = [pair for pair, value in zip(itertools.combinations(range(4), 2), row, strict=True) if value == max(row)]
    assert tuple(sorted(choice.indices)) in {best, *ties}
    inclusion = [
        sum(v for pair, v in zip(itertools.combinations(range(4), 2), row, strict=True) if i in pair) for i in range(4)
    ]
    np.testing.assert_allclose(choice.inclusion, inclusion, atol=2e-3)


def test_rule_correlation_of_the_worked_columns():
    a, c = np.array([1.0, 2, 3, 4]), np.array([1.0, -1, -1, 1])
    rows = {"abc": [a, 2 * a + 1e-9 * c, c], "ab": [a, 2 * a], "ac": [a, c]}
    for name, rho in {"abc": 0.471405, "ab": 0.707107, "ac": 0.0}.items():
        choice = choose_rules(np.column_stack(rows[name]), len(name), method="paper") if name == "ac" else None
        C = moments(np.column_stack(rows[name])).correlation()
        r = len(C)
        found = np.linalg.norm(C - np.eye(r)) / r
        assert found == pytest.approx(rho, abs=1e-6)
        if choice is not None:
            assert choice.rho == pytest.approx(rho, abs=1e-9)


def test_rho_and_rms_are_those_of_the_chosen_columns_at_any_scale():
    S, _ = clusters()
    choice = choose_rules(S, 4)
    C = np.corrcoef(S[:, choice.indices].T)
    assert choice.rho == pytest.approx(np.linalg.norm(C - np.eye(4)) / 4)
    assert choice.rms_corr == pytest.approx(np.sqrt((C[~np.eye(4, dtype=bool)] ** 2).mean()))
    again = choose_rules(S * np.linspace(1, 50, S.shape[1]) + 3, 4)
    assert again.indices == choice.indices
    assert again.rho == pytest.approx(choice.rho)
    np.testing.assert_allclose(again.score(S * np.linspace(1, 50, S.shape[1]) + 3), choice.score(S))


def test_a_constant_rule_is_dropped_with_its_reason_and_changes_nothing():
    S, _ = clusters()
    plain = choose_rules(S, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        choice = choose_rules(np.column_stack([S, np.full(len(S), 0.9)]), 4)
    assert reasons(choice)[15] == "constant: every rating is 0.9"
    assert choice.indices == plain.indices
    assert choice.q[15] == choice.inclusion[15] == 0
    assert not np.isnan(choice.score(np.column_stack([S, np.full(len(S), 0.9)]))).any()


def test_every_filter_gives_its_reason():
    S, _ = clusters(n=3000)
    n = len(S)
    rng = np.random.default_rng(1)
    often = np.where(rng.random(n) < 0.985, 1.0, rng.random(n))
    failing = np.where(rng.random(n) < 0.25, np.nan, S[:, 1])
    outlier = np.append(0.5 + 0.001 * rng.random(n - 1), 5.0)
    T = np.column_stack([S, often, failing, outlier, np.full(n, np.nan), S[:, 0] * 2 + 1, 1 - S[:, 3], np.zeros(n)])
    choice = choose_rules(T, 4, forbidden=[2])
    why = reasons(choice)
    assert "nearly constant" in why[15]
    assert "ratings failed" in why[16]
    assert "hardly varies" in why[17]
    assert why[18] == "no rating at all"
    assert "repeats rule" in why[19] or "repeats rule" in why.get(0, "")
    assert "points the wrong way" in why[20]
    assert why[21] == "constant: every rating is 0"
    assert why[2] == "forbidden"
    assert not set(choice.indices) & set(why)


def test_a_binary_rule_is_welcome():
    S, truth = clusters()
    S = np.column_stack([S, (truth > 0.5).astype(float)])
    assert not choose_rules(S, 4).dropped


@pytest.mark.slow
def test_of_two_copies_only_the_worthier_stays():
    S, _ = clusters()
    T = np.column_stack([S, S[:, 0]])
    trust = np.full(16, 0.7)
    trust[15] = 0.9
    choice = choose_rules(T, 10, reliability=trust)
    assert reasons(choice)[0].startswith("repeats rule 15 (r = 1.000)")
    for method in ("map", "best_of", "sample", "marginal", "cluster", "top"):
        assert len({0, 15} & set(choose_rules(T, 12, method=method).indices)) <= 1


def test_noise_is_collected_by_pure_orthogonality_and_not_by_the_default():
    S, _ = clusters(qualities=6)
    noise = np.random.default_rng(2).random((len(S), 5))
    T = np.column_stack([S, noise])
    assert len(set(choose_rules(T, 6, kernel="correlation").indices) & set(range(18, 23))) >= 2
    for anchor in (None, np.where(np.arange(len(S)) < 30, S.mean(axis=1), np.nan)):
        chosen = choose_rules(T, 6, anchor=anchor).indices
        assert not set(chosen) & set(range(18, 23))
        assert len({j // 3 for j in chosen}) == 6


def test_a_reversed_rule_is_turned_only_when_it_was_declared_negative():
    S, truth = clusters()
    T = S.copy()
    T[:, 4] = 1 - T[:, 4]
    silent = choose_rules(T, 6)
    assert "points the wrong way" in reasons(silent)[4]
    declared = choose_rules(T, 6, negative=[4])
    assert 4 not in reasons(declared)
    assert declared.sign[4] == -1
    forced = choose_rules(T, 6, negative=[4], required=[4])
    assert 4 in forced.indices
    assert np.corrcoef(forced.score(T), truth)[0, 1] > 0.7
    np.testing.assert_allclose(forced.score(T), choose_rules(S, 6, required=[4]).score(S))
    # Declared, but already turned by the rater: left as it is.
    assert choose_rules(S, 6, negative=[4]).sign[4] == 1


def test_several_reversed_rules_do_not_hide_one_another():
    S, _ = clusters()
    T = S.copy()
    T[:, [0, 4, 8, 12]] = 1 - T[:, [0, 4, 8, 12]]
    assert set(reasons(choose_rules(T, 4))) == {0, 4, 8, 12}


def test_the_anchor_decides_what_counts_as_quality():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 400, 1))
    S = np.hstack([a + 0.7 * rng.normal(size=(400, 8)), b + 0.7 * rng.normal(size=(400, 4))])
    assert all(j < 8 for j in choose_rules(S, 3, method="top").indices)
    anchor = np.full(400, np.nan)
    anchor[:40] = b[:40, 0]
    assert all(j >= 8 for j in choose_rules(S, 3, anchor=anchor).indices)


def test_an_anchor_of_few_or_equal_grades_is_left_aside_and_said_so():
    S, _ = clusters()
    few = np.full(len(S), np.nan)
    few[:4] = [1, 2, 3, 4]
    for anchor in (few, np.ones(len(S))):
        choice = choose_rules(S, 4, anchor=anchor)
        assert choice.indices == choose_rules(S, 4).indices
        assert any("anchor" in note for note in choice.warnings)


def test_unreliable_rules_lose_to_reliable_ones():
    S, _ = clusters()
    trust = np.where(np.arange(15) % 3 == 1, 0.95, 0.3)
    assert all(j % 3 == 1 for j in choose_rules(S, 5, reliability=trust).indices)


def test_dear_rules_lose_to_cheap_ones():
    S, _ = clusters()
    costs = np.where(np.arange(15) % 3 == 2, 10.0, 1000.0)
    assert all(j % 3 == 2 for j in choose_rules(S, 5, costs=costs).indices)
    assert choose_rules(S, 5, costs=np.full(15, 7.0)).indices == choose_rules(S, 5).indices


def test_required_rules_are_in_whatever_the_method():
    S, _ = clusters()
    names = [f"rule {j:02}" for j in range(15)]
    for method in ("map", "best_of", "sample", "marginal", "cluster", "top", "exhaustive"):
        choice = choose_rules(S, 5, method=method, names=names, required=["rule 07", 8])
        assert {7, 8} <= set(choice.indices)
        assert len(set(choice.indices)) == 5
    with pytest.raises(ValueError, match=r"Rule 0 is required but cannot be used: constant"):
        choose_rules(np.column_stack([np.ones(600), S]), 4, required=[0])


@pytest.mark.parametrize("method", ["map", "best_of", "sample", "marginal", "cluster", "top", "exhaustive", "paper"])
@pytest.mark.slow
def test_the_same_seed_gives_the_same_choice_under_permuted_rules_and_examples(method):
    S, _ = clusters()
    names = [f"r{j:02}" for j in range(15)]
    rng = np.random.default_rng(5)
    rules, rows = rng.permutation(15), rng.permutation(len(S))
    base = choose_rules(S, 5, method=method, names=names, seed=3)
    moved = choose_rules(S[rows][:, rules], 5, method=method, names=[names[j] for j in rules], seed=3)
    assert [names[j] for j in base.indices] == [names[rules[j]] for j in moved.indices]
    np.testing.assert_allclose(moved.inclusion, base.inclusion[rules], atol=1e-9)
    assert choose_rules(S, 5, method=method, names=names, seed=3).indices == base.indices
    assert base.inclusion.sum() == pytest.approx(5)


def test_other_seeds_give_other_draws():
    S, _ = clusters()
    assert len({tuple(sorted(choose_rules(S, 5, method="sample", seed=s).indices)) for s in range(8)}) > 3


def test_float32_and_float64_agree():
    S, _ = clusters()
    low = S.astype(np.float32)
    assert choose_rules(low, 5).indices == choose_rules(low.astype(np.float64), 5).indices


def test_searches_agree_and_rank_by_their_determinant():
    S, _ = clusters(n=80)
    found = {m: choose_rules(S, 4, method=m).logdet for m in ("exhaustive", "map", "best_of", "sample", "top")}
    assert found["map"] == pytest.approx(found["exhaustive"])
    assert found["exhaustive"] >= found["best_of"] >= found["sample"]
    assert found["map"] >= found["top"]


@pytest.mark.slow
def test_draws_follow_the_determinants():
    counts = np.zeros(4)
    for seed in range(700):
        counts[choose_rules(TABLE, 2, method="sample", kernel="gram", seed=seed, negative=[0]).indices] += 1
    np.testing.assert_allclose(counts / 700, [0.4731, 0.5073, 0.1426, 0.8772], atol=0.06)


def test_paper_mode_is_dppys_draw_on_the_scaled_gram_and_the_raw_mean():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dppy.finite_dpps import FiniteDPP
    S, _ = clusters()
    gram = S.T @ S
    process = FiniteDPP("likelihood", L=gram * 15 / np.trace(gram))
    wanted = process.sample_exact_k_dpp(size=5, random_state=np.random.RandomState(11))
    choice = choose_rules(S, 5, method="paper", seed=11)
    assert sorted(choice.indices) == sorted(wanted)
    np.testing.assert_allclose(choice.score(S), S[:, wanted].mean(axis=1))


def test_paper_mode_filters_only_what_has_no_ratings():
    S, _ = clusters()
    n = len(S)
    T = np.column_stack([S, np.full(n, 0.9), np.zeros(n), np.full(n, np.nan), 1 - S[:, 0]])
    T[::9, 2] = np.nan
    choice = choose_rules(T, 5, method="paper")
    assert reasons(choice) == {16: "every rating is zero", 17: "no rating at all"}
    assert choice.kernel == "gram"
    with pytest.raises(ValueError, match="paper"):
        choose_rules(T, 5, method="paper", kernel="correlation")


def test_a_score_is_the_weighted_mean_of_z_scores():
    S, _ = clusters()
    choice = choose_rules(S, 5)
    Z = (S - S.mean(axis=0)) / S.std(axis=0)
    np.testing.assert_allclose(choice.score(S), Z[:, choice.indices].mean(axis=1))
    np.testing.assert_allclose(choice.score_chosen(S[:7, choice.indices]), choice.score(S[:7]))


def test_all_rules_and_the_chosen_ones_are_scored_by_two_functions():
    S = np.random.default_rng(0).random((60, 3)) @ np.array([[1, 0, 0], [0.3, 1, 0], [0.1, 0.2, 1]])
    for r in (1, 2, 3):
        choice = choose_rules(S, r)
        z = ((S - S.mean(axis=0)) / S.std(axis=0) * choice.sign)[:, choice.indices] @ choice.weights
        np.testing.assert_allclose(choice.score(S), z)
        np.testing.assert_allclose(choice.score_chosen(S[:, choice.indices]), z)
    assert choice.indices == [2, 1, 0]  # all are kept, in another order than they were offered in
    choice = choose_rules(S, 2)
    with pytest.raises(ValueError, match=r"shape \(examples, 3\), the rules offered"):
        choice.score(S[:, :2])
    with pytest.raises(ValueError, match=r"shape \(examples, 2\), the chosen rules"):
        choice.score_chosen(S)
    for wrong in (S[:, 0], S[:, :0], S[None]):
        for function in (choice.score, choice.score_chosen):
            with pytest.raises(ValueError, match="must have shape"):
                function(wrong)


def test_the_gate_lets_one_of_ten_fail_and_not_one_of_nine():
    S, _ = clusters(noise=2.0)
    for r, passes in ((10, True), (9, False)):
        choice = choose_rules(S, r)
        T = S.copy()
        T[0, choice.indices[3]] = np.nan
        T[1, choice.indices[:2]] = np.nan
        score = choice.score(T)
        assert np.isnan(score[0]) != passes
        assert np.isnan(score[1])
        assert not np.isnan(choice.score(T, coverage=0.5)[:2]).any()
        assert np.isnan(choice.score(np.full((1, 15), np.nan), coverage=0.0)[0])
        rest = [j for j in choice.indices if j != choice.indices[3]]
        Z = (S - S.mean(axis=0)) / S.std(axis=0)
        assert choice.score(T, coverage=0.5)[0] == pytest.approx(Z[0, rest].mean())


def test_weights_by_kind():
    S, truth = clusters()
    trust = np.linspace(0.2, 0.9, 15)
    by_trust = choose_rules(S, 4, weights="reliability", reliability=trust)
    np.testing.assert_allclose(by_trust.weights, trust[by_trust.indices] / trust[by_trust.indices].sum())
    same = np.column_stack([S[:, 0], S[:, 0] + 0.05 * np.random.default_rng(0).normal(size=600), S[:, 5]])
    shared = choose_rules(same, 3, weights="decorrelated")
    assert shared.weights[shared.indices.index(2)] == pytest.approx(0.5, abs=0.07)
    anchor = np.where(np.arange(600) < 300, S[:, 6], np.nan)
    fitted = choose_rules(S, 5, weights="fitted", anchor=anchor, required=[6])
    assert fitted.indices[int(np.argmax(fitted.weights))] == 6
    for choice in (by_trust, shared, fitted):
        assert np.abs(choice.weights).sum() == pytest.approx(1)
    for kind, message in (
        ("reliability", "need the reliability"),
        ("fitted", "need an anchor"),
        ("odd", "must be uniform"),
    ):
        with pytest.raises(ValueError, match=message):
            choose_rules(S, 4, weights=kind)
    assert np.corrcoef(fitted.score(S), truth)[0, 1] > 0


def test_an_automatic_number_of_rules_finds_the_planted_qualities():
    for qualities in (4, 7):
        S, _ = clusters(n=2000, qualities=qualities, noise=0.4)
        choice = choose_rules(S, "auto")
        assert len(choice.indices) == qualities
        assert choice.suggested_r["eigenvalues"] == qualities
        assert len({j // 3 for j in choice.indices}) == qualities


def test_too_few_examples_warn_and_never_refuse():
    S, _ = clusters(n=40)
    assert any("40 examples for 15 rules" in note for note in choose_rules(S, 5).warnings)
    assert not choose_rules(clusters(n=400)[0], 5).warnings


def test_more_rules_than_can_be_had_are_refused_with_the_reasons():
    S, _ = clusters()
    T = np.column_stack([S, np.ones(600)])
    with pytest.raises(ValueError, match=r"r = 16: 15 of 16 rules can be used\. Dropped: 15: constant"):
        choose_rules(T, 16)
    with pytest.raises(ValueError, match=r"0 of 2 rules can be used"):
        choose_rules(np.ones((5, 2)), "auto")
    flat = np.column_stack([S[:, :3], S[:, 0] + S[:, 1], S[:, 1] + S[:, 2]])
    with pytest.raises(ValueError, match="rank 3"):
        choose_rules(flat, 4)
    past = choose_rules(flat, 4, method="top")
    assert len(past.indices) == 4
    assert np.isnan(past.inclusion).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "best"}, "method must be one of map"),
        ({"kernel": "cosine"}, "kernel must be one of weighted"),
        ({"reliability": np.ones(3)}, "reliability must have shape"),
        ({"reliability": np.full(15, 1.2)}, "reliability must be"),
        ({"anchor": np.ones(3)}, "anchor must have shape"),
        ({"costs": np.zeros(15)}, "costs must be"),
        ({"names": ["a"] * 15}, "distinct ids"),
        ({"required": ["x"]}, "no rule named 'x'"),
        ({"required": [99]}, "no rule 99"),
        ({"required": range(6)}, "6 rules are required"),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        choose_rules(clusters()[0], 5, **arguments)


def test_the_callers_arrays_are_left_alone():
    S, _ = clusters()
    anchor, trust = S.mean(axis=1), np.full(15, 0.8)
    for array in (S, anchor, trust):
        array.flags.writeable = False
    choose_rules(S, 5, anchor=anchor, reliability=trust).score(S)


def test_reliability_by_rating_twice():
    rng = np.random.default_rng(0)
    true = rng.normal(size=(400, 3))
    first, second = (true * [2, 1, 0] + rng.normal(size=(400, 3)) for _ in range(2))
    first[:100, 1] = np.nan
    r, low, high = retest_reliability(first, second)
    np.testing.assert_allclose(r, [0.8, 0.5, 0], atol=0.12)
    assert (low < r).all()
    assert (r < high).all()
    assert high[1] - low[1] > high[0] - low[0]
    assert np.isnan(retest_reliability(np.ones((30, 1)), np.ones((30, 1)))[0][0])


def with_twins(kind):
    """Ratings, names and an anchor in which rules are equal on paper: copies, mirror images, equal worth."""
    rng = np.random.default_rng(4)
    if kind == "copies":  # every rule three times
        S = np.repeat(np.round(clusters(n=60, qualities=3, each=2)[0], 2), 3, axis=1)
    elif kind == "design":  # all balanced columns of a design: equal spread, equal correlations
        base = np.array(list(itertools.product([0.2, 0.8], repeat=5)))
        S = np.column_stack(
            [base, *(base[:, [i, j, k]].mean(axis=1) for i, j, k in itertools.combinations(range(5), 3))]
        )
    else:  # the same ratings on blocks of rows in turn
        block = np.round(0.5 + 0.2 * rng.normal(size=(20, 1)) + 0.1 * rng.normal(size=(20, 4)), 2)
        S = np.concatenate([np.roll(block, turn, axis=1) for turn in range(4)])
    S = S.astype(np.float32)
    names = [f"rule {i:02}" for i in rng.permutation(S.shape[1])]
    return S, names, np.round(S.astype(np.float64).mean(axis=1), 3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["copies", "design", "turned"])
@pytest.mark.parametrize("method", ["map", "top", "marginal", "cluster", "exhaustive"])
@pytest.mark.parametrize("anchored", [False, True])
def test_sixty_orders_of_rows_and_columns_give_one_choice(kind, method, anchored):
    S, names, anchor = with_twins(kind)
    rng = np.random.default_rng(0)
    found = set()
    for _ in range(60):
        rows, rules = rng.permutation(len(S)), rng.permutation(S.shape[1])
        turn = S[np.ix_(rows, rules)] * (1 + 1e-13 * rng.normal(size=S.shape))
        own = [names[j] for j in rules]
        choice = choose_rules(turn, 3, method=method, names=own, anchor=anchor[rows] if anchored else None)
        dropped = tuple(sorted((own[j], why.split("(")[0]) for j, why in choice.dropped))
        found.add((tuple(own[j] for j in choice.indices), dropped))
    assert len(found) == 1, found


def against(choice):
    return {j: why for j, why in choice.dropped if why.startswith("points the wrong way")}


def planted(n, r, seed=0, others=11):
    """Rules that follow quality (r = .4), a last one that runs against it (r), and a coarse grade of quality."""
    rng = np.random.default_rng(seed)
    quality = rng.normal(size=n)
    slopes = np.append(np.full(others, 0.4), r)
    S = quality[:, None] * slopes + rng.normal(size=(n, others + 1)) * np.sqrt(1 - slopes**2)
    return S, np.round(2 * quality)


@pytest.mark.parametrize("anchored", [True, False])
def test_a_rule_that_runs_against_quality_beyond_chance_is_left_out(anchored):
    S, grades = planted(1500, -0.15)
    choice = choose_rules(S, "auto", anchor=grades if anchored else None, kernel="correlation")
    assert set(against(choice)) == {11}
    whom = "the anchor" if anchored else "the mean of the other rules"
    assert f"with {whom} on 1,500 examples, which is not by chance (below -0.0" in against(choice)[11]
    assert choice.q[11] == 0
    # as much on few examples, or none at all, is no reason
    few, coarse = planted(60, -0.15)
    assert not against(choose_rules(few, 3, anchor=coarse if anchored else None))
    S, grades = planted(1500, 0.0)
    assert not against(choose_rules(S, 3, anchor=grades if anchored else None))


def test_a_rule_declared_negative_that_runs_against_quality_is_turned():
    S, grades = planted(1500, -0.15)
    for anchor in (grades, None):
        choice = choose_rules(S, 12, anchor=anchor, negative=[11])
        assert not against(choice)
        assert choice.sign.tolist() == [1.0] * 11 + [-1.0]


def test_a_rule_that_must_be_in_is_in_also_where_it_runs_against_quality():
    S, grades = planted(1500, -0.15)
    assert 11 in choose_rules(S, 3, anchor=grades, required=[11]).indices


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.slow
def test_random_rules_are_left_out_as_rarely_as_said(coarse):
    """Ten random rules, 200 times: any of them is left out in 5 % of the choices, and in none without an anchor."""
    rng = np.random.default_rng(1)
    runs = alone = 0
    for _ in range(200):
        S = rng.integers(0, 6, size=(1200, 10)) / 5 if coarse else rng.normal(size=(1200, 10))
        grades = rng.integers(1, 6, size=1200).astype(float)
        runs += bool(against(choose_rules(S, 3, method="top", anchor=grades)))
        alone += bool(against(choose_rules(S, 3, method="top")))
    assert 3 <= runs <= 20
    assert alone == 0


def test_rules_of_which_none_is_known_to_be_wrong_stay():
    """Two that pull apart a little, and nothing that says which of them is right."""
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 5000))
    S = np.column_stack([one, -0.15 * one + other, rng.normal(size=5000)])
    assert not against(choose_rules(S, 3))
