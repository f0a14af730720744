"""One websocket: the streams that it was asked for, what it says, and when it last said anything.

The client is aiohttp's and not the websockets library's: on frames that come in bulk its C reader was
measured at 330 thousand a second and core against 100 thousand.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

import aiohttp

from bmacdb.clock import Clock
from bmacdb.errors import Malformed
from bmacdb.exchange.updates import OpenCandles
from bmacdb.exchange.wire import Ack, KlineEvent, ServerShutdown, SubscribeError, parse_control, parse_kline_frame
from bmacdb.exchange.wire import stream_of as symbol_of
from bmacdb.model import Feed, Market

__all__ = ["GOODBYE_S", "Connection", "Observer"]

GOODBYE_S = 1.0
"""How long a goodbye is waited for: a dead peer does not answer it."""

_NAMES_A_MESSAGE = 200  # a SUBSCRIBE of more names, or of a few kB more, is ignored without a word
_MESSAGE_SPACING = {Market.SPOT: 0.3, Market.USDT_FUTURES: 0.15, Market.COIN_FUTURES: 0.15}  # 5 and 10 a second allowed
_ACK_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Observer:
    """What a listener calls: `closed` for a closed candle, `lost` for a frame that does not parse, `told` for news."""

    closed: Callable[[KlineEvent], Awaitable[None]]
    lost: Callable[[Malformed], None]
    told: Callable[[str], None]
    open_candles: OpenCandles = field(default_factory=OpenCandles)


class Connection:
    """One websocket and the streams it was asked for."""

    def __init__(
        self,
        url: str,
        socket: aiohttp.ClientWebSocketResponse[Literal[False]],
        feed: Feed,
        clock: Clock,
        observer: Observer,
        *,
        leaving: Callable[[], None] = lambda: None,
    ) -> None:
        """`leaving` is called when the exchange announces the end of this connection."""
        self.url = url
        self._socket, self._feed, self._clock, self._observer = socket, feed, clock, observer
        self._leaving = leaving
        self.announced_end = False
        self.reading: asyncio.Task[str] | None = None  # of `read`
        self.streams: set[str] = set()
        self.opened_ms = clock.now_ms()
        self.frames = self.bytes = 0
        self.opened = clock.monotonic()
        self.heard: dict[bytes | None, float] = {}  # lower-case symbol -> monotonic time of its last frame
        self.last_frame: float | None = None  # of a stream: answers prove nothing
        self._unanswered: dict[int, float] = {}
        self._message_id = 0

    @property
    def receiving(self) -> bool:
        """Whether any stream has spoken (an acknowledgement proves nothing)."""
        return any(self.heard.values())

    @property
    def ended(self) -> bool:
        return self.reading is not None and self.reading.done()

    async def reconcile(self, wanted: Collection[str]) -> None:
        """Make the exchange's subscription equal `wanted` (symbols)."""
        for method, symbols in (
            ("UNSUBSCRIBE", sorted(self.streams.difference(wanted))),
            ("SUBSCRIBE", sorted(set(wanted) - self.streams)),
        ):
            for start in range(0, len(symbols), _NAMES_A_MESSAGE):
                chunk = symbols[start : start + _NAMES_A_MESSAGE]
                if method == "SUBSCRIBE":
                    self.streams.update(chunk)
                    self.heard.update({symbol.lower().encode(): 0.0 for symbol in chunk})
                else:
                    self.streams.difference_update(chunk)
                await self._send(method, chunk)

    async def _send(self, method: str, symbols: Iterable[str]) -> None:
        self._message_id += 1
        # Streams are lower case: an upper-case name is acknowledged and never sent.
        names = [f"{symbol.lower()}@kline_{self._feed.interval.name}" for symbol in symbols]
        message = {"method": method, "params": names, "id": self._message_id}
        self._unanswered[self._message_id] = self._clock.monotonic()
        await self._socket.send_str(json.dumps(message, ensure_ascii=False))
        await asyncio.sleep(_MESSAGE_SPACING[self._feed.market])

    def unacknowledged(self) -> bool:
        """Whether a message has waited too long for its answer."""
        oldest = min(self._unanswered.values(), default=None)
        return oldest is not None and self._clock.monotonic() - oldest > _ACK_TIMEOUT

    async def read(self) -> str:
        """Read until the connection ends; says why it did."""
        receive, heard, monotonic = self._socket.receive, self.heard, self._clock.monotonic
        open_candles = self._observer.open_candles
        while True:
            message = await receive()
            if message.type is aiohttp.WSMsgType.TEXT:
                # Nearly every frame is an update of an open bar and ends here: two searches and a dict entry.
                frame: bytes = message.data
                self.frames += 1
                self.bytes += len(frame)
                if (symbol := symbol_of(frame)) in heard:
                    heard[symbol] = self.last_frame = monotonic()
                    if b"true" in frame:
                        await self._closed(frame)
                    elif open_candles.wanted:
                        open_candles.frames[symbol] = frame
                elif ending := await self._other(frame):
                    return ending
            elif message.type is aiohttp.WSMsgType.BINARY:
                self._observer.lost(Malformed(f"a binary frame of {len(message.data)} bytes"))
            else:
                return self._ending(message)

    async def _closed(self, frame: bytes) -> None:
        try:
            event = parse_kline_frame(frame)
        except Malformed as error:
            self._observer.lost(error)
            return
        if event is not None and event.interval == self._feed.interval.name:
            await self._observer.closed(event)

    async def _other(self, frame: bytes) -> str | None:
        """Take a frame of no stream that was asked for; the reason where it ends the connection."""
        try:
            control = parse_control(frame)
        except Malformed as error:
            self._observer.lost(error)
            return None
        match control:
            case Ack(id=message_id):
                self._unanswered.pop(message_id, None)
            case SubscribeError(message=text):
                return f"the exchange refused a subscription: {text}"
            case ServerShutdown():
                self.announced_end = True  # until then it goes on sending
                self._leaving()
        return None

    def _ending(self, message: aiohttp.WSMessage | aiohttp.http_websocket.WSMessageTextBytes) -> str:
        if message.type is aiohttp.WSMsgType.ERROR:
            return f"connection failed: {message.data!r}"
        code = self._socket.close_code
        return f"connection closed ({code}{', ' + str(message.extra) if message.extra else ''})"

    async def close(self) -> None:
        # aiohttp waits for the goodbye frame by frame: a peer that goes on sending could keep it waiting for ever.
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * GOODBYE_S):
                await self._socket.close()
