"""A receipt as a file, and the store it tells of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from rulesel.errors import UsageError


def read_receipt(path: Path) -> dict[str, Any]:
    """A receipt as it was written.

    Raises:
        UsageError: it cannot be read, or is no receipt of this kind.
    """
    try:
        receipt = orjson.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}.") from error
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{path} is no receipt: {error}.") from error
    if not isinstance(receipt, dict) or receipt.get("receipt") != 1:
        raise UsageError(f"{path} is no receipt that this rulesel can read (receipt: 1).")
    return receipt


def store_path(receipt: dict[str, Any], path: Path) -> Path:
    """Where the store of a receipt in the file `path` is: where the receipt says, else under that name beside it."""
    named = Path(str(receipt.get("store")))
    return next((place for place in (named, path.parent / named.name) if place.exists()), named)
