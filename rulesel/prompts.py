"""Prompt files: `<name>.v<N>.md`, asked for as "name@N", and never changed once released."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from string import Template

from pydantic import BaseModel, ConfigDict, ValidationError

from rulesel.digest import digest
from rulesel.errors import PromptError, UnknownName

_FILE = re.compile(r"(?P<name>[a-z][a-z0-9_]*)\.v(?P<version>[1-9][0-9]*)\.md")
_SHAPE = re.compile(r"\+\+\+\n(?P<front>.*?)\n\+\+\+\n(?P<body>.*)", re.DOTALL)
_MESSAGE = re.compile(r"^\[(system|user)\]\n", re.MULTILINE)


class _Front(BaseModel):
    model_config = ConfigDict(extra="forbid")

    inputs: tuple[str, ...]
    reply: str


@dataclass(frozen=True)
class Prompt:
    """One version of a prompt.

    Attributes:
        ref: "name@N".
        inputs: the holes of the text, all of which `render` and `messages` must be given.
        reply: a sample answer, which the reader of real answers can parse.
        body: the text, with `$name` for each hole and a line `[system]` or `[user]` before each message.
    """

    ref: str
    inputs: tuple[str, ...]
    reply: str
    body: str

    @cached_property
    def id(self) -> str:
        """Reference and content address: part of the identity of whatever the prompt is used to make."""
        return f"{self.ref}#{digest([self.inputs, self.reply, self.body])}"

    def render(self, **values: str) -> str:
        """The text with its holes filled; values are never expanded again.

        Raises:
            PromptError: the values given are not exactly the declared inputs.
        """
        self._check(values)
        return Template(self.body).substitute(values)

    def messages(self, **values: str) -> tuple[tuple[str, str], ...]:
        """The (role, text) pairs with their holes filled; a value cannot begin a message.

        Raises:
            PromptError: the values given are not exactly the declared inputs.
        """
        self._check(values)
        return tuple((role, template.substitute(values)) for role, template in self._templates)

    def _check(self, values: dict[str, str]) -> None:
        if values.keys() != set(self.inputs):
            missing, unknown = set(self.inputs) - values.keys(), values.keys() - set(self.inputs)
            what = "; ".join(
                f"{word}: {', '.join(sorted(names))}"
                for word, names in (("missing", missing), ("unknown", unknown))
                if names
            )
            raise PromptError(f"Prompt {self.ref} takes exactly {', '.join(self.inputs) or 'nothing'}. {what}.")

    @cached_property
    def _templates(self) -> tuple[tuple[str, Template], ...]:
        _, *parts = _MESSAGE.split(self.body)
        return tuple((role, Template(text.strip("\n"))) for role, text in zip(parts[::2], parts[1::2], strict=True))


def folder() -> Path:
    """Where the prompts are: in the installed package, else in the checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "_prompts"
    return installed if installed.is_dir() else package.parent / "prompts"


def refs() -> list[str]:
    """Every prompt there is, as "name@N", sorted."""
    found = (_FILE.fullmatch(path.name) for path in folder().iterdir())
    return sorted(f"{match['name']}@{match['version']}" for match in found if match)


@lru_cache
def load(ref: str) -> Prompt:
    """Read a prompt.

    Args:
        ref: "name@N".

    Raises:
        UnknownName: there is no such prompt; the message suggests the nearest.
        PromptError: its file is malformed.
    """
    name, _, version = ref.partition("@")
    path = folder() / f"{name}.v{version}.md"
    if ref not in refs():
        raise UnknownName("prompt", ref, refs())
    return parse(ref, path.read_text(encoding="utf-8"))


def parse(ref: str, text: str) -> Prompt:
    """Read the text of a prompt file.

    Raises:
        PromptError: no front matter, no message, or inputs that are not exactly the holes of the text.
    """
    match = _SHAPE.fullmatch(text)
    if not match:
        raise PromptError(f"Prompt {ref}: expected '+++', front matter in TOML, '+++', then the text.")
    try:
        front = _Front.model_validate(tomllib.loads(match["front"]))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise PromptError(f"Prompt {ref}: front matter: {error}") from error
    body = match["body"]
    before, *messages = _MESSAGE.split(body)
    if not messages or before.strip():
        raise PromptError(f"Prompt {ref}: the text must begin with a line [system] or [user].")
    template = Template(body)
    if not template.is_valid():
        raise PromptError(f"Prompt {ref}: a lone $ in the text; write $$ for a dollar sign.")
    holes = set(template.get_identifiers())
    if holes != set(front.inputs) or len(holes) != len(front.inputs):
        raise PromptError(f"Prompt {ref}: declares {sorted(front.inputs)}, but the text has {sorted(holes)}.")
    return Prompt(ref, front.inputs, front.reply.lstrip("\n"), body)
