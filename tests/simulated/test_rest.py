"""The REST half over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bmacdb.interval import DAY_MS, HOUR_MS, MINUTE_MS
from bmacdb.model import Market
from bmacdb.simulated.generate import Bar
from tests.simulated.support import FROZEN, START_MS, Client, running

PREFIXES = {Market.SPOT: "/api/v3", Market.USDT_FUTURES: "/fapi/v1", Market.COIN_FUTURES: "/dapi/v1"}
SYMBOLS = {Market.SPOT: "BTCUSDT", Market.USDT_FUTURES: "BTCUSDT", Market.COIN_FUTURES: "BTCUSD_PERP"}
NOW_MS = START_MS + 30_000
markets = pytest.mark.parametrize("market", list(Market))


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """A stand-in whose clock stands half a minute after START_MS."""
    async with running(speed=FROZEN, start_ms=NOW_MS) as one:
        yield one


async def klines(client: Client, market: Market, interval: str = "1m", **query: Any) -> list[Any]:
    status, rows = await client.get(PREFIXES[market] + "/klines", symbol=SYMBOLS[market], interval=interval, **query)
    assert status == 200, rows
    assert isinstance(rows, list)
    return rows


def times(rows: list[Any]) -> list[int]:
    """Minutes from START_MS at which rows open."""
    return [(row[0] - START_MS) // MINUTE_MS for row in rows]


def read(row: list[Any]) -> Bar:
    return Bar(row[0], *map(float, row[1:6]), row[6], float(row[7]), row[8], float(row[9]), float(row[10]))


@markets
async def test_time_is_that_of_its_clock(client: Client, market: Market) -> None:
    """Neither the machine's nor that of exchangeInfo."""
    assert await client.get(PREFIXES[market] + "/ping") == (200, {})
    assert await client.get(PREFIXES[market] + "/time") == (200, {"serverTime": NOW_MS})


@markets
async def test_the_latest_rows_end_with_the_open_bar(client: Client, market: Market) -> None:
    """500 rows when no limit is given; the last still forms, and differs from what it will be."""
    rows = await klines(client, market)
    assert times(rows) == list(range(-499, 1))
    expected = client.exchange.expected(market, SYMBOLS[market], "1m", START_MS - 499 * MINUTE_MS, START_MS + MINUTE_MS)
    assert [read(row) for row in rows[:-1]] == expected[:-1]
    assert read(rows[-1]).volume < expected[-1].volume
    assert read(rows[-1]).close_time_ms == expected[-1].close_time_ms


@markets
async def test_bounds_are_open_times_and_inclusive(client: Client, market: Market) -> None:
    """A start within a bar begins with the next one; an end within a bar has it."""
    bounds = {"startTime": START_MS - 5 * MINUTE_MS, "endTime": START_MS - 2 * MINUTE_MS}
    assert times(await klines(client, market, **bounds)) == [-5, -4, -3, -2]
    inner = {"startTime": START_MS - 5 * MINUTE_MS + 1, "endTime": START_MS - 2 * MINUTE_MS - 1}
    assert times(await klines(client, market, **inner)) == [-4, -3]


@pytest.mark.parametrize("market", [Market.SPOT, Market.USDT_FUTURES])
async def test_start_alone_gives_the_oldest_and_end_alone_the_latest(client: Client, market: Market) -> None:
    """As both bounds do from the start, when there are more rows than the limit."""
    start_ms, end_ms = START_MS - 100 * MINUTE_MS, START_MS - 50 * MINUTE_MS
    assert times(await klines(client, market, startTime=start_ms, limit=3)) == [-100, -99, -98]
    assert times(await klines(client, market, endTime=end_ms, limit=3)) == [-52, -51, -50]
    assert times(await klines(client, market, startTime=start_ms, endTime=end_ms, limit=3)) == [-100, -99, -98]
    (first,) = await klines(client, market, startTime=0, limit=1)
    assert first[0] == client.exchange.universe.get(market, "BTCUSDT").lives[0].onboard_ms


async def test_coin_futures_give_the_latest_rows_of_a_window(client: Client) -> None:
    """Whoever pages forward by startTime skips data there; the window is 200 days at most."""
    start_ms, end_ms = START_MS - 100 * MINUTE_MS, START_MS - 50 * MINUTE_MS
    market = Market.COIN_FUTURES
    assert times(await klines(client, market, startTime=start_ms, endTime=end_ms, limit=3)) == [-52, -51, -50]
    assert times(await klines(client, market, startTime=start_ms, limit=2)) == [-1, 0]
    old_ms = START_MS - 300 * DAY_MS
    (last,) = await klines(client, market, "1h", startTime=old_ms, limit=1)
    assert last[0] == old_ms + 200 * DAY_MS
    query = {"symbol": "BTCUSD_PERP", "interval": "1d", "startTime": START_MS - 201 * DAY_MS, "endTime": START_MS}
    status, body = await client.get("/dapi/v1/klines", **query)
    assert (status, body["code"]) == (400, -1130)


