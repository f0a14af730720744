"""A market of a recorder in this process: what a subscriber hears, misses and is told when it cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

import bmacdb
from bmacdb.clock import SystemClock, from_ms
from bmacdb.errors import BmacdbError, NothingToRead, UsageError
from bmacdb.live.events import CandleEvent, CompleteEvent
from bmacdb.model import Batch, Candle, Source
from bmacdb.store.rows import candle_rows
from bmacdb.store.serve import Server
from bmacdb.store.writer import Store
from bmacdb.stream import publisher, subscription
from tests.reading.feeding import FEED, FIRST_MS, MINUTE_MS, SYMBOLS, bar, period

from .support import same_as_database


class Recorder:
    """Commits periods and publishes them."""

    def __init__(self, store: Store, server: Server) -> None:
        self.store, self.server = store, server

    async def commit(self, batch: Batch) -> None:
        self.server.announce(batch, await self.store.commit(batch))

    async def periods(self, first: int, end: int) -> None:
        for n in range(first, end):
            await self.commit(period(FIRST_MS + n * MINUTE_MS))


@asynccontextmanager
async def recording(path: Path, periods: int = 5) -> AsyncIterator[Recorder]:
    store = await Store.open(path, clock=SystemClock())
    try:
        await store.add_feed(FEED, num_candles=100)
        server = await Server.start(store, clock=SystemClock(), info=lambda: {"pid": 0})
        try:
            recorder = Recorder(store, server)
            await recorder.periods(0, periods)
            yield recorder
        finally:
            await server.close()
    finally:
        await store.close()


async def until_complete(market: bmacdb.Market, run_time_ms: int) -> list[object]:
    events: list[object] = []
    async for event in market:
        events.append(event)
        if isinstance(event, CompleteEvent) and event.run_time == from_ms(run_time_ms):
            return events
    raise AssertionError("the market ended")


async def test_each_candle_comes_once(tmp_path: Path) -> None:
    """A period of which one candle is there before, a correction of an old candle, a market that is late."""
    path = tmp_path / "bmac.duckdb"
    async with recording(path) as recorder:
        last_ms = FIRST_MS + 5 * MINUTE_MS
        whole = period(last_ms)
        await recorder.commit(replace(whole, candles=whole.candles[:1], ready=whole.ready[:1], runs=()))
        async with bmacdb.subscribe(path, window=10) as market:
            assert market.panel.newest_ms == last_ms - MINUTE_MS
            assert market.run_time == from_ms(last_ms - MINUTE_MS)
            await recorder.commit(replace(whole, candles=whole.candles[1:], ready=whole.ready[1:]))
            heard = await until_complete(market, last_ms)
            candles = [event for event in heard if isinstance(event, CandleEvent)]
            assert sorted(symbol for event in candles for symbol in event.symbols) == sorted(SYMBOLS[1:])

            old = replace_candle(FIRST_MS)
            await recorder.commit(Batch(FEED.name, last_ms + 1, candles=(old,)))
            await recorder.commit(period(last_ms + MINUTE_MS, late=(SYMBOLS[1],)))
            heard = await until_complete(market, last_ms + MINUTE_MS)
            assert heard[-1] == CompleteEvent(from_ms(last_ms + MINUTE_MS), False, (SYMBOLS[1],))
            corrected = [e for e in heard if isinstance(e, CandleEvent) and e.since == from_ms(FIRST_MS + MINUTE_MS)]
            assert [set(event.symbols) >= {SYMBOLS[0]} for event in corrected] == [True]
            assert market["close"][market.panel.opens.searchsorted(FIRST_MS), market.panel.place(SYMBOLS[0])] == 7.0
            assert market.frame(SYMBOLS[0]).index[-1] == from_ms(last_ms + MINUTE_MS)
            assert await asyncio.to_thread(same_as_database, market.panel, path) == 7 * len(SYMBOLS) - 1


def replace_candle(open_ms: int) -> Candle:
    return msgspec.structs.replace(bar(SYMBOLS[0], open_ms), close=7.0, source=Source.REST)


async def test_a_subscriber_that_sleeps_reads_what_it_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More messages than wait for one: the window is read again, and every run time in between is told of in order."""
    monkeypatch.setattr(publisher, "HIGH_WATER_MARK", 5)
    monkeypatch.setattr(subscription, "HIGH_WATER_MARK", 5)
    path = tmp_path / "bmac.duckdb"
    async with recording(path) as recorder, bmacdb.subscribe(path, window=30) as market:
        # What lies long before the window fills what waits; it changes nothing in the panel.
        flood = candle_rows([bar("BTCUSDT", n * MINUTE_MS) for n in range(1000)], recorded_at_ms=FIRST_MS)
        for _ in range(200):
            recorder.server.announce(Batch(FEED.name, FIRST_MS), {"candles": flood})
        await recorder.periods(5, 31)
        heard = await asyncio.wait_for(until_complete(market, FIRST_MS + 30 * MINUTE_MS), 60)
        run_times = [event.run_time for event in heard if isinstance(event, CompleteEvent)]
        assert run_times == [from_ms(FIRST_MS + n * MINUTE_MS) for n in range(5, 31)]
        assert await asyncio.to_thread(same_as_database, market.panel, path) == 30 * len(SYMBOLS)


