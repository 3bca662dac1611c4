"""Tables in Markdown and JSON, and plots: figures only."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np

from evals.rule_choice.arms import BASE, EXPLAINED, WHOLE
from evals.rule_choice.experiment import Estimate, Tally, estimate, over_splits, stability
from evals.rule_choice.folders import Folder

DIFFERENCES = (
    ("rulesel+anchor", "all"),
    ("rulesel+anchor", "paper"),
    ("rulesel+anchor", "random"),
    ("rulesel+anchor", "top+anchor"),
    ("rulesel+anchor", "top-correlation"),
    ("rulesel+anchor", "overall"),
    ("rulesel+anchor", "all, decorrelated"),
    ("rulesel", "all"),
    ("rulesel", "paper"),
    ("rulesel", "random"),
    ("rulesel", "top"),
    ("rulesel+both", "rulesel+anchor"),
    ("rulesel+reliability", "rulesel"),
    ("rulesel+anchor", "linear+anchor"),
    ("rulesel+anchor", "square+anchor"),
    ("rulesel+anchor", "no-spread+anchor"),
    ("anchor, fitted", "rulesel+anchor"),
    ("paper", "random"),
)
"""Pairs of arms whose difference is tabled, ours first."""

PLOTTED = ("random", "paper", "map-correlation", "rulesel", "rulesel+anchor", "top-correlation", "all", "overall")


def write(
    out: Path, folders: list[Folder], tally: Tally, planted: dict[str, dict[str, dict[str, float]]],
    sizes: tuple[int, ...], splits: int,
) -> None:  # fmt: skip
    """Write rule_choice.md, rule_choice.json and the plots."""
    out.mkdir(parents=True, exist_ok=True)
    values = {key: over_splits(per_split) for key, per_split in tally.quality.items()}
    names = [folder.name for folder in folders]
    text = [head(folders, splits)]
    for r in sizes:
        text += [f"\n## r = {r}\n", quality_table(values, names, r), "", difference_table(values, names, r)]
    text += ["\n## What the choice looks like at r = 5\n", figure_table(tally, folders, 5)]
    text += [
        "\n## Against pairwise comparisons (Spearman with Bradley-Terry strengths), r = 5\n",
        strength_table(tally, names),
    ]
    text += ["\n## The published measures\n", published_table(tally, names, sizes)]
    text += ["\n## Planted ratings, r = 10\n", planted_table(planted)]
    if tally.failed:
        text.append("\nLeft out: " + "; ".join(f"{why} ({count})" for why, count in sorted(tally.failed.items())))
    (out / "rule_choice.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    (out / "rule_choice.json").write_text(
        json.dumps(machine(values, tally, planted, splits), indent=1), encoding="utf-8"
    )
    plots(out, values, tally, names, sizes)


def head(folders: list[Folder], splits: int) -> str:
    sets = "; ".join(
        f"{f.name} ({len(f.S)} examples, {f.S.shape[1]} rules, {'AUC' if f.binary else 'Spearman'})" for f in folders
    )
    return f"""# Which way of choosing rules is best

`python -m evals.rule_choice {" ".join(f.name for f in folders)} --splits {splits}` (each name a ratings folder)

