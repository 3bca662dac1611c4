"""One layer of retries, limits, budget, cache and order over any backend."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rulesel.errors import BudgetReached, ModelError, UsageError
from rulesel.llm.base import ChatRequest, Completion, Failure
from rulesel.llm.client import Client
from rulesel.llm.fake import Fake
from rulesel.llm.faults import Final, Retryable
from rulesel.llm.prices import Price
from rulesel.llm.sender import Limits
from rulesel.store.ledger import Ledger

QUICK = Limits(concurrency=8, backoff=0.001)


def ask(i: int | str, **more: Any) -> ChatRequest:
    return ChatRequest((("user", str(i)),), max_tokens=1, **more)


def texts(results: Iterator[Completion | Failure]) -> list[str]:
    return [r.text if isinstance(r, Completion) else f"{r.kind}: {r.reason}" for r in results]


@pytest.fixture
def open_client() -> Iterator[Callable[..., tuple[Client, Fake]]]:
    clients: list[Client] = []

    def make(answer: Any, *, latency: float = 0.0, limits: Limits = QUICK, **more: Any) -> tuple[Client, Fake]:
        fake = Fake(answer, latency=latency)
        clients.append(Client("m", lambda: fake, limits=limits, **more))
        return clients[-1], fake

    yield make
    for client in clients:
        client.close()


def echo(request: ChatRequest) -> str:
    return request.messages[0][1]


Make = Callable[..., tuple[Client, Fake]]


def test_answers_come_in_the_order_of_the_requests(open_client: Make) -> None:
    client, _ = open_client(echo, latency=0.001)
    assert texts(client.complete(ask(i) for i in range(500))) == [str(i) for i in range(500)]


def test_nothing_is_started_before_the_first_request() -> None:
    client = Client("m", lambda: pytest.fail("made too early"))  # type: ignore[arg-type]
    before = threading.active_count()
    assert list(client.complete([])) == []
    assert threading.active_count() == before
    client.close()


def test_requests_are_drawn_a_window_ahead_and_no_further(open_client: Make) -> None:
    client, _ = open_client(echo)
    drawn = 0

    def requests() -> Iterator[ChatRequest]:
        nonlocal drawn
        for i in range(10_000):
            drawn += 1
            yield ask(i)

    answers = client.complete(requests())
    next(answers)
    assert drawn <= 64
    answers.close()  # type: ignore[attr-defined]
    assert drawn <= 64


class Stalling(Fake):
    """Keeps the first request until `n` others are answered; gives up after five seconds."""

    def __init__(self, n: int) -> None:
        super().__init__(echo)
        self.n, self.others, self.seen = n, 0, -1

    async def send(self, request: ChatRequest) -> Completion:
        if echo(request) == "0":
            for _ in range(500):
                if self.others >= self.n:
                    break
                await asyncio.sleep(0.01)
            self.seen = self.others
        else:
            self.others += 1
        return await super().send(request)


@pytest.mark.parametrize("n", [500, 20_000])
@pytest.mark.slow
def test_a_request_that_stalls_does_not_hold_up_the_others_and_what_waits_is_bounded(n: int) -> None:
    backend = Stalling(500)
    client = Client("m", lambda: backend, limits=QUICK)
    assert texts(client.complete([ask("first")])) == ["first"]
    backend.others = 0
    assert texts(client.complete(ask(i) for i in range(n + 1))) == [str(i) for i in range(n + 1)]
    assert 500 <= backend.seen <= 16 * 64
    client.close()


def test_identical_requests_under_way_are_sent_once(open_client: Make) -> None:
    client, fake = open_client(echo, latency=0.02, limits=Limits(concurrency=64))
    results = list(client.complete([ask("same")] * 20 + [ask("same", salt=1)]))
    assert [r.text for r in results if isinstance(r, Completion)] == ["same"] * 21
    assert fake.asked == 2


def test_a_passing_fault_is_retried_and_a_lasting_one_becomes_a_failure(open_client: Make) -> None:
    tries: Counter[str] = Counter()

    def script(request: ChatRequest) -> str | Exception:
        text = echo(request)
        tries[text] += 1
        if text == "twice" and tries[text] <= 2:
            return Retryable(Failure("http", "500: x"))
        if text == "always":
            return Retryable(Failure("timeout", "late"))
        if text == "never":
            return Final(Failure("refused", "filter"))
        return text

    client, _ = open_client(script)
    assert texts(client.complete(map(ask, ["fine", "twice", "always", "never"]))) == [
        "fine",
        "twice",
        "timeout: late",
        "refused: filter",
    ]
    assert tries == {"fine": 1, "twice": 3, "always": 6, "never": 1}


def test_a_wait_beyond_patience_ends_the_request_at_once(open_client: Make) -> None:
    client, fake = open_client(lambda _: Retryable(Failure("http", "429: x"), retry_after=3600.0))
    assert texts(client.complete([ask(1)])) == ["http: 429: x (the server asks to wait 3600 s)"]
    assert fake.asked == 1


def test_a_wait_for_load_beyond_patience_ends_the_run(open_client: Make) -> None:
    busy = Retryable(Failure("http", "429: daily limit"), retry_after=3600.0, throttled=True)
    client, fake = open_client(lambda r: busy if int(echo(r)) > 20 else echo(r))
    with pytest.raises(ModelError, match=r"asks to wait 3600 s.*the same command goes on"):
        list(client.complete(ask(i) for i in range(1000)))
    assert fake.asked < 64


def test_a_model_that_refuses_everybody_ends_the_run_after_what_was_good(open_client: Make) -> None:
    asked = 0

    def script(request: ChatRequest) -> str | Exception:
        nonlocal asked
        asked += 1
        return ModelError("m: the server refuses access (401): x") if asked > 100 else echo(request)

    ledger = Ledger(None)
    client, fake = open_client(script, ledger=ledger.stage("s"))
    seen: list[Completion | Failure] = []
    with pytest.raises(ModelError, match="401"):
        seen.extend(client.complete(ask(i) for i in range(1000)))
    assert len(seen) >= 93  # eight were under way when it happened
    assert fake.asked <= 108
    assert ledger.spent.outcomes["ok"] == 100
    client.close()
    again, fresh = open_client(echo, ledger=ledger.stage("s"))
    assert len(list(again.complete(ask(i) for i in range(1000)))) == 1000
    assert fresh.asked == 900


def test_a_model_that_answers_nobody_is_gone(open_client: Make) -> None:
    client, fake = open_client(lambda _: Retryable(Failure("http", "500: x")))
    with pytest.raises(ModelError, match="m does not answer: 500: x"):
        list(client.complete(ask(i) for i in range(1000)))
    assert fake.asked <= 64 * 6  # a window of them had begun


def test_an_address_where_nobody_listens_is_said_at_once(open_client: Make) -> None:
    client, fake = open_client(lambda _: Retryable(Failure("http", "no connection"), unreachable=True))
    with pytest.raises(ModelError, match="does not answer"):
        list(client.complete(ask(i) for i in range(1000)))
    assert fake.asked <= 64 * 6


def test_a_fault_of_ours_reaches_the_caller(open_client: Make) -> None:
    client, _ = open_client(lambda _: ZeroDivisionError("bug"))
    with pytest.raises(ZeroDivisionError):
        list(client.complete([ask(1)]))


def test_a_fault_of_the_caller_reaches_the_caller(open_client: Make) -> None:
    client, _ = open_client(echo)

    def requests() -> Iterator[ChatRequest]:
        yield ask(1)
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        list(client.complete(requests()))


def test_a_backend_that_cannot_be_made_is_said_to_the_caller() -> None:
    client = Client("fake:nothing", lambda: Fake.named("fake:nothing"))
    with pytest.raises(UsageError, match="No fake model named 'nothing'"):
        list(client.complete(ask(i) for i in range(100)))
    client.close()


@pytest.mark.parametrize("at", [1, 10, 40, 70])
def test_an_interrupt_between_two_requests_leaves_nobody_waiting(open_client: Make, at: int) -> None:
    ledger = Ledger(None)
    stage = ledger.stage("s")
    looked = 0

    class Interrupted:
        def __getattr__(self, name: str) -> Any:
            return getattr(stage, name)

        def lookup(self, key: str) -> bytes | None:
            nonlocal looked
            looked += 1
            if looked == at:
                raise KeyboardInterrupt
            return stage.lookup(key)

    client, fake = open_client(echo, latency=0.01, ledger=Interrupted())
    with pytest.raises(KeyboardInterrupt):
        list(client.complete(ask(i) for i in range(200)))
    assert fake.asked < at
    assert ledger.spent.requests == fake.asked


def test_leaving_early_waits_for_what_is_under_way_and_sends_nothing_more(open_client: Make) -> None:
    ledger = Ledger(None)
    client, fake = open_client(echo, latency=0.05, ledger=ledger.stage("s"))
    answers = client.complete(ask(i) for i in range(1000))
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    sent = fake.asked
    assert ledger.spent.outcomes["ok"] == ledger.spent.requests == sent <= 24


def test_closing_twice_does_no_harm_and_a_closed_client_opens_again(open_client: Make) -> None:
    client, _ = open_client(echo)
    assert texts(client.complete([ask(1)])) == ["1"]
    client.close()
    client.close()
    assert texts(client.complete([ask(2)])) == ["2"]


def test_two_streams_of_one_client_do_not_mix(open_client: Make) -> None:
    client, _ = open_client(echo, latency=0.001)
    one, two = client.complete(ask(i) for i in range(200)), client.complete(ask(-i) for i in range(200))
    pairs = [
        (a.text, b.text)
        for a, b in zip(one, two, strict=True)
        if isinstance(a, Completion) and isinstance(b, Completion)
    ]
    assert pairs == [(str(i), str(-i)) for i in range(200)]


def test_what_was_paid_is_not_asked_again(open_client: Make, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "r.sqlite")
    client, fake = open_client(echo, ledger=ledger.stage("s"), price=Price(input=1, output=1))
    first = list(client.complete(ask(i) for i in range(50)))
    assert fake.asked == 50
    assert all(isinstance(r, Completion) and r.cost and r.cost > 0 for r in first)
    ledger.close()
    ledger = Ledger(tmp_path / "r.sqlite")
    other, fresh = open_client(echo, ledger=ledger.stage("s"), price=Price(input=1, output=1))
    second = list(other.complete(ask(i) for i in range(60)))
    assert fresh.asked == 10
    assert [r.cost for r in second if isinstance(r, Completion)][:50] == [0.0] * 50
    assert texts(iter(second))[:50] == texts(iter(first))
    ledger.close()


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 40),
    st.integers(1, 16),
    st.lists(st.sampled_from(["ok", "500", "timeout", "no usage"]), min_size=60, max_size=60),
)
@pytest.mark.slow
def test_the_budget_is_never_exceeded(most: int, concurrency: int, deeds: list[str]) -> None:
    price, bill, asked = Price(input=0, output=1e6), 0.0, 0  # a dollar an answer

    def script(request: ChatRequest) -> Completion | Exception:
        nonlocal bill, asked
        deed = deeds[asked % len(deeds)]
        asked += 1
        if deed == "500":
            return Retryable(Failure("http", "500"))
        bill += 1.0  # a time-out may be billed; an answer without usage is
        if deed == "timeout":
            return Retryable(Failure("timeout", "late", maybe_paid=True))
        return Completion("4", completion_tokens=1, prompt_tokens=0 if deed == "no usage" else 5)

    ledger = Ledger(None, max_cost=float(most))
    limits = Limits(concurrency=concurrency, backoff=1e-6, attempts=3)
    client = Client("m", lambda: Fake(script), ledger=ledger.stage("s"), price=price, limits=limits)
    results: list[Completion | Failure] = []
    try:
        results.extend(client.complete(ask(i) for i in range(60)))
        ended = True
    except BudgetReached:
        ended = False
    finally:
        client.close()
    assert bill <= most
    assert bill == pytest.approx(ledger.spent.cost)
    assert ended == (len(results) == 60)
    if not ended:
        assert bill == most, "money that was reserved and not needed must be usable"


tokens = st.integers(-(10**20), 10**20) | st.integers(0, 500)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(tokens, tokens, tokens), min_size=1, max_size=20))
def test_whatever_servers_count_spending_never_falls_and_the_budget_holds(counts: list[tuple[int, int, int]]) -> None:
    given_counts = iter(counts)

    def script(_request: ChatRequest) -> Completion:
        prompt, cached, answered = next(given_counts)
        return Completion("4", prompt_tokens=prompt, cached_tokens=cached, completion_tokens=answered)

    ledger, price = Ledger(None, max_cost=0.01), Price(input=1.0, output=2.0, cached=0.1)
    stage, seen = ledger.stage("s"), [0.0]
    client = Client("m", lambda: Fake(script), ledger=stage, price=price, limits=Limits(concurrency=1))
    try:
        for result in client.complete(ask(i) for i in range(len(counts))):
            assert isinstance(result, Completion), "what was paid is not thrown away"
            seen.append(ledger.spent.cost)
    except BudgetReached:
        pass
    finally:
        client.close()
    assert seen == sorted(seen)
    assert 0.0 <= ledger.spent.cost <= 0.01
    assert all(0 <= row["prompt_tokens"] <= 400 for row in ledger.finished().to_pylist())


def test_the_number_of_requests_is_never_exceeded(open_client: Make) -> None:
    ledger = Ledger(None, max_requests=37)
    client, fake = open_client(echo, ledger=ledger.stage("s"))
    with pytest.raises(BudgetReached, match="--max-requests 37"):
        list(client.complete(ask(i) for i in range(100)))
    assert fake.asked == 37


def test_an_unknown_price_cannot_be_capped(open_client: Make) -> None:
    ledger = Ledger(None, max_cost=1.0)
    client, fake = open_client(echo, ledger=ledger.stage("s"))
    with pytest.raises(UsageError, match=r"prices: \{'m'"):
        list(client.complete([ask(1)]))
    assert fake.asked == 0


def test_the_probe_shows_what_a_model_can_do(open_client: Make) -> None:
    answer = Completion("5", logprobs=((("5", -0.1), ("4", -3.0)),), prompt_tokens=10, completion_tokens=1)
    client, _ = open_client(lambda _: answer)
    seen = client.probe(ask("five?", top_logprobs=20))
    assert (seen.top_logprobs, seen.usage, seen.text) == (2, True, "5")
    bad, fake = open_client(lambda _: Retryable(Failure("http", "500: x")))
    with pytest.raises(ModelError, match="m: 500: x"):
        bad.probe(ask(1))
    assert fake.asked == 1


def test_refusals_for_load_bring_the_width_down(open_client: Make) -> None:
    under_way = most_later = calls = 0

    class Busy(Fake):
        async def send(self, request: ChatRequest) -> Completion:
            nonlocal under_way, most_later, calls
            under_way += 1
            calls += 1
            if calls > 200:
                most_later = max(most_later, under_way)
            try:
                return await super().send(request)
            finally:
                under_way -= 1

    fake = Busy(lambda r: Retryable(Failure("http", "429"), throttled=True) if calls < 100 else echo(r), latency=0.001)
    client = Client("m", lambda: fake, limits=Limits(concurrency=32, backoff=0.001, attempts=20))
    assert len(list(client.complete(ask(i) for i in range(300)))) == 300
    client.close()
    assert most_later < 32
