"""From the store to a selection, the same way every time; nothing here rates or spends."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

import numpy as np
import numpy.typing as npt

from rulesel.algorithms.keyed import uniform
from rulesel.config import PickConfig, ScoreConfig
from rulesel.corpus import SourceInfo, Stored, write_selection
from rulesel.corpus.convert import Shape
from rulesel.corpus.raw import Format
from rulesel.digest import digest
from rulesel.errors import RuleselError, UsageError
from rulesel.llm.names import IN_PROCESS
from rulesel.records import Float32, Float64, Int64, RuleSet, UInt8
from rulesel.rules.choice import RuleChoice
from rulesel.rules.choose import choose_rules
from rulesel.rules.worth import retest_reliability
from rulesel.store import CorpusRecord, Rows, Store

PERMUTED = (
    "was computed by an earlier version of rulesel, which took the ratings of rules from the wrong columns where all "
    "the rules offered were kept: give the command that made it again, no rating is asked for twice."
)


@dataclass(frozen=True, slots=True)
class Rated:
    """The sample's ratings, a row an example and a column a rule of the set.

    Attributes:
        contents: int64 (n,).
        numbers: the rules' numbers in the store, (R,).
        values: float32 (n, R), NaN where failed or unrated.
        status: uint8 (n, R).
        measured: for each rule whether an expression stands in for the judge; empty if none does.
    """

    contents: Int64
    numbers: list[int]
    values: Float32
    status: UInt8
    measured: tuple[bool, ...] = ()


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
        weights: of the chosen rules, float64 (r,).
        turned: the scores are a column in which lower is better, its sign turned.
    """

    rows: Rows
    pool: Int64
    numbers: list[int]
    values: Float32
    status: UInt8
    scores: Float64
    weights: Float64
    turned: bool = False


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


