"""From a run's arrays to the figures of its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from rulesel.algorithms.keyed import hashed
from rulesel.reporting.run import Run
from rulesel.reporting.run_figures import (
    Agreement,
    Baseline,
    Distribution,
    Drift,
    Group,
    Row,
    RuleShift,
    RunFigures,
    Share,
)
from rulesel.rules.audit_figures import Estimate

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SHOWN = 10
"""Rows shown of each kind."""
BINS = 30
"""Most bars of a histogram; a small selection gets fewer, so that its shape can be seen."""
DRAWS = 200
"""Random selections of the baseline."""
SOURCES = 12
"""Sources listed by name; the rest are added up."""
EXCERPT = 600


def measure(run: Run) -> RunFigures:
    """Compute every figure of a run's report.

    Raises:
        ValueError: arrays of different lengths.
    """
    n = len(run.scores)
    for what, column in (
        ("ratings", run.ratings),
        ("lengths", run.lengths),
        ("ids", run.ids),
        ("sources", run.sources),
        ("flaws", run.flaws),
    ):
        if column is not None and len(column) != n:
            raise ValueError(f"{what} has {len(column)} rows, but there are {n} scores.")
    scored = ~np.isnan(run.scores)
    picked = np.zeros(n, dtype=bool)
    picked[run.selected] = True
    dispute = None if run.ratings is None else _dispute(run.ratings)
    best, worst, disputed = _rows(run, dispute)
    lost = int((~scored & ~picked).sum())
    return RunFigures(
        corpus=run.corpus,
        domain=run.domain,
        judge=run.judge,
        method=run.method,
        seed=run.seed,
        rows=n,
        selected=len(run.selected),
        not_selected=n - len(run.selected) - lost,
        failed=lost,
        scores=_distribution(run.scores, {"corpus": scored, "selected": picked & scored}),
        baselines=_baselines(run, scored),
        flaws=_shares([flaw or "sound" for flaw in run.flaws], picked, None) if run.flaws is not None else [],
        rules=_shifts(run, picked),
        drift=_drift(run, picked),
        agreement=[_agreement(name, *pair) for name, pair in run.again.items()],
        trust=list(run.trust),
        best=best,
        worst=worst,
        disputed=disputed,
        tied=run.tied,
        failures=dict(run.failures),
        stages=list(run.stages),
        audit=run.audit,
    )


def _distribution(values: Floats, groups: Mapping[str, npt.NDArray[np.bool_]]) -> Distribution | None:
    known = values[np.isfinite(values)]
    if len(known) == 0 or np.ptp(known) == 0:
        return None
    edges = np.linspace(known.min(), known.max(), _bins(min(int(rows.sum()) for rows in groups.values())) + 1)
    counts = {name: np.histogram(values[rows & np.isfinite(values)], edges)[0] for name, rows in groups.items()}
    return Distribution(
        edges=edges.tolist(), groups=[Group(name=name, counts=found.tolist()) for name, found in counts.items()]
    )


def _bins(rows: int) -> int:
    return int(np.clip(round(2 * np.sqrt(rows)), 8, BINS))


def _baselines(run: Run, scored: npt.NDArray[np.bool_]) -> list[Baseline]:
    n, k = len(run.scores), len(run.selected)
    order = np.argsort(hashed(n if run.ids is None else run.ids, run.seed), kind="stable")
    rng = np.random.default_rng(run.seed)
    pool = order[scored[order]] if scored.sum() >= k else order
    guesses = [rng.choice(pool, k, replace=False) for _ in range(DRAWS)] if k else []
    found = [_baseline("selected", [run.selected], run)]
    if guesses:
        found.append(_baseline("random", guesses, run))
    if run.lengths is not None and k:
        found.append(_baseline("longest", [np.argsort(-run.lengths, kind="stable")[:k]], run))
    return [*found, _baseline("all", [np.arange(n)], run)]


def _baseline(name: str, sets: Sequence[Ints], run: Run) -> Baseline:
    flawed = None if run.flaws is None else np.array([flaw is not None for flaw in run.flaws])
    picked = np.zeros(len(run.scores), dtype=bool)
    picked[run.selected] = True
    return Baseline.model_validate(
        {
            "name": name,
            "rows": len(sets[0]),
            "score": _spread([_mean(run.scores[rows]) for rows in sets]),
            "length": None if run.lengths is None else _spread([_mean(run.lengths[rows]) for rows in sets]),
            "overlap": None
            if name in ("selected", "all") or not picked.any()
            else _spread([float(picked[rows].sum() / picked.sum()) for rows in sets]),
            "flawed": None if flawed is None else _spread([float(flawed[rows].sum()) for rows in sets]),
        }
    )


def _shifts(run: Run, picked: npt.NDArray[np.bool_]) -> list[RuleShift]:
    if run.ratings is None:
        return []
    found = []
    for name, column in zip(run.names, run.ratings.T.astype(np.float64), strict=True):
        everywhere, here, spread = (
            _mean(column),
            _mean(column[picked]),
            float(np.nanstd(column)) if len(column) else 0.0,
        )
        known = np.isfinite(everywhere) and np.isfinite(here)
        found.append(
            RuleShift(
                name=name,
                all=_number(everywhere),
                selected=_number(here),
                shift=(here - everywhere) / spread if known and spread > 0 else None,
                failed=int(np.isnan(column).sum()),
            )
        )
    return found


def _drift(run: Run, picked: npt.NDArray[np.bool_]) -> Drift:
    sources = [] if run.sources is None else _shares(list(run.sources), picked, SOURCES)
    if run.lengths is None or not picked.any():
        return Drift(lengths=None, length_quantiles={}, length_shift=None, sources=sources)
    logs = np.log10(np.maximum(run.lengths, 1.0))
    everywhere = np.ones(len(logs), dtype=bool)
    spread = float(logs.std())
    groups = {"corpus": everywhere, "selected": picked}
    return Drift(
        lengths=_distribution(logs, groups),
        length_quantiles={
            name: np.quantile(run.lengths[rows], (0.1, 0.5, 0.9)).tolist() for name, rows in groups.items()
        },
        length_shift=float(logs[picked].mean() - logs.mean()) / spread if spread > 0 else None,
        sources=sources,
    )


def _shares(values: Sequence[str], picked: npt.NDArray[np.bool_], limit: int | None) -> list[Share]:
    everywhere = Counter(values)
    here = Counter(value for value, taken in zip(values, picked.tolist(), strict=True) if taken)
    ranked = sorted(everywhere, key=lambda value: (-everywhere[value], value))
    listed, rest = ranked[:limit], ranked[limit:] if limit else []
    shares = [Share(value=value, all=everywhere[value], selected=here[value]) for value in listed]
    if rest:
        others = Share(
            value=f"{len(rest)} others",
            all=sum(everywhere[value] for value in rest),
            selected=sum(here[value] for value in rest),
        )
        shares.append(others)
    return shares


def _dispute(ratings: npt.NDArray[np.floating]) -> Floats:
    """Standard deviation of each row's z-scored ratings, NaN with fewer than two of them, shape (n,)."""
    here = ~np.isnan(ratings)
    values = np.where(here, ratings, 0.0).astype(np.float64)
    count = np.maximum(here.sum(axis=0), 1)
    centred = np.where(here, values - values.sum(axis=0) / count, 0.0)
    spread = np.sqrt((centred**2).sum(axis=0) / count)
    z = centred / np.where(spread > 0, spread, np.inf)
    each = here.sum(axis=1)
    mean = z.sum(axis=1) / np.maximum(each, 1)
    squares = np.where(here, (z - mean[:, None]) ** 2, 0.0).sum(axis=1)
    return np.asarray(np.where(each > 1, np.sqrt(squares / np.maximum(each, 1)), np.nan))


