"""Websocket intake: frames a second and core through the real listener, beside `json.loads` of every frame.

    python -m benchmarks.intake

A process of its own sends frames as fast as they are taken: updates of open bars (nearly all that comes), or closed
bars. The figures are frames for each second of CPU that the receiving process spent; both ways alternate.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import struct
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import aiohttp
from aiohttp import web

from bmacdb.clock import SystemClock
from bmacdb.errors import Malformed
from bmacdb.exchange.connection import Observer
from bmacdb.exchange.stream import CandleListener
from bmacdb.exchange.wire import KlineEvent
from bmacdb.symbols import parse_feed

__all__ = ["main"]

FEED = parse_feed("usdt_perp_1m")
SYMBOLS = [f"X{n:04d}USDT" for n in range(200)]
T0 = 1_795_000_020_000


def frame(symbol: str, *, closed: bool) -> bytes:
    """A text frame of the wire with a kline event in it, unmasked as servers send it."""
    bar = {"t": T0, "T": T0 + 59_999, "s": symbol, "i": "1m", "f": 1234567, "L": 1234600, "o": "64012.10"}
    bar |= {"c": "64010.00", "h": "64050.30", "l": "63990.20", "v": "123.456", "n": 33, "x": closed}
    bar |= {"q": "7901234.56789", "V": "60.123", "Q": "3850000.12345", "B": "0"}
    data = {"e": "kline", "E": T0 + 60_000, "s": symbol, "k": bar}
    text = json.dumps({"stream": f"{symbol.lower()}@kline_1m", "data": data}, separators=(",", ":")).encode()
    return b"\x81\x7e" + struct.pack(">H", len(text)) + text


def serve(pipe: Connection, closed: bool) -> None:
    """Send frames to whoever subscribes, for ever."""
    flood = b"".join(frame(symbol, closed=closed) for symbol in SYMBOLS)

    async def handle(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        asked = json.loads((await socket.receive()).data)
        await socket.send_str(json.dumps({"result": None, "id": asked["id"]}))
        assert request.transport is not None
        transport = request.transport
        with suppress(ConnectionError):
            while not transport.is_closing():
                if transport.get_write_buffer_size() < 1 << 20:  # type: ignore[attr-defined]
                    transport.write(flood)  # type: ignore[attr-defined]
                await asyncio.sleep(0)
        return socket

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/market/stream", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


async def with_listener(url: str, seconds: float) -> float:
    """Frames for each second of CPU through CandleListener."""
    taken = 0

    async def take(_: KlineEvent) -> None:
        nonlocal taken
        taken += 1

    def lost(error: Malformed) -> None:
        raise error

    async with aiohttp.ClientSession() as session:
        observer = Observer(take, lost, lambda _: None)
        listener = CandleListener(FEED, 0, url=url, session=session, clock=SystemClock(), observer=observer)
        listener.change(SYMBOLS)
        task = asyncio.create_task(listener.run())
        while listener.status().frames < 1000:
            await asyncio.sleep(0.01)
        before, cpu = listener.status().frames, time.process_time()
        await asyncio.sleep(seconds)
        frames, cpu = listener.status().frames - before, time.process_time() - cpu
        task.cancel()
        await asyncio.wait({task})
    return frames / cpu


async def with_json(url: str, seconds: float) -> float:
    """The same with the same library, every frame through json.loads, as recorders usually do."""
    async with aiohttp.ClientSession() as session:
        socket = await session.ws_connect(url, compress=0)
        await socket.send_json({"method": "SUBSCRIBE", "params": [], "id": 1})
        frames, closed, cpu, ends = 0, 0, time.process_time(), time.monotonic() + seconds
        async for message in socket:
            event = json.loads(message.data)
            closed += "data" in event and event["data"]["k"]["x"]
            frames += 1
            if frames % 256 == 0 and time.monotonic() > ends:
                break
        rate = frames / (time.process_time() - cpu)
        with suppress(TimeoutError):
            await asyncio.wait_for(socket.close(), 1.0)
        return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    ways: dict[str, Callable[[str, float], Coroutine[Any, Any, float]]] = {
        "listener": with_listener,
        "json.loads": with_json,
    }
    for closed in (False, True):
        ours, theirs = multiprocessing.Pipe()
        sender = multiprocessing.Process(target=serve, args=(theirs, closed), daemon=True)
        sender.start()
        url = f"ws://127.0.0.1:{ours.recv()}/market/stream"
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(arguments.rounds):
            for name, way in ways.items():
                found[name].append(asyncio.run(way(url, arguments.seconds)))
        sender.terminate()
        sender.join()
        medians = {name: statistics.median(values) for name, values in found.items()}
        for name, values in found.items():
            print(
                f"{'closed' if closed else 'unclosed':9} {name:11} {medians[name]:10,.0f} frames a second of CPU "
                f"({min(values):,.0f} to {max(values):,.0f})"
            )
        print(f"{'':9} ratio       {medians['listener'] / medians['json.loads']:10.1f}")


if __name__ == "__main__":
    main()
