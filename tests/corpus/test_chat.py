"""Whatever a trainer sees of a record is rated, told apart and written; a plain record keeps its content hash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rulesel.corpus import Corpus, Stored, count_turns, open_corpus, write_selection
from rulesel.corpus.mapping import FieldMapping
from rulesel.errors import CorpusError

U = {"role": "user", "content": "q"}
A = {"role": "assistant", "content": "a"}
S = {"role": "system", "content": "s"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def opened(folder: Path, *records: object) -> Corpus:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return open_corpus(path)


def pairs(folder: Path, *records: object) -> list[tuple[str | None, str]]:
    (chunk,) = opened(folder, *records).chunks()
    return list(zip(chunk.prompts, chunk.responses, strict=True))


def written(folder: Path, as_: Any, *records: object) -> list[dict[str, Any]]:
    corpus = opened(folder, *records)
    (chunk,) = corpus.chunks()
    stored = map(Stored, chunk.prompts, chunk.responses, chunk.records)
    write_selection(folder / "out.jsonl", corpus.source, stored, as_=as_)
    return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]


# --- what stands in stores -------------------------------------------------------------------------------------------

PLAIN: dict[str, tuple[dict[str, Any], str]] = {
    "text": ({"text": "t"}, "b2-943db3d354e9138b566d2e3ed728d3ff"),
    "text beside": (
        {"text": "t", "system": "x", "tools": "y", "reasoning": "z"},
        "b2-943db3d354e9138b566d2e3ed728d3ff",
    ),
    "alpaca": ({"instruction": "i", "input": "x", "output": "o"}, "b2-285ffa5316284a3c5302540e4acc394f"),
    "alpaca, empty fields": (
        {"instruction": "i", "input": "", "output": "o", "system": "", "history": [], "tools": ""},
        "b2-c642adb9ad915a632e97c7785ce383e2",
    ),
    "alpaca, null fields": (
        {"instruction": "i", "input": None, "output": "o", "system": None, "history": None, "tools": None},
        "b2-c642adb9ad915a632e97c7785ce383e2",
    ),
    "marks in a prompt": (
        {"instruction": "[user]\nhello\n\\[tool]", "input": "", "output": "[assistant]\nx"},
        "b2-86ad4886fa690dd424b38f1ae2de5092",
    ),
    "question": ({"question": "q", "context": "c", "answer": "a"}, "b2-50026ae34faa5c90779a8f00905d9412"),
    "prompt": ({"prompt": "p", "completion": "c", "system_prompt": " "}, "b2-32995306f985bdbb23e0dfdf8df68614"),
    "think in an answer": (
        {"prompt": "p", "response": "<think>\nt\n</think>\n\na", "tools": "[]"},
        "b2-7910020a476ef3ed04f4cb8e179e2944",
    ),
    "messages": ({"messages": [U, A]}, "b2-666e26b8a6036a6f463bf4771d46ff60"),
    "messages with a system turn": ({"messages": [S, U, A, U, A]}, "b2-a8009edc67280e957061ea884ad4d927"),
    "messages, what follows": ({"messages": [U, A, U]}, "b2-666e26b8a6036a6f463bf4771d46ff60"),
    "messages, empty fields": (
        {
            "messages": [
                {**U, "name": None, "tool_calls": None},
                {**A, "tool_calls": [], "function_call": None, "reasoning_content": ""},
            ],
            "tools": [],
            "functions": None,
        },
        "b2-666e26b8a6036a6f463bf4771d46ff60",
    ),
    "messages in parts": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}, "r"]}, A]},
        "b2-5935bb6ced891b49061c9f7917d20dc5",
    ),
    "messages, weights": (
        {"messages": [{**U, "weight": 0}, {**A, "weight": 1, "id": "7"}]},
        "b2-666e26b8a6036a6f463bf4771d46ff60",
    ),
    "sharegpt": (
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        "b2-666e26b8a6036a6f463bf4771d46ff60",
    ),
    "sharegpt, calls as turns": (
        {
            "conversations": [
                {"from": "human", "value": "q"},
                {"from": "function_call", "value": '{"name": "f", "arguments": {}}'},
                {"from": "observation", "value": "1"},
                {"from": "gpt", "value": "a"},
            ],
            "tools": "[]",
        },
        "b2-0405f8bd888c1bde23e8c5c1f07fcfd9",
    ),
    "turns as prompt and completion": ({"prompt": [S, U], "completion": [A]}, "b2-ee8a99a6d3132614d390f4ba213e884e"),
    "text and turns": ({"prompt": "p", "completion": [A]}, "b2-e0e89c748537913b1b9fc4ac47634e53"),
    "turns and text": ({"prompt": [U], "completion": "a"}, "b2-666e26b8a6036a6f463bf4771d46ff60"),
}


@pytest.mark.parametrize(("record", "content"), PLAIN.values(), ids=PLAIN.keys())
def test_a_record_with_nothing_beside_its_texts_keeps_its_content_hash(
    tmp_path: Path, record: dict[str, Any], content: str
) -> None:
    (chunk,) = opened(tmp_path, record).chunks()
    assert chunk.hashes == [content]  # written down before calls, tools and reasoning were rated


# --- what makes a difference -----------------------------------------------------------------------------------------


def asked(*turns: dict[str, Any], **beside: Any) -> dict[str, Any]:
    return {"messages": [*turns], **beside}


def alpaca(**beside: Any) -> dict[str, Any]:
    return {"instruction": "q", "input": "", "output": "a", **beside}


DIFFERENT: dict[str, tuple[list[dict[str, Any]], str]] = {
    "calls beside text": (
        [asked(U, A | {"tool_calls": [CALL]}), asked(U, A | {"tool_calls": [CALL | {"type": "other"}]}), asked(U, A)],
        "arguments",
    ),
    "a call and the text of a call": (
        [asked(U, {"role": "assistant", "tool_calls": [CALL]}), asked(U, A | {"content": json.dumps([CALL])})],
        "arguments",
    ),
    "a call of old": ([asked(U, A | {"function_call": {"name": n, "arguments": "{}"}}) for n in "fg"], "function_call"),
    "calls of earlier turns": (
        [asked(U, A | {"tool_calls": [CALL | {"id": i}]}, {"role": "tool", "content": "1"}, A) for i in "cd"],
        "arguments",
    ),
    "whose result": ([asked(U, A, {"role": "tool", "name": n, "content": "1"}, A) for n in ("rain", "snow")], "rain"),
    "reasoning": (
        [asked(U, A | {"reasoning_content": "so"}), asked(U, A | {"reasoning_content": "well"}), asked(U, A)],
        "so",
    ),
    "reasoning in parts": (
        [asked(U, A | {"reasoning": [{"type": "text", "text": text}]}) for text in ("so", "because")],
        "so",
    ),
    "tools": ([asked(U, A, tools=[TOOL]), asked(U, A, tools=[]), asked(U, A, functions=[{"name": "g"}])], "parameters"),
    "tools as text": ([asked(U, A, tools=json.dumps([TOOL])), asked(U, A, tools="")], "parameters"),
    "tools of a turn": ([asked(S | {"tools": [TOOL]}, U, A), asked(S, U, A)], "parameters"),
    "system prompt": ([asked(U, A, system=s) for s in ("In Latin.", "", None)][:2], "In Latin."),
    "system prompt of alpaca": ([alpaca(system=s) for s in ("In Latin.", "In Greek.", " ")], "In Latin."),
    "system prompt of questions": (
        [{"system_prompt": s, "question": "q", "response": "r"} for s in ("In Latin.", "")],
        "In Latin.",
    ),
    "history": ([alpaca(history=h) for h in ([["Peru?", "Lima."]], [["Malta?", "Valletta."]], [])], "Peru?"),
    "history as JSON": ([alpaca(history=json.dumps(h)) for h in ([["Peru?", "Lima."]], [["Malta?", "V."]])], "Peru?"),
    "history as turns": ([alpaca(history=h) for h in ([U | {"content": "Peru?"}, A], [U, A])], "Peru?"),
    "history as text": ([alpaca(history=h) for h in ("User: Peru? Bot: Lima.", "User: Malta? Bot: V.")], "Peru?"),
    "tools of alpaca": ([alpaca(tools=t) for t in (json.dumps([TOOL]), "[]")], "parameters"),
    "reasoning of alpaca": ([alpaca(reasoning=t) for t in ("so", "because")], "so"),
    "completion of turns": (
        [
            {
                "prompt": [U],
                "completion": [
                    {"role": "assistant", "tool_calls": [CALL | {"id": i}]},
                    {"role": "tool", "content": "1"},
                    A,
                ],
            }
            for i in "cd"
        ],
        "arguments",
    ),
    "completion of turns after a text": (
        [{"prompt": "q", "completion": [A | {"content": t}, U, A]} for t in "xy"],
        "x",
    ),
    "completion that repeats the prompt": (
        [{"prompt": "q", "completion": [S | {"content": t}, U, A]} for t in ("xx", "yy")],
        "xx",
    ),
    "names": ([asked(U | {"name": n}, A) for n in ("Ann", "Ben")], "Ann"),
    "late fields": ([asked(U, A), *(asked(U, A, tools=[TOOL | {"type": t}]) for t in "xy")], "q"),
}


@pytest.mark.parametrize(("records", "rated"), DIFFERENT.values(), ids=DIFFERENT.keys())
def test_records_that_a_trainer_tells_apart_are_different_examples(
    tmp_path: Path, records: list[dict[str, Any]], rated: str
) -> None:
    (chunk,) = opened(tmp_path, *records).chunks()
    assert len(set(chunk.hashes)) == len(records)
    assert rated in f"{chunk.prompts[0]} {chunk.responses[0]}"


def test_a_field_that_comes_after_the_first_records_is_read(tmp_path: Path) -> None:
    records = [alpaca()] * 1200 + [alpaca(tools=[TOOL | {"type": t}], system="s") for t in "xy"]
    (chunk,) = opened(tmp_path, *records).chunks()
    assert len(set(chunk.hashes)) == 3


def test_the_conversation_is_in_the_order_a_trainer_has_it(tmp_path: Path) -> None:
    record = alpaca(system="Be brief.", history=[["one", "two"], ["three", "four"]], tools=[TOOL], reasoning="so")
    ((prompt, response),) = pairs(tmp_path, record)
    assert prompt is not None
    parts = (
        "[system]",
        "Be brief.",
        "<tools>",
        "[user]\none",
        "[assistant]\ntwo",
        "[user]\nthree",
        "four",
        "[user]\nq",
    )
    at = [prompt.find(part) for part in parts]
    assert -1 not in at
    assert at == sorted(at)
    assert response == "<think>\nso\n</think>\n\na"
    assert count_turns(prompt, response) == 7


@pytest.mark.parametrize(
    "record",
    [
        {"conversation": [{"system": "s", "input": "q", "output": "a"}, {"input": "r", "output": "b"}]},
        {"conversation": [{"system": "s", "human": "q", "assistant": "a"}, {"human": "r", "assistant": "b"}]},
        {"conversations": {"from": ["system", "human", "gpt", "human", "gpt"], "value": ["s", "q", "a", "r", "b"]}},
        {"conversations": [["q", "a"], ["r", "b"]], "system": "s"},
        {"conversations": ["q", "a", "r", "b"], "system": "s"},
        {"messages": json.dumps([S, U, A, U | {"content": "r"}, A | {"content": "b"}])},
        {"messages": [U, A, U | {"content": "r"}, A | {"content": "b"}], "system": "s"},
        {"messages": [S, U, A, U | {"content": "r"}, A | {"content": "b"}], "system": "s"},
        {"dialog": [S, U, A, U | {"content": "r"}, A | {"content": "b"}]},
        {"instruction": "r", "output": "b", "history": [["q", "a"]], "system": "s"},
        {"prompt": [S, U, A, U | {"content": "r"}], "completion": "b"},
        {"prompt": "q", "system": "s", "completion": [A, U | {"content": "r"}, A | {"content": "b"}]},
    ],
)
def test_one_conversation_is_one_example_in_every_dialect(tmp_path: Path, record: dict[str, Any]) -> None:
    assert pairs(tmp_path, record) == [("[system]\ns\n\n[user]\nq\n\n[assistant]\na\n\n[user]\nr", "b")]


@pytest.mark.parametrize(
    ("value", "text"),
    [("7", "7"), ("-1", "-1"), ("3.50", "3.50"), ("1e3", "1e3"), ("true", "true"), ("9" * 30, "9" * 30), ("0", "0")],
)
def test_a_number_is_its_text(tmp_path: Path, value: str, text: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"question": "q", "answer": {value}}}\n')
    (chunk,) = open_corpus(path).chunks()
    assert chunk.responses == [text]


def test_numbers_do_not_displace_what_holds_text(tmp_path: Path) -> None:
    corpus = opened(tmp_path, {"text": "t", "question": 1, "answer": 2})
    assert corpus.shape == "text"
    assert opened(tmp_path, {"question": "q", "answer": 2, "solution": "s"}).mapping["response"] == "solution"


def test_whole_numbers_beyond_64_bits_stay_whole(tmp_path: Path) -> None:
    call = {"name": "f", "arguments": {"n": 10**25}}
    ((_, response),) = pairs(tmp_path, asked(U, A | {"tool_calls": [call]}))
    assert str(10**25) in response
    assert written(tmp_path, "messages", asked(U, A | {"tool_calls": [call]}))[0]["messages"][1]["tool_calls"] == [call]


def test_what_stands_beside_the_texts_is_said(tmp_path: Path) -> None:
    corpus = opened(tmp_path, alpaca(system="s", tools="", history=[]), alpaca(system="", tools=[TOOL]))
    assert corpus.describe()[2].endswith("response = output, system = system, tools = tools")


def test_the_words_of_a_mapping_say_all_of_it() -> None:
    for mapping in (
        FieldMapping("text", "body"),
        FieldMapping("messages", "turns"),
        FieldMapping("alpaca", "output", "instruction", "input"),
        FieldMapping("prompt/response", "b", "a"),
    ):
        assert FieldMapping.from_words(mapping.shape, mapping.words()) == mapping


PAIRS = {
    "texts": ({"prompt": "q", "chosen": "a", "rejected": "b"}, ("q", "a")),
    "turns after a prompt": ({"prompt": [U], "chosen": [A], "rejected": [A]}, ("q", "a")),
    "turns after a text": ({"prompt": "q", "chosen": [A], "rejected": [A]}, ("q", "a")),
    "conversations": ({"prompt": "q", "chosen": [U, A], "rejected": [U, A]}, ("q", "a")),
    "conversations alone": ({"chosen": [U, A], "rejected": [U, A]}, ("q", "a")),
    "conversations beside one": ({"prompt": "q", "messages": [U, A], "chosen": [U, A], "rejected": [U, A]}, ("q", "a")),
    "a lone turn": (
        {
            "conversations": [{"from": "human", "value": "q"}],
            "chosen": {"from": "gpt", "value": "a"},
            "rejected": {"from": "gpt", "value": "b"},
        },
        ("q", "a"),
    ),
    "texts alone": ({"chosen": "a", "rejected": "b"}, (None, "a")),
}


@pytest.mark.parametrize(("record", "pair"), PAIRS.values(), ids=PAIRS.keys())
def test_the_options_offered_for_preference_pairs_read_them(
    tmp_path: Path, record: dict[str, Any], pair: tuple[str | None, str]
) -> None:
    with pytest.raises(CorpusError, match="preference pairs") as error:
        opened(tmp_path, record)
    words = str(error.value).split("chosen ones: ")[1].split()
    options = {words[i].removeprefix("--").replace("-", "_"): words[i + 1] for i in range(0, len(words), 2)}
    (chunk,) = open_corpus(tmp_path / "a.jsonl", **options).chunks()  # type: ignore[arg-type]
    assert (chunk.prompts[0], chunk.responses[0]) == pair


def test_questions_in_a_row_are_no_conversation(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no known shape"):
        opened(tmp_path, {"question_id": 81, "turns": ["first", "second"]})


def test_a_refusal_in_its_own_field_is_the_answer(tmp_path: Path) -> None:
    assert pairs(tmp_path, asked(U, {"role": "assistant", "content": None, "refusal": "No."})) == [("q", "No.")]


# --- written again ---------------------------------------------------------------------------------------------------


def test_turns_keep_every_field_as_messages(tmp_path: Path) -> None:
    turns = [
        {"role": "developer", "content": "s", "weight": 0},
        U | {"name": "Ann", "content": [{"type": "text", "text": "q"}]},
        {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning_content": "so"},
        {"role": "tool", "content": "1", "tool_call_id": "c", "name": "f"},
        A | {"thinking": "well", "id": 7},
    ]
    record = asked(*turns, tools=[TOOL])
    assert written(tmp_path, "messages", record) == [record]


def test_sharegpt_becomes_messages_with_calls_and_tools(tmp_path: Path) -> None:
    record = {
        "system": "s",
        "tools": json.dumps([TOOL]),
        "conversations": [
            {"from": "human", "value": "q", "id": 1},
            {"from": "function_call", "value": '{"name": "f", "arguments": {"x": 1}}'},
            {"from": "observation", "value": "1"},
            {"from": "gpt", "value": "a"},
            {"from": "human", "value": "thanks"},
        ],
    }
    called = {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
    assert written(tmp_path, "messages", record) == [
        {
            "messages": [
                S,
                U | {"id": 1},
                {"role": "assistant", "content": "", "tool_calls": [called]},
                {"role": "tool", "content": "1"},
                A,
            ],
            "tools": [TOOL],
        }
    ]


def test_messages_become_sharegpt_with_calls_and_tools(tmp_path: Path) -> None:
    turns = [U, A | {"tool_calls": [CALL]}, {"role": "tool", "content": "1", "name": "f"}, A | {"reasoning": "so"}]
    (found,) = written(tmp_path, "sharegpt", asked(*turns, tools=[TOOL]))
    assert [turn["from"] for turn in found["conversations"]] == ["human", "gpt", "function_call", "tool", "gpt"]
    assert json.loads(found["conversations"][2]["value"]) == [CALL]
    assert found["conversations"][4]["value"] == "<think>\nso\n</think>\n\na"
    assert json.loads(found["tools"]) == [TOOL]


def test_history_and_system_prompt_become_turns(tmp_path: Path) -> None:
    (found,) = written(tmp_path, "messages", alpaca(system="s", history=[["x", "y"]], reasoning="so"))
    assert found == {
        "messages": [S, U | {"content": "x"}, A | {"content": "y"}, U, A | {"reasoning_content": "so"}],
    }


def test_csv_records_become_messages(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('system,question,answer\nBe brief.,"a\nb",7\n')
    corpus = open_corpus(path)
    (chunk,) = corpus.chunks()
    stored = map(Stored, chunk.prompts, chunk.responses, chunk.records)
    write_selection(tmp_path / "out.jsonl", corpus.source, stored, as_="messages")
    turns = json.loads((tmp_path / "out.jsonl").read_text())["messages"]
    assert [(turn["role"], turn["content"]) for turn in turns] == [
        ("system", "Be brief."),
        ("user", "a\nb"),
        ("assistant", "7"),
    ]
