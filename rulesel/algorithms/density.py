"""Local density of rows in a reference pool: the inverse distance to the nearest neighbours.

Yang et al. 2025, "Measuring Data Diversity for Instruction Tuning" (arXiv 2502.17184), section 3: a row's distance to
others counts for more where information is dense.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from rulesel.algorithms.neighbors import QUERIES, Zero, check_rows, nearest, unit_rows

Mode = Literal["corrected", "published"]
Floats = npt.NDArray[np.float64]

EPSILON = 1e-9
"""Added to the mean squared distance, as in the authors' code, so that copies have a finite density."""

SAME = 1e-12
"""Squared distance at which a neighbour is the row itself."""


def local_density(
    X: npt.NDArray[np.floating],
    reference: npt.NDArray[np.floating] | None = None,
    *,
    neighbors: int = 10,
    power: float = 0.5,
    mode: Mode = "corrected",
    zero: Zero = "error",
) -> Floats:
    """(mean squared distance to the nearest neighbours + 1e-9) ** -power of each row, shape (n,); higher is denser.

    The reference counts each distinct row once. "corrected" measures rows of unit length and leaves out a row's own
    copy in the reference, where it has one. "published" follows the authors' code: raw rows, and the nearest row of
    the reference is left out whether or not it is the row itself. Where the reference has fewer distinct rows than
    asked for, all of them count.

    Args:
        X: rows, shape (n, d), finite.
        reference: rows, shape (m, d); X itself when None.
        neighbors: how many neighbours, at least 1.
        power: at least 0; 0 gives 1 for every row and looks at nothing.
        mode: see above.
        zero: for "corrected", what to do with a row of zeros; "isolate" puts it at squared distance 2 from all.

    Raises:
        ValueError: NaN or infinity, a zero row, or arguments out of range.
    """
    if neighbors < 1 or not 0 <= power < np.inf:
        raise ValueError(f"neighbors must be at least 1, the power finite and at least 0, got {neighbors} and {power}.")
    check_rows(X)
    base = X if reference is None else reference
    check_rows(base, name="reference")
    if base.shape[1] != X.shape[1] or len(base) == 0:
        raise ValueError(f"The reference has shape {base.shape}, the rows {X.shape}; it needs rows of the same width.")
    if power == 0:
        return np.ones(len(X))
    if mode == "published":
        rows, base = X.astype(np.float32, copy=False), _distinct(base.astype(np.float32, copy=False))
    else:
        rows, base = unit_rows(X, zero=zero), _distinct(unit_rows(base, zero=zero, name="reference"))
    mean = _mean_squared(rows, base, min(neighbors, len(base)), mode)
    return np.ones(len(X)) if np.isnan(mean).any() else (mean + EPSILON) ** -power


def _distinct(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Each different row once; -0 and 0 are the same number."""
    plain = np.ascontiguousarray(rows + np.float32(0))
    _, first = np.unique(plain.view(f"V{plain.itemsize * plain.shape[1]}").ravel(), return_index=True)
    return rows if len(first) == len(rows) else rows[np.sort(first)]


def _mean_squared(rows: npt.NDArray[np.float32], base: npt.NDArray[np.float32], neighbors: int, mode: Mode) -> Floats:
    """Mean squared distance to the nearest neighbours, found by products and measured by differences."""
    wanted = min(neighbors + 1, len(base))
    shift = base.mean(axis=0, dtype=np.float64).astype(np.float32) if mode == "published" else np.float32(0)
    near = base - shift
    length = np.einsum("ij,ij->i", near, near)
    near = np.hstack([2 * near, -length[:, None]]) if mode == "published" else near
    out = np.empty(len(rows))
    for start in range(0, len(rows), QUERIES):
        block = rows[start : start + QUERIES]
        query = np.hstack([block - shift, np.ones((len(block), 1), np.float32)]) if mode == "published" else block
        where, _ = nearest(query, near, wanted, own=np.full(len(block), -1))
        gap = block[:, None] - base[where]  # of near rows, so that float32 loses nothing that matters
        square = np.einsum("ijk,ijk->ij", gap, gap).astype(np.float64)
        if mode == "corrected":  # a row without direction is not near anything, another such row included
            square += (length[where] == 0) * 1.0 + (np.abs(block).max(axis=1, keepdims=True) == 0)
        square.sort(axis=1)
        out[start : start + len(block)] = _without_itself(square, neighbors, mode)
    return out


def _without_itself(square: Floats, neighbors: int, mode: Mode) -> Floats:
    """Mean of the nearest, the row itself left out; NaN where nothing else is there."""
    if square.shape[1] == 1 and (mode == "published" or square.max() <= SAME):
        return np.full(len(square), np.nan)
    others = square[:, 1 : neighbors + 1].mean(axis=1) if square.shape[1] > 1 else square[:, 0]
    if mode == "published":
        return np.asarray(others)
    return np.where(square[:, 0] <= SAME, others, square[:, :neighbors].mean(axis=1))
