"""Picks do not hang on the last bits: inputs disturbed by 1e-13, other orders, one thread or two."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from rulesel.plugins import build, names
from rulesel.rules.choose import choose_rules
from rulesel.selection import Pool, Selector

PACKAGE = "rulesel.selection"
VARIANTS = [
    *((name, {}) for name in names(PACKAGE)),
    ("kcenter", {"metric": "cosine"}),
    ("kcenter", {"robust": 0.1}),
    ("facility_location", {"similarity": "rbf"}),
    ("facility_location", {"similarity": "published"}),
    ("facility_location", {"neighbors": 6}),
    ("qdit", {"scale": "raw"}),
    ("novelselect", {"weigh": True}),
    ("novelselect", {"density_power": 0.0}),
    ("quality_dpp", {"window": 2}),
    ("kmeans_stratified", {"within": "nearest"}),
    ("leader", {"metric": "euclidean", "threshold": 1.01}),
    ("deita", {"threshold": 0.51}),
    ("mig", {"phi": "exponential:1"}),
]


def points(kind) -> np.ndarray:
    """Float64 rows full of ties on paper: symmetries and copies."""
    rng = np.random.default_rng(0)
    if kind == "corners of a cube":
        cube = np.array(list(itertools.product([-1.0, 1.0], repeat=5)))
        return np.concatenate([cube, np.eye(5), -np.eye(5)])
    if kind == "copies of axes":
        return np.repeat(np.eye(6), 7, axis=0)
    if kind == "a circle":
        angle = np.arange(48) * np.pi / 24
        return np.column_stack([np.cos(angle), np.sin(angle), np.full(48, 0.3)])
    if kind == "copies":
        return np.repeat(rng.normal(size=(20, 7)), 3, axis=0)
    return rng.normal(size=(60, 8))


def pool(kind, disturbed: int = 0) -> Pool:
    """The rows in another order, their vectors a little off; 0 leaves them as they are."""
    exact, rng = points(kind), np.random.default_rng(1)
    n = len(exact)
    ids = rng.permutation(10 * n)[:n].astype(np.uint64)
    quality, length = np.round(rng.uniform(1, 2, (2, n)), 1)
    vectors = {f"t{j}": np.round(rng.normal(size=4), 1) for j in range(6)}
    other = np.random.default_rng(disturbed)
    order = other.permutation(n) if disturbed else np.arange(n)
    off = 1e-13 if disturbed else 0.0
    return Pool(
        n=n,
        ids=ids[order],
        quality=quality[order],
        embeddings=exact[order] * (1 + off * other.normal(size=exact.shape)),
        tags=[[f"t{row % 6}", f"t{row % 4}"] for row in order.tolist()],
        tag_embeddings={tag: vector * (1 + off * other.normal(size=4)) for tag, vector in vectors.items()},
        columns={"length": length[order]},
    )


def picked(selector: Selector, offered: Pool) -> Sequence[int]:
    k = 4 if selector.name == "quality_dpp" else 12
    return offered.ids[selector.select(offered, k, seed=0).indices].tolist()


@pytest.mark.parametrize("kind", ["corners of a cube", "copies of axes", "a circle", "copies", "at random"])
@pytest.mark.parametrize(("method", "parameters"), VARIANTS)
def test_the_last_bits_and_the_order_of_rows_change_no_pick(method, parameters, kind):
    selector = build(PACKAGE, method, Selector, parameters)
    wanted = picked(selector, pool(kind))
    for disturbed in range(1, 4):
        assert picked(selector, pool(kind, disturbed)) == wanted


@pytest.mark.slow
@pytest.mark.parametrize("method", names(PACKAGE))
def test_one_thread_or_two_make_no_difference(method):
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.normal(size=(500, 64)).astype(np.float32), 2, axis=0)
    offered = Pool(
        n=1000,
        ids=rng.permutation(1000).astype(np.uint64),
        quality=np.round(rng.uniform(1, 2, 1000), 1),
        embeddings=rows,
        tags=[[f"t{row % 40}"] for row in range(1000)],
        columns={"length": np.round(rng.random(1000), 1)},
    )
    selector = build(PACKAGE, method, Selector, {})
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(selector.select(offered, 50, seed=0).indices.tolist())
    assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["map", "top", "marginal", "cluster", "best_of", "exhaustive", "sample"])
def test_one_thread_or_two_choose_the_same_rules(method):
    rng = np.random.default_rng(0)
    latent = np.repeat(rng.normal(size=(400, 6)), 4, axis=1)
    S = np.round(0.5 + 0.1 * latent + 0.1 * rng.normal(size=latent.shape), 1).astype(np.float32)
    found = []
    for threads in (1, 2):
        for off in (0.0, 1e-13):
            with threadpool_limits(threads):
                found.append(choose_rules(S * (1 + off * rng.normal(size=S.shape)), 4, method=method).indices)
    assert all(one == found[0] for one in found)
