"""The stand-in with ccxt, on all three markets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bmacdb.interval import MINUTE_MS
from bmacdb.model import Market
from bmacdb.simulated import SimulatedExchange
from tests.clients.support import SPEED, agrees, client

ccxt = client("ccxt.pro", "ccxt")

NAMES = {Market.SPOT: "BTC/USDT", Market.USDT_FUTURES: "BTC/USDT:USDT", Market.COIN_FUTURES: "BTC/USD:BTC"}
KINDS = {Market.SPOT: "spot", Market.USDT_FUTURES: "linear", Market.COIN_FUTURES: "inverse"}
HOSTS = {
    Market.SPOT: ("https://api.binance.com", "wss://stream.binance.com:9443"),
    Market.USDT_FUTURES: ("https://fapi.binance.com", "wss://fstream.binance.com"),
    Market.COIN_FUTURES: ("https://dapi.binance.com", "wss://dstream.binance.com"),
}


@asynccontextmanager
async def connected(exchange: SimulatedExchange) -> AsyncIterator[Any]:
    """ccxt's Binance with the hosts of the stand-in, its paths as they are."""
    options = {"fetchMarkets": {"types": list(KINDS.values())}, "fetchCurrencies": False, "fetchMargins": False}
    one = ccxt.binance({"options": options, "enableRateLimit": False})
    api = one.urls["api"]
    for market, (rest, ws) in HOSTS.items():
        for name, url in api.items():
            if isinstance(url, str):
                api[name] = url.replace(rest, exchange.rest_urls[market])
        for name, url in api["ws"].items():
            if isinstance(url, str):
                api["ws"][name] = url.replace(ws, exchange.ws_urls[market])
    # ccxt takes frames for spot's only where the address has "/stream" in it, as stream.binance.com has.
    api["ws"]["spot"] = api["ws"]["spot"].replace("ws://", "ws://stream@")
    try:
        yield one
    finally:
        await one.close()


async def test_markets_and_candles_over_rest() -> None:
    async with SimulatedExchange(symbols=3, recent=0, speed=1) as exchange, connected(exchange) as one:
        markets = await one.load_markets()
        for market, name in NAMES.items():
            assert markets[name][KINDS[market]]
            assert markets[name]["active"]
            since = exchange.start_ms // MINUTE_MS * MINUTE_MS - 30 * MINUTE_MS
            rows = await one.fetch_ohlcv(name, "1m", since=since, limit=20)
            assert len(rows) == 20
            # Of COIN-M, ccxt takes the volume in the asset, not in contracts.
            agrees(exchange, market, rows, volume="quote_volume" if market is Market.COIN_FUTURES else "volume")
            ticker = await one.fetch_ticker(name)
            assert ticker["low"] <= ticker["last"] <= ticker["high"]
        assert len(await one.fetch_tickers()) >= 3
        assert (await one.fetch_bids_asks(["BTC/USDT"]))["BTC/USDT"]["bid"] > 0
        assert (await one.fetch_funding_rate("BTC/USDT:USDT"))["markPrice"] > 0
        assert await one.fetch_mark_ohlcv("BTC/USDT:USDT", "1m", limit=3)
        assert await one.fetch_index_ohlcv("BTC/USDT:USDT", "1m", limit=3)
        assert await one.fetch_premium_index_ohlcv("BTC/USDT:USDT", "1m", limit=3)
        assert {rate["symbol"] for rate in await one.fetch_funding_rate_history("BTC/USDT:USDT")} == {"BTC/USDT:USDT"}


@pytest.mark.parametrize("market", list(Market))
async def test_candles_over_sockets(market: Market) -> None:
    """A candle is final when ccxt shows the next one."""
    async with (
        SimulatedExchange(symbols=3, recent=0, speed=SPEED, updates_per_second=20) as exchange,
        connected(exchange) as one,
        asyncio.timeout(60),
    ):
        candles: dict[int, list[float]] = {}
        while len(candles) < 4:
            for row in await one.watch_ohlcv(NAMES[market], "1m"):
                candles[row[0]] = row
        agrees(exchange, market, [candles[start] for start in sorted(candles)[1:-1]])


async def test_mark_prices_and_quotes_over_sockets() -> None:
    """The one on /market, the other on /public."""
    async with (
        SimulatedExchange(symbols=3, recent=0, speed=20) as exchange,
        connected(exchange) as one,
        asyncio.timeout(60),
    ):
        assert (await one.watch_mark_price("BTC/USDT:USDT"))["markPrice"] > 0
        quotes = await one.watch_bids_asks(["BTC/USDT:USDT"])
        assert quotes["BTC/USDT:USDT"]["bid"] < quotes["BTC/USDT:USDT"]["ask"]
