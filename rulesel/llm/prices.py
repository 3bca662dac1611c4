"""What tokens cost: the user's own table first, then the map that comes with litellm, else unknown.

An unknown price is None and is said; it is never taken for zero.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from rulesel.llm.base import ChatRequest, Completion

MILLION = 1_000_000
_TEMPLATE_TOKENS = 256
"""Most tokens a chat template adds around the messages of one request."""


class Price(BaseModel):
    """Dollars for a million tokens; a row of the config's `prices:` table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached: float | None = Field(default=None, ge=0)
    """For prompt tokens the server had in its cache; None if they cost as much as others."""

    def cost(self, completion: Completion) -> float | None:
        """Dollars of an answer by its own token counts, None if it has none."""
        if not completion.prompt_tokens:
            return None
        return self.of(completion.prompt_tokens, completion.cached_tokens, completion.completion_tokens)

    def of(self, prompt: float, cached: float, answer: float) -> float:
        """Dollars of that many tokens; the cached ones are among those of the prompt."""
        reduced = self.input if self.cached is None else self.cached
        return ((prompt - cached) * self.input + cached * reduced + answer * self.output) / MILLION

    def worst(self, request: ChatRequest) -> float:
        """Dollars a request can cost at most: a token for every byte of its messages, and the longest answer."""
        return self.of(most_tokens(request), 0, request.max_tokens)


def most_tokens(request: ChatRequest) -> int:
    """Upper bound of a request's prompt tokens: tokenizers that fall back to bytes make no more than one a byte."""
    return _TEMPLATE_TOKENS + sum(len(content.encode("utf-8", "replace")) + 16 for _, content in request.messages)


def find_price(name: str, model: str, table: Mapping[str, Price]) -> Price | None:
    """The price of a model, None if nobody knows it.

    Args:
        name: as the user named it: "openai/gpt-4.1", "http://host/v1#model".
        model: its identity: "gpt-4.1", "model".
        table: the user's own prices, by either.
    """
    for key in (name, model):
        if key in table:
            return table[key]
    if name.startswith("fake:"):
        return Price(input=0, output=0)
    if name.startswith(("http://", "https://")):
        return None  # who serves a model under its usual name need not charge the usual price
    entry = bundled().get(name) or bundled().get(name.partition("/")[2])
    if not entry or "input_cost_per_token" not in entry or "output_cost_per_token" not in entry:
        return None
    cached = entry.get("cache_read_input_token_cost")
    return Price(
        input=entry["input_cost_per_token"] * MILLION,
        output=entry["output_cost_per_token"] * MILLION,
        cached=None if cached is None else cached * MILLION,
    )


def find_context(name: str) -> int | None:
    """Most tokens of a request to a provider's model, None if unknown."""
    entry = bundled().get(name) or bundled().get(name.partition("/")[2]) or {}
    tokens = entry.get("max_input_tokens")
    return int(tokens) if isinstance(tokens, int) else None


@lru_cache
def bundled() -> dict[str, dict[str, Any]]:
    """The price map that comes with litellm, read from its folder without importing it; empty if litellm is not installed."""
    spec = importlib.util.find_spec("litellm")
    if spec is None or spec.origin is None:
        return {}
    path = Path(spec.origin).parent / "model_prices_and_context_window_backup.json"
    if not path.is_file():
        return {}
    entries: dict[str, dict[str, Any]] = orjson.loads(path.read_bytes())
    return entries
