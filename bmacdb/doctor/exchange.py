"""The exchange as it is seen from here: REST and websockets of each market, clock, request weight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import aiohttp

from bmacdb.clock import ServerClock
from bmacdb.doctor.finding import Finding, fail, ok, warn
from bmacdb.errors import Blocked, ExchangeError, RateLimited
from bmacdb.exchange.addresses import Addresses
from bmacdb.exchange.connection import Observer
from bmacdb.exchange.endpoints import Endpoints
from bmacdb.exchange.limit import RequestWindow, WeightBudget
from bmacdb.exchange.rest import RestClient, open_session
from bmacdb.exchange.stream import CandleListener
from bmacdb.exchange.wire import KlineEvent
from bmacdb.model import Feed, Market, SymbolInfo
from bmacdb.settings import Settings
from bmacdb.sources import mask_url
from bmacdb.symbols import select

__all__ = ["look_at_exchange"]

_SKEW_MS = 1000.0
_SLOW_MS = 1000.0
_STREAMS = 200
_ADDRESSES = 2  # so many of a market's websocket addresses are tried
_LIMITS = {Market.SPOT: 6000, Market.USDT_FUTURES: 2400, Market.COIN_FUTURES: 2400}


async def look_at_exchange(settings: Settings, *, patience_s: float = 15.0) -> AsyncIterator[Finding]:
    """Connectivity of each market that the settings record, market by market.

    It asks for a few units of weight, and waits `patience_s` seconds at most for the first frame of each market.
    """
    endpoints = Endpoints.of(settings)
    clock = ServerClock(rate=settings.clock_rate)
    told_clock = False
    async with open_session(endpoints=endpoints, timeout_s=settings.http_timeout_sec, proxy=settings.proxy) as session:
        for market in dict.fromkeys(feed.market for feed in settings.feeds):
            looking = _Market(market, settings, endpoints, session, clock, patience_s)
            async for finding in looking.look():
                yield finding
            if clock.synchronized and not told_clock:
                told_clock = True
                yield _clock(clock)


def _clock(clock: ServerClock) -> Finding:
    skew_ms = clock.skew_ms()
    text = f"this machine is {abs(skew_ms) / 1000:.3f} s {'ahead of' if skew_ms > 0 else 'behind'} the exchange"
    if abs(skew_ms) > _SKEW_MS:
        return warn(
            "clock",
            text,
            "Recording follows the exchange's clock all the same, logs do not: turn time synchronisation on.",
        )
    return ok("clock", text)


class _Market:
    def __init__(
        self,
        market: Market,
        settings: Settings,
        endpoints: Endpoints,
        session: aiohttp.ClientSession,
        clock: ServerClock,
        patience_s: float,
    ) -> None:
        self._market, self._settings = market, settings
        self._told: list[str] = []
        self._addresses = Addresses(market, endpoints, told=self._told.append)
        self._session, self._clock, self._patience_s = session, clock, patience_s
        self._feeds = [feed for feed in settings.feeds if feed.market is market]
        self._proxy = None if endpoints.is_loopback(market) else settings.proxy
        self._budget = WeightBudget(_LIMITS[market], clock=clock)
        self._client = RestClient(
            market,
            endpoints=endpoints,
            session=session,
            clock=clock,
            budget=self._budget,
            funding_window=RequestWindow(clock=clock),
            timeout_s=settings.http_timeout_sec,
            proxy=self._proxy,
            addresses=self._addresses,
        )

    async def look(self) -> AsyncIterator[Finding]:
        name = f"{self._market} REST"
        try:
            await self._client.server_time()  # connects
            started = self._clock.monotonic()
            await self._client.server_time()
            took_ms = (self._clock.monotonic() - started) * 1000
            info = await self._client.exchange_info()
        except ExchangeError as error:
            yield fail(name, str(error), self._remedy(error))
            return
        slow = took_ms > _SLOW_MS
        yield (warn if slow else ok)(name, f"{self._addresses.rest} answers within {took_ms:.0f} ms{self._turns()}")
        yield self._weight()
        for feed in self._feeds:
            yield self._symbols(feed, info.symbols)
        yield await self._stream(info.symbols)

    def _weight(self) -> Finding:
        used, limit = self._budget.used, self._budget.limit
        name, text = f"{self._market} weight", f"{used} of {limit} used in this minute"
        if used > limit / 2:
            return warn(name, text, "Another program uses this address, perhaps a recorder: history takes longer.")
        return ok(name, text)

    def _symbols(self, feed: Feed, symbols: Iterable[SymbolInfo]) -> Finding:
        trading = select(feed, symbols, assets=self._settings.spot_assets)
        keep = self._settings.keep_symbols
        absent = [] if keep is None else [symbol for symbol in keep if symbol not in trading]
        count = len(trading) if keep is None else len(keep) - len(absent)
        if not count:
            what = f"none of {', '.join(absent)}" if absent else f"no symbol of {feed.trade_type}"
            return fail(feed.name, f"{what} trades", "Mend keep_symbols or trade_type.")
        if absent:
            return warn(
                feed.name, f"{count} symbols trade, and these do not: {', '.join(absent)}", "Mend keep_symbols."
            )
        return ok(feed.name, f"{count} symbols trade")

    def _turns(self) -> str:
        """Which addresses had to be tried before."""
        told = "".join(f"; {text.partition(': ')[2].rstrip('.')}" for text in self._told)
        self._told.clear()
        return told

    async def _stream(self, symbols: tuple[SymbolInfo, ...]) -> Finding:
        """The recorder's own listener, until it has heard something; where it hears nothing, at the next address."""
        name = f"{self._market} websocket"
        feed = self._feeds[0]
        trading = sorted(select(feed, symbols, assets=self._settings.spot_assets))[:_STREAMS]
        told: list[str] = []

        async def closed(_: KlineEvent) -> None:
            return None

        observer = Observer(closed, lost=lambda error: told.append(str(error)), told=told.append)
        listener = CandleListener(
            feed,
            0,
            addresses=self._addresses,
            session=self._session,
            clock=self._clock,
            observer=observer,
            proxy=self._proxy,
        )
        listener.change(trading)
        listening = asyncio.create_task(listener.run())
        try:
            for _ in range(_ADDRESSES):
                url = self._addresses.stream
                waited = await self._first_frame(listener)
                if waited is not None:
                    text = f"{self._addresses.stream} sends: the first frame of {len(trading)} streams"
                    return ok(name, f"{text} after {waited:.1f} s{self._turns()}")
                if (state := listener.status().state) == "connecting":
                    self._addresses.unreachable(url, at_once=True)
                else:
                    listener.mistrust(f"nothing for {self._patience_s:.0f} s")
                if url == self._addresses.stream:
                    break
        finally:
            listening.cancel()
            await asyncio.wait({listening})
        if state == "connecting":
            why = told[-1].partition(": ")[2] or told[-1] if told else "no answer"
            return fail(name, why + self._turns(), self._reach_remedy())
        return warn(
            name,
            f"{url} accepts {len(trading)} streams and sends nothing for {self._patience_s:.0f} s{self._turns()}",
            "A quiet market may be silent for so long; another one is not: a proxy or firewall may hold frames back.",
        )

    async def _first_frame(self, listener: CandleListener) -> float | None:
        """Seconds until the listener has heard something; None where it does not."""
        started = self._clock.monotonic()
        while (waited := self._clock.monotonic() - started) < self._patience_s:
            if listener.status().state == "receiving":
                return waited
            await asyncio.sleep(0.02)
        return None

    def _remedy(self, error: ExchangeError) -> str:
        if isinstance(error, Blocked):
            return "The exchange does not serve this address: use a proxy (--proxy) or another network."
        if isinstance(error, RateLimited):
            return "Wait until then, and stop whatever else asks the exchange from this address."
        return self._reach_remedy()

    def _reach_remedy(self) -> str:
        if self._proxy:
            return f"The proxy {mask_url(self._proxy)} is used: is it up, and does it let this host through?"
        return "Check network, DNS and firewall; where the exchange is blocked, use a proxy (--proxy)."
