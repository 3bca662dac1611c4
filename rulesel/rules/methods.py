"""The ways of picking r rules from a kernel."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
import numpy.typing as npt

from rulesel.algorithms import dpp, ties
from rulesel.algorithms.kdpp import KDpp

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

Method = Literal["map", "best_of", "sample", "marginal", "cluster", "top", "exhaustive", "paper"]

DIGITS = 9
"""Decimals of the distances that are clustered."""

DRAWS = 1000
"""Exact draws behind method best_of."""


def pick(method: Method, L: Floats, r: int, *, C: Floats, q: Floats, required: list[int], seed: int) -> Ints:
    """Indices of r rules, the most useful first, shape (r,).

    Args:
        method: see `choose_rules`.
        L: kernel, shape (rules, rules).
        r: how many.
        C: correlations, for the clusters.
        q: worth, for top and clusters.
        required: rules that must be in; the others are picked given those.
        seed: names the draw of a random method.

    Raises:
        ValueError: r exceeds the rank of the kernel where the method needs independent rules.
    """
    if method == "map":
        return dpp.map_subset(L, r, required)
    fixed = np.array(required, dtype=np.int64)
    given, free = dpp.condition(L, fixed)
    rest = _pick_free(method, given, r - len(fixed), C[np.ix_(free, free)], q[free], seed)
    return np.concatenate([dpp.greedy_order(L, fixed), free[rest]])


def _pick_free(method: Method, L: Floats, r: int, C: Floats, q: Floats, seed: int) -> Ints:
    rng = np.random.default_rng(seed)
    if r == 0:
        return np.empty(0, dtype=np.int64)
    if method == "exhaustive":
        return dpp.exhaustive(L, r)
    if method == "best_of":
        return dpp.best_of(L, r, DRAWS, rng)
    if method == "sample":
        return dpp.greedy_order(L, KDpp(L, r).sample(rng))
    if method == "paper":
        return dpp.greedy_order(L, _dppy_draw(L, r, seed))
    if method == "marginal":
        return _largest(KDpp(L, r).inclusion(), r)
    if method == "cluster":
        return _one_a_cluster(C, q, r)
    return _largest(q, r)


def _largest(values: Floats, r: int) -> Ints:
    """Positions of the r largest; rules come in the order of their ids."""
    return ties.order(values)[:r]


def _one_a_cluster(C: Floats, q: Floats, r: int) -> Ints:
    """Average linkage on 1 - |c|, cut into r clusters; the worthiest rule of each, the worthiest first."""
    from scipy.cluster.hierarchy import cut_tree, linkage
    from scipy.spatial.distance import squareform

    if r == len(C):
        return _largest(q, r)
    distance = np.round(1 - np.abs(C), DIGITS)  # what is equal on paper is merged in the order of ids
    np.fill_diagonal(distance, 0.0)
    label = cut_tree(linkage(squareform(distance, checks=False), "average"), n_clusters=r)[:, 0]
    order = _largest(q, len(q))
    _, first = np.unique(label[order], return_index=True)
    return order[np.sort(first)]


def _dppy_draw(L: Floats, r: int, seed: int) -> Ints:
    """One exact draw by DPPy, as in the published code, from a new object: it caches tables of another size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its docstrings and its plotting import warn on recent Pythons
        from dppy.finite_dpps import FiniteDPP
    process = FiniteDPP("likelihood", L=L)
    return np.array(process.sample_exact_k_dpp(size=r, random_state=np.random.RandomState(seed)), dtype=np.int64)
