"""The engine in this process as a chat model: for grades, comparisons and rules by the model that rates the corpus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol, runtime_checkable

from rulesel.llm.base import ChatRequest, Completion, Failure
from rulesel.llm.labels import DIGITS
from rulesel.llm.split import closing, rendered
from rulesel.llm.tokens import fitting

WINDOW = 256
"""Requests the engine gets at a time."""


@runtime_checkable
class ChatEngine(Protocol):
    """What it takes of an engine."""

    @property
    def longest(self) -> int:
        """Tokens of prompt and answer together that it takes."""
        ...

    def answer(self, prompts: Sequence[list[int]], wishes: Sequence[dict[str, Any]]) -> list[Any]:
        """Outputs as vLLM gives them."""
        ...


class VllmChat:
    """A `ChatModel` over an open engine, which stays its owner's to close."""

    def __init__(self, engine: ChatEngine, tokenizer: Any, identity: str, longest: int) -> None:  # noqa: ANN401 - optional package
        """Keep them.

        Args:
            engine: the engine.
            tokenizer: of its model.
            identity: content address of weights, tokenizer and chat template.
            longest: tokens of prompt and answer together that the engine takes.
        """
        self._engine, self._tokenizer, self._longest = engine, tokenizer, longest
        self.id = identity

    def complete(self, requests: Iterable[ChatRequest]) -> Iterator[Completion | Failure]:
        """Yield one result a request, in order; a prompt that is too long is a failure of its own."""
        drawn = iter(requests)
        while window := list(islice(drawn, WINDOW)):
            prompts = [self._encode(request) for request in window]
            fits = [len(p) + r.max_tokens <= self._longest for p, r in zip(prompts, window, strict=True)]
            kept = [i for i, fit in enumerate(fits) if fit]
            answers = self._engine.answer(
                [prompts[i] for i in kept],
                [_sampling(window[i]) for i in kept],
            )
            found = dict(zip(kept, answers, strict=True))
            for i, prompt in enumerate(prompts):
                yield _completion(found[i], len(prompt)) if i in found else _too_long(len(prompt), self._longest)

    def close(self) -> None:
        """The engine is its owner's."""

    def _encode(self, request: ChatRequest) -> list[int]:
        text = rendered(self._tokenizer, request.messages)
        pieces = [text]
        if request.start:
            start = fitting(self._tokenizer, request.start, list(DIGITS))
            pieces += [closing(text, self._tokenizer) or "", request.start if start is None else start]
        found = self._tokenizer(pieces, add_special_tokens=False, verbose=False)["input_ids"]
        return [i for ids in found for i in ids]


def _sampling(request: ChatRequest) -> dict[str, Any]:
    return {
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "logprobs": request.top_logprobs or None,
        "seed": request.salt if request.temperature > 0 else None,
        "schema": request.json_schema,
    }


def _completion(output: Any, prompt: int) -> Completion:  # noqa: ANN401 - vLLM is untyped here
    answer = output.outputs[0]
    return Completion(
        answer.text,
        str(answer.finish_reason or "stop"),
        tuple(
            tuple((str(one.decoded_token), float(one.logprob)) for one in token.values())
            for token in answer.logprobs or ()
        ),
        prompt_tokens=prompt,
        cached_tokens=int(output.num_cached_tokens or 0),
        completion_tokens=len(answer.token_ids),
        cost=0.0,
    )


def _too_long(prompt: int, longest: int) -> Failure:
    return Failure("http", f"the prompt takes {prompt:,} tokens, the engine was opened for {longest:,}")
