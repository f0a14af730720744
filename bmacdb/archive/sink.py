"""Where rows go: into the file itself, or to the recorder that holds it. Only one process ever writes."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bmacdb.archive.bulk import Written, write_candles, write_funding, write_gaps
from bmacdb.archive.recorded import recorded_fundings
from bmacdb.clock import Clock
from bmacdb.errors import FileHeld
from bmacdb.model import Batch, Candle, Feed, Gap
from bmacdb.store import rows, sidefile
from bmacdb.store.intake import IntakeClient, ensure_feed
from bmacdb.store.reader import connect
from bmacdb.store.writer import Store

__all__ = ["FileSink", "RecorderSink", "Sink", "open_sink"]

_MEMORY_LIMIT = "1GB"
_NUM_CANDLES = 1500  # the depth that readers are promised of a feed that no recorder has set
_TAKEOVER_S = 5.0
_SAME_MS = 60_000  # fundings are an hour apart at least


class Sink(Protocol):
    """Takes rows of one feed. Each call is durable when it returns, and may be made again without harm."""

    live: bool
    feed: Feed

    async def archived(self, candles: pa.Table) -> Written | None:
        """Write candles of the archive (`table.CANDLE_SCHEMA`, each key once); None: a recorder took them."""

    async def candles(self, candles: Collection[Candle]) -> None:
        """Write single candles; those recorded already follow the precedence of their source."""

    async def funding(self, fundings: pa.Table) -> Written | None:
        """Write settled fundings (`table.FUNDING_SCHEMA`) that are not there."""

    async def gaps(self, gaps: Collection[Gap]) -> None:
        """Write holes; a row with the key of a recorded one replaces it."""

    async def close(self) -> None:
        """Let go."""


class FileSink:
    """The file at rest: this process is its writer."""

    live = False

    def __init__(self, store: Store, feed: Feed, clock: Clock) -> None:
        self.feed, self._store, self._clock = feed, store, clock

    async def archived(self, candles: pa.Table) -> Written | None:
        now_ms = self._clock.now_ms()
        return await self._store.run(lambda connection: write_candles(connection, self.feed, candles, now_ms))

    async def candles(self, candles: Collection[Candle]) -> None:
        if candles:
            await self._store.commit(Batch(self.feed.name, self._clock.now_ms(), tuple(candles)))

    async def funding(self, fundings: pa.Table) -> Written | None:
        return await self._store.run(lambda connection: write_funding(connection, self.feed, fundings))

    async def gaps(self, gaps: Collection[Gap]) -> None:
        await self._store.run(lambda connection: write_gaps(connection, self.feed, gaps))

    async def close(self) -> None:
        await self._store.close()


class RecorderSink:
    """A live recorder, which writes what it is given between its own commits."""

    live = True

    def __init__(self, client: IntakeClient, feed: Feed, clock: Clock, database: Path) -> None:
        self.feed, self._client, self._clock, self._database = feed, client, clock, database

    async def archived(self, candles: pa.Table) -> Written | None:
        await self._client.offer(self.feed.name, "candles", candles)
        return None

    async def candles(self, candles: Collection[Candle]) -> None:
        table = rows.candle_rows(list(candles), self._clock.now_ms())
        await self._client.offer(self.feed.name, "candles", table)

    async def funding(self, fundings: pa.Table) -> Written | None:
        new = await asyncio.to_thread(self._new_fundings, fundings)
        await self._client.offer(self.feed.name, "funding_rates", new)
        return None

    def _new_fundings(self, fundings: pa.Table) -> pa.Table:
        """Those that are not recorded; the archive's stamps and the exchange's may differ by some milliseconds."""
        found = []
        with connect(self._database) as reader:
            for symbol in pc.unique(fundings["symbol"]).to_pylist():
                mine = fundings.filter(pc.equal(fundings["symbol"], symbol))
                times = mine["funding_time"].cast(pa.int64()).to_numpy() // 1000
                first, last = int(times.min()) - _SAME_MS, int(times.max()) + _SAME_MS
                there = np.array(recorded_fundings(reader, self.feed, symbol, start_ms=first, end_ms=last), np.int64)
                known = np.searchsorted(there, times + _SAME_MS) > np.searchsorted(
                    there, times - _SAME_MS, side="right"
                )
                found.append(mine.filter(pa.array(~known)))
        return pa.concat_tables([fundings.slice(0, 0), *found])

    async def gaps(self, gaps: Collection[Gap]) -> None:
        await self._client.offer(self.feed.name, "gaps", rows.gap_rows(list(gaps)))

    async def close(self) -> None:
        await self._client.close()


async def open_sink(database: Path, feed: Feed, *, clock: Clock) -> Sink:
    """The one way to write into `database` now. A file at rest is opened (and made), a held one goes by its recorder.

    Raises what `Store.open` does; FileHeld when a process has the file that takes no rows.
    """
    until = clock.monotonic() + _TAKEOVER_S
    while True:
        if (live := sidefile.find(database)) is not None:
            return RecorderSink(await IntakeClient.connect(live), feed, clock, database)
        try:
            store = await Store.open(database, clock=clock, memory_limit=_MEMORY_LIMIT)
            break
        except FileHeld:  # a recorder that starts has the file some moments before it answers
            if clock.monotonic() > until:
                raise
        await asyncio.sleep(0.1)
    try:
        return FileSink(store, await ensure_feed(store, feed, num_candles=_NUM_CANDLES), clock)
    except BaseException:
        await store.close()
        raise
