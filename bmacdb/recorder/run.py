"""The recorder: opens what it needs, starts the producers and the one consumer, and ends cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace

import psutil
import pyarrow as pa

from bmacdb import __version__
from bmacdb.clock import ServerClock
from bmacdb.config import Settings
from bmacdb.errors import Blocked, ExchangeError, RateLimited, StoreError, Unreachable
from bmacdb.exchange.endpoints import Endpoints
from bmacdb.exchange.rest import open_session, retrying
from bmacdb.exchange.stream import CandleListener
from bmacdb.factors.texts import factor_texts, made_elsewhere, version_of, written
from bmacdb.model import Batch, Feed
from bmacdb.recorder.disk import DiskWatch
from bmacdb.recorder.dispatch import Announce, Dispatcher
from bmacdb.recorder.events import Notice, Report, Severity, Started, Stopped
from bmacdb.recorder.export import LiveExport
from bmacdb.recorder.feed import FeedPlan, FeedRecorder, plan_feed
from bmacdb.recorder.fetch import RestFetchers
from bmacdb.recorder.frames import FrameLog
from bmacdb.recorder.housekeeping import Housekeeping
from bmacdb.recorder.markets import Markets
from bmacdb.recorder.messages import Message, RowsOffered, Stop
from bmacdb.recorder.metrics import Meter, metered
from bmacdb.recorder.resample import Resampler
from bmacdb.recorder.signals import stop_signals
from bmacdb.recorder.watchdog import Watchdog
from bmacdb.store.intake import Offer, ensure_feed
from bmacdb.store.serve import Server, ServingUnavailable
from bmacdb.store.writer import Store
from bmacdb.symbols import parse_feed

__all__ = ["Outcome", "record"]

_QUEUE = 20_000  # messages; a full queue makes the readers wait, and nothing closed is dropped
_SAY_AGAIN_S = 60.0
_UPDATES_EVERY_S = 0.25
_PLAN_ATTEMPTS = 3
_UNREACHABLE = (
    " If this goes on: check the network, or use a proxy (--proxy or HTTPS_PROXY); --simulate needs no exchange."
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a recording ended: `reason` is 'periods', 'SIGINT' or 'SIGTERM'."""

    reason: str
    periods: int
    candles: int


async def record(settings: Settings, report: Report) -> Outcome:
    """Record until a signal comes or `settings.periods` run times are complete.

    Raises UsageError before anything is touched, StoreError when the file cannot be used, Blocked when the exchange
    does not serve this address; an exchange that cannot be reached is waited for.
    """
    # The store's thread works in Python while a market closes; at the usual 5 ms it would keep the event loop waiting.
    sys.setswitchinterval(0.0005)
    clock = ServerClock(rate=settings.clock_rate)
    endpoints = Endpoints.of(settings)
    async with (
        metered(settings.metrics_host, settings.metrics_port, report) as (report, meter),
        open_session(endpoints=endpoints, proxy=settings.proxy) as session,
    ):

        def told(text: str) -> None:
            report(Notice(clock.now_ms(), Severity.WARNING, "address", text))

        markets = Markets(settings, clock=clock, endpoints=endpoints, session=session, told=told)
        recorder = _Recorder(settings, report, clock, markets, meter)
        with stop_signals(recorder.stop):
            return await recorder.run()


