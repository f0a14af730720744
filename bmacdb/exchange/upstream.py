"""Streams of the exchange that several clients share: each is subscribed to once, and its frames are passed on unread.

A client is never waited for, and one that does not read is cut off. A connection to the exchange that ends takes the
clients that depend on it along, so that they notice the gap.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

import aiohttp
from aiohttp import WSMsgType, web

from bmacdb.exchange.addresses import Addresses
from bmacdb.exchange.limit import RequestWindow
from bmacdb.exchange.session import describe

__all__ = ["Client", "Upstreams"]

_STREAMS_A_CONNECTION = 200  # 1024 are allowed; few, so that an end disturbs few, and all fit one message
_SPACING_S = 0.3  # between messages: five a second are allowed on spot
_SLOWEST_READER = 8 << 20  # bytes that a client may leave unread
_UNWANTED_S = 60.0
_LOOK_S = 5.0
_ANSWER_S = 10.0
_SILENCE_S = 90.0  # a connection so long without a frame is not trusted with a client that connects anew
_LONGEST_PAUSE_S = 60.0
_STERN_STATUS = (403, 418, 429, 451)
_PATHS = ("/market/stream", "/stream")
_HEAD = b'{"stream":"'


def _text_frame(text: bytes) -> bytes:
    """A websocket frame of a server (RFC 6455, 5.2)."""
    size = len(text)
    if size < 126:
        return bytes((0x81, size)) + text
    head = struct.pack("!BBH", 0x81, 126, size) if size < 1 << 16 else struct.pack("!BBQ", 0x81, 127, size)
    return head + text


def _stream_name(frame: bytes) -> str | None:
    """The name of a combined frame's stream; None for answers."""
    end = frame.find(b'"', len(_HEAD), 200)
    if frame.startswith(_HEAD) and end > 0 and b"\\" not in frame[:end]:
        return frame[len(_HEAD) : end].decode(errors="replace")
    with suppress(ValueError):
        whole = json.loads(frame)
        return whole.get("stream") if isinstance(whole, dict) else None
    return None


