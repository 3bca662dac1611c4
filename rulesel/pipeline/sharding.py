"""Cells that are missing, rated in shards by whoever is there, and their parts taken into the store."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rulesel.corpus.stream import sha256_of
from rulesel.engines import SHARD, Job, make_job, open_job
from rulesel.engines.parts import Part, read_part
from rulesel.engines.ray import Cluster
from rulesel.errors import UsageError
from rulesel.pipeline.constant import Constant
from rulesel.pipeline.rating import READ, Tally, constancy, settled
from rulesel.pipeline.watch import Progress, Watcher
from rulesel.raters import Rater
from rulesel.records import Batch, Int64, Ratings, Rule, Status
from rulesel.store import Cells, Store

ROUNDS = 4
"""Shards an actor gets at least, so that the last to finish keeps nobody waiting for long."""


@dataclass
class Merged:
    """What came of merging.

    Attributes:
        shards: parts that were there.
        of: how many there will be.
        new: cells the store did not have.
        known: cells it had.
        forgotten: failures that were taken in before and are not there any more: they stay out.
        unknown: examples it does not hold; their cells are left out.
    """

    shards: int = 0
    of: int = 0
    new: int = 0
    known: int = 0
    forgotten: int = 0
    unknown: int = 0


def shards_of(store: Path) -> Path:
    """The folder of a store's jobs."""
    return store.with_name(store.name + ".shards")


def jobs_in(folder: Path) -> list[Job]:
    """The job of that folder, or those inside it.

    Raises:
        UsageError: there is none.
    """
    if (folder / "manifest.json").exists():
        return [open_job(folder)]
    if not (found := _jobs(folder)):
        raise UsageError(
            f"{folder} holds no shards: nothing was missing, or `rulesel score … --shard i/n` has not run."
        )
    return found


def make_jobs(
    store: Store,
    rater: Rater,
    judge: str,
    rules: Sequence[Rule],
    contents: Int64,
    *,
    root: Path,
    workers: int,
    again: Collection[Status] = (),
) -> list[Job]:
    """Write what is missing among contents × rules as shards; as a rule one job, more where rules came later.

    Args:
        store: whose cells.
        rater: who will rate.
        judge: what names the rater.
        rules: columns.
        contents: rows, in any order.
        root: folder the jobs go to.
        workers: how many will share the work; shards are small enough for each to have `ROUNDS`.
        again: cells that failed in one of these ways count as missing, too.
    """
    numbers = store.rules.numbers(rules)
    by_number = dict(zip(numbers, rules, strict=True))
    number = store.rules.rater(rater.id, judge, rater.model_dump(mode="json"), rater.provenance())
    for left in root.glob(".building-*"):  # of a process that was killed: one at a time gets here
        shutil.rmtree(left)
    jobs = []
    for cells in store.ratings.missing(contents, numbers, number, again=again) if numbers else []:
        size = min(SHARD, max(rater.chunk, math.ceil(len(cells.contents) / (ROUNDS * workers))))
        wanted = [by_number[rule] for rule in cells.rules]
        jobs.append(make_job(root, judge, rater, wanted, store.secret, _feed(store, cells), size=size))
    return jobs


def merge(store: Store, folder: Path | None = None, watcher: Watcher | None = None) -> Merged:
    """Take the parts that are there into the store; what it holds already is left alone.

    Failures of a part that was taken in before, and that were forgotten since, do not come back.

    Args:
        store: opened for writing.
        folder: of one job or of several; the store's own if not given.
        watcher: told after every part.

    Raises:
        UsageError: there are no shards, or a part does not belong to its job.
    """
    watcher, found = watcher or Watcher(), Merged()
    for job in jobs_in(folder or shards_of(_path(store))):
        found.of += job.shards
        for shard in _there(job):
            found.shards += 1
            merge_part(store, job, shard, found)
            watcher.progress(Progress("merge", found.shards, found.of, "shards"))
            watcher.check()
    return found


def merge_part(
    store: Store, job: Job, shard: int, found: Merged, stage: str = "corpus", again: Collection[Status] | None = None
) -> Part:
    """Take one part into the store and count in `found`; returns the part.

    Args:
        store: opened for writing.
        job: whose part.
        shard: which one.
        found: counts go here.
        stage: when its cells were rated.
        again: of a part rated just now: kinds of failure whose place its ratings take. None for one that lay there: its
            ratings take no other's place, and failures that were taken in before and are gone stay out.

    Raises:
        UsageError: the part does not belong to the job.
    """
    part = read_part(job.ratings_path(shard))
    if part.examples and (part.rater != job.rater or part.rules != [rule.id for rule in job.rules]):
        raise UsageError(
            f"{job.ratings_path(shard)} was rated by another rater or under other rules than its job says."
        )
    rules = store.rules.numbers(job.rules)
    rater = store.rules.rater(job.rater, job.judge, job.parameters, part.provenance)
    contents = _contents(store, part.examples)
    there = contents >= 0
    name, sha256 = f"{job.id} {shard}", sha256_of([job.ratings_path(shard)])
    before = again is None and store.ratings.merged(name) == sha256
    new = forgotten = 0
    for cells in store.ratings.missing(contents[there], rules, rater, again=again or ()):
        order = np.argsort(contents, kind="stable")
        rows = order[np.searchsorted(contents, cells.contents, sorter=order)]
        columns = np.array([rules.index(rule) for rule in cells.rules], dtype=np.int64)
        some = _some(part.ratings, rows, columns)
        if before:
            taken = _add_ratings(store, cells, rater, stage, some)
            forgotten += cells.n - taken
            new += taken
            continue
        store.ratings.add(cells.contents, cells.rules, rater, stage, some, replace=bool(again))
        new += cells.n
    store.ratings.keep_merged(name, sha256)
    found.new += new
    found.forgotten += forgotten
    found.known += int(there.sum()) * len(rules) - new - forgotten
    found.unknown += int((~there).sum())
    return part


