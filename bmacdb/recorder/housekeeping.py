"""Housekeeping: old rows go where the user asked for it, and checkpoints fall into quiet moments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from bmacdb.clock import ServerClock
from bmacdb.errors import StoreFull
from bmacdb.interval import Interval
from bmacdb.model import Feed
from bmacdb.recorder.events import Notice, Report, Severity
from bmacdb.store.writer import Store

__all__ = ["LARGE_WAL", "Housekeeping", "between_closes"]

_LOOK_EVERY_S = 1.0
_RETAIN_EVERY_S = 60.0
LARGE_WAL = 6 * 1024 * 1024
"""Bytes of the write-ahead log that are worth a checkpoint, which takes some tens of milliseconds."""
_HUGE_WAL = 2 * LARGE_WAL
"""A recorder that is behind always has something to write, and what its log holds is in memory, too."""
_QUIET_S = 2.0  # seconds before the next boundary in which no checkpoint is begun
_CLOSING_S = 1.0  # and behind the last one: what closes comes in pieces, between which the queue is empty


class Housekeeping:
    """`keep` is how many bars of each feed stay (None: all); `idle` says whether nothing waits to be written."""

    def __init__(
        self,
        store: Store,
        feeds: Collection[Feed],
        *,
        keep: int | None,
        clock: ServerClock,
        idle: Callable[[], bool],
        report: Report,
    ) -> None:
        self._store, self._feeds, self._keep = store, feeds, keep
        self._clock, self._idle, self._report = clock, idle, report

    async def run(self) -> None:
        """Keep house until cancelled."""
        retained = float("-inf")
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            try:
                if self._keep is not None and self._clock.monotonic() - retained >= _RETAIN_EVERY_S and self._quiet():
                    await self._retain(self._keep)
                    retained = self._clock.monotonic()
                wal_bytes = self._store.wal_bytes()
                if (wal_bytes > LARGE_WAL and self._quiet()) or (wal_bytes > _HUGE_WAL and self._between_closes()):
                    await self._store.checkpoint()
            except StoreFull as error:
                self._report(Notice(self._clock.now_ms(), Severity.ERROR, "store", str(error)))

    def _quiet(self) -> bool:
        return self._idle() and self._between_closes()

    def _between_closes(self) -> bool:
        now_ms, rate = self._clock.now_ms(), self._clock.rate
        return all(between_closes(feed.interval, now_ms, rate=rate) for feed in self._feeds)

    async def _retain(self, keep: int) -> None:
        now_ms = self._clock.now_ms()
        for feed in self._feeds:
            newest_ms = feed.interval.floor(now_ms)
            await self._store.retain(feed, before_ms=feed.interval.shift(newest_ms, -keep))


def between_closes(interval: Interval, now_ms: int, *, rate: float = 1.0) -> bool:
    """Whether bars have closed and do not close again soon. (Of seconds they always do: any moment will do.)

    `rate` is how much faster than real time the clock of `now_ms` runs.
    """
    soon_ms, closing_ms = (seconds * 1000 * rate for seconds in (_QUIET_S, _CLOSING_S))
    if interval.length_ms <= soon_ms + 2 * closing_ms:
        return True
    return interval.boundary_after(now_ms) - now_ms > soon_ms and now_ms - interval.floor(now_ms) > closing_ms
