"""The stand-in with Binance's older connectors (binance-connector, binance-futures-connector), which many still use.

All of them, and python-binance, are one package by name: each is tested in an environment of its own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from bmacdb.interval import MINUTE_MS
from bmacdb.model import Market
from bmacdb.simulated import SimulatedExchange
from tests.clients.support import SPEED, SYMBOLS, agrees, client

CLIENTS = {
    Market.SPOT: ("binance.spot", "Spot"),
    Market.USDT_FUTURES: ("binance.um_futures", "UMFutures"),
    Market.COIN_FUTURES: ("binance.cm_futures", "CMFutures"),
}
STREAMS = {
    Market.SPOT: ("binance.websocket.spot.websocket_stream", "SpotWebsocketStreamClient"),
    Market.USDT_FUTURES: ("binance.websocket.um_futures.websocket_client", "UMFuturesWebsocketClient"),
    Market.COIN_FUTURES: ("binance.websocket.cm_futures.websocket_client", "CMFuturesWebsocketClient"),
}


def made(market: Market, names: dict[Market, tuple[str, str]], **options: object) -> Any:
    """A connector's client of a market. Skips the test where that connector is not installed."""
    module, name = names[market]
    package = "binance-connector" if market is Market.SPOT else "binance-futures-connector"
    return getattr(client(module, package), name)(**options)


@pytest.mark.parametrize("market", list(Market))
async def test_candles_over_rest(market: Market) -> None:
    async with SimulatedExchange(symbols=3, recent=0, speed=1) as exchange:
        one = made(market, CLIENTS, base_url=exchange.rest_urls[market])
        end_ms = exchange.start_ms // MINUTE_MS * MINUTE_MS - 1
        rows = await asyncio.to_thread(one.klines, SYMBOLS[market], "1m", limit=20, endTime=end_ms)
        assert len(rows) == 20
        agrees(exchange, market, rows)
        assert await asyncio.to_thread(one.exchange_info)
        one.session.close()


async def heard(
    exchange: SimulatedExchange, market: Market, path: str, enough: Callable[[list[Any]], bool]
) -> list[Any]:
    """The closed candles that a connector's socket gives, by the thread that it runs, until there are enough."""
    loop = asyncio.get_running_loop()
    closed: list[Any] = []

    def take(_: object, text: str) -> None:
        event = json.loads(text)
        if event.get("k", {}).get("x"):
            k = event["k"]
            loop.call_soon_threadsafe(closed.append, [k["t"], *(k[letter] for letter in "ohlcv")])

    url = exchange.ws_urls[market] + path
    stream = await asyncio.to_thread(made, market, STREAMS, stream_url=url, on_message=take)
    try:
        await asyncio.to_thread(stream.kline, symbol=SYMBOLS[market], interval="1m")
        async with asyncio.timeout(30):
            while not enough(closed):
                await asyncio.sleep(0.01)
    finally:
        await asyncio.to_thread(stream.stop)
        stream.socket_manager.ws.shutdown()  # which stop leaves open
    return closed


@pytest.mark.parametrize(
    ("market", "path"), [(Market.SPOT, ""), (Market.USDT_FUTURES, "/market"), (Market.COIN_FUTURES, "")]
)
async def test_candles_over_sockets(market: Market, path: str) -> None:
    """Of USD-M with the path of 2026 added to the address, without which the exchange sends nothing."""
    async with SimulatedExchange(symbols=3, recent=0, speed=SPEED) as exchange:
        agrees(exchange, market, await heard(exchange, market, path, lambda closed: len(closed) >= 3))


async def test_its_old_usd_m_address_is_silent() -> None:
    """As at the exchange: no candle comes while others get theirs, and none of spot's."""
    async with SimulatedExchange(symbols=3, recent=0, speed=SPEED) as exchange:
        start_ms = exchange.clock.now_ms()
        passed = lambda _: exchange.clock.now_ms() > start_ms + 5 * MINUTE_MS  # noqa: E731
        assert await heard(exchange, Market.USDT_FUTURES, "", passed) == []
