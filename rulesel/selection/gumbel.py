"""Sampling without replacement in proportion to exp(score / tau): good rows, not only the top."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from typing_extensions import override

from rulesel.algorithms.gumbel import NO_INFLUENCE, auto_tau, effective_share, gumbel_keys
from rulesel.records import Selection
from rulesel.selection._contract import Pool, Selector
from rulesel.selection._ranking import by_key


class Gumbel(Selector):
    """Plackett-Luce sample by hash-keyed Gumbel perturbation; keys are the perturbed scores.

    `tau` is in units of the quality's standard deviation: 0 is exactly `top_k`, inf uniform. "auto" takes the tau at
    which the effective number of rows is twice k, from a third of the pool on halfway between k and all. A draw on
    which the qualities have next to no influence says so in its report.
    """

    name: ClassVar[str] = "gumbel"
    summary: ClassVar[str] = "good rows with some spread; the orthogonal-rules paper samples this way"
    source: ClassVar[str] = "Kool et al. 2019, arXiv 1903.06059; used by arXiv 2410.04715"
    cost: ClassVar[str] = "n"
    reads: ClassVar[tuple[str, ...]] = ("quality",)

    tau: Annotated[float, Field(ge=0)] | Literal["auto"] = "auto"

    @override
    def select(self, pool: Pool, k: int, seed: int) -> Selection:
        quality = pool.need("quality").copy()
        quality[pool.given] = np.nan
        if not (~np.isnan(quality)).any():
            return by_key(pool, quality, k)
        tau = auto_tau(quality, max(k, 1)).tau if self.tau == "auto" else float(self.tau)
        keys = gumbel_keys(quality, tau, ids=pool.ids, seed=seed)
        share = effective_share(quality, tau)
        report: dict[str, Any] = {"tau": tau, "effective_share": share}
        if share > NO_INFLUENCE and 0 < k < int((~np.isnan(quality)).sum()):
            why = "all qualities are equal" if math.isinf(tau) and self.tau == "auto" else f"tau is {tau:g}"
            report["warnings"] = [f"the draw is uniform, or nearly so: quality has no influence on it ({why})"]
        return by_key(pool, keys, k, **report)
