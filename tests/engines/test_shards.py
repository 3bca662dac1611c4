import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rulesel.engines import make_job, open_job, share_of
from rulesel.engines.local import rate_shards
from rulesel.engines.parts import SCHEMA, read_part, write_part
from rulesel.errors import UsageError
from rulesel.raters import Lent, rater_for
from rulesel.records import Batch, Ratings, Rule, Status

SECRET = b"s" * 32
RULES = [
    Rule(name="long", text="It is long.", sql="least(n_chars / 200.0, 1)"),
    Rule(name="lines", text="It has lines.", sql="least(n_lines / 5.0, 1)", polarity="negative"),
    Rule(name="asked", text="It answers a question.", sql="CASE WHEN prompt IS NULL THEN NULL ELSE 1.0 END"),
]


def examples(count, size=64):
    for start in range(0, count, size):
        numbers = range(start, min(start + size, count))
        texts = [f"text {i}\n" * (1 + i % 7) + "x" * (i % 150) for i in numbers]
        yield Batch([f"b2-{i:032x}" for i in numbers], [None if i % 3 else f"ask {i}" for i in numbers], texts)


def job_of(root, count=500, size=100, rules=RULES):
    return make_job(root, "signals", rater_for("signals"), rules, SECRET, examples(count), size=size)


def everything(job):
    """All cells by example, whatever the parts."""
    found = {}
    for shard in range(job.shards):
        part = read_part(job.ratings_path(shard))
        for i, example in enumerate(part.examples):
            found[example] = tuple(np.nan_to_num(part.ratings.values[i], nan=-1)), tuple(part.ratings.status[i])
    return found


def undisturbed(count=500):
    rater = rater_for("signals")
    found = {}
    for batch in examples(count):
        (ratings,) = rater.rate([batch], RULES, Lent(SECRET, lambda name: pytest.fail(name)))
        for i, example in enumerate(batch.hashes):
            found[example] = tuple(np.nan_to_num(ratings.values[i], nan=-1)), tuple(ratings.status[i])
    return found


@pytest.mark.slow
def test_shards_in_any_order_and_number_give_what_one_process_gives(tmp_path):
    expected = undisturbed()
    assert Status.not_applicable in {s for _, statuses in expected.values() for s in statuses} or len(expected) == 500
    for size in (33, 100, 1000):
        job = job_of(tmp_path, size=size)
        assert rate_shards(job, reversed(job.missing())) == 500
        assert everything(job) == expected


@pytest.mark.slow
def test_workers_of_a_share_rate_everything_once(tmp_path):
    job = job_of(tmp_path, size=30)
    shares = [job.missing((i, 4)) for i in (1, 2, 3, 4)]
    assert sorted(s for share in shares for s in share) == list(range(job.shards))
    assert [rate_shards(job, share) for share in shares] == [140, 120, 120, 120]
    assert job.missing() == []
    assert rate_shards(job, range(job.shards)) == 0


def test_the_same_job_is_made_once(tmp_path):
    first = job_of(tmp_path)
    rate_shards(first, first.missing())
    again = job_of(tmp_path)
    assert again == first
    assert again.missing() == []
    assert [path.name for path in tmp_path.iterdir()] == [first.id]


@pytest.mark.parametrize(
    "other",
    [
        lambda root: job_of(root, rules=RULES[:2]),
        lambda root: job_of(root, count=499),
        lambda root: make_job(root, "signals", rater_for("signals"), RULES[::-1], SECRET, examples(500), size=100),
    ],
    ids=["fewer rules", "fewer examples", "another order of rules"],
)
def test_another_job_has_another_folder(tmp_path, other):
    assert other(tmp_path).folder != job_of(tmp_path).folder


def test_a_worker_with_another_rater_is_refused(tmp_path):
    job = job_of(tmp_path)
    manifest = job.folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace(job.rater, "b2-" + "0" * 32))
    with pytest.raises(UsageError, match="signals is another model here"):
        rate_shards(open_job(job.folder), [0])
    assert open_job(job.folder).missing() == list(range(job.shards))


def test_a_folder_without_shards_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"holds no shards \(no manifest"):
        open_job(tmp_path)


def test_a_job_of_a_later_layout_is_refused(tmp_path):
    job = job_of(tmp_path)
    manifest = job.folder / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"layout": 2}))
    with pytest.raises(UsageError, match="another version of rulesel"):
        open_job(job.folder)


