"""Embedding of texts without a model: hashed words and pieces of words, TF-IDF, truncated SVD.

Deerwester et al. 1990 (latent semantic analysis), features hashed as in Weinberger et al. 2009 (arXiv 0902.2206), the
decomposition randomised as in Halko, Martinsson, Tropp 2011 (arXiv 0909.4061), algorithms 4.4 and 5.1. Words, pairs of
words and runs of four characters count; words and characters weigh alike. Two passes over the texts: one counts in how
many texts a feature occurs and keeps a sample, on which the directions are found; the other embeds. Memory does not
grow with the number of texts, and the sample, drawn by hash of a text's number, is the same however texts are batched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rulesel.algorithms.keyed import hashed
from rulesel.algorithms.text_hash import Characters, Hashes, Tokens, word_ngrams

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

BITS = 20
"""Features fall into 2 ** BITS buckets: half for words and pairs, half for runs of characters."""

RUN = 4
"""Characters in a run."""

COLUMNS = 2**17
"""Most buckets that are kept: those of most texts in the sample."""

BATCH = 512
"""Texts worked on together: more would leave the processor's cache."""

EXTRA, POWER = 16, 1
"""Directions beyond those asked for, and power iterations, of the randomised decomposition."""


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """From texts to vectors; `embed` is a pure function of its arrays, which can be saved as they are.

    Attributes:
        column: column of each bucket, -1 where it has none; int32 (2 ** BITS,).
        idf: weight of each column, float32 (columns,).
        directions: float32 (columns, d); beyond the rank of the sample they are zero.
    """

    column: npt.NDArray[np.int32]
    idf: Singles
    directions: Singles

    def embed(self, texts: Sequence[str]) -> Singles:
        """Vectors of unit length, float32 (n, d).

        A text that shares no feature with the sample, an empty one included, gets a direction of its own by hash:
        similar to nothing but its copies.
        """
        out = np.empty((len(texts), self.directions.shape[1]), dtype=np.float32)
        for start in range(0, len(texts), BATCH):
            some = texts[start : start + BATCH]
            block = np.asarray(_weighted(_counts(some), self.column, self.idf) @ self.directions)
            length = np.sqrt(np.einsum("ij,ij->i", block, block))
            for lost in np.flatnonzero(length < 1e-6).tolist():
                block[lost], length[lost] = _own_direction(some[lost], block.shape[1]), 1
            out[start : start + BATCH] = block / length[:, None]
        return out


def fit_projection(
    batches: Iterable[Sequence[str]], *, d: int = 384, seed: int = 0, sample: int = 16_384
) -> Projection:
    """First pass: weights and directions from texts.

    Args:
        batches: the texts, read once; how they are cut into batches does not matter.
        d: numbers in a vector.
        seed: of the sample and the decomposition.
        sample: texts on which the directions are found; memory grows with it.

    Raises:
        ValueError: no text, or d or sample below 1.
    """
    if d < 1 or sample < 1:
        raise ValueError(f"d and sample must be at least 1, got {d} and {sample}.")
    kept = _Sample(sample, seed)
    frequency, total = np.zeros(2**BITS, dtype=np.int64), 0
    for texts in batches:
        for start in range(0, len(texts), BATCH):
            some = texts[start : start + BATCH]
            counts = _counts(some)
            frequency += np.bincount(counts.bucket, minlength=2**BITS)
            kept.offer(counts, total)
            total += len(some)
    if total == 0:
        raise ValueError("There is no text to fit a projection to.")
    counts = kept.result()
    column = _columns(np.bincount(counts.bucket, minlength=2**BITS), least=min(2, counts.texts))
    occurs = frequency[np.flatnonzero(column >= 0)]
    idf = (np.log((1 + total) / (1 + occurs)) + 1).astype(np.float32)
    return Projection(column, idf, _directions(_weighted(counts, column, idf), d, seed))


@dataclass(frozen=True, slots=True)
class _Counts:
    """How often each text of a batch has each feature, by text, then bucket."""

    text: Ints
    bucket: Ints
    count: Ints
    texts: int

    def of(self, kept: npt.NDArray[np.bool_]) -> _Counts:
        """The counts of some of the texts, numbered anew."""
        entry = kept[self.text]
        number = np.cumsum(kept) - 1
        return _Counts(number[self.text[entry]], self.bucket[entry], self.count[entry], int(kept.sum()))


def _counts(texts: Sequence[str]) -> _Counts:
    characters = Characters(texts)
    words = characters.words()
    parts = [words, word_ngrams(words, 2), characters.pieces(RUN)]
    keys = np.concatenate([_keys(part, half) for part, half in zip(parts, (0, 0, 1), strict=True)])
    keys.sort()
    first = np.flatnonzero(np.diff(keys, prepend=np.uint32(2**32 - 1)))
    key = keys[first].astype(np.int64)
    return _Counts(key >> BITS, key & (2**BITS - 1), np.diff(first, append=len(keys)), len(texts))