class _Recorder:
    def __init__(
        self,
        settings: Settings,
        report: Report,
        clock: ServerClock,
        markets: Markets,
        meter: Meter,
    ) -> None:
        self._settings, self._report, self._clock, self._meter = settings, report, clock, meter
        self._markets = markets
        self._feeds: dict[str, FeedRecorder] = {}
        self._queue: asyncio.Queue[Message | Stop] = asyncio.Queue(_QUEUE)
        self._frames = FrameLog(clock, report)
        self._completed: dict[str, int] = {}
        self._export: LiveExport | None = None
        self._said: dict[str, float] = {}
        self._ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._started_ms = clock.now_ms()
        self._process = psutil.Process()

    def stop(self, reason: str) -> None:
        """End as soon as the transaction in flight is committed."""
        if not self._ended.done():
            self._ended.set_result(reason)

    async def run(self) -> Outcome:
        starting = asyncio.create_task(self._plan())
        await asyncio.wait((starting, self._ended), return_when=asyncio.FIRST_COMPLETED)
        if self._ended.done():
            starting.cancel()
            await asyncio.wait({starting})
            return self._outcome(0)
        plans = starting.result()
        store = await Store.open(self._settings.db, clock=self._clock)
        try:
            self._started_ms = self._clock.now_ms()
            names = tuple(plan.feed.name for plan in plans)
            shown = self._settings.shown()
            self._report(
                Started(self._started_ms, __version__, self._settings.db, names, shown, resumed=not store.created)
            )
            for text in self._settings.warnings:
                self._notice(Severity.WARNING, "settings", text)
            await self._markets.recall_addresses(store)
            fetchers = self._markets.open_fetchers(
                [plan.feed for plan in plans], deliver=self._queue.put, told=self._failed
            )
            for plan in plans:
                feed = await store.add_feed(plan.feed, num_candles=self._settings.num_candles)
                self._feeds[feed.name] = FeedRecorder(
                    replace(plan, feed=feed),
                    self._markets.desk(feed),
                    settings=self._settings,
                    store=store,
                    fetchers=self._markets.fetchers(feed),
                    make_listener=self._make_listener,
                    clock=self._clock,
                    put=self._queue.put,
                    report=self._report,
                    completed=self._complete,
                    told=self._failed,
                    filled=self._filled,
                )
            await self._define(store)
            return await self._record(store, fetchers)
        finally:
            await store.close()

    async def _define(self, store: Store) -> None:
        """The factors as macros in the file: the library, and what lies in `factor/` beside the database."""
        texts = factor_texts(self._settings.db.parent / "factor")

        def make(feeds: Sequence[str]) -> Sequence[str]:
            made, told = made_elsewhere(texts)
            for text in told:
                self._notice(Severity.WARNING, "factors", text)
            return written(made, list(map(parse_feed, feeds)))

        try:
            await store.define(lambda feeds: version_of(texts, [__version__, *feeds]), make)
        except StoreError as error:  # candles come first
            self._notice(Severity.WARNING, "factors", f"the factors have no macros in the database: {error}")

    async def _record(self, store: Store, fetchers: list[RestFetchers]) -> Outcome:
        async with self._serving(store) as announce:
            resampler = await self._open_resampler(store, announce)
            export = self._export = self._open_export(store)

            def committed(batch: Batch, written: Mapping[str, pa.Table] | None) -> None:
                announce(batch, written)
                watchdog.committed(batch.feed)
                self._meter.committed(batch.feed, len(batch.candles), dispatcher.last_commit_s)
                resampler.committed(batch)
                if export is not None:
                    export.committed(batch)

            dispatcher = Dispatcher(
                self._queue,
                {name: feed.edges for name, feed in self._feeds.items()},
                store=store,
                clock=self._clock,
                report=self._report,
                announce=committed,
            )
            watchdog = Watchdog.over(self._feeds, dispatcher, clock=self._clock, report=self._report)
            self._meter.watch(self.info, store.path)
            housekeeping = Housekeeping(
                store,
                [feed.feed for feed in self._feeds.values()],
                keep=self._settings.keep,
                clock=self._clock,
                idle=self._queue.empty,
                report=self._report,
            )
            consuming = asyncio.create_task(dispatcher.run())
            producing = asyncio.create_task(self._produce(store, fetchers, housekeeping, watchdog))
            resampling = asyncio.create_task(resampler.run())
            try:
                running = (consuming, producing, resampling, self._ended)
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            finally:
                # Producers first: what they have put into the queue is still written.
                producing.cancel()
                await asyncio.wait({producing})
                ending = asyncio.create_task(dispatcher.end())
                await asyncio.wait({consuming})
                ending.cancel()
                resampler.stop()
                await asyncio.wait({resampling})
                watchdog.close()
                await self._remember_addresses(store)
                if export is not None:
                    await asyncio.to_thread(export.stop)
        for task in (consuming, producing, resampling):
            if not task.cancelled() and (error := task.exception()) is not None:
                self._report(Stopped(self._clock.now_ms(), "error", self._periods(), dispatcher.candles))
                raise _cause(error)
        return self._outcome(dispatcher.candles)

    async def _open_resampler(self, store: Store, announce: Announce) -> Resampler:
        resampler = Resampler(
            store,
            [replace(one, feed=self._feeds[one.feed.name].feed) for one in self._settings.resample],
            window=self._settings.num_candles,
            keep=self._settings.keep,
            clock=self._clock,
            report=self._report,
            announce=announce,
        )
        await resampler.open()
        return resampler

    def _open_export(self, store: Store) -> LiveExport | None:
        if self._settings.export_dir is None:
            return None
        export = LiveExport(
            store,
            [feed.feed for feed in self._feeds.values()],
            self._settings.export_dir,
            save_type=self._settings.save_type or "parquet",
            num_candles=self._settings.num_candles,
            clock=self._clock,
            report=self._report,
            call=asyncio.get_running_loop().call_soon_threadsafe,
        )
        export.start()
        return export

    async def _produce(
        self, store: Store, fetchers: list[RestFetchers], housekeeping: Housekeeping, watchdog: Watchdog
    ) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_time())
            tasks.create_task(self._keep_addresses(store))
            tasks.create_task(housekeeping.run())
            tasks.create_task(watchdog.run())
            tasks.create_task(DiskWatch(self._settings.db, clock=self._clock, report=self._report).run())
            for fetcher in fetchers:
                tasks.create_task(fetcher.run())
            for feed in self._feeds.values():
                await feed.resume()
                tasks.create_task(feed.run())

    def _outcome(self, candles: int) -> Outcome:
        reason = self._ended.result()
        self._report(Stopped(self._clock.now_ms(), reason, self._periods(), candles))
        return Outcome(reason, self._periods(), candles)

    # Opening

    async def _plan(self) -> list[FeedPlan]:
        """Learn the exchange's time and symbols. An exchange that cannot be reached is tried for ever."""

        async def ask() -> list[FeedPlan]:
            await self._markets.synchronize()
            now_ms = self._clock.now_ms()
            feeds = self._settings.feeds
            plans = await asyncio.gather(*(self._plan_one(feed, now_ms) for feed in feeds), return_exceptions=True)
            failed = {feed: plan for feed, plan in zip(feeds, plans, strict=True) if isinstance(plan, BaseException)}
            if failed and (len(failed) == len(plans) or not all(map(_can_wait, failed, failed.values()))):
                raise next(iter(failed.values()))
            # A market that cannot be asked holds up no other: its symbols will be known when it answers.
            return [
                FeedPlan(feed, ()) if isinstance(plan, BaseException) else plan
                for feed, plan in zip(feeds, plans, strict=True)
            ]

        return await retrying(ask, clock=self._clock, told=self._failed_at_start)

    async def _plan_one(self, feed: Feed, now_ms: int) -> FeedPlan:
        return await retrying(
            lambda: plan_feed(feed, self._markets.desk(feed), self._settings, now_ms=now_ms, report=self._report),
            clock=self._clock,
            attempts=_PLAN_ATTEMPTS,
            told=lambda error, pause: self._failed(feed.name, error, pause),
        )

    def _make_listener(self, feed: Feed, group: int) -> CandleListener:
        return self._markets.make_listener(
            feed,
            group,
            put=self._queue.put,
            lost=self._frames,
            told=lambda text: self._notice(Severity.WARNING, "stream", text, feed.name),
        )

    @contextlib.asynccontextmanager
    async def _serving(self, store: Store) -> AsyncIterator[Announce]:
        """Serve the database to other processes; without it, recording goes on all the same."""
        try:
            server = await Server.start(
                store,
                clock=self._clock,
                info=self.info,
                take=lambda offer: self._take(store, offer),
                deadline_ms=max(feed.state.runs.deadline_ms for feed in self._feeds.values()),
            )
        except ServingUnavailable as error:
            self._notice(Severity.WARNING, "serve", f"{error} Recording goes on; nobody can read until it ends.")
            yield lambda *_: None
            return
        if (address := self._settings.publish) is not None:
            key = self._settings.publish_key
            try:
                server.publish_on(address, key.get_secret_value() if key else None)
            except OSError as error:
                text = f"The stream stays on loopback: {error.strerror}. Is it an address of this machine?"
                self._notice(Severity.WARNING, "serve", text)
        updating = asyncio.create_task(self._publish_updates(server))
        try:
            yield server.announce
        finally:
            updating.cancel()
            await asyncio.wait({updating})
            await server.close()

    async def _publish_updates(self, server: Server) -> None:
        """Publish open candles four times a second, of the feeds whose updates somebody subscribed to."""
        while True:
            await asyncio.sleep(_UPDATES_EVERY_S)
            for name, feed in self._feeds.items():
                candles = self._markets.open_candles(name)
                candles.wanted = server.wants_updates(name)
                server.update(name, candles.take(feed.feed))

    async def _take(self, store: Store, offer: Offer) -> None:
        """Commit the rows that another process offers. Raises UsageError for a feed that cannot be."""
        if offer.feed not in self._feeds:
            await ensure_feed(store, parse_feed(offer.feed), num_candles=self._settings.num_candles)
        committed = asyncio.Event()
        await self._queue.put(
            RowsOffered(offer.feed, offer.candles, offer.funding_rates, offer.gaps, done=committed.set)
        )
        await committed.wait()

    # Keeping going

    async def _keep_time(self) -> None:
        while True:
            await self._clock.sleep(60.0)
            try:
                await self._markets.synchronize()
            except ExchangeError as error:
                self._failed("", error, 60.0)

    async def _keep_addresses(self, store: Store) -> None:
        while True:
            await self._clock.sleep(60.0)
            await self._remember_addresses(store)

    async def _remember_addresses(self, store: Store) -> None:
        try:
            await self._markets.remember_addresses(store)
        except StoreError as error:  # as a full disk: told by those who write rows, and tried again
            self._notice(Severity.WARNING, "address", f"an address cannot be remembered: {error}")

    def _complete(self, feed: str, run_times: list[int]) -> None:
        live_from_ms = self._feeds[feed].state.live_from_ms
        self._completed[feed] = self._completed.get(feed, 0) + sum(
            live_from_ms is not None and run_time_ms >= live_from_ms for run_time_ms in run_times
        )
        caught_up = all(one.caught_up for one in self._feeds.values())
        if self._settings.periods is not None and caught_up and self._periods() >= self._settings.periods:
            self.stop("periods")

    def _filled(self, feed: str) -> None:
        if self._export is not None:
            self._export.filled(feed)

    def _periods(self) -> int:
        """How many run times every feed has completed."""
        return min((self._completed.get(feed, 0) for feed in self._feeds), default=0)

    # Telling

    def _failed_at_start(self, error: ExchangeError, pause: float) -> None:
        if isinstance(error, Blocked) and error.by_law:
            raise error
        self._failed("", error, pause, remedy=_UNREACHABLE if isinstance(error, Unreachable) else "")

    def _failed(self, feed: str, error: ExchangeError, pause: float, *, remedy: str = "") -> None:
        """Say that a request failed, the same failure at most once a minute."""
        kind, now = f"{feed}/{type(error).__name__}", self._clock.monotonic()
        if now - self._said.get(kind, -_SAY_AGAIN_S) >= _SAY_AGAIN_S:
            self._said[kind] = now
            again = f" Trying again in {pause:.1f} s." if pause else ""
            topic = "limit" if isinstance(error, RateLimited) else "rest"
            self._notice(Severity.WARNING, topic, f"{error}{again}{remedy}", feed or None)

    def _notice(self, severity: Severity, topic: str, text: str, feed: str | None = None) -> None:
        self._report(Notice(self._clock.now_ms(), severity, topic, text, feed))

    def info(self) -> dict[str, object]:
        """The recorder as `bmacdb status` shows it."""
        return {
            "version": __version__,
            "pid": os.getpid(),
            "started_ms": self._started_ms,
            "now_ms": self._clock.now_ms(),
            "feeds": {name: feed.info() for name, feed in self._feeds.items()},
            "weight": self._markets.weight(),
            "addresses": self._markets.addresses(),
            "queue": self._queue.qsize(),
            "malformed_frames": self._frames.total,
            "rss_bytes": self._process.memory_info().rss,
            "skew_ms": self._clock.skew_ms(),
        }


def _can_wait(feed: Feed, error: BaseException) -> bool:
    """Whether a feed can start without its symbols: not that of 3 days, which needs bars to know its grid."""
    may = feed.interval.name != "3d" and not isinstance(error, Blocked)
    return may and isinstance(error, ExchangeError) and error.transient


def _cause(error: BaseException) -> BaseException:
    """The first cause within groups of errors."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
