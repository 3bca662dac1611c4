"""From the store to a selection, the receipt of it, and the check of a receipt."""

from rulesel.receipt.derive import (
    Evidence,
    Rated,
    Scored,
    choice_of,
    digest_of_ids,
    evidence_of,
    from_column,
    pool_of,
    rated,
    row_ids,
    sample_of,
    score_identity,
    scored,
    source_of,
    write_records,
)
from rulesel.receipt.document import as_json, column_receipt, packages, receipt_of
from rulesel.receipt.file import read_receipt, store_path
from rulesel.receipt.offering import features_of, selection_of
from rulesel.receipt.verify import Check, verify

__all__ = [
    "Check",
    "Evidence",
    "Rated",
    "Scored",
    "as_json",
    "choice_of",
    "column_receipt",
    "digest_of_ids",
    "evidence_of",
    "features_of",
    "from_column",
    "packages",
    "pool_of",
    "rated",
    "read_receipt",
    "receipt_of",
    "row_ids",
    "sample_of",
    "score_identity",
    "scored",
    "selection_of",
    "source_of",
    "store_path",
    "verify",
    "write_records",
]
