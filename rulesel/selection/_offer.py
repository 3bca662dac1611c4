"""The rows a method can work on, in an order that does not depend on how the pool is sorted.

Methods that compare rows settle ties by position and add up in the order of rows. Handing them the rows by id makes
both a matter of the rows alone; `Offer.selection` numbers the picks as the pool does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rulesel.records import Bool, Float64, Int64, Selection
from rulesel.selection._contract import Pool

BLOCK = 8192
LONGEST = 1800.0
"""Seconds beyond which a method refuses at once."""


@dataclass(frozen=True, slots=True)
class Offer:
    """The rows that have what a method reads.

    Attributes:
        pool: where they come from.
        rows: int64 (m,), rows of the pool in working order; those already chosen are among them.
        given: int64, positions in `rows` of the rows already chosen.
        excluded: rows left out because something the method reads is NaN there.
    """

    pool: Pool
    rows: Int64
    given: Int64
    excluded: int

    @property
    def n(self) -> int:
        """Rows in working order, those already chosen included."""
        return len(self.rows)

    @property
    def left(self) -> int:
        """Rows that can be picked."""
        return self.n - len(self.given)

    def embeddings(self) -> npt.NDArray[np.floating[Any]]:
        """(m, d), in working order."""
        vectors: npt.NDArray[np.floating[Any]] = self.pool.need("embeddings")
        if self.n == len(vectors) and (np.diff(self.rows) == 1).all():
            return vectors
        return vectors[self.rows]

    def quality(self) -> Float64:
        """(m,), higher is better; a row already chosen whose quality is unknown counts as average."""
        return _known(self.pool.need("quality")[self.rows])

    def place(self, row: int | None) -> int | None:
        """Position of a row of the pool.

        Raises:
            ValueError: it is no row of the pool, or was left out.
        """
        if row is None:
            return None
        called = self.rows if self.pool.origin is None else self.pool.origin[self.rows]
        found = np.flatnonzero(called == row)
        if not len(found):
            raise ValueError(f"first is row {row}, which is not among the {self.n} rows that can be worked on.")
        return int(found[0])

    def nothing(self, k: int) -> Selection:
        """The selection where there is no row to pick."""
        return self.selection(np.empty(0, dtype=np.int64), np.empty(0), k)

    def selection(self, indices: Int64, keys: Float64, k: int, **report: Any) -> Selection:  # noqa: ANN401 - JSON
        """Picks, as positions in working order, as a selection of the pool."""
        found = report | {"excluded": self.excluded}
        if len(indices) < k:
            found["shortfall"] = k - len(indices)
        return Selection(self.rows[indices], np.asarray(keys, dtype=np.float64), found)


def offer(pool: Pool, reads: Sequence[str], *, listed: bool = False) -> Offer:
    """The rows that have what is read, by id where the pool has ids.

    Args:
        pool: the rows offered.
        reads: of "embeddings", "quality" and "tags", what the method cannot do without.
        listed: keep the order of the pool; published modes follow their originals in this.

    Raises:
        ValueError: the pool lacks something that is read.
    """
    usable = np.ones(pool.n, dtype=bool)
    chosen = np.zeros(pool.n, dtype=bool)
    chosen[pool.given] = True
    for name in reads:
        values = pool.need(name)
        if name == "embeddings":
            usable &= ~_nan_rows(values)
        elif name == "quality":
            usable &= ~np.isnan(values) | chosen
    rows = np.flatnonzero(usable)
    if pool.ids is not None and not listed:
        rows = rows[np.argsort(np.asarray(pool.ids)[rows], kind="stable")]
    return Offer(pool, rows, np.flatnonzero(chosen[rows]), int((~usable & ~chosen).sum()))


def take(pool: Pool, rows: Int64) -> tuple[Pool, Int64]:
    """The pool cut down to some rows (and the given ones), and the row each of its rows was."""
    kept = np.zeros(pool.n, dtype=bool)
    kept[rows] = kept[pool.given] = True
    rows = np.flatnonzero(kept)
    if len(rows) == pool.n:
        return pool, rows

    def cut(value: Any) -> Any:  # noqa: ANN401 - arrays and sequences alike
        if value is None:
            return None
        return value[rows] if isinstance(value, np.ndarray) else [value[i] for i in rows.tolist()]

    row_fields = ("ids", "quality", "embeddings", "tags", "token_counts")
    changed = {f.name: cut(getattr(pool, f.name)) for f in fields(pool) if f.name in row_fields}
    columns: Mapping[str, Any] = {name: values[rows] for name, values in pool.columns.items()}
    given = np.searchsorted(rows, pool.given)
    origin = rows if pool.origin is None else pool.origin[rows]
    return replace(pool, n=len(rows), columns=columns, given=given, origin=origin, **changed), rows


def warnings_of(parts: Sequence[Selection]) -> dict[str, list[str]]:
    """What several selections warn of, each sentence once, as an entry of a report; none if they do not."""
    every = [warning for part in parts for warning in part.report.get("warnings", ())]
    return {"warnings": list(dict.fromkeys(every))} if every else {}


def optional_quality(offered: Offer) -> Float64 | None:
    """(m,) for a method that does not depend on it: None where the pool has none, NaN as the lowest there is."""
    if offered.pool.quality is None:
        return None
    values = offered.pool.quality[offered.rows]
    known = values[~np.isnan(values)]
    return np.nan_to_num(values, nan=float(known.min()) if len(known) else 0.0, posinf=np.inf, neginf=-np.inf)


def positive(quality: Float64) -> tuple[Float64, str]:
    """Quality as a factor of at least 0, and what was done to it.

    Ratings and grades are taken as they are. Where some are below 0 (z-scores, say) no such number can be a factor:
    then it is exp of the z-score, which keeps the order and sets equal steps in standard deviations.
    """
    if not len(quality) or quality.min() >= 0:
        return quality, "as it is"
    spread = float(quality.std())
    return np.exp((quality - quality.mean()) / (spread or 1.0)), "exp of the z-score"


def width(pool: Pool, reads: Sequence[str]) -> int:
    """Numbers in an embedding.

    Raises:
        ValueError: the pool lacks something that is read.
    """
    for name in reads:
        pool.need(name)
    return int(pool.need("embeddings").shape[1])


def refuse(seconds: float, what: str, instead: str) -> None:
    """Refuse at once what would take far too long.

    Args:
        seconds: that one core would take, roughly.
        what: the work, for the message.
        instead: what to do, for the message.

    Raises:
        ValueError: more than `LONGEST` seconds of this machine's cores.
    """
    cores = os.cpu_count() or 1
    if seconds > LONGEST * cores:
        raise ValueError(f"{what} would take about {seconds / cores / 3600:.1f} hours on {cores} cores: {instead}.")


def _nan_rows(vectors: npt.NDArray[np.floating[Any]]) -> Bool:
    missing = np.zeros(len(vectors), dtype=bool)
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK]
        doubtful = np.flatnonzero(np.isnan(block.sum(axis=1)))  # one pass; infinities of both signs look alike here
        missing[start + doubtful] = np.isnan(block[doubtful]).any(axis=1)
    return missing


def _known(quality: Float64) -> Float64:
    missing = np.isnan(quality)
    return np.where(missing, quality[~missing].mean(), quality) if missing.any() and not missing.all() else quality
