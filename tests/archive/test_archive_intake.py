"""One writer still: rows of other processes go through the recorder that holds the file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bmacdb.archive.load import in_mirror, load
from bmacdb.archive.sink import FileSink, RecorderSink, open_sink
from bmacdb.clock import ManualClock
from bmacdb.errors import StoreError
from bmacdb.interval import HOUR_MS, MINUTE_MS
from bmacdb.model import Batch, Candle, Feed, FundingRate, Gap, GapState, Source
from bmacdb.recorder.decide import FeedState
from bmacdb.recorder.decision import Decision
from bmacdb.recorder.dispatch import Dispatcher
from bmacdb.recorder.messages import Message, RowsOffered, Stop
from bmacdb.store import rows, sidefile
from bmacdb.store.intake import MOST_ROWS, Intake, IntakeClient, IntakeLost, Offer, ensure_feed
from bmacdb.store.writer import Store
from bmacdb.symbols import make_feed, parse_feed

from .support import JANUARY_MS, LAST_DAY_MS, NOW_MS, SPOT, scene

MINUTES = make_feed("usdt_perp", "1m")


class Recording:
    """A store held by a recorder of nothing, which takes what is offered."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.offers: list[Offer] = []

    async def take(self, offer: Offer) -> None:
        await ensure_feed(self.store, parse_feed(offer.feed), num_candles=10)
        await self.store.commit(
            Batch(offer.feed, NOW_MS, offer.candles, funding_rates=offer.funding_rates, gaps=offer.gaps)
        )
        self.offers.append(offer)


@asynccontextmanager
async def recording(path: Path) -> AsyncIterator[Recording]:
    """A file that is held, announced by a side file."""
    store = await Store.open(path, clock=ManualClock(NOW_MS))
    holder = Recording(store)
    intake = await Intake.start(holder.take, token="secret")
    live = sidefile.Live(
        port=1,
        events_port=2,
        token="secret",
        pid=os.getpid(),
        pid_started=sidefile.process_start(os.getpid()),
        started_ms=NOW_MS,
        version="0",
        intake_port=intake.port,
    )
    sidefile.write(path, live)
    try:
        yield holder
    finally:
        sidefile.remove(path, live)
        await intake.close()
        await store.close()


async def test_an_import_into_a_held_file_goes_through_its_holder(tmp_path: Path) -> None:
    """The same rows as into a file at rest, in offers of bounded size; again, and nothing is there twice."""
    async with scene(tmp_path) as here:
        await here.fetch(SPOT, "BTCUSDT", "ETHUSDT", start_ms=JANUARY_MS - 180 * 24 * HOUR_MS)
        files = in_mirror(here.mirror, SPOT)
        async with recording(here.database) as holder:
            for _ in range(2):
                sink = await open_sink(here.database, SPOT, clock=here.clock)
                assert isinstance(sink, RecorderSink)
                _, totals = await load(files, sink, clock=here.clock)
                await sink.close()
            assert totals.added is None, "a recorder does not say"
            assert max(len(offer.candles) for offer in holder.offers) <= MOST_ROWS
        sink = await open_sink(here.database, SPOT, clock=here.clock)
        assert isinstance(sink, FileSink)
        await sink.close()
        start_ms = here.recorded(SPOT, "BTCUSDT")[0][0]
        for symbol in ("BTCUSDT", "ETHUSDT"):
            assert here.recorded(SPOT, symbol) == here.truth(SPOT, symbol, start_ms, LAST_DAY_MS)


async def test_everything_that_travels_arrives_as_it_was(tmp_path: Path) -> None:
    """Candles of any source, settled funding, and holes."""
    candles = tuple(
        Candle("币安人生USDT", JANUARY_MS + n * HOUR_MS, 1.1, 2.2, 0.3, 1 / 3, 4.0, 5.0, 6, 7.0, 8.0, source)
        for n, source in enumerate(Source)
    )
    gaps = (
        Gap("BTCUSDT", JANUARY_MS, JANUARY_MS + HOUR_MS, GapState.OPEN, "a reason", 5),
        Gap("BTCUSDT", JANUARY_MS + HOUR_MS, JANUARY_MS + 2 * HOUR_MS, GapState.ABSENT, "none", 5, 6),
    )
    rates = (FundingRate("BTCUSDT", JANUARY_MS + 3, "Regular", -0.0001, None),)
    async with recording(tmp_path / "bmac.duckdb") as holder:
        sink = await open_sink(tmp_path / "bmac.duckdb", SPOT, clock=ManualClock(NOW_MS))
        await sink.candles(candles)
        await sink.gaps(gaps)
        await sink.close()
        client = await IntakeClient.connect(_live(tmp_path))
        await client.offer(SPOT.name, "funding_rates", rows.funding_rate_rows(list(rates)))
        await client.close()
    assert holder.offers == [
        Offer(SPOT.name, candles=candles),
        Offer(SPOT.name, gaps=gaps),
        Offer(SPOT.name, funding_rates=rates),
    ]


