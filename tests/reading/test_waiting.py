"""Waiting for a period: woken by events, never hung by a lost one."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from time import monotonic

import pyarrow as pa
import pytest

from bmacdb.clock import ManualClock, ServerClock, SystemClock
from bmacdb.errors import NothingToRead, UsageError
from bmacdb.store import sidefile
from bmacdb.store.reader import Reader, connect
from bmacdb.store.result import Result
from bmacdb.store.serve import Server
from bmacdb.store.waiting import Waiter
from bmacdb.store.writer import Store
from bmacdb.stream.messages import HEARTBEAT, INFO, topic_of
from bmacdb.stream.publisher import Publisher
from bmacdb.stream.subscription import Subscription
from tests.reading.conftest import Served
from tests.reading.feeding import FEED, FIRST_MS, MINUTE_MS, SYMBOLS, period

NEXT_MS = FIRST_MS + 3 * MINUTE_MS


async def test_a_complete_period_is_told_at_once(served: Served) -> None:
    """What is committed already needs no event."""
    async with connect(served.path) as reader:
        found = await reader.wait_ready(FIRST_MS)
    assert found
    assert found.feed == FEED.name
    assert found.ready == tuple(sorted(SYMBOLS))
    assert found.late == ()


async def test_a_commit_wakes_those_who_wait(served: Served) -> None:
    """Waiters for the market and for a symbol wake by the commit that brings it, each by its own."""
    async with connect(served.path) as reader, asyncio.TaskGroup() as tasks:
        market = tasks.create_task(reader.wait_ready(NEXT_MS))
        early = tasks.create_task(reader.wait_ready(NEXT_MS, symbols=["BTCUSDT"]))
        late = tasks.create_task(reader.wait_ready(NEXT_MS, symbols="ETHUSDT"))
        await served.commit(period(NEXT_MS, late=("ETHUSDT",)))
        found = await early
        assert found.complete
        assert found.ready == ("BTCUSDT",)
        assert not market.done()
        assert not late.done()
        await served.commit(period(NEXT_MS))
        assert (await market).ready == tuple(sorted(SYMBOLS))
        assert (await late).ready == ("ETHUSDT",)


async def test_the_late_are_named_when_time_is_up(served: Served) -> None:
    """The deadline passes: the result is false, and says who is there and who is not."""
    await served.commit(period(NEXT_MS, late=("ETHUSDT",)))
    async with connect(served.path) as reader:
        found = await reader.wait_ready(NEXT_MS, timeout=0.2)
        assert not found
        assert found.late == ("ETHUSDT",)
        assert found.ready == ("BTCUSDT", "币安人生USDT")
        found = await reader.wait_ready(NEXT_MS, symbols=["BTCUSDT", "ETHUSDT"], timeout=0.2)
        assert not found
        assert (found.ready, found.late) == (("BTCUSDT",), ("ETHUSDT",))


async def test_an_unknown_symbol_is_not_waited_for(served: Served) -> None:
    """A typo is told at once, with the nearest name, and not after the time-out."""
    async with connect(served.path) as reader:
        with pytest.raises(UsageError, match=r"no symbol BTCUSTD \(did you mean BTCUSDT"):
            await reader.wait_ready(NEXT_MS, symbols=["BTCUSDT", "BTCUSTD"], timeout=1000)


async def test_a_run_time_far_ahead_is_waited_for_no_longer_than_the_timeout(served: Served) -> None:
    """Days ahead, the time-out counts from the call; within an interval it counts from the run time."""
    now_ms = SystemClock().now_ms()
    async with connect(served.path) as reader:
        began = monotonic()
        assert not await reader.wait_ready(now_ms + 3 * 86_400_000, timeout=0.2)
        assert monotonic() - began < 10
        waiter = reader._waiter(now_ms + 30_000, None, 0.2, None)
        waiting = asyncio.create_task(waiter.wait())
        done, _ = await asyncio.wait({waiting}, timeout=1)
        assert not done
        waiting.cancel()
        nothing_yet = await reader.wait_ready(NEXT_MS + MINUTE_MS, timeout=0.0)
        assert nothing_yet.ready == ()
        assert nothing_yet.late == tuple(sorted(SYMBOLS))


async def test_the_deadline_counts_from_the_run_time(served: Served) -> None:
    """A wait that begins before the boundary gives up `timeout` after the boundary."""
    clock = ManualClock(NEXT_MS - 500)
    async with Reader(served.path, clock=clock) as reader:
        found = await reader.wait_ready(NEXT_MS, timeout=0.1)
    assert not found
    assert found.waited >= 0.55


async def test_the_recorders_clock_says_when_the_run_time_is(tmp_path: Path) -> None:
    """That of a stand-in exchange may be years from this machine's, and run faster."""
    clock = ServerClock(rate=20.0)
    store = await Store.open(tmp_path / "bmac.duckdb", clock=clock)
    await store.add_feed(FEED, num_candles=100)
    now = clock.monotonic()
    clock.observe(NEXT_MS - 59_000, sent=now, received=now)
    server = await Server.start(store, clock=clock, info=dict)
    async with connect(store.path) as reader:
        waiting = asyncio.create_task(reader.wait_ready(NEXT_MS, timeout=2.0))
        await clock.sleep_until(NEXT_MS)  # three seconds, after which two more are left
        batch = period(NEXT_MS)
        await store.commit(batch)
        server.announce(batch)
        assert await waiting
    await server.close()
    await store.close()


