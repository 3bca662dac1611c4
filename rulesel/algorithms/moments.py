"""Means, spreads and correlations of columns with gaps, in one pass over blocks of rows.

Every pair of columns is measured on the rows where both are present (pairwise-complete moments). Values are
centred on the first block's means before anything is squared, so that a column like 1e6 ± 1 loses no digits.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BLOCK_ROWS = 8192
"""Rows held at a time when one array is given: 32 MB a work matrix at 500 columns in float64."""

MAX_CLIPPED = 0.05
"""Share of the spectrum that may be clipped before pairwise correlations count as contradictory."""


class Moments:
    """Mergeable sums from which all pairwise-complete moments follow.

    Memory is four (columns, columns) float64 matrices plus one block. Adding blocks in another order, or merging
    partial accumulators, gives the same moments up to rounding.
    """

    def __init__(self, columns: int) -> None:
        if columns < 1:
            raise ValueError(f"Moments needs at least one column, got {columns}.")
        self.columns = columns
        self.rows = 0
        self.centre: Floats = np.zeros(columns)
        self._seen = np.zeros(columns, dtype=bool)
        shape = (columns, columns)
        self._n: Floats = np.zeros(shape)  # rows where both are present
        self._a: Floats = np.zeros(shape)  # sum of j over the rows where k is present too
        self._b: Floats = np.zeros(shape)  # sum of j times k
        self._d: Floats = np.zeros(shape)  # sum of j squared over the rows where k is present too

    def add(self, block: npt.ArrayLike) -> None:
        """Add a block of rows, shape (rows, columns), NaN where missing.

        Raises:
            ValueError: another number of columns, or an infinite value.
        """
        z = np.array(block, dtype=np.float64, ndmin=2)
        if z.ndim != 2 or z.shape[1] != self.columns:
            raise ValueError(f"A block of shape {z.shape} does not have {self.columns} columns.")
        if len(z) == 0:
            return
        if np.isinf(z).any():
            raise ValueError("A rating is infinite; give NaN for a missing rating.")
        missing = np.isnan(z)
        gaps = np.flatnonzero(missing.any(axis=0))
        z[missing] = 0.0
        present = len(z) - missing.sum(axis=0)
        first = ~self._seen & (present > 0)
        self.centre[first] = z[:, first].sum(axis=0) / present[first]
        self._seen |= first
        z -= self.centre
        z[missing] = 0.0
        self._accumulate(z, missing, gaps)
        self.rows += len(z)

    def _accumulate(self, z: Floats, missing: npt.NDArray[np.bool_], gaps: npt.NDArray[np.intp]) -> None:
        # A column without gaps in this block needs column sums only; the mask products are for the others.
        self._b += z.T @ z
        square = z * z
        n = np.full((self.columns, self.columns), float(len(z)))
        a = np.repeat(z.sum(axis=0)[:, None], self.columns, axis=1)
        d = np.repeat(square.sum(axis=0)[:, None], self.columns, axis=1)
        if len(gaps):
            mask = (~missing[:, gaps]).astype(np.float32)  # counts of a block are exact in float32
            both = mask.T @ mask
            single = np.diagonal(both)
            n[:, gaps] = single
            n[gaps, :] = single[:, None]
            n[np.ix_(gaps, gaps)] = both
            wide = mask.astype(np.float64)
            a[:, gaps] = z.T @ wide
            d[:, gaps] = square.T @ wide
        self._n += n
        self._a += a
        self._d += d

    def merge(self, other: Moments) -> None:
        """Add the rows of another accumulator over the same columns."""
        if other.columns != self.columns:
            raise ValueError(f"Cannot merge {other.columns} columns into {self.columns}.")
        fresh = ~self._seen & other._seen
        self.centre[fresh] = other.centre[fresh]
        self._seen |= other._seen
        shift = np.where(other._seen, other.centre - self.centre, 0.0)
        by_row = shift[:, None]
        self._n += other._n
        self._a += other._a + by_row * other._n
        self._d += other._d + 2 * by_row * other._a + by_row**2 * other._n
        self._b += other._b + by_row * other._a.T + other._a * shift + np.outer(shift, shift) * other._n
        self.rows += other.rows

    @property
    def count(self) -> Floats:
        """Ratings present per column, shape (columns,)."""
        return np.diagonal(self._n).copy()

    @property
    def pair_count(self) -> Floats:
        """Rows where both columns are present, shape (columns, columns)."""
        return self._n.copy()

    @property
    def mean(self) -> Floats:
        """Mean per column over its present rows; NaN for an empty column."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.centre + np.diagonal(self._a) / np.diagonal(self._n)

    @property
    def sd(self) -> Floats:
        """Population standard deviation per column over its present rows; NaN for an empty column."""
        with np.errstate(invalid="ignore", divide="ignore"):
            n = np.diagonal(self._n)
            variance = np.diagonal(self._b) / n - (np.diagonal(self._a) / n) ** 2
        return np.asarray(np.sqrt(np.maximum(variance, 0.0)))

    def covariance(self) -> Floats:
        """Population covariance of each pair over its common rows; 0 where a pair has fewer than two."""
        n = np.maximum(self._n, 1.0)
        covariance: Floats = self._b / n - (self._a / n) * (self._a.T / n)
        covariance[self._n < 2] = 0.0
        return covariance

    def gram(self) -> Floats:
        """S^T S, uncentred, each gap filled with its column's mean; positive semidefinite; 0 for an empty column."""
        mean = np.where(self._seen, self.mean, 0.0)
        shift = np.where(self._seen, self.centre - mean, 0.0)[:, None]
        centred = self._b + shift * self._a.T + self._a * shift.T + shift * shift.T * self._n
        return np.asarray(self.rows * np.outer(mean, mean) + centred)

    def correlation(self) -> Floats:
        """Pearson correlation of each pair over its common rows, in [-1, 1] with a unit diagonal.

        0 where it is undefined: fewer than two common rows, or a column constant on them. Not necessarily positive
        semidefinite when ratings are missing; see `nearest_correlation`.
        """
        n = np.maximum(self._n, 1.0)
        variance = np.maximum(self._d / n - (self._a / n) ** 2, 0.0)
        scale = np.sqrt(variance * variance.T)
        # A column constant on the common rows has a variance of rounding size, not of zero.
        floor = 1e-14 * np.maximum(self._d / n, np.finfo(float).tiny)
        defined = (variance > floor) & (variance.T > floor.T) & (self._n >= 2)
        raw = np.divide(self.covariance(), scale, out=np.zeros_like(scale), where=defined)
        correlation: Floats = np.clip((raw + raw.T) / 2, -1.0, 1.0)
        np.fill_diagonal(correlation, 1.0)
        return correlation


