"""Words and pieces of words of many texts as 64-bit hashes, by array operations over the characters of a batch.

A word is a run of letters, digits and marks (by Unicode category), in lower case and compatibility form (NFKC). Scripts
that do not set spaces would make one word of a sentence, so each of their characters is a word. A hash depends on the
word alone: not on the batch, the process or the machine.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

_CODES = 0x110000
_LETTER, _ALONE, _UNKNOWN = 1, 2, 255
_UNSPACED = ((0x0E00, 0x0F00), (0x1000, 0x10A0), (0x1780, 0x1800), (0x3040, 0x3100), (0x31F0, 0x3200),
             (0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00), (0x20000, 0x40000))  # fmt: skip
"""Code points whose characters are words: Thai to Lao, Burmese, Khmer, kana, ideographs."""

_LONGEST = 4096
"""Characters after which the place weights of a word start over."""


class Tokens(NamedTuple):
    """Hashes in the order of the texts; unpacks as (hashes, text)."""

    hashes: Hashes
    """Shape (tokens,)."""
    text: Ints
    """Number of the text each comes from, ascending; shape (tokens,)."""


class Characters:
    """A batch of texts as arrays over its characters.

    Args:
        texts: the batch; everything below counts texts from 0 in this order.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        plain = [text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).lower() for text in texts]
        joined = "\n".join(["", *plain, ""])  # a break before and after every text
        codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype="<u4")
        self.kind = _kinds(codes)
        self.mixed = _mixed()[codes]
        self.mixed[self.kind == 0] = _BREAK
        self.ends = 1 + np.cumsum(np.fromiter((len(text) + 1 for text in plain), dtype=np.int64, count=len(plain)))
        follows = np.zeros(len(codes), dtype=bool)  # goes on with the word of the character before
        follows[1:] = (self.kind[1:] == _LETTER) & (self.kind[:-1] == _LETTER)
        self.begins = np.flatnonzero((self.kind > 0) & ~follows)

    def words(self) -> Tokens:
        """Every word."""
        if len(self.begins) == 0:
            return Tokens(np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64))
        place = np.arange(len(self.kind), dtype=np.int32)
        place[self.begins[0] :] -= np.repeat(self.begins.astype(np.int32), np.diff(self.begins, append=len(self.kind)))
        term = self.mixed * _weights()[place & (_LONGEST - 1)]
        term[self.kind == 0] = 0
        return Tokens(avalanche(np.add.reduceat(term, self.begins)), self._texts(self.begins))

    def pieces(self, length: int) -> Tokens:
        """Every run of `length` characters of a word, the breaks before and after the word counting as one each."""
        count = len(self.kind) - length + 1
        if count <= 0:
            return Tokens(np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64))
        inside = self.kind == _LETTER
        whole = inside[1 : count + 1].copy()
        for shift in range(2, length - 1):
            whole &= inside[shift : count + shift]
        starts = np.flatnonzero(whole)
        total = self.mixed[starts].copy()
        for shift in range(1, length):
            total += self.mixed[starts + shift] * _weights()[shift]
        return Tokens(avalanche(total ^ np.uint64(length)), self._texts(starts + 1))

    def _texts(self, places: Ints) -> Ints:
        counts = np.diff(np.searchsorted(places, self.ends), prepend=0)
        return np.repeat(np.arange(len(self.ends)), counts)


def word_ngrams(words: Tokens, n: int) -> Tokens:
    """Every run of n words within a text; n = 1 gives the words themselves."""
    count = max(len(words.hashes) - n + 1, 0)
    total = words.hashes[:count].copy()
    for shift in range(1, n):
        total += words.hashes[shift : count + shift] * _weights()[shift]
    kept = words.text[:count] == words.text[n - 1 :]
    return Tokens(avalanche(total[kept] ^ np.uint64(n)) if n > 1 else total, words.text[:count][kept])


def avalanche(values: Hashes) -> Hashes:
    """The SplitMix64 output function (Steele, Lea, Flood 2014): a bijection that spreads every bit."""
    with np.errstate(over="ignore"):
        values = values + np.uint64(0x9E3779B97F4A7C15)
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        spread: Hashes = values ^ (values >> np.uint64(31))
    return spread


_BREAK = np.uint64(0x632BE59BD9B4E019)
"""Stands for whatever is not part of a word."""


@cache
def _mixed() -> Hashes:
    return avalanche(np.arange(_CODES, dtype=np.uint64))


@cache
def _weights() -> Hashes:
    """Odd powers of one odd number, by which a place in a word or a run is told from another."""
    return np.asarray(np.cumprod(np.full(_LONGEST, 0xD1342543DE82EF95, dtype=np.uint64)), dtype=np.uint64)


@cache
def _table() -> npt.NDArray[np.uint8]:
    return np.full(_CODES, _UNKNOWN, dtype=np.uint8)


def _kinds(codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
    """What each character is: no part of a word (0), part of one, or a word."""
    table = _table()
    kinds = table[codes]
    while (unknown := kinds == _UNKNOWN).any():
        for code in np.unique(codes[unknown]).tolist():
            part = unicodedata.category(chr(code))[0] in "LNM"
            alone = part and any(low <= code < high for low, high in _UNSPACED)
            table[code] = _ALONE if alone else _LETTER if part else 0
        kinds = table[codes]
    return kinds
