"""Score-first filter: the row-by-row loop, the angles example, both modes, and the invariant of what is left."""

from __future__ import annotations

import numpy as np
import pytest

from rulesel.algorithms import similarity_filter as module
from rulesel.algorithms.similarity_filter import score_first


def angles(*degrees):
    turned = np.radians(degrees)
    return np.column_stack([np.cos(turned), np.sin(turned)])


def cosines(X):
    X = X.astype(np.float64)
    X = X / np.linalg.norm(X, axis=1, keepdims=True)
    return np.minimum(X @ X.T, 1)


def plain(X, score, k, threshold, given=(), batch=1):
    """The loop; a batch above 1 is the authors' over-rejection."""
    similar = cosines(X) > threshold + 1e-12
    order = [row for row in np.argsort(-score, kind="stable").tolist() if row not in set(given)]
    kept, picks = list(given), []
    for rows in [order[:1], *(order[at : at + batch] for at in range(1, len(order), batch))]:
        fine = [
            row
            for place, row in enumerate(rows)
            if not similar[row, kept].any() and not any(similar[row, other] for other in rows[:place])
        ]
        kept += fine
        picks += fine
        if len(picks) >= k:
            break
    return picks[:k]


@pytest.mark.parametrize(("block", "cells"), [(1, 2**10), (3, 2**10), (256, 2**23)])
@pytest.mark.slow
def test_blocks_keep_what_the_loop_keeps(block, cells, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", block)
    monkeypatch.setattr(module, "CELLS", cells)
    for seed in range(200):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 60))
        X = rng.standard_normal((n, int(rng.integers(1, 5))))
        if seed % 3 == 0:
            X = X[rng.integers(0, n, n)]
        X = X.astype(np.float32 if seed % 2 else np.float64)
        X.setflags(write=False)
        score = rng.integers(0, 6, n).astype(float)
        threshold = float(rng.choice([-1, 0, 0.5, 0.9, 0.99, 1]))
        given = rng.permutation(n)[: rng.integers(0, min(3, n))]
        k = int(rng.integers(0, n - len(given) + 1))
        batch = int(rng.choice([1, 1, 2, 5]))
        kept = score_first(X, score, k, threshold=threshold, given=given, mode="published", batch=batch)
        assert kept.indices.tolist() == plain(X, score, k, threshold, given, batch), f"seed {seed}"
        corrected = score_first(X, score, k, threshold=threshold, given=given, batch=batch)
        assert corrected.indices.tolist() == plain(X, score, k, threshold, given), f"seed {seed}"


def test_a_rejected_row_rejects_others_in_the_published_batch_only():
    X, score = angles(0, 10, 20), np.array([3.0, 2, 1])
    assert score_first(X, score, 3, threshold=0.98).indices.tolist() == [0, 2]
    assert score_first(X, score, 3, threshold=0.98, mode="published").indices.tolist() == [0, 2]
    assert score_first(X, score, 3, threshold=0.98, mode="published", batch=2).indices.tolist() == [0]


def test_what_is_left_out_has_a_kept_neighbour_of_higher_score():
    rng = np.random.default_rng(0)
    X, score = rng.standard_normal((300, 3)), rng.random(300)
    kept = score_first(X, score, 300, threshold=0.9).indices
    C = cosines(X)
    assert C[np.ix_(kept, kept)][np.triu_indices(len(kept), 1)].max() <= 0.9
    for row in np.setdiff1d(np.arange(300), kept):
        rivals = kept[C[row, kept] > 0.9]
        assert len(rivals)
        assert score[rivals].max() > score[row]


def test_a_threshold_of_one_keeps_copies_and_of_minus_one_keeps_one():
    X = np.repeat(np.random.default_rng(1).standard_normal((5, 7)).astype(np.float32), 3, axis=0)
    score = np.arange(15.0)
    assert len(score_first(X, score, 15, threshold=1.0).indices) == 15
    assert score_first(X, score, 15, threshold=-1.0).indices.tolist() == [14]
    assert score_first(X, score, 15, threshold=0.999).indices.tolist() == [14, 11, 8, 5, 2]


def test_permuting_rows_changes_no_pick():
    rng = np.random.default_rng(2)
    X, score, order = rng.standard_normal((200, 3)), rng.random(200), rng.permutation(200)
    kept = score_first(X, score, 40).indices
    assert order[score_first(X[order], score[order], 40).indices].tolist() == kept.tolist()


@pytest.mark.parametrize("scale", [1e-18, 1e-8, 1, 1e25])
def test_rows_of_lengths_float32_cannot_square_are_judged_by_their_direction(scale):
    rng = np.random.default_rng(3)
    X, score = rng.standard_normal((300, 40)).astype(np.float32), rng.random(300)
    X[150:] = X[:150] + 0.3 * rng.standard_normal((150, 40)).astype(np.float32)
    X[::7] *= np.float32(scale)
    kept = score_first(X, score, 200, threshold=0.9).indices
    assert kept.tolist() == plain(X, score, 200, 0.9)
    assert len(kept) < 200


def test_keys_are_the_scores():
    X, score = np.random.default_rng(3).standard_normal((40, 4)), np.random.default_rng(4).random(40)
    kept = score_first(X, score, 10)
    assert kept.score.tolist() == score[kept.indices].tolist()


@pytest.mark.parametrize("energy", ["even", "front", "back"])
def test_leading_coordinates_lose_no_pair(energy):
    rng = np.random.default_rng(5)
    X = rng.standard_normal((20, 96))[rng.integers(0, 20, 900)] + rng.uniform(0.05, 1, (900, 1)) * rng.standard_normal(
        (900, 96)
    )
    X = (X * {"even": 1, "front": 0.9 ** np.arange(96), "back": 0.9 ** np.arange(96)[::-1]}[energy]).astype(np.float32)
    score = rng.random(900)
    for threshold in (0.5, 0.8, 0.9):
        kept = score_first(X, score, 900, threshold=threshold).indices
        assert kept.tolist() == plain(X, score, 900, threshold)
        assert 20 <= len(kept) < 900


def test_scanned_counts_rows_up_to_the_last_kept():
    X, score = angles(0, 1, 2, 90, 91), np.arange(5.0)[::-1].copy()
    assert score_first(X, score, 1).scanned == 1
    assert score_first(X, score, 2).scanned == 4
    assert score_first(X, score, 5).scanned == 5
    assert len(score_first(X, score, 5).indices) == 2


def test_rows_without_direction_are_refused_or_kept():
    X, score = np.array([[1.0, 0], [0, 0], [0, 0], [1, 0.1]], dtype=np.float32), np.arange(4.0)
    with pytest.raises(ValueError, match="row 1 is all zeros"):
        score_first(X, score, 2)
    assert score_first(X, score, 4, zero="isolate").indices.tolist() == [3, 2, 1]


@pytest.mark.parametrize(
    ("X", "options", "message"),
    [
        (np.array([[1.0], [np.nan]]), {}, "row 1"),
        (np.ones((2, 1)), {"score": np.array([1.0, np.inf])}, "score"),
        (np.ones((2, 1)), {"score": np.ones(3)}, "score"),
        (np.ones((2, 1)), {"threshold": np.nan}, "threshold"),
        (np.ones((2, 1)), {"batch": 0}, "batch"),
        (np.ones((2, 1)), {"k": -1}, "negative"),
    ],
)
def test_bad_input_is_named(X, options, message):
    with pytest.raises(ValueError, match=message):
        score_first(**{"X": X, "score": np.ones(2), "k": 1, **options})
