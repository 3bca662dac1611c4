"""Which fields of a record are the prompt and the response."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from rulesel.corpus.chat import looks_like_conversation, looks_like_turns
from rulesel.corpus.mapping import BESIDE, FieldMapping, holds
from rulesel.errors import CorpusError

_CONVERSATIONS = ("messages", "conversations", "conversation", "dialogue")
_MORE_CONVERSATIONS = ("dialog", "chat", "turns")  # looked at last: these names say less
_PAIRS: tuple[tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...] = (
    # shape, prompt, joined to it, response: the first of each that is there
    ("alpaca", ("instruction",), ("input", "context"), ("output", "response", "answer", "completion")),
    ("question/answer", ("question",), ("context",), ("answer", "long_answer", "response", "solution", "output")),
    (
        "prompt/response",
        ("prompt", "query", "problem", "input"),
        (),
        ("response", "completion", "answer", "solution", "output", "answers"),
    ),
)
_TEXTS = ("text", "content")
KNOWN_FIELDS = frozenset(name for _, *groups in _PAIRS for group in (*groups, _CONVERSATIONS, _TEXTS) for name in group)


class Fields:
    """What the fields of some records hold."""

    def __init__(self, sample: Iterable[dict[str, Any]]) -> None:
        self.names: dict[str, None] = {}
        self.text: Counter[str] = Counter()
        self.turns: Counter[str] = Counter()
        self.blank: Counter[str] = Counter()
        self.numbers: Counter[str] = Counter()
        self.beside: dict[str, dict[str, None]] = {}
        for fields in sample:
            self.names.update(dict.fromkeys(fields))
            for name, value in fields.items():
                self._count(name, value)

    def _count(self, name: str, value: object) -> None:
        for part, names in BESIDE.items():
            if name in names and value and holds(part, value):
                self.beside.setdefault(part, {})[name] = None
        if name in _CONVERSATIONS and looks_like_conversation(value):
            self.turns[name] += 1
        elif isinstance(value, str):
            (self.text if value.strip() else self.blank)[name] += 1
        elif looks_like_turns(value):
            self.turns[name] += 1
        elif isinstance(value, (bool, int, float)):
            self.numbers[name] += 1

    def first(self, candidates: Sequence[str]) -> str | None:
        """The first candidate that holds text or turns, unless another one does so more than twice as often."""
        counts = {name: self.text[name] + self.turns[name] for name in candidates}
        most = max(counts.values(), default=0)
        return next((name for name, count in counts.items() if count and 2 * count >= most), None)

    def with_numbers(self) -> Fields:
        """The same, numbers taken for texts: an answer may be one."""
        found = Fields([])
        found.names, found.turns, found.blank, found.beside = self.names, self.turns, self.blank, self.beside
        found.text = self.text + self.numbers
        return found

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
    found = _chosen(fields, source, prompt_field, response_field, text_field)
    if found.shape == "text":
        return found
    used = [found.prompt, found.extra, found.response, *(BESIDE["history"] if found.shape == "messages" else ())]
    named = {
        part: [name for name in BESIDE[part] if name in names and name not in used]
        for part, names in fields.beside.items()
    }
    return replace(found, beside=tuple((part, " or ".join(named[part])) for part in BESIDE if named.get(part)))


def _chosen(
    fields: Fields, source: str, prompt_field: str | None, response_field: str | None, text_field: str | None
) -> FieldMapping:
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
    found = (
        _suggested(fields)
        or _suggested(fields.with_numbers())
        or _suggested(Fields([dict.fromkeys(fields.names, "text")]))
    )
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
        likely = [name for _, _, _, names in _PAIRS for name in names if name != prompt]
        response = fields.first(likely) or fields.with_numbers().first(likely)
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
    late = next((name for name in _MORE_CONVERSATIONS if fields.is_conversation(name)), None)
    return None if late is None else FieldMapping("messages", late)


def _preference_pairs(fields: Fields, source: str) -> CorpusError:
    likely = [name for _, names, _, _ in _PAIRS for name in names]
    prompt = fields.first(likely) or next((name for name in _CONVERSATIONS if fields.is_conversation(name)), None)
    if prompt is not None:
        options = f"--prompt-field {prompt} --response-field chosen"
    elif fields.is_conversation("chosen"):
        options = "--response-field chosen"
    else:
        options = "--text-field chosen"
    return CorpusError(
        f"{source} holds preference pairs (chosen, rejected), and rulesel picks single answers. "
        f"To pick among the chosen ones: {options}"
    )
