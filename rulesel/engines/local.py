"""Shards rated one after the other in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from rulesel.engines import Job
from rulesel.engines.parts import write_part
from rulesel.errors import UsageError
from rulesel.llm.base import ChatModel
from rulesel.raters import Lent, Rater
from rulesel.records import Batch, Ratings

Progress = Callable[[int, Ratings], None]
"""Told of every batch: the shard and its ratings."""


def rate_shards(
    job: Job, shards: Iterable[int], *, rater: Rater | None = None, progress: Progress | None = None
) -> int:
    """Rate shards and write their parts; one that somebody else has finished in the meantime is passed over.

    Args:
        job: the job.
        shards: numbers of shards.
        rater: the rater if it is open already; it stays open.
        progress: called after every batch.

    Returns:
        How many examples were rated.

    Raises:
        UsageError: the rater is not the one the job was made with.
    """
    todo = [shard for shard in shards if not job.ratings_path(shard).exists()]
    if not todo:
        return 0
    mine = rater is None
    rater = rater or job.open_rater()
    job.check(rater)
    try:
        return sum(rate_shard(job, s, rater, progress) for s in todo)
    finally:
        if mine:
            rater.close()


def rate_shard(job: Job, shard: int, rater: Rater, progress: Progress | None = None) -> int:
    """Rate one shard and put its part in place; returns how many examples were rated, 0 if the part was there."""
    if job.ratings_path(shard).exists():
        return 0
    rules = [rule.id for rule in job.rules]
    rated = _rated(job, shard, rater, progress)
    return write_part(job.ratings_path(shard), job.rater, rules, rated, rater.provenance())


def _rated(job: Job, shard: int, rater: Rater, progress: Progress | None) -> Iterator[tuple[list[str], Ratings]]:
    waiting: list[list[str]] = []

    def feed() -> Iterator[Batch]:
        for batch in job.batches(shard, rater.chunk):
            waiting.append(batch.hashes)
            yield batch

    for ratings in rater.rate(feed(), job.rules, Lent(job.secret, no_chat)):
        yield waiting.pop(0), ratings
        if progress is not None:
            progress(shard, ratings)


def no_chat(name: str) -> ChatModel:
    """What a worker has in place of chat models; raises UsageError."""
    raise UsageError(
        f"{name}: shards are for raters that run on the worker itself; an endpoint needs the store's ledger."
    )