async def test_another_feeds_completeness_is_not_this_ones(tmp_path: Path) -> None:
    """Topics are matched by their beginnings: what is made of a feed, as usdt_perp_1m_to_5m, has the feed's own."""
    port, publisher = _publisher()
    live = sidefile.Live(0, port, "", os.getpid(), sidefile.process_start(os.getpid()), 0, "test")
    sidefile.write(tmp_path / "bmac.duckdb", live)
    rows = Result(pa.table({"items": [[]], "complete_at": [None], "missing": [[]]}))

    def ask(name: str, **_: object) -> Result:
        return rows if name == "look" else Result(pa.table({"item": pa.array([], pa.string())}))

    waiter = Waiter(
        tmp_path / "bmac.duckdb",
        ask,
        lambda: "usdt_perp_1m",
        run_time_ms=NEXT_MS,
        symbols=None,
        check=lambda _: None,
        timeout=1.0,
        clock=SystemClock(),
    )
    waiting = asyncio.create_task(waiter.wait())
    while not waiting.done():
        publisher._send(topic_of("complete", "usdt_perp_1m_to_5m"), {"run_time_ms": NEXT_MS, "items": ["BTCUSDT"]})
        await asyncio.sleep(0.05)
    publisher.close()
    assert not await waiting


async def test_an_event_that_was_lost_is_made_up_for(served: Served) -> None:
    """A commit that nobody announces wakes the waiter all the same: a beat tells, or it looks anyway."""
    async with connect(served.path) as reader:
        waiting = asyncio.create_task(reader.wait_ready(NEXT_MS))
        await served.store.commit(period(NEXT_MS))
        assert (await waiting).complete


async def test_a_recorder_that_starts_anew_hangs_no_waiter(served: Served) -> None:
    """The recorder ends and another takes its place on other ports: the waiter finds it and wakes."""
    reader = connect(served.path)
    waiting = asyncio.create_task(reader.wait_ready(NEXT_MS))
    await asyncio.to_thread(reader.sql, "SELECT 1")
    await served.server.close()
    await served.store.close()
    store = await Store.open(served.path, clock=SystemClock())
    server = await Server.start(store, clock=SystemClock(), info=dict, first_port=9900)
    try:
        batch = period(NEXT_MS)
        await store.commit(batch)
        server.announce(batch)
        assert (await waiting).complete
    finally:
        await asyncio.to_thread(reader.close)
        await server.close()
        await store.close()


async def test_a_wait_can_be_cancelled(served: Served) -> None:
    """Cancelled at once, and its thread lets go."""
    async with connect(served.path) as reader:
        waiting = asyncio.create_task(reader.wait_ready(NEXT_MS))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        until = monotonic() + 30
        while any(thread.name == "wait-ready" for thread in threading.enumerate()):
            assert monotonic() < until
            await asyncio.sleep(0.01)


