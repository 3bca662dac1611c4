"""Finds a secret in text however it is written: plain, in pieces, escaped, in base64 or hexadecimal."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from functools import lru_cache

HIDDEN = "[hidden]"
SHORT = 6
"""Secrets below so many characters are hidden only where they stand alone: their pieces are part of any text."""

_BETWEEN = frozenset(" \t\r\n\v\f\xa0\"'`,:+|\u200b\u200c\u200d\u200e\u200f\u2060\ufeff")
"""What may be put between the characters of a secret."""
_UNICODE = re.compile(
    r"(?i)\\+(?-i:U)0000([0-9a-f]{4})|\\+u([0-9a-f]{4})|\\+u\{([0-9a-f]{1,6})\}|\\+x([0-9a-f]{2})|\b0x([0-9a-f]{2})\b"
)
_PERCENT = re.compile(r"(?i)%(?:25)*([0-9a-f]{2})")
_ENTITY = re.compile(r"(?i)&#x0*([0-9a-f]{1,6});?")
_DECIMAL = re.compile(r"&#0*(\d{1,7});?|\b(\d{2,3})\b")
_QUOTED = re.compile(r"(?i)=([0-9a-f]{2})")
_OCTAL = re.compile(r"\\+([0-7]{3})")
_ESCAPES = ((_UNICODE, 16), (_PERCENT, 16), (_ENTITY, 16), (_DECIMAL, 10), (_QUOTED, 16), (_OCTAL, 8))


class _Form:
    """One way to write a secret, and the shortest piece of it that counts."""

    def __init__(self, text: str, least: int, *, plain: bool = False) -> None:
        self.plain = plain
        self.text = "".join(c for c in text if c not in _BETWEEN).lower()
        self.least = max(1, min(least, len(self.text)))
        self.pieces = {self.text[i : i + self.least] for i in range(len(self.text) - self.least + 1)}

    def runs(self, text: str) -> Iterator[tuple[int, int]]:
        """Where pieces of it stand in a text."""
        at = 0
        while at + self.least <= len(text):
            end = at + self.least
            if text[at:end] not in self.pieces:
                at += 1
                continue
            while end < len(text) and text[at : end + 1] in self.text:
                end += 1
            yield at, end
            at = end


def hide(text: str, *secrets: str, least: int = 5) -> str:
    """The text with every secret, and every piece of one, taken out.

    Args:
        text: any text.
        secrets: what must not be read in it; empty ones are passed over.
        least: fewest characters of a piece that counts; a secret of fewer counts as a whole.
    """
    spans: list[tuple[int, int]] = []
    for secret in secrets:
        if not secret or len(text) < min(len(secret), least):
            continue
        alone = len(secret) < SHORT
        for characters, places in _readings(text):
            for form in _there(characters, secret, len(secret) if alone else least):
                found = ((places[a][0], places[b - 1][1]) for a, b in form.runs(characters))
                spans += [span for span in found if not (alone and form.plain) or _alone(text, *span)]
    return _without(text, spans)


def _there(text: str, secret: str, least: int) -> list[_Form]:
    """The forms of a secret of which there is a piece in a text."""
    found: list[_Form] = []
    for length, (pieces, forms) in _by_length(secret, least).items():
        if any(text[i : i + length] in pieces for i in range(len(text) - length + 1)):
            found += forms
    return found


@lru_cache(64)
def _by_length(secret: str, least: int) -> dict[int, tuple[set[str], list[_Form]]]:
    grouped: dict[int, tuple[set[str], list[_Form]]] = {}
    for form in _forms(secret, least):
        pieces, forms = grouped.setdefault(form.least, (set(), []))
        pieces |= form.pieces
        forms.append(form)
    return grouped


def _readings(text: str) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    """The text as it stands and with each kind of escape resolved: characters, and where each one comes from."""
    plain = [(character, i, i + 1) for i, character in enumerate(text)]
    yield _joined(plain)
    for pattern, base in _ESCAPES:
        if pattern.search(text):
            yield _joined(_resolved(text, pattern, base))


def _resolved(text: str, pattern: re.Pattern[str], base: int) -> list[tuple[str, int, int]]:
    found, at = [], 0
    for match in pattern.finditer(text):
        found += [(text[i], i, i + 1) for i in range(at, match.start())]
        code = int(next(group for group in match.groups() if group), base)
        found.append((chr(code) if code < 0x110000 else "\ufffd", match.start(), match.end()))
        at = match.end()
    return found + [(text[i], i, i + 1) for i in range(at, len(text))]


def _joined(units: list[tuple[str, int, int]]) -> tuple[str, list[tuple[int, int]]]:
    kept = [(c.lower() if len(c.lower()) == 1 else c, a, b) for c, a, b in units if c not in _BETWEEN]
    return "".join(c for c, _, _ in kept), [(a, b) for _, a, b in kept]


def _forms(secret: str, least: int) -> list[_Form]:
    raw = secret.encode("utf-8", "replace")
    whole = len(secret) <= least
    forms = [_Form(secret, least, plain=True), _Form(secret[::-1], max(least, 8)), _Form(raw.hex(), 2 * least)]
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):  # it may stand anywhere in what was encoded
            body = encode(b"\0" * before + raw).decode().rstrip("=")
            body = body[(0, 2, 3)[before] : -1 if (before + len(raw)) % 3 else None]
            forms.append(_Form(body, len(body) if whole else max(8, least * 4 // 3)))
    return [form for form in forms if len(form.text) >= min(4, len(secret))]


def _alone(text: str, start: int, end: int) -> bool:
    return not (text[:start][-1:].isalnum() or text[end : end + 1].isalnum())


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    parts, at = [], 0
    for start, end in sorted(spans):
        if start >= at:
            parts += [text[at:start], HIDDEN]
        at = max(at, end)
    return "".join(parts) + text[at:] if spans else text
