"""Content addresses: the same content has the same name on every machine."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

PREFIX = "b2-"
"""Marks the hash and the canonical form, so that a future change of either shows."""


def canonical_json(value: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """JSON with sorted keys, no spaces, UTF-8: equal values, equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def digest(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Content address of a JSON value: "b2-" and 32 hex digits of BLAKE2b."""
    return PREFIX + hashlib.blake2b(canonical_json(value), digest_size=16).hexdigest()
