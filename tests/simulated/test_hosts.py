"""A host for each market: what it serves, and where it is silent as the exchange is."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from bmacdb.model import Market
from tests.simulated.support import FAST, FROZEN, START_MS, Client, closed, events, running

REST = {Market.SPOT: "/api/v3", Market.USDT_FUTURES: "/fapi/v1", Market.COIN_FUTURES: "/dapi/v1"}
CANDLES = {
    Market.SPOT: "btcusdt@kline_1m",
    Market.USDT_FUTURES: "btcusdt@kline_1m",
    Market.COIN_FUTURES: "btcusd_perp@kline_1m",
}


async def silent(socket: aiohttp.ClientWebSocketResponse) -> bool:
    """Whether nothing came over a socket up to the answer to this question."""
    await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 77})
    return bool((await socket.receive_json()).get("id") == 77)


async def loud(client: Client) -> None:
    """Wait until candles have been sent to those who get any."""
    socket = await client.listen("/market/stream", CANDLES[Market.USDT_FUTURES])
    await events(socket, until=lambda seen: len(closed(seen)) >= 3)


@pytest.mark.parametrize("market", list(Market))
async def test_a_host_answers_the_requests_of_its_market_alone(market: Market) -> None:
    """As api, fapi and dapi do: the others' paths are not found there."""
    async with running(speed=FROZEN) as client:
        for other, path in REST.items():
            async with client.session.get(f"{client.exchange.rest_urls[market]}{path}/time") as response:
                assert response.status == (200 if other is market else 404)


@pytest.mark.parametrize("path", ["/stream", "/ws", "/private/stream", "/public/ws", "/private/ws?listenKey=abc"])
async def test_usd_m_acknowledges_on_other_paths_and_sends_no_candle(path: str) -> None:
    """What filled a futures client with spot's prices: there is nothing there, as at the exchange since April 2026."""
    async with running(speed=FAST) as client:
        socket = await client.listen(path, CANDLES[Market.USDT_FUTURES], market=Market.USDT_FUTURES)
        await loud(client)
        assert await silent(socket)


@pytest.mark.parametrize("path", ["/stream", "/ws", "/market/stream", "/ws/btcusdt@kline_1m"])
async def test_the_front_has_no_websockets_for_other_clients(path: str) -> None:
    """Its unrouted paths are spot's: a futures client that was given it would take spot's candles for its own."""
    async with running(speed=FROZEN) as client:
        with pytest.raises(aiohttp.WSServerHandshakeError, match="404"):
            await client.session.ws_connect(client.exchange.rest_url.replace("http", "ws") + path)


async def test_streams_in_the_url_of_an_unrouted_socket_are_silent_too() -> None:
    """As a client asks that never sends SUBSCRIBE."""
    async with running(speed=FAST) as client:
        path = f"/stream?streams={CANDLES[Market.USDT_FUTURES]}"
        socket = await client.listen(path, market=Market.USDT_FUTURES)
        await loud(client)
        assert await silent(socket)


@pytest.mark.parametrize("market", list(Market))
async def test_each_host_sends_the_candles_of_its_own_market(market: Market) -> None:
    """BTCUSDT of spot and of USD-M have other prices: what comes over a host's socket is what its REST answers."""
    async with running(speed=FAST) as client:
        path = "/stream" if market is Market.SPOT else "/market/stream"
        socket = await client.listen(path, CANDLES[market], market=market)
        (event,) = (one for one in await events(socket, until=lambda seen: len(closed(seen)) == 1) if one["k"]["x"])
        symbol = event["s"]
        (bar,) = client.exchange.expected(market, symbol, "1m", event["k"]["t"], event["k"]["T"])
        assert (float(event["k"]["c"]), float(event["k"]["v"])) == (bar.close, bar.volume)


@pytest.mark.parametrize(
    ("coin_paths", "speaking"), [("both", ["", "/market"]), ("routed", ["/market"]), ("unrouted", [""])]
)
async def test_the_paths_of_coin_m_are_as_asked(coin_paths: str, speaking: list[str]) -> None:
    """Reports disagree about them: a client can be rehearsed against each."""
    async with running(speed=FAST, coin_paths=coin_paths) as client:
        for route in ("", "/market"):
            socket = await client.listen(f"{route}/stream", CANDLES[Market.COIN_FUTURES], market=Market.COIN_FUTURES)
            if route in speaking:
                await events(socket, until=lambda seen: len(closed(seen)) >= 1)
            else:
                await loud(client)
                assert await silent(socket)


