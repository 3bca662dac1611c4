"""A local model that is none: a byte tokenizer and next tokens drawn from a hash of the prompt. For tests and dry runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from rulesel.llm.tokens import Counters, NextToken
from rulesel.records import Float64

CONTROLS = {"<|im_start|>": 256, "<|im_end|>": 257, "<|endoftext|>": 258}
_CONTROL = re.compile("|".join(map(re.escape, CONTROLS)))
_BLOCK = 32


class ByteTokenizer:
    """One token a UTF-8 byte, three control tokens and the ChatML template: what rulesel uses of a real tokenizer."""

    chat_template: ClassVar[str | None] = "ChatML"
    all_special_tokens: ClassVar[list[str]] = list(CONTROLS)
    all_special_ids: ClassVar[list[int]] = list(CONTROLS.values())
    added_tokens_decoder: ClassVar[dict[int, str]] = {index: token for token, index in CONTROLS.items()}

    def __call__(
        self,
        texts: Sequence[str],
        *,
        split_special_tokens: bool = False,
        return_offsets_mapping: bool = False,
        **_ignored: object,
    ) -> dict[str, list[Any]]:
        """Encode; offsets are given for texts of ASCII alone, which have a byte a character."""
        found: dict[str, list[Any]] = {"input_ids": [self._encode(text, split=split_special_tokens) for text in texts]}
        if return_offsets_mapping:
            found["offset_mapping"] = [[(i, i + 1) for i in range(len(text))] for text in texts]
        return found

    def apply_chat_template(self, messages: Iterable[dict[str, str]], **_ignored: object) -> str:
        """Render as ChatML, up to where the assistant speaks."""
        turns = (f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)
        return "".join([*turns, "<|im_start|>assistant\n"])

    def get_vocab(self) -> dict[str, int]:
        """Every token; bytes above 127 as they are written in vocabularies."""
        return {chr(i) if i < 128 else f"<0x{i:02X}>": i for i in range(256)} | CONTROLS

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids; a byte that is no character of its own becomes a replacement character."""
        parts = (self.added_tokens_decoder.get(i, "").encode() if i > 255 else bytes([i]) for i in ids)
        return b"".join(parts).decode("utf-8", errors="replace")

    @staticmethod
    def _encode(text: str, *, split: bool) -> list[int]:
        if split:
            return list(text.encode("utf-8", errors="replace"))
        ids: list[int] = []
        at = 0
        for match in _CONTROL.finditer(text):
            ids += [*text[at : match.start()].encode("utf-8", errors="replace"), CONTROLS[match[0]]]
            at = match.end()
        return ids + list(text[at:].encode("utf-8", errors="replace"))


class _Token(NamedTuple):
    decoded_token: str
    logprob: float


class _Answer(NamedTuple):
    text: str
    token_ids: list[int]
    logprobs: list[dict[int, _Token]]
    finish_reason: str = "length"


class _Output(NamedTuple):
    outputs: list[_Answer]
    num_cached_tokens: int = 0


class FakeTokenModel:
    """Draws every probability from a hash of prompt and token, the same for the same prompt in any company."""

    def __init__(
        self,
        *,
        mass: float = 0.9,
        sampled: int = ord("3"),
        capacity: int | None = None,
        after: Mapping[str, float] | None = None,
    ) -> None:
        """Make one.

        Args:
            mass: probability that the ids asked for hold together.
            sampled: the token it says it would say.
            capacity: what it says its cache holds.
            after: the mass in place of it after prompts that end in one of these; the longest counts.
        """
        self._mass = mass
        self._after = {tuple(text.encode()): share for text, share in (after or {}).items()}
        self._sampled = sampled
        self.capacity = capacity
        self.longest = 1 << 20
        self.calls: list[tuple[int, int]] = []
        self.closed = 0
        self._prompt = self._cached = 0

    @property
    def counters(self) -> Counters:
        """As if every whole block of a prefix were shared."""
        return Counters(self._prompt, self._cached)

    def next_token(self, prefixes: Sequence[list[int]], suffixes: Sequence[list[int]], ids: Sequence[int]) -> NextToken:
        """Draw; the prompts count, not how they are cut."""
        self.calls.append((len(prefixes), len(suffixes)))
        keys = np.array([[_key(p, s) for s in suffixes] for p in prefixes], dtype=np.uint64)
        drawn = _uniform(keys.reshape(len(prefixes), len(suffixes), 1), np.asarray(ids, dtype=np.uint64))
        drawn = np.where(np.isin(ids, list(b"6789")), 1e-6, drawn)  # digits that are no labels
        mass = np.array([self._mass_after(s) for s in suffixes]).reshape(1, -1, 1)
        p = drawn / np.maximum(drawn.sum(axis=-1, keepdims=True), 1e-300) * mass
        lengths = [len(p) for p in prefixes], [len(s) for s in suffixes]
        self._prompt += len(suffixes) * sum(lengths[0]) + len(prefixes) * sum(lengths[1])
        self._cached += max(len(suffixes) - 1, 0) * sum(n // _BLOCK * _BLOCK for n in lengths[0])
        return NextToken(np.log(p), np.full(keys.shape, self._sampled, dtype=np.int64))

    def _mass_after(self, suffix: list[int]) -> float:
        ends = [end for end in self._after if tuple(suffix[-len(end) :]) == end]
        return self._after[max(ends, key=len)] if ends else self._mass

    def answer(self, prompts: Sequence[list[int]], wishes: Sequence[dict[str, Any]]) -> list[Any]:
        """One digit each, with its log-probabilities, as vLLM would give them."""
        digits = list(b"0123456789")
        found = []
        for prompt, _ in zip(prompts, wishes, strict=True):
            logprobs = self.next_token([[]], [prompt], digits).logprobs[0, 0]
            top = {i: _Token(chr(i), float(p)) for i, p in zip(digits, logprobs, strict=True)}
            best = digits[int(np.argmax(logprobs))]
            found.append(_Output([_Answer(chr(best), [best], [top])]))
        return found

    def surprise(self, prompts: Sequence[list[int]], spans: Sequence[tuple[int, int]]) -> Float64:
        """A number from a hash of the span."""
        keys = np.array([_key(p[a:b], []) for p, (a, b) in zip(prompts, spans, strict=True)], dtype=np.uint64)
        found = 5.0 * _uniform(keys, np.uint64(0))
        return np.where([b > a for a, b in spans], found, np.nan)

    def close(self) -> None:
        """Count the calls."""
        self.closed += 1


def _key(prefix: list[int], suffix: list[int]) -> int:
    return hash(tuple(prefix + suffix)) & 0xFFFF_FFFF_FFFF_FFFF


def _uniform(keys: npt.NDArray[np.uint64], labels: npt.NDArray[np.uint64] | np.uint64) -> Float64:
    """Finaliser of splitmix64, as numbers in (0, 1)."""
    x = keys + (labels + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(((x ^ (x >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