def rated(store: Store, rule_set: RuleSet, contents: Int64, rater: int, measured: int | None = None) -> Rated:
    """The sample's ratings as the store holds them.

    Args:
        store: where they are.
        rule_set: the rules.
        contents: the examples.
        rater: who rates.
        measured: who rates the rules that have an expression, if that is somebody else.
    """
    numbers = store.rules.numbers(rule_set.rules)
    apart = () if measured is None else tuple(rule.sql is not None for rule in rule_set.rules)
    return Rated(contents, numbers, *_matrix(store, contents, numbers, rater, measured, apart), apart)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of the rules' worth beside the ratings themselves.

    Attributes:
        anchor: float64 (n,), how good each sampled example is by a source of its own, NaN where unknown; or None.
        reliability: float64 (R,), agreement of each rule with its re-rating, NaN where unknown; or None.
        source: identity of the column that the anchor is, even where it says too little to be used.
        retest: positions in the sample (m,) and the second ratings of these examples (m, R); None without any.
    """

    anchor: Float64 | None = None
    reliability: Float64 | None = None
    source: str | None = None
    retest: tuple[Int64, Float32] | None = None


def evidence_of(
    store: Store,
    config: ScoreConfig,
    rule_set: RuleSet,
    corpus: CorpusRecord,
    sample: Rated,
    retest: int | None,
    *,
    rater: str,
) -> Evidence:
    """Anchor and reliability as the store holds them.

    Args:
        store: where they are.
        config: the run's settings.
        rule_set: the rules.
        corpus: what was read.
        sample: its ratings.
        retest: number of the rater that rated a part again, None without one.
        rater: identity of the sample's rater; a model in this process goes by it, so that no weights are needed.
    """
    anchor = reliability = source = second = None
    if (judge := config.anchor_judge) is not None:
        local = judge.model.startswith(IN_PROCESS)
        judge = judge.by(rater, "") if local else judge
        anchor, source = store.columns.read_identity(judge.column, judge.id, sample.contents), judge.id
        if local and np.isnan(anchor).all():  # it graded nothing
            anchor = source = None
    elif config.rules.anchor not in (None, "overall"):
        anchor, source = anchor_of(store, str(config.rules.anchor), sample.contents)
    anchor = _telling(anchor)
    if retest is not None:
        part = sample_of(store.corpora.rows(corpus.corpus), config.rules.retest, config.seed)
        second = np.searchsorted(sample.contents, part), rated(store, rule_set, part, retest).values
        found = retest_reliability(sample.values[second[0]], second[1])[0]
        reliability = np.where(np.isnan(found), np.nan, np.clip(found, 0.01, 1.0))
        reliability[np.flatnonzero(sample.measured)] = 1.0
    return Evidence(anchor, reliability, source, second)


def anchor_of(store: Store, column: str, contents: Int64) -> tuple[Float64 | None, str]:
    """A column as an anchor, higher is better, None where it says nothing of these contents; and its identity.

    Raises:
        UnknownName: there is no such column.
    """
    values, direction = store.columns.read(column, contents)
    return _telling(values if direction == "higher" else -values), store.columns.made_from(column)[0]


def _telling(anchor: Float64 | None) -> Float64 | None:
    """None for an anchor that says the same of all it knows."""
    return None if anchor is None or np.unique(anchor[~np.isnan(anchor)]).size < 2 else anchor


def choice_of(config: ScoreConfig, rule_set: RuleSet, sample: Rated, evidence: Evidence) -> RuleChoice:
    """The rules kept.

    Raises:
        RuleselError: no choice can be made from these ratings.
    """
    wanted = config.rules
    kernel = wanted.kernel
    if kernel is None and wanted.method != "paper" and config.sample_rater.exact and evidence.anchor is None:
        kernel = "correlation"
    names = [rule.name for rule in rule_set.rules]

    def chosen(r: int | Literal["auto"]) -> RuleChoice:
        return choose_rules(
            sample.values,
            r,
            method=wanted.method,
            kernel=kernel,
            anchor=evidence.anchor,
            reliability=evidence.reliability,
            weights=wanted.weights,
            required=wanted.required,
            forbidden=wanted.forbidden,
            seed=config.seed,
            names=names,
        )

    try:
        return chosen(wanted.keep)
    except ValueError as error:
        usable = len(names) - len(_dropped(chosen))
        if wanted.keep == "auto" or not 0 < usable < wanted.keep:
            raise RuleselError(f"No rules could be chosen: {error}") from error
    choice = chosen(usable)
    return replace(choice, warnings=[f"asked for {wanted.keep} rules, but only {usable} can be used", *choice.warnings])


def _dropped(chosen: Callable[[int], RuleChoice]) -> list[tuple[int, str]]:
    try:
        return chosen(1).dropped
    except ValueError as error:
        raise RuleselError(f"No rules could be chosen: {error}") from error


def scored(
    store: Store,
    config: ScoreConfig,
    corpus: CorpusRecord,
    sample: Rated,
    choice: RuleChoice,
    rater: int,
    measured: int | None = None,
) -> Scored:
    """Scores of the pool under the chosen rules; `rater` and `measured` as for `rated`."""
    rows = store.corpora.rows(corpus.corpus)
    pool = pool_of(rows, config.duplicates)
    numbers = [sample.numbers[j] for j in choice.indices]
    apart = [sample.measured[j] for j in choice.indices] if sample.measured else []
    values, status = _matrix(store, rows.content[pool], numbers, rater, measured, apart)
    scores = choice.score_chosen(values, coverage=config.coverage)
    return Scored(rows, pool, numbers, values, status, scores, choice.weights)


def _matrix(
    store: Store, contents: Int64, numbers: list[int], rater: int, measured: int | None, apart: Sequence[bool]
) -> tuple[Float32, UInt8]:
    """Ratings by one rater, those of the rules set apart by the other."""
    if measured is None or not any(apart):
        return store.ratings.matrix(contents, numbers, rater)
    values = np.empty((len(contents), len(numbers)), dtype=np.float32)
    status = np.empty(values.shape, dtype=np.uint8)
    for who, columns in ((rater, np.flatnonzero(~np.array(apart))), (measured, np.flatnonzero(apart))):
        if len(columns):
            found = store.ratings.matrix(contents, [numbers[j] for j in columns.tolist()], who)
            values[:, columns], status[:, columns] = found
    return values, status


def permuted_column(store: Store, name: str) -> bool:
    """Whether a column holds scores of an earlier version on all rules of a set, in another order than the set's."""
    if name != "score" or name not in store.columns.names():
        return False
    made = store.columns.made_from(name)[1]
    if "rule_set" in made or "rules" not in made:
        return False
    return any(
        list(names) != made["rules"] and sorted(names) == sorted(made["rules"])
        for (names,) in store.db.rows("SELECT list(name ORDER BY position) FROM rule_sets GROUP BY id")
    )


