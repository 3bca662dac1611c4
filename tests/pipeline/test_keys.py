"""From the command line: a key goes to its server and nowhere else, and nothing goes beyond this machine."""

import importlib.util
import json
import os
import sqlite3
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

CANARY = "sk-canary-9f8e7d6c5b4a"
WATCHED = """
import json, os, socket, sys
tried, written, started = [], [], []

def note(event, args):
    if event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        written.append(str(args[0]))
    elif event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"):
        started.append(str(args))

sys.addaudithook(note)
connect, connect_ex, resolve = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

def refuse(host):
    tried.append(str(host))
    if host not in ("127.0.0.1", "::1", "localhost"):
        raise OSError(f"the network is closed: {host}")

def watched(do):
    def to(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            refuse(address[0])
        return do(self, address)
    return to

def resolving(host, *more, **named):
    refuse(host)
    return resolve(host, *more, **named)

socket.socket.connect, socket.socket.connect_ex = watched(connect), watched(connect_ex)
socket.getaddrinfo = resolving
try:
    from rulesel.cli import main
    main()
finally:
    told = [sorted(set(tried)), sorted(set(written)), started, "litellm" in sys.modules]
    sys.stderr.write("\\nTRIED " + json.dumps(told) + "\\n")
"""


def rulesel(*words, watched=False, **environment):
    start = ["-c", WATCHED] if watched else ["-m", "rulesel"]
    command = [sys.executable, *start, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)


def run_words(folder, model):
    return [
        "run", folder / "planted.jsonl", "--domain", "answers", "--writer", model, "--judge", model, "--count", "6",
        "--sample", "40", "-r", "3", "-k", "10", "--max-failed", ".5", "--coverage", ".3", "--yes",
        "--store", folder / "store.duckdb", "-o", folder / "out.jsonl",
    ]  # fmt: skip


def everything(folder):
    """All that was written into a folder, as text, whatever its compression."""
    for path in sorted(folder.iterdir()):
        if path.suffix == ".parquet":
            yield path.name, str(pq.read_table(path).to_pylist())
        elif path.suffix == ".sqlite":
            with sqlite3.connect(path) as replies:
                yield (
                    path.name,
                    "\n".join(replies.iterdump()) + str(replies.execute("SELECT * FROM replies").fetchall()),
                )
        yield path.name, path.read_bytes().decode("latin-1")


def test_a_key_is_in_no_file_no_log_and_no_message_and_401_ends_the_run_in_one_line(serve, planted, tmp_path):
    planted(60)
    server = serve(key=CANARY, unauthorized_after=100, faults={"500": 0.05, "prose": 0.05}, seed=6)
    loud = {"OPENAI_API_KEY": CANARY, "OPENAI_LOG": "debug"}
    first = rulesel(*run_words(tmp_path, server.name), **loud)
    assert first.returncode == 1, first.stderr
    last = first.stderr.splitlines()[-1]
    assert last.startswith("rulesel: m: the server refuses access (401): Incorrect API key provided: [hidden]")
    assert server.stats()["authorizations"] == [f"Bearer {CANARY}"], "the server must have seen it"
    stopped = server.stats()["requests"]
    assert stopped <= 100 + 64, "nothing is sent after the refusal but what was under way"
    server.set(unauthorized_after=None)
    second = rulesel(*run_words(tmp_path, server.name), **loud)
    assert second.returncode == 0, second.stderr
    assert "openai" in second.stderr or "openai" in first.stderr, "the openai client must have logged"
    assert server.stats()["repeated"] == 0
    said = [first.stdout, first.stderr, second.stdout, second.stderr]
    store, receipt = tmp_path / "store.duckdb", tmp_path / "out.jsonl.receipt.json"
    for words in (
        ["report", receipt, "-o", tmp_path / "report.html"],
        *(
            ["export", "--store", store, "--view", v, "-o", tmp_path / f"{v}.parquet"]
            for v in ("calls", "ratings_long", "runs")
        ),
        ["verify", receipt],
        ["doctor", "--judge", server.name],
    ):
        done = rulesel(*words, **loud)
        assert done.returncode == 0, done.stderr
        said += [done.stdout, done.stderr]
    assert "planted 500" in str(pq.read_table(tmp_path / "calls.parquet").to_pylist()), "what the server said is kept"
    assert all(CANARY not in text for text in said)
    assert [name for name, text in everything(tmp_path) if CANARY in text] == []


@pytest.mark.skipif(importlib.util.find_spec("litellm") is None, reason="litellm is not installed")
def test_litellm_reaches_nothing_beyond_this_machine_writes_nothing_elsewhere_and_starts_nothing(
    serve, planted, tmp_path
):
    planted(60)
    server = serve()
    (tmp_path / "home").mkdir()
    (tmp_path / "scratch").mkdir()
    address = {"HOSTED_VLLM_API_BASE": server.base, "HOSTED_VLLM_API_KEY": CANARY, "PYTHONDONTWRITEBYTECODE": "1"}
    address |= {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "scratch")}
    done = rulesel(*run_words(tmp_path, "hosted_vllm/m"), watched=True, **address)
    assert done.returncode == 0, done.stderr
    tried, written, started, imported = json.loads(done.stderr.rpartition("TRIED ")[2])
    assert imported
    assert set(tried) == {"127.0.0.1"}
    assert [path for path in written if not path.startswith((str(tmp_path), "/dev/null"))] == []
    assert started == []
    assert list((tmp_path / "home").iterdir()) == []
    assert server.stats()["requests"] > 40 * 6
