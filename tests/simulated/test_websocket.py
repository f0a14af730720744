"""The websocket half over real sockets."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from bmacdb.interval import MINUTE_MS
from bmacdb.model import Market
from bmacdb.simulated.generate import Bar
from tests.simulated.support import FAST, FROZEN, START_MS, closed, events, eventually, running


@pytest.mark.parametrize(
    ("path", "symbol", "market"),
    [
        ("/stream", "BTCUSDT", Market.SPOT),
        ("/market/stream", "BTCUSDT", Market.USDT_FUTURES),
        ("/market/stream", "BTCUSD_PERP", Market.COIN_FUTURES),
        ("/stream", "币安人生USDT", Market.SPOT),
    ],
)
async def test_closed_bars_are_those_of_history(path: str, symbol: str, market: Market) -> None:
    """What comes over the socket at each boundary is what REST answers afterwards, and what `expected` has."""
    async with running(speed=FAST) as client:
        socket = await client.listen(path, f"{symbol.lower()}@kline_1m")
        seen = await events(socket, until=lambda seen: len(closed(seen)) >= 3)
        expected = client.exchange.expected(market, symbol, "1m", START_MS, START_MS + 10**9)[:20]
        by_open = {bar.open_time_ms: bar for bar in expected}
        for event in seen:
            k = event["k"]
            bar = Bar(
                k["t"],
                *(float(k[letter]) for letter in "ohlcv"),
                k["T"],
                float(k["q"]),
                k["n"],
                float(k["V"]),
                float(k["Q"]),
            )
            assert bar == by_open[k["t"]]
            assert event["E"] > k["T"]
        runs = [run for _, run in closed(seen)]
        assert runs == list(range(runs[0], runs[-1] + 1, MINUTE_MS))


async def test_a_bar_is_not_sent_before_its_boundary() -> None:
    """By the exchange's own clock, however fast that runs."""
    async with running(speed=FAST) as client:
        socket = await client.listen("/market/stream", "btcusdt@kline_1m", "ethusdt@kline_1m")
        for _ in range(4):
            event = (await socket.receive_json())["data"]
            assert client.exchange.clock.now_ms() > event["k"]["T"]


async def test_raw_sockets_and_urls_carry_streams_too() -> None:
    """`/ws/NAME` sends bare events, `?streams=a/b` wraps them: without a SUBSCRIBE."""
    async with running(speed=FAST) as client:
        for path in ("/ws/btcusdt@kline_1m", "/market/ws/btcusdt@kline_1m"):
            raw = await client.listen(path)
            event = await raw.receive_json()
            assert (event["e"], event["s"], event["k"]["x"]) == ("kline", "BTCUSDT", True)
        both = await client.listen("/market/stream?streams=btcusdt@kline_1m/ethusdt@kline_1m")
        seen = await events(both, until=lambda seen: {event["s"] for event in seen} == {"BTCUSDT", "ETHUSDT"})
        assert all(event["k"]["x"] for event in seen)


async def test_whatever_is_asked_for_is_acknowledged_and_may_be_silent() -> None:
    """Upper case, unknown symbols, unknown intervals and unrouted futures URLs: an answer, and never a candle."""
    async with running(speed=FAST) as client:
        dumb = await client.listen("/market/stream", "BTCUSDT@kline_1m", "nope@kline_1m", "btcusdt@kline_7m", "x")
        unrouted = await client.listen("/public/stream", "btcusdt@kline_1m")
        loud = await client.listen("/market/stream", "btcusdt@kline_1m")
        await events(loud, until=lambda seen: len(seen) >= 3)
        for socket in (dumb, unrouted):
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 7})
            answer = await socket.receive_json()  # the very next message: nothing came before it
            assert answer["id"] == 7
            assert "btcusdt@kline_7m" in answer["result"] or answer["result"] == ["btcusdt@kline_1m"]


async def test_unsubscribed_streams_fall_silent() -> None:
    """And the others go on."""
    async with running(speed=FAST) as client:
        socket = await client.listen("/stream", "btcusdt@kline_1m", "ethusdt@kline_1m")
        await events(socket, until=lambda seen: len(seen) >= 2)
        await socket.send_json({"method": "UNSUBSCRIBE", "params": ["btcusdt@kline_1m"], "id": 9})
        while (await socket.receive_json()).get("id") != 9:
            pass
        seen = await events(socket, until=lambda seen: len(seen) >= 3)
        assert {event["s"] for event in seen} == {"ETHUSDT"}
        assert client.exchange.summary()["subscriptions"] == 1


async def test_messages_that_are_no_commands_are_answered_with_an_error() -> None:
    """Bad JSON, no method, unknown methods, params that are no list of names; the connection lives on."""
    async with running(speed=FROZEN) as client:
        socket = await client.listen("/market/stream")
        for text, code in (
            ("{", 3),
            ('{"id":1}', 2),
            ('{"method":"DANCE","id":1}', 2),
            ('{"method":"SUBSCRIBE","params":"btcusdt@kline_1m","id":1}', 2),
        ):
            await socket.send_str(text)
            assert (await socket.receive_json())["error"]["code"] == code


