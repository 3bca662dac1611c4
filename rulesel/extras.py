"""Packages that rulesel declares, the optional ones imported where they are used, and the files that ship with it."""

from __future__ import annotations

import importlib
import re
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from types import ModuleType
from typing import Literal

from rulesel.errors import MissingExtra


def need(module: str, *, extra: str, feature: str) -> ModuleType:
    """Import an optional module, or say which pip line brings it.

    Args:
        module: import name, for example "litellm".
        extra: the extra of rulesel that installs it.
        feature: what the user asked for, the subject of the message.

    Raises:
        MissingExtra: the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtra(module.split(".")[0], extra, feature) from error


def declared() -> dict[str, list[str]]:
    """Names of the packages that the installed rulesel declares, in order; no versions.

    Returns:
        Under "" those it always needs, under an extra's name those the extra adds. Empty where rulesel runs without
        having been installed.
    """
    try:
        lines = requires("rulesel") or []
    except PackageNotFoundError:
        return {}
    found: dict[str, list[str]] = {}
    for line in lines:
        name = re.split(r"[^\w.-]", line, maxsplit=1)[0]
        extra = re.search(r"\bextra\s*==\s*['\"]([\w.-]+)", line)
        if name != "rulesel":
            found.setdefault(extra[1] if extra else "", []).append(name)
    return found


def shipped(folder: Literal["data", "prompts"]) -> Path:
    """Where the files that ship with rulesel are: in the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    installed = package / f"_{folder}"
    return installed if installed.is_dir() else package.parent / folder
