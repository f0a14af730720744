"""Listeners keep their streams flowing: subscriptions, renewals, mistrust of silence."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from bmacdb.clock import ManualClock
from bmacdb.errors import Malformed
from bmacdb.exchange.connection import Observer
from bmacdb.exchange.listeners import Listeners
from bmacdb.exchange.stream import CandleListener
from bmacdb.exchange.wire import KlineEvent
from bmacdb.symbols import parse_feed

FEED = parse_feed("usdt_perp_1m")
T0 = 1_700_000_040_000


def frame(symbol: str, open_ms: int, *, closed: bool = True) -> str:
    bar = {"t": open_ms, "T": open_ms + 59_999, "s": symbol, "i": "1m", "f": 1, "L": 2, "o": "1", "c": "1", "h": "1"}
    bar |= {"l": "1", "v": "1", "n": 2, "x": closed, "q": "1", "V": "1", "Q": "1", "B": "0"}
    data = {"e": "kline", "E": open_ms + 60_000, "s": symbol, "k": bar}
    return json.dumps({"stream": f"{symbol.lower()}@kline_1m", "data": data}, separators=(",", ":"), ensure_ascii=False)


class Exchange:
    """Acknowledges every message and sends what the test wants sent."""

    def __init__(self) -> None:
        self.sockets: list[web.WebSocketResponse] = []
        self.messages: list[list[dict[str, object]]] = []
        self.refuse = 0
        self.acknowledge = True

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        if self.refuse:
            self.refuse -= 1
            raise web.HTTPServiceUnavailable
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        received: list[dict[str, object]] = []
        self.messages.append(received)
        async for message in socket:
            asked = json.loads(message.data)
            received.append(asked)
            if self.acknowledge:
                await socket.send_str(json.dumps({"result": None, "id": asked["id"]}))
        return socket

    def names(self, connection: int) -> set[str]:
        """What the connection is subscribed to."""
        names: set[str] = set()
        for message in self.messages[connection]:
            params = message["params"]
            assert isinstance(params, list)
            (names.update if message["method"] == "SUBSCRIBE" else names.difference_update)(params)
        return names


class Received:
    def __init__(self) -> None:
        self.closed: list[KlineEvent] = []
        self.lost: list[Malformed] = []
        self.told: list[str] = []

    async def take(self, event: KlineEvent) -> None:
        self.closed.append(event)

    @property
    def opens(self) -> list[int]:
        return [event.candle.open_time_ms for event in self.closed]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


class Setting:
    def __init__(self, exchange: Exchange, received: Received, listener: CandleListener, clock: ManualClock) -> None:
        self.exchange, self.received, self.listener, self.clock = exchange, received, listener, clock


@asynccontextmanager
async def listening(*symbols: str) -> AsyncIterator[Setting]:
    exchange, received, clock = Exchange(), Received(), ManualClock(T0)
    app = web.Application()
    app.router.add_get("/market/stream", exchange.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"ws://127.0.0.1:{runner.addresses[0][1]}/market/stream"
    async with aiohttp.ClientSession() as session:
        observer = Observer(received.take, received.lost.append, received.told.append)
        listener = CandleListener(FEED, 0, url=url, session=session, clock=clock, observer=observer, seed=1)
        listener.change(symbols)
        task = asyncio.create_task(listener.run())
        try:
            yield Setting(exchange, received, listener, clock)
        finally:
            task.cancel()
            await asyncio.wait({task})
            await runner.cleanup()


async def test_closed_candles_come_through_and_open_ones_do_not() -> None:
    async with listening("BTCUSDT", "币安人生USDT") as s:
        await until(lambda: bool(s.exchange.messages and s.exchange.messages[0]))
        assert s.exchange.names(0) == {"btcusdt@kline_1m", "币安人生usdt@kline_1m"}
        (socket,) = s.exchange.sockets
        await socket.send_str(frame("BTCUSDT", T0, closed=False))
        await socket.send_str(frame("NOSUCHUSDT", T0))
        await socket.send_str(frame("币安人生USDT", T0))
        await until(lambda: bool(s.received.closed))
        assert [event.candle.symbol for event in s.received.closed] == ["币安人生USDT"]
        assert s.listener.last_heard("BTCUSDT")


async def test_garbage_is_counted_and_the_connection_lives_on() -> None:
    async with listening("BTCUSDT") as s:
        await until(lambda: bool(s.exchange.sockets))
        (socket,) = s.exchange.sockets
        await socket.send_str("<html>")
        await socket.send_str(frame("BTCUSDT", T0)[:-20] + "true")
        await socket.send_bytes(b"\x00\x01")
        await socket.send_str(frame("BTCUSDT", T0))
        await until(lambda: bool(s.received.closed))
        assert len(s.received.lost) == 3
        assert len(s.exchange.sockets) == 1


async def test_at_most_200_names_in_a_message_and_changes_are_told_apart() -> None:
    symbols = [f"S{n}USDT" for n in range(450)]
    async with listening(*symbols) as s:
        await until(lambda: bool(s.exchange.messages) and len(s.exchange.names(0)) == 450)
        assert all(len(message["params"]) <= 200 for message in s.exchange.messages[0])  # type: ignore[arg-type]
        s.listener.change([*symbols[1:], "NEWUSDT"])
        await until(lambda: "newusdt@kline_1m" in s.exchange.names(0))
        assert "s0usdt@kline_1m" not in s.exchange.names(0)
        assert len(s.exchange.sockets) == 1, "nobody else is disturbed"


async def test_a_dead_connection_is_replaced_for_as_long_as_it_takes() -> None:
    async with listening("BTCUSDT") as s:
        await until(lambda: bool(s.exchange.messages and s.exchange.messages[0]))
        s.exchange.refuse = 2
        await s.exchange.sockets[0].close()
        await until(lambda: len(s.exchange.messages) == 2 and bool(s.exchange.messages[1]))
        await s.exchange.sockets[1].send_str(frame("BTCUSDT", T0))
        await until(lambda: bool(s.received.closed))
        assert any("cannot connect" in text for text in s.received.told)


@pytest.mark.parametrize("cause", ["asked", "old", "announced", "silent"])
async def test_a_renewal_receives_on_the_new_connection_before_it_lets_the_old_one_go(cause: str) -> None:
    async with listening("BTCUSDT") as s:
        await until(lambda: bool(s.exchange.messages and s.exchange.messages[0]))
        old = s.exchange.sockets[0]
        if cause != "silent":
            await old.send_str(frame("BTCUSDT", T0))
            await until(lambda: len(s.received.closed) == 1)
        if cause == "asked":
            s.listener.renew("for a test")
        elif cause == "announced":
            await old.send_str('{"e":"serverShutdown","E":1}')
        else:
            await s.clock.advance(23 * 3600 if cause == "old" else 61)
            s.listener.change(["BTCUSDT", "ETHUSDT"])  # makes it look
        await until(lambda: len(s.exchange.messages) == 2 and bool(s.exchange.messages[1]))
        if cause != "announced":
            await old.send_str(frame("BTCUSDT", T0 + 60_000))
            await until(lambda: T0 + 60_000 in s.received.opens)
            assert not old.closed, "the old connection stays until the new one speaks"
        await s.exchange.sockets[1].send_str(frame("BTCUSDT", T0 + 120_000))
        await until(lambda: T0 + 120_000 in s.received.opens)
        await s.clock.advance(1)
        await until(lambda: old.closed)


async def test_a_subscription_that_nobody_acknowledges_is_not_believed() -> None:
    async with listening("BTCUSDT") as s:
        s.exchange.acknowledge = False
        await until(lambda: bool(s.exchange.messages and s.exchange.messages[0]))
        s.exchange.acknowledge = True
        await s.clock.advance(11)
        s.listener.change(["BTCUSDT", "ETHUSDT"])
        await until(lambda: len(s.exchange.sockets) == 2)


async def test_silent_streams_are_asked_for_again_and_then_the_connection_is_replaced() -> None:
    async with listening("A", "B", "C", "D") as s:
        listeners = Listeners(FEED, 1, lambda _: s.listener, clock=s.clock)
        listeners.listen(["A", "B", "C", "D"])
        await until(lambda: bool(s.exchange.messages and s.exchange.messages[0]))
        await s.clock.advance(1)
        await s.exchange.sockets[0].send_str(frame("B", T0, closed=False))
        await until(lambda: listeners.heard_since("B", s.clock.monotonic()))
        listeners.distrust(["A"])
        await until(lambda: len(s.exchange.messages[0]) == 2)
        assert s.exchange.messages[0][1]["params"] == ["a@kline_1m"]
        await s.clock.advance(1)
        listeners.distrust(["A"])
        await until(lambda: len(s.exchange.sockets) == 2)


async def test_symbols_are_spread_evenly_and_stay_where_they_are() -> None:
    received, clock = Received(), ManualClock(T0)
    async with aiohttp.ClientSession() as session:
        observer = Observer(received.take, received.lost.append, received.told.append)

        def make(group: int) -> CandleListener:
            return CandleListener(FEED, group, url="ws://unused", session=session, clock=clock, observer=observer)

        listeners = Listeners(FEED, 3, make, clock=clock)
        changed = listeners.listen([f"S{n}" for n in range(10)])
        assert sorted(status.streams for status in changed) == [3, 3, 4]
        again = listeners.listen([f"S{n}" for n in range(11)])
        assert len(again) == 1
        assert sorted(status.streams for status in listeners.status()) == [3, 4, 4]
        listeners.listen([f"S{n}" for n in range(3000)])
        assert max(status.streams for status in listeners.status()) <= 800
