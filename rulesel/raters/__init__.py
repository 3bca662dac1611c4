"""The contract of raters: every (example, rule) becomes a rating in [0, 1] or a failure with its reason.

A rater is one file here. `--judge` names it: "signals" is raters/signals, "vllm:PATH" is raters/vllm given PATH, and a
model name no rater claims (`openai/…`, `http://…#model`, `fake:…`) is raters/chat.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

from rulesel.errors import UsageError
from rulesel.llm.base import ChatModel, Lent
from rulesel.llm.starts import Tried
from rulesel.plugins import Spec, build, find, names
from rulesel.records import Batch, Ratings, Rule

__all__ = ["PARAPHRASE", "Lent", "Rater", "is_exact", "rater_for"]

PARAPHRASE = "rate_rule_paraphrase@1"
"""The prompt for a second opinion of the same rater."""


class Rater(Spec, ABC):
    """Rates examples under rules.

    `id` is the identity of a rating's maker: whatever changes a number (weights, tokenizer, chat template, prompt,
    labels, truncation) is in it; engine version, dtype and host are only in `provenance`.
    """

    chunk: ClassVar[int] = 256
    """How many examples a batch should hold; what was rated is committed a batch at a time."""

    exact: ClassVar[bool] = False
    """The ratings are computed, not judged: no noise to guard against, no general impression to agree on. Rules are
    then chosen for being unlike one another alone, unless an anchor says which of them matter."""

    def reworded(self) -> Rater | None:
        """The same rater asked in other words, as `PARAPHRASE` has them; None for one that reads no words."""
        return None

    def provenance(self) -> dict[str, Any]:
        """What is recorded beside the ratings but does not make them other ratings."""
        return {}

    @property
    def grader(self) -> str | None:
        """Name of the model that can also grade without the rules; None for a rater that reads no words."""
        return None

    def chat(self) -> ChatModel:
        """The engine in this process as a chat model, opened if need be.

        Raises:
            UsageError: this rater has none.
        """
        raise UsageError(f"The rater {self.name!r} has no engine that could chat.")

    @property
    def undecided(self) -> bool:
        """Whether the start of its answers is still to be chosen, by trying a few; it has none until then."""
        return False

    @property
    def answer_start(self) -> str:
        """What every answer starts with; empty for nothing."""
        return ""

    @property
    def bare_id(self) -> str:
        """What `id` is without a start of the answer."""
        return self.id

    def starting(self, start: str, mass: float | None = None) -> Rater:  # noqa: ARG002 - for those that have one
        """The same rater, engine included, whose answers start so; this one is not to be used any more.

        Args:
            start: the text.
            mass: what is known of the probability on the labels after it, for the provenance.
        """
        return self

    def try_starts(self, batch: Batch, rule: Rule, lent: Lent) -> list[Tried]:  # noqa: ARG002
        """What each start does to the answers about a few examples under one rule; empty where none can be tried."""
        return []

    @abstractmethod
    def refuses(self, rule: Rule) -> str | None:
        """Why this rater cannot rate the rule at all, or None; asked before anything is spent."""

    @abstractmethod
    def rate(self, batches: Iterable[Batch], rules: Sequence[Rule], lent: Lent) -> Iterator[Ratings]:
        """Yield one `Ratings` (n, R) a batch, in order; an empty batch gives (0, R)."""

    def close(self) -> None:
        """Let go of engines and connections; harmless when called twice."""
        return


def rater_for(judge: str, **parameters: object) -> Rater:
    """The rater a `--judge` value names, with its parameters checked.

    Raises:
        UsageError: no rater of that name, or a parameter it does not take.
    """
    head, _, rest = judge.partition(":")
    if _is_plugin(head):
        return build(__name__, head, Rater, parameters | ({"model": rest} if rest else {}))
    return build(__name__, "chat", Rater, {"model": judge} | parameters)


def is_exact(judge: str) -> bool:
    """Whether the ratings of a `--judge` value are computed; False of somebody that this installation does not know."""
    head = judge.partition(":")[0]
    return _is_plugin(head) and find(__name__, head, Rater).exact


def _is_plugin(head: str) -> bool:
    return head in names(__name__) and head != "chat"
