"""Shares of a corpus rated by processes that never meet, and their parts taken into the store."""

import json
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from rulesel.config import ScoreConfig, check, merged
from rulesel.engines import SHARD, open_job
from rulesel.engines.local import rate_shards
from rulesel.errors import Interrupted, StoreError, TooManyFailures, UsageError
from rulesel.pipeline import run, score
from rulesel.pipeline.retrying import find_failures
from rulesel.pipeline.sharding import jobs_in, merge, shards_of
from rulesel.pipeline.shares import rate_share
from rulesel.pipeline.watch import Watcher
from rulesel.raters.signals import Signals
from rulesel.records import Status
from rulesel.store import Store


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr("rulesel.pipeline.sharding.SHARD", 30)
    monkeypatch.setattr("rulesel.pipeline.sharding.ROUNDS", 1)
    monkeypatch.setattr(Signals, "chunk", 15)


@pytest.fixture
def settings(run_config):
    """Settings of `score` and, in another store, of the same undisturbed."""

    def make(name="store", **over):
        values = run_config(store=None).model_dump(by_alias=True)
        kept = {field: values[field] for field in ScoreConfig.model_fields}
        path = {"store": str(run_config().store_path.with_name(f"{name}.duckdb"))}
        return check(ScoreConfig, merged(kept, path | over))

    return make


def ratings_of(path):
    with Store(path, read_only=True) as store:
        rows = store.db.rows("SELECT example_id, rule_id, score, status FROM ratings_long ORDER BY ALL")
        (cells, distinct) = store.db.rows("SELECT count(*), count(DISTINCT (content, rule, rater)) FROM ratings")[0]
    assert cells == distinct
    return rows


def test_shares_merged_are_the_ratings_of_one_process(settings):
    config = settings()
    shares = [rate_share(config, (i, 3)) for i in (2, 1, 3)]
    assert sum(share.rated for share in shares) == 200  # the other half was the sample
    assert [share.missing for share in shares] == [5, 2, 0]
    assert all(share.of == 7 for share in shares)
    with Store(config.store_path) as store:
        found = merge(store)
    assert (found.shards, found.of, found.new, found.known, found.unknown) == (7, 7, 600, 0, 0)
    whole = settings("whole")
    a, b = score(config), score(whole)
    np.testing.assert_array_equal(a.scored.scores, b.scored.scores)
    assert ratings_of(config.store_path) == ratings_of(whole.store_path)


def test_merging_again_changes_nothing(settings):
    config = settings()
    rate_share(config, (1, 1))
    with Store(config.store_path) as store:
        first, second, third = merge(store), merge(store), merge(store, jobs_in(shards_of(config.store_path))[0].folder)
    assert (first.new, first.known) == (600, 0)
    assert (second.new, second.known) == (third.new, third.known) == (0, 600)


def test_failures_that_were_forgotten_do_not_come_back_with_the_parts(settings, monkeypatch):
    config = settings()
    rate = Signals.rate

    def failing(self, batches, rules, lent):
        for ratings in rate(self, batches, rules, lent):
            if len(rules) == 3:  # those chosen: the corpus is rated, not the sample
                ratings.status[::7, 0], ratings.values[::7, 0] = Status.timeout, np.nan
            yield ratings

    monkeypatch.setattr(Signals, "rate", failing)
    rate_share(config, (1, 2))
    with Store(config.store_path) as store:
        assert merge(store).new == 330
    forgotten = find_failures(config.store_path, forget=True).ratings["timeout"]
    rate_share(config, (2, 2))
    with Store(config.store_path) as store:
        late = merge(store)
        assert store.ratings.failed([Status.timeout])["timeout"] > 0, "those of parts that were not there before"
        assert (late.forgotten, late.new) == (forgotten, 270)
        store.db.con.execute("DELETE FROM ratings WHERE stage = 1 AND status = 0 AND content % 5 = 0")
        lost = 600 - forgotten - store.db.one("SELECT count(*) FROM ratings WHERE stage = 1")
        again = merge(store)
    assert again.new == lost > 0, "a rating that is gone comes back from its part"
    assert again.forgotten == forgotten


