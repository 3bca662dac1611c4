"""Diversity of the words of a text. All take the tokens of one document; higher is more diverse; NaN is "cannot say".

TTR     types / tokens. It falls with the length of a text, so texts are compared on the same number of tokens.
vocd-D  D of the curve TTR(n) = (D / n) (sqrt(1 + 2 n / D) - 1) through the expected TTR of random samples of 35..50
        tokens (D. Malvern et al., "Lexical Diversity and Language Development", 2004). The samples are not drawn: their
        expectation is a hypergeometric sum (P. McCarthy and S. Jarvis, "vocd: a theoretical and empirical evaluation",
        2007).
MTLD    mean number of tokens it takes the running TTR to fall to .72, forwards and backwards (P. McCarthy and
        S. Jarvis, "MTLD, vocd-D, and HD-D", 2010).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np

from rulesel.algorithms.greedy import FloatArray

Tokens = Sequence[Hashable]

SIZES = np.arange(35, 51)
"""Sizes of the samples of vocd-D."""
THRESHOLD = 0.72
"""TTR at which MTLD counts a factor."""

_ALONE = "\u3041-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_UNSPACED = "\u0e01-\u0e4e\u0e81-\u0ece\u1000-\u1049\u1780-\u17d3"
_MARKS = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0963\u0966-\u0dff"
_LETTERS = rf"(?:(?![{_ALONE}{_UNSPACED}])(?:[^\W_]|[{_MARKS}]))+"
_WORD = re.compile(rf"[{_ALONE}]|[{_UNSPACED}]{{1,4}}|{_LETTERS}(?:['’]{_LETTERS})*")


def words(text: str) -> list[str]:
    """Words and numbers of a text in lower case.

    A Han or Hiragana character is a word, and so is every four letters of scripts written without spaces.
    """
    return _WORD.findall(text.lower())


def ttr(tokens: Tokens, *, first: int | None = None) -> float:
    """Types / tokens, in (0, 1].

    Args:
        tokens: of one document.
        first: count this many tokens only; a shorter document gives NaN, since it cannot be compared.

    Raises:
        ValueError: first is less than 1.
    """
    if first is not None and first < 1:
        raise ValueError(f"first must be at least 1, got {first}.")
    counted = tokens if first is None else tokens[:first]
    if not counted or (first is not None and len(counted) < first):
        return math.nan
    return len(set(counted)) / len(counted)


def expected_ttr(tokens: Tokens, size: int) -> float:
    """Mean TTR of all samples of `size` tokens without replacement, in (0, 1]; NaN where there are fewer tokens."""
    total = len(tokens)
    if not 1 <= size <= total:
        return math.nan
    from scipy.special import gammaln

    rest = total - np.array(list(Counter(tokens).values()))
    missed = np.zeros(len(rest))
    enough = rest >= size
    possible = gammaln(total + 1) - gammaln(total - size + 1)
    missed[enough] = np.exp(gammaln(rest[enough] + 1) - gammaln(rest[enough] - size + 1) - possible)
    return float((1 - missed).sum() / size)


def vocd_d(tokens: Tokens) -> float:
    """D of vocd; NaN for 50 tokens or fewer, infinite where no token repeats."""
    if len(tokens) <= SIZES[-1]:
        return math.nan
    return fitted_d(np.array([expected_ttr(tokens, int(size)) for size in SIZES]))


def fitted_d(curve: FloatArray) -> float:
    """The D whose curve lies nearest, in least squares, to the TTR at sample sizes 35..50; infinite for a TTR of 1."""
    if (curve >= 1).all():
        return math.inf
    from scipy.optimize import minimize_scalar

    def misfit(log_d: float) -> float:
        d = math.exp(log_d)
        return float(np.square(d / SIZES * (np.sqrt(1 + 2 * SIZES / d) - 1) - curve).sum())

    best = minimize_scalar(misfit, bounds=(math.log(1e-2), math.log(1e7)), method="bounded", options={"xatol": 1e-9})
    return math.exp(best.x)


def mtld(tokens: Tokens) -> float:
    """Mean length of a stretch of TTR above .72, at least 1; the number of tokens where no token repeats."""
    return (_factor_length(tokens) + _factor_length(tokens[::-1])) / 2 if tokens else math.nan


def over_documents(measure: Callable[[Tokens], float], documents: Iterable[Tokens]) -> tuple[float, int]:
    """Mean of a measure over the documents it can say something about, and how many these are."""
    values = [value for value in map(measure, documents) if not math.isnan(value)]
    return (math.fsum(values) / len(values) if values else math.nan), len(values)


def _factor_length(tokens: Tokens) -> float:
    """Tokens / factors of one direction; the unfinished stretch counts as a part of a factor."""
    factors, count, ratio = 0.0, 0, 1.0
    types: set[Hashable] = set()
    for token in tokens:
        types.add(token)
        count += 1
        ratio = len(types) / count
        if ratio <= THRESHOLD:
            factors, count, ratio = factors + 1, 0, 1.0
            types = set()
    factors += (1 - ratio) / (1 - THRESHOLD)
    return len(tokens) / factors if factors else float(len(tokens))
