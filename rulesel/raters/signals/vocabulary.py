"""What a rule's `sql` may refer to: the columns of an example and the functions that rulesel adds to DuckDB's.

`response` is the answer, or the whole of a plain text; `prompt` is NULL for a plain text, so that an expression that
compares the two has no value there. All counting is in Unicode code points, never bytes. An over-long prompt or
response is cut (its first three quarters and its last quarter are kept) before any column is made.
"""

from __future__ import annotations

from typing import NamedTuple


class Column(NamedTuple):
    """A column that expressions may name: how it is made from `prompt` and `response`, and what it means."""

    sql: str
    meaning: str


class Macro(NamedTuple):
    """A function that expressions may call: its parameters, its body, what it gives."""

    parameters: str
    sql: str
    meaning: str


_NO_SPACES = r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_IN_WORD = r"[^\pP\pS\pZ\pC\p{Han}\p{Hiragana}" + _NO_SPACES + "]"
_WORD = r"[\p{Han}\p{Hiragana}]|[" + _NO_SPACES + r"]{1,4}|[\pL\pN]" + _IN_WORD + "*(?:[''’]" + _IN_WORD + "+)*"
_SENTENCE = r"(?:[^.!?。！？\n]|[.!?][^\s\"''”)\]])+[.!?。！？]*[\"''”)\]]*"
_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d*\.?\d+"
_ARITHMETIC = rf"[-+*/×÷−=(^$€£ \t]*(?:{_NUMBER})\pL*(?:(?:{_NUMBER})\pL*|[-+*/x×÷−=()^%$€£ \t])*"
_EQUATION = rf"(?:{_NUMBER})(?:[ \t]*[-+*/x×÷−][ \t]*[$€£]?(?:{_NUMBER}))+[ \t]*=[ \t]*[$€£]?-?(?:{_NUMBER})"
_NUMBER_WORDS = "'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten', 'eleven', 'twelve'"
_REQUEST = (
    r"(?i)\b(?:brainstorm|come up with|compile|create|describe|explain|find|generate|give|identify|list|make|mention|name|"
    r"offer|outline|propose|provide|recommend|share|suggest|tell|what are|write)\b[^.?!\n]{0,40}?"
    r"\b(two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\d{1,2})\s+(?:[a-z-]+\s+){0,3}?[a-z]+s\b"
)
_FUNCTION_WORDS = (
    "a an and any are as at be been being but by can could did do does for from had has have he her him his how i if in "
    "into is it its may me my no not of on or our she should so some such than that the their them then there these they "
    "this those to us was we were what when where which while who why will with would you your"
)

COLUMNS = {
    "prompt": Column("prompt", "what is asked; NULL for a plain text"),
    "response": Column("response", "the answer, or the whole plain text"),
    "text": Column(
        r"CASE WHEN prompt IS NULL THEN response ELSE prompt || E'\n\n' || response END",
        "prompt, blank line, response",
    ),
    "n_chars": Column("length(response)", "code points of the response"),
    "n_words": Column(
        "len(words_of(response))",
        "words of the response: runs of letters, marks and digits; every Han or Hiragana character is a word, and so is "
        "every four letters of Thai, Lao, Khmer or Burmese",
    ),
    "n_lines": Column(r"hits(response, '[^\r\n]*\S[^\r\n]*')", "lines of the response that are not blank"),
    "n_turns": Column(
        r"1 + CASE WHEN coalesce(prompt, '') = '' THEN 0 ELSE greatest(1, hits(prompt, "
        r"'(?m)^\[(?:system|user|assistant|tool)\]$')) END",
        "turns of the conversation: lines of the prompt that are a role mark such as [user] (at least one where there is a "
        "prompt), and the response",
    ),
    "words": Column("words_of(response)", "list of the response's words in lower case, in order"),
    "prompt_words": Column("words_of(prompt)", "list of the prompt's words in lower case; NULL for a plain text"),
    "sentences": Column(
        f"list_filter(list_transform(regexp_extract_all(response, '{_SENTENCE}'), lambda s: trim(s)), "
        r"lambda s: regexp_matches(s, '[\pL\pN]'))",
        "list of the response's sentences with their final mark; a line break ends a sentence",
    ),
}
"""Every column an expression may name, in the order they are documented."""

