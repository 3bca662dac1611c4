"""The whole chain against a server that misbehaves, and in a process that is killed: nothing lost, nothing paid twice."""

import json
import multiprocessing
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from rulesel.pipeline import run
from rulesel.pipeline.planning import plan
from rulesel.store import Store

TRANSPORT = [
    "429",
    "429_after",
    "500",
    "503",
    "stall",
    "drop",
    "half",
    "empty_body",
    "null_body",
    "html",
    "wrong_model",
]
CONTENT = {
    "empty": "parse", "null": "parse", "prose": "parse", "refusal": "refused", "range": "range", "whitespace": "cut_answer",
}  # fmt: skip
ONE_IN_TEN = dict.fromkeys([*TRANSPORT, *CONTENT], 0.1 / len([*TRANSPORT, *CONTENT]))
PRICE = {"input": 2.0, "output": 8.0}


def ratings(folder):
    with Store(folder / "store.duckdb", read_only=True) as store:
        return dict(
            ((hash_, rule), (value, status))
            for hash_, rule, value, status in store.db.rows(
                "SELECT c.hash, u.name, r.value, r.status FROM ratings r JOIN contents c USING (content) JOIN rules u USING (rule)"
            )
        )


def same_secret(config, folder):
    """A store that has read the corpus and nothing else, and a copy of it: the prompts of both are the same."""
    plan(config)
    shutil.copy(config.store_path, folder)


def test_one_in_ten_fails_at_random_and_every_cell_is_a_score_or_a_reason(serve, model_config, planted, tmp_path):
    planted(500)
    server = serve(faults=ONE_IN_TEN, seed=11, latency=0.002)
    everything = {"rules": {"sample": 500, "keep": 5}, "coverage": 0.5}
    config = model_config(server.name, concurrency=256, timeout=1.0, max_cost=2.0, prices={"m": PRICE}, **everything)
    (tmp_path / "calm").mkdir()
    same_secret(config, tmp_path / "calm")
    outcome = run(config)
    stats = server.stats()
    assert set(stats["faults"]) == set(ONE_IN_TEN), "each kind must have struck"
    found = ratings(tmp_path)
    assert len(found) == 2500
    assert all((value is None) == (status != 0) for value, status in found.values())
    struck = sum(stats["faults"][fault] for fault in CONTENT)
    assert sum(status != 0 for _, status in found.values()) == struck
    transport = sum(stats["faults"][fault] for fault in TRANSPORT)
    assert stats["requests"] == 2500 + transport, "no request but the cells and the retries of what failed"
    with Store(tmp_path / "store.duckdb", read_only=True) as store:
        kinds = dict(store.db.rows("SELECT status, count(*) FROM ratings_long WHERE score IS NULL GROUP BY ALL"))
        words = store.db.one("SELECT count(*) FROM ratings_long WHERE score IS NULL AND coalesce(reason, '') = ''")
        paid = store.db.one("SELECT sum(cost) FROM calls")
    assert kinds == {
        kind: sum(stats["faults"][f] for f in CONTENT if CONTENT[f] == kind) for kind in set(CONTENT.values())
    }
    assert words == 0
    bill = (stats["prompt_tokens"] * PRICE["input"] + stats["completion_tokens"] * PRICE["output"]) / 1e6
    assert bill <= paid + 1e-9 <= 2.0
    counts = outcome.receipt["counts"]
    assert counts["in"] == 500 == counts["selected"] + counts["not_selected"] + counts["failed"]
    calm = serve()
    run(model_config(calm.name, store=str(tmp_path / "calm" / "store.duckdb"), **everything))
    true = ratings(tmp_path / "calm")
    assert all(
        value == pytest.approx(true[cell][0], abs=1e-6) for cell, (value, status) in found.items() if status == 0
    )


