"""What the tests of the stand-in exchange share: one that runs, and a client of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from bmacdb.model import Market
from bmacdb.simulated import SimulatedExchange

START_MS = 1_795_453_200_000
"""2026-11-23T17:00:00Z: a boundary of every interval up to an hour."""

FROZEN = 1e-6
"""A speed at which no time passes in a test."""

FAST = 960.0
"""A speed at which a minute takes a sixteenth of a second."""


@dataclass
class Client:
    """A client of `exchange`."""

    exchange: SimulatedExchange
    session: aiohttp.ClientSession

    async def get(self, path: str, **query: object) -> tuple[int, Any]:
        """Status and body (parsed where it is JSON) of a request."""
        params = {name: str(value) for name, value in query.items()}
        async with self.session.get(self.exchange.rest_url + path, params=params) as response:
            text = await response.text()
            try:
                return response.status, json.loads(text)
            except ValueError:
                return response.status, text

    async def head(self, path: str, **query: object) -> tuple[int, Any]:
        """Status and headers of a request."""
        params = {name: str(value) for name, value in query.items()}
        async with self.session.get(self.exchange.rest_url + path, params=params) as response:
            return response.status, response.headers

    async def listen(self, path: str, *names: str, market: Market | None = None) -> aiohttp.ClientWebSocketResponse:
        """A websocket of a market's host (None: of the front) that has subscribed to `names`, the reply read."""
        host = self.exchange.ws_url if market is None else self.exchange.ws_urls[market]
        socket = await self.session.ws_connect(host + path)
        if names:
            await socket.send_json({"method": "SUBSCRIBE", "params": list(names), "id": 1})
            assert await socket.receive_json() == {"result": None, "id": 1}
        return socket


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[Client]:
    """A stand-in exchange that starts at START_MS, and a client of it."""
    defaults: dict[str, Any] = {"symbols": 4, "start_ms": START_MS, "close_spread_ms": 1.0, "recent": 0}
    async with SimulatedExchange(**defaults | options) as exchange, aiohttp.ClientSession() as session:
        yield Client(exchange, session)


async def events(
    socket: aiohttp.ClientWebSocketResponse, *, until: Callable[[list[dict[str, Any]]], bool]
) -> list[dict[str, Any]]:
    """The kline events of combined frames, until they are enough."""
    seen: list[dict[str, Any]] = []
    while not until(seen):
        message = await socket.receive(timeout=60)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        frame = json.loads(message.data)
        if "data" in frame:
            seen.append(frame["data"])
    return seen


def closed(several: Iterable[dict[str, Any]]) -> list[tuple[str, int]]:
    """Symbol and run time of the closed bars among events."""
    return [(one["s"], one["k"]["T"] + 1) for one in several if one["k"]["x"]]


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds; the test's own time limit ends a wait in vain."""
    while not condition():
        await asyncio.sleep(0.005)
