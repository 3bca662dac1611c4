"""What cannot be read is refused before anything is done: one line that says what, which file and what to do."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import tarfile
import threading
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rulesel.corpus import open_corpus
from rulesel.errors import CorpusError

GOOD = b'{"prompt": "p", "response": "r"}\n'


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


def parquet(**columns: list[object]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def tar(content: bytes) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        entry = tarfile.TarInfo("corpus.jsonl")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return sink.getvalue()


def zipped(content: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("corpus.jsonl", content)
    return sink.getvalue()


MANY = b"".join(b'{"prompt": "p%d", "response": "%s"}\n' % (i, os.urandom(20).hex().encode()) for i in range(3000))
BAD = {
    "empty": ("a.jsonl", b"", "a.jsonl is empty."),
    "empty gzip": ("a.jsonl.gz", gzip.compress(b""), "a.jsonl.gz is empty."),
    "empty zstd": ("a.jsonl.zst", zstd(b""), "a.jsonl.zst is empty."),
    "blank lines": ("a.jsonl", b"\n \n\n", "a.jsonl: not one of the first 3 records can be used (3 x blank line)."),
    "only a byte order mark": (
        "a.jsonl",
        b"\xef\xbb\xbf",
        "not one of the first 1 records can be used (1 x blank line)",
    ),
    "prose": ("a.jsonl", b"Dear all, hello\n" * 5, "(5 x not valid JSON)"),
    "numbers": ("a.jsonl", b"1\n2\n", "(2 x valid JSON, but not an object with fields)"),
    "cut off in the only line": ("a.jsonl", GOOD[:-8], "(1 x not valid JSON)"),
    "half pairs only": ("a.jsonl", b'{"prompt": "p", "response": "\\ud800"}\n', "half of a surrogate pair"),
    "empty responses": ("a.jsonl", b'{"prompt": "p", "response": ""}\n' * 2, "(2 x 'response' is empty)"),
    "objects for answers": ("a.jsonl", b'{"question": "q", "answer": {}}\n', "(1 x 'answer' is an object, not text)"),
    "empty prompts": (
        "a.jsonl",
        b'{"prompt": " ", "response": "r"}\n{"prompt": "p", "response": null}\n',
        "(1 x 'prompt' is empty; 1 x 'response' is null)",
    ),
    "JSON array": ("a.json", b'[{"prompt": "p"}]', "a.json is one JSON array, not JSON Lines. Convert it: python3 -c"),
    "JSON array in gzip": ("a.json.gz", gzip.compress(b"[]"), "Convert it: gzip -dc a.json.gz | python3 -c"),
    "PNG": ("a.jsonl", b"\x89PNG\r\n\x1a\n" + bytes(50), "a.jsonl is a PNG image. rulesel reads JSON Lines"),
    "PDF": ("a.jsonl", b"%PDF-1.7\n", "a.jsonl is a PDF document."),
    "zip": ("a.jsonl", zipped(GOOD), "a.jsonl is a zip archive (or an .xlsx workbook). Unpack it: unzip a.jsonl;"),
    "bzip2": ("a.jsonl.bz2", b"BZh91AY&SY", "is compressed with bzip2. Unpack it: bunzip2 --keep a.jsonl.bz2"),
    "xz": ("a.jsonl.xz", b"\xfd7zXZ\x00", "is compressed with xz. Unpack it: unxz --keep a.jsonl.xz"),
    "tar": ("a.tar", tar(GOOD), "a.tar is a tar archive. Unpack it: tar xkf a.tar"),
    "tar in gzip": ("a.tgz", gzip.compress(tar(GOOD)), "a.tgz is a tar archive inside gzip. Unpack it: tar xkf a.tgz"),
    "gzip in gzip": ("a.gz", gzip.compress(gzip.compress(GOOD)), "a.gz is packed twice"),
    "Parquet in gzip": ("a.gz", gzip.compress(parquet(text=["a"])), "a.gz is packed twice"),
    "UTF-16": (
        "a.jsonl",
        GOOD.decode().encode("utf-16"),
        "is text in UTF-16. Convert it: iconv -f UTF-16 -t UTF-8 < a.jsonl > a.utf8",
    ),
    "web page": ("a.jsonl", b"<!DOCTYPE html><html>", "a.jsonl is a web page. Download the file itself"),
    "LFS pointer": ("a.parquet", b"version https://git-lfs.github.com/spec/v1\n", "Fetch the file: git lfs pull"),
    "Arrow file": (
        "a.arrow",
        b"ARROW1\0\0",
        "a.arrow is a single Arrow file. Give the directory that save_to_disk wrote",
    ),
    "DuckDB file": ("a.duckdb", bytes(8) + b"DUCK" + bytes(40), "a.duckdb is a DuckDB database."),
    "old Mac line ends": ("a.csv", b"text\ra\rb\r", "a.csv ends its lines with CR alone. Convert it: tr"),
    "truncated Parquet": (
        "a.parquet",
        parquet(text=["a"] * 99)[:-20],
        "cannot be read as one, so it is cut off or damaged",
    ),
    "Parquet without rows": ("a.parquet", parquet(text=pa.array([], pa.string())), "a.parquet holds no records."),
    "CSV with a header only": ("a.csv", b"prompt,response\n", "a.csv holds no records."),
    "CSV with a column twice": (
        "a.csv",
        b"text,text\na,b\n",
        "a.csv has more than one column named 'text'. Rename one.",
    ),
    "CSV with a broken header": (
        "a.csv",
        b'"text" x\na\n',
        "should name the columns: quotes or line breaks out of place.",
    ),
    "CSV with an endless header": ("a.csv", b'"text\na\n', "a.csv has a quote in line 1 that is not closed"),
    "CSV with a Latin-1 header": ("a.csv", b"text,\xff\na,b\n", "should name the columns: not valid UTF-8."),
    "CSV cut off in the header": (
        "a.csv.gz",
        gzip.compress(b"text,label")[:-9],
        "cannot be read: the gzip data ends early",
    ),
    "CSV in Latin-1": ("a.csv", "text\nä\nö\n".encode("latin-1"), "(2 x not valid UTF-8)"),
    "truncated gzip": (
        "a.jsonl.gz",
        gzip.compress(GOOD)[:-4],
        "is damaged: the gzip data ends early. Records readable before that: 1.",
    ),
    "gzip header only": (
        "a.jsonl.gz",
        gzip.compress(GOOD)[:10],
        "a.jsonl.gz cannot be read: the gzip data ends early.",
    ),
    "broken gzip": ("a.gz", gzip.compress(GOOD)[:10] + b"\xff" * 20, "a.gz cannot be read: the gzip data is broken"),
    "garbage after gzip": ("a.gz", gzip.compress(GOOD) + b"junk", "is damaged: the gzip data is broken"),
    "truncated zstd": ("a.jsonl.zst", zstd(MANY)[:-40], "cannot be read: the zstd data ends early. Fetch it again"),
    "broken zstd": ("a.jsonl.zst", b"\x28\xb5\x2f\xfd" + b"\xff" * 30, "cannot be read: the zstd data is broken"),
    "no known field": ("a.jsonl", b'{"a": 1, "b": "x"}\n', "Name the fields: --prompt-field A --response-field B"),
    "unprintable field": ("a.jsonl", b'{"a\\u001b[2J\\n": "x"}\n', "Fields: 'a\\x1b[2J\\n'."),
    "pairs": (
        "a.jsonl",
        b'{"prompt": "p", "chosen": "a", "rejected": "b"}\n',
        "holds preference pairs (chosen, rejected), and rulesel picks single answers. To pick among the chosen ones: "
        "--prompt-field prompt --response-field chosen",
    ),
    "pairs of conversations": (
        "a.jsonl",
        b'{"chosen": [{"role": "user", "content": "a"}], "rejected": [{"role": "user", "content": "a"}]}\n',
        "To pick among the chosen ones: --response-field chosen",
    ),
    "pairs without a prompt": ("a.jsonl", b'{"chosen": "a", "rejected": "b"}\n', "--text-field chosen"),
}


@pytest.mark.parametrize(("name", "content", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(content)
    with pytest.raises(CorpusError) as error:
        open_corpus(Path(name))
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_under_any_name(tmp_path: Path, name: str) -> None:
    for suffix in (".jsonl", ".csv", ".parquet", ".gz", ""):
        path = tmp_path / f"corpus{suffix}"
        path.write_bytes(BAD[name][1])
        with pytest.raises(CorpusError):
            open_corpus(path)


def test_a_missing_file_is_named_with_the_nearest_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("corpus.jsonl").write_bytes(GOOD)
    with pytest.raises(CorpusError, match=r"There is no corpus 'corpsu.jsonl'. Did you mean 'corpus.jsonl'\?"):
        open_corpus(Path("corpsu.jsonl"))
    with pytest.raises(CorpusError, match="The directory 'nowhere' does not exist"):
        open_corpus(Path("nowhere/corpus.jsonl"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(GOOD)
    path.chmod(0)
    with pytest.raises(CorpusError, match="cannot be read: Permission denied"):
        open_corpus(path)


FIELDS = b'{"question": "q", "answer": "a", "Source": "s"}\n'


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt_field": "qestion"}, "--prompt-field qestion: a.jsonl has no such field. Did you mean 'question'?"),
        ({"response_field": "anwser"}, "--response-field anwser: a.jsonl has no such field. Did you mean 'answer'?"),
        ({"text_field": "source"}, "Did you mean 'Source'? Fields: question, answer, Source."),
        ({"text_field": "xyz"}, "--text-field xyz: a.jsonl has no such field. Fields: question, answer, Source."),
        ({"text_field": "answer", "prompt_field": "question"}, "--text-field is for plain text; it excludes"),
        ({"limit": 0}, "--limit 0: at least one example has to be read."),
    ],
)
def test_a_wrong_option_is_refused_with_a_suggestion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl").write_bytes(FIELDS)
    with pytest.raises(CorpusError) as error:
        open_corpus(Path("a.jsonl"), **options)  # type: ignore[arg-type]
    assert message in str(error.value)


def test_half_of_a_mapping_is_completed_or_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"question": "q", "reply": "a", "context": "c"}\n')
    corpus = open_corpus(path, response_field="reply")
    assert corpus.mapping == {"prompt": "question + blank line + context", "response": "reply"}
    with pytest.raises(CorpusError, match="--prompt-field is given, but no field looks like the response"):
        open_corpus(path, prompt_field="question")


def test_the_offered_options_read_preference_pairs(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"prompt": "p", "chosen": "a", "rejected": "b"}\n')
    (chunk,) = open_corpus(path, prompt_field="prompt", response_field="chosen").chunks()
    assert (chunk.prompts, chunk.responses) == (["p"], ["a"])
    turns = '[{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]'
    path.write_text(f'{{"prompt": "q", "chosen": {turns}, "rejected": {turns}}}\n')
    (chunk,) = open_corpus(path, response_field="chosen").chunks()
    assert (chunk.prompts, chunk.responses) == (["q"], ["a"])
    (chunk,) = open_corpus(path, prompt_field="prompt", response_field="chosen").chunks()
    assert (chunk.prompts, chunk.responses) == (["q"], ["a"])


def test_a_stream_cut_off_late_raises_at_the_cut_and_names_how_far_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(MANY)[:-1000])
    corpus = open_corpus(path)
    given = []
    with pytest.raises(CorpusError, match="is damaged: the gzip data ends early") as error:
        given.extend(corpus.chunks(100))
    assert 2000 < corpus.n_records < 3000
    assert f"readable before that: {corpus.n_records:,}." in str(error.value)
    assert "nothing is selected from a part" in str(error.value)


def test_a_directory_that_is_no_dataset_is_refused_with_what_is_in_it(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no saved dataset \(it has no state.json\)\. Give a file, or a directory"):
        open_corpus(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.parquet").write_bytes(parquet(text=["a"]))
    with pytest.raises(CorpusError, match=r"Did you mean '.*data/train.parquet'\?"):
        open_corpus(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"state.json": "{"}, "state.json cannot be read"),
        ({"state.json": "{}"}, r"the data file \*.arrow is missing"),
        ({"state.json": '{"_data_files": [{"filename": "a.arrow"}]}'}, "the data file a.arrow is missing"),
        (
            {"state.json": '{"_data_files": [{"filename": "a.arrow"}]}', "a.arrow": "junk"},
            "a.arrow is cut off or damaged",
        ),
        ({"state.json": '{"_indices_data_files": [{}], "_data_files": [{}]}'}, r"Call flatten_indices\(\)"),
        ({"dataset_dict.json": '{"splits": ["a", "b"]}'}, "holds several splits. Give one: .*/a, .*/b"),
        ({"dataset_dict.json": '{"splits": 3}'}, "names no split in dataset_dict.json"),
    ],
)
def test_a_damaged_dataset_directory_is_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(CorpusError, match=message):
        open_corpus(tmp_path)


def test_nothing_piped_in_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    with pytest.raises(CorpusError, match="nothing is piped in"):
        open_corpus("-")


def test_an_unusable_pipe_is_called_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"[1]")))
    with pytest.raises(CorpusError, match=r"standard input is one JSON array.* < FILE > FILE.jsonl"):
        open_corpus("-")


def test_a_named_pipe_is_read_once_and_copied(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(MANY,))
    writer.start()
    corpus = open_corpus(path)
    writer.join()
    assert sum(map(len, corpus.chunks())) == sum(map(len, corpus.chunks())) == 3000


RECORDS = [
    {"prompt": 'ä} {"', "response": "r\n}\n{", "n": [{"m": 1}, {"m": 2**70}]},
    {"prompt": "p", "response": "s"},
] * 3
ARRAY = json.dumps(RECORDS).encode()
PRETTY = b"\n".join(json.dumps(record, indent=2, ensure_ascii=False).encode() for record in RECORDS)
LINES = b"".join(json.dumps(record).encode() + b"\n" for record in RECORDS)
CONVERTIBLE = {
    "array": (ARRAY, "is one JSON array"),
    "array over lines": (json.dumps(RECORDS, indent=1).encode(), "is one JSON array"),
    "array with a mark": (b"\xef\xbb\xbf" + ARRAY, "is one JSON array"),
    "array in gzip": (gzip.compress(ARRAY), "is one JSON array"),
    "array in zstd": (zstd(ARRAY), "is one JSON array"),
    "objects over lines": (PRETTY, "objects that span several lines"),
    "objects over lines with a mark": (b"\xef\xbb\xbf" + PRETTY, "objects that span several lines"),
    "one object over lines": (json.dumps(RECORDS[0], indent=4).encode(), "objects that span several lines"),
    "objects over lines in gzip": (gzip.compress(PRETTY), "objects that span several lines"),
    "an object over two lines": (b'{"prompt": "p",\n"response": "r"}\n', "objects that span several lines"),
    "long objects over lines": (
        json.dumps({"prompt": "p" * 99999, "response": "r"}, indent=1).encode(),
        "several lines",
    ),
    "objects in one line": (LINES.replace(b"\n", b""), "several objects in one line"),
    "objects in one line with spaces": (LINES.replace(b"\n", b" "), "several objects in one line"),
    "UTF-16": (LINES.decode().encode("utf-16"), "UTF-16"),
    "UTF-16 without a mark": (LINES.decode().encode("utf-16-le"), "UTF-16LE"),
    "UTF-16 in gzip": (gzip.compress(LINES.decode().encode("utf-16")), "UTF-16"),
    "UTF-32": (LINES.decode().encode("utf-32"), "UTF-32"),
    "CR alone": (LINES.replace(b"\n", b"\r"), "CR alone"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["my data.jsonl", "my data.json.gz", "my data"])
@pytest.mark.parametrize("kind", CONVERTIBLE)
def test_the_advice_makes_a_file_that_is_read_and_harms_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    content, what = CONVERTIBLE[kind]
    Path(name).write_bytes(content)
    Path("my data.1.jsonl").write_text("somebody's")
    with pytest.raises(CorpusError) as error:
        open_corpus(Path(name))
    assert what in str(error.value)
    subprocess.run(str(error.value).split("Convert it: ")[1], shell=True, check=True)
    (made,) = set(tmp_path.iterdir()) - {tmp_path / name, tmp_path / "my data.1.jsonl"}
    assert sum(map(len, open_corpus(made).chunks())) >= 1
    if "objects" in kind or "array" in kind or "UTF" in kind:
        found = [json.loads(line) for line in made.read_text("utf-8-sig").splitlines()]
        assert found in (RECORDS, RECORDS[:1], [{"prompt": "p", "response": "r"}]) or len(found) == 1
    assert Path(name).read_bytes() == content
    assert Path("my data.1.jsonl").read_text() == "somebody's"


def test_lines_of_lists_are_not_called_an_array(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('["p", "r"]\n["q", "s"]\n')
    with pytest.raises(CorpusError, match="2 x valid JSON, but not an object"):
        open_corpus(path)


def test_a_broken_first_line_does_not_make_the_file_a_stranger(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(GOOD[:-9] + b"\n" + GOOD + GOOD)
    assert sum(map(len, open_corpus(path).chunks())) == 2


def test_zstd_with_a_long_window_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.zst"
    block = len(GOOD) << 3 | 1
    path.write_bytes(b"\x28\xb5\x2f\xfd\x00\xa8" + block.to_bytes(3, "little") + GOOD)  # a window of 2 GiB
    with pytest.raises(CorpusError, match=r"window beyond .* zstd -d --keep --long=31") as error:
        open_corpus(path)
    assert "Fetch it again" not in str(error.value)
