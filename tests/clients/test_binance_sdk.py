"""The stand-in with Binance's own connectors (binance-sdk-*), on all three markets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bmacdb.interval import MINUTE_MS
from bmacdb.model import Market
from bmacdb.simulated import SimulatedExchange
from tests.clients.support import SPEED, SYMBOLS, agrees, client

common = client("binance_common.configuration", "binance-sdk-spot")
spot = client("binance_sdk_spot", "binance-sdk-spot")
usds = client("binance_sdk_derivatives_trading_usds_futures", "binance-sdk-derivatives-trading-usds-futures")
coin = client("binance_sdk_derivatives_trading_coin_futures", "binance-sdk-derivatives-trading-coin-futures")


def connected(exchange: SimulatedExchange, market: Market) -> Any:
    """The connector of a market with the stand-in's addresses."""
    kind = {
        Market.SPOT: spot.Spot,
        Market.USDT_FUTURES: usds.DerivativesTradingUsdsFutures,
        Market.COIN_FUTURES: coin.DerivativesTradingCoinFutures,
    }[market]
    return kind(
        config_rest_api=common.ConfigurationRestAPI(base_path=exchange.rest_urls[market], retries=0),
        config_ws_streams=common.ConfigurationWebSocketStreams(stream_url=exchange.ws_urls[market]),
    )


async def asked(method: Any, *args: object, **query: object) -> Any:
    """What a connector's method answers; they are blocking."""
    response = await asyncio.to_thread(method, *args, **query)
    return response.data()


async def test_spot_over_rest() -> None:
    async with SimulatedExchange(symbols=3, recent=0, speed=1) as exchange:
        rest = connected(exchange, Market.SPOT).rest_api
        end_ms = exchange.start_ms // MINUTE_MS * MINUTE_MS - 1
        for method in (rest.klines, rest.ui_klines):
            rows = await asked(method, "BTCUSDT", "1m", limit=20, end_time=end_ms)
            assert len(rows) == 20
            agrees(exchange, Market.SPOT, rows)
        info = await asked(rest.exchange_info, symbols=["ETHUSDT", "BTCUSDT"])
        assert [one.symbol for one in info.symbols] == ["ETHUSDT", "BTCUSDT"]
        assert (await asked(rest.ticker24hr, symbol="BTCUSDT")).actual_instance.symbol == "BTCUSDT"
        assert (await asked(rest.ticker_price, symbol="BTCUSDT")).actual_instance.price
        assert (await asked(rest.ticker_book_ticker)).actual_instance


@pytest.mark.parametrize("market", [Market.USDT_FUTURES, Market.COIN_FUTURES])
async def test_futures_over_rest(market: Market) -> None:
    async with SimulatedExchange(symbols=3, recent=0, speed=1) as exchange:
        rest, symbol = connected(exchange, market).rest_api, SYMBOLS[market]
        pair = symbol.removesuffix("_PERP")
        end_ms = exchange.start_ms // MINUTE_MS * MINUTE_MS - 1
        for rows in (
            await asked(rest.kline_candlestick_data, symbol, "1m", limit=20, end_time=end_ms),
            await asked(
                rest.continuous_contract_kline_candlestick_data, pair, "PERPETUAL", "1m", limit=20, end_time=end_ms
            ),
        ):
            assert len(rows) == 20
            agrees(exchange, market, rows)
        assert len(await asked(rest.mark_price_kline_candlestick_data, symbol, "1m", limit=5)) == 5
        assert len(await asked(rest.index_price_kline_candlestick_data, pair, "1m", limit=5)) == 5
        assert len(await asked(rest.premium_index_kline_data, symbol, "1m", limit=5)) == 5
        assert len((await asked(rest.exchange_information)).symbols) > 3
        for method in (
            rest.ticker24hr_price_change_statistics,
            rest.symbol_price_ticker,
            rest.symbol_order_book_ticker,
        ):
            assert await asked(method, symbol=symbol)
            assert await asked(method)
        if market is Market.USDT_FUTURES:
            schedule = await asked(rest.trading_schedule)
            assert schedule.market_schedules.equity.sessions
            assert await asked(rest.symbol_price_ticker_v2, symbol=symbol)
            assert (await asked(rest.mark_price, symbol=symbol)).actual_instance.symbol == symbol
            assert await asked(rest.get_funding_rate_history, symbol=symbol)


@pytest.mark.parametrize("market", list(Market))
async def test_streams(market: Market) -> None:
    """Candles of symbols everywhere; continuous candles, mark prices and quotes of futures."""
    async with SimulatedExchange(symbols=3, recent=0, speed=SPEED) as exchange, asyncio.timeout(60):
        streams = connected(exchange, market).websocket_streams
        await streams.create_connection()
        events: dict[str, list[Any]] = {}
        symbol = SYMBOLS[market].lower()

        def keep(name: str) -> Any:
            return events.setdefault(name, []).append

        if market is Market.SPOT:
            (await streams.kline(symbol=symbol, interval="1m")).on("message", keep("kline"))
            (await streams.book_ticker(symbol=symbol)).on("message", keep("quote"))
        else:
            pair = symbol.removesuffix("_perp")
            (await streams.kline_candlestick_streams(symbol, "1m")).on("message", keep("kline"))
            (await streams.continuous_contract_kline_candlestick_streams(pair, "perpetual", "1m")).on(
                "message", keep("continuous")
            )
            (await streams.mark_price_stream(symbol, update_speed="1s")).on("message", keep("mark"))
            (await streams.individual_symbol_book_ticker_streams(symbol)).on("message", keep("quote"))
        while any(len(found) < 2 for found in events.values()):
            await asyncio.sleep(0.01)
        await streams.close_connection(close_session=True)
        for name in ("kline", "continuous") if market is not Market.SPOT else ("kline",):
            rows = [[one.k.t, one.k.o, one.k.h, one.k.l, one.k.c, one.k.v] for one in events[name]]
            assert all(one.k.x for one in events[name])
            agrees(exchange, market, rows)
