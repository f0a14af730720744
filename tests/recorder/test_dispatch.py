"""The Dispatcher: one consumer, one transaction a feed and drain, told to the world only once committed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import duckdb
import pyarrow as pa
import pytest

from bmacdb.clock import ManualClock
from bmacdb.errors import StoreFull
from bmacdb.interval import MINUTE_MS
from bmacdb.model import Batch
from bmacdb.recorder.decide import FeedState
from bmacdb.recorder.dispatch import Dispatcher, FeedEdges
from bmacdb.recorder.events import Event, Notice, RunComplete, RunProgress
from bmacdb.recorder.messages import Boundary, Fetch, Message, Purpose, Stop, Tick
from bmacdb.store.writer import Store

from .support import FEED, T0, closed, listed, live_state, page

BAR = T0 - MINUTE_MS


def edges(state: FeedState, *, offered: list[Fetch] | None = None, room: bool = True) -> FeedEdges:
    def offer(fetch: Fetch) -> bool:
        if offered is not None:
            offered.append(fetch)
        return room

    return FeedEdges(
        state,
        listen=lambda _: None,
        backfill=lambda _: None,
        owed=lambda _: None,
        offer=offer,
        taken=lambda *_: None,
        completed=lambda _: None,
    )


async def dispatch(
    store: Store, messages: list[Message], feed_edges: FeedEdges, *, at_ms: int, clock: ManualClock | None = None
) -> tuple[Dispatcher, list[Batch], list[Event]]:
    """Let a Dispatcher consume `messages` to the end."""
    queue: asyncio.Queue[Message | Stop] = asyncio.Queue()
    for message in (*messages, Stop()):
        queue.put_nowait(message)
    announced: list[Batch] = []
    told: list[Event] = []
    dispatcher = Dispatcher(
        queue,
        {FEED.name: feed_edges},
        store=store,
        clock=clock or ManualClock(at_ms),
        report=told.append,
        announce=lambda batch, _: announced.append(batch),
    )
    await dispatcher.run()
    return dispatcher, announced, told


async def test_what_the_queue_holds_is_one_transaction(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "a.duckdb", clock=ManualClock(T0))
    try:
        await store.add_feed(FEED, num_candles=10)
        symbols = [f"S{n}USDT" for n in range(300)]
        messages: list[Message] = [Boundary(FEED.name, T0), *(closed(symbol, BAR) for symbol in symbols)]
        dispatcher, announced, told = await dispatch(store, messages, edges(live_state(*symbols)), at_ms=T0 + 60)
    finally:
        await store.close()
    assert dispatcher.commits == 1
    assert [len(batch.candles) for batch in announced] == [300]
    assert [event.expected for event in told if isinstance(event, RunComplete)] == [300]
    with duckdb.connect(str(tmp_path / "a.duckdb"), read_only=True) as connection:
        counts = connection.execute("SELECT (SELECT count(*) FROM candles), (SELECT count(*) FROM run_status)")
        assert counts.fetchall() == [(300, 300)]


class FullStore:
    """Has no room the first two times."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.refusals = 2

    async def commit(self, batch: Batch) -> dict[str, pa.Table]:
        if self.refusals:
            self.refusals -= 1
            raise StoreFull("no space left on the device.")
        self.batches.append(batch)
        return {}


async def test_a_full_disk_pauses_recording_and_nothing_is_lost_or_told_too_early() -> None:
    store = FullStore()
    messages: list[Message] = [Boundary(FEED.name, T0), closed("BTCUSDT", BAR)]
    clock = ManualClock(T0 + 60)
    dispatching = asyncio.create_task(
        dispatch(cast(Store, store), messages, edges(live_state("BTCUSDT")), at_ms=T0 + 60, clock=clock)
    )
    for _ in range(3):
        await asyncio.sleep(0)
        await clock.advance(5)
    dispatcher, announced, told = await dispatching
    assert dispatcher.commits == 1
    assert announced == store.batches
    kinds = [type(event).__name__ for event in told]
    assert kinds.index("Notice") < kinds.index("RunComplete")
    texts = [event.text for event in told if isinstance(event, Notice)]
    assert ["no space left" in text for text in texts] == [True, False], "said once, and once that it is over"
    assert {row.ready_at_ms for batch in store.batches for row in batch.ready} == {T0 + 60 + 10_000}
    assert [run.complete_at_ms for batch in store.batches for run in batch.runs] == [T0 + 60 + 10_000]


async def test_a_recorder_that_is_behind_looks_once_at_what_is_late() -> None:
    """A minute's ticks that waited in the queue are one: after the bars that waited with them, and told once."""
    store = FullStore()
    store.refusals = 0
    messages: list[Message] = [Boundary(FEED.name, T0), *[Tick(FEED.name)] * 20, closed("BTCUSDT", BAR)]
    messages += [Tick(FEED.name)] * 10
    _, _, told = await dispatch(cast(Store, store), messages, edges(live_state("BTCUSDT", "ETHUSDT")), at_ms=T0 + 900)
    progress = [(event.ready, event.expected) for event in told if isinstance(event, RunProgress)]
    assert progress == [(1, 2)]


async def test_a_fetch_that_found_no_room_in_the_queue_is_decided_again() -> None:
    state, offered = live_state("BTCUSDT"), list[Fetch]()
    store = cast(Store, FullStore())
    store.refusals = 0  # type: ignore[attr-defined]
    for second in (15, 25):
        await dispatch(
            store,
            [Boundary(FEED.name, T0), Tick(FEED.name)],
            edges(state, offered=offered, room=False),
            at_ms=T0 + second * 1000,
        )
    assert [fetch.purpose for fetch in offered] == [Purpose.LATE, Purpose.LATE]


async def test_a_drain_ends_at_a_bounded_number_of_rows() -> None:
    store = FullStore()
    store.refusals = 0
    start_ms = T0 - 499 * MINUTE_MS
    opens = list(FEED.interval.opens(start_ms, T0))
    symbols = [f"S{n}" for n in range(30)]
    messages: list[Message] = [listed(*symbols)]
    messages += [page(s, start_ms, T0, opens, purpose=Purpose.HISTORY, answered_ms=T0) for s in symbols]
    state = FeedState(FEED, close_timeout_ms=15_000, page_rows=499, settle_ms=15_000)
    await dispatch(cast(Store, store), messages, edges(state), at_ms=T0)
    assert sum(len(batch.candles) for batch in store.batches) == 30 * 499
    assert max(len(batch.candles) for batch in store.batches) < 30 * 499


async def test_at_the_end_a_full_disk_is_an_error_and_no_hang() -> None:
    store, clock = FullStore(), ManualClock(T0 + 60)
    queue: asyncio.Queue[Message | Stop] = asyncio.Queue(1)
    queue.put_nowait(closed("BTCUSDT", BAR))
    dispatcher = Dispatcher(
        queue,
        {FEED.name: edges(live_state("BTCUSDT"))},
        store=cast(Store, store),
        clock=clock,
        report=lambda _: None,
        announce=lambda *_: None,
    )
    running = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(0)
    ending = asyncio.create_task(dispatcher.end())
    await asyncio.sleep(0)
    await clock.advance(5)
    with pytest.raises(StoreFull):
        await running
    await ending
