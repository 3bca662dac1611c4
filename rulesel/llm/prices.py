"""What tokens cost: the user's own table first, then the map that comes with litellm, else unknown.

An unknown price is None and is said; it is never taken for zero.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rulesel.llm.base import ChatRequest, Completion

MILLION = 1_000_000
MOST_DOLLARS = 1e12
"""For a million tokens: far above any price, and small enough for every sum to be finite."""
_TEMPLATE_TOKENS = 256
"""Most tokens a chat template adds around the messages of one request."""


class Price(BaseModel):
    """Dollars for a million tokens; a row of the config's `prices:` table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: float = Field(ge=0, le=MOST_DOLLARS, allow_inf_nan=False)
    output: float = Field(ge=0, le=MOST_DOLLARS, allow_inf_nan=False)
    cached: float | None = Field(default=None, ge=0, le=MOST_DOLLARS, allow_inf_nan=False)
    """For prompt tokens the server had in its cache; None if they cost as much as others."""

    def cost(self, completion: Completion, request: ChatRequest) -> float:
        """Dollars of an answer by the server's token counts; at most `worst`, and that where it gives none."""
        if not completion.prompt_tokens:
            return self.worst(request)
        answer = completion.completion_tokens or request.max_tokens
        cost = self.of(completion.prompt_tokens, completion.cached_tokens, answer)
        return min(max(cost, 0.0), self.worst(request))

    def of(self, prompt: float, cached: float, answer: float) -> float:
        """Dollars of that many tokens; the cached ones are among those of the prompt."""
        reduced = self.input if self.cached is None else self.cached
        return ((prompt - cached) * self.input + cached * reduced + answer * self.output) / MILLION

    def worst(self, request: ChatRequest) -> float:
        """Dollars a request can cost at most: a token for every byte of its messages, and the longest answer."""
        tokens = most_tokens(request)
        dearest = tokens if (self.cached or 0.0) > self.input else 0
        return self.of(tokens, dearest, request.max_tokens)


def most_tokens(request: ChatRequest) -> int:
    """Upper bound of a request's prompt tokens: tokenizers that fall back to bytes make no more than one a byte."""
    schema = len(orjson.dumps(request.json_schema)) if request.json_schema else 0
    messages = sum(len(content.encode("utf-8", "replace")) + 16 for _, content in request.messages)
    return _TEMPLATE_TOKENS + schema + messages


def bounded(completion: Completion, request: ChatRequest) -> Completion:
    """The answer with token counts that can be true: what a server counts is bounded by what was sent and asked for."""
    prompt = min(max(completion.prompt_tokens, 0), most_tokens(request))
    cached = max(completion.cached_tokens, 0)
    answered = min(max(completion.completion_tokens, 0), request.max_tokens)
    counts = prompt, cached if cached <= prompt else 0, answered
    if counts == (completion.prompt_tokens, completion.cached_tokens, completion.completion_tokens):
        return completion
    return replace(completion, prompt_tokens=counts[0], cached_tokens=counts[1], completion_tokens=counts[2])


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
    if name.startswith(("fake:", "vllm:")):
        return Price(input=0, output=0)
    if name.startswith(("http://", "https://")):
        return None  # who serves a model under its usual name need not charge the usual price
    entry = bundled().get(name) or bundled().get(name.partition("/")[2]) or {}
    fields = {
        "input": "input_cost_per_token",
        "output": "output_cost_per_token",
        "cached": "cache_read_input_token_cost",
    }
    costs = {field: entry.get(key) for field, key in fields.items()}
    try:
        return Price(**{field: cost * MILLION for field, cost in costs.items() if isinstance(cost, int | float)})
    except ValidationError:  # the map has no price for it, or an impossible one such as -1
        return None


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
