"""Documents as data: fenced by a nonce, without control tokens, and looked at for words to the judge.

Delimiters a document cannot guess and an instruction after it are the cheap part of spotlighting (arXiv 2403.14720);
the answer channel of one token bounds what remains to a wrong number.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass

from rulesel.records import Flag

NONCE_DIGITS = 16

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Zero-width, bidirectional, filler, variation and tag characters: invisible to a reader, not to a tokenizer."""

_SURROGATE = re.compile("[\ud800-\udfff]")

_CONTROL = re.compile(
    r"<(?=[|｜][^\s<>]{1,64}[|｜]>)"
    r"|<(?=[|｜]\w{1,32}>|\w{1,32}[|｜]>)"
    r"|<(?=/?(?:s|bos|eos|sop|eop|pad|unk|mask|think|tools?|tool_calls?|tool_response|im_start|im_end|(?:start|end)_of_\w{1,16}"
    r"|(?:extra_id_|unused|reserved_)\d{1,4})>)"
    r"|<(?=</?SYS>>)"
    r"|\[(?=/?(?:INST|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|SYSTEM_PROMPT|gMASK)\])",
    re.IGNORECASE,
)

_TO_THE_JUDGE = re.compile(
    r"""(?ix)
      \b(?:ignore|disregard|forget|override)\s+(?:\w+\s+){0,3}(?:previous|prior|above|earlier|preceding|other)\b
        [^.\n]{0,40}\b(?:instruction|prompt|rule|text|direction|command)
    | \b(?:rate|score|grade)\s+(?:\w+\s+)?(?:this|it|me|the\s+(?:answer|response|document|text|example))\b
        [^.\n]{0,40}?\b(?:with|as|an?|at|full|top|maximum|highest|perfect|[0-9]+)\b
    | \b(?:give|assign|award)\s+(?:\w+\s+){0,4}(?:(?:the\s+)?(?:maximum|highest|full|top|perfect)\s+(?:score|rating|grade|marks?|points?)
        |(?:score|rating|grade)\s+of\s+\S)
    | \b(?:respond|reply|answer|output)\s+(?:only\s+)?with\s+(?:the\s+)?(?:digit|number|score|rating|grade)\b
    | \b(?:note|message|instructions?|attention)\s*(?:to|for)?\s*:?\s*(?:the\s+)?(?:judge|rater|grader|evaluator|reviewer|ai\s+model)\b
    | \byou\s+are\s+(?:now\s+)?(?:an?\s+)?(?:\w+\s+){0,2}(?:judge|rater|grader|evaluator)\b
    | \b(?:START|END)\s+OF\s+DOCUMENT\b
    """
)


@dataclass(frozen=True, slots=True)
class Fenced:
    """A document ready to stand in a prompt.

    Attributes:
        nonce: the code of its two lines.
        text: what stands between them.
        cut: it was too long and lost its middle.
        suspect: what in it speaks to the judge or belongs to the fence, None if nothing does.
    """

    nonce: str
    text: str
    cut: bool
    suspect: str | None

    @property
    def flags(self) -> Flag:
        """The same as flags of every rating of the document."""
        return (Flag.document_cut if self.cut else Flag.none) | (Flag.fence_broken if self.suspect else Flag.none)


def fence(secret: bytes, content: str, prompt: str | None, response: str, *, max_chars: int) -> Fenced:
    """Make a document's nonce and the text that stands inside its fence.

    Args:
        secret: the store's.
        content: content hash; the nonce is the same for all rules, runs and shards.
        prompt: what was asked, None for a plain text.
        response: the answer, or the plain text.
        max_chars: most characters of prompt and response together; what is over loses its middle.
    """
    whole = response if prompt is None else f"{prompt}\n\n{response}"
    code = nonce(secret, content, whole)
    if prompt is None:
        body, cut = shorten(response, max_chars)
        return Fenced(code, clean(body), cut, suspect(whole))
    first, second = _shares(len(prompt), len(response), max_chars)
    (asked, cut_asked), (answered, cut_answered) = shorten(prompt, first), shorten(response, second)
    body = f"=== {code} PROMPT\n{clean(asked)}\n=== {code} RESPONSE\n{clean(answered)}"
    return Fenced(code, body, cut_asked or cut_answered, suspect(whole))


def nonce(secret: bytes, content: str, text: str = "") -> str:
    """16 hex digits of HMAC-SHA256(secret, content hash), made anew while the text holds them."""
    for turn in range(1_000):
        message = content if turn == 0 else f"{content}#{turn}"
        code = hmac.new(secret, message.encode(), hashlib.sha256).hexdigest()[:NONCE_DIGITS]
        if code not in text:
            return code
    raise ValueError("the text holds a thousand nonces of its own")


def clean(text: str) -> str:
    """The text as it goes into a prompt: nothing invisible, control tokens broken by a space.

    The record itself is never changed.
    """
    return _CONTROL.sub(lambda match: match[0] + " ", _SURROGATE.sub("\ufffd", _INVISIBLE.sub("", text)))


def suspect(text: str) -> str | None:
    """The first words that speak to a judge, act as a control token or belong to the fence; None if there are none."""
    seen = _INVISIBLE.sub("", text)
    match = _TO_THE_JUDGE.search(seen) or _CONTROL.search(seen)
    return seen[match.start() : max(match.end(), match.start() + 40)][:120] if match else None


def shorten(text: str, max_chars: int) -> tuple[str, bool]:
    """Keep the first 75 % and the last 25 % of what may stay, with a line in between that says what is gone.

    Returns:
        (text of about `max_chars` characters at most, whether it was cut).
    """
    if len(text) <= max_chars:
        return text, False
    head = int(0.75 * max_chars)
    tail = max_chars - head
    gone = len(text) - max_chars
    return f"{text[:head]}\n[... {gone} characters left out ...]\n{text[len(text) - tail :]}", True


def _shares(first: int, second: int, budget: int) -> tuple[int, int]:
    """Split a budget between two parts: a part shorter than half of it leaves the rest to the other."""
    if first + second <= budget:
        return first, second
    half = budget // 2
    if first <= half:
        return first, budget - first
    if second <= half:
        return budget - second, second
    return half, budget - half
