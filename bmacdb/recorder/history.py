"""History: what is missing from the file, fetched newest first in rounds of one page a symbol."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any

from bmacdb.clock import Clock
from bmacdb.interval import Interval
from bmacdb.model import Feed, Segment
from bmacdb.recorder.events import HistoryDone, HistoryPlanned, HistoryRound, Report
from bmacdb.recorder.messages import Fetch, Purpose

__all__ = ["History", "missing", "rounds"]


def missing(interval: Interval, start_ms: int, end_ms: int, covered: Iterable[Segment]) -> tuple[Segment, ...]:
    """The parts of [start, end) that no segment covers, oldest first; all of them open times of the grid."""
    holes: list[Segment] = []
    at_ms = start_ms
    for segment in sorted(covered, key=lambda segment: segment.start_ms):
        if segment.start_ms >= end_ms:
            break
        if segment.start_ms > at_ms:
            holes.append(Segment(at_ms, segment.start_ms))
        at_ms = max(at_ms, segment.end_ms)
    if at_ms < end_ms:
        holes.append(Segment(at_ms, end_ms))
    return tuple(holes)


def rounds(feed: Feed, holes: Mapping[str, Sequence[Segment]], page_rows: int) -> list[list[Fetch]]:
    """Pages for the holes of each symbol: the first round has the newest page of every symbol, and so on."""
    interval = feed.interval
    plan: list[list[Fetch]] = []
    for symbol in sorted(holes):
        pages: list[Fetch] = []
        for hole in reversed(holes[symbol]):
            end_ms = hole.end_ms
            while end_ms > hole.start_ms:
                start_ms = max(hole.start_ms, interval.shift(end_ms, -page_rows))
                pages.append(Fetch(feed.name, symbol, start_ms, end_ms, Purpose.HISTORY))
                end_ms = start_ms
        for number, page in enumerate(pages):
            if number == len(plan):
                plan.append([])
            plan[number].append(page)
    return plan


class History:
    """Fills one feed's window, at the start and whenever symbols or boundaries were missed."""

    def __init__(
        self,
        feed: Feed,
        *,
        clock: Clock,
        page_rows: int,
        holes: Callable[[Iterable[str] | None], Awaitable[Mapping[str, Sequence[Segment]]]],
        fetch: Callable[[Fetch], Coroutine[Any, Any, int]],
        weight: Callable[[], tuple[int, int]],
        report: Report,
    ) -> None:
        """`holes` says what is missing of the given symbols (None: all), `fetch` fetches and records a page and
        returns its rows, `weight` is (used, limit) of the present minute."""
        self._feed, self._clock, self._page_rows = feed, clock, page_rows
        self._holes, self._fetch, self._weight, self._report = holes, fetch, weight, report
        self._wanted: set[str] | None = set()
        self._asked = asyncio.Event()
        self.newest_round_done = asyncio.Event()
        self.idle = asyncio.Event()
        self.idle.set()

    def request(self, symbols: Iterable[str] | None = None) -> None:
        """Look again for what `symbols` (None: all) lack, and fetch it."""
        self._wanted = None if symbols is None or self._wanted is None else self._wanted.union(symbols)
        self.idle.clear()
        self._asked.set()

    async def run(self) -> None:
        """Fill what is asked for until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            wanted, self._wanted = self._wanted, set()
            await self._fill(wanted)
            if not self._asked.is_set():
                self.idle.set()

    async def _fill(self, symbols: Iterable[str] | None) -> None:
        started = self._clock.monotonic()
        looked_at = await self._holes(symbols)
        holes = {symbol: found for symbol, found in looked_at.items() if found}
        plan = rounds(self._feed, holes, self._page_rows)
        bars = sum(self._bars(page) for pages in plan for page in pages)
        if plan or not self.newest_round_done.is_set():
            self._report(HistoryPlanned(self._clock.now_ms(), self._feed.name, len(holes) or len(looked_at), bars))
        fetched = requested = 0
        for number, pages in enumerate(plan, start=1):
            async with asyncio.TaskGroup() as tasks:
                answers = [tasks.create_task(self._fetch(page)) for page in pages]
            fetched += sum(answer.result() for answer in answers)
            requested += sum(self._bars(page) for page in pages)
            following = {page.symbol for page in plan[number]} if number < len(plan) else set()
            used, limit = self._weight()
            self._report(
                HistoryRound(
                    self._clock.now_ms(),
                    self._feed.name,
                    number,
                    used,
                    limit,
                    pages[0].symbol,
                    pages[-1].symbol,
                    len(holes) - len(following),
                    len(following),
                    requested,
                    bars,
                )
            )
            self.newest_round_done.set()
        self.newest_round_done.set()
        if plan:
            seconds = self._clock.monotonic() - started
            self._report(HistoryDone(self._clock.now_ms(), self._feed.name, self._weight()[0], fetched, seconds))

    def _bars(self, page: Fetch) -> int:
        return self._feed.interval.count(page.start_ms, page.end_ms)
