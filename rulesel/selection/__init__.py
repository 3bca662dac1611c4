"""Selectors: which k rows of a pool, best first. One file here is one method, its name the method's."""

from rulesel.selection._combinators import choose, take
from rulesel.selection._contract import Pool, Selector

__all__ = ["Pool", "Selector", "choose", "take"]
