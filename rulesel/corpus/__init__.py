"""Corpora: read in any of the usual formats and shapes, streamed, and written back byte for byte."""

from __future__ import annotations

from rulesel.corpus.reader import Chunk, Corpus, SourceInfo, content_hash, open_corpus
from rulesel.corpus.turns import count_turns, join_turns, split_turns

__all__ = [
    "Chunk",
    "Corpus",
    "SourceInfo",
    "content_hash",
    "count_turns",
    "join_turns",
    "open_corpus",
    "split_turns",
]
