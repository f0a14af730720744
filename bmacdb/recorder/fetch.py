"""RestFetchers: take pages from the REST queue, most urgent first, and bring the answers to the main queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from bmacdb.clock import Clock
from bmacdb.errors import ExchangeError
from bmacdb.exchange.rest import RestClient, retrying
from bmacdb.model import Candle, Feed
from bmacdb.recorder.messages import Fetch, FetchFailed, Message, PageFetched, Purpose

__all__ = ["RestFetchers"]

_CAPACITY = 10_000


@dataclass(order=True, slots=True)
class _Job:
    purpose: Purpose
    number: int
    fetch: Fetch = field(compare=False)
    done: asyncio.Future[int] | None = field(compare=False)


class RestFetchers:
    """A few workers on one bounded queue. Late bars pass repairs, repairs pass history."""

    def __init__(
        self,
        workers: int,
        clients: Mapping[str, tuple[Feed, RestClient]],
        *,
        clock: Clock,
        deliver: Callable[[Message], Awaitable[None]],
    ) -> None:
        self._workers, self._clients, self._clock, self._deliver = workers, clients, clock, deliver
        self._queue: asyncio.PriorityQueue[_Job] = asyncio.PriorityQueue(_CAPACITY)
        self._history = asyncio.Semaphore(4 * workers)  # history never crowds out what is urgent
        self._number = 0

    def __repr__(self) -> str:
        return f"<RestFetchers workers={self._workers} waiting={self._queue.qsize()}>"

    def offer(self, fetch: Fetch) -> bool:
        """Queue a page, unless the queue is full: then False, and whoever asked asks again when it is due."""
        try:
            self._queue.put_nowait(self._job(fetch, None))
        except asyncio.QueueFull:
            return False
        return True

    async def fetch(self, fetch: Fetch) -> int:
        """Fetch a page and deliver it; returns its rows. Transient failures are retried for ever."""
        async with self._history:
            done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            await self._queue.put(self._job(fetch, done))
            return await done

    def _job(self, fetch: Fetch, done: asyncio.Future[int] | None) -> _Job:
        self._number += 1
        return _Job(fetch.purpose, self._number, fetch, done)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._workers):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        while True:
            job = await self._queue.get()
            answer = await self._answer(job.fetch)
            await self._deliver(answer)
            if job.done is not None and not job.done.done():
                job.done.set_result(len(answer.candles) if isinstance(answer, PageFetched) else 0)

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
            candles = await (retrying(ask, clock=self._clock) if fetch.purpose is Purpose.HISTORY else ask())
        except ExchangeError as error:
            return FetchFailed(fetch, str(error), refused=not error.transient)
        return PageFetched(fetch, candles, self._clock.now_ms())