def _keys(tokens: Tokens, half: int) -> npt.NDArray[np.uint32]:
    """Text and bucket of each feature in one number that sorts by both."""
    bucket = (tokens.hashes >> np.uint64(65 - BITS)).astype(np.uint32) + np.uint32(half << (BITS - 1))
    return (tokens.text.astype(np.uint32) << np.uint32(BITS)) + bucket


class _Sample:
    """The texts whose numbers hash lowest, whatever their batches."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed = size, seed
        self.parts: list[tuple[_Counts, Ints, Hashes]] = []
        self.held = 0
        self.limit = np.uint64(2**64 - 1)

    def offer(self, counts: _Counts, start: int) -> None:
        """Look at a batch whose first text has the number `start`."""
        number = np.arange(start, start + counts.texts)
        rank = hashed(number, self.seed)
        kept = rank <= self.limit
        self.parts.append((counts.of(kept), number[kept], rank[kept]))
        self.held += int(kept.sum())
        if self.held > 2 * self.size:
            self._prune()

    def result(self) -> _Counts:
        """The sample, in the order of the texts."""
        self._prune()
        return self.parts[0][0]

    def _prune(self) -> None:
        number, rank = (np.concatenate([part[at] for part in self.parts]) for at in (1, 2))
        shift = np.cumsum([0, *(part[0].texts for part in self.parts)])
        text = np.concatenate([part[0].text + at for part, at in zip(self.parts, shift, strict=False)])
        bucket, count = (np.concatenate([getattr(part[0], at) for part in self.parts]) for at in ("bucket", "count"))
        if len(rank) > self.size:
            self.limit = np.partition(rank, self.size - 1)[self.size - 1]
        kept = rank <= self.limit
        whole = _Counts(text, bucket, count, len(rank))
        self.parts = [(whole.of(kept), number[kept], rank[kept])]
        self.held = int(kept.sum())


def _columns(frequency: Ints, least: int) -> npt.NDArray[np.int32]:
    """Columns for the buckets of most texts, in the order of buckets."""
    bucket = np.flatnonzero(frequency >= least)
    bucket = np.sort(bucket[np.argsort(-frequency[bucket], kind="stable")[:COLUMNS]])
    column = np.full(len(frequency), -1, dtype=np.int32)
    column[bucket] = np.arange(len(bucket))
    return column


def _weighted(counts: _Counts, column: npt.NDArray[np.int32], idf: Singles) -> csr_matrix:
    """TF-IDF (texts, columns): words and pairs of unit length, runs of characters of unit length."""
    from scipy.sparse import csr_matrix

    place = column[counts.bucket]
    known = place >= 0
    text, place = counts.text[known], place[known]
    value = (1 + np.log(counts.count[known])) * idf[place]
    group = 2 * text + (counts.bucket[known] >> (BITS - 1))
    value /= np.sqrt(np.bincount(group, value**2, minlength=2 * counts.texts))[group]
    bounds = np.zeros(counts.texts + 1, dtype=np.int64)
    np.cumsum(np.bincount(text, minlength=counts.texts), out=bounds[1:])
    return csr_matrix((value.astype(np.float32), place, bounds), shape=(counts.texts, len(idf)))


def _directions(weighted: csr_matrix, d: int, seed: int) -> Singles:
    """The leading right singular vectors (columns, d), each with its largest entry positive."""
    out = np.zeros((weighted.shape[1], d), dtype=np.float32)
    width = min(d + EXTRA, *weighted.shape)
    if width == 0:
        return out
    turned = weighted.T.tocsr()
    rng = np.random.default_rng(seed)
    span = weighted @ rng.standard_normal((weighted.shape[1], width), dtype=np.float32)
    for _ in range(POWER):
        span = weighted @ (turned @ np.linalg.qr(span)[0])
    small = turned @ np.linalg.qr(span)[0]
    gram = np.zeros((width, width))
    for start in range(0, len(small), 8192):
        block = small[start : start + 8192].astype(np.float64)
        gram += block.T @ block
    square, turn = np.linalg.eigh(gram)
    leading = np.argsort(-square)[: min(d, width)]
    leading = leading[square[leading] > 1e-9 * square.max()]
    found = small @ (turn[:, leading] / np.sqrt(square[leading])).astype(np.float32)
    sign = np.sign(found[np.abs(found).argmax(axis=0), np.arange(found.shape[1])])
    out[:, : found.shape[1]] = found * sign
    return out


def _own_direction(text: str, d: int) -> Singles:
    """A direction that only this text's words give."""
    words = Characters([text]).words().hashes
    state = int(words.sum(dtype=np.uint64))
    vector = np.random.default_rng(state).standard_normal(d, dtype=np.float32)
    return np.asarray(vector / np.sqrt(vector @ vector))