MACROS = {
    "ramp": Macro(
        "x, low, high",
        "list_transform([((x) - (low)) / ((high) - (low))::DOUBLE], lambda v: "
        "CASE WHEN v IS NULL OR isnan(v) THEN v ELSE greatest(0.0, least(1.0, v)) END)[1]",
        "0 up to low, 1 from high on, a straight line between; falls where low > high; NULL where x is, unlike least",
    ),
    "peak": Macro(
        "x, a, b, c, d",
        "least(ramp(x, a, b), ramp(x, d, c))",
        "1 between b and c, falling to 0 at a and at d",
    ),
    "share": Macro("part, whole", "(part) / nullif(whole, 0)::DOUBLE", "part / whole; NULL where whole is 0"),
    "hits": Macro("x, pattern", "len(regexp_extract_all(x, pattern))", "how often the pattern matches"),
    "count_of": Macro(
        "x, piece",
        "(length(x) - length(replace(x, piece, ''))) // length(piece)",
        "how often the literal piece occurs; faster than hits",
    ),
    "list_items": Macro(
        "x",
        r"hits(x, '(?im)^[ \t]*(?:[-*+•–]|\(?\d{1,3}[.):]|\(?[a-h][.)]|step \d+[.:]?)[ \t]+\S')",
        "how many lines begin as an item of a list: a dash, a bullet, a number, a letter",
    ),
    "number_of": Macro(
        "word",
        f"coalesce(try_cast(word AS INTEGER), list_position([{_NUMBER_WORDS}], lower(word)))",
        "the whole number that digits or an English word up to twelve stand for; NULL for anything else",
    ),
    "asked_for": Macro(
        "x",
        f"number_of(regexp_extract(x, '{_REQUEST}', 1))",
        "how many things a request in English asks for ('Name five ways …' gives 5); NULL where it names no number",
    ),
    "closeness": Macro(
        "count, wanted",
        "ramp(abs((count) - (wanted)) / nullif(wanted, 0)::DOUBLE, 1, 0)",
        "1 where the count is the one wanted, falling to 0 at none and at twice as many",
    ),
    "words_of": Macro("x", f"regexp_extract_all(lower(x), '{_WORD}')", "list of words in lower case"),
    "content": Macro(
        "list",
        "list_filter(list, lambda w: NOT list_contains(["
        + ", ".join(f"'{w}'" for w in _FUNCTION_WORDS.split())
        + "], w))",
        "the words that are no English function words",
    ),
    "overlap": Macro(
        "a, b",
        "len(list_intersect(a, b)) / nullif(list_unique(a), 0)::DOUBLE",
        "share of the distinct entries of list a that are in list b; NULL where a is empty",
    ),
    "repeats": Macro(
        "list",
        "1 - list_unique(list) / nullif(len(list), 0)::DOUBLE",
        "share of the entries that stood in the list before; NULL for an empty list",
    ),
    "trigrams": Macro(
        "list",
        "list_zip(list, list[2:], list[3:], true)",
        "every three neighbours of the list",
    ),
    "numbers": Macro(
        "x",
        f"list_transform(regexp_extract_all(x, '{_NUMBER}'), lambda n: try_cast(replace(n, ',', '') AS DOUBLE))",
        "list of the numbers written in digits, without their signs",
    ),
    "equations": Macro(
        "x",
        f"list_filter(list_transform(regexp_extract_all(x, '{_ARITHMETIC}'), lambda e: trim(e, e' \\t=()$€£')), "
        f"lambda e: regexp_full_match(e, '{_EQUATION}'))",
        "list of the calculations written out without brackets, such as '48/2=24' or '3 + 4 x 2 = 11'",
    ),
    "holds": Macro(
        "equation",
        r"abs(list_sum(list_transform(regexp_extract_all(translate(regexp_extract(equation, '^[^=]*'), 'x×÷−$€£, ', '**/-'),"
        r" '[-+]?[^-+]+'), lambda t: CASE WHEN t LIKE '-%' THEN -1 ELSE 1 END * list_product(list_transform("
        r"regexp_extract_all(t, '[*/]?[\d.]+'), lambda f: CASE WHEN f LIKE '/%' THEN 1 / try_cast(f[2:] AS DOUBLE)"
        r" ELSE try_cast(ltrim(f, '*') AS DOUBLE) END))))"
        r" - try_cast(translate(regexp_extract(equation, '[^=]*$'), '$€£, ', '') AS DOUBLE))"
        r" <= 0.000001 + 0.51 * CASE WHEN regexp_matches(equation, '\.\d+$')"
        r" THEN pow(0.1, length(regexp_extract(equation, '\.(\d+)$', 1))) ELSE 0 END",
        "whether one of `equations` is right, to the decimals its result is written with",
    ),
}
"""Functions added to DuckDB's own, in the order they are made: one may use those above it."""
