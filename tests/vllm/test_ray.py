"""The same shards through Ray, with an actor killed under way."""

import os
import signal
import uuid
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ray", reason="Ray is not installed here; `make test` runs this in .venv-vllm")

from rulesel.engines import make_job
from rulesel.engines.local import rate_shards as rate_here
from rulesel.engines.parts import read_part
from rulesel.engines.ray import rate_shards
from rulesel.raters import rater_for
from rulesel.records import Batch


@pytest.fixture
def cluster(monkeypatch):
    """A cluster of this machine; warnings of Ray about itself are its own."""
    import ray

    mark = uuid.uuid4().hex
    monkeypatch.setenv("RULESEL_MARK", mark)
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield mark
    ray.shutdown()


def actors(mark):
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "cmdline").read_bytes()
            if name.startswith(b"ray::Worker") and mark.encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def test_an_actor_that_is_killed_costs_one_shard_of_work_and_no_rating(tiny, rules, rater, tmp_path, cluster):
    import tiny_llama

    texts = list(tiny_llama.documents(40, 60, seed=4))
    batch = Batch([f"b2-{i:032x}" for i in range(40)], [None] * 40, texts)
    judge = f"vllm:{tiny}"
    same = rater_for(judge, dtype="float32", document_tokens=400, cache_gib=1 / 32)
    jobs = [make_job(tmp_path / where, judge, same, rules, b"v" * 32, [batch], size=8) for where in ("here", "there")]
    rate_here(jobs[0], jobs[0].missing(), rater=rater)

    done, killed = [], []

    def strike(shard, count):
        done.append(shard)
        if not killed:
            killed.extend(actors(cluster)[:1])
            os.kill(killed[0], signal.SIGKILL)

    assert rate_shards(jobs[1], jobs[1].missing(), actors=1, progress=strike) == 40
    assert len(killed) == 1
    assert sorted(done) == list(range(5))
    assert jobs[1].missing() == []
    for shard in range(5):
        a, b = (read_part(job.ratings_path(shard)) for job in jobs)
        assert a.examples == b.examples
        np.testing.assert_array_equal(a.ratings.status, b.ratings.status)
        np.testing.assert_allclose(a.ratings.values, b.ratings.values, atol=1e-6)
    assert rate_shards(jobs[1], range(5)) == 0
