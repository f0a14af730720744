"""The stand-in with python-binance, on all three markets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bmacdb.interval import MINUTE_MS
from bmacdb.model import Market
from bmacdb.simulated import SimulatedExchange
from tests.clients.support import SPEED, SYMBOLS, agrees, client

async_client = client("binance.async_client", "python-binance")
streams = client("binance.ws.streams", "python-binance")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@asynccontextmanager
async def connected(exchange: SimulatedExchange) -> AsyncIterator[Any]:
    """An AsyncClient whose addresses are the stand-in's."""
    names = {Market.SPOT: "API_URL", Market.USDT_FUTURES: "FUTURES_URL", Market.COIN_FUTURES: "FUTURES_COIN_URL"}
    paths = {Market.SPOT: "/api", Market.USDT_FUTURES: "/fapi", Market.COIN_FUTURES: "/dapi"}
    urls = {names[market]: exchange.rest_urls[market] + paths[market] for market in Market}
    made = type("Client", (async_client.AsyncClient,), urls)
    one = await made.create()
    try:
        yield one
    finally:
        await one.close_connection()


def sockets(exchange: SimulatedExchange, one: Any) -> Any:
    manager = streams.BinanceSocketManager(one)
    for market, name in zip(Market, ("STREAM_URL", "FSTREAM_URL", "DSTREAM_URL"), strict=True):
        setattr(manager, name, exchange.ws_urls[market] + "/")
    return manager


async def test_candles_over_rest() -> None:
    async with SimulatedExchange(symbols=3, recent=0, speed=1) as exchange, connected(exchange) as one:
        ask = {
            Market.SPOT: one.get_klines,
            Market.USDT_FUTURES: one.futures_klines,
            Market.COIN_FUTURES: one.futures_coin_klines,
        }
        for market in Market:
            end_ms = exchange.start_ms // MINUTE_MS * MINUTE_MS - 1
            rows = await ask[market](symbol=SYMBOLS[market], interval="1m", limit=20, endTime=end_ms)
            assert len(rows) == 20
            agrees(exchange, market, rows)
        start = str(exchange.start_ms // MINUTE_MS * MINUTE_MS - 1200 * MINUTE_MS)
        many = await one.get_historical_klines("BTCUSDT", "1m", start, end_str=str(end_ms))  # pages of its own
        assert len(many) == 1200
        agrees(exchange, Market.SPOT, many)
        assert {row["symbol"] for row in (await one.get_exchange_info())["symbols"]} >= {"BTCUSDT", "ETHUSDT"}
        assert (await one.get_symbol_info("ETHUSDT"))["status"] == "TRADING"
        assert (await one.get_symbol_ticker(symbol="BTCUSDT"))["symbol"] == "BTCUSDT"
        assert float((await one.futures_mark_price(symbol="BTCUSDT"))["markPrice"]) > 0
        assert await one.futures_mark_price_klines(symbol="BTCUSDT", interval="1m", limit=5)
        assert await one.futures_coin_index_price_klines(pair="BTCUSD", interval="1m", limit=5)


@pytest.mark.parametrize("market", list(Market))
async def test_candles_over_sockets(market: Market) -> None:
    """Of futures, python-binance asks for continuous candles; a combined socket has those of symbols."""
    async with SimulatedExchange(symbols=3, recent=0, speed=SPEED) as exchange, connected(exchange) as one:
        manager = sockets(exchange, one)
        name = f"{SYMBOLS[market].lower()}@kline_1m"
        if market is Market.SPOT:
            several = [manager.kline_socket("BTCUSDT", "1m"), manager.multiplex_socket([name])]
        else:
            kinds = streams.FuturesType
            kind = kinds.USD_M if market is Market.USDT_FUTURES else kinds.COIN_M
            pair = SYMBOLS[market].removesuffix("_PERP")
            several = [
                manager.kline_futures_socket(pair, "1m", kind),
                manager.futures_multiplex_socket([name], kind),
            ]
        for socket in several:
            async with socket as stream, asyncio.timeout(30):
                rows = []
                while len(rows) < 2:
                    message = await stream.recv()
                    k = message.get("data", message)["k"]
                    if k["x"]:
                        rows.append([k["t"], *(k[letter] for letter in "ohlcv")])
            agrees(exchange, market, rows)


async def test_an_unrouted_futures_socket_of_it_is_silent() -> None:
    """A version that does not know the paths of 2026 gets nothing, rather than spot's candles."""
    async with SimulatedExchange(symbols=3, recent=0, speed=SPEED) as exchange, connected(exchange) as one:
        wanted = (["btcusdt@kline_1m"], streams.FuturesType.USD_M)
        # A manager each: one of them has one socket for the same streams, whatever their path.
        old = sockets(exchange, one).futures_multiplex_socket(*wanted, category="")
        new = sockets(exchange, one).futures_multiplex_socket(*wanted)
        async with old as silent, new as loud:
            heard = asyncio.create_task(silent.recv())
            for _ in range(3):
                await loud.recv()
            assert not heard.done()
            heard.cancel()
