"""Bars while recording: made as each run time completes, mended when parts come late, found again after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pytest

from bmacdb.clock import ManualClock, SystemClock, from_ms
from bmacdb.errors import QueryRefused, StoreError, StoreFull
from bmacdb.interval import HOUR_MS
from bmacdb.model import Batch, Candle, FundingRate, Run, Source
from bmacdb.offset import Resampling
from bmacdb.recorder.events import Event, Notice
from bmacdb.recorder.resample import Resampler
from bmacdb.store.reader import connect
from bmacdb.store.resample import bars_query
from bmacdb.store.serve import Server
from bmacdb.store.writer import Store

from .support import FEED, HOURS, STEP_MS, T0, by_hand, candle, kept, open_store, period, same

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


@dataclass
class Recording:
    """A Store and a Resampler on it; `candles` are what was committed."""

    store: Store
    resampler: Resampler
    announced: list[Batch]
    events: list[Event]
    written: list[pa.Table]
    candles: dict[tuple[str, int], Candle] = field(default_factory=dict)

    async def commit(self, batch: Batch) -> None:
        await self.store.commit(batch)
        self.candles |= {(bar.symbol, bar.open_time_ms): bar for bar in batch.candles}
        self.resampler.committed(batch)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.005)

    async def agree(self) -> None:
        """Wait until the bars are those that the committed candles make."""
        theirs = by_hand(self.candles.values(), HOURS)
        async with asyncio.timeout(30):
            while (await self.bars()).keys() != theirs.keys():
                await asyncio.sleep(0.005)
        same(await self.bars(), theirs)
        table = await self.store.beside(lambda con: con.execute(f"FROM {HOURS.name}.candles").to_arrow_table())
        stored = {(row["symbol"], row["open_time"]): row for row in table.to_pylist()}
        await self.until(lambda: all(stored.get(key) == row for key, row in self.told().items()))

    def told(self) -> dict[tuple[str, object], dict[str, object]]:
        """The bars as they were announced, the last version of each."""
        rows = (row for table in self.written for row in table.to_pylist())
        return {(row["symbol"], row["open_time"]): row for row in rows}

    async def bars(self) -> dict[tuple[str, int], tuple[object, ...]]:
        return await self.store.beside(lambda con: kept(con, f"{HOURS.name}.candles"))

    async def runs(self) -> list[tuple[object, ...]]:
        return await self.store.beside(
            lambda con: con.execute(
                f"SELECT epoch_ms(run_time), expected, ready, complete_at IS NOT NULL, repaired, missing "
                f"FROM {HOURS.name}.runs ORDER BY 1"
            ).fetchall()
        )


@asynccontextmanager
async def recording(path: Path, *, keep: int | None = None, window: int = 200) -> AsyncIterator[Recording]:
    clock = ManualClock(T0)
    store = await open_store(path, clock)
    announced: list[Batch] = []
    written: list[pa.Table] = []

    def announce(batch: Batch, tables: Mapping[str, pa.Table] | None) -> None:
        assert tables is not None
        announced.append(batch)
        written.extend(tables.values())

    events: list[Event] = []
    resampler = Resampler(
        store, [HOURS], window=window, keep=keep, clock=clock, report=events.append, announce=announce
    )
    await resampler.open()
    running = asyncio.create_task(resampler.run())
    try:
        yield Recording(store, resampler, announced, events, written)
    finally:
        resampler.stop()
        await running
        await store.close()


def history(first: int, end: int) -> Batch:
    """Bars by REST, as they are fetched before the first run time."""
    bars = tuple(
        candle(symbol, T0 + place * STEP_MS, source=Source.REST) for place in range(first, end) for symbol in SYMBOLS
    )
    return Batch(FEED.name, T0, bars)


async def test_each_complete_run_time_makes_the_bars_that_end_at_it_and_those_before_it(tmp_path: Path) -> None:
    async with recording(tmp_path / "bmac.duckdb") as it:
        await it.commit(history(0, 40))
        for place in range(41, 45):
            await it.commit(period(T0 + place * STEP_MS, SYMBOLS))
        await it.agree()
        bars = await it.bars()
        await it.until(lambda: len(it.announced) >= 4 and len(it.told()) == len(bars))
        assert await it.runs() == [(T0 + place * STEP_MS, 3, 3, True, 0, []) for place in range(41, 45)]
        batch = it.announced[0]
        assert batch.feed == "usdt_perp_5m_to_1h"
        assert {row.item for row in batch.ready} == set(SYMBOLS)
        assert batch.runs[0].complete_at_ms is not None


async def test_what_is_due_when_the_recorder_stops_is_made(tmp_path: Path) -> None:
    path = tmp_path / "bmac.duckdb"
    async with recording(path) as it:
        await it.commit(history(0, 20))
        await it.commit(period(T0 + 21 * STEP_MS, SYMBOLS))
        last = HOURS.ending_at(T0 + 21 * STEP_MS)
    with connect(path) as reader:
        rows = reader.sql(
            f"SELECT count(*) FROM {HOURS.name}.candles WHERE open_time = $at", {"at": from_ms(last or 0)}
        )
        assert rows.one() == (3,)


async def test_bars_whose_parts_come_late_are_made_then(tmp_path: Path) -> None:
    """Past the deadline the others get theirs; the late one's come with its part, and the run becomes complete."""
    async with recording(tmp_path / "bmac.duckdb") as it:
        await it.commit(history(0, 30))
        late_ms = T0 + 31 * STEP_MS
        await it.commit(period(late_ms, SYMBOLS, late=["SOLUSDT"]))
        for place in (32, 33):
            await it.commit(period(T0 + place * STEP_MS, SYMBOLS))
        await it.agree()
        await it.until(lambda: len(it.announced) >= 3)
        assert [run[1:] for run in await it.runs()] == [
            (2, 2, False, 0, []),  # the symbol that lacks its last part is the feed's own affair
            (3, 2, True, 0, ["SOLUSDT"]),
            (3, 2, True, 0, ["SOLUSDT"]),
        ]
        part = candle("SOLUSDT", late_ms - STEP_MS, source=Source.REST)
        run = Run(late_ms, 3, 3, late_ms + 60_000, "SOLUSDT", 1, ("SOLUSDT",))
        await it.commit(Batch(FEED.name, late_ms + 60_000, (part,), runs=(run,)))
        await it.agree()

        async def told() -> list[tuple[object, ...]]:
            return [run[1:] for run in await it.runs()]

        async with asyncio.timeout(30):
            while await told() != [(3, 3, True, 1, [])] * 3:
                await asyncio.sleep(0.01)


