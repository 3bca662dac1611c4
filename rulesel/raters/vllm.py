"""Rates with a local model in this process: document first, one token out, the expectation over the digits.

The expectation over the judgment distribution beats its mode (arXiv 2503.03064; weighting by token probability:
arXiv 2303.16634), and one rule a prompt keeps one rating from leaning on another (arXiv 2405.01724).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, PrivateAttr

from rulesel.digest import digest
from rulesel.errors import ModelError, UsageError
from rulesel.llm import vllm as engine
from rulesel.llm.documents import Documents, calls, prepare
from rulesel.llm.labels import DIGITS, LOW_MASS
from rulesel.llm.masses import Masses
from rulesel.llm.split import TEMPLATE_ARGUMENTS, THINKS, Split
from rulesel.llm.starts import BEYOND, Tried, candidates, tried
from rulesel.llm.tokens import NextToken, TokenModel, expectations, fitting, label_ids
from rulesel.llm.vllm_chat import ChatEngine, VllmChat
from rulesel.llm.vllm_setup import host, need_local
from rulesel.llm.weights import context_of, fingerprint, locate
from rulesel.prompts import load
from rulesel.raters import PARAPHRASE, Lent, Rater
from rulesel.records import Batch, Float32, Float64, Ratings, Rule, Status

log = logging.getLogger(__name__)

RULE_TOKENS = 1024
"""Kept free for a rule: how much of a document is read must not depend on the other rules of a run."""
CHECKED = 8
KEPT_REASONS = 64
"""Failed cells of a batch whose answer is kept."""


@dataclass
class _Open:
    """What rating needs once the model is there.

    `asked` names prompt and start of the answer; `swapped` is there where the prompt has the rule before the document.
    """

    model: TokenModel
    tokenizer: Any
    longest: int
    asked: tuple[str, str | None]
    split: Split
    swapped: Split | None
    variants: tuple[tuple[int, ...], ...]
    budget: int
    canonical: list[bool] = field(default_factory=list)


class Vllm(Rater):
    """A model given by folder or Hugging Face id, in vLLM."""

    name: ClassVar[str] = "vllm"
    version: ClassVar[int] = 1
    source: ClassVar[str] = "arXiv 2503.03064; arXiv 2309.06180"
    summary: ClassVar[str] = "A whole corpus by a local model, as fast as the machine can."
    chunk: ClassVar[int] = 192

    model: str = Field(min_length=1)
    """Folder or Hugging Face id of an instruction-tuned model."""
    revision: str | None = None
    prompt: str = "rate_rule@1"
    document_tokens: int = Field(4096, ge=64)
    """Longest document with its fence; what is over loses its middle, and the rating is flagged."""
    pad: bool = False
    """Lengthen the line that closes a document until the shared prefix fills whole cache blocks, where that saves work.

    The text then differs by that line from what a server is sent.
    """
    start: str | None = None
    """What every answer starts with, such as "Rating: "; not given, a run tries a few and keeps the best."""
    starts: tuple[str, ...] = ()
    """Further starts to try."""
    perplexity: bool = False
    """Also compute how surprising the document is to the model, which fills the cache for the rules."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    tensor_parallel: int = Field(1, ge=1)
    eager: bool | None = None
    """Skip compilation; by default on CPU."""
    cache_gib: float | None = Field(None, gt=0)
    """Key-value cache on CPU."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Further engine arguments, as vLLM names them; part of the identity, as some change numbers."""

    _opened: _Open | None = PrivateAttr(None)
    _owner: Vllm | None = PrivateAttr(None)
    """Whose engine it is, where it is another's."""
    _mass: float | None = PrivateAttr(None)
    """10th percentile of the mass after the start, where it was tried."""

    @property
    def id(self) -> str:
        """Content address of weights, tokenizer, chat template, prompt, start of the answer, labels and truncation."""
        return self._id(self.start)

    @property
    def bare_id(self) -> str:
        """What `id` is without a start of the answer."""
        return self._id(None)

    def _id(self, start: str | None) -> str:
        template = {key: value for key, value in TEMPLATE_ARGUMENTS.items() if not callable(value)}
        asked = [load(self.prompt).id, sorted(DIGITS.items()), template]
        read = [self.document_tokens, RULE_TOKENS, self.pad]
        weights = fingerprint(locate(self.model, self.revision))
        more = (
            [["start", start]] if start else []
        )  # without one nothing is added: ratings made before there was one stay
        return digest([self.name, self.version, weights, asked, read, self.arguments, *more])

    @property
    def grader(self) -> str:
        """The model, as `--judge` names it."""
        return f"{self.name}:{self.model}"

    def reworded(self) -> Vllm:
        """A copy with the other prompt, on the engine of this one."""
        other = self.model_copy(update={"prompt": PARAPHRASE})
        other._opened, other._owner = None, self
        return other

    def provenance(self) -> dict[str, Any]:
        """Versions, number format, compilation, and the mass that the start of the answer had when it was tried."""
        start = {"start": self.start, "start_mass": self._mass} if self.start else {}
        return host() | {"model": self.model, "dtype": self.dtype, "eager": self.eager} | start

    @property
    def undecided(self) -> bool:
        """Whether no start was named or chosen yet."""
        return self.start is None

    @property
    def answer_start(self) -> str:
        """What every answer starts with."""
        return self.start or ""

    def starting(self, start: str, mass: float | None = None) -> Vllm:
        """A copy with that start, which takes over the engine."""
        other = self.model_copy(update={"start": start})
        other._mass = mass
        self._opened = None
        return other

    def try_starts(self, batch: Batch, rule: Rule, lent: Lent) -> list[Tried]:
        """What each start does to the answers about a few examples under one rule.

        Raises:
            ModelError: the model cannot be loaded.
            UsageError: as `rate`.
        """
        opened = self.open()
        documents = prepare(opened.split, batch, lent.secret, budget=opened.budget, pad=self.pad)
        found: dict[str, Tried] = {}
        suffixes: dict[str, list[int]] = {}
        for start in candidates(self.starts):
            if (form := fitting(opened.tokenizer, start, list(DIGITS))) is None:
                found[start] = Tried(start, why="no single token is a digit after it")
            elif opened.split.thinks and not form:
                found[start] = Tried(start, why="the chat template makes the model think first")
            else:
                split, _ = _split(self.prompt, opened.tokenizer, form)
                suffixes[start] = split.suffixes([_question(rule)])[0]
        beyond = _beyond(opened.tokenizer)
        ids = [i for variant in (*opened.variants, *beyond) for i in variant]
        answers = opened.model.next_token(documents.prefixes, list(suffixes.values()), ids)
        if not answers.exact:
            return []
        p = np.exp(answers.logprobs)
        labels = sum(map(len, opened.variants))
        for j, start in enumerate(suffixes):
            found[start] = tried(start, p[:, j, :labels].sum(axis=-1), p[:, j, labels:].sum(axis=-1))
        return [found[start] for start in candidates(self.starts)]

    def refuses(self, rule: Rule) -> str | None:
        """A rule too long for the room that is kept for it."""
        text = "".join(_question(rule).values())
        if len(text.encode()) < RULE_TOKENS // 2:  # a token is a byte at least: no need to ask the tokenizer
            return None
        split, _ = _split(self.prompt, _tokenizer(locate(self.model, self.revision)), self.start)
        tokens = len(split.suffixes([_question(rule)])[0])
        return f"its prompt takes {tokens} tokens of {RULE_TOKENS}" if tokens > RULE_TOKENS else None

    def rate(self, batches: Iterable[Batch], rules: Sequence[Rule], lent: Lent) -> Iterator[Ratings]:
        """Yield one `Ratings` a batch; `mass` is the probability of the six digits together.

        Raises:
            ModelError: the model cannot be loaded, or answers some rule with anything but a digit.
            UsageError: vLLM is missing or broken, or the model is not there or thinks before it answers.
        """
        for ratings, _ in self.rate_and_read(batches, rules, lent):
            yield ratings

    def rate_and_read(
        self, batches: Iterable[Batch], rules: Sequence[Rule], lent: Lent
    ) -> Iterator[tuple[Ratings, Float64]]:
        """As `rate`, with each document's mean negative log-likelihood per token; NaN unless `perplexity` is on."""
        opened = self.open()
        if opened.split.thinks and not self.start:
            raise UsageError(THINKS)
        masses = Masses([rule.name for rule in rules])
        for batch in batches:
            documents = prepare(opened.split, batch, lent.secret, budget=opened.budget, pad=self.pad)
            self._check_seams(opened, documents, rules)
            answers, surprise = self._ask(opened, documents, [_question(rule) for rule in rules])
            ratings = _ratings(opened, documents, rules, answers)
            yield ratings, surprise
            masses.add(ratings.mass, answers.sampled, opened.tokenizer)

    def open(self) -> _Open:
        """Load the model, once."""
        if self._opened is None and self._owner is not None:
            opened = self._owner.open()
            self.use(opened.model, opened.tokenizer, opened.longest)
        elif self._opened is None:
            folder = locate(self.model, self.revision)
            tokenizer = _tokenizer(folder)
            longest = context_of(folder) or 1 << 30
            head = max(len(_split(prompt, tokenizer, None)[0].head) for prompt in (self.prompt, PARAPHRASE))
            limit = min(head + self.document_tokens + RULE_TOKENS + 1, longest)
            model = engine.Vllm(
                folder,
                max_tokens=limit,
                dtype=self.dtype,
                cache_bytes=int(self.cache_gib * (1 << 30)) if self.cache_gib else None,
                tensor_parallel=self.tensor_parallel,
                eager=self.eager,
                arguments=({"max_num_batched_tokens": 2048} if self.perplexity else {}) | self.arguments,
            )
            self.use(model, tokenizer, longest)
        elif self._opened.asked != (self.prompt, self.start):  # a copy that asks otherwise
            self.use(self._opened.model, self._opened.tokenizer, self._opened.longest)
        return self._opened or self.open()

    def use(self, model: TokenModel, tokenizer: Any, longest: int) -> None:  # noqa: ANN401 - optional package
        """Rate with a model that is open already.

        Args:
            model: the model.
            tokenizer: of that model.
            longest: tokens its prompts may have.
        """
        start = self.start
        if start and (start := fitting(tokenizer, start, list(DIGITS))) is None:
            raise UsageError(f"After start {self.start!r} this model's tokenizer has no single token for a digit.")
        split, swapped = _split(self.prompt, tokenizer, start)
        budget = min(len(split.head) + self.document_tokens, longest - RULE_TOKENS - 1)
        if budget < len(split.head) + 64:
            raise UsageError(f"The model reads {longest} tokens: too few for a document beside prompt and rule.")
        asked, variants = (self.prompt, self.start), label_ids(tokenizer, list(DIGITS))
        self._opened = _Open(model, tokenizer, longest, asked, split, swapped, variants, budget)

    def chat(self) -> VllmChat:
        """The same engine as a chat model, for grades by the model that rates.

        Raises:
            UsageError: as `open`; or the rater was given a model that is no engine.
        """
        opened = self.open()
        if not isinstance(opened.model, ChatEngine):
            raise UsageError("Only an engine can chat.")
        identity = f"vllm:{fingerprint(locate(self.model, self.revision))}"
        return VllmChat(opened.model, opened.tokenizer, identity, opened.model.longest)

    def close(self) -> None:
        """Stop the engine, if it is its own; harmless when called twice."""
        opened, self._opened = self._opened, None
        if opened is not None and self._owner is None:
            opened.model.close()

    def _ask(self, opened: _Open, documents: Documents, questions: list[dict[str, str]]) -> tuple[NextToken, Float64]:
        ids = [i for variant in opened.variants for i in variant]
        surprise = np.full(len(documents.prefixes), np.nan)
        if opened.swapped is not None:
            asked = opened.swapped.prefixes(questions), opened.swapped.suffixes(documents.values)
            found = opened.model.next_token(*asked, ids)
            return NextToken(found.logprobs.swapaxes(0, 1), found.sampled.T, found.exact), surprise
        suffixes = opened.split.suffixes(questions)
        spans = opened.split.spans(documents.values) if self.perplexity else []
        found = NextToken(np.empty((0, len(suffixes), len(ids))), np.empty((0, len(suffixes)), dtype=np.int64))
        answers = [found]
        for part in calls(documents.prefixes, len(suffixes), opened.model.capacity if self.perplexity else None):
            if self.perplexity:
                surprise[part] = opened.model.surprise(documents.prefixes[part], spans[part])
            answers.append(opened.model.next_token(documents.prefixes[part], suffixes, ids))
        logprobs, sampled = np.concatenate([a.logprobs for a in answers]), np.concatenate([a.sampled for a in answers])
        return NextToken(logprobs, sampled, all(a.exact for a in answers)), surprise

    def _check_seams(self, opened: _Open, documents: Documents, rules: Sequence[Rule]) -> None:
        """Compare the first prompts with what the tokenizer makes of the whole text."""
        for values in documents.values[: max(0, CHECKED - len(opened.canonical))] if rules else []:
            rule = rules[len(opened.canonical) % len(rules)]
            split = opened.swapped or opened.split
            opened.canonical.append(split.canonical(load(self.prompt), values | _question(rule)))
            if not opened.canonical[-1] and all(opened.canonical[:-1]):
                log.warning("This model's tokenizer cuts some prompts elsewhere than where they are joined.")


