"""One worker's share of a corpus, on this machine or another: `score --shard i/n`, then `merge`."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rulesel.config import ScoreConfig
from rulesel.digest import PREFIX, digest
from rulesel.engines import Job, open_job
from rulesel.engines.local import rate_shards
from rulesel.errors import UsageError
from rulesel.pipeline.outputs import replacing
from rulesel.pipeline.rating import Tally
from rulesel.pipeline.reading import open_source
from rulesel.pipeline.sampling import sampled
from rulesel.pipeline.sharding import make_jobs, shards_of
from rulesel.pipeline.watch import Progress, Watcher
from rulesel.raters import Rater
from rulesel.raters.chat import Chat
from rulesel.records import Ratings

WAIT = 1.0
"""Seconds between two looks at whether another worker has chosen the rules."""


@dataclass(frozen=True, slots=True)
class Share:
    """A worker's share of the shards.

    Attributes:
        rated: examples rated now.
        shards: how many fall to this worker; all of them are done.
        missing: shards of all workers that are not done.
        of: shards of all workers.
        store: where they are merged.
    """

    rated: int
    shards: int
    missing: int
    of: int
    store: Path

    @property
    def last_line(self) -> str:
        """How far this worker is, and all of them together."""
        left = f"{self.missing:,} of {self.of:,} still missing" if self.missing else f"all {self.of:,} are done"
        return f"{self.rated:,} examples rated; this worker's {self.shards:,} shards are done, {left}"


def rate_share(config: ScoreConfig, share: tuple[int, int], watcher: Watcher | None = None) -> Share:
    """Rate a worker's share of the corpus and leave its parts beside the store.

    Whoever comes first reads the corpus, rates the sample, chooses the rules and writes the shards; the others wait for
    that and never open the store. Its folder must be one that all workers see.

    Args:
        config: the same for all workers.
        share: (i, n), worker i of n, counted from 1.
        watcher: told of progress.

    Raises:
        UsageError: the judge is asked over the network, or the corpus is standard input or cannot be read.
        RuleselError: as `score` does.
    """
    watcher = watcher or Watcher()
    rater = config.rater
    if isinstance(rater, Chat):
        raise UsageError(
            f"--shard is for raters that compute for themselves (vllm:…, signals). {config.judge} is asked over the "
            "network, which one process does: leave --shard out and raise --concurrency."
        )
    if config.corpus.path == "-":
        raise UsageError("--shard needs a corpus that every worker can read, not standard input.")
    if not config.store_path.parent.is_dir():
        raise UsageError(f"There is no folder {config.store_path.parent} for the store and its shards.")
    open_source(config.corpus, watcher)
    note = shards_of(config.store_path) / f"{_command(config, rater)}.json"
    with _alone(note, watcher):
        if not note.exists():
            rater = _prepare(config, note, share[1], watcher)
    try:
        jobs = [open_job(note.parent / name) for name in json.loads(note.read_text(encoding="utf-8"))]
        if jobs and rater.id != jobs[0].rater:  # the start of the answers is the one that was chosen with the rules
            rater = rater.starting(str(jobs[0].parameters.get("start") or ""))
        return _rate(config, jobs, rater, share, watcher)
    finally:
        rater.close()


def _prepare(config: ScoreConfig, note: Path, workers: int, watcher: Watcher) -> Rater:
    """Everything before the corpus is rated: the sample, the rules, the shards; returns the rater, perhaps open."""
    with sampled(config, open_source(config.corpus, watcher), watcher) as (store, chain, found):
        choice = chain.choose(found.rule_set, found.sample, chain.evidence(found.rule_set, found.sample))
        rules, contents = chain.to_read(found.rule_set, choice)
        if rules:
            chain.begin("corpus", rules[0], contents)
        rater = chain.keep_rater()
        jobs = make_jobs(store, rater, config.judge, rules, contents, root=note.parent, workers=workers)
        with replacing(note) as file:
            file.write(json.dumps([job.id for job in jobs]).encode())
        return rater


def _rate(config: ScoreConfig, jobs: list[Job], rater: Rater, share: tuple[int, int], watcher: Watcher) -> Share:
    left = [(job, job.missing(share)) for job in jobs]
    total = sum(job.examples_in(shard) * len(job.rules) for job, shards in left for shard in shards)
    tally, done = Tally(config.max_failed, "corpus", {}, total), 0

    def tell(_shard: int, ratings: Ratings) -> None:
        nonlocal done
        done += ratings.values.size
        tally.add(ratings.status)
        watcher.progress(Progress("rate corpus", done, total, "ratings", tally.by_kind()))
        tally.alarm()
        watcher.check()

    rated = sum(rate_shards(job, shards, rater=rater, progress=tell) for job, shards in left)
    return Share(
        rated,
        sum(len(job.shards_of(share)) for job in jobs),
        sum(len(job.missing()) for job in jobs),
        sum(job.shards for job in jobs),
        config.store_path,
    )


@contextmanager
def _alone(note: Path, watcher: Watcher) -> Iterator[None]:
    """Whoever is inside prepares; the others wait until there is a note of what is to be rated."""
    note.parent.mkdir(parents=True, exist_ok=True)
    with note.with_suffix(".lock").open("w") as lock:
        waiting = False
        while not note.exists():
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waiting:
                    watcher.say("another worker is choosing the rules; waiting for it")
                waiting = True
                watcher.check()
                time.sleep(WAIT)
        yield


def _command(config: ScoreConfig, rater: Rater) -> str:
    """Names what is asked for: the settings, the rater, and the corpus by its files' names, sizes and times."""
    path = Path(config.corpus.path)
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    states = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files if file.is_file()]
    return digest(["shares/1", rater.id, config.identity(digest(states))]).removeprefix(PREFIX)
