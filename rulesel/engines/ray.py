"""Shards rated by Ray actors, one engine each, on whatever machines the cluster has.

Ray's core is enough: an actor loads the model once and takes shards until none is left; one that dies is started again
and its shard given out once more. What is done is what parts exist, so Ray keeps nothing that a resumed run would need.
The job's folder must be on a file system that all machines see.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rulesel.engines import Job, open_job
from rulesel.engines.local import rate_shard
from rulesel.errors import ModelError
from rulesel.extras import need

log = logging.getLogger(__name__)

RETRIES = 3
"""Times an actor is started again, and times a shard is given out again."""


def rate_shards(
    job: Job,
    shards: Iterable[int],
    *,
    actors: int = 1,
    cpus: float = 1,
    gpus: float = 0,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Rate shards on a Ray cluster: the one named by RAY_ADDRESS, else one started on this machine for the time.

    Args:
        job: the job.
        shards: numbers of shards; those with a part are passed over.
        actors: engines at a time.
        cpus: what Ray counts against each actor.
        gpus: likewise; the model's tensor parallelism.
        progress: told of every finished shard and how many examples it holds.

    Returns:
        How many examples were rated.

    Raises:
        MissingExtra: Ray is not installed.
        ModelError: a shard failed `RETRIES` times over.
    """
    ray = need("ray", extra="ray", feature="--engine ray")
    todo = [shard for shard in shards if not job.ratings_path(shard).exists()]
    if not todo:
        return 0
    mine = not ray.is_initialized()
    if mine:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
    try:
        return _drive(ray, job, todo, min(actors, len(todo)), cpus, gpus, progress)
    except ray.exceptions.RayError as error:
        raise ModelError(f"Ray: {_cause(error)}") from error
    finally:
        if mine:
            ray.shutdown()


def _drive(
    ray: Any,  # noqa: ANN401 - optional package
    job: Job,
    todo: list[int],
    actors: int,
    cpus: float,
    gpus: float,
    progress: Callable[[int, int], None] | None,
) -> int:
    options = {"num_cpus": cpus, "num_gpus": gpus, "max_restarts": RETRIES, "max_task_retries": RETRIES}
    remote = ray.remote(**options)(Worker)
    idle = [remote.remote(job.folder.absolute()) for _ in range(actors)]
    waiting, total = list(reversed(todo)), 0
    busy: dict[Any, tuple[Any, int]] = {}
    while waiting or busy:
        while waiting and idle:
            actor, shard = idle.pop(), waiting.pop()
            busy[actor.rate.remote(shard)] = (actor, shard)
        done, _ = ray.wait(list(busy))
        actor, shard = busy.pop(done[0])
        count = ray.get(done[0])
        idle.append(actor)
        total += count
        if progress is not None:
            progress(shard, count)
    return total


class Worker:
    """One engine on one machine."""

    def __init__(self, folder: Path) -> None:
        """Open the rater; runs where the actor runs."""
        self._job = open_job(folder)
        self._rater = self._job.open_rater()

    def rate(self, shard: int) -> int:
        """Rate a shard unless it has been; returns how many examples were rated."""
        return rate_shard(self._job, shard, self._rater)


def _cause(error: Exception) -> str:
    cause = getattr(error, "cause", None) or error
    return str(cause).strip().splitlines()[-1] if str(cause).strip() else repr(cause)
