"""The size of patterns, by worked numbers."""

from __future__ import annotations

import pytest

from rulesel.rules.unrolled import MOST_COPIES, copies


@pytest.mark.parametrize(
    ("pattern", "made"),
    [
        ("abc", 0),
        ("a{3}", 2),
        ("a{2,5}b", 4),
        ("a{5,}", 4),
        ("(?:ab){3}", 4),
        ("(ab{3}){4}", 2 + 3 * 4),
        ("([a-j ]{0,100}){0,10}[0-9]{3}z", 99 + 9 * 100 + 2),
        (r"\{3} a\{5}", 0),
        ("[{9}]{2}", 1),
        ("[]{9}]{2}", 1),
        ("(a|b){3}", 4),
        ("a{0}", 0),
        ("{5}", 0),
        ("a{x}", 0),
        ("))a{2}", 1),
    ],
)
def test_copies_are_counted_through_groups_and_not_in_classes_or_escapes(pattern: str, made: int) -> None:
    assert copies(f"regexp_matches(response, '{pattern}')") == made
    assert copies(f"regexp_matches(response, $p${pattern}$p$)::INT") == made
    assert copies(f"hits(response, '{pattern}') + hits(text, '{pattern}')") == 2 * made


def test_what_rules_usually_look_for_is_far_below_the_bound() -> None:
    usual = [r"[\w.+-]{1,64}@[\w-]{1,63}\.[a-z]{2,10}", r"\b\d{4}-\d{2}-\d{2}\b", r"(?m)^#{1,6} ", r"(\w+\W+){20,}"]
    assert all(copies(f"hits(response, '{pattern}')") < MOST_COPIES for pattern in usual)


def test_nested_counts_are_far_above_it() -> None:
    assert copies("hits(response, '((a{100}){100}){100}')") > 100 * MOST_COPIES
