"""Exact sampling of a determinantal point process of fixed size, in log space.

Kulesza and Taskar 2012, Determinantal Point Processes for Machine Learning (arXiv 1207.6083), section 5.2:
P(Y) = det(L_Y) / e_k(eigenvalues) for |Y| = k. Elementary symmetric polynomials are kept as logarithms: their terms
are positive, so nothing cancels, and e_100 of 500 eigenvalues of 1e6 (about 1e707) neither overflows nor biases.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def numerical_rank(eigenvalues: npt.NDArray[np.floating]) -> int:
    """Eigenvalues above rounding: those larger than the largest times count times 16 machine epsilons."""
    top = float(eigenvalues.max(initial=0.0))
    return int((eigenvalues > top * len(eigenvalues) * 16 * np.finfo(float).eps).sum()) if top > 0 else 0


def log_esp(log_values: Floats, k: int) -> Floats:
    """Logarithms of the elementary symmetric polynomials of every prefix.

    Args:
        log_values: natural logs of m values >= 0 (-inf for 0), shape (m,).
        k: highest order.

    Returns:
        Table of shape (m + 1, k + 1); entry [i, j] is ln e_j(first i values), -inf where e_j = 0.
    """
    table = np.full((len(log_values) + 1, k + 1), -np.inf)
    table[:, 0] = 0.0
    for i, value in enumerate(log_values):
        table[i + 1, 1:] = np.logaddexp(table[i, 1:], value + table[i, :-1])
    return table


class KDpp:
    """A k-DPP over the rows of a kernel: one decomposition, then any number of exact draws.

    Args:
        L: symmetric positive semidefinite kernel, shape (items, items); its scale does not matter.
        k: size of every draw.

    Raises:
        ValueError: L is not a finite symmetric positive semidefinite matrix, or its rank is below k.
    """

    def __init__(self, L: Floats, k: int) -> None:
        values, self.vectors = _spectrum(L)
        rank = numerical_rank(values)
        if not 0 <= k <= rank:
            raise ValueError(f"A k-DPP of size {k} needs a kernel of at least that rank; this one has rank {rank}.")
        self.k = k
        values[: len(values) - rank] = 0.0  # ascending: what rounding left of zero eigenvalues
        with np.errstate(divide="ignore"):
            self.log_values: Floats = np.log(values)
        self.log_e = log_esp(self.log_values, k)
        self._accept = self._acceptance()

    @property
    def log_normaliser(self) -> float:
        """Natural log of e_k of the eigenvalues: the log of the sum of det(L_Y) over all Y of size k."""
        return float(self.log_e[-1, self.k])

    def _acceptance(self) -> Floats:
        """[j, i]: probability of taking eigenvector i when j are still wanted among vectors 0..i."""
        with np.errstate(invalid="ignore"):
            odds = self.log_values[:, None] + self.log_e[:-1, :-1] - self.log_e[1:, 1:]
        accept = np.exp(np.minimum(np.nan_to_num(odds, nan=-np.inf, neginf=-np.inf), 0.0))
        wanted = np.arange(1, self.k + 1)
        left = np.isfinite(self.log_values).cumsum()[:, None]
        accept[wanted >= left] = 1.0  # no choice left: guards against rounding below 1
        accept[~np.isfinite(self.log_values)] = 0.0
        return np.ascontiguousarray(accept.T)

    def sample(self, rng: np.random.Generator) -> Ints:
        """One exact draw: k distinct items, sorted."""
        return np.sort(_project(self.vectors[:, self._eigenvectors(rng)], rng))

    def _eigenvectors(self, rng: np.random.Generator) -> Ints:
        uniform = rng.random(len(self.log_values))
        chosen = np.empty(self.k, dtype=np.int64)
        end = len(uniform)
        for wanted in range(self.k, 0, -1):
            end = int(np.flatnonzero(uniform[:end] < self._accept[wanted - 1, :end])[-1])
            chosen[wanted - 1] = end
        return chosen

    def inclusion(self) -> Floats:
        """Probability of each item to be in a draw, exact, shape (items,); sums to k.

        Leave-one-out polynomials come from prefix and suffix tables, never from a subtraction.
        """
        if self.k == 0:
            return np.zeros(len(self.vectors))
        before = self.log_e[:-1, : self.k]
        after = log_esp(self.log_values[::-1], self.k)[::-1][1:, : self.k]
        without = np.logaddexp.reduce(before + after[:, ::-1], axis=1)
        included = np.asarray(self.vectors**2 @ np.exp(self.log_values + without - self.log_normaliser))
        return np.asarray(included * (self.k / included.sum()))  # the logarithms carry 1e-12 of rounding


def _spectrum(L: Floats) -> tuple[Floats, Floats]:
    if L.ndim != 2 or L.shape[0] != L.shape[1]:
        raise ValueError(f"A kernel is square, got shape {L.shape}.")
    if not np.isfinite(L).all():
        raise ValueError("The kernel contains NaN or infinity.")
    size = float(np.abs(L).max(initial=0.0))
    if not np.allclose(L, L.T, rtol=0.0, atol=1e-8 * size):
        raise ValueError("The kernel is not symmetric.")
    values, vectors = np.linalg.eigh((L + L.T) / 2)
    if len(values) and values[0] < -1e-8 * max(values[-1], 0.0) - np.finfo(float).tiny:
        raise ValueError(f"The kernel is not positive semidefinite: its smallest eigenvalue is {values[0]:.3g}.")
    return np.maximum(values, 0.0), vectors


def _project(basis: Floats, rng: np.random.Generator) -> Ints:
    """A draw of the projection DPP onto the span of orthonormal columns, shape (items, k)."""
    items, k = basis.shape
    rows = np.zeros((k, items))
    weight = np.einsum("ij,ij->i", basis, basis)
    chosen = np.empty(k, dtype=np.int64)
    for step in range(k):
        cumulative = np.cumsum(weight)
        pick = min(int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right")), items - 1)
        chosen[step] = pick
        row = (basis @ basis[pick] - rows[:step, pick] @ rows[:step]) / np.sqrt(weight[pick])
        rows[step] = row
        weight = np.maximum(weight - row**2, 0.0)
        weight[chosen[: step + 1]] = 0.0
    return chosen
