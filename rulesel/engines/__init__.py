"""Rating in shards: a folder that any number of processes fill, on one machine or on many.

    <root>/<identity>/manifest.json               who rates, under which rules; the secret of the documents' fences
    <root>/<identity>/examples/part-00000.parquet what is to be rated: hash, prompt, response
    <root>/<identity>/ratings/part-00000.parquet  what came of it, one row a cell; there whole or not at all

The identity is a content address of rater, rules and examples. A worker writes a part under another name and renames it,
so that a part that exists is done: resuming is looking at what is there, and a shard rated twice is harmless. No worker
opens the store; its owner merges the parts.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rulesel.digest import digest
from rulesel.errors import UsageError
from rulesel.raters import Rater, rater_for
from rulesel.records import Batch, Rule

LAYOUT = 1
SHARD = 2000
"""Examples a shard: what a crash loses at most."""

_EXAMPLES = pa.schema([("hash", pa.string()), ("prompt", pa.string()), ("response", pa.string())])


@dataclass(frozen=True)
class Job:
    """A folder of shards.

    Attributes:
        folder: named by the identity.
        judge: the rater's name, as on the command line.
        parameters: the rater's.
        rater: its identity; a worker with other weights is refused.
        rules: what is rated, in order.
        secret: the store's.
        shards: how many there are.
        examples: how many in all of them.
    """

    folder: Path
    judge: str
    parameters: dict[str, Any]
    rater: str
    rules: tuple[Rule, ...]
    secret: bytes
    shards: int
    examples: int

    @cached_property
    def id(self) -> str:
        """The folder's name."""
        return self.folder.name

    def examples_path(self, shard: int) -> Path:
        """Where a shard's examples are."""
        return self.folder / "examples" / f"part-{shard:05d}.parquet"

    def ratings_path(self, shard: int) -> Path:
        """Where a shard's ratings are, once they are there."""
        return self.folder / "ratings" / f"part-{shard:05d}.parquet"

    def shards_of(self, share: tuple[int, int]) -> range:
        """Shards that fall to worker i of n (counted from 1)."""
        i, n = share
        return range(i - 1, self.shards, n)

    def missing(self, share: tuple[int, int] = (1, 1)) -> list[int]:
        """Shards without ratings, of those that fall to worker i of n."""
        return [s for s in self.shards_of(share) if not self.ratings_path(s).exists()]

    def examples_in(self, shard: int) -> int:
        """How many examples a shard holds."""
        return int(pq.read_metadata(self.examples_path(shard)).num_rows)

    def batches(self, shard: int, size: int) -> Iterator[Batch]:
        """A shard's examples, `size` at a time."""
        with pq.ParquetFile(self.examples_path(shard)) as file:
            for rows in file.iter_batches(batch_size=size):
                yield Batch(*(column.to_pylist() for column in rows.columns))

    def open_rater(self, judge: str | None = None) -> Rater:
        """The rater, as this machine has it.

        Args:
            judge: what names it here, where the model lies in another folder.

        Raises:
            UsageError: its weights, tokenizer or chat template are not the ones the job was made with.
        """
        rater = rater_for(judge or self.judge, **self.parameters)
        self.check(rater)
        return rater

    def check(self, rater: Rater) -> None:
        """Raise UsageError unless the rater is the one the job was made with."""
        if rater.id != self.rater:
            raise UsageError(
                f"{self.judge} is another model here than where the shards were made (weights, tokenizer, chat template, "
                f"parameters or version of rulesel differ): {rater.id} here, {self.rater} in {self.folder}."
            )


def share_of(text: str) -> tuple[int, int]:
    """Read "i/n", worker i of n counted from 1.

    Raises:
        UsageError: it is something else.
    """
    match = re.fullmatch(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,5})", text)
    if not match or int(match[1]) > int(match[2]):
        raise UsageError(f"--shard takes i/n with 1 <= i <= n, such as 3/16, not {text!r}.")
    return int(match[1]), int(match[2])


def make_job(
    root: Path,
    judge: str,
    rater: Rater,
    rules: Sequence[Rule],
    secret: bytes,
    batches: Iterable[Batch],
    *,
    size: int = SHARD,
) -> Job:
    """Write the shards of what is to be rated; a job that is there already is left as it is.

    Args:
        root: folder of jobs, seen by all workers.
        judge: what names the rater on the command line.
        rater: the rater itself.
        rules: the rules.
        secret: the store's.
        batches: the examples, in any order, each once.
        size: examples a shard.
    """
    building = root / f".building-{os.getpid()}"
    shutil.rmtree(building, ignore_errors=True)
    (building / "examples").mkdir(parents=True)
    (building / "ratings").mkdir()
    written = Job(building, judge, rater.model_dump(mode="json"), rater.id, tuple(rules), secret, 0, 0)
    chain, shards, examples = "", 0, 0
    for hashes, table in _regroup(batches, size):
        pq.write_table(table, written.examples_path(shards))
        chain = digest([chain, hashes])
        shards, examples = shards + 1, examples + len(hashes)
    identity = digest([LAYOUT, rater.id, [rule.id for rule in rules], chain, examples])
    manifest = {
        "layout": LAYOUT,
        "judge": judge,
        "parameters": written.parameters,
        "rater": rater.id,
        "rules": [rule.model_dump(mode="json") for rule in rules],
        "secret": secret.hex(),
        "shards": shards,
        "examples": examples,
    }
    (building / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    folder = root / identity
    try:
        building.rename(folder)
    except OSError:  # somebody made the same job before
        if not (folder / "manifest.json").exists():
            raise
        shutil.rmtree(building)
    return open_job(folder)


def open_job(folder: Path) -> Job:
    """Read a job.

    Raises:
        UsageError: the folder holds none, or one of a newer rulesel.
    """
    try:
        found = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"{folder} holds no shards (no manifest.json).") from error
    if found.pop("layout") != LAYOUT:
        raise UsageError(f"{folder} was written by another version of rulesel.")
    rules = tuple(Rule.model_validate(rule) for rule in found.pop("rules"))
    return Job(folder=folder, rules=rules, secret=bytes.fromhex(found.pop("secret")), **found)


def _regroup(batches: Iterable[Batch], size: int) -> Iterator[tuple[list[str], pa.Table]]:
    """Tables of exactly `size` examples, the last one shorter, with their hashes."""
    hashes: list[str] = []
    prompts: list[str | None] = []
    responses: list[str] = []
    for batch in batches:
        hashes += batch.hashes
        prompts += batch.prompts
        responses += batch.responses
        while len(hashes) >= size:
            yield hashes[:size], pa.table([hashes[:size], prompts[:size], responses[:size]], schema=_EXAMPLES)
            del hashes[:size], prompts[:size], responses[:size]
    if hashes:
        yield hashes, pa.table([hashes, prompts, responses], schema=_EXAMPLES)
