"""Two recorders that share one receiver, as processes of their own; each end killed and started again."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web

from bmacdb.errors import UsageError
from bmacdb.exchange import upstream
from bmacdb.exchange.endpoints import Endpoints
from bmacdb.exchange.relay import Relay, receiver_addresses
from bmacdb.exchange.session import open_session
from bmacdb.simulated import SimulatedExchange

from .support import Recorder, agrees

ARGUMENTS = ["--feed", "usdt_perp_1m", "--num-candles", "60"]
SPEED = 60.0


@asynccontextmanager
async def receiving(
    exchange: SimulatedExchange, port: int = 0
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """`bmacdb receive` before `exchange`: the process and its URL."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bmacdb.cli.main", "receive", "--port", str(port)),
        *("--rest-url", exchange.rest_url, "--ws-url", exchange.ws_url, "--clock-rate", str(exchange.speed)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        assert line.startswith("Receiving at http://127.0.0.1:"), line
        yield process, line.split()[2].rstrip(".")
    finally:
        if process.returncode is None:
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 20) == 0


def subscriptions(exchange: SimulatedExchange) -> Counter[str]:
    return Counter(name for connection in exchange._connections for name in connection.streams)


async def test_two_recorders_and_every_end_killed(tmp_path: Path) -> None:
    """Both files equal the exchange's history, whoever was killed meanwhile; streams are subscribed to once."""
    homes = [tmp_path / "one", tmp_path / "two"]
    for home in homes:
        home.mkdir()
    async with SimulatedExchange(symbols=6, speed=SPEED, seed=5) as exchange:
        async with receiving(exchange) as (receiver, url):
            first = Recorder(exchange, homes[0], ARGUMENTS, receiver=url)
            second = Recorder(exchange, homes[1], ARGUMENTS, receiver=url)
            async with first, second:
                await first.until("run_complete", 2)
                await second.until("run_complete", 2)
                seen = subscriptions(exchange)
                assert len(seen) >= 6
                assert set(seen.values()) == {1}

                receiver.kill()
                await receiver.wait()
                await exchange.clock.sleep(100)  # a run time passes without a receiver
                async with receiving(exchange, int(url.rpartition(":")[2])) as (_, same):
                    assert same == url
                    for recorder in (first, second):
                        await recorder.until("run_complete", len(recorder.told("run_complete")) + 3)
                    assert set(subscriptions(exchange).values()) == {1}

                    assert second.process is not None
                    second.process.kill()
                    await second.process.wait()
                    await exchange.clock.sleep(100)
                    async with Recorder(exchange, homes[1], ARGUMENTS, receiver=url) as third:
                        await third.until("run_complete", 3)
                        await first.until_whole()
                        await third.until_whole()
                        assert await first.stop() == 0, first.story()
                        assert await third.stop() == 0, third.story()
        for home in homes:
            assert agrees(exchange, home / "bmac.duckdb", "usdt_perp_1m", num_candles=60) > 6 * 60


async def test_the_same_question_is_asked_once_and_the_time_always() -> None:
    async with (
        SimulatedExchange(symbols=2, speed=1.0) as exchange,
        receiving(exchange) as (_, url),
        aiohttp.ClientSession() as session,
    ):

        async def ask(path: str) -> tuple[int, bytes, str]:
            async with session.get(url + path) as response:
                return response.status, await response.read(), response.headers["X-MBX-USED-WEIGHT-1M"]

        await asyncio.gather(ask("/fapi/v1/time"), ask("/fapi/v1/time"))
        assert exchange.stats.requests == 2
        klines = "/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=5"
        one, two = await asyncio.gather(ask(klines), ask(klines))
        assert one == two
        assert one[0] == 200
        assert exchange.stats.requests == 3
        assert (await ask("/fapi/v1/klines?symbol=NONE&interval=1m"))[0] == 400
        assert (await ask("/api/v3/klines?symbol=BTCUSDT&interval=1m"))[0] == 200


