"""kill -9 anywhere: the same command goes on and ends equal."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

KILLS = 20


def command(folder, rules):
    return [
        sys.executable, "-m", "rulesel", "run", str(folder / "corpus.jsonl"), "--rules", str(rules), "-k", "300",
        "-r", "3", "--sample", "500", "--store", str(folder / "s.duckdb"), "-o", str(folder / "out.jsonl"),
    ]  # fmt: skip


@pytest.fixture
def bigger(tmp_path):
    rng = random.Random(1)
    with (tmp_path / "corpus.jsonl").open("w") as file:
        for i in range(60_000):
            words = " ".join(rng.choices(["alpha", "beta", "gamma!", "delta?", "7"], k=rng.randint(3, 60)))
            file.write(json.dumps({"instruction": f"Q{i % 59_000}", "input": "", "output": words}) + "\n")
    return tmp_path


def test_twenty_random_kills_end_equal_to_an_undisturbed_run(bigger, rules, tmp_path):
    calm = tmp_path / "calm"
    calm.mkdir()
    os.link(bigger / "corpus.jsonl", calm / "corpus.jsonl")
    began = time.monotonic()
    subprocess.run(command(calm, rules), check=True, capture_output=True)
    whole = time.monotonic() - began
    rng = random.Random(7)
    killed = 0
    for _ in range(KILLS):
        process = subprocess.Popen(command(bigger, rules), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=rng.uniform(0.2, 0.9) * whole)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
    assert killed >= KILLS // 4  # later attempts find most of the work done and may end before their kill
    subprocess.run(command(bigger, rules), check=True, capture_output=True)
    assert (bigger / "out.jsonl").read_bytes() == (calm / "out.jsonl").read_bytes()
    ours, theirs = (json.loads((f / "out.jsonl.receipt.json").read_text()) for f in (bigger, calm))
    for part in ("corpus", "choice", "selection", "counts"):
        assert ours[part] | {"path": ""} == theirs[part] | {"path": ""}
    import duckdb

    with duckdb.connect(str(bigger / "s.duckdb"), read_only=True) as con:
        cells, distinct = con.execute("SELECT count(*), count(DISTINCT (content, rule, rater)) FROM ratings").fetchone()
        hashes, contents = con.execute("SELECT count(DISTINCT hash), count(*) FROM contents").fetchone()
    assert cells == distinct
    assert hashes == contents


def test_ctrl_c_commits_says_how_to_go_on_and_exits_130(bigger, rules):
    process = subprocess.Popen(command(bigger, rules), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (bigger / "s.duckdb").exists() and process.poll() is None:
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from here" in err
    assert "Traceback" not in err
    done = subprocess.run(command(bigger, rules), capture_output=True, text=True, check=True)
    assert "selected 300" in done.stdout