def test_a_rater_that_fails_leaves_no_part(tmp_path):
    job = job_of(tmp_path)

    class Failing:
        chunk = 10
        id = job.rater

        def provenance(self):
            return {}

        def rate(self, batches, rules, lent):
            yield from list(rater_for("signals").rate(list(batches)[:2], rules, lent))
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        rate_shards(job, [0], rater=Failing())
    assert list((job.folder / "ratings").iterdir()) == []


@pytest.mark.parametrize(("text", "share"), [("1/1", (1, 1)), ("3/16", (3, 16)), ("16/16", (16, 16))])
def test_shares_count_from_one(text, share):
    assert share_of(text) == share


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/0", "a/b", "1/2/3", "", "-1/4", "1 / 4"])
def test_a_share_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="--shard takes i/n"):
        share_of(text)


@st.composite
def ratings_of(draw):
    n, r = draw(st.integers(0, 5)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    status = rng.choice([0, 0, 1, 4], (n, r)).astype(np.uint8)
    values = np.where(status == 0, rng.random((n, r)), np.nan).astype(np.float32)
    mass = rng.random((n, r)).astype(np.float32) if draw(st.booleans()) else None
    flags = rng.integers(0, 8, (n, r)).astype(np.uint8)
    reasons = {(int(i), int(j)): f"said {i}" for i, j in np.argwhere(status)[:2]}
    return Ratings(values, status, flags, mass, reasons)


@given(st.lists(ratings_of(), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
@pytest.mark.slow
def test_a_part_reads_as_it_was_written(tmp_path_factory, batches):
    width = batches[0].values.shape[1]
    with_mass = batches[0].mass is not None
    batches = [b for b in batches if b.values.shape[1] == width and (b.mass is not None) == with_mass]
    path = tmp_path_factory.mktemp("parts") / "part.parquet"
    rated = [([f"e{k}-{i}" for i in range(len(b))], b) for k, b in enumerate(batches)]
    total = write_part(path, "rater", [f"r{j}" for j in range(width)], rated, {"engine": "1.0"})
    part = read_part(path)
    assert total == len(part.examples) == sum(map(len, batches))
    assert part.provenance == {"engine": "1.0"}
    assert part.examples == [e for hashes, _ in rated for e in hashes]
    if total:
        assert (part.rules, part.rater) == ([f"r{j}" for j in range(width)], "rater")
        for name in ("values", "status", "flags"):
            whole = np.concatenate([getattr(b, name) for b in batches])
            np.testing.assert_array_equal(getattr(part.ratings, name), whole)
        if with_mass:
            np.testing.assert_array_equal(part.ratings.mass, np.concatenate([b.mass for b in batches]))
        offsets = np.cumsum([0, *map(len, batches)])
        expected = {
            (int(o) + i, j): why for o, b in zip(offsets, batches, strict=False) for (i, j), why in b.reasons.items()
        }
        assert part.ratings.reasons == expected


def test_a_part_is_a_table_anyone_can_read(tmp_path):
    job = job_of(tmp_path, count=10)
    rate_shards(job, [0])
    table = pq.read_table(job.ratings_path(0))
    assert table.schema.names == SCHEMA.names
    assert table.num_rows == 30
    assert table.column("rule").to_pylist()[:3] == [rule.id for rule in RULES]
    assert set(table.column("rater").to_pylist()) == {rater_for("signals").id}
    assert table.column("value").null_count == sum(s != 0 for s in table.column("status").to_pylist())


def test_a_file_that_is_no_part_is_named(tmp_path):
    path = tmp_path / "part.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(UsageError, match="holds no ratings of rulesel"):
        read_part(path)


WORKER = """
import sys, time
from pathlib import Path
from rulesel.engines import open_job
from rulesel.engines.local import rate_shards

def tell(shard, ratings):
    print(shard, flush=True)
    time.sleep(0.01)

job = open_job(Path(sys.argv[1]))
rate_shards(job, job.missing(), progress=tell)
"""


@pytest.mark.slow
def test_kills_at_random_moments_end_equal_to_an_undisturbed_run(tmp_path):
    job = job_of(tmp_path, count=2000, size=50)
    rng = np.random.default_rng(1)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for kind in [signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGKILL]:
        before = len(job.missing())
        with subprocess.Popen(
            [sys.executable, "-c", WORKER, str(job.folder)], stdout=subprocess.PIPE, env=environment
        ) as worker:
            for _ in range(rng.integers(1, 8)):
                worker.stdout.readline()
            time.sleep(rng.uniform(0, 0.01))
            worker.send_signal(kind)
        assert 0 < len(job.missing()) <= before
    assert len(job.missing()) < job.shards
    rate_shards(job, range(job.shards))
    assert everything(job) == undisturbed(2000)
    assert len(list((job.folder / "ratings").iterdir())) == job.shards