async def test_a_corrected_part_and_a_late_funding_correct_the_bars_that_have_them(tmp_path: Path) -> None:
    async with recording(tmp_path / "bmac.duckdb") as it:
        await it.commit(history(0, 30))
        await it.commit(period(T0 + 31 * STEP_MS, SYMBOLS))
        await it.agree()
        at_ms = T0 + 15 * STEP_MS
        await it.commit(Batch(FEED.name, T0, (candle("BTCUSDT", at_ms, version=1, source=Source.ARCHIVE),)))
        await it.commit(
            Batch(FEED.name, T0, funding_rates=(FundingRate("ETHUSDT", at_ms + 4, "Regular", 0.001, None),))
        )
        theirs = by_hand(it.candles.values(), HOURS, {("ETHUSDT", at_ms + 4): 0.001})

        async def funded() -> int:
            return sum(row[-3] == 0.001 for row in (await it.bars()).values())

        async with asyncio.timeout(30):
            while await funded() < 12 or (await it.bars())["BTCUSDT", at_ms][1] != theirs["BTCUSDT", at_ms][1]:
                await asyncio.sleep(0.01)
        same(await it.bars(), theirs)


async def test_a_restart_makes_what_was_not_made_and_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "bmac.duckdb"
    async with recording(path) as first:
        await first.commit(history(0, 30))
        await first.commit(period(T0 + 31 * STEP_MS, SYMBOLS))
        await first.agree()
    async with recording(path) as second:
        second.candles |= first.candles
        await second.commit(history(31, 50))  # what it missed
        await second.commit(period(T0 + 51 * STEP_MS, SYMBOLS))
        await second.agree()


async def test_history_that_comes_while_recording_makes_its_bars_too(tmp_path: Path) -> None:
    async with recording(tmp_path / "bmac.duckdb") as it:
        await it.commit(history(40, 60))
        await it.commit(period(T0 + 61 * STEP_MS, SYMBOLS))
        await it.commit(history(0, 40))
        await it.commit(period(T0 + 62 * STEP_MS, SYMBOLS))
        await it.agree()


async def test_only_the_window_before_the_first_run_time_is_made(tmp_path: Path) -> None:
    async with recording(tmp_path / "bmac.duckdb", window=24) as it:
        await it.commit(history(0, 60))
        await it.commit(period(T0 + 61 * STEP_MS, SYMBOLS))
        async with asyncio.timeout(30):
            while len(await it.bars()) < 3 * 13:
                await asyncio.sleep(0.01)
        assert min(key[1] for key in await it.bars()) == T0 + (61 - 24) * STEP_MS


