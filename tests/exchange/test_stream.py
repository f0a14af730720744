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
from bmacdb.exchange.addresses import Addresses
from bmacdb.exchange.connection import Observer
from bmacdb.exchange.endpoints import Endpoints
from bmacdb.exchange.limit import connect_window
from bmacdb.exchange.listeners import Listeners
from bmacdb.exchange.stream import CandleListener
from bmacdb.exchange.wire import KlineEvent
from bmacdb.symbols import parse_feed

from .proxies import http_proxy

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
        self.trouble = ""  # "closes", "denies", or "one frame" before it closes
        self.connects: list[int] = []  # attempts, in the clock's milliseconds
        self.clock = ManualClock(T0)

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        self.connects.append(self.clock.now_ms())
        if self.refuse:
            self.refuse -= 1
            raise web.HTTPServiceUnavailable
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        received: list[dict[str, object]] = []
        self.messages.append(received)
        if self.trouble == "closes":
            await socket.close(code=1008, message=b"Policy violation")
        async for message in socket:
            asked = json.loads(message.data)
            received.append(asked)
            if self.trouble == "one frame":
                await socket.send_str(frame("BTCUSDT", T0, closed=False))
                await socket.close(code=1008)
            elif self.trouble == "denies":
                await socket.send_str(json.dumps({"error": {"code": 2, "msg": "no"}, "id": asked["id"]}))
            elif self.acknowledge:
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
    def __init__(self, exchange: Exchange, received: Received, listener: CandleListener, addresses: Addresses) -> None:
        self.exchange, self.received, self.listener, self.addresses = exchange, received, listener, addresses
        self.clock = exchange.clock
        self.tasks: list[asyncio.Task[None]] = []

    async def pass_time(self, seconds: float, *, until: Callable[[], bool] = lambda: False) -> None:
        """Let `seconds` of the clock pass, a quarter of a second at a time, with time for the sockets in between."""
        for _ in range(round(seconds * 4)):
            if until():
                return
            await self.clock.advance(0.25)
            await asyncio.sleep(0.002)


