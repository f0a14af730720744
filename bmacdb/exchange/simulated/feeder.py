"""Sends candles to those who subscribed: a frame for every bar that closes, and updates of those that are open.

Frames are made once, all symbols at a time, and shortly before the boundary; on the boundary they only
have to be joined and handed to the transports.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bmacdb.clock import Clock
from bmacdb.exchange.simulated.encode import kline_payloads, text_frame
from bmacdb.exchange.simulated.generate import Numbers, Style, compute, forming
from bmacdb.exchange.simulated.sockets import Connection
from bmacdb.exchange.simulated.stats import Stats
from bmacdb.exchange.simulated.universe import Universe, grid
from bmacdb.interval import Interval
from bmacdb.model import Market

__all__ = ["Feeder", "Frame", "StreamKey"]

StreamKey = tuple[bool, str]
"""Whether it is a futures stream, and its name: `(True, "btcusdt@kline_1m")`."""

_SLICE_MS = 5.0  # closing frames leave in slices of so many real milliseconds
_LEAD_MS = 250.0  # and are made so many real milliseconds before the boundary
_TICK = 0.01  # seconds between two helpings of updates


@dataclass(frozen=True, slots=True)
class Frame:
    """A kline event ready for the wire, for `/stream` and for `/ws`."""

    combined: bytes
    raw: bytes
    symbol: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class _Stream:
    key: StreamKey
    market: Market
    symbol: str
    interval: Interval


class Feeder:
    """Knows who subscribed to what, and sends. Tasks are owned by `tasks`."""

    def __init__(
        self,
        universe: Universe,
        clock: Clock,
        stats: Stats,
        *,
        speed: float,
        close_spread_ms: float,
        updates_per_second: float,
        seed: int,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._universe, self._clock, self._stats, self._tasks = universe, clock, stats, tasks
        self._speed, self._spread_ms, self._updates = speed, close_spread_ms, updates_per_second
        self._random = random.Random(seed)
        self._listening: dict[StreamKey, dict[Connection, None]] = {}
        self._intervals: dict[str, asyncio.Task[None]] = {}
        self._version = 0
        if updates_per_second > 0:
            tasks.create_task(self._send_updates())

    @property
    def subscriptions(self) -> int:
        return sum(len(connections) for connections in self._listening.values())

    def subscribed(self, connection: Connection, names: list[str]) -> None:
        """Send these streams from now on; names that are none of ours stay silent."""
        if not connection.routed:
            return
        for name in names:
            key = (connection.futures, name)
            self._listening.setdefault(key, {})[connection] = None
            interval = name.rpartition("@kline_")[2]
            if interval not in self._intervals and (layout := grid(interval, Market.SPOT)) is not None:
                self._intervals[interval] = self._tasks.create_task(self._close_bars(layout))
        self._version += 1

    def unsubscribed(self, connection: Connection, names: Sequence[str]) -> None:
        """Stop sending these streams."""
        for name in names:
            key = (connection.futures, name)
            if (connections := self._listening.get(key)) is not None:
                connections.pop(connection, None)
                if not connections:
                    del self._listening[key]
        self._version += 1

    def _stream(self, key: StreamKey) -> _Stream | None:
        """What a name stands for; None for one that is upper case, of no symbol, or of no interval here."""
        futures, name = key
        lower, _, interval = name.partition("@kline_")
        if lower != lower.lower() or not interval:
            return None
        instrument = self._universe.find(lower.upper(), futures=futures)
        if instrument is None:
            return None
        layout = grid(interval, instrument.market)
        return None if layout is None else _Stream(key, instrument.market, instrument.symbol, layout)

    def _streams(self, interval: Interval | None = None) -> list[_Stream]:
        ending = "" if interval is None else f"@kline_{interval.name}"
        keys = [key for key in self._listening if key[1].endswith(ending)]
        return [stream for key in keys if (stream := self._stream(key)) is not None]

    # --- closing frames

    async def _close_bars(self, interval: Interval) -> None:
        """At every boundary of `interval`, for ever."""
        done_ms = self._clock.now_ms()
        while True:
            boundary_ms = interval.boundary_after(done_ms)
            # A clock that has been set on is not followed bar by bar.
            now_ms = self._clock.now_ms()
            if now_ms > interval.next(boundary_ms):
                boundary_ms = interval.boundary_after(now_ms)
            lead_ms = min(_LEAD_MS * self._speed, (boundary_ms - interval.shift(boundary_ms, -1)) / 4)
            await self._clock.sleep_until(round(boundary_ms - lead_ms))
            frames = self._closing_frames(interval, boundary_ms)
            await self._clock.sleep_until(boundary_ms)
            await self._send_closes(interval, frames)
            done_ms = boundary_ms

    def _spread_seconds(self, interval: Interval) -> float:
        return min(self._spread_ms, interval.length_ms / self._speed / 2) / 1000

    def _closing_frames(self, interval: Interval, boundary_ms: int) -> list[tuple[StreamKey, Frame]]:
        open_ms = interval.shift(boundary_ms, -1)
        streams = self._streams(interval)
        self._random.shuffle(streams)
        spread_ms = self._spread_seconds(interval) * 1000 * self._speed
        events = [boundary_ms + round(spread_ms * place / max(len(streams), 1)) for place in range(len(streams))]
        return self._frames(interval, streams, open_ms, events)

    def _frames(
        self, interval: Interval, streams: Sequence[_Stream], open_ms: int, events_ms: Sequence[int], *, at_ms: int | None = None
    ) -> list[tuple[StreamKey, Frame]]:
        """The frames of the bars that opened at `open_ms`: closed, or as they look at `at_ms`."""
        instruments: list[tuple[Market, str, Style]] = []
        keys: list[StreamKey] = []
        events: list[int] = []
        for stream, event_ms in zip(streams, events_ms, strict=True):
            instrument = self._universe.get(stream.market, stream.symbol)
            life = self._universe.closing(instrument, interval, open_ms)
            if life is not None:
                instruments.append((stream.market, stream.symbol, self._universe.style(instrument, life)))
                keys.append(stream.key)
                events.append(event_ms)
        if not keys:
            return []
        opens = np.full(len(keys), open_ms, np.int64)
        styles = [style for _, _, style in instruments]
        numbers = compute(styles, interval, opens, np.full(len(keys), interval.next(open_ms), np.int64))
        if at_ms is not None:
            numbers = Numbers(*forming(numbers, at_ms))
        payloads = kline_payloads(instruments, interval.name, numbers, events, closed=at_ms is None)
        return [
            (key, _frame(key[1], symbol, payload))
            for key, (_, symbol, _), payload in zip(keys, instruments, payloads, strict=True)
        ]

    async def _send_closes(self, interval: Interval, frames: Sequence[tuple[StreamKey, Frame]]) -> None:
        loop = asyncio.get_running_loop()
        spread = self._spread_seconds(interval)
        slices = max(min(round(spread * 1000 / _SLICE_MS), len(frames)), 1)
        share = max(-(-len(frames) // slices), 1)
        started = loop.time()
        for number, start in enumerate(range(0, len(frames), share)):
            self._deliver(frames[start : start + share])
            await asyncio.sleep(max(started + (number + 1) * spread / slices - loop.time(), 0))

    def _deliver(self, frames: Sequence[tuple[StreamKey, Frame]]) -> None:
        outgoing: dict[Connection, list[bytes]] = {}
        for key, frame in frames:
            for connection in self._listening.get(key, ()):
                outgoing.setdefault(connection, []).append(frame.combined if connection.combined else frame.raw)
        for connection, pieces in outgoing.items():
            connection.write(b"".join(pieces))
            self._stats.closing_frames += len(pieces)

    # --- updates of open bars

    async def _send_updates(self) -> None:
        """Updates of the open bars to every subscriber in turn, `updates_per_second` for each stream."""
        loop = asyncio.get_running_loop()
        version, order, place = -1, [], 0  # type: int, list[tuple[StreamKey, Connection]], int
        frames: dict[StreamKey, Frame] = {}
        stale_ms: dict[str, int] = {}  # interval -> when its frames are to be made anew
        owed, last = 0.0, loop.time()
        while True:
            await asyncio.sleep(_TICK)
            now = loop.time()
            owed, last = owed + (now - last) * self._updates * len(order), now
            if version != self._version:
                version, frames, stale_ms = self._version, {}, {}
                order = [(key, one) for key, connections in self._listening.items() for one in connections]
                self._random.shuffle(order)
            self._refresh(frames, stale_ms)
            owed = min(owed, 2 * len(order))  # after a stall, no flood
            outgoing: dict[Connection, list[bytes]] = {}
            for _ in range(int(owed)):
                key, connection = order[place % len(order)]
                place += 1
                if (frame := frames.get(key)) is not None:
                    outgoing.setdefault(connection, []).append(frame.combined if connection.combined else frame.raw)
            owed -= int(owed)
            for connection, pieces in outgoing.items():
                connection.write(b"".join(pieces))
                self._stats.update_frames += len(pieces)

    def _refresh(self, frames: dict[StreamKey, Frame], stale_ms: dict[str, int]) -> None:
        """Make the frames of every interval whose bar has turned."""
        now_ms = self._clock.now_ms()
        for name in self._intervals:
            layout = grid(name, Market.SPOT)
            if layout is None or now_ms < stale_ms.get(name, 0):
                continue
            streams = self._streams(layout)
            open_ms = layout.floor(now_ms)
            made = self._frames(layout, streams, open_ms, [now_ms] * len(streams), at_ms=(open_ms + layout.next(open_ms)) // 2)
            for stream in streams:
                frames.pop(stream.key, None)
            frames.update(made)
            stale_ms[name] = layout.next(open_ms)


def _frame(name: str, symbol: str, payload: str) -> Frame:
    combined = f'{{"stream":"{name}","data":{payload}}}'.encode()
    raw = payload.encode()
    return Frame(text_frame(combined), text_frame(raw), symbol, raw)
