"""A bad record costs itself: it is counted, listed with its line, and its neighbours are read."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rulesel.corpus import Corpus, open_corpus, raw
from rulesel.errors import CorpusError

GOOD = b'{"prompt": "p", "response": "r"}'
TURNS = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}


def read(path: Path, **options: str) -> tuple[Corpus, list[str], list[int]]:
    corpus = open_corpus(path, **options)
    chunks = list(corpus.chunks(2))
    return corpus, [text for c in chunks for text in c.responses], [int(row) for c in chunks for row in c.rows]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "blank line"),
        (b" \t\r", "blank line"),
        (b"null", "valid JSON, but not an object with fields"),
        (b'["p", "r"]', "valid JSON, but not an object with fields"),
        (GOOD[:-4], "not valid JSON"),
        (GOOD + GOOD, "not valid JSON"),
        (b'{"prompt": "p\0", "response": "r"}', "not valid JSON"),
        (b'{"prompt": "p", "response": "r", "n": ' + b"1" * 5000 + b"x}", "not valid JSON"),
        (b'{"prompt": "p", "response": "r", "n": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"prompt": "p", "response": "\xff"}', "not valid UTF-8"),
        (b'{"prompt": "p", "response": "\xed\xa0\x80"}', "not valid UTF-8"),
        (b'{"prompt": "p", "response": "\\ud800"}', "half of a surrogate pair in the text (a broken \\ud800 escape)"),
        (
            b'{"prompt": "p", "response": "r", "\\udfff": 1}',
            "half of a surrogate pair in the text (a broken \\ud800 escape)",
        ),
        (b"\xef\xbb\xbf" + GOOD, "not valid JSON"),
        (b'{"prompt": "p"}', "no field 'response'"),
        (b'{"response": "r"}', "no field 'prompt'"),
        (b'{"prompt": "p", "response": null}', "'response' is null"),
        (b'{"prompt": "p", "response": [3]}', "'response' is a list, not text"),
        (b'{"prompt": "p", "response": NaN}', "'response' is NaN"),
        (b'{"prompt": ["p"], "response": "r"}', "'prompt' is a list, not text"),
        (b'{"prompt": {}, "response": "r"}', "'prompt' is an object, not text"),
        (b'{"prompt": "", "response": "r"}', "'prompt' is empty"),
        (b'{"prompt": "p", "response": " \\n\\u00a0"}', "'response' is empty"),
        (b'{"prompt": "p", "response": "r", "response": ""}', "'response' is empty"),
    ],
)
def test_a_bad_line_is_skipped_with_its_number_and_reason(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(GOOD + b"\n" + line + b"\n" + GOOD + b"\n")
    corpus, responses, rows = read(path)
    assert (corpus.skipped, corpus.skips) == ({reason: 1}, [(2, reason)])
    assert (responses, rows, corpus.n_records, corpus.n_examples) == (["r", "r"], [0, 2], 3, 2)


@pytest.mark.parametrize(
    "line",
    [
        b'{"prompt": "p", "response": "r", "score": NaN, "worst": -Infinity, "big": 1e999}',
        b'{"prompt": "p", "response": "r", "n": 123456789012345678901234567890}',
        b'{"prompt": "p", "response": "", "response": "r"}',
        b' {"prompt":"p","response":"r"} \r',
        b'{"prompt": "p", "response": "r", "n": ' + b"[" * 900 + b"]" * 900 + b"}",
    ],
)
def test_an_odd_line_is_read_and_kept_as_it_is(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(line + b"\n" + GOOD)
    corpus = open_corpus(path)
    (chunk,) = corpus.chunks()
    assert chunk.records == [line, GOOD]
    assert chunk.hashes[0] == chunk.hashes[1]
    assert not corpus.skipped


def test_a_byte_order_mark_belongs_to_the_file_not_to_the_record(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD)
    (chunk,) = open_corpus(path).chunks()
    assert chunk.records == [GOOD]


def test_nul_and_unicode_separators_in_a_text_are_text(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    text = "a\0b\u2028c\u2029d\x85e\x0bf\x1cg"
    path.write_text(json.dumps({"text": text}, ensure_ascii=False).replace("\0", "\\u0000") + "\n", "utf-8")
    (chunk,) = open_corpus(path).chunks()
    assert chunk.responses == [text]


def test_duplicates_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes((GOOD + b"\n") * 3 + b'{"response":"r","prompt":"p","id":7}\n')
    (chunk,) = open_corpus(path).chunks()
    assert len(chunk) == 4
    assert len(set(chunk.hashes)) == 1


def test_a_record_beyond_the_bound_is_skipped_and_its_neighbours_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rulesel.corpus.stream.MAX_RECORD", 3 << 20)
    path = tmp_path / "a.jsonl"
    long = b'{"prompt": "p", "response": "%s"}' % (b"x" * (3 << 20))
    path.write_bytes(b"\n".join([GOOD, long, GOOD, long]))
    corpus, responses, rows = read(path)
    assert (responses, rows) == (["r", "r"], [0, 2])
    assert corpus.skips == [(2, raw.TOO_LONG), (4, raw.TOO_LONG)]


def test_a_record_of_300_kb_and_one_of_several_blocks_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    texts = ["x" * 300_000, "y" * (5 << 20), "z"]
    path.write_text("\n".join(json.dumps({"text": text}) for text in texts))
    assert read(path)[1] == texts


def test_only_the_first_skips_are_listed_and_all_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rulesel.corpus.reader._LISTED", 1000)
    path = tmp_path / "a.jsonl"
    path.write_bytes(GOOD + b"\n" + b"x\n" * 1500)
    corpus, _, _ = read(path)
    assert corpus.skipped == {raw.NOT_JSON: 1500}
    assert corpus.skips == [(line, raw.NOT_JSON) for line in range(2, 1002)]


def test_the_thousand_and_first_record_may_be_the_first_usable_one_but_is_not_looked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"x\n" * 999 + GOOD)
    assert read(path)[1] == ["r"]
    path.write_bytes(b"x\n" * 1000 + GOOD)
    with pytest.raises(CorpusError, match=r"not one of the first 1,000 records can be used \(1,000 x not valid JSON\)"):
        open_corpus(path)


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ("hello", "the conversation is not a list of turns"),
        ([], "no assistant turn"),
        (["hello", 3], "a turn that is not an object"),
        ([{"role": "user", "content": "q"}], "no assistant turn"),
        ([{"role": "assistant", "content": "a"}], "nothing before the last assistant turn"),
        ([{"role": "user", "content": "q"}, {"role": "assistant", "content": " "}], "the last assistant turn is empty"),
        (
            [{"role": "user", "content": " "}, {"role": "assistant", "content": "a"}],
            "nothing before the last assistant turn",
        ),
        ([{"role": "wizard", "content": "q"}], "a turn of an unknown role"),
        ([{"role": None, "content": "q"}], "a turn of an unknown role"),
        ([{"role": ["user"], "content": "q"}], "a turn of an unknown role"),
        ([{"role": "user"}], "a turn without text"),
        ([{"role": "user", "content": []}], "no assistant turn"),
        ([{"role": "user", "content": {"text": "q"}}], "a turn whose content is not text"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
            "a turn with a part that is not text (an image or a sound)",
        ),
        ([{"role": "user", "content": [3]}], "a turn with a part that is not text (an image or a sound)"),
    ],
)
def test_a_bad_conversation_is_skipped(tmp_path: Path, turns: object, reason: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(fields) for fields in (TURNS, {"messages": turns}, TURNS)))
    corpus, responses, _ = read(path)
    assert corpus.skips == [(2, reason)]
    assert responses == ["a", "a"]


@pytest.mark.parametrize(
    ("row", "skips"),
    [
        (b"a", [(3, "not as many fields as the header")]),
        (b"a,b,c", [(3, "not as many fields as the header")]),
        (b"", [(3, "blank line")]),
        (b"a,", [(3, "'response' is empty")]),
        (b"a,\xff", [(3, "not valid UTF-8")]),
        (b'a,"b" c', [(3, "quotes or line breaks out of place")]),
        (b"a\rb,c", [(3, "quotes or line breaks out of place")]),
    ],
)
def test_a_bad_row_is_skipped_and_the_rows_around_it_are_read(
    tmp_path: Path, row: bytes, skips: list[tuple[int, str]]
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"prompt,response\np,first\n" + row + b'\np,"second\nline"\np,last\n')
    corpus, responses, _ = read(path)
    assert corpus.skips == skips
    assert responses[0] == "first"
    assert responses[-2:] == ["second\nline", "last"]
    assert corpus.n_records == corpus.n_examples + len(skips)


def test_a_row_beyond_the_bound_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("stream", "tabular"):
        monkeypatch.setattr(f"rulesel.corpus.{module}.MAX_RECORD", 200_000)
    path = tmp_path / "a.csv"
    line = "x" * 999 + "\n"
    path.write_text("text\nfirst\n" + "y" * 200_001 + "\n" + f'"{line * 150}"\nlast\n')
    corpus, responses, _ = read(path)
    assert corpus.skips == [(3, raw.TOO_LONG)]
    assert responses == ["first", line * 150, "last"]
    path.write_text(f'text\n"{line * 250}"\nlast\n')
    with pytest.raises(CorpusError, match="quote in line 2 that is not closed"):
        read(path)


def test_a_text_that_does_not_decode_costs_its_row(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    text = pa.array([b"first", b"\xff", b"last"]).cast(pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": text}), path)
    corpus, responses, rows = read(path)
    assert (responses, rows) == (["first", "last"], [0, 2])
    assert corpus.skips == [(2, "a value that cannot be decoded")]


def test_a_parquet_file_damaged_inside_names_how_far_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [f"row {i}" for i in range(4000)]}), path, row_group_size=2000, compression="zstd")
    content = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).dictionary_page_offset
    content[start : start + 2000] = b"\xff" * 2000
    path.write_bytes(content)
    corpus = open_corpus(path)
    with pytest.raises(CorpusError, match=r"is damaged: .* Records readable before that: 2,000\."):
        list(corpus.chunks())
