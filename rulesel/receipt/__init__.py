"""From the store to a selection, the receipt of it, and the check of a receipt."""

from rulesel.receipt.again import Derived, corpus_of, derived, scores_of
from rulesel.receipt.derive import (
    Evidence,
    Rated,
    Scored,
    choice_of,
    digest_of_ids,
    evidence_of,
    from_column,
    permuted_column,
    pool_of,
    rated,
    refuse_permuted,
    row_ids,
    sample_of,
    score_identity,
    scored,
    source_of,
    write_records,
)
from rulesel.receipt.document import as_json, column_receipt, packages, pick_settings, recorded, run_receipt
from rulesel.receipt.file import read_receipt, store_path
from rulesel.receipt.layout import as_receipt, config_of
from rulesel.receipt.offering import features_of, field_of_pool, selection_of
from rulesel.receipt.verify import Check, verify

__all__ = [
    "Check",
    "Derived",
    "Evidence",
    "Rated",
    "Scored",
    "as_json",
    "as_receipt",
    "choice_of",
    "column_receipt",
    "config_of",
    "corpus_of",
    "derived",
    "digest_of_ids",
    "evidence_of",
    "features_of",
    "field_of_pool",
    "from_column",
    "packages",
    "permuted_column",
    "pick_settings",
    "pool_of",
    "rated",
    "read_receipt",
    "recorded",
    "refuse_permuted",
    "row_ids",
    "run_receipt",
    "sample_of",
    "score_identity",
    "scored",
    "scores_of",
    "selection_of",
    "source_of",
    "store_path",
    "verify",
    "write_records",
]
