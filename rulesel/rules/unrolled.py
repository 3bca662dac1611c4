"""How large the patterns of an expression grow when counted repetitions are written out.

Matching takes at most time in proportion to the text times that size, so a bound on one bounds the other: nested counts
are what makes a pattern slow where none can explode.
"""

from __future__ import annotations

import re

MOST_COPIES = 500
"""Copies a proposed expression may make: about a seventh of a second for a text of 10,000 characters at worst."""

_CONSTANT = re.compile(r"'((?:[^']|'')*)'|\$(\w*)\$(.*?)\$\2\$", re.DOTALL)
_TOKEN = re.compile(
    r"""\\.                                # an escape
      | \[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]     # a class
      | \(\?[^:)]*[:)]|\(                   # a group
      | \{(\d+)(,?)(\d*)\}                  # a counted repetition
      | .""",
    re.VERBOSE | re.DOTALL,
)


def copies(sql: str) -> int:
    """How many copies of parts of its constant patterns an expression makes; 0 where no repetition is counted."""
    return sum(_of_pattern(match[1] or match[3] or "") for match in _CONSTANT.finditer(sql))


def _of_pattern(pattern: str) -> int:
    made = 0
    sizes = [0]  # of the groups that are open, the innermost last
    atom = 0  # size of what a repetition would repeat
    for token in _TOKEN.finditer(pattern):
        text = token[0]
        if token[1] is not None:
            times = max(int(token[1]), int(token[3] or 0))
            made += max(0, times - 1) * atom
            sizes[-1] += max(0, times - 1) * atom
            atom *= max(1, times)
        elif text == ")" and len(sizes) > 1:
            atom = sizes.pop()
            sizes[-1] += atom
        elif text[0] == "(" and text[-1] != ")":
            sizes.append(0)
            atom = 0
        elif text not in {"*", "+", "?", "|", "^", "$"}:
            atom = 1
            sizes[-1] += 1
    return made
