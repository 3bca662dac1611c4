"""Rates and widths, with a clock of our own."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rulesel.llm.limits import Bucket, Gate


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_rate_of_600_a_minute_lets_25_calls_through_in_two_seconds() -> None:
    clock = Clock()
    bucket = Bucket(600, clock)
    for _ in range(25):
        clock.now += bucket.take(1)
    assert clock.now == pytest.approx(2.0)


@given(st.lists(st.floats(0.1, 500), min_size=1, max_size=50), st.floats(60, 10_000))
def test_no_minute_sees_more_than_the_rate_and_its_burst(amounts: list[float], rate: float) -> None:
    clock = Clock()
    bucket = Bucket(rate, clock)
    sent = []
    for amount in amounts:
        clock.now += bucket.take(amount)
        sent.append((clock.now, amount))
    for start, _ in sent:
        inside = [amount for at, amount in sent if start <= at < start + 60]
        assert sum(inside) <= rate + max(1.0, rate / 120) + max(amounts) + 1e-6


def test_what_was_guessed_too_high_comes_back() -> None:
    clock = Clock()
    bucket = Bucket(60, clock)
    assert bucket.take(61) == pytest.approx(60)
    bucket.give_back(60)
    assert bucket.take(1) == pytest.approx(1)


def run(check: object) -> None:
    asyncio.run(check)  # type: ignore[arg-type]


def test_at_most_the_width_is_under_way() -> None:
    async def check() -> None:
        gate, most, now = Gate(3), 0, 0

        async def work() -> None:
            nonlocal most, now
            await gate.enter()
            now += 1
            most = max(most, now)
            await asyncio.sleep(0)
            now -= 1
            gate.leave()

        await asyncio.gather(*(work() for _ in range(50)))
        assert most == 3
        assert gate.under_way == 0

    run(check())


def test_a_refusal_halves_the_width_once_a_second_and_answers_widen_it() -> None:
    clock = Clock()
    gate = Gate(64, clock)
    for _ in range(10):  # a burst of refusals is one refusal
        gate.throttled()
    assert gate.width == 32
    clock.now = 2.0
    gate.throttled()
    assert gate.width == 16
    for _ in range(20):
        gate.good()
    assert gate.width == 17
    for _ in range(20_000):
        gate.good()
    assert gate.width == 64
    for turn in range(20):
        clock.now = 10.0 + 2 * turn
        gate.throttled()
    assert gate.width == 1


def test_a_refusal_now_and_then_hardly_narrows_and_half_of_all_answers_halve() -> None:
    clock = Clock()
    gate = Gate(200, clock)
    clock.now = 10.0
    for _ in range(99):
        gate.good()
    gate.throttled()  # 1 of 100
    assert gate.width == 196
    clock.now = 20.0
    gate.good()
    gate.throttled()  # 1 of 2
    assert gate.width == 98
    clock.now = 20.5
    for _ in range(10):
        gate.throttled()  # too soon, and counted for the next time
    assert gate.width == 98
    for _ in range(90):
        gate.good()
    clock.now = 21.5
    gate.throttled()
    assert gate.width == pytest.approx(98.9 * (1 - 2 * 11 / 101), abs=1)


def test_a_narrower_gate_waits_until_enough_have_left() -> None:
    async def check() -> None:
        gate = Gate(4)
        for _ in range(4):
            await gate.enter()
        gate.throttled()
        late = asyncio.ensure_future(gate.enter())
        gate.leave()
        gate.leave()
        await asyncio.sleep(0)
        assert not late.done()
        gate.leave()
        await late
        assert gate.under_way == 2

    run(check())


def test_a_place_given_to_somebody_who_left_is_given_on() -> None:
    async def check() -> None:
        gate = Gate(1)
        await gate.enter()
        first, second = asyncio.ensure_future(gate.enter()), asyncio.ensure_future(gate.enter())
        await asyncio.sleep(0)
        gate.leave()  # wakes the first, which is cancelled before it runs
        first.cancel()
        await asyncio.wait_for(second, 1)
        assert gate.under_way == 1

    run(check())


def test_nothing_passes_before_the_server_says() -> None:
    async def check() -> None:
        clock = Clock()
        gate = Gate(4, clock)
        gate.throttled(0.01)
        late = asyncio.ensure_future(gate.enter())
        await asyncio.sleep(0)
        assert not late.done()
        clock.now = 0.02
        await asyncio.wait_for(late, 1)

    run(check())
