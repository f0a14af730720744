"""Waiting for room, by a clock that moves when told."""

from __future__ import annotations

import asyncio

import pytest

from bmacdb.clock import ManualClock, ServerClock
from bmacdb.exchange.limit import RequestWindow, WeightBudget
from bmacdb.interval import MINUTE_MS

START_MS = 28_000_000 * MINUTE_MS + 30_000


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(20):
        await asyncio.sleep(0)


async def use(budget: WeightBudget, weight: int, log: list[str], name: str, *, urgent: bool = False) -> None:
    with await budget.acquire(weight, urgent=urgent) as lease:
        log.append(name)
        lease.answered()


async def test_room_is_given_at_once_and_the_header_is_believed() -> None:
    """Without anyone waiting nothing is waited for, and what others use shows."""
    budget = WeightBudget(100, clock=ManualClock(START_MS))
    with await budget.acquire(10) as lease:
        lease.answered(60)
    assert budget.used == 60


async def test_waiting_ends_a_little_after_the_turn_of_the_minute() -> None:
    """Not at it: our clock may be a few milliseconds ahead of the exchange's."""
    clock = ManualClock(START_MS)
    budget = WeightBudget(100, clock=clock, margin_ms=200)
    log: list[str] = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(use(budget, 97, log, "first"))
        tasks.create_task(use(budget, 10, log, "second"))
        await settle()
        assert log == ["first"]
        await clock.advance(30.1)
        assert log == ["first"]
        await clock.advance(0.1)
        assert log == ["first", "second"]


async def test_the_urgent_ones_pass_and_the_others_keep_their_order() -> None:
    """However early the patient ones came."""
    clock = ManualClock(START_MS)
    budget = WeightBudget(100, clock=clock)
    log: list[str] = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(use(budget, 97, log, "before"))
        for name in ("a", "b", "c"):
            tasks.create_task(use(budget, 50, log, name))
        await settle()
        tasks.create_task(use(budget, 60, log, "urgent", urgent=True))
        await settle()
        await clock.advance(31)
        assert log == ["before", "urgent"]
        await clock.advance(60)
        assert log == ["before", "urgent", "a"]
        await clock.advance(120)
    assert log == ["before", "urgent", "a", "b", "c"]


async def test_one_who_gives_up_waiting_leaves_the_line() -> None:
    """Cancelled while first in line: the next one gets the room."""
    clock = ManualClock(START_MS)
    budget = WeightBudget(100, clock=clock)
    log: list[str] = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(use(budget, 90, log, "before"))
        leaving = tasks.create_task(use(budget, 80, log, "leaving"))
        tasks.create_task(use(budget, 80, log, "next"))
        await settle()
        leaving.cancel()
        await settle()
        await clock.advance(31)
    assert log == ["before", "next"]
    assert budget.used == 80


async def test_a_higher_limit_lets_those_who_wait_go() -> None:
    """Exchange info may tell a higher one than was assumed; markets that share take the smallest."""
    clock = ManualClock(START_MS)
    budget = WeightBudget(100, clock=clock)
    log: list[str] = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(use(budget, 90, log, "first"))
        tasks.create_task(use(budget, 90, log, "second"))
        await settle()
        budget.tell_limit("usdt_futures", 2400)
        await settle()
        assert log == ["first", "second"]
    budget.tell_limit("coin_futures", 6000)
    assert budget.limit == 2400
    with pytest.raises(ValueError, match="0"):
        budget.limit = 0


async def test_nobody_goes_before_a_ban_ends() -> None:
    """Urgent ones neither, and those already waiting neither."""
    clock = ManualClock(START_MS)
    budget = WeightBudget(100, clock=clock)
    log: list[str] = []
    budget.ban(START_MS + 90_000)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(use(budget, 1, log, "urgent", urgent=True))
        await settle()
        await clock.advance(80)
        budget.ban(START_MS + 100_000)
        await clock.advance(19)
        assert log == []
        await clock.advance(2)
    assert log == ["urgent"]


async def test_history_in_bulk_fills_95_percent_of_every_minute_and_no_more() -> None:
    """Eight workers with unbounded demand, answers after a while, and an exchange that counts."""
    clock = ManualClock(START_MS)
    budget = WeightBudget(2400, clock=clock)
    counted: dict[int, int] = {}

    async def work(latency: float) -> None:
        while clock.now_ms() < START_MS + 2.5 * MINUTE_MS:
            with await budget.acquire(2) as lease:
                await clock.sleep(latency / 2)
                minute = clock.now_ms() // MINUTE_MS
                counted[minute] = counted.get(minute, 0) + 2
                used = counted[minute]
                await clock.sleep(latency / 2)
                lease.answered(used)

    async with asyncio.TaskGroup() as tasks:
        for number in range(8):
            tasks.create_task(work(0.1 + number / 50))
        await settle()
        await clock.advance(240)
    first = START_MS // MINUTE_MS
    for minute in (first + 1, first + 2):
        assert 0.95 * 2400 <= counted[minute] <= 2400


async def test_the_margin_grows_with_the_uncertainty_of_the_clock() -> None:
    """A clock known to half a second only must stay that far away from the turn of the minute."""
    machine = 1000.0
    clock = ServerClock(monotonic=lambda: machine)
    clock.observe(28_000_000 * MINUTE_MS - 200, sent=machine - 1.0, received=machine)
    assert clock.uncertainty_ms() == pytest.approx(500, abs=1)
    budget = WeightBudget(100, clock=clock)
    waiting = asyncio.ensure_future(budget.acquire(1))
    await settle()
    assert not waiting.done()
    waiting.cancel()
    machine += 0.25
    budget.tell_limit("spot", 100)
    with await budget.acquire(1):
        pass


async def test_five_minutes_hold_so_many_requests_and_no_more() -> None:
    """The next one goes when the oldest has left the window, wherever in its flight it was counted."""
    clock = ManualClock(START_MS)
    window = RequestWindow(3, clock=clock, margin_ms=200)
    log: list[int] = []

    async def ask() -> None:
        with await window.acquire():
            log.append(clock.now_ms() - START_MS)
            await clock.sleep(2)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(ask())
        await settle()
        await clock.advance(10)
        assert window.used == 3
        await clock.advance(292.1)
        assert len(log) == 3
        await clock.advance(0.2)
        assert len(log) == 4
        await clock.advance(5)


async def test_what_is_shown_of_a_budget() -> None:
    """Use, limit, who waits and until when it is banned."""
    budget = WeightBudget(100, clock=ManualClock(START_MS))
    assert repr(budget) == "<WeightBudget 0/100 waiting=0>"
    budget.ban(START_MS + 1)
    assert "banned until" in repr(budget)
    assert repr(RequestWindow(clock=ManualClock(START_MS))) == "<RequestWindow 0/500 waiting=0>"
