"""No dialect of CSV makes a record that is not in the file: it is read, or refused with the way out."""

from __future__ import annotations

import csv
import io
import subprocess
from pathlib import Path

import pytest

from rulesel.corpus import open_corpus
from rulesel.errors import CorpusError

ROWS = [
    ["Who said it?", 'She said "no, never", and left.\nThat was all, really.'],
    ["C:\\dir\\", 'back\\slash, "quoted"\nand a line'],
    ["plain", "plain"],
]


def written(**dialect: object) -> bytes:
    sink = io.StringIO()
    csv.writer(sink, lineterminator="\n", **dialect).writerows([["question", "answer"], *ROWS])  # type: ignore[arg-type]
    return sink.getvalue().encode()


def refused(path: Path) -> str:
    with pytest.raises(CorpusError) as error:
        list(open_corpus(path).chunks())
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)
    return str(error.value)


def pairs(path: Path) -> list[list[str | None]]:
    return [
        [prompt, response]
        for chunk in open_corpus(path).chunks()
        for prompt, response in zip(chunk.prompts, chunk.responses, strict=True)
    ]


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_standard_csv_is_read_whatever_is_in_its_cells(tmp_path: Path, mark: str, end: str) -> None:
    path = tmp_path / "a.csv"
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
        sink = io.StringIO()
        rows = [["question", "answer"], *ROWS, ["json", '{"a": "say \\"hi\\""}'], ["tab\there", "x\ty\nz"]]
        csv.writer(sink, delimiter=mark, lineterminator=end, quoting=quoting).writerows(rows)
        path.write_bytes(sink.getvalue().encode())
        assert pairs(path) == rows[1:]


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("late", [False, True])
def test_backslash_escapes_are_refused_and_the_advice_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quoting: int, late: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    content = written(escapechar="\\", doublequote=False, quoting=quoting)
    if late:
        header, _, rest = content.partition(b"\n")
        content = header + b"\n" + b'"q","a"\n' * 2000 + rest
    Path("talk.csv").write_bytes(content)
    message = refused(Path("talk.csv"))
    assert "escapes quotes by backslashes" in message
    command = message.split("Convert it: ")[1]
    assert command.endswith("< talk.csv > talk.1.csv")
    subprocess.run(command, shell=True, check=True)
    assert pairs(Path("talk.1.csv"))[-3:] == ROWS
    assert Path("talk.csv").read_bytes() == content
    assert "> talk.2.csv" in refused(Path("talk.csv"))  # what stands there is not overwritten


@pytest.mark.parametrize(
    "row",
    [
        b'q,"She said "no, never", and left.\nThat was all, really."',
        b'q,"He said "hi\nthere", he said',
        b'q,"a" b\nx, y"',
        b'q,"open\nx,y\nz,w',
        b'"a,b\nc,d\n',
        b'q,"x" "y\nz, w"',
    ],
)
def test_quotes_out_of_place_never_make_a_record(tmp_path: Path, row: bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"question,answer\nq,first\n" + row + b'\nq,"second\nline"\nq,last\n')
    assert "quote" in refused(path)
    path.write_bytes(b"question,answer\nq,first\n" + row)
    assert "quote" in refused(path)


def test_a_row_that_ends_with_its_line_costs_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'question,answer\nq,first\nq,"a" b "c"\nq,"second\nline"\n')
    corpus = open_corpus(path)
    assert [text for chunk in corpus.chunks() for text in chunk.responses] == ["first", "second\nline"]
    assert corpus.skips == [(3, "quotes or line breaks out of place")]


def test_a_table_without_quoting_is_not_joined_at_its_quotes(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(b'question\tanswer\nq1\ta1\nq2\t"Yes\nq3\ta3\nq4\tshe said"\nq5\ta5\n')
    assert "line 3" in refused(path)
    path.write_bytes(b'question\tanswer\nq1\t5" pipe\nq2\tb\n')
    assert pairs(path) == [["q1", '5" pipe'], ["q2", "b"]]


def test_spaces_before_quotes_are_refused_and_the_advice_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_bytes(b'question, answer\nq, "hello"\nr, "x"\n')
    command = refused(Path("a.csv")).split("Convert it: ")[1]
    subprocess.run(command, shell=True, check=True)
    assert pairs(Path("a.1.csv")) == [["q", "hello"], ["r", "x"]]


def test_single_quotes_and_lines_for_spreadsheets_are_refused_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_bytes(b"'question';'answer'\n'q; r';'a'\n")
    subprocess.run(refused(Path("a.csv")).split("Convert it: ")[1], shell=True, check=True)
    assert pairs(Path("a.1.csv")) == [["q; r", "a"]]
    Path("b.csv").write_bytes(b"sep=;\nquestion;answer\nq;a\n")
    subprocess.run(refused(Path("b.csv")).split("Remove it: ")[1], shell=True, check=True)
    assert pairs(Path("b.1.csv")) == [["q", "a"]]
