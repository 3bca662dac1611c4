from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rulesel.records import Rule, RuleSet, Status
from rulesel.reporting.audit_page import audit_page
from rulesel.rules.audit import SAMPLE, audit_rules
from rulesel.rules.audit_arms import bench, coverage, score_stability, set_scores
from rulesel.rules.audit_cards import BLOCK, Known, histogram, length_correlations
from rulesel.rules.audit_figures import AuditFigures, RuleFigures
from rulesel.rules.audit_warnings import LISTED, number
from rulesel.rules.choice import RuleChoice
from rulesel.rules.choose import choose_rules
from rulesel.rules.ratings_file import named_rules

NAMES = ["a1", "a2", "a3", "b1", "b2", "c1", "c2", "noise", "twin of a1", "backwards", "constant"]
N = 400


def planted(seed: int = 0, n: int = N) -> np.ndarray:
    """Three qualities with two or three rules each, a rated-at-random rule, a near copy, a reversed and a constant one."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, 1))
    quality = rng.normal(size=(n, 3)) + 0.8 * common
    S = quality[:, [0, 0, 0, 1, 1, 2, 2]] + 0.7 * rng.normal(size=(n, 7))
    rest = np.stack(
        [rng.normal(size=n), S[:, 0] + 0.15 * rng.normal(size=n), -S[:, 4] + rng.normal(size=n), np.ones(n)], axis=1
    )
    S = np.concatenate([S, rest], axis=1)
    S[rng.random(S.shape) < 0.05] = np.nan
    return np.round(S, 2)


S = planted()
RULES = RuleSet(origin="test", domain="planted", rules=tuple(Rule(name=n, text=f"It is {n}.") for n in NAMES))


def choosing(ratings: np.ndarray, r: int = 4, **options: object) -> Callable[[np.ndarray], RuleChoice]:
    return lambda rows: choose_rules(ratings[rows], r, names=NAMES, **options)  # type: ignore[arg-type]


def audited(
    ratings: np.ndarray = S, r: int = 4, known: Known | None = None, repeats: int = 12, **options: object
) -> AuditFigures:
    choose = choosing(ratings, r, **options)
    return audit_rules(RULES, ratings, choose(np.arange(len(ratings))), choose=choose, known=known, repeats=repeats)


@pytest.fixture(scope="module")
def figures() -> AuditFigures:
    status = np.where(np.isnan(S), Status.low_mass, Status.ok).astype(np.uint8)
    status[np.isnan(S[:, 0]).argmax(), 0] = Status.timeout
    known = Known(
        status=status,
        ids=[f"id-{row}" for row in range(N)],
        texts=lambda rows: [f"text {row} " + "x" * 700 * (row == 0) for row in rows],
        lengths=np.nan_to_num(S[:, 3]) + 10,
        interval=np.full((len(NAMES), 2), np.nan),
        tokens=np.arange(1.0, len(NAMES) + 1),
    )
    return audited(known=known)


def card(figures: AuditFigures, name: str) -> RuleFigures:
    return figures.rules[NAMES.index(name)]


def test_coverage_by_one_rule_is_the_squared_correlation_and_by_all_is_one() -> None:
    C = np.array([[1, 0.8, 0], [0.8, 1, 0.3], [0, 0.3, 1]])
    assert coverage(C, [0], [1, 2]) == pytest.approx([0.64, 0.0])
    # R^2 of rule 1 on rules 0 and 2, which are uncorrelated, is the sum of the squares.
    assert coverage(C, [0, 2], [1]) == pytest.approx([0.73])
    assert coverage(C, [0, 1, 2], [0, 1, 2]) == pytest.approx([1, 1, 1])
    assert coverage(C, [], [1]) == pytest.approx([0.0])


def test_the_figures_of_the_chosen_arm_are_those_of_the_choice(figures: AuditFigures) -> None:
    choice = choosing(S)(np.arange(N))
    arms = {arm.name: arm for arm in figures.arms}
    assert figures.chosen == choice.indices == arms["chosen"].rules
    assert arms["chosen"].rho.value == pytest.approx(choice.rho)
    assert arms["chosen"].rms_correlation.value == pytest.approx(choice.rms_corr)
    assert sum(step.gain for step in figures.steps if step.chosen) == pytest.approx(choice.logdet)
    assert [step.residual for step in figures.steps if step.chosen] == pytest.approx(choice.residual.tolist())
    assert sum(one.inclusion for one in figures.rules) == pytest.approx(len(choice.indices))


def test_every_arm_has_its_size_and_the_published_one_takes_rules_the_filters_drop(figures: AuditFigures) -> None:
    arms = {arm.name: arm for arm in figures.arms}
    assert {name: arm.size for name, arm in arms.items()} == {"chosen": 4, "top": 4, "random": 4, "paper": 4, "all": 9}
    assert arms["paper"].unusable.value > 0.3  # the constant rule has a large mean, which a Gram matrix rewards
    assert arms["chosen"].unusable.value == arms["random"].unusable.value == 0
    assert arms["all"].coverage is None
    assert arms["random"].coverage is not None
    assert arms["chosen"].coverage is not None
    assert arms["chosen"].coverage.value > arms["random"].coverage.value
    assert abs(arms["random"].stability or 1) < 0.05
    # Rules of one quality stand in for one another: the set changes, the scores hardly do.
    assert (arms["chosen"].score_stability or 0) > (arms["random"].score_stability or 0)
    assert all(arm.agreement is None for arm in figures.arms)


def test_agreement_with_an_anchor_is_spearmans_correlation_of_the_sets_score() -> None:
    anchor = np.full(N, np.nan)
    anchor[:60] = np.nan_to_num(S[:60, 0]) ** 3
    choose = choosing(S, 3)
    choice = choose_rules(S, 3, names=NAMES, anchor=anchor)
    figures = audit_rules(RULES, S, choice, choose=choose, anchor=anchor, repeats=0)
    assert figures.anchored == 60
    assert figures.bootstrap is None
    score = choice.score(S, coverage=0.01)[:60]
    both = ~np.isnan(score)
    ranks = [np.argsort(np.argsort(x[both])) for x in (score, anchor[:60])]
    found = next(arm for arm in figures.arms if arm.name == "chosen").agreement
    assert found is not None
    assert found.value == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=0.02)


def test_the_spectrum_is_that_of_the_usable_rules(figures: AuditFigures) -> None:
    usable = [one.index for one in figures.rules if one.dropped is None]
    C = choosing(S)(np.arange(N)).correlation[np.ix_(usable, usable)]
    values = np.sort(np.linalg.eigvalsh(C))[::-1]
    assert figures.spectrum.eigenvalues == pytest.approx(values.tolist(), abs=1e-5)
    assert figures.spectrum.noise_edge == pytest.approx((1 + np.sqrt(len(usable) / N)) ** 2)
    assert figures.spectrum.participation == pytest.approx(len(usable) ** 2 / (values**2).sum())
    assert figures.spectrum.above_edge == int((values > figures.spectrum.noise_edge).sum())


def test_the_map_is_a_permutation_whose_tree_joins_neighbours(figures: AuditFigures) -> None:
    order, merges = figures.map.order, figures.map.merges
    assert sorted(order) == [one.index for one in figures.rules if one.dropped is None]
    groups = {place: [place] for place in range(len(order))}
    for at, merge in enumerate(merges):
        joined = sorted(groups.pop(merge.left) + groups.pop(merge.right))
        assert joined == list(range(joined[0], joined[-1] + 1))
        groups[len(order) + at] = joined
    assert len(groups) == 1
    C = choosing(S)(np.arange(N)).correlation
    assert np.array(figures.map.correlation) == pytest.approx(C[np.ix_(order, order)], abs=6e-4)
    closest = min(merge.height for merge in merges)
    off = np.abs(C[np.ix_(order, order)])[np.triu_indices(len(order), 1)]
    assert closest == pytest.approx(1 - off.max())


def test_a_card_holds_what_the_ratings_say(figures: AuditFigures) -> None:
    one, values = card(figures, "a1"), S[:, 0]
    lost = int(np.isnan(values).sum())
    assert one.rated == N - lost
    assert one.failures == {"low_mass": lost - 1, "timeout": 1}
    assert one.mean == pytest.approx(np.nanmean(values))
    assert one.nearest is not None
    assert NAMES[one.nearest.rule] == "twin of a1"
    assert one.tokens == 1
    assert sum(one.histogram.counts) == one.rated
    assert [shown.rating for shown in one.highest] == sorted(values[~np.isnan(values)])[::-1][:3]
    assert [shown.rating for shown in one.lowest] == sorted(values[~np.isnan(values)])[:3]
    assert one.highest[0].id == f"id-{one.highest[0].row}"
    assert figures.cost.tokens_chosen == sum(rule + 1 for rule in figures.chosen)
    assert figures.cost.calls_all == len(NAMES)


def test_of_equal_ratings_those_are_shown_that_the_other_rules_see_most_differently() -> None:
    binary = S.copy()
    binary[:, 0] = S[:, 1] > 0
    figures = audited(binary, repeats=0)
    rows = [shown.row for shown in figures.rules[0].highest]
    rest = np.nanmean(S[:, [1, 2, 3, 4, 5, 6]], axis=1)
    held = np.flatnonzero(binary[:, 0] == 1)
    assert set(rows) <= set(held[np.argsort(rest[held])][: len(held) // 4])


def test_texts_are_shortened_and_left_out_where_there_are_none(figures: AuditFigures) -> None:
    texts = [shown.text for one in figures.rules for shown in (*one.highest, *one.lowest)]
    assert all(text is not None and len(text) <= 600 for text in texts)
    assert all(shown.text is None for one in audited(repeats=0).rules for shown in one.highest)


@pytest.mark.parametrize("late", [False, True])
def test_a_histogram_counts_every_value(late: bool) -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(0, 5, 3 * BLOCK).astype(float)
    values[rng.random(len(values)) < 0.1] = np.nan
    if late:
        values[-1] = 7.5  # unseen among the first rows
    found = histogram(values)
    distinct, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    assert found.edges == distinct.tolist()
    assert found.counts == counts.tolist()


def test_a_histogram_of_many_values_has_ten_bins_and_an_empty_one_none() -> None:
    values = np.random.default_rng(2).random(500)
    assert len(histogram(values).counts) == 10
    assert sum(histogram(values).counts) == 500
    assert histogram(np.full(5, np.nan)).counts == []


def test_correlations_with_length_are_numpys_on_the_rows_present() -> None:
    lengths = np.random.default_rng(3).lognormal(6, 1, N)
    ratings = S.copy()
    ratings[:, 1] = np.where(np.isnan(S[:, 1]), np.nan, np.log(lengths) / 3)
    found = length_correlations(ratings, lengths)
    for rule in range(10):
        here = ~np.isnan(ratings[:, rule])
        assert found[rule] == pytest.approx(np.corrcoef(ratings[here, rule], lengths[here])[0, 1], abs=1e-9)
    assert np.isnan(found[10])


def test_the_same_seed_gives_the_same_figures(figures: AuditFigures) -> None:
    again = audited(known=Known(ids=[f"id-{row}" for row in range(N)]))
    assert again.bootstrap == figures.bootstrap
    assert again.arms == figures.arms
    assert [one.bootstrap for one in again.rules] == [one.bootstrap for one in figures.rules]
    assert [one.relevance for one in again.rules] == [one.relevance for one in figures.rules]


@pytest.mark.slow
def test_the_order_of_the_examples_changes_nothing_where_they_have_ids() -> None:
    shuffled = np.random.default_rng(5).permutation(N)
    first = audited(known=Known(ids=[f"id-{row}" for row in range(N)]))
    choose = choosing(S[shuffled])
    second = audit_rules(
        RULES,
        S[shuffled],
        choose(np.arange(N)),
        choose=choose,
        known=Known(ids=[f"id-{row}" for row in shuffled]),
        repeats=12,
    )
    assert first.chosen == second.chosen
    assert [one.bootstrap for one in first.rules] == [one.bootstrap for one in second.rules]


def test_bootstrap_frequencies_sum_to_the_size_and_core_rules_are_frequent(figures: AuditFigures) -> None:
    frequency = [one.bootstrap for one in figures.rules]
    assert sum(value or 0 for value in frequency) == pytest.approx(4)
    assert figures.bootstrap is not None
    assert figures.bootstrap.core == [rule for rule, value in enumerate(frequency) if (value or 0) > 0.8]
    assert figures.bootstrap.repeats == 12


@pytest.mark.slow
def test_a_large_sample_is_cut_and_keeps_the_graded_rows() -> None:
    many = planted(1, SAMPLE + 500)
    anchor = np.full(len(many), np.nan)
    anchor[-20:] = np.arange(20)
    seen: list[np.ndarray] = []

    def choose(rows: np.ndarray) -> RuleChoice:
        seen.append(rows)
        return choosing(many)(rows)

    choice = choosing(many)(np.arange(len(many)))
    figures = audit_rules(RULES, many, choice, choose=choose, anchor=anchor, repeats=2)
    assert figures.bootstrap is not None
    assert figures.bootstrap.rows == SAMPLE
    assert all(len(rows) == SAMPLE for rows in seen)
    assert len({*np.concatenate(seen).tolist()} & {*range(SAMPLE + 480, SAMPLE + 500)}) > 10


def test_resamples_on_which_nothing_can_be_chosen_are_left_out() -> None:
    calls = iter(range(100))

    def sometimes(rows: np.ndarray) -> RuleChoice:
        if next(calls) % 2:
            raise ValueError("too few usable rules")
        return choosing(S)(rows)

    choice = choosing(S)(np.arange(N))
    figures = audit_rules(RULES, S, choice, choose=sometimes, repeats=10)
    assert figures.bootstrap is not None
    assert figures.bootstrap.repeats == 5


def test_equal_scores_are_perfectly_stable_and_unrelated_ones_are_not() -> None:
    scores = np.random.default_rng(6).normal(size=(2, 500))
    assert score_stability(scores[[0, 0]]) == pytest.approx((1.0, 1.0))
    apart, overlap = score_stability(scores)
    assert apart is not None
    assert overlap is not None
    assert abs(apart) < 0.15
    assert overlap < 0.2


def test_set_scores_are_means_over_the_ratings_present() -> None:
    on = bench(choosing(S)(np.arange(N)), S, None)
    found = set_scores([[0, 3, 5]], on)[0]
    assert found == pytest.approx(np.nan_to_num(np.nanmean(on.z[:, [0, 3, 5]], axis=1)))


def test_warnings_name_the_rules_that_repeat_are_constant_or_point_the_wrong_way(figures: AuditFigures) -> None:
    texts = [one.text for one in figures.warnings]
    kept, other = ("a1", "twin of a1") if card(figures, "a1").place else ("twin of a1", "a1")
    repeats = [text for text in texts if text.startswith(f"“{other}” repeats “{kept}” (r = .9")]
    assert len(repeats) == 1
    assert "kept the latter" in repeats[0]
    assert any(text.startswith("“backwards” was left out: points the wrong way") for text in texts)
    assert any(text.startswith("“constant” was left out: constant") for text in texts)
    grave = [one.grave for one in figures.warnings]
    assert grave == sorted(grave, reverse=True)


@pytest.mark.slow
def test_a_chosen_rule_that_nothing_ties_to_quality_is_a_grave_warning() -> None:
    figures = audited(required=["noise"], repeats=20)
    found = [one for one in figures.warnings if one.kind == "relevance"]
    assert [one.rules for one in found] == [[NAMES.index("noise")]]
    assert found[0].grave
    assert "Nothing shows that “noise” bears on quality" in found[0].text


def test_unreliable_failing_and_length_bound_rules_are_warned_about() -> None:
    ratings = S.copy()
    weak = np.nanmean(S[:, :7], axis=1) < -0.5
    ratings[np.flatnonzero(weak)[:60], 3] = np.nan
    reliability = np.full(len(NAMES), 0.9)
    reliability[3] = 0.3
    choose = choosing(ratings, 4, required=["b1"], reliability=reliability)
    known = Known(lengths=np.nan_to_num(S[:, 3]) + 10)
    figures = audit_rules(RULES, ratings, choose(np.arange(N)), choose=choose, known=known, repeats=0)
    said = {one.kind: one.text for one in figures.warnings if 3 in one.rules}
    assert "a second rating agrees at r = .30 only" in said["reliability"]
    assert "follows the length of the text" in said["length"]
    failures = [one.text for one in figures.warnings if one.kind == "failures" and 3 in one.rules]
    assert any("of the ratings of “b1” failed (missing" in text for text in failures)
    assert any("fails more often on weak examples" in text for text in failures)


def test_long_lists_of_warnings_are_counted_not_spelled_out() -> None:
    extra = np.tile(np.ones((N, 1)), (1, LISTED + 5))
    names = [*NAMES, *(f"flat {at}" for at in range(LISTED + 5))]
    rules = RuleSet(rules=tuple(Rule(name=name, text=name) for name in names))
    ratings = np.concatenate([S, extra], axis=1)
    figures = audit_rules(rules, ratings, choose_rules(ratings, 3, names=names))
    dropped = [one for one in figures.warnings if one.kind == "dropped"]
    assert len(dropped) == LISTED + 1
    assert dropped[-1].text.startswith("And 7 more")


@pytest.mark.slow
def test_a_choice_made_as_published_is_audited_by_the_usual_measures() -> None:
    choice = choose_rules(S, 5, method="paper", names=NAMES, seed=3, required=())
    figures = audit_rules(RULES, S, choice, choose=choosing(S, 5, method="paper"), repeats=5)
    assert figures.method == "paper"
    assert figures.chosen == choice.indices
    assert card(figures, "a1").relevance is not None
    unusable = [rule for rule in figures.chosen if figures.rules[rule].dropped]
    warned = [one.rules[0] for one in figures.warnings if one.kind == "dropped" and one.grave]
    assert sorted(warned) == sorted(unusable)


def test_two_rules_are_enough_for_an_audit() -> None:
    rules = RuleSet(rules=RULES.rules[:2])
    figures = audit_rules(
        rules, S[:, :2], choose_rules(S[:, :2], 1), choose=lambda r: choose_rules(S[r, :2], 1), repeats=4
    )
    assert figures.chosen in ([0], [1])
    assert len(figures.map.merges) == 1


def test_figures_survive_json_and_carry_no_nan(figures: AuditFigures) -> None:
    text = figures.model_dump_json()
    assert "NaN" not in text
    assert AuditFigures.model_validate_json(text) == figures


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not belong together"):
        audit_rules(RULES, S[:, :5], choosing(S)(np.arange(N)))


@pytest.mark.parametrize(
    ("value", "text"), [(0.94, ".94"), (-0.125, "−.12"), (1.0, "1.00"), (-0.001, ".00"), (-9.5, "−9.50")]
)
def test_numbers_are_written_as_in_a_report(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.slow
def test_nothing_is_left_to_follow_where_every_usable_rule_is_chosen() -> None:
    rng = np.random.default_rng(0)
    S = rng.normal(size=(60, 1)) + rng.normal(size=(60, 4))
    choice = choose_rules(S, 4)
    figures = audit_rules(
        named_rules([f"r{j}" for j in range(4)]), S, choice, choose=lambda rows: choose_rules(S[rows], 4)
    )
    assert [step.chosen for step in figures.steps] == [True] * 4
    assert audit_page(figures)
