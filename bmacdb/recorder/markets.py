"""The exchange as one recorder sees it: desks, fetchers and listeners that share what the exchange counts together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

import aiohttp

from bmacdb.clock import ServerClock
from bmacdb.config import Settings
from bmacdb.errors import ExchangeError, Malformed
from bmacdb.exchange.addresses import Addresses
from bmacdb.exchange.connection import Observer
from bmacdb.exchange.endpoints import Endpoints
from bmacdb.exchange.limit import RequestWindow, WeightBudget, connect_window
from bmacdb.exchange.market import MarketDesk
from bmacdb.exchange.rest import RestClient
from bmacdb.exchange.stream import CandleListener
from bmacdb.exchange.updates import OpenCandles
from bmacdb.exchange.wire import KlineEvent
from bmacdb.model import Feed, Market
from bmacdb.recorder.fetch import RestFetchers
from bmacdb.recorder.messages import CandleClosed, Message
from bmacdb.store.remembered import recall, remember
from bmacdb.store.writer import Store

__all__ = ["Markets"]

_LIMITS = {"spot": 6000, "futures": 2400}  # weight a minute, until exchange info tells


class Markets:
    """A desk for each market that is recorded, and a weight budget for those whose weight is counted together."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: ServerClock,
        endpoints: Endpoints,
        session: aiohttp.ClientSession,
        told: Callable[[str], None],
    ) -> None:
        """`told` hears when an address takes the place of another."""
        self._settings, self._clock, self._endpoints, self._session = settings, clock, endpoints, session
        self._addresses: dict[Market, Addresses] = {}
        self._open_candles: dict[str, OpenCandles] = {}
        self._remembered: dict[Market, str] = {}
        self._budgets: dict[str, WeightBudget] = {}
        self._desks: dict[Market, MarketDesk] = {}
        self._fetchers: dict[str, RestFetchers] = {}
        self._connects = connect_window(clock)
        funding_window = RequestWindow(clock=clock)
        for market in {feed.market: None for feed in settings.feeds}:
            group = _counted_together(market)
            budget = self._budgets.setdefault(group, WeightBudget(_LIMITS[group], clock=clock))
            self._addresses[market] = Addresses(market, endpoints, told=told)
            client = RestClient(
                market,
                endpoints=endpoints,
                session=session,
                clock=clock,
                budget=budget,
                funding_window=funding_window,
                timeout_s=settings.http_timeout_sec,
                proxy=settings.proxy,
                addresses=self._addresses[market],
                settle_ms=round(settings.rest_settle_sec * 1000),
            )
            self._desks[market] = MarketDesk(client, budget)

    def desk(self, feed: Feed) -> MarketDesk:
        """The desk of a feed's market."""
        return self._desks[feed.market]

    async def synchronize(self) -> None:
        """Ask for the exchange's time, of whichever market answers. Raises ExchangeError when none does."""
        failure: ExchangeError | None = None
        for desk in self._desks.values():
            try:
                await desk.client.server_time()
                return
            except ExchangeError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def open_fetchers(
        self,
        feeds: Collection[Feed],
        *,
        deliver: Callable[[Message], Awaitable[None]],
        told: Callable[[str, ExchangeError, float], None],
    ) -> list[RestFetchers]:
        """The fetchers of `feeds`, one lot for each weight budget (see RestFetchers for the rest)."""
        for group in self._budgets:
            clients = {
                feed.name: (feed, self.desk(feed).client) for feed in feeds if _counted_together(feed.market) == group
            }
            self._fetchers[group] = RestFetchers(
                self._settings.num_rest_fetchers, clients, clock=self._clock, deliver=deliver, told=told
            )
        return list(self._fetchers.values())

    def fetchers(self, feed: Feed) -> RestFetchers:
        """The fetchers that serve a feed, once they are open."""
        return self._fetchers[_counted_together(feed.market)]

    def make_listener(
        self,
        feed: Feed,
        group: int,
        *,
        put: Callable[[CandleClosed], Awaitable[None]],
        lost: Callable[[Malformed], None],
        told: Callable[[str], None],
    ) -> CandleListener:
        """A listener of a feed that puts closed candles."""
        clock, name = self._clock, feed.name

        async def closed(event: KlineEvent) -> None:
            await put(CandleClosed(name, event.candle, clock.now_ms()))

        return CandleListener(
            feed,
            group,
            addresses=self._addresses[feed.market],
            session=self._session,
            clock=clock,
            observer=Observer(closed, lost=lost, told=told, open_candles=self.open_candles(name)),
            connects=self._connects,
            proxy=None if self._endpoints.is_loopback(feed.market) else self._settings.proxy,
        )

    def open_candles(self, feed: str) -> OpenCandles:
        """What the listeners of a feed hear of candles that are still open."""
        return self._open_candles.setdefault(feed, OpenCandles())

    async def recall_addresses(self, store: Store) -> None:
        """Begin with the stream addresses that delivered when `store` was written last."""
        for market, addresses in self._addresses.items():
            if stream := await recall(store, f"stream of {market}"):
                addresses.begin_with(stream)
                self._remembered[market] = stream

    async def remember_addresses(self, store: Store) -> None:
        """Write down the stream addresses that deliver, where they are new."""
        for market, addresses in self._addresses.items():
            if addresses.delivers and addresses.stream != self._remembered.get(market):
                self._remembered[market] = addresses.stream
                await remember(store, f"stream of {market}", addresses.stream)

    def addresses(self) -> dict[str, object]:
        """Where each market is asked and listened to, and whether candles have come from there."""
        return {
            str(market): {"rest": one.rest, "stream": one.stream, "delivers": one.delivers}
            for market, one in self._addresses.items()
        }

    def weight(self) -> dict[str, object]:
        """Weight used and allowed in the present minute, by what is counted together."""
        return {name: {"used": budget.used, "limit": budget.limit} for name, budget in self._budgets.items()}


def _counted_together(market: Market) -> str:
    """The name of the markets whose weight the exchange counts together."""
    return "spot" if market is Market.SPOT else "futures"