def test_parts_are_merged_while_others_are_missing(settings):
    config = settings()
    rate_share(config, (1, 2))
    with Store(config.store_path) as store:
        early = merge(store)
    assert (early.shards, early.of, early.new) == (4, 7, 330)
    rate_share(config, (2, 2))
    with Store(config.store_path) as store:
        late = merge(store)
    assert (late.shards, late.new, late.known) == (7, 270, 330)


def test_nothing_is_rated_a_second_time(settings, monkeypatch):
    config = settings()
    assert rate_share(config, (1, 1)).rated == 200
    assert rate_share(config, (1, 1)).rated == 0
    assert rate_share(config, (1, 4)).rated == 0
    monkeypatch.setattr(Signals, "rate", lambda *_: pytest.fail("asked again"))
    with Store(config.store_path) as store:
        merge(store)
    score(config)


def test_a_row_more_makes_another_job_with_the_new_cells_alone(settings, corpus):
    config = settings()
    rate_share(config, (1, 1))
    with Store(config.store_path) as store:
        merge(store)
    with corpus.open("a") as file:
        file.write(json.dumps({"instruction": "New", "input": "", "output": "one two"}) + "\n")
    jobs = {job.id for job in jobs_in(shards_of(config.store_path))}
    rate_share(config, (1, 1))
    (new,) = [job for job in jobs_in(shards_of(config.store_path)) if job.id not in jobs]
    assert new.examples < 60, "the new row, and what a sample drawn anew leaves to be rated"


def test_two_workers_at_once_choose_rules_once(settings, monkeypatch):
    monkeypatch.setattr("rulesel.pipeline.shares.WAIT", 0.05)
    config, said, found = settings(), [], []

    class Telling(Watcher):
        def say(self, line):
            said.append(line)
            time.sleep(0.05)

    def work(i):
        found.append(rate_share(config, (i, 2), Telling()))

    threads = [threading.Thread(target=work, args=(i,)) for i in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(share.rated for share in found) == 200
    assert len([line for line in said if line.startswith("chosen:")]) == 1
    assert len(jobs_in(shards_of(config.store_path))) == 1


def test_shards_half_written_by_a_killed_process_are_removed(settings):
    config = settings()
    left = shards_of(config.store_path) / ".building-1"
    left.mkdir(parents=True)
    rate_share(config, (1, 1))
    assert not left.exists()


def test_a_worker_waits_for_no_store_once_there_are_shards(settings):
    config = settings()
    rate_share(config, (1, 2))
    with Store(config.store_path):
        assert rate_share(config, (2, 2)).missing == 0


@pytest.mark.parametrize(
    ("over", "why"),
    [
        ({"judge": "fake:planted"}, r"--shard is for raters that compute for themselves .* leave --shard out"),
        ({"corpus": {"path": "-"}}, "not standard input"),
        ({"corpus": {"path": "nowhere.jsonl"}}, "no corpus"),
        ({"store": "nowhere/s.duckdb"}, "no folder nowhere"),
    ],
)
def test_what_cannot_be_shared_is_refused_in_one_line(settings, over, why):
    with pytest.raises(UsageError, match=why) as caught:
        rate_share(settings(**over), (1, 2))
    assert "\n" not in str(caught.value)


def test_a_store_that_somebody_else_uses_is_said_at_once(settings):
    config = settings()
    holder = "import sys; from pathlib import Path; from rulesel.store import Store\n"
    holder += "with Store(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(config.store_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(StoreError, match="is in use"):
            rate_share(config, (1, 2))
        other.stdin.close()


def test_a_stop_keeps_what_is_finished(settings):
    class Stopping(Watcher):
        def progress(self, progress):
            self.stopping = progress.stage == "rate corpus" and progress.done >= 300

    config = settings()
    with pytest.raises(Interrupted):
        rate_share(config, (1, 1), Stopping())
    (job,) = jobs_in(shards_of(config.store_path))
    assert len(job.missing()) == 4
    assert rate_share(config, (1, 1)).rated == 110


def test_shares_that_mostly_fail_stop_early(settings, monkeypatch):
    monkeypatch.setattr(
        "rulesel.pipeline.rating.wilson_lower", lambda k, n: 1.0 if n > 180 else 0.0
    )  # the sample passes, the first shards do not
    config = settings(rules={"sample": 20})
    with pytest.raises(TooManyFailures, match="Everything rated is kept"):
        rate_share(config, (1, 1))


def test_a_part_of_another_job_is_refused(settings):
    config = settings()
    rate_share(config, (1, 1))
    (job,) = jobs_in(shards_of(config.store_path))
    manifest = job.folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace(job.rater, "b2-" + "0" * 32))
    with Store(config.store_path) as store, pytest.raises(UsageError, match="was rated by another rater"):
        merge(store)


