"""A listener keeps a group of kline streams flowing, whatever becomes of its sockets.

At any time it has one connection for them (two while it renews: the new one receives before the old one goes).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection
from dataclasses import dataclass

import aiohttp

from bmacdb.clock import Clock
from bmacdb.exchange.connection import GOODBYE_S, Connection, Observer
from bmacdb.model import Feed

__all__ = ["CandleListener", "ListenerStatus"]

_LIFETIME_MS = 23 * 3_600_000  # the exchange ends a connection at 24 h
_SILENCE, _LONGEST_SILENCE = 60.0, 3600.0  # seconds without any frame
_BACKOFF = (0.5, 30.0)  # seconds; eight groups that all fail stay far below the 300 connects in 5 minutes
_HANDOVER = 30.0  # seconds of exchange time that a new connection gets for its first frame before the old one goes


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
        self._connection: Connection | None = None
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
        open_connections: list[Connection] = []
        old: tuple[Connection, asyncio.Task[str]] | None = None
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

    def _count(self, gone: Connection) -> None:
        self._frames_before += gone.frames
        self._bytes_before += gone.bytes

    async def _connect(self) -> Connection:
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
                    timeout=aiohttp.ClientWSTimeout(ws_close=GOODBYE_S),
                )
                connection = Connection(socket, self.feed, self._clock, self._observer)
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
        self, new: Connection, reading: asyncio.Task[str], old: tuple[Connection, asyncio.Task[str]]
    ) -> None:
        """Let the old connection go once the new one receives, or has had its time: quiet streams say nothing."""
        deadline = self._clock.now_ms() + _HANDOVER * 1000
        while not new.receiving and not reading.done() and self._clock.now_ms() < deadline:
            await self._clock.sleep(0.5)
        old_connection, old_reading = old
        await old_connection.close()
        await asyncio.wait({old_reading})

    async def _watch(self, connection: Connection, reading: asyncio.Task[str]) -> str:
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

    def _silence(self, connection: Connection) -> float | None:
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


def _describe(error: BaseException) -> str:
    return str(error) or type(error).__name__
