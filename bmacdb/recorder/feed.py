"""One feed of the recorder: what it knows at the start, and the producers that serve it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from bmacdb.clock import Clock
from bmacdb.config import Settings
from bmacdb.errors import ExchangeError, Malformed, UsageError
from bmacdb.exchange.listeners import Listeners
from bmacdb.exchange.market import MarketDesk
from bmacdb.exchange.rest import PAGE_ROWS, retrying
from bmacdb.exchange.stream import CandleListener
from bmacdb.exchange.wire import ExchangeInfo
from bmacdb.interval import MINUTE_MS, Interval
from bmacdb.model import Feed, GapState, Market, Segment, SymbolInfo
from bmacdb.recorder.alarm import PeriodAlarm
from bmacdb.recorder.decide import FeedState
from bmacdb.recorder.dispatch import FeedEdges
from bmacdb.recorder.events import ListenGroup, Notice, Report, Severity
from bmacdb.recorder.fetch import RestFetchers
from bmacdb.recorder.funding import FundingUpdater
from bmacdb.recorder.history import History, missing
from bmacdb.recorder.messages import ExchangeInfoFetched, Message
from bmacdb.store.writer import Store
from bmacdb.symbols import TRADE_TYPES, select

__all__ = ["FeedPlan", "FeedRecorder", "audit_time", "plan_feed"]

_HISTORY_PATIENCE_S = 120  # how long live waits for the whole window; then the newest page of each symbol is enough
_LEAST_SETTLE_MS = 2_000  # the client leaves out bars that closed within a second, and our clock is not exact
_UPDATE_ATTEMPTS = 5
_LISTINGS_TURN_S = 1.0
_LISTINGS_EVERY_MS = 300_000
_LOOK_AGAIN_S = (3, 6, 6, 6, 6, 6, 12, 30, 60)  # a symbol in doubt is given up before its run is late
_AUDIT_EVERY_MS = 1_800_000
_AUDIT_PHASE_MS = 60_000  # how long after a boundary, for periods that are long enough


@dataclass(frozen=True, slots=True)
class FeedPlan:
    """A feed with the symbols that the exchange lists for it; a `3d` interval lies on the exchange's own grid."""

    feed: Feed
    members: tuple[SymbolInfo, ...]


async def plan_feed(feed: Feed, desk: MarketDesk, settings: Settings, *, now_ms: int, report: Report) -> FeedPlan:
    """Ask the exchange what `feed` is to record; what does not trade now is waited for.

    Raises UsageError when the exchange lists symbols of this kind, and none of keep_symbols among them.
    """
    info = await desk.exchange_info(now_ms)
    members = _members(feed, info.symbols, settings)
    trading = select(feed, members, assets=settings.spot_assets)
    keep = settings.keep_symbols
    if keep is not None and (absent := [symbol for symbol in keep if symbol not in trading]):
        if not members and _members(feed, info.symbols, settings.model_copy(update={"keep_symbols": None})):
            raise UsageError(f"keep_symbols: none of {', '.join(keep)} is listed on {feed.trade_type}.")
        text = f"keep_symbols that do not trade on {feed.trade_type} are left out until they do: {', '.join(absent)}"
        report(Notice(now_ms, Severity.WARNING, "settings", text, feed.name))
    if feed.interval.name == "3d":  # its grid is the exchange's own
        if not members:
            raise Malformed(f"{feed.name}: no symbol is listed, whose bars would tell when those of 3 days open")
        symbol = next(iter(trading), members[0].symbol)
        bars = await desk.client.klines(symbol, feed.interval, start_ms=None, end_ms=None, limit=2)
        if bars:
            feed = replace(feed, interval=feed.interval.anchored(bars[-1].open_time_ms))
    return FeedPlan(feed, members)


def _members(feed: Feed, symbols: Iterable[SymbolInfo], settings: Settings) -> tuple[SymbolInfo, ...]:
    wanted = None if settings.keep_symbols is None else frozenset(settings.keep_symbols)
    trade_type, assets = TRADE_TYPES[feed.trade_type], settings.spot_assets
    return tuple(
        info for info in symbols if trade_type.takes(info, assets) and (wanted is None or info.symbol in wanted)
    )


