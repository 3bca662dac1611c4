"""Whether a rater's numbers hang on circumstances: the order of its prompt, the company a prompt is rated in.

Long prompts are sensitive to the order of their parts (arXiv 2502.04134). Putting the document first is what makes a
local model fast; how much another order would change is measured here, rule by rule, instead of assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rulesel.algorithms.agreement import spearman
from rulesel.errors import UsageError
from rulesel.raters import Lent, Rater
from rulesel.records import Batch, Float32, Float64, Int64, Ratings, Rule, UInt8

RULE_FIRST = "rate_rule_first@1"
AGREES = 0.8
"""Below this rank correlation a rule's ratings depend on the order of the prompt."""
EXAMPLES = 200


@dataclass(frozen=True, slots=True)
class Order:
    """Ratings document first against ratings rule first, for R rules.

    Attributes:
        spearman: float64 (R,), rank correlation over the examples rated both ways; NaN where either is constant.
        shift: float64 (R,), mean rating rule first minus document first.
        n: int64 (R,), examples rated both ways.
    """

    spearman: Float64
    shift: Float64
    n: Int64

    def doubtful(self) -> list[int]:
        """Rules whose ranks agree by less than `AGREES`, or cannot be compared."""
        return np.flatnonzero(~(self.spearman >= AGREES)).tolist()


@dataclass(frozen=True, slots=True)
class Drift:
    """What changes when the same cells are rated again in other company.

    Attributes:
        arms: what was done, in words.
        largest: largest difference to the first time, one number an arm; NaN if nothing was rated both times.
        flipped: cells whose status differs, one number an arm.
    """

    arms: tuple[str, ...]
    largest: tuple[float, ...]
    flipped: tuple[int, ...]


def order(rater: Rater, examples: Batch, rules: Sequence[Rule], lent: Lent) -> Order:
    """Rate with the rater's own prompt and with one that has the rule before the document.

    Args:
        rater: one that asks a model; rating rule first shares nothing and takes many times as long.
        examples: `EXAMPLES` or so, drawn at random.
        rules: the rules.
        lent: as for any rating.

    Raises:
        UsageError: the rater has no prompt.
    """
    if "prompt" not in type(rater).model_fields:
        raise UsageError(f"The rater {rater.name!r} has no prompt whose order could be changed.")
    (usual,) = rater.rate([examples], rules, lent)
    (other,) = rater.model_copy(update={"prompt": RULE_FIRST}).rate([examples], rules, lent)
    both = ~np.isnan(usual.values) & ~np.isnan(other.values)
    pairs = [(usual.values[both[:, j], j], other.values[both[:, j], j]) for j in range(len(rules))]
    return Order(
        np.array([spearman(a.astype(np.float64), b.astype(np.float64)) if len(a) > 2 else np.nan for a, b in pairs]),
        np.array([float((b - a).mean()) if len(a) else np.nan for a, b in pairs]),
        both.sum(axis=0).astype(np.int64),
    )


def drift(rater: Rater, examples: Batch, rules: Sequence[Rule], lent: Lent, *, chunk: int = 7) -> Drift:
    """Rate the same examples again: at once, a few at a time, in reverse order, rule by rule.

    An engine that is exact gives 0 everywhere; one whose arithmetic depends on the company a prompt is computed in
    (graphics processors) gives a little, which bounds what a difference between two ratings can mean.

    Args:
        rater: a rater whose answers are not kept anywhere else; a chat model's come from the ledger.
        examples: a few dozen.
        rules: the rules.
        lent: as for any rating.
        chunk: examples at a time.
    """
    (first,) = rater.rate([examples], rules, lent)
    (again,) = rater.rate([examples], rules, lent)
    few = _joined(
        list(rater.rate([_part(examples, at, at + chunk) for at in range(0, len(examples), chunk)], rules, lent))
    )
    backwards = Batch(examples.hashes[::-1], examples.prompts[::-1], examples.responses[::-1])
    (reverse,) = rater.rate([backwards], rules, lent)
    alone = [next(iter(rater.rate([examples], [rule], lent))) for rule in rules]
    arms = {
        "again, from the cache": (again.values, again.status),
        f"{chunk} examples at a time": few,
        "in reverse order": (reverse.values[::-1], reverse.status[::-1]),
        "one rule at a time": (np.hstack([r.values for r in alone]), np.hstack([r.status for r in alone])),
    }
    differences = [np.abs(values - first.values) for values, _ in arms.values()]
    return Drift(
        tuple(arms),
        tuple(float(np.nanmax(d)) if np.isfinite(d).any() else float("nan") for d in differences),
        tuple(int((status != first.status).sum()) for _, status in arms.values()),
    )


def _part(batch: Batch, start: int, stop: int) -> Batch:
    return Batch(batch.hashes[start:stop], batch.prompts[start:stop], batch.responses[start:stop])


def _joined(parts: list[Ratings]) -> tuple[Float32, UInt8]:
    return np.concatenate([r.values for r in parts]), np.concatenate([r.status for r in parts])
