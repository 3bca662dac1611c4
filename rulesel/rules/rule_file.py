"""Rules as YAML: read with every mistake named, written to be read and edited.

All scalars are text: `name: no`, `name: 1.5` and `name: 2024-01-01` mean what they look like. Aliases, tags and
repeated keys are refused.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rulesel.errors import UsageError, listed
from rulesel.records import Rule, RuleSet
from rulesel.yaml_file import Where, load_texts

MOST = 1000
"""Rules a file may hold: every one is compared with every other."""


class RuleFile(BaseModel):
    """The content of a rule file; `description` and `keywords` are what a pack is found by."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    origin: str = ""
    domain: str = ""
    description: str = ""
    keywords: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = Field(min_length=1, max_length=MOST)


def read(path: Path) -> RuleFile:
    """Read a rule file.

    Raises:
        UsageError: it cannot be read or is malformed; one line that names the file and lists every mistake.
    """
    loaded = load_texts(path)
    return check(path, loaded.value, loaded.lines)


def check(path: Path, content: object, lines: Mapping[Where, int] | None = None) -> RuleFile:
    """A rule file from what YAML holds.

    Args:
        path: names the file in messages.
        content: what it holds.
        lines: where the parts of it stand, as `yaml_file` tells.

    Raises:
        UsageError: one line that lists every mistake.
    """
    above: Where = ()
    if isinstance(content, list):
        content, above = {"rules": content}, ("rules",)
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected `rules:` and below it a list of rules, each with `name:` and `text:`.")
    try:
        found = RuleFile.model_validate(content)
    except ValidationError as error:
        known: dict[str, Any] = dict(content)
        found_wrong: list[dict[str, Any]] = [dict(e) for e in error.errors(include_url=False)]
        mistakes = [_mistake(e, known) + _line(tuple(e["loc"])[len(above) :], lines or {}) for e in found_wrong]
        raise UsageError(f"{path}: {listed(mistakes)}.") from None
    twice = [
        *_twice("name", (rule.name for rule in found.rules)),
        *_twice("content", (rule.id for rule in found.rules)),
    ]
    if twice:
        names = listed(
            [f"rules {', '.join(str(i + 1) for i in rows[:10])} have the same {what}" for what, rows in twice]
        )
        raise UsageError(f"{path}: {names}.")
    return found


def save_rules(path: Path, rule_set: RuleSet) -> None:
    """Write rules as YAML that people can read and edit; an existing file is replaced in one step.

    Raises:
        UsageError: the file cannot be written.
    """
    content: dict[str, Any] = {"origin": rule_set.origin, "domain": rule_set.domain}
    content["rules"] = [rule.model_dump(exclude_defaults=True) for rule in rule_set.rules]
    text = yaml.dump(
        {key: value for key, value in content.items() if value},
        Dumper=_Readable,
        sort_keys=False,
        allow_unicode=True,
        width=100,
    )
    draft = path.with_name(f".{path.name}.draft")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise UsageError(f"{path}: cannot be written: {error.strerror}.") from error


def _mistake(error: dict[str, Any], content: dict[str, Any]) -> str:
    """Where and what, as the author of the file would say it."""
    where = list(error["loc"])
    if len(where) > 1 and where[0] == "rules" and isinstance(where[1], int):
        rule = content["rules"][where[1]]
        name = rule.get("name") if isinstance(rule, dict) else None
        where[:2] = [f"rule {where[1] + 1}" + (f" ({name})" if isinstance(name, str) else "")]
    message = {
        "extra_forbidden": "unknown field",
        "missing": "missing",
        "string_type": "expected text",
        "tuple_type": "expected a list",
        "model_type": "expected fields such as name and text",
    }.get(error["type"], error["msg"])
    return f"{' '.join(str(part) for part in where)}: {message}"


def _line(where: Where, lines: Mapping[Where, int]) -> str:
    """The line of the nearest part that stands in the file."""
    near = next((where[:n] for n in range(len(where), 0, -1) if where[:n] in lines), None)
    return "" if near is None else f" (line {lines[near]})"


def _twice(what: str, values: Iterable[str]) -> list[tuple[str, list[int]]]:
    rows: dict[str, list[int]] = {}
    for i, value in enumerate(values):
        rows.setdefault(value, []).append(i)
    return [(what, where) for where in rows.values() if len(where) > 1]


class _Readable(yaml.SafeDumper):
    """Lists are indented, and a text of several lines stands as a block."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001
        super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = '"' if _BREAKS.search(value) else "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_BREAKS = re.compile("[\r\x85\u2028\u2029]")
"""Line breaks besides the common one; unquoted, YAML would read them as that one."""
_Readable.add_representer(str, _text)
