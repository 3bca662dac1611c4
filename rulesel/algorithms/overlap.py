"""Runs of words that texts share with an evaluation set: contamination, seen before it is trained on.

Brown et al. 2020 (arXiv 2005.14165), appendix C, call a test example contaminated when it shares a run of 13 words with
the training data; later work takes 8. Runs are 64-bit hashes (see `text_hash`), so that a chance agreement is out of
reach: 1e8 runs of a corpus against 1e6 of a test set agree by accident with probability 5e-6.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rulesel.algorithms.text_hash import Characters, Hashes, Tokens, word_ngrams

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BATCH = 1024
"""Texts hashed together: more would leave the processor's cache."""

_SIEVE_BITS = 24


class Overlap(NamedTuple):
    """What texts share with the evaluation set; unpacks as (share, shared, runs), each of shape (n,)."""

    share: Floats
    """Part of a text's runs that the evaluation set has too, in [0, 1]; lower is cleaner; NaN without a word."""
    shared: Ints
    """How many of its runs."""
    runs: Ints
    """How many it has, repeats included."""


class Against:
    """The runs of an evaluation set, to look texts up in, batch by batch.

    Args:
        texts: the evaluation set, read once.
        n: words in a run. A text of fewer words counts as one run of all of them, which only the same short text has.

    Raises:
        ValueError: n is below 1, or the evaluation set has no word.
    """

    def __init__(self, texts: Iterable[str], *, n: int = 13) -> None:
        if n < 1:
            raise ValueError(f"A run needs at least one word, got n = {n}.")
        self.n, self.texts = n, 0
        hashes, owners = [], []
        for batch in _batches(texts):
            runs = _runs(batch, n)
            hashes.append(runs.hashes)
            owners.append(runs.text + self.texts)
            self.texts += len(batch)
        every = np.concatenate([np.empty(0, dtype=np.uint64), *hashes])
        if len(every) == 0:
            raise ValueError("The evaluation set has no words to compare with.")
        self._owner = np.concatenate(owners)
        self._known, self._place = np.unique(every, return_inverse=True)
        self._sieve = np.zeros(2**_SIEVE_BITS, dtype=bool)
        self._sieve[_slot(self._known)] = True
        self._seen = np.zeros(len(self._known), dtype=bool)

    def check(self, texts: Sequence[str]) -> Overlap:
        """Overlap of each text of a batch; what they share is remembered for `leaked`."""
        parts = [self._check(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]
        shared = np.concatenate([np.empty(0, dtype=np.int64), *(part[0] for part in parts)])
        runs = np.concatenate([np.empty(0, dtype=np.int64), *(part[1] for part in parts)])
        with np.errstate(invalid="ignore"):
            return Overlap(shared / runs, shared, runs)

    def leaked(self) -> Floats:
        """Part of each evaluation text's runs that the texts checked so far had, shape (m,); NaN without a word."""
        runs = np.bincount(self._owner, minlength=self.texts)
        seen = np.bincount(self._owner[self._seen[self._place]], minlength=self.texts)
        with np.errstate(invalid="ignore"):
            return np.asarray(seen / runs)

    def _check(self, texts: Sequence[str]) -> tuple[Ints, Ints]:
        runs = _runs(texts, self.n)
        maybe = np.flatnonzero(self._sieve[_slot(runs.hashes)])
        at = np.minimum(np.searchsorted(self._known, runs.hashes[maybe]), len(self._known) - 1)
        hit = self._known[at] == runs.hashes[maybe]
        self._seen[at[hit]] = True
        shared = np.bincount(runs.text[maybe[hit]], minlength=len(texts))
        return shared, np.bincount(runs.text, minlength=len(texts))


def _slot(hashes: Hashes) -> npt.NDArray[np.int64]:
    return (hashes >> np.uint64(64 - _SIEVE_BITS)).astype(np.int64)


def _runs(texts: Sequence[str], n: int) -> Tokens:
    """Hashes of the runs of each text, short texts as one run."""
    words = Characters(texts).words()
    runs = word_ngrams(words, n)
    if n == 1:
        return runs
    size = np.bincount(words.text, minlength=len(texts))
    found = [runs]
    for length in np.unique(size[(size > 0) & (size < n)]).tolist():
        some = size[words.text] == length
        found.append(word_ngrams(Tokens(words.hashes[some], words.text[some]), length))
    hashes = np.concatenate([part.hashes for part in found])
    text = np.concatenate([part.text for part in found])
    return Tokens(hashes, text)


def _batches(texts: Iterable[str]) -> Iterable[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
