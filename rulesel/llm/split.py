"""A chat prompt cut where documents stop differing: prefix per document, suffix per question, joined as token ids.

The prefix is shared by construction, each document and each question is tokenised once, and no engine adds a second
beginning-of-sequence token. Joining ids gives what tokenising the whole text gives because the cut is between a letter
and a line break, which no byte-level pre-tokenizer merges across, and because the suffix is encoded behind a word that
is then dropped, which keeps SentencePiece from putting a space before it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rulesel.errors import UsageError
from rulesel.prompts import Prompt

log = logging.getLogger(__name__)

ANCHOR = "DOCUMENT"
BLOCK = 32
"""Prefixes are padded to multiples of it: the block of vLLM on CPU, two blocks on GPU."""
QUESTIONS_PER_DOCUMENT = 10
"""What padding is weighed against; a constant, so that a prompt does not depend on the other questions."""
DATE = "26 Jul 2024"
"""The day it is for chat templates that write one: today's would make every day's ratings other ratings."""
TEMPLATE_ARGUMENTS: dict[str, Any] = {
    "enable_thinking": False,
    "thinking": False,
    "reasoning_effort": "low",
    "date_string": DATE,
    "strftime_now": lambda _format: DATE,
}

THINKS = (
    "The model's chat template makes it think before it answers, so that its first token is no rating. "
    "Use the instruct variant, or serve the model and rate through the server."
)

_MARK = "\u241e"
_HOLE = re.compile(f"{_MARK}(\\w+){_MARK}")
_THINKS = re.compile(r"<(?:\w+:)?think(?:ing)?>|\[THINK\]|<\|channel\|>(?:analysis|thought)|<\|begin_of_thought\|>")
_THOUGHT = re.compile(r"</(?:\w+:)?think(?:ing)?>|\[/THINK\]|<\|channel\|>final|<\|end_of_thought\|>")
_PROBE = {"nonce": "0a1b2c3d4e5f6071", "document": "One line, and a number: 27.\n\n- another (1);\n\tthe last?"}


class Split:
    """One prompt in one model's chat template, in four pieces: head, document, question, tail."""

    def __init__(
        self,
        tokenizer: Any,  # noqa: ANN401 - optional package
        prompt: Prompt,
        *,
        document: Sequence[str],
        question: Sequence[str],
        start: str | None = "",
    ) -> None:
        """Render once and cut.

        Args:
            tokenizer: of transformers, or anything with the few methods used here.
            prompt: the prompt; all its document holes stand before all its question holes.
            document: names of the holes that differ from document to document.
            question: names of the holes that differ from question to question.
            start: how the answer begins; encoded by itself and appended, so that no template trims it. After a template
                that opens a thought it follows the mark that closes the thought. None: not chosen yet.

        Raises:
            UsageError: the model has no chat template, or one that makes it think before an answer without a start.
        """
        self._tokenizer = tokenizer
        text = rendered(tokenizer, prompt.messages(**{name: f"{_MARK}{name}{_MARK}" for name in prompt.inputs}))
        holes = [(match[1], match.start(), match.end()) for match in _HOLE.finditer(text)]
        first, last = (min(a for n, a, _ in holes if n in document), max(b for n, _, b in holes if n in document))
        asked, end = (min(a for n, a, _ in holes if n in question), max(b for n, _, b in holes if n in question))
        if last > asked:
            raise ValueError(f"prompt {prompt.ref}: {', '.join(document)} must stand before {', '.join(question)}")
        controls = _controls(tokenizer, text)
        shared = max([0, *(b for _, b in controls if b <= first), *_seams(text, 0, first)])
        cut = max(_seams(text, last, asked), default=None)
        if cut is None:
            raise ValueError(f"prompt {prompt.ref}: no line ends with a letter between document and question")
        tail = min([a for a, _ in controls if a >= end], default=len(text))
        mark = closing(text[end:], tokenizer)
        self.thinks = bool(mark)
        if mark is None or (self.thinks and start == ""):
            raise UsageError(THINKS)
        self._document, self._question = text[shared:cut], text[cut:tail]
        self.head = self._encode([text[:shared]], controls=True)[0]
        self._tail = self._encode([text[tail:]], controls=True)[0] if text[tail:] else []
        self._anchored = self._choose_anchor(text, prompt)
        self._start = self._encode([mark or "", start], controls=True) if start else []

    def prefixes(self, values: Sequence[Mapping[str, str]]) -> list[list[int]]:
        """Token ids up to the cut, one list a document; control tokens in the values are plain text."""
        return [self.head + ids for ids in self._encode_parts([_fill(self._document, v) for v in values])]

    def padded(self, values: Sequence[Mapping[str, str]], prefixes: Sequence[list[int]]) -> list[list[int]]:
        """Prefixes whose closing line is lengthened to fill whole blocks, where that computes fewer tokens."""
        found = list(prefixes)
        fillers = {i: -len(ids) % BLOCK for i, ids in enumerate(found) if _pays(len(ids) % BLOCK)}
        wanted = len(fillers)
        for _ in range(2):  # the first filler may change how the line's own marks are cut
            texts = [_lengthen(_fill(self._document, values[i]), n) for i, n in fillers.items()]
            longer = dict(zip(fillers, self._encode_parts(texts), strict=True))
            for i, ids in longer.items():
                over = (len(self.head) + len(ids)) % BLOCK
                fillers[i] += -over % BLOCK
                if not over and len(self.head) + len(ids) - len(found[i]) < BLOCK:
                    found[i] = self.head + ids
            fillers = {i: n for i, n in fillers.items() if len(found[i]) % BLOCK and n < BLOCK + 2}
        if wanted and len(fillers) == wanted:
            log.warning("This model's tokenizer has no one token for the filler: prefixes are not padded.")
        return found

    def suffixes(self, values: Sequence[Mapping[str, str]]) -> list[list[int]]:
        """Token ids after the cut, the start of the answer included, one list a question."""
        after = self._tail + [i for ids in self._start for i in ids]
        return [ids + after for ids in self._encode_parts([_fill(self._question, v) for v in values])]

    def canonical(self, prompt: Prompt, values: Mapping[str, str]) -> bool:
        """Whether prefix + suffix, up to the answer, are the ids that the whole text has; holds no control token."""
        whole = self._encode([rendered(self._tokenizer, prompt.messages(**values))], controls=True)[0]
        start = sum(map(len, self._start))
        suffix = self.suffixes([values])[0]
        return self.prefixes([values])[0] + suffix[: len(suffix) - start] == whole

    def spans(self, values: Sequence[Mapping[str, str]]) -> list[tuple[int, int]]:
        """Where the tokens that begin inside each document stand in its prefix, as (first, one past the last)."""
        before, _, _ = self._document.partition(f"{_MARK}document{_MARK}")
        lead = ANCHOR if self._anchored else ""
        found = self._tokenizer(
            [lead + _fill(self._document, v) for v in values],
            add_special_tokens=False,
            split_special_tokens=True,
            return_offsets_mapping=True,
        )["offset_mapping"]
        drop = len(self.head) - (len(self._encode([ANCHOR], controls=False)[0]) if self._anchored else 0)
        spans = []
        for offsets, v in zip(found, values, strict=True):
            first = len(lead) + len(_fill(before, v))
            inside = [t for t, (a, b) in enumerate(offsets) if first <= a < first + len(v["document"]) and b > a]
            spans.append((drop + inside[0], drop + inside[-1] + 1) if inside else (0, 0))
        return spans

    def _encode(self, texts: list[str], *, controls: bool) -> list[list[int]]:
        if not texts:
            return []
        found = self._tokenizer(
            texts,
            add_special_tokens=False,
            split_special_tokens=not controls,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]
        return [list(ids) for ids in found]

    def _encode_parts(self, texts: list[str], *, anchored: bool | None = None) -> list[list[int]]:
        if not (self._anchored if anchored is None else anchored):
            return self._encode(texts, controls=False)
        drop = len(self._encode([ANCHOR], controls=False)[0])
        return [ids[drop:] for ids in self._encode([ANCHOR + text for text in texts], controls=False)]

    def _choose_anchor(self, text: str, prompt: Prompt) -> bool:
        probe = {name: _PROBE.get(name, "It is clear, and says why.") for name in prompt.inputs}
        whole = self._encode([_fill(text, probe)], controls=True)[0]
        for anchored in (True, False):
            parts = [_fill(self._document, probe), _fill(self._question, probe)]
            document, question = self._encode_parts(parts, anchored=anchored)
            if self.head + document + question + self._tail == whole:
                return anchored
        log.warning("Prompts of this model are joined from pieces that its tokenizer would cut elsewhere.")
        return True


