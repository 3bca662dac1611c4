"""Selectors: which k rows of a pool, best first. One file here is one method, its name the method's."""

from rulesel.selection._combinators import choose
from rulesel.selection._contract import Pool, Selector
from rulesel.selection._offer import take

__all__ = ["Pool", "Selector", "choose", "take"]
