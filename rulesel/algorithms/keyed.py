"""Random numbers that belong to an id: the same for a row in any order, shard or thread.

A keyed hash of (seed, id) made of SplitMix64 steps (Steele, Lea, Flood 2014), one for each eight bytes of the id,
vectorised over rows. It spreads ids evenly; it is no defence against somebody who knows the seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ids = Sequence[str] | Sequence[bytes] | npt.NDArray[np.generic]
"""Stable ids of rows: strings, bytes, or an array of integers or of fixed-width bytes."""

_LONG = 64
"""Ids longer than this many bytes are replaced by their BLAKE2b digest, so that one long id costs no memory."""

Words = npt.NDArray[np.uint64]


def uniform(ids: Ids | int, seed: int) -> npt.NDArray[np.float64]:
    """One number a row in the open interval (0, 1), from (seed, id) alone.

    Args:
        ids: stable ids, shape (n,), or n, where the row number is the id.
        seed: any integer; its low 64 bits count.

    Returns:
        (m + 1/2) / 2^53 for the hash's top 53 bits m, so that neither 0 nor 1 occurs.
    """
    return ((hashed(ids, seed) >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53


def hashed(ids: Ids | int, seed: int) -> Words:
    """Keyed 64-bit hash of each id, shape (n,)."""
    key = _mix(np.array([seed % 2**64], dtype=np.uint64))[0]
    if isinstance(ids, int):
        return _mix(np.arange(ids, dtype=np.uint64) ^ key)
    if isinstance(ids, np.ndarray) and ids.dtype.kind in "iu":
        return _mix(ids.astype(np.uint64) ^ key)
    words, lengths = _words(ids)
    state = _mix(lengths.astype(np.uint64) ^ key)
    used = -(-lengths // 8)
    for place in range(words.shape[1]):
        # A shorter id must not see the padding that a longer neighbour brings.
        live = place < used
        state = np.where(live, _mix(state ^ words[:, place]), state)
    return state


def _words(ids: Ids) -> tuple[Words, npt.NDArray[np.int64]]:
    if isinstance(ids, np.ndarray) and ids.dtype.kind not in "SOU":
        raise ValueError(f"Ids are strings, bytes or integers, not {ids.dtype}.")
    raw: list[bytes] = []
    for one in ids.tolist() if isinstance(ids, np.ndarray) else ids:
        if not isinstance(one, str | bytes):
            raise ValueError(f"Ids are strings, bytes or an array of integers, not {type(one).__name__}.")
        text = one.encode("utf-8", "surrogatepass") if isinstance(one, str) else one
        raw.append(text if len(text) <= _LONG else hashlib.blake2b(text, digest_size=32).digest())
    lengths = np.fromiter(map(len, raw), dtype=np.int64, count=len(raw))
    width = int(-(-lengths.max(initial=1) // 8)) or 1
    padded = np.array(raw, dtype=f"S{8 * width}") if raw else np.empty(0, dtype=f"S{8 * width}")
    return padded.view("<u8").reshape(len(raw), width), lengths


def _mix(value: Words) -> Words:
    """The SplitMix64 output function: a bijection of 64-bit words that spreads every bit."""
    with np.errstate(over="ignore"):
        value = value + np.uint64(0x9E3779B97F4A7C15)
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return value ^ (value >> np.uint64(31))
