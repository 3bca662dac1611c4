"""Embedding of an example's whole text, prompt and response: by a local model, or by a projection without any model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from typing_extensions import override

from rulesel.algorithms.projection import fit_projection
from rulesel.digest import digest
from rulesel.errors import UsageError
from rulesel.extras import need
from rulesel.features import Examples, Feature
from rulesel.llm.weights import fingerprint
from rulesel.records import Float32, Int64


class Embedding(Feature):
    """Vectors of a sentence-transformers model in a local folder, or, without one, of `algorithms.projection`.

    The projection (hashed words and characters, TF-IDF, truncated SVD) is learned from the corpus and gives unit
    vectors. It knows words, not meanings: near-duplicates and topics show, paraphrases do not. Texts longer than a
    model reads are cut by the model.
    """

    name: ClassVar[str] = "embedding"
    summary: ClassVar[str] = "what methods that spread out compare examples by"
    source: ClassVar[str] = "Reimers and Gurevych 2019, arXiv 1908.10084; Deerwester et al. 1990"

    model: str | None = None
    """Folder of a sentence-transformers model; None for the projection."""
    size: Annotated[int, Field(ge=1)] = 384
    """Numbers in a vector of the projection; a model has its own."""
    seed: int = 0
    """Of the projection."""

    @property
    @override
    def id(self) -> str:
        if self.model is None:
            return super().id
        return digest([self.name, self.version, self._weights])

    @property
    @override
    def whole(self) -> bool:
        return self.model is None

    @override
    def compute(self, examples: Examples, missing: Int64) -> Iterator[Float32]:
        if self.model is None:
            every = (list(batch.texts()) for batch in examples.read(np.arange(examples.n)))
            projection = fit_projection(every, d=self.size, seed=self.seed)
            for batch in examples.read(missing):
                yield projection.embed(list(batch.texts()))
            return
        library = self._library()
        model = library.SentenceTransformer(str(self._folder), local_files_only=True)
        for batch in examples.read(missing):
            yield np.asarray(model.encode(list(batch.texts()), show_progress_bar=False), dtype=np.float32)

    def check(self) -> None:
        """See that the model's folder and the library it takes are there.

        Raises:
            UsageError: the folder holds no model.
            MissingExtra: the library is not installed.
        """
        if self.model is not None:
            _ = self._weights
            self._library()

    @staticmethod
    def _library() -> ModuleType:
        return need("sentence_transformers", extra="embedding", feature="Embedding with a model")

    @property
    def _folder(self) -> Path:
        return Path(str(self.model)).expanduser()

    @cached_property
    def _weights(self) -> str:
        """Content address of everything in the folder that makes the vectors.

        Raises:
            UsageError: the folder holds no model.
        """
        folder = self._folder
        parts = [folder, *sorted(path for path in folder.glob("*_*") if (path / "config.json").exists())]
        models = [part for part in parts if any(part.glob("*.safetensors")) or any(part.glob("*.bin"))]
        if not models:
            raise UsageError(f"{folder} holds no sentence-transformers model: it needs config.json and weights.")
        settings = {str(path.relative_to(folder)): _sha256(path) for path in sorted(folder.rglob("*.json"))}
        return digest([[fingerprint(part) for part in models if (part / "config.json").exists()], settings])


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
