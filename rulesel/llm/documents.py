"""Examples made ready for a local model: fenced, cut to a number of tokens, encoded once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rulesel.llm.fence import fence
from rulesel.llm.split import Split
from rulesel.records import Batch, Flag, UInt8

CHARACTERS_PER_TOKEN = 32
"""A text longer than this many times its budget is cut before it is encoded at all."""
REQUESTS = 4096
"""Prompts in one call of the engine: enough to fill it, few enough to hold in memory."""
CUTS = 6
"""Attempts to find the longest cut that fits."""


@dataclass(frozen=True, slots=True)
class Documents:
    """Prompts up to the question.

    Attributes:
        values: what stands in the document holes.
        prefixes: token ids, one list a document.
        flags: uint8 (n,), `Flag`s of each document.
    """

    values: list[dict[str, str]]
    prefixes: list[list[int]]
    flags: UInt8


def prepare(split: Split, batch: Batch, secret: bytes, *, budget: int, pad: bool) -> Documents:
    """Fence and encode a batch; a document over the budget loses its middle.

    Args:
        split: the prompt.
        batch: the examples.
        secret: the store's.
        budget: most tokens a document may take, its fence and the constant head of the prompt included.
        pad: fill prefixes to whole blocks where that is cheaper.
    """
    flags = np.zeros(len(batch), dtype=np.uint8)
    values: list[dict[str, str]] = []
    for i, (content, asked, text) in enumerate(zip(batch.hashes, batch.prompts, batch.responses, strict=True)):
        fenced = fence(secret, content, asked, text, max_chars=CHARACTERS_PER_TOKEN * budget)
        values.append({"nonce": fenced.nonce, "document": fenced.text})
        flags[i] |= Flag.document_cut if fenced.cut else 0
        flags[i] |= Flag.fence_broken if fenced.suspect else 0
    prefixes = split.prefixes(values)
    for i, ids in enumerate(prefixes):
        if len(ids) > budget:
            values[i], prefixes[i] = _cut(split, batch, i, secret, budget, len(ids))
            flags[i] |= Flag.document_cut
    if pad:
        prefixes = split.padded(values, prefixes)
    return Documents(values, prefixes, flags)


def calls(prefixes: Sequence[list[int]], questions: int, capacity: int | None) -> Iterator[slice]:
    """Runs of documents that one call of the engine takes: few requests, and with a capacity few tokens."""
    most = max(1, REQUESTS // max(questions, 1))
    start = tokens = 0
    for i, ids in enumerate(prefixes):
        full = capacity is not None and tokens + len(ids) > 0.8 * capacity
        if i > start and (i - start >= most or full):
            yield slice(start, i)
            start, tokens = i, 0
        tokens += len(ids)
    if len(prefixes) > start:
        yield slice(start, len(prefixes))


def _cut(
    split: Split, batch: Batch, i: int, secret: bytes, budget: int, tokens: int
) -> tuple[dict[str, str], list[int]]:
    """The longest cut found whose prefix fits; the same on every machine, because only lengths decide."""
    content, asked, text = batch.hashes[i], batch.prompts[i], batch.responses[i]
    fits, over = 0, min(len(asked or "") + len(text), CHARACTERS_PER_TOKEN * budget)
    found = None
    guess = int(over * max(budget - len(split.head), 1) / max(tokens - len(split.head), 1) * 0.98)
    for attempt in range(CUTS + 64):
        guess = min(max(guess, 0), over)
        fenced = fence(secret, content, asked, text, max_chars=guess)
        values = {"nonce": fenced.nonce, "document": fenced.text}
        ids = split.prefixes([values])[0]
        if len(ids) <= budget:
            fits, found = guess, (values, ids)
            if attempt >= CUTS or len(ids) >= 0.97 * budget:
                break
        else:
            over = guess
        guess = (fits + over) // 2 if found or attempt < CUTS else over // 2
        if guess == fits and found:
            break
        if over == 0:
            break
    if found is None:
        raise ValueError(f"the prompt without any document takes more than {budget} tokens")
    return found
