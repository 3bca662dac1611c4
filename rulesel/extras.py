"""Optional packages, imported where they are used, and the files that ship with the package."""

from __future__ import annotations

import importlib
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


def shipped(folder: Literal["data", "prompts"]) -> Path:
    """Where the files that ship with rulesel are: in the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    installed = package / f"_{folder}"
    return installed if installed.is_dir() else package.parent / folder
