"""Runs of words that an example shares with evaluation sets: contamination, seen before it is trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from typing_extensions import override

from rulesel.algorithms.overlap import Against
from rulesel.corpus import open_corpus
from rulesel.digest import digest
from rulesel.features import Examples, Feature
from rulesel.records import Float32, Int64


class Overlap(Feature):
    """Share of an example's runs of `words` words that the evaluation files have too, in [0, 1]; lower is cleaner.

    Prompts and responses are taken apart on both sides, so that a copied question shows however short it is. A
    response that is a single run ("Yes.") says nothing and is left out.
    """

    name: ClassVar[str] = "overlap"
    summary: ClassVar[str] = "contamination with the sets a model will be judged on"
    source: ClassVar[str] = "Brown et al. 2020, arXiv 2005.14165, appendix C"

    against: tuple[str, ...] = Field(min_length=1)
    """Evaluation files, in any format a corpus may have."""
    words: Annotated[int, Field(ge=1)] = 13

    @property
    @override
    def id(self) -> str:
        return digest([self.name, self.version, self.words, self._files])

    @override
    def compute(self, examples: Examples, missing: Int64) -> Iterator[Float32]:
        known = Against(self._texts(), n=self.words)
        for batch in examples.read(missing):
            prompt = known.check([text or "" for text in batch.prompts])
            response = known.check(batch.responses)
            long = response.runs > 1
            with np.errstate(invalid="ignore"):
                share = (prompt.shared + response.shared * long) / (prompt.runs + response.runs * long)
            yield share.astype(np.float32)[:, None]

    def _texts(self) -> Iterator[str]:
        for path in self.against:
            for chunk in open_corpus(Path(path)).chunks():
                yield from (text for text in chunk.prompts if text)
                yield from chunk.responses

    @cached_property
    def _files(self) -> list[str]:
        return [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in self.against]