def test_twenty_kills_end_equal_and_only_what_was_under_way_is_asked_twice(serve, model_config, planted, tmp_path):
    planted(300)
    server = serve(latency=0.02)
    everything = {"rules": {"sample": 60, "keep": 4, "anchor": "overall"}, "domain": "answers"}
    config = model_config(server.name, max_cost=5.0, prices={"m": PRICE}, **everything)
    (tmp_path / "calm").mkdir()
    same_secret(config, tmp_path / "calm")
    cells = plan(config).calls
    fork = multiprocessing.get_context("forkserver")
    fork.set_forkserver_preload(
        ["rulesel.pipeline", "rulesel.rules.choose", "duckdb", "scipy.stats", "pyarrow.parquet"]
    )
    rng = random.Random(3)
    kills = 0
    for _ in range(60):
        process = fork.Process(target=run, args=(config,))
        seen = server.stats()["requests"]
        process.start()
        while process.is_alive() and server.stats()["requests"] == seen and seen < cells:
            time.sleep(0.01)
        process.join(rng.uniform(0.0, 0.08))
        if process.is_alive():
            process.kill()
            kills += 1
        process.join()
        if kills == 20 or process.exitcode == 0:
            break
    assert kills >= 15
    run(config)
    stats = server.stats()
    assert cells <= stats["requests"] <= cells + kills * config.concurrency
    assert stats["repeated"] <= kills * config.concurrency
    with Store(tmp_path / "store.duckdb", read_only=True) as store:
        booked, paid = store.db.rows("SELECT count(*), sum(cost) FROM calls")[0]
    assert stats["requests"] <= booked, "what a kill left under way counts as sent"
    assert (stats["prompt_tokens"] * PRICE["input"] + stats["completion_tokens"] * PRICE["output"]) / 1e6 <= paid <= 5.0
    ours = (tmp_path / "out.jsonl").read_bytes(), ratings(tmp_path)
    calm = serve()
    run(model_config(calm.name, store=str(tmp_path / "calm" / "store.duckdb"), **everything))
    assert ours == ((tmp_path / "out.jsonl").read_bytes(), ratings(tmp_path / "calm"))
    assert calm.stats()["requests"] == cells


def command(folder, server, *more):
    return [
        sys.executable, "-m", "rulesel", "run", str(folder / "planted.jsonl"), "--rules", str(folder / "read.yaml"),
        "--judge", server.name, "--anchor", "none", "--sample", "40", "-r", "4", "-k", "10", "--concurrency", "16",
        "--store", str(folder / "store.duckdb"), "-o", str(folder / "out.jsonl"), *more,
    ]  # fmt: skip


def test_ctrl_c_five_times_loses_no_answer(serve, model_config, planted, tmp_path):
    planted(700)
    server = serve(latency=0.02)
    plan(model_config(server.name))
    rng = random.Random(9)
    for _ in range(5):
        seen = server.stats()["requests"]
        process = subprocess.Popen(command(tmp_path, server), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and server.stats()["requests"] == seen:
            time.sleep(0.02)
        time.sleep(rng.uniform(0.0, 0.3))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "the same command goes on from here" in err
        assert "Traceback" not in err
    assert server.stats()["requests"] < 40 * 5 + 660 * 4
    subprocess.run(command(tmp_path, server), check=True, capture_output=True)
    stats = server.stats()
    assert stats["repeated"] == 0
    assert stats["requests"] == 40 * 5 + 660 * 4


@pytest.mark.parametrize(
    ("options", "words", "code", "message"),
    [
        ({}, ["--max-requests", "50"], 3, "--max-requests 50 is reached"),
        ({"always": "prose"}, [], 4, "200 of 200 ratings of the sample failed"),
        ({}, ["--max-cost", "1"], 2, "prices:"),
        ({"key": "sk-right-key-000"}, [], 1, "refuses access (401)"),
        ({"always": "quota"}, [], 1, "quota is used up"),
        ({"always": "wrong_model"}, [], 0, "in 60 = selected 10 + not selected 50 + failed 0"),
    ],
)
def test_the_exit_code_tells_how_it_ended_and_one_line_says_why(
    serve, model_config, planted, tmp_path, options, words, code, message
):
    planted(60)
    model_config("signals")
    server = serve(**options)
    done = subprocess.run(command(tmp_path, server, *words), capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    if code:
        assert done.stderr.splitlines()[-1].startswith("rulesel: ")
    if code == 1:
        assert server.stats()["requests"] <= 16


def test_a_plan_on_the_command_line_shows_the_first_prompt_and_sends_nothing(serve, model_config, planted, tmp_path):
    model_config("signals")
    server = serve()
    words = command(tmp_path, server)
    words[3] = "plan"
    words = [w for i, w in enumerate(words) if w not in ("-k", "-o") and words[i - 1] not in ("-k", "-o")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "requests 280" in done.stdout
    assert "dollars unknown" in done.stdout
    assert "The answer has trait 0." in done.stdout
    found = json.loads(subprocess.run([*words, "--json"], capture_output=True, text=True, check=True).stdout)
    assert found["calls"] == 280
    assert found["dollars"] is None
    assert server.stats()["requests"] == 0
