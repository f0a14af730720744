"""What comes for a panel, in its order: from the database, then from the recorder's stream, without a gap.

A subscription holds once a heartbeat is heard. What is committed later comes as a message; all that was committed
before is in the database, which is read after that. The panel takes rows by (symbol, open_time), so that what comes
both ways counts once. When a number is left out, or another recorder speaks, the window is read again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import numpy as np
import pyarrow as pa

from bmacdb.clock import from_ms
from bmacdb.errors import FileHeld, NothingToRead, UsageError
from bmacdb.factors.columns import SETTLED_S
from bmacdb.interval import Interval
from bmacdb.model import Market
from bmacdb.sql import queries
from bmacdb.store import sidefile
from bmacdb.store.reader import Reader
from bmacdb.stream.messages import HEARTBEAT, topic_of
from bmacdb.stream.subscription import Subscription

__all__ = ["FUTURE_MS", "Piece", "Pieces"]

FUTURE_MS = 253_370_764_800_000  # the year 9999
_KINDS = ("exginfo", "funding_rates", "candles", "complete")
_BARS_AT_ONCE = 500
_SILENCE_S = 3.0  # heartbeats come every second
_JOIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of the table `kind`, or `fill`: the candles of the whole window, which replace what is known.

    `complete`: how far a `run` is (run_time_ms, state, stragglers).
    """

    kind: str
    rows: pa.Table | None = None
    run: Mapping[str, Any] = field(default_factory=dict)