async def test_months_weeks_and_three_days_open_where_they_should(client: Client) -> None:
    """Months on the first, weeks on Monday, and three days on a grid that has to be learned."""
    assert (await klines(client, Market.SPOT, "1M", limit=2))[0][0] == 1_790_812_800_000  # 2026-10-01
    assert (await klines(client, Market.SPOT, "1w", limit=1))[0][0] == 1_795_392_000_000  # Monday 2026-11-23
    opens = [row[0] for row in await klines(client, Market.SPOT, "3d", limit=3)]
    assert opens[2] - opens[1] == opens[1] - opens[0] == 3 * DAY_MS
    assert opens[0] % (3 * DAY_MS) != 0


@markets
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"symbol": "NOPE"}, -1121),
        ({"symbol": "BTC USDT"}, -1100),
        ({"symbol": ""}, -1102),
        ({"interval": "7m"}, -1120),
        ({"interval": ""}, -1102),
        ({"limit": 0}, -1130),
        ({"limit": "many"}, -1100),
        ({"startTime": "-1"}, -1100),
    ],
)
async def test_what_cannot_be_asked_is_refused(
    client: Client, market: Market, change: dict[str, object], code: int
) -> None:
    """With the exchange's own codes; and it costs weight even so."""
    query: dict[str, object] = {"symbol": SYMBOLS[market], "interval": "1m"} | change
    path = PREFIXES[market] + "/klines"
    status, body = await client.get(path, **query)
    assert (status, body["code"]) == (400, code)
    _, headers = await client.head(path, **query)
    assert int(headers["X-MBX-USED-WEIGHT-1M"]) > 1


async def test_a_page_has_a_greatest_size(client: Client) -> None:
    """1000 rows on spot, 1500 on futures; a row more is an error and not a shorter page."""
    assert len(await klines(client, Market.SPOT, limit=1000)) == 1000
    for market, limit in ((Market.SPOT, 1001), (Market.USDT_FUTURES, 1501), (Market.COIN_FUTURES, 1501)):
        query = {"symbol": SYMBOLS[market], "interval": "1m", "limit": limit}
        status, body = await client.get(PREFIXES[market] + "/klines", **query)
        assert (status, body["code"]) == (400, -1130)
    assert len(await klines(client, Market.USDT_FUTURES, limit=1500)) == 1500


async def test_seconds_are_for_spot_alone(client: Client) -> None:
    """1s is no interval of futures; a start after the end is refused there too."""
    assert len(await klines(client, Market.SPOT, "1s", limit=5)) == 5
    status, body = await client.get("/fapi/v1/klines", symbol="BTCUSDT", interval="1s")
    assert (status, body["code"]) == (400, -1120)
    status, body = await client.get("/fapi/v1/klines", symbol="BTCUSDT", interval="1m", startTime=2, endTime=1)
    assert (status, body["code"]) == (400, -1023)


async def test_each_futures_market_answers_for_the_other(client: Client) -> None:
    """Since the two were joined in June 2026; and they draw on one weight."""
    await client.get("/fapi/v1/exchangeInfo")
    status, rows = await client.get("/fapi/v1/klines", symbol="BTCUSD_PERP", interval="1m", limit=2)
    assert (status, len(rows)) == (200, 2)
    status, headers = await client.head("/dapi/v1/klines", symbol="BTCUSDT", interval="1m", limit=1000)
    assert (status, headers["X-MBX-USED-WEIGHT-1M"]) == (200, "7")
    _, headers = await client.head("/api/v3/time")
    assert headers["X-MBX-USED-WEIGHT-1M"] == "1"


async def test_the_weight_limit_is_enforced(client: Client) -> None:
    """6000 a minute on spot: then 429 with Retry-After, and 418 with a ban for who goes on."""
    weights = client.exchange.summary()["weight"]
    statuses = []
    for _ in range(300 + 21):
        status, headers = await client.head("/api/v3/exchangeInfo")
        statuses.append(status)
    assert statuses == [200] * 300 + [429] * 20 + [418]
    status, headers = await client.head("/api/v3/time")
    assert (status, headers["Retry-After"]) == (418, "120")
    _, body = await client.get("/api/v3/time")
    assert body["code"] == -1003
    assert f"banned until {NOW_MS + 120_000}" in body["msg"]
    assert weights != client.exchange.summary()["weight"]
    assert client.exchange.stats.by_status[429] == 20
    assert (await client.get("/fapi/v1/time"))[0] == 200


async def test_continuous_klines_are_those_of_the_contract(client: Client) -> None:
    """The pair's current quarter is the contract that is delivered next."""
    query = {"pair": "BTCUSDT", "contractType": "CURRENT_QUARTER", "interval": "1h", "limit": 3}
    _, rows = await client.get("/fapi/v1/continuousKlines", **query)
    _, same = await client.get("/fapi/v1/klines", symbol="BTCUSDT_261225", interval="1h", limit=3)
    assert rows == same
    status, body = await client.get("/fapi/v1/continuousKlines", **query | {"pair": "NOPE"})
    assert (status, body["code"]) == (400, -4144)