Sets: {sets}. Each is split {splits} times into two halves of its examples; every arm sees the ratings of one half
(and, where it says so, 30 of its overall grades or its re-rated rows), and its score is judged against outside truth
on the other. A cell is the mean over splits; brackets hold its 95 % interval over 400 bootstrap resamples of the
examples, the same for all arms, with the rules as they were chosen. Differences are paired. Sets weigh the same in
the mean. Intervals tell how far a figure holds for other examples of these sets, not for other sets.
"""


def mean_of(values: dict, names: list[str], r: int, arm: str) -> np.ndarray | None:
    parts = [values[name, r, arm] for name in names if (name, r, arm) in values]
    return np.mean(parts, axis=0) if len(parts) == len(names) else None


def show(found: Estimate, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{found.mean:{sign}.3f} [{found.low:{sign}.3f}, {found.high:{sign}.3f}]"


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def quality_table(values: dict, names: list[str], r: int) -> str:
    rows = []
    for arm, meaning in BASE:
        cells = [show(estimate(values[name, r, arm])) if (name, r, arm) in values else "–" for name in names]
        if set(cells) != {"–"}:
            whole = mean_of(values, names, r, arm)
            rows.append([arm, *cells, "–" if whole is None else show(estimate(whole)), meaning])
    return table(["arm", *names, "mean", "what it is"], rows)


def difference_table(values: dict, names: list[str], r: int) -> str:
    rows = []
    for ours, other in DIFFERENCES:
        a, b = mean_of(values, names, r, ours), mean_of(values, names, r, other)
        if a is None or b is None:
            continue
        cells = [show(estimate(values[name, r, ours] - values[name, r, other]), signed=True) for name in names]
        found = estimate(a - b)
        verdict = ("better" if found.mean > 0 else "worse") if found.clear else "not distinguishable"
        rows.append([f"{ours} − {other}", *cells, show(found, signed=True), verdict])
    return table(["difference", *names, "mean", "verdict on the mean"], rows)


def figure_table(tally: Tally, folders: list[Folder], r: int) -> str:
    rows = []
    for arm, _ in BASE:
        cells = []
        for folder in folders:
            key = (folder.name, r, arm)
            if key not in tally.figures or arm in WHOLE:
                break
            mean = {name: np.mean([f[name] for f in tally.figures[key]]) for name in ("rms", "pairs", "coverage")}
            same = stability(tally, key, folder.S.shape[1])
            cells += [f"{mean['rms']:.2f}", f"{mean['pairs']:.2f}", f"{mean['coverage']:.2f}", f"{same:.2f}"]
        if len(cells) == 4 * len(folders):
            rows.append([arm, *cells])
    header = [f"{f.name}: {what}" for f in folders for what in ("rms c", "pairs > .8", "coverage", "stability")]
    note = (
        "\nrms c: root mean square correlation of the chosen on the choosing half. pairs > .8 and coverage (mean R² of "
        "the rules left out given the chosen) on all examples. stability: Nogueira's, of the sets over the splits."
    )
    return table(["arm", *header], rows) + "\n" + note


def strength_table(tally: Tally, names: list[str]) -> str:
    values = {key: over_splits(per_split) for key, per_split in tally.strength.items()}
    rows = []
    for arm, _ in BASE:
        if arm != "oracle" and all((name, 5, arm) in values for name in names):
            rows.append([arm, *(show(estimate(values[name, 5, arm])) for name in names)])
    return table(["arm", *names], rows)


def published_table(tally: Tally, names: list[str], sizes: tuple[int, ...]) -> str:
    rows = []
    for name in names:
        for r in sizes:
            points = np.array(tally.rho_error[name, r])
            link = np.corrcoef(points.T)[0, 1] if len(points) else float("nan")
            wins = [f"{np.mean(tally.winning[name, r, arm]):.2f}" for arm in ("paper", "rulesel", "rulesel+anchor")]
            rho = [
                f"{np.mean([f['rho'] for f in tally.figures[name, r, arm]]):.3f}"
                for arm in ("random", "paper", "rulesel")
            ]
            rows.append([name, str(r), *rho, f"{link:+.2f}", *wins])
    note = (
        "\nrho: rule correlation ||C − I||_F / r. link: correlation of rho with the error over random subsets of a split. "
        "winning rate: chance that the arm's affine-calibrated squared error is below a random subset's."
    )
    header = [
        "set",
        "r",
        "rho random",
        "rho paper",
        "rho rulesel",
        "link",
        "wins paper",
        "wins rulesel",
        "wins +anchor",
    ]
    return table(header, rows) + "\n" + note


def planted_table(planted: dict[str, dict[str, dict[str, float]]]) -> str:
    text = [
        "50 rules measure 12 qualities; 5 are noise, 3 constant or nearly, 4 reversed, 2 near-copies; 5 % of the ratings "
        "fail at random, and a fifth of those of the worst tenth. Truth is the mean quality; the anchor is a noisy grade "
        "of 30 examples."
    ]
    for name, arms in planted.items():
        rows = [
            [
                arm,
                f"{f['qualities']:.1f}",
                f"{f['noise']:.1f}",
                f"{f['constant']:.1f}",
                f"{f['reversed']:.1f}",
                f"{f['reversed_dropped']:.1f}",
                f"{f['truth']:.2f}",
                f"{f['rms']:.2f}",
            ]
            for arm, f in arms.items()
        ]
        header = [
            "arm",
            "qualities of 10",
            "noise",
            "constant",
            "reversed",
            "reversed caught of 4",
            "r with truth",
            "rms c",
        ]
        text += [f"\n{name}\n", table(header, rows)]
    return "\n".join(text)


def machine(values: dict, tally: Tally, planted: dict, splits: int) -> dict:
    """The same figures for programs."""
    cells = []
    for (name, r, arm), found in values.items():
        key = (name, r, arm)
        row = {"set": name, "r": r, "arm": arm, **dataclasses.asdict(estimate(found))}
        if key in tally.figures:
            row |= {what: float(np.mean([f[what] for f in tally.figures[key]])) for what in tally.figures[key][0]}
        cells.append(row)
    return {"splits": splits, "arms": EXPLAINED, "cells": cells, "planted": planted, "left_out": dict(tally.failed)}


def rounded(value: object) -> object:
    """The same with four decimals."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return round(value, 4) if isinstance(value, float) else value


