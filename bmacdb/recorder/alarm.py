"""PeriodAlarm: tells the boundaries of a feed by the exchange's clock, and every second in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from bmacdb.clock import Clock
from bmacdb.model import Feed
from bmacdb.recorder.messages import Boundary, Tick

__all__ = ["PeriodAlarm"]

_TICK_MS = 1000
_MOST_BEHIND = 10  # boundaries that are caught up with one by one; more (a suspended machine) are history's business


class PeriodAlarm:
    """`put` takes the messages; `at_boundary` is told each run time; `skipped` that boundaries were slept through."""

    def __init__(
        self,
        feed: Feed,
        *,
        clock: Clock,
        put: Callable[[Boundary | Tick], Awaitable[None]],
        at_boundary: Callable[[int], None],
        skipped: Callable[[int, int], None],
    ) -> None:
        self._feed, self._clock, self._put = feed, clock, put
        self._at_boundary, self._skipped = at_boundary, skipped

    async def run(self, first_run_time_ms: int) -> None:
        """Ring from `first_run_time_ms` on until cancelled."""
        interval, run_time_ms = self._feed.interval, first_run_time_ms
        while True:
            await self._tick_until(run_time_ms)
            newest_ms = interval.floor(self._clock.now_ms())
            if interval.count(run_time_ms, newest_ms) > _MOST_BEHIND:
                self._skipped(run_time_ms, newest_ms)
                run_time_ms = newest_ms
            await self._put(Boundary(self._feed.name, run_time_ms))
            self._at_boundary(run_time_ms)
            run_time_ms = interval.next(run_time_ms)

    async def _tick_until(self, ms: int) -> None:
        while True:
            tick_ms = self._clock.now_ms() // _TICK_MS * _TICK_MS + _TICK_MS
            await self._clock.sleep_until(min(tick_ms, ms))
            await self._put(Tick(self._feed.name))
            if self._clock.now_ms() >= ms:
                return
