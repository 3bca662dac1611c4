"""The receipt: everything that lets anyone derive a selection again from the store."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from rulesel.config import PickConfig, RunConfig
from rulesel.digest import digest
from rulesel.extras import declared
from rulesel.receipt.derive import Rated, Scored, digest_of_ids
from rulesel.records import RuleSet, Selection
from rulesel.rules.choice import RuleChoice
from rulesel.store import CorpusRecord, Store


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
    starts: dict[str, str],
    output_sha256: str,
) -> dict[str, Any]:
    """Everything that lets anyone derive the selection again from the store; plain JSON values, no times."""
    receipt: dict[str, Any] = _common(store, config, identity, corpus, found, selection, output_sha256) | as_json(
        {
            "rules": {"id": rule_set.id, "origin": rule_set.origin, "n": len(rule_set)},
            "raters": raters,
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
    unscored = int(selection.report["without_score"])
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