def _rows(run: Run, dispute: Floats | None) -> tuple[list[Row], list[Row], list[Row]]:
    rank = {int(row): at + 1 for at, row in enumerate(run.selected)}
    scored = np.flatnonzero(~np.isnan(run.scores))
    order = scored[np.argsort(-run.scores[scored], kind="stable")]
    best, worst = order[:SHOWN].tolist(), order[::-1][:SHOWN].tolist()
    disputed: list[int] = []
    if dispute is not None:
        known = np.flatnonzero(~np.isnan(dispute))
        disputed = known[np.argsort(-dispute[known], kind="stable")][:SHOWN].tolist()
    wanted = sorted({*best, *worst, *disputed})
    texts = {} if run.texts is None else dict(zip(wanted, run.texts(wanted), strict=True))

    def shown(row: int) -> Row:
        text = texts.get(row)
        if text is not None and len(text) > EXCERPT:
            text = text[: EXCERPT - 1] + "…"
        return Row(
            row=row,
            id=str(row) if run.ids is None else run.ids[row],
            rank=rank.get(row),
            score=_number(run.scores[row]),
            dispute=None if dispute is None else _number(dispute[row]),
            text=text,
        )

    return [shown(row) for row in best], [shown(row) for row in worst], [shown(row) for row in disputed]


def _agreement(name: str, first: Floats, second: Floats) -> Agreement:
    both = ~(np.isnan(first) | np.isnan(second))
    a, b = first[both], second[both]
    if len(a) < 5 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return Agreement(name=name, rows=len(a), correlation=None)
    r = float(np.corrcoef(a, b)[0, 1])
    centre, half = np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12)), 1.96 / np.sqrt(len(a) - 3)
    low, high = min(float(np.tanh(centre - half)), r), max(float(np.tanh(centre + half)), r)
    return Agreement(name=name, rows=len(a), correlation=Estimate(value=r, low=low, high=high))


def _spread(values: Sequence[float]) -> Estimate | None:
    known = [value for value in values if np.isfinite(value)]
    if not known:
        return None
    if len(values) == 1:
        return Estimate(value=known[0])
    low, high = np.quantile(known, (0.025, 0.975)).tolist()
    return Estimate(value=float(np.mean(known)), low=low, high=high)


def _mean(values: npt.NDArray[np.floating]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
