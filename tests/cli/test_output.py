"""Whatever documents, rules, servers and files hold, a terminal is given nothing but visible text."""

import io
import json
import subprocess
import sys
import unicodedata

import pytest

from rulesel.cli import _output, _terminal
from rulesel.pipeline.watch import Progress
from rulesel.visible import HIDDEN, visible

CLIPBOARD = "\x1b]52;c;cm0gLXJmIH4=\x07"
NASTY = CLIPBOARD + "\x9b2J\u202eevil\u2066\u200b\u200f\ufeff\u2028\u2029\U000e0041[red]RED[/red]\x00\x08"


@pytest.mark.parametrize("category", ["Cc", "Cf", "Cs", "Zl", "Zp"])
def test_every_character_that_is_not_seen_is_spelled_out(category):
    layout = {"\n", "\t"}
    seen = {0x0600, 0x0601, 0x0602, 0x0603, 0x0604, 0x0605, 0x06DD, 0x070F, 0x0890, 0x0891, 0x08E2, 0x110BD, 0x110CD}
    seen |= set(range(0x13430, 0x13440))  # marks with a form of their own
    for number in range(0x110000):
        char = chr(number)
        if unicodedata.category(char) == category and char not in layout and number not in seen:
            assert visible(f"a{char}b") == f"a[U+{number:04X}]b"


@pytest.mark.parametrize(
    "text", ["ordinary é 你好 한국어", "a\tb\nc", "a\r\nb", "👩‍👩‍👧 ❤️ ☺︎", "می‌خواهم", "क्‍ष", "[red]", "e\u0301"]
)
def test_text_that_is_only_what_it_looks_like_stays(text):
    assert visible(text) == text


def printed_safely(text):
    return HIDDEN.search(text) is None


def test_what_a_machine_reads_keeps_its_value_and_shows_a_terminal_nothing(capsys):
    value = {NASTY: [NASTY, "\ud800", "é", 1.5]}
    _output.as_json(value)
    out = capsys.readouterr().out
    assert printed_safely(out)
    assert json.loads(out) == value


def test_a_terminal_of_ascii_alone_gets_escapes_and_json_keeps_its_value(monkeypatch):
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    _output.prepare()
    _output.as_json(["é", "😀"])
    _output.complain("é")
    assert json.loads(streams[0].buffer.getvalue()) == ["é", "😀"]
    assert streams[1].buffer.getvalue() == b"rulesel: \\xe9\n"


def test_an_error_is_one_line_whatever_it_holds(capsys):
    _output.complain(f"No rule named {NASTY}\n\nverified\r")
    err = capsys.readouterr().err
    assert printed_safely(err)
    assert err.count("\n") == 1


@pytest.mark.parametrize("kind", [_terminal.LineWatcher, _terminal.LiveWatcher])
def test_lines_and_progress_are_visible(kind, capsys):
    with _terminal.watching():
        watcher = kind()
        watcher.say(NASTY)
        watcher.progress(Progress(NASTY, 1, 1, NASTY, failed={NASTY: 2}, dollars=1.0))
    err = capsys.readouterr().err
    assert printed_safely(err)
    assert "[red]RED[/red]" in err


def test_a_question_is_visible(monkeypatch, capsys):
    watcher = _terminal.LiveWatcher()
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    assert watcher.confirm(NASTY)
    assert printed_safely(capsys.readouterr().err)


def test_a_table_is_plain_text_head_and_title_too(capsys):
    _terminal.table(NASTY, (NASTY, "[bold]b[/bold]"), [(NASTY, "[link=x]y[/link]")])
    out = capsys.readouterr().out
    assert printed_safely(out)
    for word in ("[bold]b[/bold]", "[link=x]y[/link]"):
        assert word in "".join(out.split("\n"))


