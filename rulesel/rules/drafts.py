"""Rules as a model writes them: the answer's form, and what becomes of one that cannot be read."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from rulesel.records import Anchors, Rule


class Draft(BaseModel):
    """One rule of an answer."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    name: str
    text: str
    polarity: Literal["positive", "negative"]
    low: str | None
    high: str | None
    sql: str | None

    @property
    def rule(self) -> Rule:
        """The rule; raises ValidationError where a field is too long or empty."""
        anchors = Anchors(low=self.low, high=self.high) if self.low and self.high else None
        name = " ".join(self.name.split())[:64].strip()
        return Rule(name=name, text=self.text, polarity=self.polarity, anchors=anchors, sql=self.sql or None)


class _Answer(BaseModel):
    """The whole answer; its schema is what a server holds the model to."""

    model_config = ConfigDict(extra="forbid")

    rules: list[Draft]


SCHEMA: dict[str, Any] = _Answer.model_json_schema()


@dataclass
class Drafts:
    """What an answer holds.

    Attributes:
        rules: those that could be read, in order.
        mistakes: why others, or all of it, could not.
    """

    rules: list[Rule] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)


def read_drafts(text: str) -> Drafts:
    """Read an answer: bare JSON, JSON in a code fence, or JSON with prose around it."""
    found = Drafts()
    try:
        content = orjson.loads(_json_in(text))
    except orjson.JSONDecodeError as error:
        found.mistakes.append(f"no JSON: {error}")
        return found
    drafts = content.get("rules") if isinstance(content, dict) else None
    if not isinstance(drafts, list) or not drafts:
        found.mistakes.append('expected an object {"rules": [...]} with at least one rule')
        return found
    for number, draft in enumerate(drafts, start=1):
        try:
            found.rules.append(Draft.model_validate(draft).rule)
        except ValidationError as error:
            what = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            found.mistakes.append(f"rule {number}: {what}")
    return found


def _json_in(text: str) -> str:
    fenced = re.search(r"```(?:json)?\s*\n(.*?)\n\s*```", text, re.DOTALL)
    inner = fenced[1] if fenced else text
    start, end = inner.find("{"), inner.rfind("}")
    return inner[start : end + 1] if 0 <= start < end else inner