async def test_premium_index_has_the_running_rate(client: Client) -> None:
    """A list on COIN-M even for one symbol, an object on USD-M; delivery contracts have no rate."""
    _, rows = await client.get("/fapi/v1/premiumIndex")
    by_symbol = {row["symbol"]: row for row in rows}
    perpetual, quarter = by_symbol["BTCUSDT"], by_symbol["BTCUSDT_261225"]
    assert abs(float(perpetual["lastFundingRate"])) < 0.01
    assert perpetual["nextFundingTime"] == START_MS + 7 * HOUR_MS
    assert (quarter["lastFundingRate"], quarter["nextFundingTime"]) == ("", 0)
    assert "SOONUSDT" not in by_symbol
    _, one = await client.get("/fapi/v1/premiumIndex", symbol="BTCUSDT")
    assert one["symbol"] == "BTCUSDT"
    _, several = await client.get("/dapi/v1/premiumIndex", symbol="BTCUSD_PERP")
    assert several[0]["pair"] == "BTCUSD"


async def test_settled_funding_comes_every_eight_hours(client: Client) -> None:
    """Ascending, some milliseconds late, `Regular` on USD-M; neither price nor type on COIN-M, nothing for delivery."""
    _, rows = await client.get("/fapi/v1/fundingRate", symbol="BTCUSDT", limit=3)
    assert [row["fundingTime"] // HOUR_MS * HOUR_MS for row in rows] == [
        START_MS - 17 * HOUR_MS,
        START_MS - 9 * HOUR_MS,
        START_MS - HOUR_MS,
    ]
    assert {row["rateType"] for row in rows} == {"Regular"}
    assert all(float(row["markPrice"]) > 0 for row in rows)
    start_ms = rows[0]["fundingTime"]
    _, again = await client.get("/fapi/v1/fundingRate", symbol="BTCUSDT", startTime=start_ms, endTime=start_ms)
    assert again == rows[:1]
    _, coin = await client.get("/dapi/v1/fundingRate", symbol="BTCUSD_PERP", limit=1)
    assert set(coin[0]) == {"symbol", "fundingTime", "fundingRate"}
    assert await client.get("/dapi/v1/fundingRate", symbol="BTCUSD_261225") == (200, [])
    status, body = await client.get("/dapi/v1/fundingRate")
    assert (status, body["code"]) == (400, -1102)


async def test_funding_of_all_symbols_is_the_latest_200(client: Client) -> None:
    """No symbol and no times: 200 records, in order of time; some symbols settle more often."""
    _, rows = await client.get("/fapi/v1/fundingRate")
    assert len(rows) == 200
    assert rows == sorted(rows, key=lambda row: row["fundingTime"])
    _, info = await client.get("/fapi/v1/fundingInfo")
    assert {row["fundingIntervalHours"] for row in info} <= {1, 4}
    assert "BTCUSDT" not in {row["symbol"] for row in info}


async def test_funding_requests_have_a_limit_of_their_own(client: Client) -> None:
    """500 in five minutes for fundingRate and fundingInfo together, and no weight header tells of it."""
    window = client.exchange._rest.funding_requests
    for _ in range(498):
        window.charge(NOW_MS)
    status, headers = await client.head("/fapi/v1/fundingRate", symbol="BTCUSDT", limit=1)
    assert status == 200
    assert "X-MBX-USED-WEIGHT-1M" not in headers
    assert (await client.get("/fapi/v1/fundingInfo"))[0] == 200
    status, headers = await client.head("/dapi/v1/fundingRate", symbol="BTCUSD_PERP")
    assert (status, headers["Retry-After"]) == (429, "300")


async def test_spot_has_no_futures_endpoints(client: Client) -> None:
    """And unknown paths are not found, with a page of HTML."""
    for path in ("/api/v3/premiumIndex", "/fapi/v1/nonsense"):
        status, body = await client.get(path)
        assert status == 404
        assert str(body).startswith("<html>")


async def test_other_processes_may_ask_what_is_expected(client: Client) -> None:
    """`/_control/expected` and `/_control/stats` tell what `expected` and `summary` do."""
    query = {
        "market": "usdt_futures",
        "symbol": "BTCUSDT",
        "interval": "1m",
        "start": START_MS - HOUR_MS,
        "end": START_MS,
    }
    status, rows = await client.get("/_control/expected", **query)
    bars = client.exchange.expected(Market.USDT_FUTURES, "BTCUSDT", "1m", START_MS - HOUR_MS, START_MS)
    assert (status, [Bar(*row) for row in rows]) == (200, bars)
    status, body = await client.get("/_control/expected", **query | {"symbol": "NOPE"})
    assert (status, "NOPE" in body["error"]) == (400, True)
    _, stats = await client.get("/_control/stats")
    assert stats["requests"] == 0
    assert stats["now_ms"] == NOW_MS


async def test_a_delisted_symbol_still_answers(client: Client) -> None:
    """With the rows it had; funding and premium index have it no more."""
    _, rows = await client.get("/fapi/v1/klines", symbol="GONEUSDT", interval="1h", limit=2)
    life = client.exchange.universe.get(Market.USDT_FUTURES, "GONEUSDT").lives[0]
    assert life.end_ms is not None
    assert rows[-1][0] == life.end_ms - HOUR_MS
