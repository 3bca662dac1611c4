"""A receipt checked: the selection derived again and compared."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rulesel.config import PickConfig, RunConfig
from rulesel.errors import UsageError
from rulesel.receipt.derive import (
    Scored,
    choice_of,
    digest_of_ids,
    evidence_of,
    from_column,
    rated,
    sample_of,
    scored,
    write_records,
)
from rulesel.receipt.offering import features_of, selection_of
from rulesel.records import Int64
from rulesel.store import CorpusRecord, Store


class Check(NamedTuple):
    """One thing compared with the receipt."""

    what: str
    agrees: bool
    detail: str


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
    selection = selection_of(store, config.select, config.seed, corpus, found, features=features_of(receipt))
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
    sample = rated(store, rule_set, contents, raters["sample"], raters.get("measured"))
    evidence = evidence_of(store, config, rule_set, corpus, sample, raters.get("retest"))
    choice = choice_of(config, rule_set, sample, evidence)
    expected = receipt["choice"]["rules"]
    same = [rule_set.rules[j].id for j in choice.indices] == [rule["id"] for rule in expected]
    digests = digest_of_ids(store.corpora.hashes(contents)), receipt["sample"]["sha256"]
    checks += [
        Check("sample", digests[0] == digests[1], f"{len(contents):,} examples"),
        Check("rules", same, f"{len(expected)} chosen"),
        Check("weights", same and np.allclose(choice.weights, [r["weight"] for r in expected]), "of the chosen rules"),
    ]
    return scored(store, config, corpus, sample, choice, raters["corpus"], raters.get("measured"))


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