async def test_continuous_candles_are_those_of_the_contract_they_follow() -> None:
    """Named after the pair and the kind of contract, without a symbol inside; of quarters too."""
    async with running(speed=FAST) as client:
        socket = await client.listen(
            "/market/stream", "btcusdt_perpetual@continuousKline_1m", "btcusdt_current_quarter@continuousKline_1m"
        )
        seen = await events(socket, until=lambda seen: {one["ct"] for one in seen} == {"PERPETUAL", "CURRENT_QUARTER"})
        universe = client.exchange.universe
        for event in seen:
            assert (event["e"], event["ps"], "s" in event, "s" in event["k"]) == (
                "continuous_kline",
                "BTCUSDT",
                False,
                False,
            )
            contract = universe.contract("BTCUSDT", event["ct"], START_MS)
            assert contract is not None
            (bar,) = universe.expected(contract.market, contract.symbol, "1m", event["k"]["t"], event["k"]["T"])
            assert [float(event["k"][letter]) for letter in "ohlcv"] == list(bar[1:6])


async def test_mark_prices_come_every_second_or_every_third() -> None:
    """With the rate that runs; delivery contracts have none."""
    async with running(speed=20) as client:
        quarter = client.exchange.universe.contract("BTCUSDT", "CURRENT_QUARTER", START_MS)
        assert quarter is not None
        names = ["btcusdt@markPrice@1s", "btcusdt@markPrice", f"{quarter.symbol.lower()}@markPrice@1s"]
        socket = await client.listen("/market/stream", *names)
        frames: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        while len(frames["btcusdt@markPrice"]) < 3:
            message = await socket.receive_json()
            frames[message["stream"]].append(message["data"])
        each = [one["E"] // 1000 for one in frames["btcusdt@markPrice@1s"]]
        assert each == list(range(each[0], each[-1] + 1))
        assert all(one["E"] % 3000 == 0 for one in frames["btcusdt@markPrice"])
        for one in frames["btcusdt@markPrice@1s"]:
            assert one["e"] == "markPriceUpdate"
            assert float(one["p"]) > 0
            assert one["T"] > one["E"]
            assert -0.01 < float(one["r"]) < 0.01
        assert {(one["r"], one["T"]) for one in frames[names[2]]} == {("", 0)}


async def test_the_whole_markets_mark_prices_come_in_two_frames() -> None:
    """USD-M and COIN-M in one, on either host, crypto and the rest apart."""
    async with running(speed=20) as client:
        socket = await client.listen("/market/ws", "!markPrice@arr@1s", market=Market.COIN_FUTURES)
        first, second = await socket.receive_json(), await socket.receive_json()
        assert {one["st"] for one in first} == {1, 2}
        assert {one["s"] for one in second} == {"XAUUSDT", "TSLAUSDT", "NVDAUSDT"}
        trading = [
            one
            for market in (Market.USDT_FUTURES, Market.COIN_FUTURES)
            for one in client.exchange.universe.trading(market, START_MS)
        ]
        assert len(first) + len(second) == len(trading)


@pytest.mark.parametrize(("market", "path"), [(Market.SPOT, "/ws"), (Market.USDT_FUTURES, "/public/ws")])
async def test_quotes_flow_on_the_public_path(market: Market, path: str) -> None:
    """Bid below ask, round the price of the candle; with candles asked for as well, quotes alone come on /public."""
    async with running(speed=20) as client:
        socket = await client.listen(path, "btcusdt@bookTicker", market=market)
        event = await socket.receive_json()
        assert event["s"] == "BTCUSDT"
        bid, ask = float(event["b"]), float(event["a"])
        minute = client.exchange.expected(market, "BTCUSDT", "1m", START_MS, START_MS + 60_000)[0]
        assert bid < ask
        assert abs(bid - minute.open) / minute.open < 0.05