def _live(folder: Path) -> sidefile.Live:
    live = sidefile.read(folder / "bmac.duckdb")
    assert live is not None
    return live


async def test_who_has_no_token_gets_nowhere(tmp_path: Path) -> None:
    """Nor does who sends something else; the intake goes on for others."""
    path = tmp_path / "bmac.duckdb"
    async with recording(path) as holder:
        live = sidefile.read(path)
        assert live is not None
        with pytest.raises(IntakeLost):
            await IntakeClient.connect(replace(live, token="wrong"))
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 100, b"\x00\x00\x00\x02\x00\x00\x00\x00[]"):
            reader, writer = await asyncio.open_connection("127.0.0.1", live.intake_port)
            writer.write(garbage)
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
        client = await IntakeClient.connect(live)
        with pytest.raises(StoreError, match="refuses"):
            await client.offer("nonsense", "candles", rows.candle_rows([_candle(0)], 0))
        with pytest.raises(StoreError, match="takes no rows"):
            await client.offer(SPOT.name, "runs", rows.candle_rows([_candle(0)], 0))
        await client.offer(SPOT.name, "candles", rows.candle_rows([_candle(0)], 0))
        await client.close()
    assert len(holder.offers) == 1


def _candle(minute: int, symbol: str = "BTCUSDT", source: Source = Source.ARCHIVE) -> Candle:
    return Candle(symbol, JANUARY_MS + minute * MINUTE_MS, 1, 1, 1, 1, 1, 1, 1, 1, 1, source)


async def test_a_recorder_that_ends_is_told_with_what_to_do(tmp_path: Path) -> None:
    """And what it acknowledged is in the file."""
    path = tmp_path / "bmac.duckdb"
    async with recording(path):
        sink = await open_sink(path, SPOT, clock=ManualClock(NOW_MS))
    with pytest.raises(IntakeLost, match="run this again"):
        await sink.candles([_candle(0)])
    await sink.close()


def state_with_gap(feed: Feed) -> FeedState:
    state = FeedState(feed, close_timeout_ms=15_000, page_rows=499, settle_ms=15_000)
    gap = Gap("BTCUSDT", JANUARY_MS, JANUARY_MS + 4 * MINUTE_MS, GapState.OPEN, "late", 5)
    state.resume(
        expected=["BTCUSDT"], latest={"BTCUSDT": JANUARY_MS + 60 * MINUTE_MS}, unfinished=[], gaps=[gap], now_ms=5
    )
    return state


def test_rows_that_are_offered_settle_the_recorders_own_gaps() -> None:
    """Bars fill them, a proof of absence closes them, and a bar that has not closed is not believed."""
    state, into, now_ms = state_with_gap(MINUTES), Decision(), JANUARY_MS + 90 * MINUTE_MS
    absent = Gap("BTCUSDT", JANUARY_MS + MINUTE_MS, JANUARY_MS + 2 * MINUTE_MS, GapState.ABSENT, "none", now_ms, now_ms)
    candles = (_candle(0), _candle(3), _candle(90), _candle(5, "NEWUSDT"))
    offer = RowsOffered(MINUTES.name, candles, (), (absent,), done=lambda: None)
    state.take(offer, now_ms, into)
    assert into.candles == [candles[0], candles[1], candles[3]]
    assert into.offers == [offer]
    states = {(gap.gap_start_ms - JANUARY_MS) // MINUTE_MS: gap.state for gap in into.gaps.values()}
    assert states == {0: GapState.FILLED, 1: GapState.ABSENT, 2: GapState.OPEN, 3: GapState.FILLED}
    assert state.open_gaps() == 1


async def test_an_offer_is_answered_after_its_commit(tmp_path: Path) -> None:
    """Also one for a feed that is in the file and not recorded now."""
    queue: asyncio.Queue[Message | Stop] = asyncio.Queue()
    store = await Store.open(tmp_path / "a.duckdb", clock=ManualClock(NOW_MS))
    try:
        await store.add_feed(SPOT, num_candles=10)
        answered: list[int] = []
        dispatcher = Dispatcher(
            queue,
            {},
            store=store,
            clock=ManualClock(NOW_MS),
            report=lambda _: None,
            announce=lambda batch, _: answered.append(-len(batch.candles)),
        )
        await queue.put(RowsOffered(SPOT.name, (_candle(0), _candle(60)), (), (), done=lambda: answered.append(1)))
        await queue.put(Stop())
        await dispatcher.run()
        assert answered == [-2, 1]
    finally:
        await store.close()