def refuse_permuted(store: Store, name: str) -> None:
    """Refuse such a column.

    Raises:
        UsageError: it is one.
    """
    if permuted_column(store, name):
        raise UsageError(f"The column {name!r} {PERMUTED}")


def from_column(store: Store, config: PickConfig, corpus: CorpusRecord) -> Scored:
    """The pool with a column of the store as its score, turned so that higher is better.

    A method that does not look at quality does without the column.

    Raises:
        UnknownName: there is no such column.
    """
    rows = store.corpora.rows(corpus.corpus)
    pool = pool_of(rows, config.duplicates)
    if config.select.quality not in store.columns.names() and not config.select.needs_quality:
        values, direction = np.full(len(pool), np.nan), "higher"
    else:
        values, direction = store.columns.read(config.select.quality, rows.content[pool])
    none, unweighed = np.empty((len(pool), 0)), np.empty(0)
    lower = direction != "higher"
    scores = -values if lower else values
    return Scored(rows, pool, [], none.astype(np.float32), none.astype(np.uint8), scores, unweighed, turned=lower)


def score_identity(
    store: Store,
    config: ScoreConfig,
    rule_set: RuleSet,
    raters: Mapping[str, str],
    sample: Rated,
    evidence: Evidence,
    found: Scored,
) -> str:
    """Content address of all that the scores are made from, and of which ratings there were; no number is in it.

    Args:
        store: where the examples are.
        config: the run's settings.
        rule_set: the rules offered.
        raters: identity of each rater by the stage it works in.
        sample: the ratings the rules were chosen on.
        evidence: what else was known.
        found: the pool with its scores.
    """
    choosing = {"keep", "method", "kernel", "weights", "required", "forbidden", "retest"}
    _, first = np.unique(found.rows.content[found.pool], return_index=True)
    first = first[np.argsort(found.rows.hash_key[found.pool][first], kind="stable")]
    return digest(
        [
            "score/2",
            rule_set.id,
            [rule.name for rule in rule_set.rules],
            digest_of_ids(store.corpora.hashes(sample.contents)),
            config.rules.model_dump(mode="json", include=choosing) | {"seed": config.seed},
            evidence.source,
            dict(raters),
            config.coverage,
            sha256_of_arrays(
                ~np.isnan(sample.values),
                None if evidence.anchor is None else ~np.isnan(evidence.anchor),
                None if evidence.retest is None else ~np.isnan(evidence.retest[1]),
                found.rows.hash_key[found.pool][first],
                ~np.isnan(found.values[first]),
            ),
        ]
    )


def digest_of_ids(ids: Sequence[str]) -> str:
    """SHA-256 over the ids in order, a line each."""
    return hashlib.sha256("".join(f"{one}\n" for one in ids).encode()).hexdigest()


def sha256_of_arrays(*arrays: npt.NDArray[np.generic] | None) -> str:
    """SHA-256 over the shapes and bytes of arrays."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(repr(None if array is None else array.shape).encode())
        found.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def source_of(corpus: CorpusRecord) -> SourceInfo:
    """What the writer needs to know of the corpus the records came from."""
    path, source_format = Path(corpus.path), cast(Format, corpus.format)
    return SourceInfo(source_format, corpus.header, path, corpus.shape, corpus.sha256, corpus.mapping)


def write_records(out: Path, store: Store, as_: Shape | None, corpus: CorpusRecord, rows: Int64) -> str:
    """Write the records of some rows, in that order; returns the SHA-256 of the file."""
    source = source_of(corpus)
    if as_ is not None:
        records = store.corpora.records(corpus.corpus, rows)
        pairs = store.corpora.pairs(corpus.corpus, rows)
        examples = (Stored(*pair, record) for pair, record in zip(pairs, records, strict=True))
        return write_selection(out, source, examples, as_=as_)
    if source.format in {"parquet", "dataset"}:
        return write_selection(out, source, rows.tolist())
    return write_selection(out, source, store.corpora.records(corpus.corpus, rows))