async def test_another_client_may_use_it() -> None:
    """Streams in the URL and by SUBSCRIBE, lists and errors as the exchange has them; frames arrive as they were."""
    async with (
        SimulatedExchange(symbols=2, speed=1.0, updates_per_second=5) as exchange,
        receiving(exchange) as (_, url),
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}/spot/stream?streams=btcusdt@kline_1m") as spot,
        session.ws_connect(f"{url}/usdt_futures/market/stream") as futures,
    ):
        first = await spot.receive_json(timeout=10)
        assert first["stream"] == "btcusdt@kline_1m"
        assert first["data"]["e"] == "kline"
        await futures.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
        assert await futures.receive_json(timeout=10) == {"result": [], "id": 1}
        await futures.send_json({"method": "DANCE", "id": 2})
        assert (await futures.receive_json(timeout=10))["error"]["code"] == 2
        await futures.send_json({"method": "SUBSCRIBE", "params": ["ethusdt@kline_1m"], "id": 3})
        assert await futures.receive_json(timeout=10) == {"result": None, "id": 3}
        assert (await futures.receive_json(timeout=10))["stream"] == "ethusdt@kline_1m"
        for connection in list(exchange._connections):
            connection.die()
        while (message := await futures.receive(timeout=10)).type is aiohttp.WSMsgType.TEXT:
            pass
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert futures.close_code == 1012


async def test_a_client_that_does_not_read_is_cut_off_and_streams_end_with_their_last_client(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upstream, "_SLOWEST_READER", 0)
    monkeypatch.setattr(upstream, "_UNWANTED_S", 0.2)
    monkeypatch.setattr(upstream, "_LOOK_S", 0.05)
    async with (
        SimulatedExchange(symbols=20, speed=1.0, updates_per_second=200) as exchange,
        open_session() as session,
    ):
        relay = Relay(Endpoints(exchange.rest_url, exchange.ws_url), session)
        runner = web.AppRunner(relay.app, shutdown_timeout=1.0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            port = runner.addresses[0][1]
            async with session.get(f"http://127.0.0.1:{port}/api/v3/exchangeInfo") as response:
                symbols = [one["symbol"].lower() for one in (await response.json())["symbols"]]
            names = "/".join(f"{symbol}@kline_1m" for symbol in symbols)
            small = socket.socket()
            small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            small.connect(("127.0.0.1", port))
            reader, writer = await asyncio.open_connection(sock=small, limit=1024)
            writer.write(
                f"GET /spot/stream?streams={quote(names)} HTTP/1.1\r\nHost: x\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n".encode()
            )
            assert b" 101 " in await reader.readline()  # and nothing is read after this
            async with session.ws_connect(f"http://127.0.0.1:{port}/spot/stream?streams={names}") as other:
                async with asyncio.timeout(30):
                    while len(relay.clients) > 1:
                        assert (await other.receive()).type is aiohttp.WSMsgType.TEXT
                assert (await other.receive(timeout=10)).type is aiohttp.WSMsgType.TEXT
                assert len(subscriptions(exchange)) == len(symbols)
            async with asyncio.timeout(10):
                while subscriptions(exchange):
                    await asyncio.sleep(0.02)
            writer.close()
        finally:
            await runner.cleanup()


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("http://example.com:9740", "ssh -N -L 9740:127.0.0.1:9740 example.com"),
        ("tcp://127.0.0.1:9740", "not tcp://"),
        ("http://127.0.0.1", "http://127.0.0.1:9740"),
        ("http://127.0.0.1:port", "no URL"),
    ],
)
def test_other_addresses_are_refused(url: str, remedy: str) -> None:
    with pytest.raises(UsageError, match=remedy):
        receiver_addresses(url)


async def test_a_server_that_is_no_receiver_is_refused(tmp_path: Path) -> None:
    runner = web.AppRunner(web.Application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bmacdb.cli.main", "record", str(tmp_path), "--feed", "usdt_perp_1m"),
            *("--from", f"http://127.0.0.1:{runner.addresses[0][1]}"),
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await process.communicate()
        assert process.returncode == 2
        assert b"no receiver. Start one with bmacdb receive." in said
        assert not os.listdir(tmp_path)
    finally:
        await runner.cleanup()
