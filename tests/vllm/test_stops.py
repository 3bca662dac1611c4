"""The command line with the real engine: killed and told to stop while it rates, resumed, shared out, and checked."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from rulesel.config import RunConfig, check
from rulesel.pipeline import run
from rulesel.pipeline.calibrating import CalibrationConfig, calibrate
from rulesel.raters.vllm import Vllm
from rulesel.store import Store

DOCUMENTS = 400
PARAMETERS = {"dtype": "float32", "document_tokens": 400, "cache_gib": 0.0625}


def marked(mark):
    """Processes that were started, directly or not, with that mark in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes() and (process / "stat").read_text().split()[2] != "Z":
                found.append(int(process.name))
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def place(tiny, tmp_path_factory):
    """A corpus, rules, and two stores of one secret: the nonces of documents come from it, and ratings from those."""
    import tiny_llama

    folder = tmp_path_factory.mktemp("stops")
    texts = tiny_llama.documents(DOCUMENTS, 40, seed=9)
    (folder / "c.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    rules = {"clear": "The answer is clear.", "why": "The answer says why.", "short": "The answer is short."}
    lines = "".join(f"  - {{name: {name}, text: {text}}}\n" for name, text in rules.items())
    (folder / "rules.yaml").write_text("rules:\n" + lines)
    Store(folder / "calm.duckdb").close()
    shutil.copy(folder / "calm.duckdb", folder / "s.duckdb")
    return folder


def settings(place, tiny, name):
    return {
        "corpus": {"path": str(place / "c.jsonl")},
        "judge": f"vllm:{tiny}",
        "judge_parameters": PARAMETERS,
        "rules": {"source": str(place / "rules.yaml"), "sample": 40, "keep": 2},
        "select": {"k": 20},
        "store": str(place / f"{name}.duckdb"),
        "out": str(place / f"{name}.jsonl"),
    }


def command(place, tiny, verb, *words):
    made = [sys.executable, "-m", "rulesel", verb, str(place / "c.jsonl"), "--judge", f"vllm:{tiny}"]
    made += ["--rules", str(place / "rules.yaml"), "--sample", "40", "-r", "2", *words]
    return made + [f"--judge-param={name}={value}" for name, value in PARAMETERS.items()]


@pytest.fixture(scope="module")
def calm(place, tiny, rater):
    """The same run undisturbed, with the session's engine."""
    opened, opening = rater.open(), Vllm.open

    def borrowed(own):
        if own._opened is None:
            own.use(opened.model, opened.tokenizer, opened.longest)
        return opening(own)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Vllm, "open", borrowed)
        patch.setattr(Vllm, "close", lambda _: None)
        outcome = run(check(RunConfig, settings(place, tiny, "calm")))
        checked = CalibrationConfig(
            store=str(place / "calm.duckdb"), judge=f"vllm:{tiny}", judge_parameters=PARAMETERS, examples=30
        )
        yield outcome, calibrate(checked, ordered=True, repeated=True)


def strike(words, stop, *, children):
    """Start, send a signal once the corpus is being rated, wait; returns exit code and standard error."""
    mark = uuid.uuid4().hex
    environment = os.environ | {"RULESEL_MARK": mark, "VLLM_ENABLE_V1_MULTIPROCESSING": str(int(children))}
    with subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment, text=True) as one:
        said = []
        for line in one.stderr:
            said.append(line)
            if line.startswith("chosen:"):
                time.sleep(0.3)
                one.send_signal(stop)
                break
        said += one.stderr.readlines()
    for _ in range(100):
        if not (left := marked(mark)):
            break
        time.sleep(0.1)
    assert not left
    return one.returncode, "".join(said)


def test_stopped_at_any_moment_a_run_goes_on_and_ends_equal(place, tiny, calm):
    words = command(place, tiny, "run", "-k", "20", "--store", str(place / "s.duckdb"), "-o", str(place / "s.jsonl"))
    assert strike(words, signal.SIGKILL, children=False)[0] == -signal.SIGKILL
    code, said = strike(words, signal.SIGTERM, children=True)
    assert code == 130, said
    assert "the same command goes on from here" in said
    assert "Traceback" not in said
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1].startswith(f"in {DOCUMENTS} = selected 20")
    assert (place / "s.jsonl").read_bytes() == (place / "calm.jsonl").read_bytes()


def test_a_judge_that_is_exact_neither_drifts_nor_hangs_on_its_company(calm, place):
    found = calm[1]
    assert [one.flipped for one in found.repeat] == [0] * 4
    assert max(one.largest for one in found.repeat) <= 1e-6
    assert [one.rule for one in found.order] == ["clear", "why", "short"]
    assert all(0 < one.n <= 30 and one.spearman < 0.999 for one in found.order)
