"""Killed and terminated while it rates: nothing is lost but what was under way, and no process stays behind."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from rulesel.engines import make_job
from rulesel.engines.local import rate_shards
from rulesel.engines.parts import read_part
from rulesel.raters import rater_for
from rulesel.records import Batch

WORKER = """
import sys
from pathlib import Path
from rulesel.engines import open_job
from rulesel.engines.local import rate_shards

if __name__ == "__main__":
    job = open_job(Path(sys.argv[1]))
    rate_shards(job, job.missing(), progress=lambda shard, ratings: print("rated", shard, flush=True))
"""


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


def everything(job):
    parts = [read_part(job.ratings_path(s)) for s in range(job.shards)]
    return [e for p in parts for e in p.examples], np.concatenate([p.ratings.values for p in parts])


@pytest.fixture(scope="module")
def job(tiny, rules, tmp_path_factory):
    import tiny_llama

    texts = list(tiny_llama.documents(48, 60, seed=9))
    batch = Batch([f"b2-{i:032x}" for i in range(48)], [None] * 48, texts)
    judge = f"vllm:{tiny}"
    rater = rater_for(judge, dtype="float32", document_tokens=400, cache_gib=1 / 32)
    return make_job(tmp_path_factory.mktemp("jobs"), judge, rater, rules, b"v" * 32, [batch], size=6)


@pytest.fixture(scope="module")
def undisturbed(job, rater, tmp_path_factory):
    """The same shards rated in one go by the session's engine."""
    folder = tmp_path_factory.mktemp("whole") / job.id
    (folder / "ratings").mkdir(parents=True)
    (folder / "examples").symlink_to(job.folder / "examples")
    whole = dataclasses.replace(job, folder=folder)
    rate_shards(whole, whole.missing(), rater=rater)
    return everything(whole)


@pytest.mark.parametrize("workers", ["in this process", "in children"])
def test_stopping_a_worker_loses_no_part_and_leaves_no_process(job, undisturbed, workers):
    stops = [signal.SIGKILL, signal.SIGTERM] if workers == "in this process" else [signal.SIGTERM]
    for stop in stops:
        for shard in range(1, job.shards):
            job.ratings_path(shard).unlink(missing_ok=True)
        mark = uuid.uuid4().hex
        environment = os.environ | {"RULESEL_MARK": mark, "VLLM_LOGGING_LEVEL": "ERROR"}
        environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0" if workers == "in this process" else "1"
        with subprocess.Popen(
            [sys.executable, "-c", WORKER, str(job.folder)], stdout=subprocess.PIPE, env=environment
        ) as worker:
            assert [worker.stdout.readline() for _ in range(2)][1]  # the shard before is done, this one under way
            worker.send_signal(stop)
        for _ in range(100):
            if not (left := marked(mark)):
                break
            time.sleep(0.1)
        assert not left
        assert 0 < len(job.missing()) < job.shards


def test_what_was_stopped_ends_equal(job, undisturbed, rater):
    rate_shards(job, job.missing(), rater=rater)
    examples, values = everything(job)
    assert examples == undisturbed[0]
    np.testing.assert_allclose(values, undisturbed[1], atol=1e-6)