async def test_a_wait_that_is_cancelled_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bmac.duckdb"
    async with recording(path) as recorder, bmacdb.subscribe(path, window=10) as market:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(market.complete(FIRST_MS + 5 * MINUTE_MS), 0.05)
        await recorder.periods(5, 6)
        done = await asyncio.wait_for(market.complete(FIRST_MS + 5 * MINUTE_MS), 60)
        assert done.complete
        assert await market.complete(FIRST_MS) == CompleteEvent(from_ms(FIRST_MS), True, ())


async def test_the_past_is_replayed_and_then_it_is_live(tmp_path: Path) -> None:
    """The same events by replay, over the file at rest and with a recorder, which then goes on live."""
    path = tmp_path / "bmac.duckdb"
    start = FIRST_MS + 2 * MINUTE_MS
    wanted = [from_ms(start + n * MINUTE_MS) for n in range(3)]
    async with recording(path) as recorder, bmacdb.subscribe(path, window=3, start=start) as market:
        seen: list[object] = []

        async def later(event: CompleteEvent) -> None:
            seen.append(event.run_time)

        market.on(CompleteEvent, later)
        assert market.panel.end_ms == start - MINUTE_MS
        await until_complete(market, FIRST_MS + 4 * MINUTE_MS)
        assert seen == wanted
        await recorder.periods(5, 7)
        await asyncio.wait_for(until_complete(market, FIRST_MS + 6 * MINUTE_MS), 60)
        assert len(seen) == 5
        await asyncio.to_thread(same_as_database, market.panel, path)
    with bmacdb.subscribe(path, window=3, start=start) as market:
        events = list(market)
        done = [event.run_time for event in events if isinstance(event, CompleteEvent)]
        assert done == [from_ms(start + n * MINUTE_MS) for n in range(5)]
        same_as_database(market.panel, path)
        with pytest.raises(UsageError, match="ends before"):
            market.complete_blocking(FIRST_MS + 100 * MINUTE_MS)


async def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    """No recorder, an unknown feed, a start that is no run time or after the record, a market that is not open."""
    path = tmp_path / "bmac.duckdb"
    async with recording(path):
        pass
    cases: list[tuple[dict[str, object], type[BmacdbError], str]] = [
        ({}, NothingToRead, "no recorder is alive"),
        ({"feed": "usdt_perp_5m", "start": FIRST_MS}, UsageError, "usdt_perp_5m"),
        ({"start": FIRST_MS + 1}, UsageError, "no boundary"),
        ({"start": FIRST_MS + 60 * MINUTE_MS}, UsageError, "after the last run time"),
    ]
    for arguments, kind, words in cases:
        with pytest.raises(kind, match=words), bmacdb.subscribe(path, window=3, **arguments):  # type: ignore[arg-type]
            pass
    with pytest.raises(UsageError, match="not open"):
        next(bmacdb.subscribe(path))


async def test_a_window_deeper_than_the_record_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "bmac.duckdb"
    async with recording(path):
        pass
    with bmacdb.subscribe(path, window=100, start=FIRST_MS):
        assert "the window of 100 bars begins at" in caplog.text
