"""The same shards through Ray, with an actor killed under way."""

import os
import signal
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ray", reason="Ray is not installed here; `make test` runs this in .venv-vllm")

from rulesel.engines import make_job, open_job
from rulesel.engines.local import rate_shards as rate_here
from rulesel.engines.parts import read_part
from rulesel.engines.ray import Cluster
from rulesel.errors import Interrupted, ModelError
from rulesel.raters import rater_for
from rulesel.records import Batch


@pytest.fixture(scope="module")
def cluster():
    """A cluster of this machine; warnings of Ray about itself are its own."""
    import ray

    mark = uuid.uuid4().hex
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RULESEL_MARK", mark)
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
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


def test_an_actor_that_is_killed_costs_one_shard_of_work_and_no_rating(tiny, rules, rater, rate, tmp_path, cluster):
    import tiny_llama

    texts = list(tiny_llama.documents(40, 60, seed=4))
    batch = Batch([f"b2-{i:032x}" for i in range(40)], [None] * 40, texts)
    judge = f"vllm:{tiny}"
    same = rater_for(judge, dtype="float32", document_tokens=400, cache_gib=1 / 32)
    jobs = [make_job(tmp_path / where, judge, same, rules, b"v" * 32, [batch], size=8) for where in ("here", "there")]
    rate_here(jobs[0], jobs[0].missing(), rater=rater)

    whole = rate(rater, batch)
    done, killed = [], []

    def strike(shard, count):
        done.append(shard)
        if not killed:
            killed.extend(actors(cluster)[:1])
            os.kill(killed[0], signal.SIGKILL)

    with Cluster(actors=1) as ray:
        assert ray.rate_shards(jobs[1], jobs[1].missing(), progress=strike) == 40
        assert ray.rate_shards(jobs[1], range(5)) == 0
    assert len(killed) == 1
    assert sorted(done) == list(range(5))
    assert jobs[1].missing() == []
    for shard in range(5):
        a, b = (read_part(job.ratings_path(shard)) for job in jobs)
        assert a.examples == b.examples
        np.testing.assert_array_equal(a.ratings.status, b.ratings.status)
        np.testing.assert_allclose(a.ratings.values, b.ratings.values, atol=1e-6)
        np.testing.assert_allclose(a.ratings.values, whole.values[8 * shard : 8 * shard + 8], atol=1e-6)


def test_what_no_actor_can_do_is_one_line(rules, tmp_path, cluster):
    texts = Batch(["b2-" + "0" * 32], [None], ["text"])
    job = make_job(tmp_path, "signals", rater_for("signals"), rules[:1], b"v" * 32, [texts])
    manifest = job.folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace(job.rater, "b2-" + "1" * 32))
    with Cluster() as ray:
        assert ray.actors == 1
        with pytest.raises(ModelError, match="is another model here") as caught:
            ray.rate_shards(open_job(job.folder), [0])
    assert "\n" not in str(caught.value)


def test_a_stop_leaves_no_actor(rules, tmp_path, cluster):
    texts = Batch([f"b2-{i:032x}" for i in range(50)], [None] * 50, ["text"] * 50)
    job = make_job(tmp_path, "signals", rater_for("signals"), rules[:1], b"v" * 32, [texts], size=1)

    def stop():
        raise Interrupted("enough")

    with Cluster(actors=2) as ray, pytest.raises(Interrupted):
        ray.rate_shards(job, job.missing(), tick=stop)
    for _ in range(50):
        if not actors(cluster):
            break
        time.sleep(0.1)
    assert not actors(cluster)
