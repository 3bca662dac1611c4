"""A model that is none: answers by a script, misbehaves at seeded rates, costs nothing. For tests, demos and dry runs.

`fake:planted` reads what our prompts ask for and answers by rule: a document's quality is the number in the first
`planted=0.83` it holds, else a hash of it, and every question mixes that quality with a hash of document and question.
`fake:planted,prose=.05,http=.1,seed=3` adds faults: `http`, `throttle` and `timeout` strike an attempt and may pass,
`refused`, `prose`, `empty`, `range`, `cut` and `low_mass` belong to the request. Further parameters: `latency` in
seconds, `logprobs=0` for a server that returns none.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable

import orjson

from rulesel.errors import UsageError
from rulesel.llm.base import ChatRequest, Completion, Failure
from rulesel.llm.faults import Retryable

Script = Callable[[ChatRequest], Completion | str | Exception]

_DOCUMENT = re.compile(r"^=== \w+ START OF DOCUMENT.*?\n(.*?)\n=== \w+ END OF DOCUMENT", re.MULTILINE | re.DOTALL)
_PLANTED = re.compile(r"planted=([01]?\.?\d+)")
_SCALE = re.compile(r"from (\d) to (\d)")
_PASSING = ("http", "throttle", "timeout")
_LASTING = ("refused", "prose", "empty", "range", "cut", "low_mass")


class Fake:
    """A backend that asks a function."""

    def __init__(self, answer: Script, *, latency: float = 0.0) -> None:
        """Args: what to answer (an exception is raised), and seconds to wait before."""
        self._answer = answer
        self._latency = latency
        self.asked = 0

    @classmethod
    def named(cls, name: str) -> Fake:
        """The fake behind a model name.

        Raises:
            UsageError: no script of that name, or a parameter it does not take.
        """
        script, *parameters = name.removeprefix("fake:").split(",")
        if script != "planted":
            raise UsageError(f"No fake model named {script!r}. Known: planted.")
        values = {"seed": 0.0, "latency": 0.0, "logprobs": 1.0, **dict.fromkeys((*_PASSING, *_LASTING), 0.0)}
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key not in values or not re.fullmatch(r"\d*\.?\d+", value):
                raise UsageError(
                    f"{parameter!r} is no parameter of fake:planted. Known: {', '.join(values)} (=number)."
                )
            values[key] = float(value)
        return cls(_Planted(values), latency=values["latency"])

    async def send(self, request: ChatRequest) -> Completion:
        """Answer as the script says; raises what it returns as an exception."""
        self.asked += 1
        if self._latency:
            await asyncio.sleep(self._latency)
        answer = self._answer(request)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Completion):
            return answer
        return _counted(Completion(answer), request)

    async def context(self) -> int | None:
        """There is no limit."""
        return None

    async def close(self) -> None:
        """Nothing to let go of."""


class _Planted:
    """The script of `fake:planted`."""

    def __init__(self, values: dict[str, float]) -> None:
        self._values = values
        self._asked: Counter[str] = Counter()

    def __call__(self, request: ChatRequest) -> Completion | Exception:
        key = request.id("planted")
        self._asked[key] += 1
        passing = self._draw(_PASSING, f"{key}#{self._asked[key]}")
        if passing == "timeout":
            return Retryable(Failure("timeout", "planted time-out", maybe_paid=True))
        if passing is not None:
            status = "429: planted" if passing == "throttle" else "500: planted"
            return Retryable(Failure("http", status), throttled=passing == "throttle")
        lasting = self._draw(_LASTING, key)
        return _counted(_misbehaved(lasting) if lasting else self._good(request), request)

    def _draw(self, kinds: tuple[str, ...], key: str) -> str | None:
        at = unit("fault", str(self._values["seed"]), key)
        for kind in kinds:
            at -= self._values[kind]
            if at < 0:
                return kind
        return None

    def _good(self, request: ChatRequest) -> Completion:
        user = request.messages[-1][1]
        documents = _DOCUMENT.findall(user)
        question = user[max((match.end() for match in _DOCUMENT.finditer(user)), default=0) :]
        if request.json_schema:
            return Completion(_rules(request))
        if len(documents) == 2:
            lean = 4.0 * (quality(documents[0]) - quality(documents[1])) + 0.3  # likes what is shown first
            return self._labelled({"A": 1 / (1 + math.exp(-lean)), "B": 1 / (1 + math.exp(lean))}, request)
        text = documents[0] if documents else user
        degree = 0.6 * quality(text) + 0.4 * unit("question", text, question)
        scale = _SCALE.search("\n".join(content for _, content in request.messages))
        low, high = (int(scale[1]), int(scale[2])) if scale else (0, 5)
        grade = low + (high - low) * degree
        if "first line" in question:
            return Completion(f"{round(2 * grade) / 2:g}\nIt was planted so.")
        weights = {str(label): math.exp(-2.0 * (label - grade) ** 2) for label in range(low, high + 1)}
        return self._labelled({label: w / sum(weights.values()) for label, w in weights.items()}, request)

    def _labelled(self, probabilities: dict[str, float], request: ChatRequest) -> Completion:
        best = max(probabilities, key=lambda label: probabilities[label])
        tokens = [(label, math.log(0.98 * p)) for label, p in probabilities.items() if p > 1e-9]
        asked = request.top_logprobs and self._values["logprobs"]
        return Completion(best, logprobs=((*tokens, ("I", math.log(0.02))),) if asked else ())


def quality(document: str) -> float:
    """What `fake:planted` takes for the quality of a document, in [0, 1]."""
    planted = _PLANTED.search(document)
    if planted:
        return min(1.0, float(planted[1]))
    return unit("document", re.sub(r"^=== \w+ ", "", document, flags=re.MULTILINE))


def unit(*parts: str) -> float:
    """A number in [0, 1) that depends on all parts and on nothing else."""
    key = hashlib.blake2b("\x1f".join(parts).encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(key, "big") / 2.0**64


def _misbehaved(kind: str) -> Completion:
    if kind == "refused":
        return Completion("", refusal="I cannot rate this.")
    if kind == "low_mass":
        return Completion("The", logprobs=((("The", math.log(0.9)), ("4", math.log(0.1))),))
    if kind == "cut":
        return Completion("   ", finish="length")
    return Completion({"prose": "I would say it is rather good.", "empty": "", "range": "9"}[kind])


def _counted(completion: Completion, request: ChatRequest) -> Completion:
    prompt = sum(len(content) for _, content in request.messages) // 4 + 1
    return Completion(
        completion.text,
        completion.finish,
        completion.logprobs,
        prompt_tokens=prompt,
        completion_tokens=min(request.max_tokens, len(completion.text) // 4 + 1),
        refusal=completion.refusal,
    )


_ASPECTS = (
    "opening sentence", "conclusion", "reasoning", "terminology", "examples", "numbers", "structure", "tone",
    "definitions", "caveats", "transitions", "summary",
)  # fmt: skip
_PROPERTIES = (
    "explicit", "free of repetition", "tied to the request", "easy to verify", "in a logical order", "specific",
    "consistent with the rest", "complete", "brief",
)  # fmt: skip


def _rules(request: ChatRequest) -> str:
    """As many rules as the prompt asks for, another choice of them for another prompt."""
    text = request.messages[-1][1]
    asked = re.search(r"Write (\d+) rules", text)
    pairs = [(aspect, trait) for aspect in _ASPECTS for trait in _PROPERTIES]
    pairs.sort(key=lambda pair: unit("rule", text, *pair))
    rules = [
        {
            "name": f"{aspect} {trait}",
            "text": f"The {aspect} of the answer is {trait}.",
            "polarity": "positive",
            "low": f"its {aspect} is anything but {trait}",
            "high": f"its {aspect} is {trait} throughout",
            "sql": None,
        }
        for aspect, trait in pairs[: int(asked[1]) if asked else 10]
    ]
    return orjson.dumps({"rules": rules}).decode()