def audit_time(interval: Interval, earliest_ms: int) -> int:
    """A time from `earliest_ms` on that is no boundary: then the market closes, and REST is needed for that."""
    phase_ms = min(interval.length_ms // 2, _AUDIT_PHASE_MS)
    return interval.next(interval.floor(earliest_ms - phase_ms - 1)) + phase_ms


class FeedRecorder:
    """Serves one feed: listeners, alarm, history, exchange info and funding, all into the main queue."""

    def __init__(
        self,
        plan: FeedPlan,
        desk: MarketDesk,
        *,
        settings: Settings,
        store: Store,
        fetchers: RestFetchers,
        make_listener: Callable[[Feed, int], CandleListener],
        clock: Clock,
        put: Callable[[Message], Awaitable[None]],
        report: Report,
        completed: Callable[[str, list[int]], None],
        told: Callable[[str, ExchangeError, float], None],
        filled: Callable[[str], None],
    ) -> None:
        """`completed` is told of (feed, run times) once they are committed, `told` of failures that are tried again,
        `filled` of the feed once its history is there."""
        self.feed = feed = plan.feed
        self._members = plan.members
        self._onboard: dict[str, int] = {}  # of every symbol that was ever listed here
        self._note_onboard(plan.members)
        self._desk, self._settings, self._store = desk, settings, store
        self._clock, self._put, self._report, self._told = clock, put, report, told
        self._completed, self._filled = completed, filled
        page_rows = PAGE_ROWS[feed.market]
        close_timeout_ms = round(settings.candle_close_timeout_sec * 1000)
        self._settle_ms = max(round(settings.rest_settle_sec * 1000), _LEAST_SETTLE_MS)
        self.state = FeedState(feed, close_timeout_ms=close_timeout_ms, settle_ms=self._settle_ms, page_rows=page_rows)
        self.listeners = Listeners(
            feed, settings.num_socket_listeners, lambda group: make_listener(feed, group), clock=clock
        )
        self.history = History(
            feed,
            clock=clock,
            page_rows=page_rows,
            holes=self._holes,
            fetch=fetchers.fetch,
            weight=lambda: (desk.budget.used, desk.budget.limit),
            report=report,
        )
        self.edges = FeedEdges(
            self.state,
            listen=self._listen,
            backfill=self._backfill,
            owed=self._owed,
            offer=fetchers.offer,
            taken=fetchers.taken,
            completed=lambda run_times: completed(feed.name, run_times),
        )
        self._funding = FundingUpdater(
            feed,
            desk,
            clock=clock,
            put=put,
            symbols=lambda: self.state.expected,
            told=self._failed,
            whole_market=settings.export_dir is not None,
        )
        self._with_funding = settings.funding_rate and feed.market is not Market.SPOT
        self._listening = asyncio.Event()
        self._updates: asyncio.TaskGroup | None = None
        self._looked_ms = clock.now_ms()  # when the listings were asked for last
        self._listed = bool(plan.members)  # whether they had any symbol of this feed
        self.run_time_ms: int | None = None
        self.caught_up = False
        """Whether nothing is left to fetch of what closed before the first run."""

    # What the file holds

    async def resume(self) -> None:
        """Take up what the file holds of this feed, and let the exchange's present list follow it."""
        now_ms, interval = self._clock.now_ms(), self.feed.interval
        traded = await self._store.trading(self.feed)
        keep = self._settings.keep_symbols
        self.state.resume(
            expected=traded if keep is None else traded.intersection(keep),
            latest=await self._store.latest(self.feed),
            unfinished=await self._store.unfinished_runs(
                self.feed, since_ms=interval.shift(interval.floor(now_ms), -self._settings.num_candles)
            ),
            gaps=await self._store.gaps(self.feed),
            provisional=await self._store.provisional(self.feed),
            now_ms=now_ms,
        )
        await self._put(ExchangeInfoFetched(self.feed.name, 0, self._members, starting=True))

    def _note_onboard(self, members: Iterable[SymbolInfo]) -> None:
        self._onboard.update((info.symbol, info.onboard_ms or 0) for info in members)

    async def _holes(self, symbols: Iterable[str] | None) -> Mapping[str, tuple[Segment, ...]]:
        """What the window lacks of `symbols` (None: all), leaving out what is known to be absent or under repair, and
        bars that are too young to be believed from REST."""
        interval = self.feed.interval
        end_ms = self._settled_ms()
        start_ms = interval.shift(end_ms, -self._settings.num_candles)
        wanted = self.state.expected if symbols is None else self.state.expected.intersection(symbols)
        covered: dict[str, list[Segment]] = {symbol: [] for symbol in wanted}
        found = await self._store.segments(self.feed, start_ms=start_ms, end_ms=end_ms, symbols=wanted)
        for symbol, segments in found.items():
            covered[symbol] += segments
        for gap in await self._store.gaps(self.feed, states=(GapState.OPEN, GapState.ABSENT)):
            if gap.symbol in covered:
                covered[gap.symbol].append(Segment(gap.gap_start_ms, gap.gap_end_ms))
        return {
            symbol: missing(interval, max(start_ms, interval.floor(self._onboard.get(symbol, 0))), end_ms, segments)
            for symbol, segments in covered.items()
        }

    # What runs

    async def run(self) -> None:
        """Record until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._updates = tasks
            tasks.create_task(self.listeners.run())
            tasks.create_task(self.history.run())
            if self._with_funding:
                tasks.create_task(self._settled_funding())
            await self._listening.wait()
            tasks.create_task(self._watch_listings())
            while self.state.halted:  # no run is ready before the window behind it is full
                await self._clock.sleep(_LISTINGS_TURN_S)
            await self._enough_history()
            self._filled(self.feed.name)
            first_ms = self.feed.interval.boundary_after(self._clock.now_ms())
            self.state.go_live(first_ms)
            alarm = PeriodAlarm(
                self.feed, clock=self._clock, put=self._put, at_boundary=self._at_boundary, skipped=self._skipped
            )
            tasks.create_task(alarm.run(first_ms))
            # Bars that closed between the last page of history and the first run; then, now and again, whatever may
            # have been lost for a reason that nobody thought of.
            await self._clock.sleep_until(first_ms + self._settle_ms)
            while True:
                self.history.request()
                await self.history.idle.wait()
                self.caught_up = True
                self._completed(self.feed.name, [])
                await self._clock.sleep_until(audit_time(self.feed.interval, self._clock.now_ms() + _AUDIT_EVERY_MS))

    def _settled_ms(self) -> int:
        """When the bars of which REST is asked must have closed."""
        return self.feed.interval.floor(self._clock.now_ms() - self._settle_ms)

    async def _full_history(self) -> None:
        """Fill the window up to the newest bar, which is waited for until it is old enough."""
        interval = self.feed.interval
        while True:
            settled_ms = self._settled_ms()
            self.history.request()
            await self.history.idle.wait()
            closed_ms = interval.floor(self._clock.now_ms())
            if settled_ms == closed_ms or interval.length_ms <= self._settle_ms:
                return
            await self._clock.sleep_until(closed_ms + self._settle_ms)

    async def _enough_history(self) -> None:
        """Until the window is full, or, when that takes long, until every symbol has its newest page."""
        full = asyncio.create_task(self._full_history())
        patience = asyncio.create_task(self._clock.sleep(_HISTORY_PATIENCE_S))
        try:
            await asyncio.wait({full, patience}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            full.cancel()
            patience.cancel()
        await self.history.newest_round_done.wait()

    def _at_boundary(self, run_time_ms: int) -> None:
        self.run_time_ms = run_time_ms
        if self._updates is None or run_time_ms % MINUTE_MS:
            return  # feeds of seconds follow the minute
        self._updates.create_task(self._update(run_time_ms))

    async def _update(self, run_time_ms: int) -> None:
        """Exchange info and running funding rates of a run time; given up when they cannot be had."""
        try:
            info = await retrying(
                lambda: self._desk.exchange_info(run_time_ms),
                clock=self._clock,
                attempts=_UPDATE_ATTEMPTS,
                told=self._failed,
            )
            await self._take_listings(info, run_time_ms)
            if self._with_funding:
                await self._funding.snapshot(run_time_ms, _UPDATE_ATTEMPTS)
        except ExchangeError as error:
            self._notice(Severity.WARNING, "rest", f"no exchange info or funding for this run time: {error}")

    async def _take_listings(self, info: ExchangeInfo, run_time_ms: int) -> None:
        self._looked_ms = self._clock.now_ms()
        members = _members(self.feed, info.symbols, self._settings)
        self._listed = bool(members)
        if members:
            self._note_onboard(members)
            await self._put(ExchangeInfoFetched(self.feed.name, run_time_ms, members))
        elif self.state.expected:  # an answer without a single symbol is no news of a market that has vanished
            self._notice(Severity.WARNING, "rest", "exchange info without any symbol of this feed is not believed")

    async def _watch_listings(self) -> None:
        """Look at the listings between boundaries, too: soon, and then ever more rarely, while something that should
        trade does not; else every some minutes, for a period may last a day."""
        looks = doubts = 0
        while True:
            await self._clock.sleep(_LISTINGS_TURN_S)
            before, doubts = doubts, self.state.in_doubt()
            if doubts or self.state.halted or not self._listed:
                looks = 0 if doubts > before else looks
                pause_ms = 1000 * _LOOK_AGAIN_S[min(looks, len(_LOOK_AGAIN_S) - 1)]
            else:
                looks, pause_ms = 0, _LISTINGS_EVERY_MS
            if (now_ms := self._clock.now_ms()) < self._looked_ms + pause_ms:
                continue
            looks, self._looked_ms = looks + 1, now_ms
            try:
                await self._take_listings(await self._desk.exchange_info(now_ms), 0)
            except ExchangeError as error:
                self._failed(error, pause_ms / 1000)

    async def _settled_funding(self) -> None:
        interval = self.feed.interval
        await self.history.newest_round_done.wait()
        await self._funding.run(
            window_start_ms=interval.shift(interval.floor(self._clock.now_ms()), -self._settings.num_candles),
            known=await self._store.last_funding_times(self.feed),
        )

    # What decisions act on

    def _listen(self, symbols: frozenset[str]) -> None:
        self._listening.set()
        for group in self.listeners.listen(symbols):
            self._report(ListenGroup(self._clock.now_ms(), self.feed.name, group.group, group.streams))

    def _backfill(self, symbols: list[str]) -> None:
        """Fetch what new symbols have made, now and once more when the first run that expects them is past."""
        self._request_twice(self.feed.interval.boundary_after(self._clock.now_ms()), symbols)

    def _request_twice(self, until_ms: int, symbols: list[str] | None = None) -> None:
        """Look for what is missing now, and again when the bars that close by `until_ms` are old enough for REST."""

        async def again() -> None:
            await self._clock.sleep_until(until_ms + self._settle_ms)
            self.history.request(symbols)

        self.history.request(symbols)
        if self._updates is not None:
            self._updates.create_task(again())

    def _owed(self, bars: list[tuple[str, int]]) -> None:
        """REST had bars with trades that the stream did not bring: was it one frame that got lost, or all of them?"""
        silent = {
            symbol
            for symbol, open_ms in bars
            if not self.listeners.heard_since(symbol, self._clock.monotonic_at(self.feed.interval.next(open_ms)))
        }
        if silent:
            names = ", ".join(sorted(silent)[:5]) + (" …" if len(silent) > 5 else "")
            self._notice(
                Severity.WARNING, "silence", f"{len(silent)} streams are silent while their symbols trade: {names}"
            )
            self.listeners.distrust(silent)

    def _skipped(self, first_ms: int, next_ms: int) -> None:
        count = self.feed.interval.count(first_ms, next_ms)
        self._notice(
            Severity.WARNING, "clock", f"{count} boundaries passed unseen (suspended machine?): fetching their bars"
        )
        self._request_twice(next_ms)

    def _failed(self, error: ExchangeError, pause: float) -> None:
        self._told(self.feed.name, error, pause)

    def _notice(self, severity: Severity, topic: str, text: str) -> None:
        self._report(Notice(self._clock.now_ms(), severity, topic, text, self.feed.name))

    def info(self) -> dict[str, object]:
        """The feed as `bmacdb status` shows it."""
        return {
            "expected": len(self.state.expected),
            "live": self.state.live_from_ms is not None,
            "halted": self.state.halted,
            "open_gaps": self.state.open_gaps(),
            "provisional": self.state.provisional_bars(),
            "run_time_ms": self.run_time_ms,
            "sockets": [
                {
                    "group": s.group,
                    "streams": s.streams,
                    "state": s.state,
                    "connected_ms": s.connected_ms,
                    "last_frame_ms": s.last_frame_ms,
                    "frames": s.frames,
                    "reconnects": s.reconnects,
                    "bytes": s.bytes,
                }
                for s in self.listeners.status()
            ],
        }
