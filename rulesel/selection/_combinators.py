"""What every selector gets for nothing: thresholds, token budgets, quotas by group."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rulesel.algorithms.budget import token_prefix
from rulesel.records import Int64, Selection
from rulesel.selection._contract import Pool, Selector
from rulesel.selection._offer import take, warnings_of


def choose(
    selector: Selector,
    pool: Pool,
    *,
    k: int | None = None,
    max_tokens: int | None = None,
    threshold: float | None = None,
    groups: Sequence[str | None] | None = None,
    per_group: int | None = None,
    seed: int = 0,
) -> Selection:
    """Run a selector under a budget.

    Args:
        selector: the method.
        pool: the rows offered.
        k: how many rows; None for as many as the other limits allow.
        max_tokens: the shortest prefix of the ranking that holds at least this many tokens (`pool.token_counts`).
        threshold: only rows whose quality is at least this, in the unit of `pool.quality`.
        groups: (n,) the group of each row, for `per_group`; None is a group of its own.
        per_group: at most this many rows of each group, the method being run within each.
        seed: names the draw.

    Raises:
        ValueError: a limit that cannot be met by any pool, or one that lacks what it needs.
    """
    _check(pool, k, max_tokens, threshold, groups, per_group)
    pool = _with_given(pool, selector.given)
    free = np.ones(pool.n, dtype=bool)
    free[pool.given] = False
    allowed = np.flatnonzero(free)
    report: dict[str, Any] = {"n_pool": pool.n}
    if threshold is not None and pool.quality is not None:
        above = pool.quality[allowed] >= threshold
        report["below_threshold"] = int((~above).sum())
        allowed = allowed[above]
    if per_group is not None and groups is not None:
        found = _by_group(selector, pool, allowed, groups, per_group, seed)
    else:
        found = _ranked(selector, pool, allowed, k, max_tokens, seed)
    indices, keys = found.indices[:k], found.keys[:k]
    if max_tokens is not None and pool.token_counts is not None:
        n = token_prefix(indices, pool.token_counts, max_tokens, strict=False)
        indices, keys = indices[:n], keys[:n]
        report["tokens"] = int(pool.token_counts[indices].sum())
        if report["tokens"] < max_tokens:
            report["token_shortfall"] = max_tokens - report["tokens"]
    report |= found.report
    report.pop("shortfall", None)
    if k is not None and len(indices) < k and "token_shortfall" not in report and max_tokens is None:
        report["shortfall"] = k - len(indices)
    return Selection(indices, keys, report)


def _with_given(pool: Pool, given: Sequence[int]) -> Pool:
    """The pool with the rows that a method's parameter names as chosen already."""
    if not given:
        return pool
    called = np.arange(pool.n) if pool.origin is None else pool.origin
    strange = np.setdiff1d(given, called)
    if len(strange):
        raise ValueError(f"given names row {strange[0]}, which is not among the {pool.n} rows offered.")
    return replace(pool, given=np.union1d(pool.given, np.flatnonzero(np.isin(called, given))))


def _within(selector: Selector, pool: Pool, allowed: Int64, k: int, seed: int) -> Selection:
    if k == 0 or not len(allowed):
        return Selection(np.empty(0, dtype=np.int64), np.empty(0))
    part, rows = take(pool, allowed)
    found = selector.select(part, min(k, len(allowed)), seed)
    return Selection(rows[found.indices], found.keys, found.report)


def _ranked(
    selector: Selector, pool: Pool, allowed: Int64, k: int | None, max_tokens: int | None, seed: int
) -> Selection:
    if max_tokens is None or pool.token_counts is None:
        return _within(selector, pool, allowed, len(allowed) if k is None else k, seed)
    most = len(allowed) if k is None else min(k, len(allowed))
    mean = float(pool.token_counts[allowed].mean()) if len(allowed) else 1.0
    size = min(most, math.ceil(1.2 * max_tokens / max(mean, 1e-9)) + 10)
    while True:  # greedy methods pay by the pick: rank no more than the budget can buy
        found = _within(selector, pool, allowed, size, seed)
        if size >= most or len(found) < size or pool.token_counts[found.indices].sum() >= max_tokens:
            return found
        size = min(most, 2 * size)


def _by_group(
    selector: Selector, pool: Pool, allowed: Int64, groups: Sequence[str | None], per_group: int, seed: int
) -> Selection:
    members: dict[str | None, list[int]] = {}
    for row in allowed.tolist():
        members.setdefault(groups[row], []).append(row)
    parts = [
        _within(selector, pool, np.asarray(rows, dtype=np.int64), per_group, seed)
        for _, rows in sorted(members.items(), key=lambda item: (item[0] is None, item[0] or ""))
    ]
    indices = np.concatenate([p.indices for p in parts]) if parts else np.empty(0, dtype=np.int64)
    keys = np.concatenate([p.keys for p in parts]) if parts else np.empty(0)
    rank = np.concatenate([np.arange(len(p)) for p in parts]) if parts else np.empty(0)
    ties: npt.NDArray[Any] = indices if pool.ids is None else np.asarray(pool.ids)[indices]
    order = np.lexsort((ties, rank, -np.nan_to_num(keys)))
    excluded = sum(int(p.report.get("excluded", 0)) for p in parts)
    report = {"groups": len(members), "excluded": excluded} | warnings_of(parts)
    return Selection(indices[order], keys[order], report)


def _check(
    pool: Pool,
    k: int | None,
    max_tokens: int | None,
    threshold: float | None,
    groups: Sequence[str | None] | None,
    per_group: int | None,
) -> None:
    if k is None and max_tokens is None and threshold is None and per_group is None:
        raise ValueError("Say how much to pick: k, max_tokens, threshold or per_group.")
    for name, value, least in (("k", k, 0), ("max_tokens", max_tokens, 1), ("per_group", per_group, 1)):
        if value is not None and value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}.")
    if max_tokens is not None and pool.token_counts is None:
        raise ValueError("max_tokens needs token_counts.")
    if threshold is not None and pool.quality is None:
        raise ValueError("threshold needs quality.")
    if per_group is not None and (groups is None or len(groups) != pool.n):
        raise ValueError(f"per_group needs one group for each of the {pool.n} rows.")
