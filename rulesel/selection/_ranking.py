"""The common end of methods that pick by one key a row."""

from __future__ import annotations

from typing import Any

import numpy as np

from rulesel.algorithms.gumbel import ties_at_cut, top_k
from rulesel.records import Float64, Selection
from rulesel.selection._contract import Pool


def by_key(pool: Pool, keys: Float64, k: int, **report: Any) -> Selection:  # noqa: ANN401 - JSON values
    """The k rows of largest key, ties by id, NaN and given rows left out and counted."""
    keys = keys.astype(np.float64, copy=True)
    keys[pool.given] = np.nan
    indices = top_k(keys, k, None if pool.ids is None else pool.ids)
    excluded = int(np.isnan(keys).sum()) - len(pool.given)
    found = report | {"excluded": excluded, "ties_at_cut": ties_at_cut(keys, indices)}
    if len(indices) < k:
        found["shortfall"] = k - len(indices)
    return Selection(indices, keys[indices], found)