async def test_many_wait_in_one_program(served: Served) -> None:
    """Fifty waits at once in one process all wake by the same commit."""
    async with connect(served.path) as reader, asyncio.TaskGroup() as tasks:
        waits = [tasks.create_task(reader.wait_ready(NEXT_MS)) for _ in range(50)]
        await served.commit(period(NEXT_MS))
    assert all(wait.result() for wait in waits)


async def test_without_an_event_loop(served: Served) -> None:
    """The blocking form does the same."""
    reader = connect(served.path)
    waiting = asyncio.get_running_loop().run_in_executor(None, reader.wait_ready_blocking, NEXT_MS)
    await served.commit(period(NEXT_MS))
    assert (await waiting).complete
    await asyncio.to_thread(reader.close)


async def test_nothing_to_wait_for_is_an_error(tmp_path: object) -> None:
    """Neither a recorder nor a file: the wait says so instead of waiting."""
    with connect(f"{tmp_path}/none.duckdb") as reader, pytest.raises(NothingToRead):
        await reader.wait_ready(NEXT_MS)


def test_messages_say_what_was_committed() -> None:
    """Ready items by run time, each state of a run time once, a heartbeat with the newest complete of each feed."""
    port, publisher = _publisher()
    ready, complete = topic_of("ready", FEED.name), topic_of("complete", FEED.name)
    subscription = Subscription(f"tcp://127.0.0.1:{port}", (ready, complete, HEARTBEAT, INFO))
    try:
        until = monotonic() + 30
        while subscription.receive(0.01) is None:  # until it has joined
            publisher.heartbeat(1, {})
            assert monotonic() < until
        publisher.commit(period(FIRST_MS, late=("ETHUSDT",)))
        publisher.commit(period(FIRST_MS))
        publisher.commit(period(FIRST_MS))
        publisher.heartbeat(7, {"pid": 1})
        heard: list[tuple[str, dict[str, object]]] = []
        while not heard or heard[-1][0] != INFO or heard[-1][1].get("pid") != 1:
            message = subscription.receive(30)
            assert message is not None
            assert message.epoch == publisher.epoch
            values = {name: value for name, value in message.header.items() if name not in ("epoch", "number")}
            if message.kind == "complete":
                assert set(values.pop("numbers").values()) == {0, message.number}  # type: ignore[attr-defined]
            if values and values.get("now_ms") != 1:
                heard.append((f"{message.topic} {message.number}" if message.feed else message.topic, values))
    finally:
        subscription.close()
        publisher.close()
    items = ["BTCUSDT", "币安人生USDT"]
    done = {"run_time_ms": FIRST_MS, "state": "complete", "deadline_ms": FIRST_MS + 40_000, "stragglers": []}
    numbers = {f"candles/{FEED.name}": 3, ready: 3, complete: 2}
    assert heard == [
        (f"{ready} 1", {"run_time_ms": FIRST_MS, "items": items}),
        (
            f"{complete} 1",
            {
                "run_time_ms": FIRST_MS,
                "state": "late",
                "deadline_ms": FIRST_MS + 40_000,
                "items": None,
                "stragglers": ["ETHUSDT"],
            },
        ),
        (f"{ready} 2", {"run_time_ms": FIRST_MS, "items": list(SYMBOLS)}),
        (
            f"{complete} 2",
            {**done, "items": [*items, *SYMBOLS]},
        ),
        (f"{ready} 3", {"run_time_ms": FIRST_MS, "items": list(SYMBOLS)}),
        (HEARTBEAT, {"now_ms": 7, "rate": 1.0, "complete": {FEED.name: FIRST_MS}, "numbers": numbers}),
        (INFO, {"pid": 1}),
    ]


def _publisher() -> tuple[int, Publisher]:
    for port in range(19_000, 20_000):
        try:
            return port, Publisher(port)
        except OSError:
            continue
    raise AssertionError("no free port")
