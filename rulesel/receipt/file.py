"""A receipt as a file, and the store it tells of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from rulesel.errors import UsageError
from rulesel.receipt.layout import RECORDED, as_receipt

LARGEST = 64 * 2**20
"""Bytes beyond which a file is no receipt."""


def read_receipt(path: Path) -> dict[str, Any]:
    """A receipt in the layout of today.

    Raises:
        UsageError: it cannot be read, or is no receipt of this kind.
    """
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{path} is no file.")
        if path.stat().st_size > LARGEST:
            raise UsageError(f"{path} is no receipt: it is larger than {LARGEST // 2**20} MiB.")
        value = orjson.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}.") from error
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{path} is no receipt: {error}.") from error
    except ValueError as error:  # a path that no file can have
        raise UsageError(f"{str(path)!r}: {error}.") from error
    try:
        return as_receipt(value)
    except UsageError as error:
        raise UsageError(f"{path}: {error}.") from error


def store_path(receipt: dict[str, Any], path: Path) -> Path:
    """Where the store of a receipt in the file `path` is: where the receipt says, else under that name beside it.

    Raises:
        UsageError: it is in neither place.
    """
    said = receipt[RECORDED].get("store")
    if isinstance(said, str) and said and "\0" not in said:
        named = Path(said)
        for place in (named, path.parent / named.name):
            if _is_file(place):
                return place
    raise UsageError(f"The store of {path} is neither where the receipt says nor beside it: name it with --store.")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or no name of a file
        return False
