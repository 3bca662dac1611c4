from __future__ import annotations

import pytest

from rulesel.records import Rule, RuleSet
from rulesel.rules.lint import Finding, lint


def findings(text, **fields):
    judge = fields.pop("judge", None)
    return lint(RuleSet(rules=(Rule(name="it", text=text, **fields),)), judge=judge)


def whats(text, **fields):
    return [finding.what for finding in findings(text, **fields)]


@pytest.mark.parametrize(
    "text",
    [
        "The response explains each step before it takes the next.",
        "The response gives an example for each claim.",
        "The sentences are short.",
        "The code handles an empty list.",
        "The review tells good points as well as bad ones.",
        "The response contains no errors.",
        "The response ends where its thought ends, without breaking off.",
        "The solution corrects the mistakes it makes on the way.",
        "Names and dates are spelled out.",
        "The reviewer speaks from use of their own.",
    ],
)
def test_a_plain_measurable_sentence_passes(text):
    assert findings(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "The post received many upvotes.",
        "The text is popular with readers.",
        "The answer was written by an expert.",
        "The author's credentials are stated by the site.",
        "The information is up-to-date.",
        "The article comes from a reputable source.",
        "The publication date is within the last year.",
        "The example is rare in the dataset.",
    ],
)
def test_what_the_text_does_not_say_is_found(text):
    assert any(what.startswith("needs to know what the text does not say") for what in whats(text))


@pytest.mark.parametrize(
    "text",
    [
        "The example improves the model.",
        "The response is of high-quality.",
        "This is a good response.",
        "The answer is what the user's intention was.",
        "The response raises user satisfaction.",
    ],
)
def test_what_cannot_be_measured_is_found(text):
    assert any(what.startswith("cannot be measured") for what in whats(text))


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        ("The response is clear and concise.", "clear and concise"),
        ("The solution is accurate, and complete.", "accurate, and complete"),
        ("The response shows relevance and creativity.", "relevance and creativity"),
        ("The response answers the question and is polite.", "and is"),
        ("The code runs as well as explains itself.", "as well as explains"),
    ],
)
def test_two_criteria_in_one_are_found(text, joined):
    assert f"asks for two things at once ({joined!r})" in whats(text)


def test_two_words_for_one_quality_are_one_criterion():
    assert findings("The response is clear and readable.") == []


@pytest.mark.parametrize(
    "text",
    [
        "The response repeats itself.",
        "The answer contains factual errors.",
        "The text is vague.",
        "The reply is off-topic.",
    ],
)
def test_a_flaw_with_positive_polarity_is_found_and_with_negative_it_passes(text):
    assert any(what.startswith("states a flaw") for what in whats(text))
    assert findings(text, polarity="negative") == []


@pytest.mark.parametrize(
    "text", ["The response is accurate.", "The response avoids repetition.", "The answer contains no errors."]
)
def test_a_merit_with_negative_polarity_is_found_and_with_positive_it_passes(text):
    assert "states a merit, but its polarity is negative" in whats(text, polarity="negative")
    assert findings(text) == []


def test_a_flaw_set_against_a_merit_counts_as_neither_claim():
    assert findings("The response adds content instead of repeating the prompt.") == []


def test_a_long_sentence_is_a_hint():
    (found,) = findings("The response " + "names " * 50)
    assert (found.severity, found.what) == ("hint", "is long (52 words)")


def test_near_duplicates_are_found_once_and_named():
    rules = tuple(
        Rule(name=name, text=text)
        for name, text in (
            ("first", "The solution states its final number with the unit."),
            ("other", "Each line of the working holds one calculation."),
            ("again", "The solution states the final number with its unit."),
        )
    )
    assert lint(RuleSet(rules=rules)) == [
        Finding("again", "warning", "says nearly the same as 'first'", "keep the better one of the two")
    ]


def test_findings_come_in_the_order_of_the_rules():
    rules = tuple(
        Rule(name=n, text=t) for n, t in (("b", "It is clear and concise."), ("a", "It was viral and went round."))
    )
    assert [finding.rule for finding in lint(RuleSet(rules=rules))] == ["b", "a"]


@pytest.mark.parametrize(("judge", "severity"), [("signals", "error"), (None, "warning"), ("openai/gpt", "warning")])
def test_a_refused_expression_is_an_error_only_for_the_judge_that_runs_it(judge, severity):
    (found,) = findings("The sentences are short.", sql="(SELECT 1)", judge=judge)
    assert (found.severity, found.what) == (severity, "its sql is refused: subquery is not allowed")


def test_a_missing_expression_is_an_error_for_signals_only():
    assert findings("The sentences are short.") == []
    assert findings("The sentences are short.", judge="openai/gpt") == []
    (found,) = findings("The sentences are short.", judge="signals")
    assert (found.severity, found.what) == ("error", "has no sql expression, and the judge is signals")


def test_an_expression_that_looks_at_nothing_is_found():
    assert "its sql looks at no column, so it is the same for all" in whats("The sentences are short.", sql="0.5")
    assert findings("The sentences are short.", sql="n_words / 1e6") == []
