"""The websocket side: listeners that keep a set of kline streams flowing, whatever becomes of their sockets.

A `CandleListener` owns one group of streams and, at any time, one connection for it (two while it
renews: the new one receives before the old one goes). `Listeners` spreads a feed's symbols over them.

The client is aiohttp's and not the websockets library's: on frames that come in bulk its C reader was
measured at 330 thousand a second and core against 100 thousand.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import aiohttp

from bmacdb.clock import Clock
from bmacdb.errors import Malformed
from bmacdb.exchange.wire import Ack, KlineEvent, ServerShutdown, SubscribeError, parse_control, parse_kline_frame
from bmacdb.exchange.wire import stream_of as symbol_of
from bmacdb.model import Feed, Market

__all__ = ["CandleListener", "ListenerStatus", "Listeners", "Observer"]

_NAMES_A_MESSAGE = 200  # a SUBSCRIBE of more names, or of a few kB more, is ignored without a word
_STREAMS_A_CONNECTION = 800  # the exchange closes a connection at its 1025th, and all are lost
_MESSAGE_SPACING = {Market.SPOT: 0.3, Market.USDT_FUTURES: 0.15, Market.COIN_FUTURES: 0.15}  # 5 and 10 a second allowed
_ACK_TIMEOUT = 10.0
_LIFETIME_MS = 23 * 3_600_000  # the exchange ends a connection at 24 h
_SILENCE, _LONGEST_SILENCE = 60.0, 3600.0  # seconds without any frame
_BACKOFF = (0.5, 30.0)  # seconds; eight groups that all fail stay far below the 300 connects in 5 minutes
_GOODBYE = 1.0  # seconds; a dead peer does not answer it
_HANDOVER = 30.0  # seconds of exchange time that a new connection gets for its first frame before the old one goes


@dataclass(frozen=True, slots=True)
class Observer:
    """What a listener calls: `closed` for a closed candle, `lost` for a frame that does not parse, `told` for news."""

    closed: Callable[[KlineEvent], Awaitable[None]]
    lost: Callable[[Malformed], None]
    told: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ListenerStatus:
    """A listener as `bmacdb status` shows it; times in ms of the exchange's clock, None: never."""

    group: int
    streams: int
    state: str
    connected_ms: int | None
    last_frame_ms: int | None
    frames: int
    reconnects: int
    bytes: int = 0


class _Connection:
    """One websocket and the streams it was asked for."""

    def __init__(
        self, socket: aiohttp.ClientWebSocketResponse[Literal[False]], feed: Feed, clock: Clock, observer: Observer
    ) -> None:
        self._socket, self._feed, self._clock, self._observer = socket, feed, clock, observer
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
                return "the exchange announced that this server goes down"
        return None

    def _ending(self, message: aiohttp.WSMessage | aiohttp.http_websocket.WSMessageTextBytes) -> str:
        if message.type is aiohttp.WSMsgType.ERROR:
            return f"connection failed: {message.data!r}"
        code = self._socket.close_code
        return f"connection closed ({code}{', ' + str(message.extra) if message.extra else ''})"

    async def close(self) -> None:
        # aiohttp waits for the goodbye frame by frame: a peer that goes on sending could keep it waiting for ever.
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * _GOODBYE):
                await self._socket.close()