@pytest.mark.parametrize(("path", "burst"), [("/stream", 5), ("/market/stream", 15)])
async def test_too_many_messages_close_the_connection(path: str, burst: int) -> None:
    """1008 for who sends more than the market allows at once."""
    async with running(speed=FROZEN) as client:
        socket = await client.session.ws_connect(client.exchange.ws_url + path)
        for number in range(burst + 60):
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": number})
        answers = 0
        while (message := await socket.receive()).type is aiohttp.WSMsgType.TEXT:
            answers += 1
        assert socket.close_code == 1008
        assert burst <= answers < burst + 60
        assert client.exchange.stats.most_messages_a_second > burst
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)


async def test_the_1025th_stream_closes_the_connection() -> None:
    """1024 are carried; one more, and all are lost."""
    async with running(speed=FROZEN) as client:
        socket = await client.listen("/market/stream", *(f"x{number}@kline_1m" for number in range(1024)))
        await socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@kline_1m"], "id": 2})
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 1008
        await eventually(lambda: client.exchange.stats.connections == 0)
        assert client.exchange.summary()["subscriptions"] == 0


async def test_the_exchange_pings_and_ends_who_does_not_answer() -> None:
    """A client that pongs stays; one that does not is closed."""
    async with running(speed=FROZEN, ping_seconds=0.25) as client:
        live = await client.session.ws_connect(client.exchange.ws_url + "/stream", autoping=False)
        for _ in range(3):
            message = await live.receive()
            assert message.type is aiohttp.WSMsgType.PING
            await live.pong(message.data)
        dead = await client.session.ws_connect(client.exchange.ws_url + "/stream", autoping=False)
        while (message := await dead.receive()).type is aiohttp.WSMsgType.PING:
            pass
        assert dead.close_code == 1011


async def test_a_ping_of_the_client_is_answered() -> None:
    """With its own payload."""
    async with running(speed=FROZEN) as client:
        socket = await client.session.ws_connect(client.exchange.ws_url + "/stream", autoping=False)
        await socket.ping(b"are you there")
        message = await socket.receive()
        assert (message.type, bytes(message.data)) == (aiohttp.WSMsgType.PONG, b"are you there")


async def test_a_connection_has_a_greatest_age() -> None:
    """24 hours of the exchange's time, or what the test says."""
    async with running(speed=FAST, lifetime_ms=2 * MINUTE_MS) as client:
        socket = await client.listen("/stream", "btcusdt@kline_1m")
        while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
        assert socket.close_code == 1001


async def test_open_bars_are_updated_as_often_as_asked() -> None:
    """Between two closed bars come updates that are not closed, of the bar that follows."""
    async with running(speed=240, updates_per_second=100) as client:
        socket = await client.listen("/market/stream", "btcusdt@kline_1m", "ethusdt@kline_1m")

        def updates(seen: list[dict[str, Any]]) -> set[tuple[str, int]]:
            return {(event["s"], event["k"]["T"] + 1) for event in seen if not event["k"]["x"]}

        def enough(seen: list[dict[str, Any]]) -> bool:
            return len(updates(seen) & set(closed(seen))) >= 4

        seen = await events(socket, until=enough)
        assert {symbol for symbol, _ in updates(seen)} == {"BTCUSDT", "ETHUSDT"}
        for event in seen:
            assert event["E"] >= event["k"]["t"]


async def test_every_subscriber_gets_its_own_frames() -> None:
    """Two connections with one stream: both hear it."""
    async with running(speed=FAST) as client:
        sockets = [await client.listen("/stream", "btcusdt@kline_1m") for _ in range(2)]
        seen = [await events(socket, until=lambda seen: len(seen) >= 3) for socket in sockets]
        assert set(closed(seen[0])) & set(closed(seen[1]))


async def test_seconds_close_every_second() -> None:
    """The shortest bars of spot."""
    async with running(speed=5) as client:
        socket = await client.listen("/stream", "btcusdt@kline_1s")
        runs = [run for _, run in closed(await events(socket, until=lambda seen: len(seen) >= 4))]
        assert runs == list(range(runs[0], runs[0] + 4000, 1000))


async def test_quiet_futures_bars_may_go_without_a_closing_frame() -> None:
    """`quiet_closes=False`: nobody knows whether the real exchange sends them."""
    async with running(symbols=60, speed=FAST, quiet_closes=False) as client:
        universe = client.exchange.universe
        quiet = [one for one in universe.instruments(Market.USDT_FUTURES) if universe.style(one, one.lives[0]).quiet]
        socket = await client.listen("/market/stream", *(f"{one.symbol.lower()}@kline_1m" for one in quiet))
        seen = await events(socket, until=lambda seen: len(seen) >= 20)
        assert all(event["k"]["n"] > 0 for event in seen)
