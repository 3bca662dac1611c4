"""Conversations become a prompt with marked roles, and can be taken apart again."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rulesel.corpus import count_turns, join_turns, split_turns
from rulesel.corpus.chat import entries_of, looks_like_conversation, turn_of
from rulesel.corpus.raw import Unusable
from rulesel.corpus.turns import Turn, prompt_and_reply


def parse_turns(value: object) -> list[Turn]:
    return [turn_of(entry) for entry in entries_of(value)]


ROLES = st.sampled_from(["system", "user", "assistant", "tool"])
TEXTS = st.one_of(
    st.text(),
    st.lists(st.sampled_from(["[user]", "\\[user]", "\\\\[tool]", "[assistant]", "", "\n", "x", "\r", " "])).map(
        "\n".join
    ),
)


@given(st.lists(st.tuples(ROLES, TEXTS), min_size=1))
@example([("user", "[user]")])
@example([("user", "a\n[system]\nb")])
@example([("user", "\\[user]")])
@example([("system", ""), ("user", "")])
@pytest.mark.slow
def test_joined_turns_are_split_into_the_same_turns(turns: list[tuple[str, str]]) -> None:
    assert split_turns(join_turns(turns)) == turns
    assert count_turns(join_turns(turns), "reply") == len(turns) + 1


@given(st.text())
@pytest.mark.slow
def test_a_lone_question_is_its_own_text_unless_it_looks_like_a_mark(text: str) -> None:
    joined = join_turns([("user", text)])
    assert joined == text or "[" in text


def test_a_conversation_reads_as_marked_turns() -> None:
    value = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "2 + 2?"},
        {"role": "assistant", "content": "4"},
        {"role": "user", "content": "Sure?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Thanks."},
    ]
    prompt, reply = prompt_and_reply(parse_turns(value))
    assert prompt == "[system]\nBe brief.\n\n[user]\n2 + 2?\n\n[assistant]\n4\n\n[user]\nSure?"
    assert reply == "Yes."
    assert count_turns(prompt, reply) == 5


def test_an_example_counts_one_turn_as_text_and_two_as_question_and_answer() -> None:
    assert count_turns(None, "text") == 1
    assert count_turns("question", "answer") == 2


CALL = '<tool_calls>\n[{"name":"f"}]\n</tool_calls>'
CALL_OF_OLD = '<function_call>\n{"name":"f"}\n</function_call>'
FUNCTIONS = '<functions>\n[{"name":"f"}]\n</functions>'


@pytest.mark.parametrize(
    ("turn", "read"),
    [
        ({"from": "human", "value": "q"}, ("user", "q")),
        ({"from": "gpt", "value": "a"}, ("assistant", "a")),
        ({"role": "Developer", "content": "s"}, ("system", "s")),
        ({"role": "function", "content": "t"}, ("tool", "t")),
        ({"role": "user", "content": ["a", {"type": "text", "text": "b"}]}, ("user", "a\nb")),
        ({"role": "assistant", "content": None, "tool_calls": [{"name": "f"}]}, ("assistant", CALL)),
        ({"role": "assistant", "content": "", "tool_calls": [{"name": "f"}]}, ("assistant", CALL)),
        ({"role": "assistant", "content": "a", "tool_calls": [{"name": "f"}]}, ("assistant", "a\n\n" + CALL)),
        ({"from": "gpt", "value": None, "function_call": {"name": "f"}}, ("assistant", CALL_OF_OLD)),
        ({"role": "assistant", "content": "a", "reasoning": "t"}, ("assistant", "<think>\nt\n</think>\n\na")),
        ({"role": "assistant", "content": "", "thinking": "t"}, ("assistant", "<think>\nt\n</think>")),
        ({"role": "assistant", "content": "<think>t</think>a", "reasoning": "t"}, ("assistant", "<think>t</think>a")),
        (
            {"role": "tool", "content": "1", "name": "f", "tool_call_id": "c"},
            ("tool", '{"name":"f","tool_call_id":"c"}\n1'),
        ),
        ({"role": "tool", "content": {"rain": True}}, ("tool", '{"rain":true}')),
        ({"role": "system", "content": "s", "functions": '[{"name": "f"}]'}, ("system", "s\n\n" + FUNCTIONS)),
        ({"role": "assistant", "content": 7}, ("assistant", "7")),
        (
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "t"}, {"type": "text", "text": "a"}]},
            ("assistant", "<think>\nt\n</think>\na"),
        ),
        ({"role": "assistant", "content": "a", "tool_calls": []}, ("assistant", "a")),
        ({"role": "user", "content": ""}, ("user", "")),
    ],
)
def test_a_turn_is_read_in_every_dialect(turn: dict[str, object], read: tuple[str, str]) -> None:
    assert parse_turns([turn]) == [read]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "role",
                        "from",
                        "content",
                        "value",
                        "text",
                        "tool_calls",
                        "reasoning",
                        "tools",
                        "name",
                        "input",
                        "output",
                    ]
                ),
                inner,
            )
        ),
    )
)
@pytest.mark.slow
def test_no_value_raises_anything_but_unusable(value: object) -> None:
    looks_like_conversation(value)
    with suppress(Unusable):
        prompt_and_reply(parse_turns(value))