@pytest.fixture
def hostile(tmp_path, rulesel):
    """A store with a run over documents, ids, fields and rules that all mean harm."""
    rows = [
        {"id": f"{i}{NASTY}", "instruction": f"{NASTY} {i}", "output": f"{NASTY} " + "word " * (i % 9 + 1), NASTY: f"{NASTY}{i % 3}"}
        for i in range(40)
    ]  # fmt: skip
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"instruction": "\u202e\n')
    named = json.dumps("\x9b2J\u202e[red]")  # YAML reads the escapes of JSON
    rules = "".join(
        f'  - {{name: {named[:-1]}{j}", text: {named[:-1]} {j}", sql: "n_words / {20 + j}.0"}}\n' for j in range(4)
    )
    (tmp_path / "r.yaml").write_text("rules:\n" + rules)
    words = ("--rules", tmp_path / "r.yaml", "-r", 2, "--sample", 30, "--store", tmp_path / "s.duckdb")
    ended = rulesel("run", tmp_path / "c.jsonl", *words, "-k", 5, "-o", tmp_path / "o.jsonl")
    assert ended.code == 0, ended.err
    assert printed_safely(ended.out + ended.err)
    return tmp_path


MARK = "\u202e\u200b[red]"  # controls are refused in words of the command line
VERBS = [
    ("explain", "0"),
    ("sql", "SELECT prompt, response, example_id AS \"[red]\u202e\u200b[red]\" FROM current_examples"),
    ("sql", "SELECT \u202e\u200b[red]"),
    ("sql", "SELECT error(response) FROM current_examples"),
    ("runs",),
    ("rules", "choose", "-r", "2"),
    ("rules", "choose", "-r", "2", "--require", "\u202e\u200b[red]"),
    ("rules", "audit", "-o", "{}/audit.html"),
    ("explain", "\u202e\u200b[red]"),
    ("export", "--view", "\u202e\u200b[red]", "-o", "{}/x.csv"),
    ("select", "-k", "3", "--per", "\u202e\u200b[red]=1", "-o", "{}/p.jsonl"),
    ("select", "-k", "3", "--quality", "\u202e\u200b[red]", "-o", "{}/p.jsonl"),
    ("judge", "check", "--suspects"),
]  # fmt: skip


@pytest.mark.slow
def test_every_verb_prints_only_what_is_visible(hostile, rulesel):
    for words in VERBS:
        ended = rulesel(*(word.format(hostile) for word in words), "--store", hostile / "s.duckdb")
        assert printed_safely(ended.out + ended.err), words
        assert "Traceback" not in ended.err, words
    others = [
        ("rules", "lint", hostile / "r.yaml"),
        ("rules", "diff", hostile / "r.yaml", "pack:code", "--store", hostile / "s.duckdb"),
        ("plan", hostile / "c.jsonl", "--rules", hostile / "r.yaml", "--judge", "http://127.0.0.1:9/v1#m", "--store", hostile / "t.duckdb", "-r", 2),
        ("report", hostile / "o.jsonl.receipt.json", "-o", hostile / "report.html"),
        ("verify", hostile / "o.jsonl.receipt.json"),
        ("compare", hostile / "o.jsonl", hostile / "o.jsonl", "--source", MARK),
        ("doctor", "--judge", f"http://127.0.0.1:9/v1#{MARK}"),
        ("run", hostile / f"none{MARK}.jsonl", "-k", 3, "-o", "o.jsonl"),
        ("catalog",),
    ]  # fmt: skip
    for words in others:
        ended = rulesel(*words)
        assert printed_safely(ended.out + ended.err), words
        assert "Traceback" not in ended.err, words
    for page in ("report.html", "audit.html"):
        assert printed_safely((hostile / page).read_text().replace("\u2068", "").replace("\u2069", ""))


@pytest.mark.slow
def test_machine_output_is_exact(hostile, rulesel):
    ended = rulesel("explain", "0", "--store", hostile / "s.duckdb", "--json")
    assert printed_safely(ended.out)
    assert json.loads(ended.out)["prompt"].startswith(NASTY)


@pytest.mark.parametrize(
    "words",
    [
        ("runs", "--store", "x\udcff"),
        ("run", "c\udcff.jsonl", "-k", 3, "-o", "o.jsonl"),
        ("runs", "\x1b]52;c;x\x07"),
        (f"--{CLIPBOARD}",),
    ],
)
def test_words_that_are_no_text_are_refused(words, rulesel):
    ended = rulesel(*words)
    assert ended.code == 2
    assert "is no text" in ended.err
    assert printed_safely(ended.err)
    assert ended.err.count("\n") == 1


@pytest.mark.slow
def test_output_to_a_full_disk_is_one_line(hostile):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        ended = subprocess.run(
            [sys.executable, "-m", "rulesel", "explain", "0", "--store", str(hostile / "s.duckdb")],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stderr == "rulesel: [Errno 28] No space left on device.\n"