@asynccontextmanager
async def listening(*symbols: str, exchange: Exchange | None = None) -> AsyncIterator[Setting]:
    exchange, received = exchange or Exchange(), Received()
    clock = exchange.clock
    app = web.Application()
    app.router.add_get("/market/stream", exchange.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"ws://127.0.0.1:{runner.addresses[0][1]}/market/stream"
    async with aiohttp.ClientSession() as session:
        observer = Observer(received.take, received.lost.append, received.told.append)
        addresses = Addresses(FEED.market, Endpoints(ws_url=url))
        listener = CandleListener(FEED, 0, addresses=addresses, session=session, clock=clock, observer=observer, seed=1)
        listener.change(symbols)
        setting = Setting(exchange, received, listener, addresses)
        setting.tasks.append(asyncio.create_task(listener.run()))
        try:
            yield setting
        finally:
            for task in setting.tasks:
                task.cancel()
            await asyncio.wait(setting.tasks)
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
        await s.pass_time(60, until=lambda: len(s.exchange.messages) == 2 and bool(s.exchange.messages[1]))
        await s.exchange.sockets[1].send_str(frame("BTCUSDT", T0))
        await until(lambda: bool(s.received.closed))
        assert any("cannot connect" in text for text in s.received.told)


@pytest.mark.parametrize("trouble", ["closes", "denies", "one frame", "refuses"])
async def test_a_peer_that_gives_nothing_is_asked_ever_more_rarely(trouble: str) -> None:
    """Whether it accepts and closes, refuses the streams, or refuses the connection: a few attempts, growing pauses."""
    exchange = Exchange()
    exchange.trouble, exchange.refuse = trouble, 10**6 if trouble == "refuses" else 0
    async with listening("BTCUSDT", exchange=exchange) as s:
        await s.pass_time(150)
        assert 4 <= len(exchange.connects) <= 12
        assert exchange.connects[-1] - exchange.connects[-2] > 10_000


async def test_pauses_begin_anew_only_after_a_connection_has_delivered_and_lasted() -> None:
    exchange = Exchange()
    exchange.trouble = "closes"
    async with listening("BTCUSDT", exchange=exchange) as s:
        await s.pass_time(60)
        exchange.trouble = ""
        made = len(exchange.messages)
        await s.pass_time(120, until=lambda: len(exchange.messages) > made and bool(exchange.messages[-1]))
        await exchange.sockets[-1].send_str(frame("BTCUSDT", T0))
        await until(lambda: bool(s.received.closed))
        await s.pass_time(31)
        made = len(exchange.messages)
        await exchange.sockets[-1].close()
        await until(lambda: len(exchange.messages) > made)  # at once: the clock stands still


async def test_a_new_connection_that_gives_nothing_does_not_cost_the_old_one() -> None:
    """A renewal that fails leaves the old connection where it was, and is tried again later."""
    async with listening("BTCUSDT") as s:
        await until(lambda: s.listener.status().state == "subscribed")
        old = s.exchange.sockets[0]
        s.exchange.trouble = "closes"
        s.listener.renew("for a test")
        await until(lambda: len(s.exchange.sockets) > 1)
        await s.pass_time(300, until=lambda: len(s.exchange.sockets) > 2)
        assert len(s.exchange.sockets) > 2
        await old.send_str(frame("BTCUSDT", T0))
        await until(lambda: bool(s.received.closed))
        assert not old.closed
        s.exchange.trouble = ""
        made = len(s.exchange.sockets)
        await s.pass_time(300, until=lambda: len(s.exchange.sockets) > made)
        await s.exchange.sockets[-1].send_str(frame("BTCUSDT", T0 + 60_000))
        await until(lambda: T0 + 60_000 in s.received.opens)
        await s.pass_time(2)
        await until(lambda: old.closed)


async def test_all_listeners_of_a_process_share_the_leave_to_connect() -> None:
    """Three feeds of eight listeners against a peer that accepts and closes: far below 300 connects in five minutes,
    and what is planned still has room."""
    exchange = Exchange()
    exchange.trouble = "closes"
    async with listening(exchange=exchange) as s, aiohttp.ClientSession() as session:
        window = connect_window(s.clock)
        observer = Observer(s.received.take, s.received.lost.append, s.received.told.append)
        for group in range(24):
            listener = CandleListener(
                FEED,
                group,
                addresses=s.addresses,
                session=session,
                clock=s.clock,
                observer=observer,
                connects=window,
                seed=group,
            )
            listener.change(["BTCUSDT"])
            s.tasks.append(asyncio.create_task(listener.run()))
        await until(lambda: len(exchange.connects) == 24)  # a healthy start waits for nothing
        await s.pass_time(300)
        assert len(exchange.connects) <= 24 + 140
        with await window.acquire(urgent=True):
            assert exchange.clock.now_ms() <= T0 + 301_000


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


async def test_a_proxys_password_stays_a_secret() -> None:
    """Whether the proxy does not let the host through, or is not there."""
    received, clock = Received(), ManualClock(T0)
    observer = Observer(received.take, received.lost.append, received.told.append)
    addresses = Addresses(FEED.market, Endpoints())
    async with http_proxy({}) as proxy, aiohttp.ClientSession() as session:
        for port in (proxy.port, 1):
            url = f"http://user:hunter2@127.0.0.1:{port}"
            listener = CandleListener(
                FEED, 0, addresses=addresses, session=session, clock=clock, observer=observer, proxy=url
            )
            listener.change(["BTCUSDT"])
            told, task = len(received.told), asyncio.create_task(listener.run())
            while len(received.told) == told:
                await asyncio.sleep(0.005)
            task.cancel()
            await asyncio.wait({task})
    assert len(received.told) == 2
    assert "hunter2" not in str(received.told)


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
            addresses = Addresses(FEED.market, Endpoints(ws_url="ws://unused"))
            return CandleListener(FEED, group, addresses=addresses, session=session, clock=clock, observer=observer)

        listeners = Listeners(FEED, 3, make, clock=clock)
        changed = listeners.listen([f"S{n}" for n in range(10)])
        assert sorted(status.streams for status in changed) == [3, 3, 4]
        again = listeners.listen([f"S{n}" for n in range(11)])
        assert len(again) == 1
        assert sorted(status.streams for status in listeners.status()) == [3, 4, 4]
        listeners.listen([f"S{n}" for n in range(3000)])
        assert max(status.streams for status in listeners.status()) <= 800
