"""Bars of longer intervals, made while recording: those that end at a run time as soon as it is complete.

Works beside the Dispatcher: told of every committed batch, it makes what has become possible, in transactions of its
own on the Store's thread. Bars whose parts come late, or change, are mended; at the first run time the window behind
it is, a piece at a time and between commits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import TypeVar

import duckdb
import pyarrow as pa

from bmacdb.clock import Clock
from bmacdb.errors import StoreError, StoreFull
from bmacdb.model import Batch, Ready, Run
from bmacdb.offset import Resampling
from bmacdb.recorder.dispatch import Announce
from bmacdb.recorder.events import Notice, Report, Severity
from bmacdb.store import resample
from bmacdb.store.writer import Store

__all__ = ["Resampler"]

_T = TypeVar("_T")

_PIECE_PARTS = 50_000  # parts read at once where the past is mended: some 10 MB
_PIECE_BARS = 4_000  # bars written at once: some milliseconds of the Store's thread
_MOST_SYMBOLS = 50  # of late parts; of more, all symbols are mended
_FULL_PAUSE_S = 1.0
_DROP_EVERY = 60  # run times


@dataclass(slots=True)
class _Pair:
    """What is to be done for one resampling. Times are milliseconds."""

    resampling: Resampling
    made_until: int = -1
    minutes: str | None = None
    live: bool = False
    due: dict[int, tuple[bool, int]] = field(default_factory=dict)  # open time: complete, traded
    completed: set[int] = field(default_factory=set)  # run times whose market got complete after all
    stale: tuple[int, int] | None = None  # open times of bars whose parts came late or changed
    symbols: set[str] | None = field(default_factory=set)  # of these; None: of all
    traded: int = 1
    made: int = 0

    def mend(self, start_ms: int, end_ms: int, symbols: Collection[str] | None) -> None:
        """Note that bars that open in [start, end) are to be looked at, as far as they are kept."""
        end_ms = min(end_ms, self.made_until + 1)
        if start_ms >= end_ms:
            return
        self.stale = (
            (start_ms, end_ms) if self.stale is None else (min(start_ms, self.stale[0]), max(end_ms, self.stale[1]))
        )
        if symbols is None or self.symbols is None or len(self.symbols | set(symbols)) > _MOST_SYMBOLS:
            self.symbols = None
        else:
            self.symbols.update(symbols)


class Resampler:
    """Keeps `resamplings` up to date in the file. `announce` is called with what was made, as a batch of their feed."""

    def __init__(
        self,
        store: Store,
        resamplings: Collection[Resampling],
        *,
        window: int,
        keep: int | None,
        clock: Clock,
        report: Report,
        announce: Announce,
    ) -> None:
        """`window` is how many bars of a feed before the first run time are made too, `keep` how many of them stay."""
        self._store, self._window, self._keep = store, window, keep
        self._clock, self._report, self._announce = clock, report, announce
        self._pairs: dict[str, list[_Pair]] = {}
        for resampling in resamplings:
            self._pairs.setdefault(resampling.feed.name, []).append(_Pair(resampling))
        self._work = asyncio.Event()
        self._stopping = False
        self._cursor: duckdb.DuckDBPyConnection | None = None

    async def open(self) -> None:
        """Make room in the file. Raises StoreError."""
        now_ms = self._clock.now_ms()
        for pair in self._all():

            def look(connection: duckdb.DuckDBPyConnection, pair: _Pair = pair) -> None:
                resample.create(connection, pair.resampling, now_ms)
                pair.made_until = resample.made_until(connection, pair.resampling)
                pair.minutes = resample.minutes_feed(connection, pair.resampling)

            await self._store.beside(look)

    def _all(self) -> list[_Pair]:
        return [pair for pairs in self._pairs.values() for pair in pairs]

    def committed(self, batch: Batch) -> None:
        """Take into account what was committed; called on the event loop, never blocks."""
        for pair in self._pairs.get(batch.feed, ()):
            self._take(pair, batch)
            self._work.set()

    def _take(self, pair: _Pair, batch: Batch) -> None:
        resampling = pair.resampling
        step_ms = resampling.feed.interval.length_ms
        for run in batch.runs:
            if run.complete_at_ms is None and not run.missing:
                continue  # it has only begun
            open_ms = resampling.ending_at(run.run_time_ms)
            if open_ms is None:
                continue
            if not pair.live:
                pair.live = True
                first_ms = run.run_time_ms - self._window * step_ms
                pair.made_until = max(pair.made_until, open_ms - step_ms)
                pair.mend(first_ms, open_ms, None)
            pair.traded = max(run.ready, 1)
            if open_ms > pair.made_until:
                pair.due[open_ms] = run.complete_at_ms is not None, run.ready
            else:
                if run.complete_at_ms is not None:
                    pair.completed.add(run.run_time_ms)
                pair.mend(open_ms, open_ms + step_ms, None)
        if pair.live:
            # Parts of bars that are kept already: repaired, corrected, fetched for a new listing; and their fundings.
            late = [(bar.open_time_ms, bar.symbol) for bar in batch.candles]
            late += [(rate.funding_time_ms, rate.symbol) for rate in batch.funding_rates]
            for start_ms, symbol in late:
                opened_ms = resampling.feed.interval.floor(start_ms)
                first_ms, end_ms = resampling.touched(opened_ms, opened_ms + step_ms)
                if first_ms <= pair.made_until:
                    pair.mend(first_ms, end_ms, (symbol,))

    async def run(self) -> None:
        """Make what is possible until `stop`; then what is due still."""
        while True:
            await self._work.wait()
            self._work.clear()
            while (pair := next((pair for pair in self._all() if pair.due), None)) is not None:
                await self._guarded(pair, self._make)
            if self._stopping:
                return
            pair = next((pair for pair in self._all() if pair.stale is not None), None)
            if pair is not None:
                await self._guarded(pair, self._mend)
                self._work.set()

    def stop(self) -> None:
        """Have `run` end once the bars of the last run times are made."""
        self._stopping = True
        self._work.set()

    async def _guarded(self, pair: _Pair, work: Callable[[_Pair], Awaitable[None]]) -> None:
        """Do one piece of work. What cannot be made must not keep the feed from being recorded."""
        try:
            await work(pair)
        except StoreFull as error:
            self._notice(pair, f"{error} Its bars are made as soon as there is room.")
            if self._stopping:
                pair.due.clear()
            else:
                await asyncio.sleep(_FULL_PAUSE_S)
        except StoreError as error:
            self._notice(pair, f"no more bars are made until the next start: {error}")
            self._pairs[pair.resampling.feed.name].remove(pair)

    async def _make(self, pair: _Pair) -> None:
        open_ms = min(pair.due)
        complete, traded = pair.due[open_ms]

        def work(connection: duckdb.DuckDBPyConnection) -> tuple[resample.Made, pa.Table]:
            return resample.make(
                connection,
                pair.resampling,
                open_ms,
                complete=complete,
                traded=traded,
                now_ms=self._clock.now_ms(),
                minutes=pair.minutes,
            )

        made, bars = await self._write(work)
        if pair.due.pop(open_ms) != (complete, traded):
            pair.completed.add(made.run_time_ms)
            pair.made_until = open_ms
            pair.mend(open_ms, open_ms + 1, None)
        pair.made_until = max(pair.made_until, open_ms)
        pair.made += 1
        self._tell(pair, [made], bars)
        if self._keep is not None and pair.made % _DROP_EVERY == 1:
            before_ms = made.run_time_ms - self._keep * pair.resampling.feed.interval.length_ms
            await self._write(lambda connection: resample.drop_before(connection, pair.resampling, before_ms))

    async def _mend(self, pair: _Pair) -> None:
        """Mend one piece of what is stale, the newest."""
        assert pair.stale is not None
        (start_ms, end_ms), symbols = pair.stale, pair.symbols
        resampling = pair.resampling
        number = pair.traded if symbols is None else max(len(symbols), 1)
        bars = max(_PIECE_PARTS // number, resampling.parts)
        begin_ms, end_ms = next(resampling.spans(start_ms, end_ms, bars))
        complete, pair.completed = pair.completed, set()
        # What comes while this is read and written makes its bars stale anew.
        if begin_ms > start_ms:
            pair.stale = start_ms, begin_ms
        else:
            pair.stale, pair.symbols = None, set()
        query, params = resample.bars_query(resampling, begin_ms, end_ms, symbols=symbols, minutes=pair.minutes)
        try:
            table = await self._read(query, params)
            for place in range(0, max(table.num_rows, 1), _PIECE_BARS):
                await self._keep_bars(pair, table.slice(place, _PIECE_BARS), complete)
                complete = set()
        except StoreFull:
            pair.completed |= complete
            pair.mend(begin_ms, end_ms, symbols)
            raise

    async def _read(self, query: str, params: dict[str, object]) -> pa.Table:
        """The answer to a query, asked beside the Store's thread, which goes on committing."""
        if self._cursor is None:
            self._cursor = self._store.cursor()
            self._cursor.execute("SET TimeZone = 'UTC'")
        cursor = self._cursor
        try:
            return await asyncio.to_thread(lambda: cursor.execute(query, params).to_arrow_table())
        except (duckdb.ConnectionException, duckdb.OutOfMemoryException) as error:
            # The database was reopened after a fault, or the queries of others have all the memory for the moment.
            self._cursor = None
            raise StoreFull(f"the past cannot be read: {error}") from error
        except duckdb.Error as error:
            raise StoreError(f"the past cannot be read: {error}") from error

    async def _keep_bars(self, pair: _Pair, bars: pa.Table, complete: set[int]) -> None:
        def work(connection: duckdb.DuckDBPyConnection) -> tuple[list[resample.Made], pa.Table | None]:
            return resample.mend(connection, pair.resampling, bars, now_ms=self._clock.now_ms(), complete=complete)

        self._tell(pair, *await self._write(work))

    async def _write(self, work: Callable[[duckdb.DuckDBPyConnection], _T]) -> _T:
        def guarded(connection: duckdb.DuckDBPyConnection) -> _T:
            try:
                return work(connection)
            except duckdb.OutOfMemoryException as error:  # a query of a reader's has it all for the moment
                raise StoreFull(f"no memory for bars: {error}") from error

        return await self._store.beside(guarded)

    def _notice(self, pair: _Pair, text: str) -> None:
        now_ms = self._clock.now_ms()
        self._report(Notice(now_ms, Severity.ERROR, "resample", f"{pair.resampling.name}: {text}"))

    def _tell(self, pair: _Pair, made: list[resample.Made], bars: pa.Table | None) -> None:
        if not made and bars is None:
            return
        now_ms = self._clock.now_ms()
        ready = tuple(Ready(run.run_time_ms, symbol, now_ms, "resample") for run in made for symbol in run.new)
        runs = tuple(
            Run(run.run_time_ms, run.expected, run.ready, run.complete_at_ms, None, run.repaired, run.missing)
            for run in made
        )
        written = {} if bars is None else {"candles": bars}
        self._announce(Batch(pair.resampling.name, now_ms, ready=ready, runs=runs), written)
