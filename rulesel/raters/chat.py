"""Rates through a chat model: one rule a request, document first, one digit out.

One rule a request keeps one rating from leaning on another (arXiv 2405.01724); the mean of the judgment distribution
beats its mode (arXiv 2303.16634, 2503.03064); the scale 0 to 5 agrees best with people (arXiv 2601.03444).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, field_validator, model_validator

from rulesel.digest import digest
from rulesel.llm.base import ChatRequest
from rulesel.llm.fence import Fenced, fence
from rulesel.llm.grouped import Group, by_group
from rulesel.llm.labels import DIGITS, Reading, read_label, reason_of
from rulesel.llm.names import model_id
from rulesel.llm.wire import TOP_LOGPROBS
from rulesel.prompts import Prompt, load
from rulesel.raters import PARAPHRASE, Lent, Rater
from rulesel.records import Batch, Ratings, Rule, Status, UInt8


class Chat(Rater):
    """Any model behind an endpoint, or of any provider litellm knows."""

    name: ClassVar[str] = "chat"
    version: ClassVar[int] = 1
    source: ClassVar[str] = "arXiv 2303.16634; arXiv 2503.03064"
    summary: ClassVar[str] = "A model behind an OpenAI-compatible endpoint, or of any provider."

    model: str
    """As `rulesel.llm.names` has them: "http://host:port/v1#model", "openai/…", "provider/model"."""
    prompt: str = "rate_rule@1"
    document_chars: int = Field(24_000, ge=200)
    """Longest prompt and response together; what is over loses its middle, and the rating is flagged."""
    max_tokens: int = Field(1, ge=1)
    """More than one only for a model that cannot answer with a bare digit at once."""

    start: str = ""
    """What every answer starts with, such as "Rating: "; for servers by address that can continue a message (vLLM)."""

    @model_validator(mode="after")
    def _continues(self) -> Chat:
        if self.start and not self.model.startswith(("http://", "https://", "fake:")):
            raise ValueError(f"start: {self.model} cannot continue a message; a vLLM server (http://…#model) can")
        return self

    @field_validator("model")
    @classmethod
    def _names_a_model(cls, value: str) -> str:
        model_id(value)
        return value

    @property
    def id(self) -> str:
        """Content address of model, prompt, labels and truncation; not of the host."""
        read = [sorted(DIGITS.items()), self.document_chars, self.max_tokens]
        more = [["start", self.start]] if self.start else []  # without one nothing is added: ratings made before stay
        return digest([self.name, self.version, model_id(self.model), load(self.prompt).id, read, *more])

    @property
    def answer_start(self) -> str:
        """What every answer starts with."""
        return self.start

    @property
    def grader(self) -> str:
        """The model."""
        return self.model

    def reworded(self) -> Chat:
        """A copy with the other prompt."""
        return self.model_copy(update={"prompt": PARAPHRASE})

    def provenance(self) -> dict[str, Any]:
        """The address, without the model's name."""
        return {"address": self.model.partition("#")[0]} if "#" in self.model else {}

    def refuses(self, rule: Rule) -> str | None:  # noqa: ARG002 - part of the contract
        """A chat model can be asked anything."""
        return None

    def rate(self, batches: Iterable[Batch], rules: Sequence[Rule], lent: Lent) -> Iterator[Ratings]:
        """Yield one `Ratings` a batch; `mass` is the probability of the six digits together, NaN where none came.

        Raises:
            ModelError: no request to the model can succeed.
            BudgetReached: the run may send no further request.
        """
        return self.rate_parts(((batch, rules) for batch in batches), lent)

    def rate_parts(self, parts: Iterable[tuple[Batch, Sequence[Rule]]], lent: Lent) -> Iterator[Ratings]:
        """The same where each batch has rules of its own; all of it is one stream of requests."""
        groups = (self._group(batch, rules, lent.secret) for batch, rules in parts)
        for (flags, rules), readings in by_group(lent.chat(self.model), groups, read_label):
            yield _ratings(flags, rules, readings)

    def requests(self, batch: Batch, rules: Sequence[Rule], secret: bytes) -> Iterator[ChatRequest]:
        """The exact requests of a batch, document-major: all rules of a document one after another."""
        yield from self._group(batch, rules, secret).requests

    def _group(self, batch: Batch, rules: Sequence[Rule], secret: bytes) -> Group[tuple[UInt8, Sequence[Rule]]]:
        flags = np.zeros(len(batch), dtype=np.uint8)

        def requests() -> Iterator[ChatRequest]:
            prompt = load(self.prompt)
            for i in range(len(batch)):
                fenced = self._fence(batch, i, secret)
                flags[i] = fenced.flags
                yield from self._of_document(prompt, fenced, rules)

        return Group((flags, rules), len(batch) * len(rules), requests())

    def _fence(self, batch: Batch, i: int, secret: bytes) -> Fenced:
        return fence(secret, batch.hashes[i], batch.prompts[i], batch.responses[i], max_chars=self.document_chars)

    def _of_document(self, prompt: Prompt, fenced: Fenced, rules: Sequence[Rule]) -> Iterator[ChatRequest]:
        for rule in rules:
            yield ChatRequest(
                prompt.messages(nonce=fenced.nonce, document=fenced.text, **question(rule)),
                max_tokens=self.max_tokens,
                top_logprobs=TOP_LOGPROBS,
                start=self.start,
            )


def question(rule: Rule) -> dict[str, str]:
    """What fills the rule's holes of a rating prompt.

    The scale is the degree to which the sentence holds; anchors tell the lowest and the highest rating. For a rule of
    negative polarity these run against one another.
    """
    low, high = ("not at all", "fully") if rule.anchors is None else (rule.anchors.low, rule.anchors.high)
    if rule.anchors is not None and rule.polarity == "negative":
        low, high = high, low
    return {"rule": rule.text, "low": low, "high": high}


def _ratings(flags: UInt8, rules: Sequence[Rule], readings: Sequence[Reading]) -> Ratings:
    shape = len(flags), len(rules)
    status = np.array([r.status for r in readings], dtype=np.uint8).reshape(shape)
    degree = np.array([r.value for r in readings], dtype=np.float64).reshape(shape) / max(DIGITS.values())
    negative = np.array([rule.polarity == "negative" for rule in rules], dtype=bool)
    values = np.clip(np.where(negative, 1.0 - degree, degree), 0.0, 1.0).astype(np.float32)
    own = np.array([r.flags for r in readings], dtype=np.uint8).reshape(shape)
    mass = np.array([math.nan if r.mass is None else r.mass for r in readings], dtype=np.float32).reshape(shape)
    return Ratings(
        values,
        status,
        flags[:, None] | own,
        None if np.isnan(mass).all() else mass,
        {divmod(at, len(rules)): reason_of(r) for at, r in enumerate(readings) if r.status is not Status.ok},
    )
