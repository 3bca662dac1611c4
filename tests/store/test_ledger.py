"""The ledger: nothing is paid twice, nothing beyond the budget, and a crash is counted."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rulesel.errors import BudgetReached, StoreError, UsageError
from rulesel.llm.base import Ledger as Protocol
from rulesel.llm.base import Outcome
from rulesel.store.ledger import Ledger


def outcome(cost: float | None = 0.5, reply: bytes | None = b"{}", status: str = "ok") -> Outcome:
    return Outcome(status, "" if status == "ok" else "why", reply, 10, 4, 1, cost, 1, 0.25)


def test_a_reply_is_found_again_until_it_is_released(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "r.sqlite")
    stage: Protocol = ledger.stage("sample")
    stage.reserve("k", "m", 1.0)
    stage.settle("k", outcome(reply=b"reply"))
    stage.commit()
    assert stage.lookup("k") == b"reply"
    assert stage.lookup("other") is None
    stage.delivered("k")
    ledger.stage("sample").release()
    assert stage.lookup("k") == b"reply", "another stage's release is none of ours"
    stage.release()  # type: ignore[attr-defined]
    assert stage.lookup("k") is None
    assert ledger.spent.reused == 2


def test_a_failure_keeps_no_reply() -> None:
    ledger = Ledger(None)
    stage = ledger.stage("s")
    stage.reserve("k", "m", 1.0)
    stage.settle("k", outcome(cost=0.0, reply=None, status="http"))
    assert stage.lookup("k") is None
    assert ledger.spent.outcomes == {"http": 1}


def test_the_budget_counts_what_is_reserved() -> None:
    ledger = Ledger(None, max_cost=1.0)
    stage = ledger.stage("s")
    stage.reserve("a", "m", 0.6)
    with pytest.raises(BudgetReached, match=r"--max-cost 1 is reached: \$0.0000 spent"):
        stage.reserve("b", "m", 0.6)
    stage.settle("a", outcome(cost=0.1))
    stage.reserve("b", "m", 0.6)
    assert ledger.spent.cost == pytest.approx(0.1)
    assert ledger.spent.reserved == pytest.approx(0.6)


def test_a_budget_met_to_the_cent_is_not_exceeded() -> None:
    ledger = Ledger(None, max_cost=0.3)
    stage = ledger.stage("s")
    for key in "abc":  # 0.1 + 0.1 + 0.1 is above 0.3 in binary
        stage.reserve(key, "m", 0.1)
        stage.settle(key, outcome(cost=0.1))
    with pytest.raises(BudgetReached):
        stage.reserve("d", "m", 1e-4)


def test_what_a_crash_left_under_way_is_spent_at_its_worst(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "r.sqlite", run="r")
    stage = first.stage("s")
    stage.reserve("a", "m", 0.4)
    stage.settle("a", outcome(cost=0.1))
    stage.reserve("b", "m", 0.4)
    stage.commit()
    first._con.close()  # as a kill would
    second = Ledger(tmp_path / "r.sqlite", run="r", max_requests=3)
    assert (second.spent.requests, second.spent.cost) == (2, pytest.approx(0.5))
    lost = second.finished().to_pylist()[1]
    assert (lost["status"], lost["cost"]) == ("lost", 0.4)
    assert "under way" in lost["reason"]
    second.stage("s").reserve("b", "m", 0.4)
    with pytest.raises(BudgetReached, match="--max-requests 3"):
        second.stage("s").reserve("c", "m", 0.4)
    second.close()


def test_what_was_not_committed_was_not_sent(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "r.sqlite", run="r")
    first.stage("s").reserve("a", "m", 0.4)
    first._con.close()
    assert Ledger(tmp_path / "r.sqlite", run="r").spent.requests == 0


def test_another_run_has_a_budget_of_its_own(tmp_path: Path) -> None:
    for run in ("one", "two"):
        ledger = Ledger(tmp_path / "r.sqlite", run=run, max_requests=1)
        ledger.stage("s").reserve(run, "m", None)
        ledger.stage("s").settle(run, outcome(cost=None))
        assert ledger.spent.requests == 1
        ledger.close()


def test_finished_calls_move_once_and_their_totals_stay(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "r.sqlite", run="r")
    stage = ledger.stage("corpus")
    for key in "ab":
        stage.reserve(key, "m", 0.5)
        stage.settle(key, outcome())
    stage.reserve("open", "m", 0.5)
    table = ledger.finished()
    assert table.num_rows == 2
    stage.settle("open", outcome())  # between reading and moving
    ledger.moved()
    late = ledger.finished()
    assert [row["key"] for row in late.to_pylist()] == ["open"], "a call settled meanwhile is not lost"
    ledger.moved()
    assert ledger.finished().num_rows == 0
    assert len(set(table["call"].to_pylist() + late["call"].to_pylist())) == 3
    ledger.close()
    again = Ledger(tmp_path / "r.sqlite", run="r")
    assert (again.spent.requests, again.spent.cost) == (3, pytest.approx(1.5))
    again.close()


def test_the_rows_of_finished_calls_are_typed() -> None:
    ledger = Ledger(None, run="r")
    assert ledger.finished().num_rows == 0
    stage = ledger.stage("corpus")
    stage.reserve("k", "m", None)
    stage.settle("k", outcome(cost=None))
    (row,) = ledger.finished().to_pylist()
    assert abs((datetime.now(UTC) - row.pop("called")).total_seconds()) < 60
    assert row.pop("call")
    assert row == {
        "run": "r", "stage": "corpus", "key": "k", "model": "m", "seconds": 0.25, "attempts": 1, "status": "ok",
        "prompt_tokens": 10, "cached_tokens": 4, "completion_tokens": 1, "cost": None, "reason": None,
    }  # fmt: skip
    assert ledger.spent.unpriced == 1


def test_a_deleted_file_forgets_replies_and_no_money(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "r.sqlite", run="r", max_requests=10, already=(9, 1.5))
    ledger.stage("s").reserve("k", "m", None)
    with pytest.raises(BudgetReached):
        ledger.stage("s").reserve("l", "m", None)
    ledger.close()


def test_an_unknown_price_under_a_cap_is_a_mistake_of_usage() -> None:
    with pytest.raises(UsageError, match="prices:"):
        Ledger(None, max_cost=1).stage("s").reserve("k", "m", None)


def test_a_file_that_is_none_is_said(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    path.write_bytes(b"this is no database, and long enough to be read as one" * 100)
    with pytest.raises(StoreError, match="move it away"):
        Ledger(path)


def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "r.sqlite")
    ledger._con.execute("PRAGMA user_version = 99")
    ledger.close()
    with pytest.raises(StoreError, match="newer"):
        Ledger(tmp_path / "r.sqlite")


def test_threads_share_a_ledger(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "r.sqlite", max_requests=400)
    refused = []

    def work(name: int) -> None:
        stage = ledger.stage(f"s{name}")
        for i in range(150):
            key = f"{name}-{i}"
            try:
                stage.reserve(key, "m", 0.1)
            except BudgetReached:
                refused.append(key)
                continue
            stage.commit()
            stage.settle(key, outcome(cost=0.1))
            stage.commit()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 200
    assert ledger.spent.requests == ledger.finished().num_rows == 400
    assert ledger.spent.cost == pytest.approx(40.0)
    ledger.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("rsdmc"), st.integers(0, 5), st.floats(0, 1)), max_size=60))
@pytest.mark.slow
def test_whatever_happens_the_sums_agree(steps: list[tuple[str, int, float]]) -> None:
    ledger = Ledger(None, run="r", max_cost=3.0)
    stage = ledger.stage("s")
    under_way: dict[str, float] = {}
    paid, moved = 0.0, 0
    for deed, number, cost in steps:
        key = str(number)
        if deed == "r" and key not in under_way:
            try:
                stage.reserve(key, "m", cost)
                under_way[key] = cost
            except BudgetReached:
                assert paid + sum(under_way.values()) + cost > 3.0
        elif deed == "s" and key in under_way:
            actual = under_way.pop(key) * 0.5
            stage.settle(key, outcome(cost=actual))
            paid += actual
        elif deed == "d":
            moved += ledger.finished().num_rows
            ledger.moved()
        elif deed == "c":
            stage.commit()
    assert ledger.spent.cost == pytest.approx(paid)
    assert ledger.spent.reserved == pytest.approx(sum(under_way.values()))
    assert ledger.spent.cost + ledger.spent.reserved <= 3.0 + 1e-9
    assert moved + ledger.finished().num_rows == ledger.spent.requests - len(under_way)
