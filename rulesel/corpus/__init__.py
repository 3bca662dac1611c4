"""Corpora: read in any of the usual formats and shapes, streamed, and written back byte for byte."""

from __future__ import annotations

from rulesel.corpus.convert import Stored
from rulesel.corpus.fields import field_values
from rulesel.corpus.opening import open_corpus
from rulesel.corpus.reader import Chunk, Corpus, SourceInfo, content_hash
from rulesel.corpus.turns import count_turns, join_turns, split_turns
from rulesel.corpus.write import check_output, write_selection

__all__ = [
    "Chunk",
    "Corpus",
    "SourceInfo",
    "Stored",
    "check_output",
    "content_hash",
    "count_turns",
    "field_values",
    "join_turns",
    "open_corpus",
    "split_turns",
    "write_selection",
]