class CandleListener:
    """Keeps one group of streams flowing: connects for ever, renews before the exchange ends it, mistrusts silence."""

    def __init__(
        self,
        feed: Feed,
        group: int,
        *,
        url: str,
        session: aiohttp.ClientSession,
        clock: Clock,
        observer: Observer,
        proxy: str | None = None,
        seed: int | None = None,
    ) -> None:
        self.feed, self.group, self.symbols = feed, group, set[str]()
        self._url, self._session, self._clock, self._observer, self._proxy = url, session, clock, observer, proxy
        self._random = random.Random(seed)
        self._changed = asyncio.Event()
        self._renewal: str | None = None
        self._connection: _Connection | None = None
        self._connects = 0
        self._frames_before = self._bytes_before = 0
        self._patience = _SILENCE

    def __repr__(self) -> str:
        return f"<CandleListener {self.feed.name} group={self.group} {self.status()!r}>"

    def change(self, symbols: Collection[str]) -> None:
        """Carry `symbols` from now on."""
        if self.symbols != set(symbols):
            self.symbols = set(symbols)
            self._changed.set()

    def resubscribe(self, symbols: Collection[str]) -> None:
        """Ask again for streams of this group that have gone silent."""
        if self._connection is not None and (again := self._connection.streams.intersection(symbols)):
            self._connection.streams -= again
            self._changed.set()

    def renew(self, reason: str) -> None:
        """Replace the connection by a new one, without a hole between them."""
        self._renewal = reason
        self._changed.set()

    def last_heard(self, symbol: str) -> float | None:
        """When (monotonic seconds) the stream of `symbol` last spoke on the present connection."""
        return None if self._connection is None else self._connection.heard.get(symbol.lower().encode())

    def status(self) -> ListenerStatus:
        connection = self._connection
        if connection is None:
            state = "connecting" if self.symbols else "idle"
            before = self._frames_before, self._connects, self._bytes_before
            return ListenerStatus(self.group, len(self.symbols), state, None, None, *before)
        last = connection.last_frame
        ago_ms = None if last is None else (self._clock.monotonic() - last) * 1000
        return ListenerStatus(
            self.group,
            len(self.symbols),
            "receiving" if connection.receiving else "subscribed",
            connection.opened_ms,
            None if ago_ms is None else round(self._clock.now_ms() - ago_ms),
            self._frames_before + connection.frames,
            max(self._connects - 1, 0),
            self._bytes_before + connection.bytes,
        )

    async def run(self) -> None:
        """Listen until cancelled."""
        open_connections: list[_Connection] = []
        old: tuple[_Connection, asyncio.Task[str]] | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    while not self.symbols:
                        await self._wait_for_change(None)
                    connection = await self._connect()
                    open_connections.append(connection)
                    reading = tasks.create_task(connection.read())
                    if old is not None:
                        await self._hand_over(connection, reading, old)
                        open_connections.remove(old[0])
                        self._count(old[0])
                    self._connection = connection
                    reason = await self._watch(connection, reading)
                    self._observer.told(f"{self.feed.name} group {self.group}: {reason}; connecting anew")
                    if reading.done() or not self.symbols:
                        old, self._connection = None, None
                        self._count(connection)
                        await connection.close()
                        open_connections.remove(connection)
                    else:
                        old = connection, reading
        finally:
            for connection in open_connections:
                await connection.close()

    def _count(self, gone: _Connection) -> None:
        self._frames_before += gone.frames
        self._bytes_before += gone.bytes

    async def _connect(self) -> _Connection:
        """A connection that has been asked for all streams; tries for ever."""
        wait, longest = _BACKOFF
        while True:
            self._connects += 1
            try:
                socket = await self._session.ws_connect(
                    self._url,
                    proxy=self._proxy,
                    compress=0,
                    decode_text=False,
                    heartbeat=30.0,
                    max_msg_size=1 << 22,
                    timeout=aiohttp.ClientWSTimeout(ws_close=_GOODBYE),
                )
                connection = _Connection(socket, self.feed, self._clock, self._observer)
                try:
                    await connection.reconcile(self.symbols)
                except BaseException:
                    await connection.close()
                    raise
                return connection
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                pause = wait * self._random.uniform(0.5, 1.5)
                self._observer.told(
                    f"{self.feed.name} group {self.group}: cannot connect to {self._url} ({_describe(error)}); "
                    f"again in {pause:.1f} s"
                )
                await asyncio.sleep(pause)
                wait = min(wait * 2, longest)

    async def _hand_over(
        self, new: _Connection, reading: asyncio.Task[str], old: tuple[_Connection, asyncio.Task[str]]
    ) -> None:
        """Let the old connection go once the new one receives, or has had its time: quiet streams say nothing."""
        deadline = self._clock.now_ms() + _HANDOVER * 1000
        while not new.receiving and not reading.done() and self._clock.now_ms() < deadline:
            await self._clock.sleep(0.5)
        old_connection, old_reading = old
        await old_connection.close()
        await asyncio.wait({old_reading})

    async def _watch(self, connection: _Connection, reading: asyncio.Task[str]) -> str:
        """Look after a connection until it ended or ought to be replaced; says why."""
        lifetime = _LIFETIME_MS * self._random.uniform(0.96, 1.0)  # groups do not renew all at once
        self._renewal = None
        while True:
            await self._wait_for_change(reading)
            if reading.done():
                return reading.result()
            if self._renewal is not None:
                return self._renewal
            if not self.symbols:
                return "no streams left"
            try:
                await connection.reconcile(self.symbols)
            except (aiohttp.ClientError, OSError) as error:
                return f"cannot subscribe ({_describe(error)})"
            if connection.unacknowledged():
                return "a subscription was not acknowledged"
            if self._clock.now_ms() - connection.opened_ms > lifetime:
                return "the connection nears the age at which the exchange ends it"
            if (silent := self._silence(connection)) is not None:
                return f"no frame for {silent:.0f} s"

    def _silence(self, connection: _Connection) -> float | None:
        """For how many seconds the connection has been silent, if that is longer than it can be trusted.

        Patience adapts: quiet markets may rightly say nothing for long, so each renewal for silence doubles it.
        """
        idle = self._clock.monotonic() - (connection.last_frame or connection.opened)
        if idle <= self._patience:
            return None
        self._patience = min(self._patience * 2, _LONGEST_SILENCE)
        return idle

    async def _wait_for_change(self, reading: asyncio.Task[str] | None) -> None:
        """Until the streams change, the connection ends, or it is time to look at it again."""
        change = asyncio.ensure_future(self._changed.wait())
        try:
            waiting: set[asyncio.Future[object]] = {change} if reading is None else {change, reading}  # type: ignore[arg-type]
            await asyncio.wait(waiting, timeout=None if reading is None else 5.0, return_when=asyncio.FIRST_COMPLETED)
        finally:
            change.cancel()
        self._changed.clear()


