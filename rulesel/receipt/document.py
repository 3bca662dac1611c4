"""The receipt: everything that lets anyone derive a selection again from the store."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from rulesel.config import PickConfig, RunConfig, pick_identity, run_identity
from rulesel.digest import digest
from rulesel.extras import declared
from rulesel.receipt.again import Derived
from rulesel.receipt.derive import Scored, digest_of_ids, score_identity
from rulesel.receipt.layout import RECEIPT, RECORDED, unchecked
from rulesel.records import RuleSet, Selection
from rulesel.rules.choice import RuleChoice
from rulesel.store import CorpusRecord, Store


def run_receipt(
    store: Store,
    run: Derived,
    found: Scored,
    selection: Selection,
    *,
    settings: dict[str, Any],
    output: tuple[str, str],
) -> dict[str, Any]:
    """What a receipt of a run holds and `verify` derives again; plain JSON values, no times.

    Args:
        store: holds the corpus and the raters.
        run: the choice of rules and what it was made on.
        found: the pool with its scores.
        selection: the rows picked, as positions in the pool.
        settings: see `config.run_settings`.
        output: name of the file and its SHA-256.
    """
    sample, choice, rule_set = run.sample, run.choice, run.rule_set
    starts = {stage: start for stage, rater in run.raters.items() if (start := store.rules.answer_start(rater))}
    identity = run_identity(settings, run.corpus.sha256)
    common = _common(store, run.config, run.corpus, found, selection, identity, settings, output)
    of_rules: dict[str, Any] = as_json(
        {
            "rules": {"id": rule_set.id, "n": len(rule_set), "names": [rule.name for rule in rule_set.rules]},
            "raters": run.raters,
            **({"answer_starts": starts} if starts else {}),
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
            "scores": score_identity(store, run.config, rule_set, run.raters, sample, run.evidence, found),
        }
    )
    return common | of_rules


def column_receipt(
    store: Store,
    config: PickConfig,
    corpus: CorpusRecord,
    found: Scored,
    selection: Selection,
    *,
    settings: dict[str, Any],
    output: tuple[str, str],
) -> dict[str, Any]:
    """The same of a selection by one column."""
    identity = pick_identity(settings, corpus.sha256)
    return _common(store, config, corpus, found, selection, identity, settings, output)


def recorded(
    store: Store, config: PickConfig, corpus: CorpusRecord, out: str, more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The part of a receipt that is recorded and not checked: versions, paths, and how hard models were asked."""
    dumped = config.model_dump(mode="json", by_alias=True)
    part = {
        "packages": packages(),
        "store": None if store.path is None else str(store.path),
        "corpus": corpus.path,
        "output": out,
        **({"settings": unchecked(dumped)} if isinstance(config, RunConfig) else {}),
        **(more or {}),
    }
    return {RECORDED: as_json(part)}


def pick_settings(config: PickConfig) -> dict[str, Any]:
    """The settings of a selection by a column, without its files."""
    return config.model_dump(mode="json", by_alias=True, exclude={"out", "store"})


def _common(
    store: Store,
    config: PickConfig,
    corpus: CorpusRecord,
    found: Scored,
    selection: Selection,
    identity: str,
    settings: dict[str, Any],
    output: tuple[str, str],
) -> dict[str, Any]:
    ids = store.corpora.ids(corpus.corpus, found.rows.row[found.pool[selection.indices]])
    skipped = corpus.n_records - corpus.n_examples
    unscored = int(selection.report["without_score"])
    common: dict[str, Any] = as_json(
        {
            "receipt": RECEIPT,
            "run": identity,
            "config": settings,
            "corpus": {
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
            "output": {"name": output[0], "as": config.as_, "sha256": output[1]},
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
        "residual": choice.residual[place],
    }


def packages() -> dict[str, str]:
    """Versions of what the numbers were made with."""
    found = {"python": platform.python_version()}
    used = (name for extra, names in declared().items() if extra != "dev" for name in names)
    for name in ("rulesel", *used):
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
