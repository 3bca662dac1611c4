"""How models are named, and the client behind each name.

`http://host:port/v1#model` any OpenAI-compatible server · `openai/…` OpenAI · `fake:…` scripted · any other
`provider/model` through litellm. Keys come from the environment alone.
"""

from __future__ import annotations

import ipaddress
import os
import re
import urllib.request
from collections.abc import Callable, Mapping
from urllib.parse import SplitResult, urlsplit

from rulesel.errors import UsageError
from rulesel.llm.backend import Backend
from rulesel.llm.base import Ledger
from rulesel.llm.client import Client
from rulesel.llm.endpoint import Endpoint
from rulesel.llm.fake import Fake
from rulesel.llm.http import Http
from rulesel.llm.litellm import LiteLLM
from rulesel.llm.prices import Price, find_price
from rulesel.llm.redact import guard_logging
from rulesel.llm.sdk import Sdk
from rulesel.llm.sender import Limits

OPENAI = "https://api.openai.com/v1"
IN_PROCESS = "vllm:"
"""What names of models in this process begin with; their identity is their weights', which the rater knows."""
OWN_KEY = "RULESEL_API_KEY"
"""Environment variable with the key for servers named by address."""
SHORTEST_KEY = 3


def open_chat(
    name: str,
    *,
    ledger: Ledger | None = None,
    prices: Mapping[str, Price] | None = None,
    limits: Limits | None = None,
    lean: bool = False,
    heartbeat: Callable[[], None] | None = None,
) -> Client:
    """The client of a named model. Nothing is imported, opened or sent before its first request.

    From the first call on, log records of the packages that speak to models are made without keys.

    Args:
        name: see the module.
        ledger: what was asked and paid before, and the budget.
        prices: the user's own, by name or identity.
        limits: how hard to ask.
        lean: speak HTTP through our own small client where that is possible; for many short requests.
        heartbeat: as for `client.Client`.

    Raises:
        UsageError: it names no model.
    """
    if name.startswith(IN_PROCESS):
        raise UsageError(f"{name} is a model in this process: it rates and grades (--judge), and does nothing else.")
    limits = limits or Limits()
    identity = model_id(name)
    guard_logging()
    return Client(
        identity,
        _backend(name, identity, limits, lean=lean),
        ledger=ledger,
        price=find_price(name, identity, prices or {}),
        limits=limits,
        heartbeat=heartbeat,
    )


def model_id(name: str) -> str:
    """Identity of a named model: what makes its answers its own, whatever host serves it.

    Raises:
        UsageError: it names no model, or holds a key.
    """
    if name.startswith(("http://", "https://")):
        try:
            parts = urlsplit(name)
        except ValueError as error:
            raise UsageError(f"{name!r} is no address: {error}.") from error
        if parts.username or parts.password or parts.query:
            raise UsageError(f"A model's address holds no key: put it into the environment as {OWN_KEY}.")
        if re.search(r"[^\x21-\x7e]", name.partition("#")[0]):
            raise UsageError(
                f"{name!r} is no address: it holds a space, a line break or a character that is not ASCII."
            )
        if not parts.hostname or not parts.fragment or not _port_is_one(parts):
            raise UsageError(f"{name!r} names no model: write http://host:port/v1#model.")
        return parts.fragment
    provider, _, model = name.partition("/")
    if name.startswith(("fake:", IN_PROCESS)) and len(name) > len("fake:"):
        return name
    if not provider or not model:
        raise UsageError(
            f"{name!r} names no model. Known forms: http://host:port/v1#model, openai/gpt-4.1, provider/model, "
            "vllm:PATH, signals."
        )
    return name


def _port_is_one(parts: SplitResult) -> bool:
    try:
        return parts.port is None or parts.port > 0
    except ValueError:
        return False


def is_free(name: str) -> bool:
    """True for a model that nobody sends a bill for: scripted, or served on this very machine."""
    return name.startswith(("fake:", IN_PROCESS)) or (
        name.startswith(("http://", "https://")) and _loopback(urlsplit(name).hostname)
    )


def _backend(name: str, identity: str, limits: Limits, *, lean: bool) -> Callable[[], Backend]:
    if name.startswith("fake:"):
        return lambda: Fake.named(name)
    if name.startswith(("http://", "https://")):
        base, model = _base(name.partition("#")[0]), identity
        key = _key(base)
    elif name.startswith("openai/"):
        base, model = _base(os.environ.get("OPENAI_BASE_URL") or OPENAI), name.partition("/")[2]
        key = _checked("OPENAI_API_KEY")
    else:
        provider_key = _checked(f"{name.partition('/')[0].upper()}_API_KEY")
        return lambda: LiteLLM(name, limits.seconds, provider_key)
    direct = lean and not _proxied(base)
    return lambda: Endpoint(model, (Http if direct else Sdk)(base, key, limits.seconds), key)


def _base(address: str) -> str:
    """The address without what the documentation of servers appends to it."""
    return re.sub(r"(/chat/completions|/completions|/models)?/*$", "", address)


def _key(base: str) -> str | None:
    """The key for a server named by address; OpenAI's goes only to OpenAI, OPENAI_BASE_URL's host and this machine."""
    host = urlsplit(base).hostname
    trusted = {urlsplit(OPENAI).hostname, urlsplit(os.environ.get("OPENAI_BASE_URL", "")).hostname}
    if os.environ.get(OWN_KEY):
        return _checked(OWN_KEY)
    return _checked("OPENAI_API_KEY") if host in trusted or _loopback(host) else None


def _checked(variable: str) -> str | None:
    """The key in an environment variable, None if there is none.

    Raises:
        UsageError: it cannot stand in a header, or is too short to be kept out of messages.
    """
    key = os.environ.get(variable) or None
    if key is not None and not re.fullmatch(r"[\x21-\x7e]+", key):
        raise UsageError(
            f"The key in {variable} holds a space, a line break or another character that no key has: set it again."
        )
    if key is not None and len(key) < SHORTEST_KEY:
        raise UsageError(
            f"The key in {variable} has fewer than {SHORTEST_KEY} characters, too few to be kept out of messages: "
            "unset it for a server that wants none."
        )
    return key


def _loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _proxied(base: str) -> bool:
    parts = urlsplit(base)
    host = parts.hostname or ""
    return not _loopback(host) and parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host)