class Listeners:
    """The listeners of one feed: its symbols, spread evenly and kept where they are while they trade."""

    def __init__(self, feed: Feed, groups: int, make: Callable[[int], CandleListener], *, clock: Clock) -> None:
        """`make` makes the listener of a group."""
        self.feed = feed
        self._make, self._clock = make, clock
        self._doubted: dict[str, float] = {}  # streams asked for again, and when (monotonic seconds)
        self._listeners = [make(group) for group in range(groups)]
        self._group_of: dict[str, CandleListener] = {}
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Listen until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            for listener in self._listeners:
                self._tasks.create_task(listener.run())

    def listen(self, symbols: Collection[str]) -> tuple[ListenerStatus, ...]:
        """Carry exactly `symbols` from now on; returns the groups that changed."""
        wanted = set(symbols)
        before = {listener.group: set(listener.symbols) for listener in self._listeners}
        shares = {listener.group: listener.symbols & wanted for listener in self._listeners}
        for symbol in sorted(wanted - set().union(*shares.values())):
            group = min(shares, key=lambda group: len(shares[group]))
            if len(shares[group]) >= _STREAMS_A_CONNECTION:
                group = self._add()
                shares[group] = set()
            shares[group].add(symbol)
        for listener in self._listeners:
            listener.change(shares[listener.group])
            self._group_of.update(dict.fromkeys(shares[listener.group], listener))
        changed = (listener for listener in self._listeners if listener.symbols != before.get(listener.group, set()))
        return tuple(listener.status() for listener in changed)

    def _add(self) -> int:
        listener = self._make(len(self._listeners))
        self._listeners.append(listener)
        if self._tasks is not None:
            self._tasks.create_task(listener.run())
        return listener.group

    def heard_since(self, symbol: str, monotonic: float) -> bool:
        """Whether the stream of `symbol` has spoken since `monotonic` (seconds)."""
        listener = self._group_of.get(symbol)
        last = None if listener is None else listener.last_heard(symbol)
        return last is not None and last >= monotonic

    def distrust(self, symbols: Collection[str]) -> None:
        """Deal with streams that owed a bar and said nothing: ask for them again. When that was done before and they
        are silent still, or when most of a group is silent, replace the whole connection."""
        now = self._clock.monotonic()
        by_listener: dict[CandleListener, set[str]] = {}
        for symbol in symbols:
            if (listener := self._group_of.get(symbol)) is not None:
                by_listener.setdefault(listener, set()).add(symbol)
        for listener, silent in by_listener.items():
            again = {s for s in silent if s in self._doubted and not self.heard_since(s, self._doubted[s])}
            if again or 2 * len(silent) > len(listener.symbols):
                listener.renew(f"{len(silent)} of {len(listener.symbols)} streams are silent")
                for symbol in silent:
                    self._doubted.pop(symbol, None)
            else:
                listener.resubscribe(silent)
                self._doubted.update(dict.fromkeys(silent, now))

    def renew(self, reason: str) -> None:
        """Replace every connection by a new one."""
        for listener in self._listeners:
            listener.renew(reason)

    def status(self) -> tuple[ListenerStatus, ...]:
        return tuple(listener.status() for listener in self._listeners if listener.symbols)


def _describe(error: BaseException) -> str:
    return str(error) or type(error).__name__
