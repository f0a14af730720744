"""Funding of one futures feed: the running rates at each run time, and the settled ones every hour."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import replace

from bmacdb.clock import Clock
from bmacdb.errors import ExchangeError
from bmacdb.exchange.market import MarketDesk
from bmacdb.exchange.rest import retrying
from bmacdb.interval import HOUR_MS
from bmacdb.model import Feed, FundingRate, Market
from bmacdb.recorder.fetch import given_up
from bmacdb.recorder.messages import FundingFetched

__all__ = ["FundingUpdater", "settled_since"]

_SETTLED_AFTER_MS = 30_000  # a settlement shows up some seconds after its hour, stamped with some milliseconds of it
_OVERLAP_MS = 8 * HOUR_MS  # the longest funding period: what settled late last time is asked for again
_PAGE = 1000


async def settled_since(
    ask: Callable[[str | None, int], Awaitable[tuple[FundingRate, ...]]], start_ms: int, symbols: Collection[str]
) -> AsyncIterator[tuple[FundingRate, ...]]:
    """Every settled funding of `symbols` from `start_ms` on, in pages, some rows twice.

    `ask(symbol or None, start_ms)` returns at most 1000 of them, oldest first. Where a single instant fills a whole
    page, what follows is asked for symbol by symbol.
    """
    while True:
        page = await ask(None, start_ms)
        yield tuple(rate for rate in page if rate.symbol in symbols)
        if len(page) < _PAGE:
            return
        last_ms = page[-1].funding_time_ms
        if last_ms == page[0].funding_time_ms:
            for symbol in sorted(symbols):
                yield await ask(symbol, start_ms)
            return
        start_ms = last_ms


class FundingUpdater:
    """Asks for funding and puts it into the main queue. A feed of delivery contracts has no settled funding."""

    def __init__(
        self,
        feed: Feed,
        desk: MarketDesk,
        *,
        clock: Clock,
        put: Callable[[FundingFetched], Awaitable[None]],
        symbols: Callable[[], Collection[str]],
        told: Callable[[ExchangeError, float], None],
        whole_market: bool = False,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`told` hears of each failure and the seconds until the next try (0: given up for now); `pause` waits.

        With `whole_market`, running rates are kept of all symbols of the market, as the predecessor keeps them.
        """
        self._pause = pause
        self._feed, self._desk, self._clock, self._whole_market = feed, desk, clock, whole_market
        self._put, self._symbols, self._told = put, symbols, told
        self._unanswered: dict[str, int] = {}  # symbols to be asked for one by one in the next round, and since when

    async def snapshot(self, run_time_ms: int, attempts: int) -> None:
        """The running rates at `run_time_ms`. Raises ExchangeError after `attempts` tries."""
        snapshots = await retrying(
            lambda: self._desk.premium_index(run_time_ms), clock=self._clock, attempts=attempts, told=self._told
        )
        symbols = self._symbols()
        kept = tuple(
            replace(row, run_time_ms=run_time_ms) for row in snapshots if self._whole_market or row.symbol in symbols
        )
        await self._put(FundingFetched(self._feed.name, run_time_ms, kept, ()))

    async def run(self, *, window_start_ms: int, known: dict[str, int]) -> None:
        """Keep the settled fundings up to date until cancelled. `known` has the latest one of each symbol in the file;
        symbols without any, or without the latest, are asked for one by one (from `window_start_ms` on at most)."""
        if self._feed.trade_type.endswith("_deli"):
            return
        since_ms = max(known.values(), default=window_start_ms) - _OVERLAP_MS
        behind = {
            symbol: max(known.get(symbol, 0), window_start_ms)
            for symbol in self._symbols()
            if known.get(symbol, 0) < since_ms
        }
        if len(behind) > len(known) or since_ms < window_start_ms:
            since_ms, behind = window_start_ms, {}
        self._unanswered = behind
        await self._update(since_ms)
        while True:
            asked_ms = self._clock.now_ms()
            await self._clock.sleep_until(asked_ms // HOUR_MS * HOUR_MS + HOUR_MS + _SETTLED_AFTER_MS)
            await self._update(asked_ms - _OVERLAP_MS)

    async def _update(self, since_ms: int) -> None:
        symbols = self._symbols()
        unanswered, self._unanswered = self._unanswered, {}
        if self._feed.market is Market.COIN_FUTURES:  # it takes no question about all symbols
            unanswered = dict.fromkeys(symbols, since_ms) | unanswered
        else:
            try:
                async for rates in settled_since(self._ask, since_ms, symbols):
                    await self._deliver(rates)
            except ExchangeError as error:  # one row may spoil the page of all symbols
                self._told(error, 0.0)
                unanswered = dict.fromkeys(symbols, since_ms) | unanswered
        for symbol in sorted(unanswered.keys() & set(symbols)):
            await self._deliver(await self._ask(symbol, unanswered[symbol]))

    async def _ask(self, symbol: str | None, start_ms: int) -> tuple[FundingRate, ...]:
        """A page. What the exchange refuses, or answers with what is none again and again, is raised as an error where
        all symbols were asked for; of one symbol it is told, and asked for again in the next round."""

        async def ask() -> tuple[FundingRate, ...]:
            return await self._desk.client.funding_rates(symbol, start_ms=start_ms, end_ms=None)

        try:
            return await retrying(given_up(ask), clock=self._clock, told=self._told, pause=self._pause)
        except ExchangeError as error:
            if symbol is None:
                raise
            self._told(error, 0.0)
            self._unanswered[symbol] = start_ms
            return ()

    async def _deliver(self, rates: tuple[FundingRate, ...]) -> None:
        if rates:
            await self._put(FundingFetched(self._feed.name, 0, (), rates))
