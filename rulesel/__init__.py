"""Choose the examples a language model is fine-tuned on: independent rules, every score kept, picks one can defend.

The names below are the array interface: no store, no model, no file. They are imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rulesel.algorithms.bradley_terry import bradley_terry
    from rulesel.evaluation.diversity import diversity
    from rulesel.records import Selection
    from rulesel.rules.choice import RuleChoice
    from rulesel.rules.choose import choose_rules
    from rulesel.selection._pick import pick

__all__ = ["RuleChoice", "Selection", "bradley_terry", "choose_rules", "diversity", "pick"]

_HOMES = {
    "RuleChoice": "rulesel.rules.choice",
    "Selection": "rulesel.records",
    "bradley_terry": "rulesel.algorithms.bradley_terry",
    "choose_rules": "rulesel.rules.choose",
    "diversity": "rulesel.evaluation.diversity",
    "pick": "rulesel.selection._pick",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public name
    if name == "__version__":
        from importlib.metadata import version

        return version("rulesel")
    if name not in _HOMES:
        raise AttributeError(f"module 'rulesel' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
