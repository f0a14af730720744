"""What state the recording is in, seen from outside: of a live recorder, and of a file at rest."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from bmacdb.clock import SystemClock, from_ms, to_ms
from bmacdb.interval import Interval
from bmacdb.model import RunState
from bmacdb.sql import queries
from bmacdb.store import sidefile
from bmacdb.store.reader import Reader, connect
from bmacdb.stream.messages import INFO
from bmacdb.stream.subscription import Subscription

__all__ = ["DEADLINE_MS", "FeedStatus", "Status", "Watcher", "is_late"]

DEADLINE_MS = 45_000
"""A run time that is not complete this long after its boundary is late."""

_PATIENCE_S = 2.5  # the recorder tells of itself once a second


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """One feed. Times are milliseconds of UTC; seconds count from the boundary to completeness, over 1000 runs.
    `halted`: nothing of it trades at the exchange, which is waited for.

    `stragglers` are the symbols that the newest run time still waits for; `sockets` is as the recorder tells, empty at
    rest.
    """

    feed: str
    interval: str
    late: bool
    halted: bool
    run_time_ms: int | None
    ready: int
    expected: int
    stragglers: tuple[str, ...]
    complete_run_time_ms: int | None
    seconds_last: float | None
    seconds_p50: float | None
    seconds_p99: float | None
    open_gaps: int
    rows: int
    sockets: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Status:
    """The whole; `state` is 'recording', 'halted' (a market is, and no feed is late), 'late' or 'down'.

    What only a live recorder knows is None at rest.
    """

    database: str
    state: str
    now_ms: int
    pid: int | None
    version: str | None
    uptime_s: float | None
    uri: str | None
    bytes: int
    wal_bytes: int
    weight: Mapping[str, Any] | None
    addresses: Mapping[str, Any] | None
    queue: int | None
    rss_bytes: int | None
    skew_ms: float | None
    feeds: tuple[FeedStatus, ...]

    @property
    def healthy(self) -> bool:
        """Whether a recorder is alive and no feed is late."""
        return self.state in ("recording", "halted")

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def is_late(interval: Interval, complete_run_time_ms: int | None, now_ms: int, started_ms: int | None = None) -> bool:
    """Whether the run time after the newest complete one should have been complete by now.

    A recorder that lives since `started_ms` has until the deadline of the first boundary of its own.
    """
    due = [] if complete_run_time_ms is None else [interval.next(complete_run_time_ms)]
    if started_ms is not None:
        due.append(interval.boundary_after(started_ms))
    return not due or now_ms > max(due) + DEADLINE_MS


class Watcher:
    """Looks again and again; keeps its connections in between."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader: Reader = connect(path)
        self._live: sidefile.Live | None = None
        self._events: Subscription | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._reader.close()
        if self._events is not None:
            self._events.close()
            self._events = None

    def look(self) -> Status:
        """The state now. Raises NothingToRead, FileHeld and what else `Reader.sql` raises."""
        rows = self._reader.sql(queries("reader")["status"].sql).arrow().to_pylist()
        live = sidefile.find(self.path)
        info = self._told(live)
        now_ms = int(info.get("now_ms", SystemClock().now_ms()))
        started_ms = info.get("started_ms", live.started_ms if live else None)
        told = info.get("feeds", {})
        feeds = tuple(self._feed(row, told.get(row["feed"], {}), now_ms, started_ms) for row in rows)
        return Status(
            database=os.fspath(self.path),
            state=_state(live is not None, feeds),
            now_ms=now_ms,
            pid=live.pid if live else None,
            version=live.version if live else None,
            uptime_s=None if started_ms is None else (now_ms - started_ms) / 1000,
            uri=live.uri if live else None,
            bytes=_size(self.path),
            wal_bytes=_size(self.path.with_name(self.path.name + ".wal")),
            weight=info.get("weight"),
            addresses=info.get("addresses"),
            queue=info.get("queue"),
            rss_bytes=info.get("rss_bytes"),
            skew_ms=info.get("skew_ms"),
            feeds=feeds,
        )

    def _told(self, live: sidefile.Live | None) -> Mapping[str, Any]:
        """What the recorder says of itself; empty where there is none, or it says nothing."""
        if live != self._live:
            if self._events is not None:
                self._events.close()
            self._events = Subscription(live.events_address, (INFO,)) if live else None
            self._live = live
        if self._events is None:
            return {}
        event = self._events.receive(_PATIENCE_S)
        newest = event
        while event is not None:  # those that have piled up since the last look
            newest, event = event, self._events.receive(0)
        return newest.header if newest else {}

    def _feed(self, row: Mapping[str, Any], told: Mapping[str, Any], now_ms: int, started_ms: int | None) -> FeedStatus:
        interval = Interval.parse(row["interval"]).anchored(to_ms(row["anchor"]))
        run_time_ms = None if row["run_time"] is None else to_ms(row["run_time"])
        complete_ms = None if row["complete_run_time"] is None else to_ms(row["complete_run_time"])
        halted = bool(told.get("halted", row["state"] == RunState.HALTED))
        return FeedStatus(
            feed=row["feed"],
            interval=row["interval"],
            late=not halted and is_late(interval, complete_ms, now_ms, started_ms),
            halted=halted,
            run_time_ms=run_time_ms,
            ready=row["ready"] or 0,
            expected=row["expected"] or 0,
            stragglers=self._stragglers(row, run_time_ms, complete_ms),
            complete_run_time_ms=complete_ms,
            seconds_last=row["seconds_last"],
            seconds_p50=row["seconds_p50"],
            seconds_p99=row["seconds_p99"],
            open_gaps=row["open_gaps"],
            rows=row["rows"],
            sockets=tuple(told.get("sockets", ())),
        )

    def _stragglers(self, row: Mapping[str, Any], run_time_ms: int | None, complete_ms: int | None) -> tuple[str, ...]:
        if run_time_ms is None or complete_ms is None or run_time_ms <= complete_ms:
            return ()
        found = self._reader.sql(
            queries("reader")["stragglers"].sql,
            {"feed": row["feed"], "run_time": from_ms(run_time_ms), "complete_run_time": from_ms(complete_ms)},
        )
        return tuple(str(item) for (item,) in found)


def _state(alive: bool, feeds: tuple[FeedStatus, ...]) -> str:
    if not alive:
        return "down"
    if not feeds or any(feed.late for feed in feeds):
        return "late"
    return "halted" if any(feed.halted for feed in feeds) else "recording"


def _size(path: Path) -> int:
    # The size alone: nothing here may open the file.
    with suppress(OSError):
        return path.stat().st_size
    return 0
