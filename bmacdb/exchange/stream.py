"""A listener keeps a group of kline streams flowing, whatever becomes of its sockets.

At any time it has one connection for them (two while it renews: the new one receives before the old one goes).
Connections that fail are tried again after growing pauses, until one has delivered and lasted.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection
from dataclasses import dataclass

import aiohttp

from bmacdb.clock import Clock
from bmacdb.exchange.addresses import Addresses
from bmacdb.exchange.connection import GOODBYE_S, Connection, Observer
from bmacdb.exchange.limit import RequestWindow, connect_window
from bmacdb.exchange.session import describe, http_proxy
from bmacdb.model import Feed

__all__ = ["CandleListener", "ListenerStatus"]

_LIFETIME_MS = 23 * 3_600_000  # the exchange ends a connection at 24 h
_SILENCE, _LONGEST_SILENCE = 60.0, 3600.0  # seconds without any frame
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0  # seconds of exchange time between attempts
_STERN_STATUS = (403, 418, 429)  # firewall, ban, too many: such a refusal pauses as if it were the seventh
_STERN_FAILURES = 7
_PROVED_MS = 30_000  # a connection that delivered and lasted so long owes no pause to its successor
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
        addresses: Addresses,
        session: aiohttp.ClientSession,
        clock: Clock,
        observer: Observer,
        connects: RequestWindow | None = None,
        proxy: str | None = None,
        seed: int | None = None,
    ) -> None:
        """`connects` is the leave to connect that all listeners of this process share (None: this one is alone)."""
        self.feed, self.group, self.symbols = feed, group, set[str]()
        self._addresses, self._session, self._clock, self._observer = addresses, session, clock, observer
        self._proxy = http_proxy(proxy)
        self._leave = connects or connect_window(clock)
        self._random = random.Random(seed)
        self._changed = asyncio.Event()
        self._renewal: str | None = None
        self._connection: Connection | None = None
        self._open: set[Connection] = set()
        self._connects = self._failures = 0
        self._pause_s = 0.0
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

    def mistrust(self, reason: str) -> None:
        """Replace the connection: most of its streams owe a bar, and its address may be one that never delivers."""
        if self._connection is not None and not self._connection.receiving:
            self._addresses.silent(self._connection.url)
        self.renew(reason)

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
        receiving = "receiving" if connection.receiving else "subscribed"
        return ListenerStatus(
            self.group,
            len(self.symbols),
            "connecting" if connection.ended else receiving,
            connection.opened_ms,
            None if ago_ms is None else round(self._clock.now_ms() - ago_ms),
            self._frames_before + connection.frames,
            max(self._connects - 1, 0),
            self._bytes_before + connection.bytes,
        )

    async def run(self) -> None:
        """Listen until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    while not self.symbols:
                        await self._wait_for_change(None)
                    new = await self._connect()
                    new.reading = tasks.create_task(new.read())
                    if not await self._takes_over(new):
                        self._failed(new.reading.result())
                        await self._end(new)
                        continue
                    old, self._connection = self._connection, new
                    if old is not None:
                        await self._end(old)
                    reason = await self._watch(new, new.reading)
                    proved = new.receiving and self._clock.now_ms() - new.opened_ms >= _PROVED_MS
                    if new.ended and not proved:
                        self._failed(reason)
                    else:
                        self._failures = 0 if proved else self._failures
                        self._tell(f"{reason}; connecting anew")
                    if new.ended or not self.symbols:
                        self._connection = None
                        await self._end(new)
        finally:
            for connection in self._open:
                await self._close(connection)

    async def _close(self, connection: Connection) -> None:
        if connection.receiving:
            self._addresses.delivered(connection.url)
        await connection.close()

    async def _end(self, connection: Connection) -> None:
        await self._close(connection)
        if connection.reading is not None:
            await asyncio.wait({connection.reading})
        self._open.discard(connection)
        self._frames_before += connection.frames
        self._bytes_before += connection.bytes

    def _tell(self, text: str) -> None:
        self._observer.told(f"{self.feed.name} group {self.group}: {text}")

    def _failed(self, why: str, *, stern: bool = False) -> None:
        """A connection was refused, or ended without having proved itself: the next one waits, ever longer."""
        self._failures = max(self._failures + 1, _STERN_FAILURES if stern else 0)
        pause = min(_FIRST_PAUSE * 2 ** min(self._failures - 1, 10), _LONGEST_PAUSE)
        self._pause_s = pause * self._random.uniform(0.5, 1.5)
        self._tell(f"{why}; connecting anew in {self._pause_s:.1f} s")

    async def _connect(self) -> Connection:
        """A connection that has been asked for all streams; tries for ever."""
        while True:
            paused, self._pause_s = self._pause_s, 0.0
            await self._clock.sleep(paused)
            with await self._leave.acquire(urgent=not paused):
                self._connects += 1
                url = self._addresses.stream
                try:
                    return await self._connect_once(url)
                except aiohttp.WSServerHandshakeError as error:
                    if error.status == 451:
                        self._addresses.blocked(url)
                    elif error.status == 404:
                        self._addresses.silent(url)
                    stern = error.status in _STERN_STATUS
                    self._failed(f"cannot connect to {url} (HTTP {error.status})", stern=stern)
                except (aiohttp.ClientError, OSError, TimeoutError) as error:
                    self._addresses.unreachable(url)
                    self._failed(f"cannot connect to {url} ({describe(error)})")

    async def _connect_once(self, url: str) -> Connection:
        socket = await self._session.ws_connect(
            url,
            proxy=self._proxy,
            compress=0,
            decode_text=False,
            heartbeat=30.0,
            max_msg_size=1 << 22,
            timeout=aiohttp.ClientWSTimeout(ws_close=GOODBYE_S),
        )
        self._renewal = None
        connection = Connection(url, socket, self.feed, self._clock, self._observer, leaving=self._changed.set)
        self._open.add(connection)
        try:
            await connection.reconcile(self.symbols)
        except BaseException:
            await self._end(connection)
            raise
        return connection

    async def _takes_over(self, new: Connection) -> bool:
        """Wait until `new` receives, or has had its time: quiet streams say nothing.

        False: it ended before that, and the old one goes on.
        """
        old, deadline_ms = self._connection, self._clock.now_ms() + _HANDOVER * 1000
        while old is not None and not old.ended and not new.receiving and self._clock.now_ms() < deadline_ms:
            if new.ended:
                return False
            await self._clock.sleep(0.5)
        return True

    async def _watch(self, connection: Connection, reading: asyncio.Task[str]) -> str:
        """Look after a connection until it ended or ought to be replaced; says why."""
        lifetime = _LIFETIME_MS * self._random.uniform(0.96, 1.0)  # groups do not renew all at once
        while True:
            await self._wait_for_change(reading)
            if connection.receiving:
                self._addresses.delivered(connection.url)
            if reading.done():
                return reading.result()
            if connection.announced_end:
                return "the exchange announced that this server goes down"
            if self._renewal is not None:
                return self._renewal
            if not self.symbols:
                return "no streams left"
            try:
                await connection.reconcile(self.symbols)
            except (aiohttp.ClientError, OSError) as error:
                return f"cannot subscribe ({describe(error)})"
            if connection.unacknowledged():
                return "a subscription was not acknowledged"
            if self._clock.now_ms() - connection.opened_ms > lifetime:
                return "the connection nears the age at which the exchange ends it"
            if (silent := self._silence(connection)) is not None:
                self._addresses.silent(connection.url)
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
