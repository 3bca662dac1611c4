"""The choice of a run made again, as it was or with another number of rules or another anchor."""

from pathlib import Path

import numpy as np
import pytest

from rulesel.errors import UsageError
from rulesel.pipeline.auditing import audit_store
from rulesel.receipt import derived, read_receipt
from rulesel.store import Store

pytestmark = pytest.mark.slow


def test_a_gold_column_takes_the_place_of_the_anchor_whatever_it_is_called(old):
    with Store(Path("store.duckdb")) as store:
        store.db.con.execute("UPDATE columns SET name = 'overall', used_at = now() WHERE name = 'human'")
        every, read = (read_receipt(Path(f"{name}.jsonl.receipt.json")) for name in ("every", "read"))
        assert derived(store, every).evidence.anchor is None
        graded = derived(store, read).evidence.anchor
        for receipt in (every, read):
            found = derived(store, receipt, gold="overall", keep=2)
            held, _ = store.columns.read("overall", found.sample.contents)
            np.testing.assert_array_equal(found.evidence.anchor, held)
            assert len(found.choice.indices) == 2
        assert not np.array_equal(graded, held)
        last = derived(store, every, gold="overall").evidence.anchor
        assert audit_store(store, gold="overall").figures.anchored == (~np.isnan(last)).sum() > 20


def test_a_selection_by_a_column_has_no_choice(old):
    with Store(Path("store.duckdb"), read_only=True) as store, pytest.raises(UsageError, match="by a column"):
        derived(store, read_receipt(Path("own.jsonl.receipt.json")))
