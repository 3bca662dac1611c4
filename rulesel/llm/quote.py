"""What a job would ask and cost, from a few of its requests; nothing is sent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rulesel.llm.base import ChatRequest
from rulesel.llm.prices import Price
from rulesel.llm.sender import Limits

_MESSAGE_CHARS = 16
"""What a chat template adds around a message, about."""


class Range(NamedTuple):
    """A number that is not known yet: at least, likely, at most."""

    low: float
    likely: float
    high: float

    def plus(self, other: Range) -> Range:
        """Sum of two ranges, end by end."""
        return Range(self.low + other.low, self.likely + other.likely, self.high + other.high)

    def times(self, factor: float) -> Range:
        """The range of a multiple; the factor is not negative."""
        return Range(self.low * factor, self.likely * factor, self.high * factor)


CHARS_PER_TOKEN = Range(3.0, 4.2, 5.5)
"""English prose is near 4.4, code and other scripts lower; measured values take its place as soon as there are any."""
SECONDS_PER_CALL = Range(0.1, 0.7, 3.0)


@dataclass(frozen=True, slots=True)
class Quote:
    """The bill before it is run up.

    Attributes:
        calls: requests that have to be sent, if none fails.
        prompt_tokens: of all of them.
        cached_tokens: of these, what a server with a prefix cache need not compute again; at least 0.
        completion_tokens: at most the longest answer each, half of it where that is more than a token.
        dollars: None if the price is unknown.
        hours: at the limits given.
        first: the exact messages of the first request.
    """

    calls: int
    prompt_tokens: Range
    cached_tokens: Range
    completion_tokens: Range
    dollars: Range | None
    hours: Range
    first: str


def quote(
    sampled: Sequence[Sequence[ChatRequest]],
    calls: int,
    *,
    price: Price | None,
    limits: Limits,
    chars_per_token: Range = CHARS_PER_TOKEN,
    seconds: Range = SECONDS_PER_CALL,
) -> Quote:
    """Extrapolate from the requests of a few examples.

    The range joins what is unknown of the tokenizer with the sampling error of 20 examples or so (two standard errors).

    Args:
        sampled: all requests of each of some examples drawn at random.
        calls: requests of the whole job that are not answered yet.
        price: dollars a token, None if unknown.
        limits: concurrency and rates.
        chars_per_token: of the model's tokenizer.
        seconds: how long a request takes.

    Raises:
        ValueError: there is no request to extrapolate from.
    """
    per_call = [sum(map(_chars, asked)) / len(asked) for asked in sampled if asked]
    if not per_call:
        raise ValueError("a quote needs the requests of at least one example")
    shared = [_shared_chars(asked) * (len(asked) - 1) / len(asked) for asked in sampled if asked]
    chars, prefix = _mean(per_call), _mean(shared)
    prompt, cached = _tokens(chars, chars_per_token).times(calls), _tokens(prefix, chars_per_token).times(calls)
    longest = [float(request.max_tokens) for asked in sampled for request in asked]
    most = math.fsum(longest) / len(longest)
    answer = Range(1.0, max(1.0, most / 2.0), most).times(calls)
    cached = Range(0.0, cached.likely, cached.high)
    dollars = None if price is None else _dollars(price, prompt, cached, answer)
    first = next(asked[0] for asked in sampled if asked)
    hours = _hours(calls, prompt.plus(answer), limits, seconds)
    return Quote(calls, prompt, cached, answer, dollars, hours, _text(first))


def _dollars(price: Price, prompt: Range, cached: Range, answer: Range) -> Range:
    return Range(
        price.of(prompt.low, min(cached.high, prompt.low), answer.low),
        price.of(prompt.likely, cached.likely, answer.likely),
        price.of(prompt.high, 0.0, answer.high),
    )


def _hours(calls: int, tokens: Range, limits: Limits, seconds: Range) -> Range:
    def at(wait: float, amount: float) -> float:
        minutes = [calls * wait / limits.concurrency / 60.0]
        if limits.requests_per_minute:
            minutes.append(calls / limits.requests_per_minute)
        if limits.tokens_per_minute:
            minutes.append(amount / limits.tokens_per_minute)
        return max(minutes) / 60.0

    return Range(at(seconds.low, tokens.low), at(seconds.likely, tokens.likely), at(seconds.high, tokens.high))


def _tokens(chars: Range, per_token: Range) -> Range:
    return Range(chars.low / per_token.high, chars.likely / per_token.likely, chars.high / per_token.low)


def _mean(values: Sequence[float]) -> Range:
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return Range(mean / 2.0, mean, 2.0 * mean)
    error = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))
    return Range(max(0.0, mean - 2.0 * error), mean, mean + 2.0 * error)


def _chars(request: ChatRequest) -> int:
    return sum(len(content) + _MESSAGE_CHARS for _, content in request.messages)


def _shared_chars(asked: Sequence[ChatRequest]) -> int:
    """How much of their beginning all requests of an example have in common."""
    texts = [_text(request) for request in asked]
    first, last = min(texts), max(texts)
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def _text(request: ChatRequest) -> str:
    return "\n".join(f"[{role}]\n{content}" for role, content in request.messages)