def plots(out: Path, values: dict, tally: Tally, names: list[str], sizes: tuple[int, ...]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    arms = [arm for arm, _ in BASE if mean_of(values, names, 5, arm) is not None]
    figure, axes = plt.subplots(1, len(names) + 1, figsize=(5 * (len(names) + 1), 0.32 * len(arms) + 1.2), sharey=True)
    for axis, name in zip(axes, [*names, "mean"], strict=True):
        for place, arm in enumerate(reversed(arms)):
            found = estimate(mean_of(values, names, 5, arm) if name == "mean" else values[name, 5, arm])
            colour = "#b2182b" if arm.startswith("rulesel") else "#999999" if arm == "oracle" else "#2166ac"
            axis.plot([found.low, found.high], [place, place], color=colour, lw=1.5)
            axis.plot(found.mean, place, "o", color=colour, ms=5)
        axis.set_title(f"{name}, r = 5")
        axis.set_yticks(range(len(arms)), list(reversed(arms)))
        axis.grid(axis="x", alpha=0.3)
    save(figure, out / "rule_choice_arms.png")

    figure, axes = plt.subplots(1, len(names), figsize=(5 * len(names), 3.6), squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        for arm in PLOTTED:
            known = [r for r in sizes if (name, r, arm) in values]
            heights = [values[name, r, arm][0] for r in known]
            axis.plot(known, heights, "o-", label=arm, lw=2.5 if "rulesel" in arm else 1.2)
        axis.set_title(name)
        axis.set_xlabel("rules chosen")
        axis.set_xticks(sizes)
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("mean over splits")
    axes[0][-1].legend(fontsize=7)
    save(figure, out / "rule_choice_sizes.png")

    figure, axes = plt.subplots(1, len(names), figsize=(4 * len(names), 3.4), squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        points = np.array(tally.rho_error[name, 5])[:4000]
        axis.plot(points[:, 0], points[:, 1], ".", ms=2, alpha=0.4, color="#2166ac")
        axis.set_title(f"{name}: random subsets of 5")
        axis.set_xlabel("rule correlation rho (less the split's mean)")
    axes[0][0].set_ylabel("calibrated squared error")
    save(figure, out / "rule_choice_rho.png")


def save(figure: object, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