class Client:
    """A client's websocket, and the streams that it wants."""

    def __init__(
        self, socket: web.WebSocketResponse, transport: asyncio.Transport, upstreams: Upstreams, path: str
    ) -> None:
        self._socket, self._transport, self._upstreams, self._path = socket, transport, upstreams, path
        self._goodbye: asyncio.Task[bool] | None = None
        self.streams: dict[str, None] = {}

    def write(self, frame: bytes) -> None:
        """Send a whole frame without waiting."""
        if not self._transport.is_closing():
            self._transport.write(frame)
            if self._transport.get_write_buffer_size() > _SLOWEST_READER:
                self._transport.abort()

    def end(self) -> None:
        """Say goodbye with 1012, service restart."""
        if self._goodbye is None:
            self._goodbye = asyncio.create_task(self._socket.close(code=1012, message=b"the exchange ended it"))

    async def serve(self, names: list[str]) -> None:
        """Obey the client until it goes."""
        try:
            self._subscribe(names)
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    answer = json.dumps(self._answer(message.data), ensure_ascii=False, separators=(",", ":"))
                    self.write(_text_frame(answer.encode()))
        finally:
            self._upstreams.unsubscribe(self, list(self.streams), self._path)

    def _subscribe(self, names: list[str]) -> None:
        anew = not self.streams
        for name in names:
            again = name in self.streams
            self.streams[name] = None
            self._upstreams.subscribe(self, name, self._path, again=again, anew=anew)

    def _answer(self, text: str) -> dict[str, Any]:
        try:
            command = json.loads(text)
        except ValueError as error:
            return {"error": {"code": 3, "msg": f"Invalid JSON: {error}"}, "id": None}
        if not isinstance(command, dict) or "method" not in command:
            return {"error": {"code": 2, "msg": "Invalid request: missing field `method`"}, "id": None}
        number, names, method = command.get("id"), command.get("params", []), command["method"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            return {"error": {"code": 2, "msg": "Invalid request: invalid type of `params`"}, "id": number}
        match method:
            case "SUBSCRIBE":
                self._subscribe(names)
            case "UNSUBSCRIBE":
                self._upstreams.unsubscribe(self, [name for name in names if name in self.streams], self._path)
            case "LIST_SUBSCRIPTIONS":
                return {"result": list(self.streams), "id": number}
            case _:
                return {"error": {"code": 2, "msg": f"Invalid request: unknown variant `{method}`"}, "id": number}
        return {"result": None, "id": number}


class _Upstream:
    """A connection to the exchange: who wants which of its streams."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.clients: dict[str, set[Client]] = {}  # of each stream; none: nobody wants it any more
        self.unwanted: dict[str, float] = {}  # stream -> since when
        self.subscribed: set[str] = set()
        self.unanswered: dict[int, float] = {}
        self.changed = asyncio.Event()
        self.last_frame = monotonic()
        self.task: asyncio.Task[None] | None = None

    async def keep_subscribed(self, socket: aiohttp.ClientWebSocketResponse[Any]) -> None:
        """Make the exchange's subscription equal `clients` for ever; ends when an answer does not come."""
        number = 0
        while True:
            now = monotonic()
            for name in [name for name, since in self.unwanted.items() if now - since > _UNWANTED_S]:
                del self.unwanted[name], self.clients[name]
            if not self.clients or any(now - sent > _ANSWER_S for sent in self.unanswered.values()):
                return
            for method, names in (
                ("UNSUBSCRIBE", sorted(self.subscribed - self.clients.keys())),
                ("SUBSCRIBE", sorted(self.clients.keys() - self.subscribed)),
            ):
                if names:
                    number += 1
                    self.subscribed ^= set(names)
                    self.unanswered[number] = monotonic()
                    message = {"method": method, "params": names, "id": number}
                    await socket.send_str(json.dumps(message, ensure_ascii=False))
                    await asyncio.sleep(_SPACING_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self.changed.wait()
            self.changed.clear()

    async def read(self, socket: aiohttp.ClientWebSocketResponse[Any]) -> str:
        """Pass frames on until the connection ends; says why."""
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            text: bytes = message.data
            name = _stream_name(text)
            if name is not None:
                self.last_frame = monotonic()
                frame = _text_frame(text)
                for client in self.clients.get(name, ()):
                    client.write(frame)
            elif error := self._answered(text):
                return error
        return f"connection closed ({socket.close_code})"

    def _answered(self, text: bytes) -> str | None:
        with suppress(ValueError):
            answer = json.loads(text)
            if isinstance(answer, dict):
                self.unanswered.pop(answer.get("id", 0), None)
                if "error" in answer:
                    return f"the exchange refused a subscription: {answer['error']}"
        return None


class Upstreams:
    """All connections to one market's host, and which of them has which stream."""

    def __init__(
        self,
        addresses: Addresses,
        session: aiohttp.ClientSession,
        connects: RequestWindow,
        proxy: str | None,
        log: Callable[[str], None],
    ) -> None:
        self._addresses, self._session, self._log = addresses, session, log
        self._connects, self._proxy = connects, proxy
        self._of: dict[tuple[str, str], _Upstream] = {}  # (path, stream)
        self._open: list[_Upstream] = []
        self._failures = 0
        self._rest_until = 0.0

    def _base(self) -> str:
        """The address in use without the path of its streams."""
        address = self._addresses.stream
        return address.removesuffix(next((path for path in _PATHS if address.endswith(path)), ""))

    def resting(self) -> str | None:
        """Why no client is taken now, after the exchange has refused connections."""
        left = self._rest_until - monotonic()
        return f"the exchange refuses connections; the next attempt is in {left:.0f} s" if left > 0 else None

    def subscribe(self, client: Client, name: str, path: str, *, again: bool, anew: bool) -> None:
        """Pass `name` on to `client`. `again`: it has asked before and hears nothing; `anew`: it has just connected."""
        upstream = self._of.get((path, name))
        if upstream is not None and anew and monotonic() - upstream.last_frame > _SILENCE_S:
            self._end(upstream, f"no frame for {_SILENCE_S:.0f} s")
            upstream = None
        if upstream is None:
            upstream = self._of[path, name] = self._with_room(path)
        if again:
            upstream.subscribed.discard(name)
        upstream.unwanted.pop(name, None)
        upstream.clients.setdefault(name, set()).add(client)
        upstream.changed.set()

    def unsubscribe(self, client: Client, names: list[str], path: str) -> None:
        """`client` does not want these any more."""
        for name in names:
            client.streams.pop(name, None)
            upstream = self._of.get((path, name))
            if upstream is not None and client in upstream.clients.get(name, ()):
                upstream.clients[name].discard(client)
                if not upstream.clients[name]:
                    upstream.unwanted[name] = monotonic()

    def _with_room(self, path: str) -> _Upstream:
        for upstream in self._open:
            if upstream.path == path and len(upstream.clients) < _STREAMS_A_CONNECTION:
                return upstream
        upstream = _Upstream(path)
        self._open.append(upstream)
        upstream.task = asyncio.create_task(self._run(upstream))
        return upstream

    async def _run(self, upstream: _Upstream) -> None:
        why = "no streams left"
        try:
            await asyncio.sleep(0)  # the streams of one message come together
            why = await self._listen(upstream)
            self._failures = 0
        except aiohttp.WSServerHandshakeError as error:
            why = f"the exchange refused a connection (HTTP {error.status})"
            if error.status != 451 or not self._addresses.blocked(self._addresses.stream):
                self._pause(stern=error.status in _STERN_STATUS)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            why = f"cannot connect to the exchange ({describe(error)})"
            self._addresses.unreachable(self._addresses.stream)
            self._pause()
        finally:
            self._end(upstream, why)

    async def _listen(self, upstream: _Upstream) -> str:
        with await self._connects.acquire():
            socket = await self._session.ws_connect(
                self._base() + upstream.path, proxy=self._proxy, heartbeat=30.0, max_msg_size=0, decode_text=False
            )
        async with socket:
            reading = asyncio.create_task(upstream.read(socket))
            subscribing = asyncio.create_task(upstream.keep_subscribed(socket))
            try:
                await asyncio.wait({reading, subscribing}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                reading.cancel()
                subscribing.cancel()
                results = await asyncio.gather(reading, subscribing, return_exceptions=True)
        for result in results:
            if isinstance(result, str):
                return result
            if isinstance(result, aiohttp.ClientError | OSError):
                return describe(result)
        return "a subscription was not acknowledged" if upstream.clients else "no streams left"

    def _pause(self, *, stern: bool = False) -> None:
        self._failures += 1
        pause_s = _LONGEST_PAUSE_S if stern else min(0.25 * 2 ** min(self._failures, 10), _LONGEST_PAUSE_S)
        self._rest_until = monotonic() + pause_s

    def _end(self, upstream: _Upstream, why: str) -> None:
        """Forget a connection, and send those away who depended on it."""
        if upstream not in self._open:
            return
        self._open.remove(upstream)
        self._of = {key: one for key, one in self._of.items() if one is not upstream}
        clients = set().union(*upstream.clients.values())
        self._log(f"{upstream.path}: {why}; {len(clients)} connections of clients end with it")
        for client in clients:
            client.end()
        if upstream.task is not None and upstream.task is not asyncio.current_task():
            upstream.task.cancel()

    async def close(self) -> None:
        """End all connections."""
        for upstream in list(self._open):
            self._end(upstream, "the receiver ends")
            if upstream.task is not None:
                await asyncio.wait({upstream.task})
