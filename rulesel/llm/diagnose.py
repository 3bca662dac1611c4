"""Whether a model can be used, found out with one request for one token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from rulesel.errors import RuleselError
from rulesel.llm.backend import Capability
from rulesel.llm.base import ChatRequest
from rulesel.llm.labels import DIGITS
from rulesel.llm.names import is_free, model_id, open_chat
from rulesel.llm.prices import Price
from rulesel.llm.sender import Limits
from rulesel.llm.wire import TOP_LOGPROBS

SECONDS = 20.0
QUESTION = ChatRequest(
    (("user", "How many days has a week, less two? Answer with one digit and nothing else."),),
    max_tokens=1,
    top_logprobs=TOP_LOGPROBS,
)
NAMING = "see `rulesel doctor --help`"
LEAST_CONTEXT = 8192
"""Tokens that hold the longest document by default, with its prompt."""


class Check(NamedTuple):
    """One line: how it stands, what was looked at, what was found, what to do about it."""

    state: Literal["ok", "warning", "failed"]
    what: str
    found: str
    remedy: str


def diagnose(name: str, prices: Mapping[str, Price] | None = None) -> list[Check]:
    """Ask a model one thing and tell what stands in the way of a run; may be billed as one request.

    Args:
        name: as `names.open_chat` takes it.
        prices: the user's own.
    """
    try:
        chat = open_chat(name, prices=prices, limits=Limits(concurrency=1, seconds=SECONDS), lean=True)
    except RuleselError as error:
        remedy = "set it again, or unset it for a server that wants none" if "The key in" in str(error) else NAMING
        return [Check("failed", "name", str(error), remedy)]
    try:
        seen = chat.probe(QUESTION)
    except RuleselError as error:
        return [Check("failed", "answer", str(error), _remedy(str(error)))]
    finally:
        chat.close()
    return [
        Check("ok", "answer", f"{seen.text!r} after {seen.seconds:.1f} s", ""),
        _digit(seen),
        _logprobs(seen),
        _context(seen),
        _price(name, chat.price, counted=seen.usage),
    ]


def _remedy(message: str) -> str:
    for sign, remedy in (
        ("no connection", "is the server running, and is the address right?"),
        ("refuses access", "is the key in the environment right? (OPENAI_API_KEY, RULESEL_API_KEY, or the provider's)"),
        ("no such model", "is the model's name what the server calls it? GET /v1/models lists them"),
        ("a limit of a day", "wait until it is lifted, or take another plan or model"),
        ("quota", "the account has no credit left"),
        ("no answer in", "the server is overloaded, or still loading the model"),
        ("pip install", "install it, then try again"),
    ):
        if sign in message:
            return remedy
    return "the server's own log says more"


def _digit(seen: Capability) -> Check:
    if seen.text.strip() in DIGITS:
        return Check("ok", "one digit", "answers with a bare digit at once", "")
    return Check(
        "warning",
        "one digit",
        f"answers {seen.text!r} where one digit was asked for",
        "a model that thinks first needs its thinking switched off, or a larger max_tokens",
    )


def _logprobs(seen: Capability) -> Check:
    if seen.top_logprobs >= len(DIGITS):
        return Check("ok", "log-probabilities", f"{seen.top_logprobs} a token", "")
    found = f"{seen.top_logprobs} a token" if seen.top_logprobs else "none"
    return Check("warning", "log-probabilities", found, "ratings will be sampled digits: coarser, with many ties")


def _context(seen: Capability) -> Check:
    if seen.context is None:
        return Check("ok", "context", "unknown", "documents are cut at 24 000 characters unless told otherwise")
    state: Literal["ok", "warning"] = "ok" if seen.context >= LEAST_CONTEXT else "warning"
    remedy = "" if state == "ok" else f"lower document_chars to about {3 * (seen.context - 600)}"
    return Check(state, "context", f"{seen.context} tokens", remedy)


def _price(name: str, price: Price | None, *, counted: bool) -> Check:
    if price is None and is_free(name):
        return Check("ok", "price", "none: it is served on this machine", "")
    if price is None:
        return Check(
            "warning", "price", "unknown", f'prices: {{"{model_id(name)}": {{input: …, output: …}}}} in the config'
        )
    found = f"${price.input:g} in, ${price.output:g} out for a million tokens"
    if not counted:
        return Check(
            "warning", "price", found, "the server counts no tokens: every request is booked at its worst case"
        )
    return Check("ok", "price", found, "")
