"""Which fields of a record are the prompt and the response."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rulesel.corpus.raw import Unusable
from rulesel.corpus.turns import Turn, join_turns, looks_like_turns, parse_turns, prompt_and_reply, reply
from rulesel.errors import CorpusError

_CONVERSATIONS = ("messages", "conversations", "conversation", "dialogue")
_PAIRS: tuple[tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...] = (
    # shape, prompt, joined to it, response: the first of each that is there
    ("alpaca", ("instruction",), ("input", "context"), ("output", "response", "answer", "completion")),
    ("question/answer", ("question",), ("context",), ("answer", "long_answer", "response", "solution", "output")),
    (
        "prompt/response",
        ("prompt", "query", "problem", "input"),
        (),
        ("response", "completion", "answer", "solution", "output"),
    ),
)
_TEXTS = ("text", "content")
KNOWN_FIELDS = frozenset(name for _, *groups in _PAIRS for group in (*groups, _CONVERSATIONS, _TEXTS) for name in group)
_WORDS = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}


@dataclass(frozen=True, slots=True)
class FieldMapping:
    """How a record becomes prompt and response.

    Attributes:
        shape: text, messages, alpaca, question/answer or prompt/response.
        prompt: field of the prompt; None for plain text and for messages.
        extra: field joined to the prompt by a blank line where it is not empty.
        response: field of the response, the text or the conversation.
    """

    shape: str
    response: str
    prompt: str | None = None
    extra: str | None = None

    def read(self, fields: dict[str, Any]) -> tuple[str | None, str]:
        """Prompt (None for plain text) and response of a record.

        Raises:
            Unusable: a field is missing, null, empty or not text.
        """
        if self.shape == "messages":
            return prompt_and_reply(parse_turns(_present(fields, self.response)))
        response = _text(fields, self.response, reply)
        if self.prompt is None:
            return None, response
        prompt = _text(fields, self.prompt, join_turns)
        if self.extra is not None and (more := fields.get(self.extra)):
            if type(more) is not str:
                raise Unusable(f"{self.extra!r} is {_WORDS.get(type(more), 'not text')}, not text")
            if not more.isspace():
                prompt = f"{prompt}\n\n{more}"
        return prompt, response

    def words(self) -> dict[str, str]:
        """What prompt and response, or text, are made of, in words."""
        if self.shape == "messages":
            return {
                "prompt": f"turns of {self.response} before the last assistant turn",
                "response": f"last assistant turn of {self.response}",
            }
        if self.prompt is None:
            return {"text": self.response}
        joined = f" + blank line + {self.extra}" if self.extra else ""
        return {"prompt": self.prompt + joined, "response": self.response}


def _present(fields: dict[str, Any], name: str) -> object:
    value = fields.get(name)
    if value is None:
        raise Unusable(f"{name!r} is null" if name in fields else f"no field {name!r}")
    return value


def _text(fields: dict[str, Any], name: str, of_turns: Callable[[list[Turn]], str]) -> str:
    value = fields.get(name)
    if type(value) is not str:
        if not looks_like_turns(_present(fields, name)):
            raise Unusable(f"{name!r} is {_WORDS.get(type(value), 'not text')}, not text")
        value = of_turns(parse_turns(value))
    if not value or value.isspace():
        raise Unusable(f"{name!r} is empty")
    return value


class Fields:
    """What the fields of some records hold."""

    def __init__(self, sample: Iterable[dict[str, Any]]) -> None:
        self.names: dict[str, None] = {}
        self.text: Counter[str] = Counter()
        self.turns: Counter[str] = Counter()
        self.blank: Counter[str] = Counter()
        for fields in sample:
            self.names.update(dict.fromkeys(fields))
            for name, value in fields.items():
                if isinstance(value, str):
                    (self.text if value.strip() else self.blank)[name] += 1
                elif looks_like_turns(value):
                    self.turns[name] += 1

    def first(self, candidates: Sequence[str]) -> str | None:
        """The first candidate that holds text or turns, unless another one does so more than twice as often."""
        counts = {name: self.text[name] + self.turns[name] for name in candidates}
        most = max(counts.values(), default=0)
        return next((name for name, count in counts.items() if count and 2 * count >= most), None)

    def is_conversation(self, name: str) -> bool:
        """Whether the field holds turns rather than text."""
        return self.turns[name] > self.text[name]

    def __str__(self) -> str:
        return legible(self.names)


def choose_mapping(
    fields: Fields,
    source: str,
    *,
    prompt_field: str | None = None,
    response_field: str | None = None,
    text_field: str | None = None,
) -> FieldMapping:
    """The mapping the user asks for, or the one the fields suggest.

    Raises:
        CorpusError: an unknown field, preference pairs, or fields that suggest nothing; says which options to give.
    """
    asked = {"--prompt-field": prompt_field, "--response-field": response_field, "--text-field": text_field}
    for option, name in asked.items():
        if name is not None:
            require_field(name, fields.names, option, source)
    if text_field is not None:
        if prompt_field is not None or response_field is not None:
            raise CorpusError("--text-field is for plain text; it excludes --prompt-field and --response-field.")
        return FieldMapping("text", text_field)
    if prompt_field is not None or response_field is not None:
        return _completed(fields, source, prompt_field, response_field)
    if {"chosen", "rejected"} <= fields.names.keys():
        raise _preference_pairs(fields, source)
    # by the fields' names where nothing usable is in them, so that the error says what is wrong with the values
    found = _suggested(fields) or _suggested(Fields([dict.fromkeys(fields.names, "text")]))
    if found is None:
        raise CorpusError(
            f"{source}: no known shape. Name the fields: --prompt-field A --response-field B, or --text-field A. "
            f"Fields: {fields}."
        )
    return found


def legible(names: Iterable[str]) -> str:
    """Field names for a message of one line: 20 at most, the unprintable ones quoted."""
    listed = [name if name.isprintable() and name else repr(name) for name in names]
    return ", ".join(listed[:20]) + (", ..." if len(listed) > 20 else "")


def require_field(name: str, known: Iterable[str], option: str, source: str) -> None:
    """Refuse a field that no record has, with the nearest one.

    Raises:
        CorpusError: the field is unknown.
    """
    names = list(known)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1) or [n for n in names if n.lower() == name.lower()]
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise CorpusError(f"{option} {name}: {source} has no such field.{hint} Fields: {legible(names)}.")


def _completed(fields: Fields, source: str, prompt: str | None, response: str | None) -> FieldMapping:
    """The mapping with one half given."""
    if response is not None and prompt is None and fields.is_conversation(response):
        return FieldMapping("messages", response)
    extra = None
    if prompt is None:
        prompt, extra = _suggested_prompt(fields, exclude=response)
    if response is None:
        response = fields.first([name for _, _, _, names in _PAIRS for name in names if name != prompt])
    if prompt is None or response is None:
        missing, given = ("prompt", "response") if prompt is None else ("response", "prompt")
        raise CorpusError(
            f"{source}: --{given}-field is given, but no field looks like the {missing}. "
            f"Name it with --{missing}-field, or use --text-field alone. Fields: {fields}."
        )
    return FieldMapping("prompt/response", response, prompt, extra)


def _suggested_prompt(fields: Fields, exclude: str | None) -> tuple[str | None, str | None]:
    for _, prompts, extras, _ in _PAIRS:
        prompt = fields.first([name for name in prompts if name != exclude])
        if prompt is not None:
            return prompt, _extra(fields, extras, exclude)
    return None, None


def _extra(fields: Fields, candidates: Sequence[str], exclude: str | None = None) -> str | None:
    return next((n for n in candidates if n != exclude and fields.text[n] + fields.blank[n]), None)


def _suggested(fields: Fields) -> FieldMapping | None:
    conversation = next((name for name in _CONVERSATIONS if fields.is_conversation(name)), None)
    if conversation is not None:
        return FieldMapping("messages", conversation)
    for shape, prompts, extras, responses in _PAIRS:
        prompt, response = fields.first(prompts), fields.first(responses)
        if prompt is not None and response is not None:
            return FieldMapping(shape, response, prompt, _extra(fields, extras))
    text = next((name for name in _TEXTS if fields.text[name]), None)
    if text is not None:
        return FieldMapping("text", text)
    return None


def _preference_pairs(fields: Fields, source: str) -> CorpusError:
    prompt = fields.first([name for _, names, _, _ in _PAIRS for name in names])
    if fields.is_conversation("chosen"):
        options = "--response-field chosen"
    elif prompt is not None:
        options = f"--prompt-field {prompt} --response-field chosen"
    else:
        options = "--text-field chosen"
    return CorpusError(
        f"{source} holds preference pairs (chosen, rejected), and rulesel picks single answers. "
        f"To pick among the chosen ones: {options}"
    )
