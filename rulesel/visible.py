"""Text of others made safe to look at: what a person is shown can only be what it looks like."""

from __future__ import annotations

import re

_JOINED = "\u0590-\u10ff\u1780-\u18af\ua800-\uabff\ufb1d-\ufeef\u2190-\u2bff\ufe0f\U0001f000-\U0001faff"
"""Scripts (Hebrew to Georgian, Khmer, Mongolian …) and pictures in which a joiner between two characters means something."""

HIDDEN = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]|\r(?!\n)"  # controls; a tab, a line feed and CR LF are layout
    r"|[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164]"
    r"|[\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
    r"|[\ud800-\udfff]"
    rf"|(?<![{_JOINED}])[\u200c\u200d]|[\u200c\u200d](?![{_JOINED}])"
)
"""Terminal controls (C0, C1), direction marks, line and paragraph separators, invisible characters, lone surrogates."""


def visible(text: str) -> str:
    """The text with every such character spelled out, as in "[U+001B]"; line feeds and tabs stay."""
    return HIDDEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", text)
