"""YAML that others wrote, read without trust: plain values alone, bounded, every mistake with its line and key.

Refused are aliases (a few lines of them can stand for gigabytes), tags, merge keys, keys that are no text, repeated keys
(YAML would silently keep the last), several documents, deep nesting, and lone surrogates; among values, which may be paths, NUL too.
Dates stay text, and numbers are decimal: `12:30` and `017` are no numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from rulesel.errors import UsageError

LARGEST = 4_000_000
"""Bytes a file may have."""
_DEEPEST = 24
_MOST = 200_000
"""Texts, lists and mappings a file may hold."""
_DIGITS = 18

_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE, _FALSE = re.compile(r"(?i)true|yes|on"), re.compile(r"(?i)false|no|off")
_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_REAL = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"(?i)[-+]?\.inf|\.nan")
_SURROGATE, _UNFIT = re.compile("[\ud800-\udfff]"), re.compile("[\0\ud800-\udfff]")

Where = tuple[str | int, ...]


class Loaded(NamedTuple):
    """What a file holds.

    Attributes:
        value: mappings with text keys, lists, texts, None; numbers and truth values where those were asked for.
        lines: keys and positions that lead to a value, to the line it begins on, from 1.
    """

    value: Any
    lines: dict[Where, int]


def load_values(path: Path) -> Loaded:
    """A file whose plain scalars are numbers and truth values where they look like it.

    Raises:
        UsageError: it cannot be read, or holds what is refused; one line with file, line and key.
    """
    return _load(_content(path), str(path), _value)


def load_texts(path: Path) -> Loaded:
    """A file whose scalars are all text, but for an empty one or `null`.

    Raises:
        UsageError: as `load_values` does.
    """
    return _load(_content(path), str(path), _text)


def value_of(text: str, name: str) -> Any:  # noqa: ANN401 - any YAML value
    """The value that a text on the command line stands for.

    Raises:
        UsageError: it holds what is refused; `name` says where it stood.
    """
    return _load(text, name, _value).value


def _content(path: Path) -> str:
    try:
        if path.is_dir():
            raise UsageError(f"{path}: cannot be read: Is a directory.")
        if path.exists() and not path.is_file():
            raise UsageError(f"{path}: cannot be read: it is no regular file.")
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise UsageError(f"{path}: larger than {LARGEST:,} bytes; this is no file of settings or rules.")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 at byte {error.start}.") from error


def _load(content: str, name: str, scalar: Callable[[str, bool], Any]) -> Loaded:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Reader(yaml.parse(content, loader), scalar).document()
    except _Refused as refused:
        key = ".".join(map(str, refused.where))
        raise UsageError(f"{name}:{refused.line}: {f'{key}: ' if key else ''}{refused}.") from None
    except yaml.MarkedYAMLError as error:
        where = f"{name}:{error.problem_mark.line + 1}" if error.problem_mark else name
        hint = (
            " (a text with ': ' in it goes in quotes, or on the line after `|-`)"
            if "mapping values" in str(error)
            else ""
        )
        problem = str(error.problem or error.context)
        problem = "nested too deeply" if "nesting depth" in problem else problem
        raise UsageError(f"{where}: {problem}{hint}.") from error
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        raise UsageError(f"{name}: {' '.join(str(error).split())}.") from error


class _Refused(Exception):
    """What the file holds is not read; line and keys say where."""

    def __init__(self, problem: str, event: yaml.Event, where: Where) -> None:
        super().__init__(problem)
        self.line, self.where = _line(event), where


class _Reader:
    """Builds values from events as they come, so that nothing is built that is over a bound."""

    def __init__(self, events: Iterator[yaml.Event], scalar: Callable[[str, bool], Any]) -> None:
        self._events = events
        self._scalar = scalar
        self._read = 0
        self._lines: dict[Where, int] = {}

    def document(self) -> Loaded:
        value = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _Refused("one document is wanted, and a second begins", event, ())
                value = self._node(next(self._events), ())
        return Loaded(value, self._lines)

    def _node(self, event: yaml.Event, where: Where) -> Any:  # noqa: ANN401 - any YAML value
        self._read += 1
        self._lines[where] = _line(event)
        if self._read > _MOST:
            raise _Refused(f"more than {_MOST:,} values; this is no file of settings or rules", event, where[:1])
        if len(where) > _DEEPEST:
            raise _Refused("nested too deeply", event, where[:1])
        if isinstance(event, yaml.AliasEvent):
            raise _Refused("aliases (*name) are not allowed", event, where)
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise _Refused(f"tags ({tag}) are not allowed", event, where)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(where)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(where)
        assert isinstance(event, yaml.ScalarEvent)
        try:
            return self._scalar(event.value, event.implicit[0])
        except ValueError as error:
            raise _Refused(str(error), event, where) from None

    def _list(self, where: Where) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            found.append(self._node(event, (*where, len(found))))
        return found

    def _mapping(self, where: Where) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, where)
            if key in found:
                raise _Refused(f"{key!r} appears twice", event, where)
            found[key] = self._node(next(self._events), (*where, key))
        return found

    def _key(self, event: yaml.Event, where: Where) -> str:
        if isinstance(event, yaml.AliasEvent):
            raise _Refused("aliases (*name) are not allowed", event, where)
        if not isinstance(event, yaml.ScalarEvent):
            raise _Refused("a list or mapping is no key: a key is a text", event, where)
        if event.tag is not None:
            raise _Refused(f"tags ({event.tag}) are not allowed", event, where)
        if event.implicit[0] and event.value == "<<":
            raise _Refused("merge keys (<<) are not allowed", event, where)
        try:
            return _fit(event.value)
        except ValueError as error:
            raise _Refused(f"a key: {error}", event, where) from None


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 1


def _fit(text: str, unfit_for_it: re.Pattern[str] = _UNFIT) -> str:
    unfit = unfit_for_it.search(text)
    if unfit:
        raise ValueError(f"the character U+{ord(unfit[0]):04X} is not allowed")
    return text


def _text(text: str, plain: bool) -> str | None:  # noqa: FBT001 - as YAML gives it
    return None if plain and _NULL.fullmatch(text) else _fit(text, _SURROGATE)


def _value(text: str, plain: bool) -> str | int | float | bool | None:  # noqa: FBT001 - as YAML gives it
    if not plain:
        return _fit(text)
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return _TRUE.fullmatch(text) is not None
    if _WHOLE.fullmatch(text):
        if len(text) > _DIGITS:
            raise ValueError(f"a number of {len(text):,} digits; at most {_DIGITS} are read")
        return int(text)
    if _INFINITE.fullmatch(text) or (_REAL.fullmatch(text) and math.isinf(float(text))):
        raise ValueError(f"{text} is no finite number")
    return float(text) if _REAL.fullmatch(text) else text
