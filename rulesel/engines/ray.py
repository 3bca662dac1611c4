"""Shards rated by Ray actors, one engine each, on whatever machines the cluster has.

Ray's core is enough: an actor loads the model once and takes shards until none is left; one that dies is started again
and its shard given out once more. What is done is what parts exist, so Ray keeps nothing that a resumed run would need.
The job's folder and the model must be on file systems that all machines see.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from rulesel.engines import Job, open_job
from rulesel.engines.local import no_chat, rate_shard
from rulesel.errors import ModelError
from rulesel.extras import need
from rulesel.llm.redact import keys_kept_back
from rulesel.llm.starts import Tried
from rulesel.raters import Lent, Rater, rater_for
from rulesel.records import Batch, Rule

log = logging.getLogger(__name__)

RETRIES = 3
"""Times an actor is started again, and times a shard is given out again."""
TICK = 1.0
"""Seconds between two looks at whether to stop."""


class Cluster:
    """The cluster named by RAY_ADDRESS, else one started on this machine for the time."""

    def __init__(self, *, actors: int | None = None, gpus: int = 0) -> None:
        """Connect.

        Args:
            actors: engines at a time; None is one for every `gpus` GPUs of the cluster, or one a machine.
            gpus: of each engine; not asked for on a cluster without any.

        Raises:
            MissingExtra: Ray is not installed.
        """
        self._ray: Any = need("ray", extra="ray", feature="--engine ray")
        self._mine = not self._ray.is_initialized()
        if self._mine:
            _start(self._ray)
        there = int(self._ray.cluster_resources().get("GPU", 0))
        self._gpus = gpus if there else 0
        machines = sum(node["Alive"] for node in self._ray.nodes())
        self.actors = actors or max(1, there // self._gpus if self._gpus else machines)
        self._workers: list[Any] = []
        self._rater: tuple[str, dict[str, Any]] | None = None

    def rate_shards(
        self,
        job: Job,
        shards: Iterable[int],
        *,
        progress: Callable[[int, int], None] | None = None,
        tick: Callable[[], None] | None = None,
    ) -> int:
        """Rate shards; engines stay open for the next job of the same rater.

        Args:
            job: the job.
            shards: numbers of shards; those with a part are passed over.
            progress: told of every finished shard and how many examples it holds.
            tick: called now and then; what it raises ends the rating.

        Returns:
            How many examples were rated.

        Raises:
            ModelError: a shard failed, or its actor died `RETRIES` times over.
        """
        waiting = [shard for shard in shards if not job.ratings_path(shard).exists()][::-1]
        if not waiting:
            return 0
        try:
            return self._drive(job, waiting, progress or _nothing, tick or _nothing)
        except self._ray.exceptions.RayError as error:
            raise ModelError(f"Ray: {_cause(error)}") from error

    def try_starts(self, judge: str, rater: Rater, batch: Batch, rule: Rule, secret: bytes) -> list[Tried]:
        """What each start of the answer does, tried by one actor, which then rates.

        Raises:
            ModelError: the model cannot be loaded there.
        """
        try:
            (worker, *_) = self._hire(judge, rater.model_dump(mode="json"), 1)
            found: list[Tried] = self._ray.get(worker.try_starts.remote(batch, rule, secret))
        except self._ray.exceptions.RayError as error:
            raise ModelError(f"Ray: {_cause(error)}") from error
        return found

    def close(self) -> None:
        """Stop the actors, and the cluster if it was started here; harmless when called twice."""
        self._stop()
        if self._mine and self._ray.is_initialized():
            self._ray.shutdown()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _drive(
        self, job: Job, waiting: list[int], progress: Callable[[int, int], None], tick: Callable[[], None]
    ) -> int:
        idle = self._hire(job.judge, job.parameters, len(waiting))
        folder, total = job.folder.absolute(), 0
        busy: dict[Any, tuple[Any, int]] = {}
        while waiting or busy:
            while waiting and idle:
                actor, shard = idle.pop(), waiting.pop()
                busy[actor.rate.remote(folder, shard)] = (actor, shard)
            done, _ = self._ray.wait(list(busy), timeout=TICK)
            tick()
            for one in done:
                actor, shard = busy.pop(one)
                count = self._ray.get(one)
                idle.append(actor)
                total += count
                progress(shard, count)
        return total

    def _hire(self, judge: str, parameters: dict[str, Any], shards: int) -> list[Any]:
        """Actors with the rater open, whatever its answers start with: those that are there, and as many new ones as needed."""
        rater = judge, {name: value for name, value in parameters.items() if name != "start"}
        if self._rater != rater:
            self._stop()
            self._rater = rater
        options = {"num_cpus": 1, "num_gpus": self._gpus, "max_restarts": RETRIES, "max_task_retries": RETRIES}
        remote = self._ray.remote(**options)(Worker)
        while len(self._workers) < min(self.actors, shards):
            self._workers.append(remote.remote(judge, parameters, Path.cwd()))
        return list(self._workers)

    def _stop(self) -> None:
        workers, self._workers = self._workers, []
        for worker in workers:
            self._ray.kill(worker)


class Worker:
    """One engine on one machine."""

    def __init__(self, judge: str, parameters: dict[str, Any], folder: Path) -> None:
        """Name the rater; runs where the actor runs, in the same working folder where there is one."""
        if folder.is_dir():
            os.chdir(folder)
        self._rater = rater_for(judge, **parameters)

    def try_starts(self, batch: Batch, rule: Rule, secret: bytes) -> list[Tried]:
        """What each start of the answer does to the answers about a few examples."""
        return self._rater.try_starts(batch, rule, Lent(secret, no_chat))

    def rate(self, folder: Path, shard: int) -> int:
        """Rate a shard unless it has been; returns how many examples were rated."""
        job = open_job(folder)
        if self._rater.id != job.rater:
            self._rater = self._rater.starting(str(job.parameters.get("start") or ""))
        job.check(self._rater)
        return rate_shard(job, shard, self._rater)


def _start(ray: Any) -> None:  # noqa: ANN401 - optional package
    """Start Ray on this machine, or connect, without letting it replace what SIGTERM does here."""
    handler = signal.getsignal(signal.SIGTERM)
    with keys_kept_back():
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _nothing(*_: object) -> None:
    """Tell nobody."""


def _cause(error: Exception) -> str:
    cause = getattr(error, "cause", None) or error
    return str(cause).strip().splitlines()[-1] if str(cause).strip() else repr(cause)
