"""A market that keeps itself current in a strategy's process, or replays its past through the same code."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import pyarrow as pa

from bmacdb.clock import Clock, from_ms, to_ms
from bmacdb.errors import NothingToRead, UsageError
from bmacdb.live.events import CandleEvent, CompleteEvent, DelistingEvent, Event, FundingEvent, ListingEvent
from bmacdb.live.panel import Allocate, Array, Panel
from bmacdb.live.pieces import Piece, Pieces
from bmacdb.store.reader import connect, moment

if TYPE_CHECKING:
    import pandas as pd

    from bmacdb.factors.library import Plan
    from bmacdb.kit.stream import FactorStream

__all__ = ["Market", "subscribe"]

logger = logging.getLogger("bmacdb.live")

_WAIT_S = 0.5
_STATES_KEPT = 100


def subscribe(
    path: str | Path = "bmac.duckdb",
    *,
    feed: str | None = None,
    window: int = 1500,
    start: datetime | int | str | None = None,
    clock: Clock | None = None,
    allocate: Allocate = np.empty,
) -> Market:
    """The live market of a feed (the only one when None): its last `window` bars in memory, kept current.

    With `start`, a run time, it first replays the record from that run time on; over a file that nobody records into,
    the replay ends the iteration. Use it in a `with` or `async with`, which fills the panel.
    """
    return Market(Path(path), feed, window, start, clock=clock, allocate=allocate)


class Market:
    """Made by `subscribe`. Iterating takes one event after the other, and the panel changes only then.

    `panel` and `run_time` (the newest complete one, None before the first) are as of the last event taken; `trading`
    are the symbols that trade. A background thread waits for an `async for`; nothing else runs beside the strategy.
    """

    panel: Panel

    def __init__(
        self,
        path: Path,
        feed: str | None,
        window: int,
        start: datetime | int | str | None,
        *,
        clock: Clock | None = None,
        allocate: Allocate = np.empty,
    ) -> None:
        self._path, self._feed, self._window, self._clock, self._allocate = path, feed, window, clock, allocate
        self._start_ms = None if start is None else to_ms(moment(start))
        self.run_time: datetime | None = None
        self.trading: set[str] = set()
        self._pieces: Pieces | None = None
        self._coming: Iterator[Event] = iter(())
        self._callbacks: list[tuple[type[Event], Callable[[Any], object]]] = []
        self._states: dict[int, str] = {}  # of the newest run times, as told
        self._thread: ThreadPoolExecutor | None = None
        self._pulling: asyncio.Future[list[Piece] | None] | None = None

    @property
    def path(self) -> Path:
        """The database."""
        return self._path

    def factors(
        self, wanted: Plan | Iterable[object], symbols: Sequence[str] | None = None, **options: Any
    ) -> FactorStream:
        """Factors that are computed as candles are taken from this market, which is open: `bmacdb.kit.FactorStream`.

        `options`: `package` of your own factors, and `workers`. Raises UsageError for a factor that is not there.
        """
        # The kit is built on this package; who needs no factors need not import it.
        stream = import_module("bmacdb.kit.stream").FactorStream.follow(self, wanted, symbols, **options)
        return cast("FactorStream", stream)

    def __repr__(self) -> str:
        return f"<Market {self._path} {self.panel if self._pieces else 'closed'}>"

    # Opening and closing

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1, "bmacdb-live")
        await asyncio.get_running_loop().run_in_executor(self._thread, self._open)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Let go of the recorder and the file; the panel stays as it is."""
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
        if self._pieces is not None:
            self._pieces.close()
            self._pieces = None
        self._coming = iter(())

    def _open(self) -> None:
        reader = connect(self._path, clock=self._clock)
        try:
            self._fill(Pieces(reader, reader.feed_name(self._feed), self._window))
        except BaseException:
            reader.close()
            raise

    def _fill(self, pieces: Pieces) -> None:
        try:
            if self._start_ms is None and not pieces.join():
                raise NothingToRead(
                    f"no recorder is alive for {self._path}: start it (`bmacdb run`), or replay the file with start=…."
                )
            bounds = pieces.bounds()
            newest = self._first(pieces, bounds)
            self.panel = Panel(
                pieces.feed, pieces.interval, self._window, newest, fundings=pieces.fundings, allocate=self._allocate
            )
            oldest = pieces.interval.shift(newest, 1 - self._window)
            if bounds is None or bounds[0] > oldest:
                begins = from_ms(bounds[0]).isoformat() if bounds else "with the next candle"
                logger.warning(
                    "the window of %d bars begins at %s, the record of %s %s: what is before it is empty",
                    *(self._window, from_ms(oldest).isoformat(), pieces.feed, begins),
                )
            for piece in pieces.window(newest):
                for _ in self._apply(piece):
                    pass  # it is there before the first event
            if self._start_ms is None:
                for run in pieces.runs(pieces.interval.shift(newest, -_STATES_KEPT)).values():
                    for _ in self._complete(run):
                        pass
            pieces.lost = False
            self._pieces = pieces
        except BaseException:
            pieces.close()
            raise

    def _first(self, pieces: Pieces, bounds: tuple[int, int] | None) -> int:
        """The newest bar to begin with."""
        interval = pieces.interval
        if self._start_ms is None:
            assert pieces.now_ms is not None
            return bounds[1] if bounds else interval.shift(interval.floor(pieces.now_ms), -1)
        if not interval.on_grid(self._start_ms):
            raise UsageError(f"start {from_ms(self._start_ms).isoformat()} is no boundary of {interval.name}.")
        if bounds is None:
            raise UsageError(f"feed {pieces.feed} holds no candle to replay yet.")
        first = interval.shift(self._start_ms, -1)
        if first > bounds[1]:
            last = from_ms(interval.next(bounds[1])).isoformat()
            raise UsageError(f"start {from_ms(self._start_ms).isoformat()} is after the last run time, {last}.")
        first = max(first, bounds[0])
        pieces.replay_from(first)
        return interval.shift(first, -1)

    # Taking events

    def on(self, kind: type[Event], callback: Callable[[Any], object]) -> None:
        """Call `callback(event)` for each event of a kind (`Event`: all) when it is taken, before the iteration has it.

        It may be an `async def` where the market is iterated by `async for`.
        """
        self._callbacks.append((kind, callback))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        while (event := next(self._coming, None)) is None:
            pieces = self._open_pieces().pull(self.panel.newest_ms, _WAIT_S)
            if pieces is None:
                raise StopIteration
            self._coming = self._events(pieces)
        for answer in self._call(event):
            if inspect.isawaitable(answer):
                raise UsageError("a callback is an async function: iterate the market by `async for`.")
        return event

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while (event := next(self._coming, None)) is None:
            if self._pulling is None:
                pull, newest_ms = self._open_pieces().pull, self.panel.newest_ms
                self._pulling = asyncio.get_running_loop().run_in_executor(self._thread, pull, newest_ms, _WAIT_S)
            # What was pulled is kept for the next call when this one is cancelled, by a timeout for instance.
            pieces = await asyncio.shield(self._pulling)
            self._pulling = None
            if pieces is None:
                raise StopAsyncIteration
            self._coming = self._events(pieces)
        for answer in self._call(event):
            if inspect.isawaitable(answer):
                await answer
        return event

    async def complete(self, run_time: datetime | int | str) -> CompleteEvent:
        """Take events until the market of `run_time` is complete or late; a later one that is complete ends it too.

        Callbacks hear of the events in between. Raises UsageError when a file at rest ends before that.
        """
        wanted = from_ms(to_ms(moment(run_time)))
        while not self._reached(wanted):
            async for event in self:
                if isinstance(event, CompleteEvent) and event.run_time >= wanted:
                    return event
            raise self._ended(wanted)
        return CompleteEvent(wanted, True, ())

    def complete_blocking(self, run_time: datetime | int | str) -> CompleteEvent:
        """`complete` for programs without an event loop."""
        wanted = from_ms(to_ms(moment(run_time)))
        if not self._reached(wanted):
            for event in self:
                if isinstance(event, CompleteEvent) and event.run_time >= wanted:
                    return event
            raise self._ended(wanted)
        return CompleteEvent(wanted, True, ())

    def _reached(self, run_time: datetime) -> bool:
        return self.run_time is not None and self.run_time >= run_time

    def _ended(self, run_time: datetime) -> UsageError:
        return UsageError(f"{self._path} ends before {run_time.isoformat()}, and no recorder writes it.")

    def _open_pieces(self) -> Pieces:
        if self._pieces is None:
            raise UsageError("this market is not open: use it within `with bmacdb.subscribe(…) as market:`.")
        return self._pieces

    def _call(self, event: Event) -> Iterator[object]:
        return (callback(event) for kind, callback in self._callbacks if isinstance(event, kind))

    # What events change

    def _events(self, pieces: list[Piece]) -> Iterator[Event]:
        for piece in pieces:
            yield from self._apply(piece)

    def _apply(self, piece: Piece) -> Iterator[Event]:
        match piece.kind, piece.rows:
            case "complete", _:
                yield from self._complete(piece)
            case "exginfo", pa.Table() as rows:
                yield from self._listed(rows)
            case "funding_rates", pa.Table() as rows:
                counts_ms, symbols = self.panel.apply_fundings(rows)
                if symbols:
                    yield FundingEvent(from_ms(self.panel.interval.boundary_after(counts_ms)), symbols)
            case kind, pa.Table() as rows:
                changed = rows.filter(pa.array(self.panel.unlike(rows)))
                if kind == "fill":
                    self.panel.clear()
                    self.panel.apply(rows)
                yield from self._candles(changed)

    def _candles(self, rows: pa.Table) -> Iterator[Event]:
        """Rows up to the newest bar at once, then one bar after the other."""
        opens = rows.column("open_time").cast(pa.int64()).to_numpy() // 1000
        newest = self.panel.newest_ms
        for part in [opens <= newest, *(opens == later for later in np.unique(opens[opens > newest]))]:
            if part.any():
                these = rows.filter(pa.array(part))
                self.panel.apply(these)
                run_time, since = (from_ms(self.panel.interval.next(int(end(opens[part])))) for end in (np.max, np.min))
                yield CandleEvent(run_time, tuple(sorted(set(these.column("symbol").to_pylist()))), since)

    def _listed(self, rows: pa.Table) -> Iterator[Event]:
        states = dict(zip(rows.column("symbol").to_pylist(), rows.column("status").to_pylist(), strict=True))
        listed = {symbol for symbol, state in states.items() if state == "TRADING"} - self.trading
        gone = self.trading & {symbol for symbol, state in states.items() if state != "TRADING"}
        self.trading = (self.trading | listed) - gone
        run_time = from_ms(self.panel.end_ms)
        if listed:
            yield ListingEvent(run_time, tuple(sorted(listed)))
        if gone:
            yield DelistingEvent(run_time, tuple(sorted(gone)))

    def _complete(self, piece: Piece) -> Iterator[Event]:
        run_time_ms, state = piece.run["run_time_ms"], piece.run["state"]
        if self._states.get(run_time_ms) == state:
            return
        self._states[run_time_ms] = state
        while len(self._states) > _STATES_KEPT:
            del self._states[min(self._states)]
        complete = state == "complete"
        run_time = from_ms(run_time_ms)
        if complete and not self._reached(run_time):
            self.run_time = run_time
        yield CompleteEvent(run_time, complete, tuple(piece.run["stragglers"]))

    # Reading

    def __getitem__(self, column: str) -> Array:
        """A column of the panel, (window, symbols) float64, bars ascending, symbols as in `panel.symbols`: a view that
        is good until the next event is taken. Raises UsageError."""
        return self.panel[column]

    def frame(self, symbol: str) -> pd.DataFrame:
        """The candles of a symbol, a copy: index candle_end_time (UTC), candle_begin_time and the panel's columns.

        Raises UsageError for a symbol that has none in the window.
        """
        import pandas as pd

        panel, place = self.panel, self.panel.place(symbol)
        there = panel.there[:, place]
        opens = panel.opens[there]
        ends = [panel.interval.next(int(open_ms)) for open_ms in opens]
        frame = pd.DataFrame({name: column[there, place] for name, column in panel.columns.items()})
        frame.insert(0, "candle_begin_time", pd.to_datetime(opens, unit="ms", utc=True).as_unit("ns"))
        frame.index = pd.DatetimeIndex(pd.to_datetime(ends, unit="ms", utc=True), name="candle_end_time").as_unit("ns")
        return frame