async def test_what_is_older_than_the_user_keeps_goes(tmp_path: Path) -> None:
    async with recording(tmp_path / "bmac.duckdb", keep=24, window=24) as it:
        await it.commit(history(0, 30))
        for place in range(31, 95):
            await it.commit(period(T0 + place * STEP_MS, SYMBOLS))
            await it.until(lambda place=place: len(it.announced) >= place - 30)  # type: ignore[misc]
        oldest = min(key[1] for key in await it.bars())
        assert oldest >= T0 + (31 - 24 + 30) * STEP_MS
        assert len(await it.runs()) <= 60


async def test_readers_wait_for_bars_as_for_candles(tmp_path: Path) -> None:
    """`wait_ready` on the pair's name, through the server, wakes when its bars are there."""
    path = tmp_path / "bmac.duckdb"
    store = await Store.open(path, clock=SystemClock())
    await store.add_feed(FEED, num_candles=200)
    server = await Server.start(store, clock=SystemClock(), info=dict)
    resampler = Resampler(
        store, [HOURS], window=200, keep=None, clock=SystemClock(), report=lambda _: None, announce=server.announce
    )
    await resampler.open()
    running = asyncio.create_task(resampler.run())
    batch = history(0, 20)
    await store.commit(batch)
    resampler.committed(batch)
    server.announce(batch)
    run_time_ms = T0 + 21 * STEP_MS
    async with connect(path, clock=ManualClock(run_time_ms)) as reader:
        waiting = asyncio.create_task(reader.wait_ready(from_ms(run_time_ms), feed=HOURS.name, timeout=30))
        batch = period(run_time_ms, SYMBOLS)
        await store.commit(batch)
        resampler.committed(batch)
        readiness = await waiting
        assert readiness.complete
        assert readiness.ready == SYMBOLS
        count = None
        while count is None:  # the guard hears of a new view a moment after its first rows
            with suppress(QueryRefused):
                count = await asyncio.to_thread(
                    lambda: reader.sql("SELECT count(*) FROM resampled_candles WHERE feed = ?", [HOURS.name]).one()
                )
        assert count[0] >= 3
        # The query for any bars passes the recorder's guard too: bmacdb resample asks it of a live database.
        for resampling, minutes in ((HOURS, None), (Resampling.of(FEED, "30m", [5]), FEED.name)):
            query, params = bars_query(resampling, T0, run_time_ms, minutes=minutes)
            asked = await asyncio.to_thread(reader.sql, query, params)
            there = {(bar.symbol, bar.open_time_ms): bar for bar in (*history(0, 20).candles, *batch.candles)}
            assert len(asked) == len(by_hand(there.values(), resampling)) > 0
    resampler.stop()
    await running
    await server.close()
    await store.close()


class Faulty:
    """A Store whose work beside fails as told."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.faults: list[Exception] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def beside(self, work: Callable[..., object]) -> object:
        if self.faults:
            raise self.faults.pop()
        return await self._store.beside(work)


@pytest.mark.parametrize("fault", [StoreFull("the disk is full"), StoreError("something is broken")])
async def test_bars_that_cannot_be_written_do_not_end_the_recording(tmp_path: Path, fault: StoreError) -> None:
    """It is told; a full disk is waited for, anything else gives these bars up until the next start."""
    store = await open_store(tmp_path / "bmac.duckdb")
    faulty = Faulty(store)
    events: list[Event] = []
    resampler = Resampler(
        faulty,  # type: ignore[arg-type]
        [HOURS],
        window=200,
        keep=None,
        clock=ManualClock(T0),
        report=events.append,
        announce=lambda *_: None,
    )
    await resampler.open()
    await store.commit(history(0, 12))
    faulty.faults.append(fault)
    resampler.committed(period(T0 + HOUR_MS, SYMBOLS))
    running = asyncio.create_task(resampler.run())
    async with asyncio.timeout(30):
        while not events:
            await asyncio.sleep(0.01)
    resampler.stop()
    await running
    (notice,) = events
    assert isinstance(notice, Notice)
    assert str(fault) in notice.text
    count = await store.run(lambda con: con.execute(f"SELECT count(*) FROM {HOURS.name}.candles").fetchone())
    assert count == ((3,) if isinstance(fault, StoreFull) else (0,))
    await store.close()
