"""RestFetchers: take pages from the REST queue, most urgent first, and bring the answers to the main queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from bmacdb.clock import Clock
from bmacdb.errors import ExchangeError, Malformed, Rejected
from bmacdb.exchange.rest import RestClient, retrying
from bmacdb.model import Candle, Feed
from bmacdb.recorder.messages import Fetch, FetchFailed, Message, PageFetched, Purpose

__all__ = ["RestFetchers", "given_up"]

T = TypeVar("T")

_CAPACITY = 10_000
_MOST_MALFORMED = 6


@dataclass(order=True, slots=True)
class _Job:
    purpose: Purpose
    number: int
    fetch: Fetch = field(compare=False)


def given_up(ask: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
    """`ask`, whose answers may be malformed a few times and are then refused (Rejected), so that retrying ends: one row
    that will never parse must not hold up those of all other symbols."""
    malformed = 0

    async def bounded() -> T:
        nonlocal malformed
        try:
            return await ask()
        except Malformed as error:
            if (malformed := malformed + 1) < _MOST_MALFORMED:
                raise
            raise Rejected(f"{error}; {malformed} times in a row, given up for now", code=0) from error

    return bounded


class RestFetchers:
    """The workers of one IP weight budget, on two bounded queues: one for bars that are late or to be repaired (late
    ones first), one for history. A worker may wait a minute for weight, so history has workers of its own; each waits
    until its page is written before it asks for the next, so that no pages pile up in memory."""

    def __init__(
        self,
        workers: int,
        clients: Mapping[str, tuple[Feed, RestClient]],
        *,
        clock: Clock,
        deliver: Callable[[Message], Awaitable[None]],
        told: Callable[[str, ExchangeError, float], None],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`clients` has the client of each feed; `told` hears of (feed, failure, seconds until the next try), and
        `pause` waits for so long."""
        self._workers, self._clients, self._clock = workers, clients, clock
        self._deliver, self._told, self._pause = deliver, told, pause
        self._live: asyncio.PriorityQueue[_Job] = asyncio.PriorityQueue(_CAPACITY)
        self._history: asyncio.Queue[_Job] = asyncio.Queue(4 * workers)
        self._waiting: dict[Fetch, asyncio.Future[int]] = {}
        self._number = 0

    def __repr__(self) -> str:
        waiting = f"{self._live.qsize()} live and {self._history.qsize()} history pages"
        return f"<RestFetchers workers={self._workers} waiting={waiting}>"

    def offer(self, fetch: Fetch) -> bool:
        """Queue a page, unless the queue is full: then False, and whoever asked asks again when it is due."""
        try:
            self._live.put_nowait(self._job(fetch))
        except asyncio.QueueFull:
            return False
        return True

    async def fetch(self, fetch: Fetch) -> int:
        """Fetch a page of history; returns its rows once they are written. Transient failures are retried for ever."""
        written: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[fetch] = written
        await self._history.put(self._job(fetch))
        return await written

    def taken(self, fetch: Fetch, rows: int) -> None:
        """The answer to `fetch`, with so many rows, is written."""
        written = self._waiting.pop(fetch, None)
        if written is not None and not written.done():
            written.set_result(rows)

    def _job(self, fetch: Fetch) -> _Job:
        self._number += 1
        return _Job(fetch.purpose, self._number, fetch)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._workers):
                tasks.create_task(self._work(self._live))
                tasks.create_task(self._work(self._history))

    async def _work(self, queue: asyncio.Queue[_Job]) -> None:
        while True:
            fetch = (await queue.get()).fetch
            written = self._waiting.get(fetch)
            await self._deliver(await self._answer(fetch))
            if written is not None:
                await asyncio.wait((written,))

    async def _answer(self, fetch: Fetch) -> PageFetched | FetchFailed:
        feed, client = self._clients[fetch.feed]

        async def ask() -> tuple[Candle, ...]:
            return await client.klines(
                fetch.symbol,
                feed.interval,
                start_ms=fetch.start_ms,
                end_ms=feed.interval.shift(fetch.end_ms, -1),
                limit=feed.interval.count(fetch.start_ms, fetch.end_ms),
                urgent=fetch.purpose is not Purpose.HISTORY,
            )

        try:
            if fetch.purpose is Purpose.HISTORY:
                candles = await retrying(
                    given_up(ask),
                    clock=self._clock,
                    told=lambda error, pause: self._told(fetch.feed, error, pause),
                    pause=self._pause,
                )
            else:
                candles = await ask()
        except ExchangeError as error:
            return FetchFailed(fetch, str(error), refused=not error.transient)
        return PageFetched(fetch, candles, self._clock.now_ms())
