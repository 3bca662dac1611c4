"""Rules whose degree can be computed from the text: a judge reads a sample, and an expression the whole corpus.

The writer of a rule may propose an expression. It stands in for the judge only if it ranks the sample as the judge
does; then the rule costs nothing on the corpus.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rulesel.algorithms.agreement import Estimate, bootstrap, spearman
from rulesel.records import Float32, Rule, RuleSet

LEAST = 0.6
"""Lower end of the interval of Spearman's rho from which an expression may stand in for the judge."""
FEWEST = 30
"""Examples that both must have rated."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What became of one proposal.

    Attributes:
        rule: the rule, with its expression exactly if that is kept.
        agreement: Spearman's rho with the judge, None if it could not be computed.
        why: why the expression is not kept, None if it is.
    """

    rule: Rule
    agreement: Estimate | None
    why: str | None


def without_sql(rules: RuleSet) -> tuple[RuleSet, dict[str, str]]:
    """The rules as a judge rates them, and the proposals by rule id.

    A rule's id covers its expression; taking a proposal away later would make the judge's ratings stale.
    """
    bare = [rule.model_copy(update={"sql": None}) for rule in rules.rules]
    proposals = {b.id: rule.sql for b, rule in zip(bare, rules.rules, strict=True) if rule.sql is not None}
    return rules.model_copy(update={"rules": tuple(bare)}), proposals


def measured(
    rules: Sequence[Rule],
    proposals: Mapping[str, str],
    refused: Mapping[str, str],
    judged: Float32,
    computed: Float32,
    *,
    least: float = LEAST,
    seed: int = 0,
) -> list[Measured]:
    """Decide on every proposal.

    Args:
        rules: R rules without expressions.
        proposals: expressions by rule id.
        refused: why the embedded rater does not run an expression, by rule id.
        judged: (n, R) ratings of the sample by the judge, NaN where missing.
        computed: (n, R) ratings by the expressions, NaN where missing or not proposed.
        least: lower end of the interval an expression must reach.
        seed: of the bootstrap.
    """
    found = []
    for j, rule in enumerate(rules):
        if rule.id not in proposals:
            continue
        if rule.id in refused:
            found.append(Measured(rule, None, f"is refused: {refused[rule.id]}"))
            continue
        x, y = judged[:, j].astype(np.float64), computed[:, j].astype(np.float64)
        both = ~(np.isnan(x) | np.isnan(y))
        if both.sum() < FEWEST:
            found.append(Measured(rule, None, f"only {both.sum()} examples have both ratings"))
            continue
        rho = bootstrap(spearman, x[both], y[both], draws=300, seed=seed)
        shown = f"rho {rho.value:.2f} ({rho.low:.2f} to {rho.high:.2f})"
        if rho.low >= least:
            found.append(Measured(rule.model_copy(update={"sql": proposals[rule.id]}), rho, None))
        else:
            found.append(Measured(rule, rho, f"does not agree with the judge: {shown}"))
    return found
