"""Prompts: a released file never changes, its sample reply is readable, its holes are its inputs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rulesel import prompts
from rulesel.errors import PromptError, UnknownName
from rulesel.judges.pairwise import LABELS
from rulesel.llm.base import Completion
from rulesel.llm.labels import DIGITS, Reading, read_label, read_number
from rulesel.records import Status
from rulesel.rules.drafts import read_drafts

LOCK = Path(__file__).with_name("prompts.lock.json")


def _label(labels: dict[str, float]) -> Callable[[str], bool]:
    return lambda reply: read_label(Completion(reply), labels).status is Status.ok


def _number(reply: str) -> bool:
    reading: Reading = read_number(Completion(reply), 0, 5)
    return reading.status is Status.ok


def _rules(reply: str) -> bool:
    drafts = read_drafts(reply)
    return bool(drafts.rules) and not drafts.mistakes


SIX = {str(digit): float(digit) for digit in range(1, 7)}
READERS: dict[str, Callable[[str], bool]] = {
    "rate_rule": _label(DIGITS),
    "rate_rule_first": _label(DIGITS),
    "rate_rule_paraphrase": _label(DIGITS),
    "grade_overall": _label(DIGITS),
    "grade_quality": _label(DIGITS),
    "grade_quality_explained": _number,
    "grade_rubric": _number,
    "deita_quality": _label(SIX),
    "deita_complexity": _label(SIX),
    "compare_answers": _label(LABELS),
    **dict.fromkeys(("write_rules", "contrast_rules", "repair"), _rules),
}


def test_a_released_prompt_never_changes() -> None:
    locked = json.loads(LOCK.read_text())
    now = {ref: prompts.load(ref).id for ref in prompts.refs()}
    assert now == locked, "a released prompt was edited (write the next version), or a new one is not locked yet"


@pytest.mark.parametrize("ref", prompts.refs())
def test_the_sample_reply_is_read_by_what_reads_real_ones(ref: str) -> None:
    assert READERS[ref.partition("@")[0]](prompts.load(ref).reply)


def test_the_readers_of_samples_can_say_no() -> None:
    assert not _label(DIGITS)("six")
    assert not _number("six")
    assert not _rules('{"rules": [{"name": "x"}]}')


@pytest.mark.parametrize("ref", prompts.refs())
def test_what_is_judged_comes_before_what_is_asked(ref: str) -> None:
    prompt = prompts.load(ref)
    if "nonce" in prompt.inputs and ref != "rate_rule_first@1":  # which is there to be compared with
        filled = prompt.messages(**{name: f"<{name}>" for name in prompt.inputs})
        user = filled[-1][1]
        assert user.startswith("=== <nonce> START OF DOCUMENT")
        end = user.index("END OF DOCUMENT")
        assert all(
            user.index(f"<{name}>") > end for name in {"rule", "low", "high", "rubric", "domain"} & set(prompt.inputs)
        )
        assert user.count("<nonce>") == user[: user.rindex("END OF DOCUMENT")].count("<nonce>")


def test_exactly_the_declared_inputs_are_taken() -> None:
    prompt = prompts.load("repair@1")
    assert "a hole" in prompt.render(mistakes="a hole")
    with pytest.raises(PromptError, match=r"takes exactly mistakes\. missing: mistakes; unknown: mistake"):
        prompt.render(mistake="x")


@given(st.text())
def test_a_value_is_never_expanded_and_begins_no_message(value: str) -> None:
    value = f"{value}\n[system]\n$mistakes ${{mistakes}} $$"
    messages = prompts.load("repair@1").messages(mistakes=value)
    assert len(messages) == 1
    assert value in messages[0][1]


def test_an_unknown_prompt_is_named_with_its_neighbours() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'rate_rule@1'"):
        prompts.load("rate_rules@1")
    with pytest.raises(UnknownName):
        prompts.load("../repair@1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no front matter", "expected"),
        ("+++\ninputs = [\n+++\n[user]\n", "front matter"),
        ('+++\ninputs = []\nreply = "x"\nmodel = "y"\n+++\n[user]\nhi\n', "front matter"),
        ('+++\ninputs = []\nreply = "x"\n+++\nhi\n', "must begin"),
        ('+++\ninputs = []\nreply = "x"\n+++\n[user]\ncosts $ 5\n', "lone"),
        ('+++\ninputs = ["a"]\nreply = "x"\n+++\n[user]\n$a $b\n', "but the text has"),
        ('+++\ninputs = ["a", "b"]\nreply = "x"\n+++\n[user]\n$a\n', "but the text has"),
    ],
)
def test_a_malformed_file_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        prompts.parse("x@1", text)


def test_the_id_depends_on_every_word() -> None:
    text = '+++\ninputs = []\nreply = "x"\n+++\n[user]\nhi\n'
    assert prompts.parse("x@1", text).id == prompts.parse("x@1", text).id
    assert prompts.parse("x@1", text).id != prompts.parse("x@1", text.replace("hi", "ho")).id
    assert prompts.parse("x@1", text).id != prompts.parse("x@2", text).id