def _add_ratings(store: Store, cells: Cells, rater: int, stage: str, ratings: Ratings) -> int:
    """Add those cells of a block that did not fail; returns how many."""
    ok = ratings.status == Status.ok
    for column, rule in enumerate(cells.rules):
        rows = np.flatnonzero(ok[:, column])
        some = _some(ratings, rows, np.array([column], dtype=np.int64))
        store.ratings.add(cells.contents[rows], (rule,), rater, stage, some)
    return int(ok.sum())


def rate_on(
    cluster: Cluster,
    store: Store,
    rater: Rater,
    judge: str,
    rules: Sequence[Rule],
    contents: Int64,
    stage: str,
    *,
    watcher: Watcher,
    max_failed: float,
    again: Collection[Status] = (),
) -> int:
    """Rate what is missing on a Ray cluster, each part merged as it comes; returns the rater's number in the store.

    Parts that an interrupted attempt left are merged first, so that no finished shard is rated again; `again` as for
    `rating.rate`.

    Raises:
        TooManyFailures: early, as when rating in this process.
        Interrupted: the user asked to stop; finished shards are kept.
        ModelError: a shard failed for good.
    """
    root = shards_of(_path(store)) / "ray"
    for left in _jobs(root):
        if left.rater == rater.id:
            for shard in _there(left):
                merge_part(store, left, shard, Merged(), stage)
            shutil.rmtree(left.folder)
    jobs = make_jobs(store, rater, judge, rules, contents, root=root, workers=cluster.actors, again=again)
    number = store.rules.rater_number(rater.id)
    total, missing = len(np.unique(contents)) * len(rules), sum(job.examples * len(job.rules) for job in jobs)
    tally = Tally(max_failed, stage, settled(store, contents, store.rules.numbers(rules), number, again), missing)
    constant = constancy(store, rater, judge, rules, contents, stage)
    take = _taking(store, tally, constant, total - missing, total, stage, watcher, again)
    for job in jobs:
        cluster.rate_shards(job, job.missing(), progress=take(job), tick=watcher.check)
        shutil.rmtree(job.folder)
    return number


def _taking(
    store: Store,
    tally: Tally,
    constant: Constant | None,
    done: int,
    total: int,
    stage: str,
    watcher: Watcher,
    again: Collection[Status],
) -> Callable[[Job], Callable[[int, int], None]]:
    """What is done with each finished shard: merged, counted, reported."""

    def of(job: Job) -> Callable[[int, int], None]:
        def finished(shard: int, _count: int) -> None:
            nonlocal done
            part = merge_part(store, job, shard, Merged(), stage, again)
            done += part.ratings.status.size
            tally.add(part.ratings.status)
            watcher.progress(Progress(f"rate {stage}", done, total, "ratings", tally.by_kind()))
            tally.alarm()
            if constant is not None:
                constant.add(store.rules.numbers(job.rules), part.ratings.values)
                constant.alarm()

        return finished

    watcher.progress(Progress(f"rate {stage}", done, total, "ratings"))
    return of


def _jobs(root: Path) -> list[Job]:
    return [open_job(path.parent) for path in sorted(root.glob("[!.]*/manifest.json"))]


def _there(job: Job) -> list[int]:
    """Shards with a part."""
    return sorted(set(range(job.shards)) - set(job.missing()))


def _feed(store: Store, cells: Cells) -> Iterator[Batch]:
    return (batch for _, batch in store.corpora.batches(cells.contents, READ))


def _contents(store: Store, hashes: Sequence[str]) -> Int64:
    """Content numbers; -1 where the store has no such content."""
    rows = store.db.rows("SELECT hash, content FROM contents WHERE hash IN (SELECT unnest(?))", list(hashes))
    known = dict(rows)
    return np.array([known.get(one, -1) for one in hashes], dtype=np.int64)


def _some(ratings: Ratings, rows: Int64, columns: Int64) -> Ratings:
    """A block of ratings."""
    at = np.ix_(rows, columns)
    row_of, column_of = ({int(one): i for i, one in enumerate(axis)} for axis in (rows, columns))
    return Ratings(
        ratings.values[at],
        ratings.status[at],
        ratings.flags[at],
        None if ratings.mass is None else ratings.mass[at],
        {(row_of[i], column_of[j]): why for (i, j), why in ratings.reasons.items() if i in row_of and j in column_of},
    )


def _path(store: Store) -> Path:
    if store.path is None:
        raise UsageError("A store in memory has no place for shards.")
    return store.path
