"""What REST answers beside candles and funding: other prices, tickers, trading sessions, parts of exchangeInfo."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest

from bmacdb.interval import HOUR_MS, MINUTE_MS
from bmacdb.model import Market
from tests.simulated.support import FROZEN, START_MS, Client, running

PREFIXES = {Market.SPOT: "/api/v3", Market.USDT_FUTURES: "/fapi/v1", Market.COIN_FUTURES: "/dapi/v1"}
SYMBOLS = {Market.SPOT: "BTCUSDT", Market.USDT_FUTURES: "BTCUSDT", Market.COIN_FUTURES: "BTCUSD_PERP"}
NOW_MS = START_MS + 30_000
markets = pytest.mark.parametrize("market", list(Market))
futures = pytest.mark.parametrize("market", [Market.USDT_FUTURES, Market.COIN_FUTURES])


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """A stand-in whose clock stands half a minute after START_MS."""
    async with running(speed=FROZEN, start_ms=NOW_MS) as one:
        yield one


async def served(client: Client, path: str, **query: object) -> Any:
    status, body = await client.get(path, **query)
    assert status == 200, body
    return body


async def test_ui_klines_are_klines(client: Client) -> None:
    """On spot alone."""
    query = {"symbol": "BTCUSDT", "interval": "5m", "limit": 7}
    assert await served(client, "/api/v3/uiKlines", **query) == await served(client, "/api/v3/klines", **query)
    assert (await client.get("/fapi/v1/uiKlines", **query))[0] == 404


@futures
async def test_mark_and_index_candles_meet_the_premium_index(client: Client, market: Market) -> None:
    """Their open at a minute is the mark price then; pages are cut as those of klines; there are no volumes."""
    prefix, symbol = PREFIXES[market], SYMBOLS[market]
    query = {"interval": "1m", "startTime": START_MS - 9 * MINUTE_MS, "endTime": START_MS}
    marks = await served(client, f"{prefix}/markPriceKlines", symbol=symbol, **query)
    index = await served(client, f"{prefix}/indexPriceKlines", pair=symbol.removesuffix("_PERP"), **query)
    assert marks == index
    assert [row[0] for row in marks] == [START_MS + minute * MINUTE_MS for minute in range(-9, 1)]
    found = await served(client, f"{prefix}/premiumIndex", symbol=symbol)
    (now,) = found if isinstance(found, list) else [found]
    assert now["markPrice"] == marks[-1][1]
    for row in marks:
        assert [row[5], *row[7:8], *row[9:]] == ["0"] * 5
        assert float(row[3]) <= min(float(row[1]), float(row[4])) <= max(float(row[1]), float(row[4])) <= float(row[2])
    rates = await served(client, f"{prefix}/premiumIndexKlines", symbol=symbol, interval="1h", limit=3)
    assert [row[0] for row in rates] == [START_MS + hour * HOUR_MS for hour in (-2, -1, 0)]
    assert rates[-1][4] == now["lastFundingRate"]
    (day,) = await served(client, f"{prefix}/premiumIndexKlines", symbol=symbol, interval="1d", limit=1)
    assert float(day[3]) <= float(rates[-1][4]) <= float(day[2])


@futures
async def test_other_candles_are_refused_as_klines_are(client: Client, market: Market) -> None:
    """A pair that is none, an interval that is none, a limit too high."""
    prefix, symbol = PREFIXES[market], SYMBOLS[market]
    for path, query, code in (
        ("indexPriceKlines", {"pair": "NOPEUSD", "interval": "1m"}, -4144),
        ("markPriceKlines", {"symbol": symbol, "interval": "7m"}, -1120),
        ("premiumIndexKlines", {"symbol": symbol, "interval": "1m", "limit": 1501}, -1130),
    ):
        status, body = await client.get(f"{prefix}/{path}", **query)
        assert (status, body["code"]) == (400, code)


@markets
async def test_tickers_tell_of_the_candles(client: Client, market: Market) -> None:
    """The last price is where the open minute stands; the day holds the hours; bid and ask lie round the last price."""
    prefix, symbol = PREFIXES[market], SYMBOLS[market]
    minutes = await served(client, f"{prefix}/klines", symbol=symbol, interval="1m", limit=1)
    hours = await served(client, f"{prefix}/klines", symbol=symbol, interval="1h", limit=24)

    async def ticker(name: str) -> Any:
        found = await served(client, f"{prefix}/ticker/{name}", symbol=symbol)
        return found[0] if market is Market.COIN_FUTURES else found  # which answers with a list

    assert (await ticker("price"))["price"] == minutes[-1][4]
    book = await ticker("bookTicker")
    assert float(book["bidPrice"]) < float(minutes[-1][4]) < float(book["askPrice"])
    day = await ticker("24hr")
    assert day["lastPrice"] == minutes[-1][4]
    assert day["openPrice"] == hours[0][1]
    assert float(day["highPrice"]) == max(*(float(row[2]) for row in hours), float(minutes[-1][4]))
    assert float(day["volume"]) == pytest.approx(sum(float(row[5]) for row in hours))
    quote = "baseVolume" if market is Market.COIN_FUTURES else "quoteVolume"
    assert float(day[quote]) == pytest.approx(sum(float(row[7]) for row in hours))
    assert float(day["lowPrice"]) <= float(day["weightedAvgPrice"]) <= float(day["highPrice"])
    assert day["count"] == sum(row[8] for row in hours)


@markets
@pytest.mark.parametrize("name", ["24hr", "price", "bookTicker"])
async def test_without_a_symbol_all_that_trade_are_told(client: Client, market: Market, name: str) -> None:
    rows = await served(client, f"{PREFIXES[market]}/ticker/{name}")
    trading = client.exchange.universe.trading(market, NOW_MS)
    assert [row["symbol"] for row in rows] == [one.symbol for one in trading]


async def test_a_listing_of_today_has_a_day_that_begins_with_it() -> None:
    """No hour is made up for a time before a symbol traded."""
    async with running(speed=FROZEN, start_ms=NOW_MS, symbols=6, recent=1) as client:
        young = max(client.exchange.universe.trading(Market.SPOT, NOW_MS), key=lambda one: one.lives[0].onboard_ms)
        hours = await served(client, "/api/v3/klines", symbol=young.symbol, interval="1h", limit=24)
        assert len(hours) < 24
        day = await served(client, "/api/v3/ticker/24hr", symbol=young.symbol)
        assert day["count"] == sum(row[8] for row in hours)
        assert day["openPrice"] == hours[0][1]


async def test_the_newer_price_ticker_is_found_where_it_lives(client: Client) -> None:
    """`/fapi/v2`, which has nothing else here."""
    row = await served(client, "/fapi/v2/ticker/price", symbol="BTCUSDT")
    assert row == await served(client, "/fapi/v1/ticker/price", symbol="BTCUSDT")
    assert (await client.get("/fapi/v2/klines", symbol="BTCUSDT", interval="1m"))[0] == 404


async def test_exchange_info_of_some_symbols(client: Client) -> None:
    """One by `symbol`, several by `symbols`, in the order asked for; unknown and malformed names are refused."""
    one = await served(client, "/api/v3/exchangeInfo", symbol="ETHUSDT")
    assert [row["symbol"] for row in one["symbols"]] == ["ETHUSDT"]
    several = await served(client, "/api/v3/exchangeInfo", symbols='["ETHUSDT","币安人生USDT","BTCUSDT"]')
    assert [row["symbol"] for row in several["symbols"]] == ["ETHUSDT", "币安人生USDT", "BTCUSDT"]
    for query, code in (
        ({"symbol": "NOPE"}, -1121),
        ({"symbols": '["BTCUSDT","NOPE"]'}, -1121),
        ({"symbols": "BTCUSDT"}, -1100),
        ({"symbols": "[]"}, -1100),
        ({"symbol": "BTCUSDT", "symbols": '["ETHUSDT"]'}, -1128),
    ):
        status, body = await client.get("/api/v3/exchangeInfo", **query)
        assert (status, body["code"]) == (400, code), query
    tickers = await served(client, "/api/v3/ticker/price", symbols='["ETHUSDT"]')
    assert [row["symbol"] for row in tickers] == ["ETHUSDT"]
    everything = await served(client, "/fapi/v1/exchangeInfo", symbol="BTCUSDT")
    assert len(everything["symbols"]) > 1, "futures take no parameter"


async def test_the_sessions_of_the_markets_behind_tradfi_perpetuals(client: Client) -> None:
    """Without a hole, two weeks of them; New York is open by day and closed at the weekend."""
    told = await served(client, "/fapi/v1/tradingSchedule")
    assert set(told["marketSchedules"]) == {"EQUITY", "COMMODITY", "KR_EQUITY", "HK_EQUITY", "CN_EQUITY", "FX"}
    for market in told["marketSchedules"].values():
        sessions = market["sessions"]
        assert all(one["endTime"] == after["startTime"] for one, after in pairwise(sessions))
        assert sessions[0]["startTime"] <= NOW_MS - 7 * 24 * HOUR_MS
        assert sessions[-1]["endTime"] >= NOW_MS + 6 * 24 * HOUR_MS

    def session(at_ms: int) -> str:
        sessions = told["marketSchedules"]["EQUITY"]["sessions"]
        return str(next(one["type"] for one in sessions if one["startTime"] <= at_ms < one["endTime"]))

    # START_MS is Monday, 2026-11-23 at noon in New York.
    assert session(START_MS) == "REGULAR"
    assert session(START_MS - 24 * HOUR_MS) == "NO_TRADING"
    assert session(START_MS - 15 * HOUR_MS) == "OVERNIGHT", "Sunday at nine in the evening"
    assert json.dumps(told)