class Pieces:
    """Used from one thread at a time. `pull` returns the next pieces once those before are applied."""

    def __init__(self, reader: Reader, feed: str, window: int) -> None:
        """Raises UsageError for a feed that is not recorded, StoreError for a database that cannot be read."""
        self._reader, self._path, self.feed, self._window = reader, Path(reader.path), feed, window
        row = reader.sql(queries("live")["feed"].sql, {"feed": feed}).one()
        if row is None:
            raise UsageError(f"feed {feed!r} is not in {self._path}.")
        market, interval, anchor_ms = row
        self.interval = Interval.parse(interval).anchored(anchor_ms)
        self.fundings = Market(market) is not Market.SPOT
        self._live: sidefile.Live | None = None
        self._events: Subscription | None = None
        self._epoch = ""
        self._numbers: dict[str, int] = {}
        self._heard = monotonic()
        self._at: int | None = None  # the open time of the first bar that is not read yet; None: up to date
        self.followed = False  # whether a recorder has been followed
        self.lost = False  # whether the window must be read again
        self.now_ms: int | None = None

    def bounds(self) -> tuple[int, int] | None:
        """The first and the last open time of the feed."""
        first, last = self._ask("bounds").to_pydict().values()
        return None if first[0] is None else (first[0], last[0])

    def _ask(self, name: str, start_ms: int = 0, end_ms: int = FUTURE_MS) -> pa.Table:
        query = queries("live")[name].sql
        values: dict[str, object] = {"feed": self.feed}
        if "$start" in query:
            values |= {"start": from_ms(start_ms), "end": from_ms(end_ms)}
        return self._reader.sql(query, values).arrow()

    def replay_from(self, open_ms: int) -> None:
        """Let `pull` begin with the bar that opened at `open_ms`."""
        self._at = open_ms

    def window(self, newest_ms: int) -> list[Piece]:
        """The window up to the bar that opened at `newest_ms`, with the fundings that count in it."""
        start = self.interval.shift(newest_ms, 1 - self._window)
        end = self.interval.next(newest_ms)
        tables, low = [], start
        while low < end:
            high = min(self.interval.shift(low, _BARS_AT_ONCE), end)
            tables.append(self._ask("candles", low, high))
            low = high
        pieces = [Piece("fill", pa.concat_tables(tables))]
        until = FUTURE_MS if self._at is None else end
        if self.fundings:
            rows = self._ask("funding_rates", max(0, start - SETTLED_S * 1000 - 1000), until)
            pieces.append(Piece("funding_rates", rows))
        return [*pieces, Piece("exginfo", self._ask("exginfo", 0, until))]

    def runs(self, start_ms: int, end_ms: int = FUTURE_MS) -> dict[int, Piece]:
        """The periods that are no longer open, by run time."""
        rows = self._ask("runs", start_ms, end_ms).to_pylist()
        found = {}
        for row in rows:
            stragglers = () if row["state"] == "complete" else row["missing"]
            run = {"run_time_ms": row["run_time_ms"], "state": row["state"], "stragglers": stragglers}
            found[row["run_time_ms"]] = Piece("complete", run=run)
        return found

    def pull(self, newest_ms: int, seconds: float) -> list[Piece] | None:
        """What comes next, perhaps nothing within `seconds`; None at the end of a file at rest.

        `newest_ms` is the newest bar that was taken.
        """
        try:
            if self._at is not None:
                return self._history(self._at)
            if self._events is None and not self.join():
                if not self.followed:
                    return None
                if not self.lost:
                    sleep(min(seconds, 0.2))
                    return []
            if self.lost:
                pieces = self.window(newest_ms)
                self.lost, self._at = False, newest_ms
                return pieces
            return self._receive(seconds)
        except (NothingToRead, FileHeld):
            if not self.followed:
                raise
            self._leave()  # between two recorders
            self._at, self.lost = None, True
            sleep(min(seconds, 0.2))
            return []

    def _history(self, start: int) -> list[Piece]:
        """The next bars, one after the other, each with what was known when it closed."""
        bounds = self.bounds()
        newest = bounds[1] if bounds else start
        end = min(self.interval.shift(start, _BARS_AT_ONCE), self.interval.next(newest))
        self._at = end if end <= newest else None
        if end <= start:
            return []
        found = self._ask("candles", start, end)
        runs = self.runs(self.interval.next(start), self.interval.next(end))
        settled = self._ask("funding_rates", start - SETTLED_S * 1000, end) if self.fundings else None
        states = self._ask("exginfo", start, end)
        pieces: list[Piece] = []
        for open_ms in self.interval.opens(start, end):
            run_time_ms = self.interval.next(open_ms)
            if settled is not None:
                pieces += _part("funding_rates", settled, "funding_time", open_ms - SETTLED_S * 1000, run_time_ms)
            pieces += _part("exginfo", states, "valid_from", open_ms, run_time_ms)
            candles = _part("candles", found, "open_time", open_ms, run_time_ms)
            pieces += candles
            run = runs.get(run_time_ms)
            if run is not None and run.run["state"] != "open":
                pieces.append(run)
            elif run is None and candles and (open_ms < newest or not self._reader.live):
                # History from before the recorder's first period: all of it that there will be.
                done = {"run_time_ms": run_time_ms, "state": "complete", "stragglers": ()}
                pieces.append(Piece("complete", run=done))
        return pieces

    def join(self) -> bool:
        """Subscribe to the recorder that is alive, if one is; what is committed from then on is received."""
        live = sidefile.find(self._path)
        if live is None:
            return False
        topics = [topic_of(kind, self.feed) for kind in _KINDS]
        # The heartbeat comes last: once it is heard, the others are subscribed to.
        self._live, self._events = live, Subscription(live.events_address, (*topics, HEARTBEAT))
        until = monotonic() + _JOIN_S
        while (left := until - monotonic()) > 0:
            message = self._events.receive(left)
            if message is not None and message.topic == HEARTBEAT:
                self._begin(message.epoch, message.header)
                self.lost = self.followed = True
                return True
        self._leave()
        return False

    def _begin(self, epoch: str, header: Mapping[str, Any]) -> None:
        self._epoch, self._heard, self.now_ms = epoch, monotonic(), header["now_ms"]
        self._numbers = {
            topic: header["numbers"].get(topic, 0) for kind in _KINDS for topic in [topic_of(kind, self.feed)]
        }

    def _receive(self, seconds: float) -> list[Piece]:
        assert self._events is not None
        message = self._events.receive(seconds)
        if message is None:
            if monotonic() - self._heard > _SILENCE_S and sidefile.find(self._path) != self._live:
                self._leave()
                self.lost = True  # its last messages may not have come, and the file at rest has what they said
            return []
        if message.topic == HEARTBEAT:
            self._heard, self.now_ms = monotonic(), message.header["now_ms"]
            before = self._epoch, self._numbers
            self._begin(message.epoch, message.header)
            self.lost |= before != (self._epoch, self._numbers)
            return []
        if message.epoch != self._epoch:
            return []  # the next heartbeat says what to expect
        expected = self._numbers.get(message.topic, 0) + 1
        self._numbers[message.topic] = message.number
        reached = {name: number for name, number in message.header.get("numbers", {}).items() if name in self._numbers}
        if message.number != expected or not reached.items() <= self._numbers.items():
            self.lost = True
        if self.lost:  # it is committed, and read with the rest
            return []
        rows = message.table() if message.body is not None else None
        return [Piece(message.kind, rows, message.header)]

    def _leave(self) -> None:
        if self._events is not None:
            self._events.close()
        self._events = None

    def close(self) -> None:
        """Unsubscribe and let go of the database."""
        self._leave()
        self._reader.close()


def _part(kind: str, table: pa.Table, column: str, start_ms: int, end_ms: int) -> Iterator[Piece]:
    """The rows of a table, sorted by `column`, in [start, end); nothing where there are none."""
    times = table.column(column).cast(pa.int64()).to_numpy()
    low, high = np.searchsorted(times, (start_ms * 1000, end_ms * 1000))
    if low < high:
        yield Piece(kind, table.slice(low, high - low))