def rendered(tokenizer: Any, messages: Sequence[tuple[str, str]]) -> str:  # noqa: ANN401 - optional package
    """The text of a chat up to where the assistant speaks; a template without system role gets it in the first turn.

    Raises:
        UsageError: there is no chat template, or it fails.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise UsageError("The model has no chat template: rating needs an instruction-tuned model.")
    turns = [{"role": role, "content": content} for role, content in messages]
    try:
        return _apply(tokenizer, turns)
    except Exception as error:
        if len(turns) != 2 or turns[0]["role"] != "system":
            raise UsageError(f"The model's chat template fails: {error}") from error
    folded = [{"role": "user", "content": f"{turns[0]['content']}\n\n{turns[1]['content']}"}]
    try:
        return _apply(tokenizer, folded)
    except Exception as error:
        raise UsageError(f"The model's chat template fails: {error}") from error


def _apply(tokenizer: Any, turns: list[dict[str, str]]) -> str:  # noqa: ANN401 - optional package
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, **TEMPLATE_ARGUMENTS))


def _fill(form: str, values: Mapping[str, str]) -> str:
    return _HOLE.sub(lambda match: values[match[1]], form)


def _controls(tokenizer: Any, text: str) -> list[tuple[int, int]]:  # noqa: ANN401 - optional package
    """Where control tokens stand in the rendered template."""
    known = sorted({str(t) for t in tokenizer.added_tokens_decoder.values()} | {*tokenizer.all_special_tokens})
    found = re.finditer("|".join(re.escape(t) for t in sorted(known, key=len, reverse=True)), text) if known else []
    return [match.span() for match in found]


def _seams(text: str, start: int, stop: int) -> list[int]:
    """Positions in [start, stop) before a line break that follows a letter."""
    return [start + m.start() for m in re.finditer(r"(?<=[^\W\d_])(?=\n)", text[start:stop])]


def _pays(over: int) -> bool:
    """Whether filling the block costs less than computing what is over once more for every other question."""
    return over > 0 and BLOCK - over < (QUESTIONS_PER_DOCUMENT - 1) * over


def _lengthen(text: str, count: int) -> str:
    """Put a ruler before the last line, one token a piece on every common tokenizer."""
    at = text.rindex("\n") + 1
    return text[:at] + "= " * count + text[at:]


def closing(tail: str, tokenizer: Any) -> str | None:  # noqa: ANN401 - optional package
    """What closes a thought that the template opens before the answer: "" if it opens none, None if there is no telling."""
    template = str(getattr(tokenizer, "chat_template", ""))
    opened = list(_THINKS.finditer(tail))
    closed = [match.start() for match in _THOUGHT.finditer(tail)]
    if "<|channel|>" in template and not closed:
        return None
    if not opened or (closed and closed[-1] > opened[-1].start()):
        return ""
    mark = opened[-1][0]
    if mark.startswith("<|channel|>"):
        return None
    end = mark.replace("begin", "end") if "begin" in mark else f"{mark[0]}/{mark[1:]}"
    return f"\n{end}\n\n"
