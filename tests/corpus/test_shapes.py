"""The fields that make up prompt and response are found, and said."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from rulesel.corpus import open_corpus
from rulesel.digest import digest

ASK = {"role": "user", "content": "q"}
SAY = {"role": "assistant", "content": "a"}
SHAPES = [
    ({"text": "t"}, "text", {"text": "text"}, (None, "t")),
    ({"content": "t", "id": "7"}, "text", {"text": "content"}, (None, "t")),
    (
        {"instruction": "i", "input": "x", "output": "o"},
        "alpaca",
        {"prompt": "instruction + blank line + input", "response": "output"},
        ("i\n\nx", "o"),
    ),
    (
        {"instruction": "i", "input": "", "output": "o"},
        "alpaca",
        {"prompt": "instruction + blank line + input", "response": "output"},
        ("i", "o"),
    ),
    (
        {"instruction": "i", "context": "x", "response": "o", "category": "c"},
        "alpaca",
        {"prompt": "instruction + blank line + context", "response": "response"},
        ("i\n\nx", "o"),
    ),
    ({"instruction": "i", "output": "o"}, "alpaca", {"prompt": "instruction", "response": "output"}, ("i", "o")),
    ({"question": "q", "answer": "a"}, "question/answer", {"prompt": "question", "response": "answer"}, ("q", "a")),
    (
        {"output": "5", "response": "3", "long_answer": "2", "solution": "4", "question": "q"},
        "question/answer",
        {"prompt": "question", "response": "long_answer"},
        ("q", "2"),
    ),
    (
        {"question": "q", "answer": None, "solution": "s"},
        "question/answer",
        {"prompt": "question", "response": "solution"},
        ("q", "s"),
    ),
    ({"prompt": "p", "completion": "c"}, "prompt/response", {"prompt": "prompt", "response": "completion"}, ("p", "c")),
    ({"problem": "p", "solution": "s"}, "prompt/response", {"prompt": "problem", "response": "solution"}, ("p", "s")),
    ({"query": "p", "response": "s"}, "prompt/response", {"prompt": "query", "response": "response"}, ("p", "s")),
    ({"input": "p", "output": "s"}, "prompt/response", {"prompt": "input", "response": "output"}, ("p", "s")),
    (
        {"prompt": "x", "messages": [ASK, SAY]},
        "messages",
        {
            "prompt": "turns of messages before the last assistant turn, with tool calls and reasoning",
            "response": "last assistant turn of messages",
        },
        ("q", "a"),
    ),
    (
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        "messages",
        {
            "prompt": "turns of conversations before the last assistant turn, with tool calls and reasoning",
            "response": "last assistant turn of conversations",
        },
        ("q", "a"),
    ),
    (
        {"prompt": [ASK], "completion": [SAY]},
        "prompt/response",
        {"prompt": "prompt", "response": "completion"},
        ("q", "a"),
    ),
]


@pytest.mark.parametrize(("fields", "shape", "mapping", "pair"), SHAPES)
def test_a_shape_is_found_said_and_read(
    tmp_path: Path, fields: dict[str, object], shape: str, mapping: dict[str, str], pair: tuple[str | None, str]
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(fields) + "\n")
    corpus = open_corpus(path)
    (chunk,) = corpus.chunks()
    assert (corpus.shape, corpus.mapping) == (shape, mapping)
    assert (chunk.prompts[0], chunk.responses[0]) == pair
    assert corpus.describe()[1:] == [
        f"shape: {shape}",
        "mapping: " + ", ".join(f"{k} = {v}" for k, v in mapping.items()),
    ]


def test_the_content_hash_is_the_digest_of_the_mapped_texts(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"question": "é", "answer": "a", "id": 1}\n')
    (chunk,) = open_corpus(path).chunks()
    content = '{"prompt":"é","response":"a"}'.encode()
    assert chunk.hashes == ["b2-" + hashlib.blake2b(content, digest_size=16).hexdigest()]
    (chunk,) = open_corpus(path, text_field="answer").chunks()
    assert chunk.hashes == [digest({"text": "a"})]
    assert chunk.prompts == [None]


def test_one_content_has_one_hash_in_every_shape(tmp_path: Path) -> None:
    hashes = set()
    for number, fields in enumerate(
        (
            {"question": "q", "answer": "a"},
            {"instruction": "q", "input": "", "output": "a"},
            {"messages": [ASK, SAY]},
            {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "id": 3},
        )
    ):
        path = tmp_path / f"{number}.jsonl"
        path.write_text(json.dumps(fields) + "\n")
        (chunk,) = open_corpus(path).chunks()
        hashes |= set(chunk.hashes)
    assert len(hashes) == 1


def test_a_field_that_a_few_records_have_does_not_displace_the_one_all_have(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"question": "q", "answer": None if i else "a", "response": "r"} for i in range(9)]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert open_corpus(path).mapping["response"] == "response"
    rows = [{"question": "q", "answer": None if i > 6 else "a", "response": "r"} for i in range(9)]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert open_corpus(path).mapping["response"] == "answer"


def test_a_missing_optional_field_is_no_loss_and_a_wrong_one_is_a_skip(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"question": "q", "context": c, "answer": "a"} for c in ("c", None, "", " ", 3)] + [
        {"question": "q", "answer": "a"}
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    corpus = open_corpus(path)
    (chunk,) = corpus.chunks()
    assert chunk.prompts == ["q\n\nc", "q", "q", "q", "q"]
    assert corpus.skips == [(5, "'context' is a number, not text")]


def test_named_fields_win_over_what_would_be_found(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"instruction": "i", "input": "x", "output": "o", "chosen": "c", "rejected": "r"}\n')
    corpus = open_corpus(path, prompt_field="input", response_field="chosen")
    assert corpus.mapping == {"prompt": "input", "response": "chosen"}
    assert corpus.shape == "prompt/response"
    assert open_corpus(path, response_field="output").mapping["prompt"] == "instruction + blank line + input"
    assert open_corpus(path, prompt_field="instruction").mapping == {"prompt": "instruction", "response": "output"}


def test_texts_are_kept_to_the_last_space(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": " p\\n", "response": "\\tr "}\n')
    (chunk,) = open_corpus(path).chunks()
    assert (chunk.prompts, chunk.responses) == ([" p\n"], ["\tr "])
