"""What is known of a run when its report is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from rulesel.reporting.run_figures import Stage, Trust
from rulesel.rules.audit_figures import AuditFigures

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What is known of a run over n rows with r chosen rules.

    Attributes:
        scores: shape (n,), higher is better, NaN where a row has none.
        selected: rows, best first, shape (k,).
        ratings: of the chosen rules, higher is better, NaN where missing, shape (n, r); None without rules.
        names: of the r rules.
        lengths: characters of each row, shape (n,).
        ids: of each row; None takes the row numbers.
        texts: gives the texts of rows; called once.
        sources: where each row comes from.
        flaws: the known flaw of each row, None for a sound one.
        again: name -> two ratings of the same rows, each of shape (m,).
        tied: picks decided by a tie at the cut.
        failures: failed ratings by kind.
        stages: what each stage cost.
        audit: figures of the choice of rules.
        trust: checks of the judge.
    """

    corpus: str
    scores: Floats
    selected: Ints
    method: str
    domain: str = ""
    judge: str = ""
    seed: int = 0
    ratings: npt.NDArray[np.floating] | None = None
    names: Sequence[str] = ()
    lengths: Floats | None = None
    ids: Sequence[str] | None = None
    texts: Callable[[Sequence[int]], Sequence[str]] | None = None
    sources: Sequence[str] | None = None
    flaws: Sequence[str | None] | None = None
    again: Mapping[str, tuple[Floats, Floats]] = field(default_factory=dict)
    tied: int | None = None
    failures: Mapping[str, int] = field(default_factory=dict)
    stages: Sequence[Stage] = ()
    audit: AuditFigures | None = None
    trust: Sequence[Trust] = ()
