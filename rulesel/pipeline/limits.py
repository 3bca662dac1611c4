"""What kept a row out of a selection, where it was not its score alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rulesel import receipt as receipts
from rulesel.config import SelectConfig
from rulesel.receipt import Scored
from rulesel.records import Selection
from rulesel.store import CorpusRecord, Store


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a selection by position in the pool.

    Attributes:
        given: bool (n,), rows that the method's parameter names as chosen already.
        below: bool (n,), rows that do not meet the threshold.
        threshold: the threshold in words.
        field: the field of `--per`; "" without.
        groups: (n,) its value in each row; empty without.
        full: value -> how many rows were selected, where that is all that the quota allows.
        budget: the token budget in words, where it ended the selection; else "".
    """

    given: np.ndarray[Any, np.dtype[np.bool_]]
    below: np.ndarray[Any, np.dtype[np.bool_]]
    threshold: str
    field: str
    groups: Sequence[str | None]
    full: dict[str | None, int]
    budget: str

    def why(self, position: int) -> str:
        """What kept the row at a position of the pool out; empty if nothing did but its place."""
        if self.given[position]:
            return "given as chosen already"
        if self.below[position]:
            return self.threshold
        if self.groups and (allowed := self.full.get(self.groups[position])):
            value = self.groups[position]
            shown = "no value" if value is None else repr(value if len(value) <= 80 else value[:79] + "…")
            return f"over the quota: --per {self.field}={allowed} allows {allowed:,} of {self.field} {shown}"
        return self.budget


def limits_of(store: Store, select: SelectConfig, corpus: CorpusRecord, found: Scored, selection: Selection) -> Limits:
    """The limits that a selection was made under.

    Args:
        store: where the field of a quota is read.
        select: the limits asked for.
        corpus: whose rows these are.
        found: the pool with its scores.
        selection: the rows picked, as positions in the pool.
    """
    n = len(found.pool)
    below, threshold = np.zeros(n, dtype=bool), ""
    if select.threshold is not None:
        with np.errstate(invalid="ignore"):
            below = ~(found.scores >= (-select.threshold if found.turned else select.threshold))
        threshold = f"{'above' if found.turned else 'below'} the threshold {select.threshold:g}"
    field, groups, full = "", [], {}
    for field, per in select.per.items():
        groups = receipts.field_of_pool(store, corpus, found, field)
        taken = Counter(groups[position] for position in selection.indices.tolist())
        full = {value: count for value, count in taken.items() if count >= per}
    ended = select.max_tokens is not None and "token_shortfall" not in selection.report
    short = select.k is not None and len(selection) < select.k
    budget = (
        f"the {select.max_tokens:,} tokens (estimated) were used up" if ended and (short or select.k is None) else ""
    )
    given = np.isin(found.rows.row[found.pool], np.asarray(select.selector.given, dtype=np.int64))
    return Limits(given, below, threshold, field, groups, full, budget)
