"""The figures of a run's report, derived from its receipt and its store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rulesel.config import RunConfig
from rulesel.corpus import field_values
from rulesel.errors import CorpusError, UsageError
from rulesel.pipeline.auditing import audit_run, joined
from rulesel.pipeline.trusting import trust
from rulesel.receipt import (
    Derived,
    Scored,
    config_of,
    corpus_of,
    derived,
    digest_of_ids,
    features_of,
    from_column,
    read_receipt,
    refuse_permuted,
    scores_of,
    selection_of,
    source_of,
    store_path,
)
from rulesel.records import Float64, Int64, Selection, Status
from rulesel.reporting.run import Run
from rulesel.reporting.run_figures import RunFigures, Stage
from rulesel.reporting.run_measure import measure
from rulesel.store import CorpusRecord, Store
from rulesel.store.ratings import UNRATED

SOURCE_FIELDS = ("source", "dataset", "subset", "category")
"""Fields of a record that say where it comes from; the first that any record has is taken."""


def report_file(path: Path, store: Path | None = None) -> RunFigures:
    """The figures of the run that a receipt file tells of.

    Args:
        path: the receipt.
        store: the run's store; the one the receipt names, or one of that name beside it, if not given.

    Raises:
        UsageError: it is no receipt, or the store is not found or is another's.
    """
    receipt = read_receipt(path)
    with Store(store or store_path(receipt, path), read_only=True) as opened:
        return report(receipt, opened)


def report(receipt: dict[str, Any], store: Store, *, flaws: Mapping[int, str | None] | None = None) -> RunFigures:
    """Everything a report knows of a run, or of a selection by a column.

    Args:
        receipt: as read from the file.
        store: opened for reading.
        flaws: row of the corpus -> its known flaw, None for a sound one; for corpora whose truth is known.

    Raises:
        UsageError: the store does not know what the receipt tells of, or gives another selection now.
    """
    corpus = corpus_of(store, receipt)
    config = config_of(receipt)
    chosen = derived(store, receipt) if isinstance(config, RunConfig) else None
    if chosen is None:
        refuse_permuted(store, config.select.quality)
    found = from_column(store, config, corpus) if chosen is None else scores_of(store, chosen)
    selection = selection_of(store, config.select, config.seed, corpus, found, features=features_of(receipt))
    rows = found.rows.row[found.pool]
    ids = store.corpora.ids(corpus.corpus, rows)
    if digest_of_ids([ids[i] for i in selection.indices.tolist()]) != receipt["selection"]["sha256"]:
        raise UsageError("The store gives another selection than the receipt tells of; `rulesel verify` says where.")
    run = Run(
        corpus=corpus.path,
        scores=found.scores,
        selected=selection.indices,
        method=config.select.method,
        seed=config.seed,
        lengths=store.corpora.lengths(found.rows.content[found.pool]).astype(np.float64),
        ids=ids,
        texts=_texts(store, corpus, rows),
        sources=_sources(store, corpus, rows, list(config.select.per)),
        flaws=None if flaws is None else [flaws.get(row) for row in rows.tolist()],
        tied=_tied(selection),
        stages=_stages(store, receipt["run"]),
        **({} if chosen is None else _of_the_rules(store, receipt["run"], chosen, found)),
    )
    return measure(run)


def _of_the_rules(store: Store, run: str, chosen: Derived, found: Scored) -> dict[str, Any]:
    """What only a run with rules has."""
    kinds, counts = np.unique(found.status, return_counts=True)
    none = (Status.ok, Status.not_applicable, UNRATED)
    told = [(kind, n) for kind, n in zip(kinds.tolist(), counts.tolist(), strict=True) if kind not in none]
    return {
        "domain": chosen.config.domain or chosen.rule_set.domain,
        "judge": chosen.config.judge,
        "ratings": found.values,
        "names": [chosen.rule_set.rules[j].name for j in chosen.choice.indices],
        "again": _again(chosen, found),
        "failures": {Status(kind).name: n for kind, n in told},
        "audit": audit_run(store, run, chosen),
        "trust": trust(store, chosen),
    }


def _again(chosen: Derived, found: Scored) -> dict[str, tuple[Float64, Float64]]:
    """Two opinions of the same examples, wherever there are two."""
    config, choice, sample = chosen.config, chosen.choice, chosen.sample
    pairs: dict[str, tuple[Float64, Float64]] = {}
    first = choice.score(sample.values, coverage=config.coverage)
    if chosen.evidence.retest is not None:
        rows, second = chosen.evidence.retest
        pairs["score, asked again in other words"] = first[rows], choice.score(second, coverage=config.coverage)
    if config.sample_judge not in (None, config.judge):
        contents, at = np.unique(found.rows.content[found.pool], return_index=True)
        here = np.isin(sample.contents, contents)
        second_score = found.scores[at[np.searchsorted(contents, sample.contents[here])]]
        pairs[f"score by {config.sample_judge} and by {config.judge}"] = first[here], second_score
    if chosen.evidence.anchor is not None:
        anchor = "the overall grade" if config.anchor_judge is not None else str(config.rules.anchor)
        pairs[f"score and {anchor}, which the choice was given"] = first, chosen.evidence.anchor
    return pairs


def _texts(store: Store, corpus: CorpusRecord, rows: Int64) -> Callable[[Sequence[int]], list[str]]:
    def texts(wanted: Sequence[int]) -> list[str]:
        pairs = store.corpora.pairs(corpus.corpus, rows[np.asarray(wanted, dtype=np.int64)])
        return [joined(*pair) for pair in pairs]

    return texts


def _sources(store: Store, corpus: CorpusRecord, rows: Int64, first: Sequence[str]) -> list[str] | None:
    """Where each row comes from, by the field that the selection was shared out by or a field named for it."""
    records = store.corpora.records(corpus.corpus, rows)
    for field in (*first, *SOURCE_FIELDS):
        try:
            values = field_values(records, source_of(corpus).format, corpus.header, field)
        except CorpusError:  # a CSV header without it
            continue
        if any(values):
            return [value or "not said" for value in values]
    return None


def _tied(selection: Selection) -> int | None:
    ties = selection.report.get("ties_at_cut")
    return None if ties is None else int(ties)


def _stages(store: Store, run: str) -> list[Stage]:
    """What each stage asked of models, in the order of the first call."""
    rows = store.db.rows(
        "WITH spans AS (SELECT c.stage, epoch(max(c.called) - min(c.called)) + max(c.seconds) AS wall FROM calls c "
        "JOIN runs r ON r.run = c.run AND c.called >= r.started AND (r.ended IS NULL OR c.called <= r.ended) "
        "WHERE c.run = $1 GROUP BY c.stage, r.attempt) "
        "SELECT stage, count(*), sum(prompt_tokens)::BIGINT, sum(completion_tokens)::BIGINT, "
        "CASE WHEN count(*) FILTER (status = 'ok' AND cost IS NULL) = 0 THEN coalesce(sum(cost), 0) END, "
        "(SELECT sum(wall) FROM spans s WHERE s.stage = c.stage) "
        "FROM calls c WHERE run = $1 GROUP BY stage ORDER BY min(called)",
        run,
    )
    return [
        Stage(name=stage, calls=n, tokens_in=sent, tokens_out=got, dollars=cost, seconds=wall)
        for stage, n, sent, got, cost, wall in rows
    ]
