"""Rules written by a model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rulesel.errors import ModelError
from rulesel.llm.base import ChatRequest, Completion, Failure
from rulesel.llm.client import Client
from rulesel.llm.fake import Fake
from rulesel.llm.faults import Final
from rulesel.llm.names import open_chat
from rulesel.records import Batch, Rule, RuleSet
from rulesel.rules.diff import diff_rules
from rulesel.rules.drafts import SCHEMA, read_drafts
from rulesel.rules.generate import PERSPECTIVES, Written, generate_rules
from rulesel.rules.merge import merge, similarity
from rulesel.store.ledger import Ledger

SAMPLE = Batch([f"h{i}" for i in range(30)], [f"prompt {i}" for i in range(30)], [f"response {i}" for i in range(30)])


def draft(name: str, text: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "text": text, "polarity": "positive", "low": "bad", "high": "good", "sql": None, **more}


def answer(*drafts: dict[str, Any]) -> str:
    return json.dumps({"rules": list(drafts)})


def write(script: Any, **parameters: Any) -> tuple[Written, list[ChatRequest]]:
    asked: list[ChatRequest] = []

    def noted(request: ChatRequest) -> Any:
        asked.append(request)
        return script(request)

    client = Client("writer", lambda: Fake(noted))
    try:
        return generate_rules(client, "arithmetic", **parameters), asked
    finally:
        client.close()


def test_fifty_rules_that_differ_come_of_several_readers_and_contrasts() -> None:
    chat = open_chat("fake:planted")
    written = generate_rules(chat, "arithmetic", count=50, sample=SAMPLE, secret=b"s")
    chat.close()
    assert len(written.rules) == written.wanted == 50
    assert written.merged, "what several readers say alike is merged, and shown"
    assert written.rules.domain == "arithmetic"
    assert "fake:planted" in written.rules.origin
    assert "write_rules@1" in written.rules.origin
    kept, again = merge(written.rules.rules)
    assert (len(kept), again) == (50, [])


def test_readers_see_the_domain_other_examples_and_their_own_concern() -> None:
    _, asked = write(
        lambda r: answer(draft("a", f"text {len(r.messages[1][1])}")), count=24, sample=SAMPLE, secret=b"s"
    )
    first = [r for r in asked if "These rules exist already" not in r.messages[1][1]]
    texts = [r.messages[1][1] for r in first]
    assert all("arithmetic" in text for text in texts)
    assert all(r.json_schema == SCHEMA for r in asked)
    assert len({p for p in PERSPECTIVES for text in texts if p in text}) == len(PERSPECTIVES)
    contrasts = [text for text in texts if "END OF DOCUMENT B" in text]
    assert len(contrasts) == 2
    shown = [text.count("START OF DOCUMENT") for text in texts if text not in contrasts]
    assert shown == [3] * len(shown)


def test_without_a_sample_nothing_is_shown() -> None:
    _, asked = write(lambda _: answer(draft("a", "one thing")), count=2)
    assert all("START OF DOCUMENT" not in r.messages[1][1] for r in asked)


def test_what_is_missing_after_merging_is_asked_for_with_the_known_rules() -> None:
    words = iter(
        [
            "apple",
            "bridge",
            "candle",
            "dragon",
            "engine",
            "forest",
            "guitar",
            "hammer",
            "island",
            "jacket",
            "kettle",
            "lemon",
            "mirror",
            "needle",
        ]
    )

    def script(request: ChatRequest) -> str:
        known = "These rules exist already" in request.messages[1][1]
        return answer(draft("n", f"It has {next(words)}.")) if known else answer(draft("n", "It has order."))

    written, asked = write(script, count=4)
    assert len(written.rules) == 4
    assert written.rules.rules[0].text == "It has order."
    assert any("- It has order." in r.messages[1][1] for r in asked)
    assert len({rule.name for rule in written.rules.rules}) == 4, "names are told apart"


def test_a_writer_that_repeats_itself_is_not_asked_for_ever() -> None:
    written, asked = write(lambda _: answer(draft("n", "It has order.")), count=30)
    assert len(written.rules) == 1
    assert written.wanted == 30
    assert len(asked) < 25


def test_a_malformed_answer_is_asked_for_once_more_with_its_mistakes() -> None:
    def script(request: ChatRequest) -> str:
        if len(request.messages) > 2:
            assert request.messages[2] == ("assistant", "Sure! Here they are.")
            assert "no JSON" in request.messages[3][1]
            return answer(draft("n", "It has order."))
        return "Sure! Here they are."

    written, _ = write(script, count=1)
    assert [r.text for r in written.rules.rules] == ["It has order."]
    assert written.rejected == ()


def test_of_a_half_good_answer_the_good_half_is_kept() -> None:
    bad = draft("n", "x", polarity="sideways")
    written, asked = write(lambda _: answer(draft("n", "It has order."), bad, draft("", "no name")), count=1)
    assert len(written.rules) == 1
    assert len(asked) == 2
    assert any("rule 2: polarity" in why for why in written.rejected)
    assert any("rule 3: name" in why for why in written.rejected)


def test_no_rule_at_all_is_an_error_with_the_reason() -> None:
    with pytest.raises(ModelError, match=r"wrote no rule that can be read: .*refused"):
        write(lambda _: Completion("", refusal="I will not."), count=3)
    with pytest.raises(ModelError, match="timeout: late"):
        write(lambda _: Final(Failure("timeout", "late")), count=3)


def test_the_same_request_is_not_paid_twice() -> None:
    ledger, counts = Ledger(None), []
    for _ in range(2):
        chat = open_chat("fake:planted", ledger=ledger.stage("rules"))
        rules = generate_rules(chat, "arithmetic", count=20, sample=SAMPLE, secret=b"s").rules
        chat.close()
        counts.append((ledger.spent.requests, rules.id))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("wrap", ["{}", "```json\n{}\n```", "Here:\n```\n{}\n```\nEnjoy.", "Sure: {} Bye."])
def test_json_is_found_in_its_wrapping(wrap: str) -> None:
    text = wrap.replace("{}", answer(draft("n", "It has {braces}.", sql="len(x)")))
    (rule,) = read_drafts(text).rules
    assert (rule.text, rule.sql) == ("It has {braces}.", "len(x)")
    assert rule.anchors is not None


@pytest.mark.parametrize(
    "wrap", ['<think>I could write {"rules": []} or {x}.</think>{}', "First {this}.</think>\n```json\n{}\n```", "{}"]
)
def test_rules_are_read_after_the_thoughts_about_them(wrap: str) -> None:
    written, asked = write(lambda _: wrap.replace("{}", answer(draft("n", "It has no <answer> mark."))), count=1)
    assert [rule.text for rule in written.rules.rules] == ["It has no <answer> mark."]
    assert len(asked) == 1


@pytest.mark.parametrize("text", ["", "[]", '{"rules": []}', '{"rules": "x"}', "null", '{"rules": [1]}'])
def test_what_is_no_answer_says_so(text: str) -> None:
    drafts = read_drafts(text)
    assert not drafts.rules
    assert drafts.mistakes


def test_the_schema_is_one_that_strict_servers_take() -> None:
    def check(schema: dict[str, Any]) -> None:
        if schema.get("type") == "object":
            assert schema["additionalProperties"] is False
            assert set(schema["required"]) == set(schema["properties"])
        for value in schema.values():
            for inner in value.values() if isinstance(value, dict) else [value]:
                if isinstance(inner, dict):
                    check(inner)

    check(SCHEMA)
    for definition in SCHEMA["$defs"].values():
        check(definition)


DUPLICATES = [
    ("The response repeats itself.", "The response does not repeat itself."),
    ("The response is concise and free of padding.", "The response is concise, without padding."),
    ("Every claim is supported by evidence.", "Claims are supported by evidence."),
    ("The grammar of the response is correct.", "The response uses correct grammar."),
    ("The code handles edge cases.", "Edge cases are handled by the code."),
]
DIFFERENT = [
    ("The final answer is numerically correct.", "The final answer is clearly marked."),
    ("The spelling is correct.", "The grammar is correct."),
    ("The response is complete.", "The response is concise."),
    ("The tone is free of repetition.", "The summary is free of repetition."),
    ("The response says in whom the finding was made.", "The response says what the finding is compared with."),
]


@pytest.mark.parametrize(("one", "other"), DUPLICATES)
def test_near_duplicates_are_merged_into_the_first(one: str, other: str) -> None:
    rules = [Rule(name="a", text=one), Rule(name="b", text="Something else entirely."), Rule(name="c", text=other)]
    kept, merged = merge(rules)
    assert [rule.name for rule in kept] == ["a", "b"]
    assert [(m.kept.name, m.dropped.name) for m in merged] == [("a", "c")]
    assert 0.6 <= merged[0].similarity <= 1


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_rules_that_differ_in_one_word_that_matters_stay(one: str, other: str) -> None:
    assert len(merge([Rule(name="a", text=one), Rule(name="b", text=other)])[0]) == 2, similarity(one, other)


def test_an_edit_shows_which_ratings_stay_and_which_are_stale() -> None:
    a, b, c, d = (Rule(name=name, text=f"text {name}") for name in "abcd")
    renamed = a.model_copy(update={"name": "new name"})
    edited = b.model_copy(update={"text": "other text"})
    before, after = RuleSet(rules=(a, b, c)), RuleSet(rules=(renamed, edited, d))
    diff = diff_rules(before, after)
    assert diff.same == (renamed,)
    assert diff.renamed == ((a, renamed),)
    assert diff.edited == ((b, edited),)
    assert (diff.added, diff.removed) == ((d,), (c,))
    assert diff.stale == (b, c)
    assert diff.unrated == (edited, d)
    assert diff_rules(before, before).unrated == ()
