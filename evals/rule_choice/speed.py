"""Time and memory of rule choice and of its audit on 500 rules and 100 000 examples with 10 % missing.

python -m evals.rule_choice.speed [--rules 500] [--examples 100000]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time

import numpy as np

from rulesel import choose_rules
from rulesel.algorithms.moments import moments, nearest_correlation
from rulesel.reporting.audit_page import audit_page
from rulesel.rules.audit import audit_rules
from rulesel.rules.ratings_file import named_rules


def ratings(examples: int, rules: int, seed: int = 0) -> np.ndarray:
    """Integers 0 to 10 with gaps, float32: 40 qualities with a common part."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(examples, 40)).astype(np.float32)
    latent += 0.5 * rng.normal(size=(examples, 1)).astype(np.float32)
    S = np.empty((examples, rules), dtype=np.float32)
    for j in range(rules):
        S[:, j] = np.clip(np.round(5 + 1.5 * latent[:, j % 40] + rng.normal(size=examples)), 0, 10)
        S[rng.random(examples) < 0.1, j] = np.nan
    return S


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", type=int, default=500)
    parser.add_argument("--examples", type=int, default=100_000)
    options = parser.parse_args()
    S = ratings(options.examples, options.rules)
    found: dict[str, float | int] = {"rules": options.rules, "examples": options.examples}

    began = time.perf_counter()
    nearest_correlation(moments(S).correlation())
    found["moments_s"] = round(time.perf_counter() - began, 2)
    began = time.perf_counter()
    choice = choose_rules(S, 10)
    found["moments_and_choice_of_10_s"] = round(time.perf_counter() - began, 2)
    began = time.perf_counter()
    rules = named_rules([f"rule {j + 1}" for j in range(options.rules)], origin="made up")
    figures = audit_rules(rules, S, choice, choose=lambda rows: choose_rules(S[rows], 10))
    found["all_audit_figures_s"] = round(time.perf_counter() - began, 2)
    if figures.bootstrap is not None:
        found["resamples"] = figures.bootstrap.repeats
    began = time.perf_counter()
    found["page_mb"] = round(len(audit_page(figures).encode()) / 1e6, 2)
    found["page_s"] = round(time.perf_counter() - began, 2)
    found["peak_gib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    found["ratings_gib"] = round(S.nbytes / 2**30, 2)
    found["load_average"] = round(os.getloadavg()[0], 1)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