def _ratings(opened: _Open, documents: Documents, rules: Sequence[Rule], answers: NextToken) -> Ratings:
    mean, mass = expectations(answers.logprobs, opened.variants, DIGITS)
    values = mean / max(DIGITS.values())
    negative = np.array([rule.polarity == "negative" for rule in rules], dtype=bool)
    values = np.where(negative, 1.0 - values, values)
    status = np.full(values.shape, Status.ok, dtype=np.uint8)
    status[mass < LOW_MASS] = Status.low_mass
    status[np.isnan(values)] = Status.parse
    rated: Float32 = np.where(status == Status.ok, np.clip(values, 0.0, 1.0), np.nan).astype(np.float32)
    failed = np.argwhere(status != Status.ok)[:KEPT_REASONS]
    return Ratings(
        rated,
        status,
        np.repeat(documents.flags[:, None], len(rules), axis=1),
        mass.astype(np.float32) if answers.exact else None,
        {
            (int(i), int(j)): f"{opened.tokenizer.decode([int(answers.sampled[i, j])])!r}, mass {mass[i, j]:.3f}"
            for i, j in failed
        },
    )


def _question(rule: Rule) -> dict[str, str]:
    """What fills a rule's holes, as in every rater that asks a model: anchors tell the lowest and highest rating."""
    low, high = ("not at all", "fully") if rule.anchors is None else (rule.anchors.low, rule.anchors.high)
    if rule.anchors is not None and rule.polarity == "negative":
        low, high = high, low
    return {"rule": rule.text, "low": low, "high": high}


def _beyond(tokenizer: Any) -> tuple[tuple[int, ...], ...]:  # noqa: ANN401 - optional package
    """Ids of the digits that are no labels, where the vocabulary has them."""
    try:
        return label_ids(tokenizer, BEYOND)
    except ModelError:
        return ()


def _split(ref: str, tokenizer: Any, start: str | None) -> tuple[Split, Split | None]:  # noqa: ANN401 - optional package
    """The prompt cut after the document and, if it has the rule first, the prompt cut after the rule.

    Only a calibration asks rule first; documents are then cut to length as in the default prompt.
    """
    prompt = load(ref)
    document = [name for name in ("nonce", "document") if name in prompt.inputs]
    question = [name for name in prompt.inputs if name not in document]
    if prompt.body.index("$document") < prompt.body.index(f"${question[0]}"):
        return Split(tokenizer, prompt, document=document, question=question, start=start), None
    usual, _ = _split("rate_rule@1", tokenizer, start)
    return usual, Split(tokenizer, prompt, document=question, question=document, start=start)


def _tokenizer(folder: Path) -> Any:  # noqa: ANN401 - optional package
    return need_local("transformers").AutoTokenizer.from_pretrained(folder)