def test_examples_a_store_does_not_hold_are_counted(settings, tmp_path):
    config = settings()
    rate_share(config, (1, 1))
    with Store(tmp_path / "empty.duckdb") as store:
        found = merge(store, shards_of(config.store_path))
    assert (found.new, found.known, found.unknown) == (0, 0, 200)


def test_a_folder_without_shards_is_named(tmp_path):
    with Store(tmp_path / "s.duckdb") as store, pytest.raises(UsageError, match="holds no shards"):
        merge(store)


def test_an_endpoint_is_no_rater_for_ray(run_config):
    with pytest.raises(UsageError, match="engine ray runs raters that compute for themselves"):
        run_config(judge="fake:planted", engine="ray")


class Here:
    """A cluster that is this process; dies after so many shards."""

    actors = 2

    def __init__(self, shards=1000):
        self.left, self.closed = shards, False

    def rate_shards(self, job, shards, *, progress, tick):
        for shard in shards:
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            count = rate_shards(open_job(job.folder), [shard])
            tick()
            progress(shard, count)

    def close(self):
        self.closed = True


def test_a_run_on_a_cluster_is_a_run_in_this_process(run_config, tmp_path, monkeypatch):
    calm = run(run_config(store=str(tmp_path / "calm.duckdb"), out=str(tmp_path / "calm.jsonl")))
    clusters = [Here(shards=3), Here(shards=9), Here()]
    opened = iter(clusters)
    monkeypatch.setattr("rulesel.pipeline.chain.Cluster", lambda **_: next(opened))
    config = run_config(engine="ray", actors=2)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(config)
    found = run(config)
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "calm.jsonl").read_bytes()
    assert found.receipt["selection"]["id"] == calm.receipt["selection"]["id"]
    assert ratings_of(tmp_path / "store.duckdb") == ratings_of(tmp_path / "calm.duckdb")
    assert all(cluster.closed for cluster in clusters)
    assert 1000 - clusters[2].left == 7 + 7 - 12, "each shard was rated once"
    assert list((shards_of(tmp_path / "store.duckdb") / "ray").iterdir()) == []


def test_kills_of_workers_at_random_moments_lose_no_cell(settings, corpus, rules, monkeypatch):
    monkeypatch.setattr("rulesel.pipeline.sharding.SHARD", SHARD)
    monkeypatch.setattr(Signals, "chunk", 256)
    rng = np.random.default_rng(2)
    text = corpus.read_text()
    corpus.write_text("".join(text.replace("Question", f"Question {i},") for i in range(20)))
    config = settings()
    command = [sys.executable, "-m", "rulesel", "score", str(corpus), "--rules", str(rules), "-r", "3"]
    command += ["--sample", "200", "--store", str(config.store_path)]
    for i in range(4):
        share = ["--shard", f"{i % 2 + 1}/2"]
        process = subprocess.Popen([*command, *share], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.3, 1.6))
        process.send_signal([signal.SIGKILL, signal.SIGTERM][i % 2])
        assert process.wait(timeout=30) in {-9, 130, 0, -15}
    for i in (1, 2):
        assert rate_share(config, (i, 2)).missing == 0 or i == 1
    with Store(config.store_path) as store:
        found = merge(store)
    assert (found.shards, found.new) == (found.of, 3 * 7800)
    score(config)
    whole = settings("whole")
    score(whole)
    assert ratings_of(config.store_path) == ratings_of(whole.store_path)
