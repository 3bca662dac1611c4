"""Plug-ins: one file each, found by the file's name; outsiders come through entry points.

A plug-in's parameters, its identity, its config schema and its row in the catalog are one frozen pydantic model.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from rulesel.digest import digest
from rulesel.errors import UnknownName, UsageError


class Spec(BaseModel):
    """Base of every plug-in: its fields are its parameters. Building one does no work."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    version: ClassVar[int] = 1
    """Raised when the same parameters give other numbers."""
    source: ClassVar[str] = ""
    """Where the method was published."""
    summary: ClassVar[str] = ""
    """When to use it, in one line."""

    @property
    def id(self) -> str:
        """Content address of name, version and parameters."""
        return digest([self.name, self.version, self.model_dump(mode="json")])


T = TypeVar("T", bound=Spec)


@cache
def _outsiders(package: str) -> tuple[EntryPoint, ...]:
    """Entry points of other packages; reading them takes as long as a small selection."""
    return tuple(entry_points(group=package))


def names(package: str) -> list[str]:
    """Names of all plug-ins of a package such as "rulesel.selection", ours and outsiders'."""
    own = [module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__)]
    return sorted({name for name in own if not name.startswith("_")} | {p.name for p in _outsiders(package)})


def find(package: str, name: str, base: type[T]) -> type[T]:
    """The plug-in class of that name.

    Raises:
        UnknownName: there is none; the message suggests the nearest.
        UsageError: the module holds no plug-in of that name.
    """
    if name not in names(package):
        raise UnknownName(package.rsplit(".", 1)[-1], name, names(package))
    own = {module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__)}
    if name in own:
        candidates = list(vars(importlib.import_module(f"{package}.{name}")).values())
    else:
        candidates = [point.load() for point in _outsiders(package) if point.name == name]
    for candidate in candidates:
        if isinstance(candidate, type) and issubclass(candidate, base) and vars(candidate).get("name") == name:
            return candidate
    raise UsageError(f"{package}.{name} holds no {base.__name__} whose name is {name!r}.")


def build(package: str, name: str, base: type[T], parameters: dict[str, object]) -> T:
    """A plug-in with its parameters checked.

    Raises:
        UnknownName: there is no such plug-in.
        UsageError: a parameter is unknown or out of range; lists all mistakes.
    """
    cls = find(package, name, base)
    try:
        return cls.model_validate(parameters)
    except ValidationError as error:
        known = ", ".join(cls.model_fields) or "none"
        mistakes = "; ".join(f"{_where(e['loc']) or name}: {_what(e['msg'])}" for e in error.errors())
        raise UsageError(f"{name}: {mistakes}. Parameters: {known}.") from error


def _where(place: Sequence[int | str]) -> str:
    """The parameter; Pydantic also names the kind it tried, such as `constrained-float` or `literal['auto']`."""
    return ".".join(
        str(part) for part in place if str(part).replace("_", "").isalnum() and part not in {"int", "float"}
    )


def _what(message: str) -> str:
    return message.removeprefix("Value error, ")
