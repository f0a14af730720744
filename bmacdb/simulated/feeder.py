"""Sends candles to those who subscribed: a frame for every bar that closes, and updates of those that are open.
Mark prices and quotes go out every second.

Frames are made once, all symbols at a time, and shortly before the boundary; on the boundary they only
have to be joined and handed to the transports.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bmacdb.clock import Clock
from bmacdb.interval import Interval
from bmacdb.model import Market
from bmacdb.simulated.encode import Frame, Label, StreamKey, kline_payloads, text_frame
from bmacdb.simulated.faults import SocketDies
from bmacdb.simulated.generate import Style, forming
from bmacdb.simulated.listing import Instrument
from bmacdb.simulated.script import Script
from bmacdb.simulated.sockets import Connection
from bmacdb.simulated.stats import Stats
from bmacdb.simulated.streams import parse_stream
from bmacdb.simulated.ticks import tick_frames
from bmacdb.simulated.universe import Universe, grid

__all__ = ["Feeder"]

_SLICE_MS = 5.0  # closing frames leave in slices of so many real milliseconds
_LEAD_MS = 250.0  # and are made so many real milliseconds before the boundary
_MOST_CAUGHT_UP = 100  # bars
_CANDLES = ("kline", "continuousKline")
_LEAST_TICK = 0.05  # real seconds between two sendings of mark prices and quotes
_TICK = 0.01  # seconds between two helpings of updates


@dataclass(frozen=True, slots=True)
class _Stream:
    key: StreamKey
    label: Label
    instrument: Instrument
    interval: Interval


class Feeder:
    """Knows who subscribed to what, and sends. Tasks are owned by `tasks`."""

    def __init__(
        self,
        universe: Universe,
        clock: Clock,
        stats: Stats,
        script: Script,
        *,
        speed: float,
        close_spread_ms: float,
        updates_per_second: float,
        quiet_closes: bool,
        seed: int,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._universe, self._clock, self._stats, self._script, self._tasks = universe, clock, stats, script, tasks
        self._quiet_closes = quiet_closes
        self._speed, self._spread_ms, self._updates = speed, close_spread_ms, updates_per_second
        self._random = random.Random(seed)
        self._listening: dict[StreamKey, dict[Connection, None]] = {}
        self._intervals: dict[str, asyncio.Task[None]] = {}
        self._ticking: asyncio.Task[None] | None = None
        self._version = 0
        if updates_per_second > 0:
            tasks.create_task(self._send_updates())

    @property
    def subscriptions(self) -> int:
        return sum(len(connections) for connections in self._listening.values())

    def subscribed(self, connection: Connection, names: list[str]) -> None:
        """Send these streams from now on; names that are none of ours, or not of this path, stay silent."""
        for name in names:
            parsed = parse_stream(name)
            if parsed is None or parsed.kind not in connection.path.kinds:
                continue
            self._listening.setdefault((connection.futures, name), {})[connection] = None
            if parsed.kind not in _CANDLES:
                self._ticking = self._ticking or self._tasks.create_task(self._tick())
            elif parsed.detail not in self._intervals:
                layout = grid(parsed.detail, Market.SPOT)
                if layout is not None:
                    self._intervals[parsed.detail] = self._tasks.create_task(self._close_bars(layout))
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
        """The candles that a name stands for; None for one of no symbol, or of no interval here."""
        futures, name = key
        parsed = parse_stream(name)
        if parsed is None or parsed.kind not in _CANDLES:
            return None
        subject = parsed.subject.upper()
        label: Label = subject
        if parsed.kind == "kline":
            instrument = self._universe.find(subject, futures=futures)
        else:
            pair, _, contract_type = subject.partition("_")
            label = (pair, contract_type)
            instrument = self._universe.contract(pair, contract_type, self._clock.now_ms())
        if instrument is None:
            return None
        layout = grid(parsed.detail, instrument.market)
        return None if layout is None else _Stream(key, label, instrument, layout)

    def _of(self, interval: Interval) -> list[StreamKey]:
        """The streams of candles of an interval that somebody listens to."""
        return [
            key for key in self._listening if key[1].endswith(tuple(f"@{kind}_{interval.name}" for kind in _CANDLES))
        ]

    def _streams(self, interval: Interval) -> list[_Stream]:
        return [stream for key in self._of(interval) if (stream := self._stream(key)) is not None]

    # --- closing frames

    async def _close_bars(self, interval: Interval) -> None:
        """At every boundary of `interval`, for ever."""
        done_ms = self._clock.now_ms()
        held: list[tuple[StreamKey, Frame]] = []
        while True:
            boundary_ms = interval.boundary_after(done_ms)
            # A late loop catches up bar by bar; a clock that was set on by far is not followed.
            now_ms = self._clock.now_ms()
            if now_ms > interval.shift(boundary_ms, _MOST_CAUGHT_UP):
                boundary_ms = interval.boundary_after(now_ms)
            lead_ms = min(_LEAD_MS * self._speed, (boundary_ms - interval.shift(boundary_ms, -1)) / 4)
            await self._clock.sleep_until(round(boundary_ms - lead_ms))
            plan = self._script.closing(self._closing_frames(interval, boundary_ms), boundary_ms)
            doomed = self._doomed(interval, boundary_ms)
            await self._clock.sleep_until(boundary_ms)
            for connection, mishap in doomed.items():
                if not mishap.midway:
                    connection.die()
            for seconds, key, frame in plan.later:
                self._tasks.create_task(self._send_later(seconds, key, frame))
            await self._send_closes(interval, plan.now + held, doomed)
            held, done_ms = plan.after_next, boundary_ms

    def _doomed(self, interval: Interval, boundary_ms: int) -> dict[Connection, SocketDies]:
        """The connections of this interval that the script lets break at the boundary."""
        concerned = {one for key in self._of(interval) for one in self._listening[key]}
        doomed = self._script.dying(sorted(concerned, key=lambda one: one.number), boundary_ms)
        for connection, mishap in doomed.items():
            if mishap.announced:
                event = f'{{"e":"serverShutdown","E":{self._clock.now_ms()}}}'
                wrapped = f'{{"stream":"!serverShutdown","data":{event}}}'
                connection.write(text_frame((wrapped if connection.combined else event).encode()))
        return doomed

    async def _send_later(self, seconds: float, key: StreamKey, frame: Frame) -> None:
        await self._clock.sleep(seconds)
        self._stats.closing_frames += self._deliver([(key, frame)])

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
        self,
        interval: Interval,
        streams: Sequence[_Stream],
        open_ms: int,
        events_ms: Sequence[int],
        *,
        at_ms: int | None = None,
    ) -> list[tuple[StreamKey, Frame]]:
        """The frames of the bars that opened at `open_ms`: closed, or as they look at `at_ms`."""
        found: list[tuple[Instrument, Style]] = []
        shown: list[_Stream] = []
        events: list[int] = []
        for stream, event_ms in zip(streams, events_ms, strict=True):
            life = self._universe.closing(stream.instrument, interval, open_ms)
            if life is not None:
                found.append((stream.instrument, self._universe.style(stream.instrument, life)))
                shown.append(stream)
                events.append(event_ms)
        if not shown:
            return []
        numbers = self._universe.at_once(found, interval, open_ms)
        if at_ms is not None:
            numbers = forming(numbers, at_ms)
        untraded = (numbers.trades == 0).tolist()
        silent = [
            none and not self._quiet_closes and instrument.market is not Market.SPOT
            for none, (instrument, _) in zip(untraded, found, strict=True)
        ]
        labelled = [
            (stream.instrument.market, stream.label, style) for stream, (_, style) in zip(shown, found, strict=True)
        ]
        payloads = kline_payloads(labelled, interval.name, numbers, events, closed=at_ms is None)
        return [
            (stream.key, Frame.of(stream.key[1], stream.instrument.market, stream.instrument.symbol, payload))
            for stream, payload, quiet in zip(shown, payloads, silent, strict=True)
            if not quiet
        ]

    async def _send_closes(
        self, interval: Interval, frames: Sequence[tuple[StreamKey, Frame]], doomed: Mapping[Connection, SocketDies]
    ) -> None:
        spread = self._spread_seconds(interval)
        if not doomed:
            await self._send_spread(frames, spread)
            return
        half = len(frames) // 2
        await self._send_spread(frames[:half], spread / 2)
        for connection in doomed:  # those that break midway; the others have gone before
            connection.die()
        await self._send_spread(frames[half:], spread / 2)

    async def _send_spread(self, frames: Sequence[tuple[StreamKey, Frame]], spread: float) -> None:
        """Send frames evenly over `spread` seconds."""
        loop = asyncio.get_running_loop()
        slices = max(min(round(spread * 1000 / _SLICE_MS), len(frames)), 1)
        share = max(-(-len(frames) // slices), 1)
        started = loop.time()
        for number, start in enumerate(range(0, len(frames), share)):
            self._stats.closing_frames += self._deliver(frames[start : start + share])
            await asyncio.sleep(max(started + (number + 1) * spread / slices - loop.time(), 0))

    def _deliver(self, frames: Sequence[tuple[StreamKey, Frame]]) -> int:
        """Send frames to all who listen to their streams; how many were sent."""
        outgoing: dict[Connection, list[bytes]] = {}
        silences, now_ms = self._script.silences, self._clock.now_ms()
        for key, frame in frames:
            for connection in self._listening.get(key, ()):
                if silences and self._script.silent(connection, key, frame, now_ms):
                    continue
                outgoing.setdefault(connection, []).append(frame.combined if connection.combined else frame.raw)
        for connection, pieces in outgoing.items():
            connection.write(b"".join(pieces))
        return sum(len(pieces) for pieces in outgoing.values())

    # --- mark prices and quotes

    async def _tick(self) -> None:
        """Every second of the exchange's time, or as often as the machine bears where that runs fast."""
        step_ms = 1000 * max(math.ceil(self._speed * _LEAST_TICK), 1)
        while True:
            now_ms = (self._clock.now_ms() // step_ms + 1) * step_ms
            await self._clock.sleep_until(now_ms)
            self._stats.tick_frames += self._deliver(tick_frames(self._universe, self._listening, now_ms))

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
            silences, now_ms = self._script.silences, self._clock.now_ms()
            for _ in range(int(owed)):
                key, connection = order[place % len(order)]
                place += 1
                frame = frames.get(key)
                if frame is not None and not (silences and self._script.silent(connection, key, frame, now_ms)):
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
            made = self._frames(
                layout, streams, open_ms, [now_ms] * len(streams), at_ms=(open_ms + layout.next(open_ms)) // 2
            )
            for stream in streams:
                frames.pop(stream.key, None)
            frames.update(made)
            stale_ms[name] = layout.next(open_ms)