def moments(ratings: npt.NDArray[np.floating] | Iterable[npt.ArrayLike]) -> Moments:
    """Moments of one array (n, columns), or of an iterable of blocks of rows of it.

    Raises:
        ValueError: no rows at all, unequal columns, or an infinite value.
    """
    blocks: Iterable[npt.ArrayLike] = ratings
    if isinstance(ratings, np.ndarray):
        if ratings.ndim != 2:
            raise ValueError(f"Ratings must have shape (examples, rules), got {ratings.shape}.")
        array = ratings
        blocks = (array[start : start + BLOCK_ROWS] for start in range(0, len(array), BLOCK_ROWS))
    total: Moments | None = None
    for block in blocks:
        rows = np.asarray(block)
        if total is None:
            total = Moments(rows.shape[-1])
        total.add(rows)
    if total is None:
        raise ValueError("There are no rows of ratings.")
    return total


def noise_edge(columns: int, rows: int) -> float:
    """Largest correlation eigenvalue of unrelated columns, (1 + sqrt(columns / rows))^2 (Marchenko, Pastur 1967)."""
    return float((1 + np.sqrt(columns / max(rows, 1))) ** 2)


def nearest_correlation(correlation: Floats, max_clipped: float = MAX_CLIPPED) -> tuple[Floats, float]:
    """Clip negative eigenvalues at zero and rescale to a unit diagonal.

    Args:
        correlation: symmetric, unit diagonal, shape (columns, columns).
        max_clipped: largest share of the trace that may be clipped.

    Returns:
        The positive semidefinite correlation matrix, and the clipped share: the sum of the negative eigenvalues'
        sizes over the trace (0 when nothing had to be clipped).

    Raises:
        ValueError: more than `max_clipped` had to go: too few rows in common for the pairs to be compatible.
    """
    values, vectors = np.linalg.eigh(correlation)
    clipped = float(-values[values < 0].sum() / len(values))
    if clipped <= 1e-12:
        return correlation, 0.0
    if clipped > max_clipped:
        raise ValueError(
            f"The pairwise correlations contradict one another: {clipped:.1%} of the spectrum is negative "
            f"(limit {max_clipped:.0%}). Rate more examples on all rules, or drop the rules with most failures."
        )
    fixed = (vectors * np.maximum(values, 0.0)) @ vectors.T
    scale = np.sqrt(np.diagonal(fixed))
    fixed = fixed / np.outer(scale, scale)
    np.fill_diagonal(fixed, 1.0)
    return (fixed + fixed.T) / 2, clipped
