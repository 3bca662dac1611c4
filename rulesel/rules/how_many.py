"""How many rules are worth rating, when nobody has said."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rulesel.algorithms.dpp import greedy_map
from rulesel.algorithms.moments import noise_edge

Floats = npt.NDArray[np.float64]

MIN_RESIDUAL = 0.6
"""A rule of which the earlier ones explain more than 40 % adds too little."""

MIN_WORTH = 0.1
"""A rule of less than a tenth of the first one's worth is there only because it is unlike the others."""

LEAST = 3
"""Fewest rules suggested: one judge call is noisy, and an average of three is not."""

CAP = 15
"""Most rules suggested: every further one is a call for each example of the corpus."""


def suggest(C: Floats, q: Floats, examples: int) -> dict[str, int]:
    """Number of rules by each criterion; `automatic` makes r of them.

    Args:
        C: correlations of the rules in the running, shape (R, R).
        q: their worth, shape (R,).
        examples: rows behind C.

    Returns:
        residual: rules that greedy takes before one has less than `MIN_RESIDUAL` of its variance left unexplained,
        or less worth than `MIN_WORTH` of the first's; eigenvalues: those above the noise edge; effective: exp of the
        entropy of the spectrum; participation: (sum l)^2 / sum l^2. The last two are upper bounds.
    """
    values = np.maximum(np.linalg.eigvalsh(C), 0.0)
    share = values[values > 0] / values.sum()
    order, _ = greedy_map(C * np.outer(q, q), min(CAP + 1, len(C)))
    left = residual_variance(C, order)
    weak = (left < MIN_RESIDUAL) | (q[order] < MIN_WORTH * q[order[0]])
    return {
        "residual": int(np.argmax(weak)) if weak.any() else len(order),
        "eigenvalues": int((values > noise_edge(len(C), examples)).sum()),
        "effective": round(float(np.exp(-(share * np.log(share)).sum()))),
        "participation": round(float(1 / (share**2).sum())),
    }


def automatic(suggested: dict[str, int], usable: int) -> int:
    """The r that "auto" stands for: criterion "residual", between `LEAST` and `CAP`."""
    return min(max(suggested["residual"], LEAST), CAP, usable)


def residual_variance(C: Floats, order: npt.ArrayLike) -> Floats:
    """1 - R^2 of each rule given those before it in the order, in [0, 1], shape (len(order),)."""
    rows = np.asarray(order, dtype=np.int64)
    inner = C[np.ix_(rows, rows)]
    left = np.diagonal(inner).copy()
    basis = np.zeros_like(inner)
    for place in range(len(rows)):  # a Cholesky factor that goes on past dependent rules
        if left[place] > 1e-10:
            basis[place] = (inner[place] - basis[:place, place] @ basis[:place]) / np.sqrt(left[place])
            left[place + 1 :] -= basis[place, place + 1 :] ** 2
    return np.asarray(np.clip(left, 0.0, 1.0))
