"""One websocket connection of the stand-in exchange: its subscriptions and the rules it has to keep."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Protocol

from aiohttp import WSMsgType, web

from bmacdb.simulated.hosts import SocketPath
from bmacdb.simulated.limits import MessageBucket
from bmacdb.simulated.stats import Stats

__all__ = ["MOST_STREAMS", "Connection", "Registry"]

MOST_STREAMS = 1024
_SLOWEST_READER = 32 << 20  # bytes a client may leave unread before it is cut off
_PING_SECONDS = {False: (20.0, 60.0), True: (180.0, 600.0)}  # futures? -> every, pong within; the machine's seconds


class Registry(Protocol):
    """Who sends the candles."""

    def subscribed(self, connection: Connection, names: list[str]) -> None:
        """`connection` asked for streams."""

    def unsubscribed(self, connection: Connection, names: list[str]) -> None:
        """`connection` does not want them any more."""


class Connection:
    """A client's websocket. `path` says what it may get."""

    def __init__(
        self,
        number: int,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        path: SocketPath,
        *,
        opened_ms: int,
        now_ms: Callable[[], int],
        stats: Stats,
        may_subscribe: Callable[[], bool] = lambda: True,
        ping_seconds: float | None = None,
    ) -> None:
        self.number, self.socket, self.transport = number, socket, transport
        self.path, self.futures, self.combined = path, path.futures, path.combined
        self.opened_ms = opened_ms
        self.streams: dict[str, int] = {}  # name -> when it was asked for last (exchange time)
        self._now_ms, self._stats, self._may_subscribe = now_ms, stats, may_subscribe
        self._bucket = MessageBucket(rate=10, burst=15) if path.futures else MessageBucket(rate=5, burst=5)
        self._ping_seconds = _PING_SECONDS[path.futures] if ping_seconds is None else (ping_seconds, 3 * ping_seconds)
        self._ponged = 0.0

    def __repr__(self) -> str:
        return f"<Connection {self.number} futures={self.futures} streams={len(self.streams)}>"

    def write(self, frames: bytes) -> None:
        """Send whole frames, already encoded: the transport is handed bytes and nothing is done twice."""
        if self.transport.is_closing():
            return
        self.transport.write(frames)
        if self.transport.get_write_buffer_size() > _SLOWEST_READER:
            self._stats.closed_by_exchange["slow reader"] += 1
            self.transport.abort()

    def die(self) -> None:
        """Break the connection without a word."""
        self.transport.abort()

    async def end(self, code: int, reason: str) -> None:
        """Close the connection as the exchange does."""
        self._stats.closed_by_exchange[reason] += 1
        await self.socket.close(code=code, message=reason.encode())

    async def subscribe(self, names: list[str], registry: Registry) -> bool:
        """Take streams on; False where there were too many and the connection is closed."""
        now_ms = self._now_ms()
        self.streams.update(dict.fromkeys(names, now_ms))
        if len(self.streams) > MOST_STREAMS:
            await self.end(1008, "Too many streams")
            return False
        registry.subscribed(self, names)
        return True

    async def serve(self, registry: Registry) -> None:
        """Read the client's messages until it goes."""
        loop = asyncio.get_running_loop()
        self._ponged = loop.time()
        while True:
            message = await self.socket.receive()
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG):
                return
            self._stats.messages_received += 1
            admitted = self._bucket.admit(loop.time())
            self._stats.most_messages_a_second = max(self._stats.most_messages_a_second, self._bucket.most)
            if not admitted:
                await self.end(1008, "Too many requests")
                return
            match message.type:
                case WSMsgType.PING:
                    await self.socket.pong(message.data)
                case WSMsgType.PONG:
                    self._ponged = loop.time()
                case _:
                    if not await self._command(message.data, registry):
                        return

    async def _command(self, text: str | bytes, registry: Registry) -> bool:
        """Obey one message; False where the connection is over."""
        try:
            command = json.loads(text)
        except ValueError as error:
            await self._reply({"error": {"code": 3, "msg": f"Invalid JSON: {error}"}, "id": None})
            return True
        if not isinstance(command, dict) or "method" not in command:
            await self._reply({"error": {"code": 2, "msg": "Invalid request: missing field `method`"}, "id": None})
            return True
        number, names = command.get("id"), command.get("params", [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            await self._reply({"error": {"code": 2, "msg": "Invalid request: invalid type of `params`"}, "id": number})
            return True
        result: list[str] | None = None
        match command["method"]:
            case "SUBSCRIBE" if not self._may_subscribe():
                await self._reply({"error": {"code": 2, "msg": "Invalid request: refused"}, "id": number})
                return True
            case "SUBSCRIBE":
                if not await self.subscribe(names, registry):
                    return False
            case "UNSUBSCRIBE":
                for name in names:
                    self.streams.pop(name, None)
                registry.unsubscribed(self, names)
            case "LIST_SUBSCRIPTIONS":
                result = list(self.streams)
            case "SET_PROPERTY" | "GET_PROPERTY":
                pass
            case method:
                refusal = {"code": 2, "msg": f"Invalid request: unknown variant `{method}`"}
                await self._reply({"error": refusal, "id": number})
                return True
        # Acknowledged whatever it was: a name that does not exist is never told, and never sent.
        await self._reply({"result": result, "id": number})
        return True

    async def _reply(self, answer: dict[str, object]) -> None:
        if not self.transport.is_closing():
            await self.socket.send_str(json.dumps(answer, ensure_ascii=False, separators=(",", ":")))

    async def keep_alive(self) -> None:
        """Ping for ever; end a connection that does not answer."""
        every, patience = self._ping_seconds
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(every)
            if loop.time() - self._ponged > every + patience:
                await self.end(1011, "no pong")
                return
            if not self.transport.is_closing():
                await self.socket.ping(str(self._now_ms()).encode())
