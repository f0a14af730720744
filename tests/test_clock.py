"""Clocks: the exchange's is followed however wrong this machine's is."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmacdb.clock import Clock, ManualClock, ServerClock, SystemClock, format_ms, from_ms, to_ms

NOW_MS = 1_790_000_000_000


class Machine:
    """A monotonic clock that moves when told."""

    def __init__(self) -> None:
        self.seconds = 5000.0

    def __call__(self) -> float:
        return self.seconds


@given(ms=st.integers(0, 4_102_444_800_000))
def test_an_instant_survives_the_way_to_a_datetime_and_back(ms: int) -> None:
    """To the millisecond, in any zone; a naive datetime is taken as UTC."""
    moment = from_ms(ms)
    assert to_ms(moment) == ms
    assert to_ms(moment.astimezone(timezone(timedelta(hours=8)))) == ms
    assert to_ms(moment.replace(tzinfo=None)) == ms


def test_an_instant_is_shown_in_the_zone_asked_for() -> None:
    """With milliseconds and offset."""
    ms = to_ms(datetime(2024, 8, 3, 4, 51, 4, 10_000, UTC))
    assert format_ms(ms, timezone(timedelta(hours=8))) == "2024-08-03 12:51:04.010+08:00"


def test_a_sample_sets_the_clock_to_the_middle_of_its_round_trip() -> None:
    """And half the round trip is what it is uncertain by."""
    machine = Machine()
    clock = ServerClock(monotonic=machine)
    assert not clock.synchronized
    assert clock.uncertainty_ms() == float("inf")
    clock.observe(NOW_MS, sent=machine.seconds - 0.2, received=machine.seconds)
    assert clock.synchronized
    assert clock.now_ms() == NOW_MS + 100
    assert clock.uncertainty_ms() == pytest.approx(100, abs=0.1)
    machine.seconds += 10
    assert clock.now_ms() == NOW_MS + 10_100


def test_a_worse_sample_is_left_out_until_the_better_one_is_old() -> None:
    """A slow answer tells less than what is known; drift makes that less over time."""
    machine = Machine()
    clock = ServerClock(monotonic=machine)
    clock.observe(NOW_MS, sent=machine.seconds - 0.01, received=machine.seconds)
    clock.observe(NOW_MS - 100, sent=machine.seconds - 0.5, received=machine.seconds)
    assert clock.now_ms() == NOW_MS + 5
    machine.seconds += 3600 * 3
    before = clock.now_ms()
    clock.observe(before - 100, sent=machine.seconds - 0.5, received=machine.seconds)
    assert clock.now_ms() == before - 100 + 250


def test_a_sample_that_contradicts_the_belief_replaces_it() -> None:
    """A suspended machine's monotonic clock stands still: half a minute off is no slow answer."""
    machine = Machine()
    clock = ServerClock(monotonic=machine)
    clock.observe(NOW_MS, sent=machine.seconds - 0.01, received=machine.seconds)
    clock.observe(NOW_MS + 30_000, sent=machine.seconds - 0.5, received=machine.seconds)
    assert clock.now_ms() == NOW_MS + 30_250
    assert clock.uncertainty_ms() == pytest.approx(250, abs=0.1)


@given(
    rate=st.sampled_from([1.0, 10.0, 60.0]),
    offset_ms=st.integers(-(10**9), 10**9),
    trips=st.lists(st.tuples(st.floats(0, 2), st.floats(0, 2), st.floats(0, 100)), min_size=1, max_size=20),
)
def test_the_clock_is_never_further_off_than_it_says(
    rate: float, offset_ms: int, trips: list[tuple[float, float, float]]
) -> None:
    """However lopsided the ways there and back, and however much faster the exchange's clock runs."""
    machine = Machine()
    clock = ServerClock(rate=rate, monotonic=machine)

    def exchange_ms() -> float:
        return NOW_MS + offset_ms + (machine.seconds - 5000.0) * 1000 * rate

    for there, back, pause in trips:
        sent = machine.seconds
        machine.seconds += there
        told_ms = int(exchange_ms())
        machine.seconds += back
        clock.observe(told_ms, sent=sent, received=machine.seconds)
        assert abs(clock.now_ms() - exchange_ms()) <= clock.uncertainty_ms() + 2  # rounded twice
        machine.seconds += pause


def test_instants_and_monotonic_seconds_can_be_exchanged() -> None:
    """For every clock: now is now."""
    machine = Machine()
    server = ServerClock(rate=60.0, monotonic=machine)
    server.observe(NOW_MS, sent=machine.seconds, received=machine.seconds)
    assert server.monotonic_at(NOW_MS + 60_000) == pytest.approx(machine.seconds + 1)
    manual = ManualClock(NOW_MS)
    assert manual.monotonic_at(NOW_MS + 5000) == pytest.approx(manual.monotonic() + 5)
    system = SystemClock()
    assert system.monotonic_at(system.now_ms()) == pytest.approx(system.monotonic(), abs=5)


async def test_sleeping_follows_a_correction_of_the_clock() -> None:
    """Until the exchange's clock shows the instant, in its seconds and not ours."""
    clock = ServerClock(rate=1000.0)
    clock.observe(NOW_MS, sent=clock.monotonic(), received=clock.monotonic())
    await clock.sleep_until(NOW_MS + 20_000)
    assert clock.now_ms() >= NOW_MS + 20_000
    await clock.sleep(1.0)
    assert clock.now_ms() >= NOW_MS + 21_000


async def test_the_machines_own_clock_sleeps_until_an_instant() -> None:
    """And returns at once when it is past."""
    clock = SystemClock()
    until_ms = clock.now_ms() + 20
    await clock.sleep_until(until_ms)
    assert clock.now_ms() >= until_ms
    await clock.sleep_until(until_ms - 1000)
    await clock.sleep(0)


async def test_a_manual_clock_wakes_sleepers_in_order() -> None:
    """Each at its own instant, also those that fall asleep again on the way."""
    clock: ManualClock = ManualClock(NOW_MS)
    as_clock: Clock = clock
    woken: list[tuple[str, int]] = []

    async def sleeper(name: str, *naps: float) -> None:
        for nap in naps:
            await as_clock.sleep(nap)
            woken.append((name, clock.now_ms() - NOW_MS))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sleeper("slow", 5))
        tasks.create_task(sleeper("quick", 1, 1, 4))
        await asyncio.sleep(0)
        await clock.advance(5)
        assert woken == [("quick", 1000), ("quick", 2000), ("slow", 5000)]
        assert clock.now_ms() == NOW_MS + 5000
        await clock.advance(1)
    assert woken[-1] == ("quick", 6000)
