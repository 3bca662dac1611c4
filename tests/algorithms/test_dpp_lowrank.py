"""Low-rank DPP against the dense kernel: greedy picks and gains, windows, draws by enumeration."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from rulesel.algorithms import dpp_lowrank
from rulesel.algorithms.dpp import greedy_map
from rulesel.algorithms.dpp_lowrank import LowRankDpp, lowrank_map


def dense(X, quality=None):
    X = X.astype(np.float64)
    B = X / np.linalg.norm(X, axis=1, keepdims=True)
    B = B if quality is None else B * quality[:, None]
    return B @ B.T


def plain(X, k, *, quality=None, window=None, given=()):
    """Greedy on Schur complements of the dense kernel against the latest rows taken."""
    L = dense(X, quality)
    taken, picks, gains = list(given), [], []
    while len(picks) < k:
        latest = taken if window is None else taken[-window:]
        left = np.diag(L).copy()
        if latest:
            inverse = np.linalg.pinv(L[np.ix_(latest, latest)], rcond=1e-11, hermitian=True)
            left -= np.einsum("ij,ij->j", L[latest], inverse @ L[latest])
        left[taken] = -1
        if left.max() <= 1e-9 * np.diag(L).max():
            break
        row = int(np.flatnonzero(left >= left.max() * (1 - 1e-8))[0])
        picks.append(row)
        taken.append(row)
        gains.append(np.log(left[row]))
    return picks, gains


@pytest.mark.parametrize("at_a_time", [dpp_lowrank.BLOCK, 1])
@pytest.mark.slow
def test_picks_and_gains_are_those_of_the_dense_kernel(at_a_time, monkeypatch):
    monkeypatch.setattr(dpp_lowrank, "BLOCK", at_a_time)  # 1: rows come within reach as late as can be
    for seed in range(250):
        rng = np.random.default_rng(seed)
        n, d = int(rng.integers(2, 40)), int(rng.integers(2, 10))
        X = rng.standard_normal((n, d))
        if seed % 3 == 0:
            X = X[rng.integers(0, n, n)]
        X = X.astype(np.float32 if seed % 2 else np.float64)
        X.setflags(write=False)
        quality = rng.uniform(0.2, 3, n) if seed % 2 else None
        window = None if seed % 4 else int(rng.integers(1, d))
        given = rng.permutation(n)[: min(int(rng.integers(0, 3)), n - 1, d - 1)]
        k = int(rng.integers(0, min(n - len(given), n if window else d - len(given)) + 1))
        picks, gains = lowrank_map(X, k, quality=quality, window=window, given=given)
        expected, values = plain(X, k, quality=quality, window=window, given=given)
        assert picks.tolist() == expected, f"seed {seed}"
        np.testing.assert_allclose(gains, values, atol=1e-5, err_msg=f"seed {seed}")


def test_gains_sum_to_the_log_determinant_of_the_dense_greedy():
    rng = np.random.default_rng(0)
    X, quality = rng.standard_normal((300, 20)), rng.uniform(0.5, 2, 300)
    picks, gains = lowrank_map(X, 15, quality=quality)
    L = dense(X, quality)
    assert gains.sum() == pytest.approx(np.linalg.slogdet(L[np.ix_(picks, picks)])[1], abs=1e-9)
    assert picks.tolist() == greedy_map(L, 15)[0].tolist()


def test_quality_adds_twice_its_log():
    K = np.array([[1, 0.5, 0.2], [0.5, 1, 0.2], [0.2, 0.2, 1]])
    X = np.linalg.cholesky(K)
    picks, gains = lowrank_map(X, 2, quality=np.array([1.0, 2, 1]))
    assert picks.tolist() == [1, 2]
    assert np.exp(gains.sum()) == pytest.approx(4 * 0.96)
    scaled, more = lowrank_map(X, 2, quality=np.array([10.0, 20, 10]))
    assert scaled.tolist() == picks.tolist()
    np.testing.assert_allclose(more - gains, 2 * np.log(10))


def test_a_window_passes_the_rank_and_repeats_no_row():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((500, 6))
    picks, gains = lowrank_map(X, 300, window=4)
    assert len(set(picks.tolist())) == 300
    assert np.isfinite(gains).all()
    with pytest.raises(ValueError, match="at most 6 can be chosen"):
        lowrank_map(X, 7)


def test_residuals_stay_exact_through_many_forgotten_rows():
    X = np.random.default_rng(2).standard_normal((400, 5)).astype(np.float32)
    picks, gains = lowrank_map(X, 350, window=3)  # longer than the steps between renewals
    expected, values = plain(X, 350, window=3)
    assert picks.tolist() == expected
    np.testing.assert_allclose(gains, values, atol=1e-5)


def test_copies_never_come_together_and_dependence_ends_the_picks():
    X = np.repeat(np.random.default_rng(3).standard_normal((3, 8)), 4, axis=0)
    assert (lowrank_map(X, 8)[0] // 4).tolist() in ([0, 1, 2], [0, 2, 1])
    assert len(lowrank_map(X, 7, given=[5])[0]) == 2


@pytest.mark.slow
def test_draws_follow_the_determinants():
    rng = np.random.default_rng(4)
    X, quality = rng.standard_normal((6, 4)), rng.uniform(0.5, 2, 6)
    L = dense(X, quality)
    sets = list(combinations(range(6), 3))
    p = np.array([np.linalg.det(L[np.ix_(some, some)]) for some in sets])
    p /= p.sum()
    process, draws = LowRankDpp(X, 3, quality=quality), 3000
    counts = dict.fromkeys(sets, 0)
    for _ in range(draws):
        counts[tuple(process.sample(rng).tolist())] += 1
    seen = np.array([counts[some] for some in sets])
    assert ((seen - draws * p) ** 2 / (draws * p)).sum() < 43.8  # 19 degrees of freedom, 1 in 1000
    uniform = np.full(len(sets), draws / len(sets))
    assert ((seen - uniform) ** 2 / uniform).sum() > 100  # the control: the draws are far from uniform


def test_sets_of_no_volume_never_appear():
    rng = np.random.default_rng(5)
    X = np.repeat(rng.standard_normal((4, 3)), 2, axis=0)
    process = LowRankDpp(X, 3)
    for _ in range(300):
        picks = process.sample(rng) // 2
        assert len(set(picks.tolist())) == 3


@pytest.mark.parametrize("factor", [1e-12, 1e12])
def test_a_constant_factor_changes_no_draw(factor):
    X = np.random.default_rng(6).standard_normal((40, 8)).astype(np.float32)
    quality = np.linspace(1, 2, 40)
    draws = [LowRankDpp(X, 5, quality=q).sample(np.random.default_rng(1)) for q in (quality, factor * quality)]
    assert draws[0].tolist() == draws[1].tolist()


def test_a_draw_of_more_than_the_rank_is_refused():
    with pytest.raises(ValueError, match="rank 3"):
        LowRankDpp(np.random.default_rng(0).standard_normal((9, 3)), 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quality": np.array([1.0, -1, 1])}, "quality"),
        ({"window": 3}, "window"),
        ({"window": 0}, "window"),
        ({"k": -1}, "negative"),
        ({"given": [5]}, "rows of 0..2"),
    ],
)
def test_arguments_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        lowrank_map(np.eye(3), **{"k": 1, **options})


def test_rows_of_low_quality_are_left_alone_until_they_could_be_picked(monkeypatch):
    monkeypatch.setattr(dpp_lowrank, "BLOCK", 64)
    touched = []
    single = dpp_lowrank._Rows.single
    monkeypatch.setattr(dpp_lowrank._Rows, "single", lambda self, rows: touched.extend(rows) or single(self, rows))
    rng = np.random.default_rng(0)
    X, quality = rng.standard_normal((4000, 24)), rng.uniform(0, 1, 4000)
    picks, _ = lowrank_map(X, 8, quality=quality)
    assert picks.tolist() == plain(X, 8, quality=quality)[0]
    assert len(touched) == len(set(touched)) < 1000
    assert quality[touched].min() > np.delete(quality, touched).max()


def test_rows_without_direction_are_refused_or_never_picked():
    X = np.array([[1.0, 0, 0], [0, 0, 0], [0, 1, 0]])
    with pytest.raises(ValueError, match="row 1 is all zeros"):
        lowrank_map(X, 2)
    assert lowrank_map(X, 3, zero="isolate")[0].tolist() == [0, 2]
    with pytest.raises(ValueError, match="row 0"):
        lowrank_map(np.full((2, 2), np.nan), 1)
