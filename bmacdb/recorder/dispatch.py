"""The Dispatcher: the one consumer of the main queue, the only one that decides, the only one that writes.

It drains what the queue holds into one transaction a feed: a candle that comes alone is visible within milliseconds,
and hundreds that close together cost a few commits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import pyarrow as pa

from bmacdb.clock import Clock
from bmacdb.errors import StoreFull
from bmacdb.model import Batch
from bmacdb.recorder.decide import FeedState
from bmacdb.recorder.decision import Decision
from bmacdb.recorder.events import Notice, Report, Severity
from bmacdb.recorder.messages import Fetch, Message, PageFetched, RowsOffered, Stop, Tick
from bmacdb.store.writer import Store

__all__ = ["Announce", "Dispatcher", "FeedEdges"]

_MOST_MESSAGES = 2_000
_MOST_ROWS = 5_000  # a transaction of more rows would keep a live candle waiting
_FULL_PAUSE_S = 5.0
_FULL_TOLD_EVERY = 12  # pauses

Announce = Callable[[Batch, Mapping[str, pa.Table] | None], None]
"""Called after a commit with the batch and the rows that were written, by table (None: not known)."""


@dataclass(frozen=True, slots=True)
class FeedEdges:
    """What a feed's decisions act on."""

    state: FeedState
    listen: Callable[[frozenset[str]], None]
    backfill: Callable[[list[str]], None]
    owed: Callable[[list[tuple[str, int]]], None]
    offer: Callable[[Fetch], bool]
    taken: Callable[[Fetch, int], None]
    completed: Callable[[list[int]], None]


class Dispatcher:
    """Consumes the main queue. `announce` is called after every commit."""

    def __init__(
        self,
        queue: asyncio.Queue[Message | Stop],
        feeds: Mapping[str, FeedEdges],
        *,
        store: Store,
        clock: Clock,
        report: Report,
        announce: Announce,
    ) -> None:
        self._queue, self._feeds, self._store, self._clock = queue, feeds, store, clock
        self._report, self._announce = report, announce
        self._ending = False
        self.candles = 0
        self.commits = 0
        self.turns = 0  # how often messages were taken, and dealt with
        self.paused = False  # while there is no room on the disk
        self.last_commit_s = 0.0
        self.last_commit_ms: int | None = None

    async def run(self) -> None:
        """Consume until a Stop has been consumed with all that came before it."""
        stopping = False
        while not stopping:
            first = await self._queue.get()
            messages: list[Message] = []
            for message in (first, *self._drain()):
                if isinstance(message, Stop):
                    stopping = True
                else:
                    messages.append(message)
            await self._consume(messages)
            self.turns += 1

    async def end(self) -> None:
        """Ask `run` to end once it has written what is in the queue; a full disk is not waited for any more."""
        self._ending = True
        await self._queue.put(Stop())

    def _drain(self) -> Iterator[Message | Stop]:
        rows = messages = 0
        while messages < _MOST_MESSAGES and rows < _MOST_ROWS and not self._queue.empty():
            message = self._queue.get_nowait()
            messages += 1
            rows += len(message.candles) if isinstance(message, PageFetched | RowsOffered) else 1
            yield message

    async def _consume(self, messages: list[Message]) -> None:
        decisions: dict[str, Decision] = {}
        now_ms = self._clock.now_ms()
        # It is the same instant for all of them, so one look at what is late will do, after what has come: a recorder
        # that is behind would be kept there by looking once for every second that it missed.
        ticks = {message.feed: message for message in messages if isinstance(message, Tick)}
        rest = (message for message in messages if not isinstance(message, Tick))
        for message in (*rest, *ticks.values()):
            if isinstance(message, RowsOffered) and message.feed not in self._feeds:
                await self._write_unrecorded(message, now_ms)
                continue
            into = decisions.setdefault(message.feed, Decision())
            self._feeds[message.feed].state.take(message, now_ms, into)
        for feed, decision in decisions.items():
            if (batch := decision.batch(feed, now_ms)) is not None:
                await self._commit(batch, decision)
            self._act(self._feeds[feed], decision)

    async def _write_unrecorded(self, offer: RowsOffered, now_ms: int) -> None:
        """Rows for a feed that is in the file, and that nobody watches over now."""
        await self._commit(Batch(offer.feed, now_ms, offer.candles, funding_rates=offer.funding_rates, gaps=offer.gaps))
        offer.done()

    async def _commit(self, batch: Batch, decision: Decision | None = None) -> None:
        """Commit `batch`, in which `decision` resulted; on a full disk, wait for room."""
        pauses = 0
        while True:
            started = self._clock.monotonic()
            try:
                written = await self._store.commit(batch)
                break
            except StoreFull as error:
                self.paused = True
                if self._ending:
                    raise
                if pauses % _FULL_TOLD_EVERY == 0:
                    self._tell(batch, Severity.ERROR, f"{error} Recording pauses; it goes on as soon as there is room.")
                pauses += 1
                await self._clock.sleep(_FULL_PAUSE_S)
                batch = self._as_of_now(batch, decision)
        self.paused, self.last_commit_s = False, self._clock.monotonic() - started
        if pauses:
            self._tell(batch, Severity.INFO, "There is room again: recording goes on.")
        self.commits += 1
        self.candles += len(batch.candles)
        self.last_commit_ms = self._clock.now_ms()
        self._announce(batch, written)

    def _as_of_now(self, batch: Batch, decision: Decision | None) -> Batch:
        """The batch again, its readiness as of now: nobody could read it before."""
        if decision is None:
            return batch
        now_ms = self._clock.now_ms()
        self._feeds[batch.feed].state.delayed(decision, now_ms)
        return decision.batch(batch.feed, now_ms) or batch

    def _tell(self, batch: Batch, severity: Severity, text: str) -> None:
        self._report(Notice(self._clock.now_ms(), severity, "store", text, batch.feed))

    def _act(self, edges: FeedEdges, decision: Decision) -> None:
        if decision.listen is not None:
            edges.listen(decision.listen)
        if decision.backfill:
            edges.backfill(decision.backfill)
        if decision.owed:
            edges.owed(decision.owed)
        for fetch, rows in decision.taken:
            edges.taken(fetch, rows)
        for fetch in decision.fetches:
            if not edges.offer(fetch):
                edges.state.not_fetched(fetch)
        for offer in decision.offers:
            offer.done()
        now_ms = self._clock.now_ms()
        for event in decision.events:  # told when it is committed, and not before
            self._report(replace(event, at_ms=now_ms))
        if decision.completed:
            edges.completed(decision.completed)
