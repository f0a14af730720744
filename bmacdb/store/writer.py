"""The Store: the one writer of the file.

A thread of its own owns every connection that writes; the event loop awaits it. A batch is one transaction.

The file is a DuckDB database, and on POSIX a lock on it belongs to the process: opening and closing the
path by anything but DuckDB, here or elsewhere in this process, would drop the lock. So nothing here touches it.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from bmacdb.clock import Clock
from bmacdb.errors import FileHeld, StoreError
from bmacdb.model import Batch, Feed, Gap, GapState, Run, Segment
from bmacdb.sql import queries
from bmacdb.store import schema
from bmacdb.store.commit import FeedWriter, roll_back
from bmacdb.store.faults import committed_all_the_same, opening_error, writing_error
from bmacdb.store.opening import check, connect
from bmacdb.store.retention import delete_before
from bmacdb.store.segments import find_segments
from bmacdb.store.thread import WriterThread

__all__ = ["MEMORY_LIMIT", "THREADS", "Store"]

_T = TypeVar("_T")

MEMORY_LIMIT = "64MB"
"""What DuckDB's buffers may take. A commit needs a few MB; the rest fills up with what was written last, and serves
queries, which go to disk beyond it. The process takes some 160 MB besides, most of it the libraries' own code."""

THREADS = 1
"""DuckDB's threads. One takes two thirds of the time of two for a commit, for a few hundred rows are no work to share;
queries that come in run in the threads of the server that takes them."""

_MEMORY_ATTEMPTS = 50
_MEMORY_PAUSE_S = 0.1

_PATIENCE_S = 2.0

# A second Store on a file in this process would share its lock, and drop it for both when it is closed.
_held: set[Path] = set()
_held_lock = threading.Lock()


class Store:
    """The writer of one file; see the module. Made by `open`."""

    def __init__(self, path: Path, clock: Clock, options: dict[str, object]) -> None:
        self.path = Path(os.path.abspath(path))
        self.created = False
        self._clock = clock
        self._options = options
        self._thread = WriterThread("store")
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._holds: Path | None = None
        self._broken = False
        self._writers: dict[str, FeedWriter] = {}
        self._cursors: list[duckdb.DuckDBPyConnection] = []
        self._reopening: list[Callable[[], None]] = []
        self._reopened: list[Callable[[], None]] = []
        self._sql = {query.name: query.sql for query in queries("store").values()}

    def __repr__(self) -> str:
        state = "closed" if self._thread.closed else "open"
        return f"<Store {self.path} {state} feeds={sorted(self._writers)}>"

    # Opening and closing

    @classmethod
    async def open(cls, path: Path, *, clock: Clock, memory_limit: str = MEMORY_LIMIT, threads: int = THREADS) -> Store:
        """Open the file, or create it. An existing one is checked before anything of it is changed.

        Raises FileHeld, NotABmacdbFile, SchemaTooNew, Unwritable, StoreFull.
        """
        store = cls(path, clock, {"memory_limit": memory_limit, "threads": threads})
        try:
            await store._thread.run(store._open)
        except asyncio.CancelledError:
            await store.close()
            raise
        return store

    def _open(self) -> None:
        held = self.path.resolve()
        with _held_lock:
            if held in _held:
                self._thread.end_soon()
                raise FileHeld(f"{self.path} is open in this very process already: use that Store.")
            _held.add(held)
        self._holds = held
        try:
            found = _patiently(lambda: check(self.path))
            self.created = found is None
            self._connection = _patiently(lambda: connect(self.path, self._options))
            try:
                if found is None:
                    schema.create(self._connection, self._clock.now_ms())
                else:
                    schema.migrate(self._connection, found)
            except duckdb.Error as error:
                raise opening_error(self.path, error) from error
        except StoreError:
            self._thread.end_soon()
            self._let_go()
            raise

    def _let_go(self) -> None:
        self._drop_cursors()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._holds is not None:
            with _held_lock:
                _held.discard(self._holds)
            self._holds = None

    async def close(self) -> None:
        """Finish what was asked for, checkpoint and close; nothing happens the second time."""
        if self._thread.closed:
            return
        await self._thread.end(self._close)

    def _close(self) -> None:
        # Should it fail, the write-ahead log has it all, and the next opening goes on from there.
        with suppress(duckdb.Error):
            if self._connection is not None:
                self._connection.execute("CHECKPOINT")
        self._let_go()

    def _drop_cursors(self) -> None:
        for cursor in (*self._cursors, *(writer.connection for writer in self._writers.values())):
            cursor.close()
        self._cursors.clear()
        self._writers.clear()

    # Writing

    async def add_feed(self, feed: Feed, *, num_candles: int) -> Feed:
        """Make room for a feed, or take up what there is of it; the feed comes back on the grid that the file has.

        A `3d` feed whose grid is given (its anchor is not 0) changes the stored one.
        """
        return await self._do(lambda: self._add_feed(feed, num_candles))

    def _add_feed(self, feed: Feed, num_candles: int) -> Feed:
        now_ms = self._clock.now_ms()
        connection = self._living()
        row = connection.execute(self._sql["stored_feed"], {"feed": feed.name}).fetchone()
        anchor_ms = feed.interval.anchor_ms
        if row is not None and not anchor_ms % feed.interval.length_ms:
            anchor_ms = row[0]
        interval = feed.interval.anchored(anchor_ms)
        values = {"feed": feed.name, "num_candles": num_candles, "anchor_ms": interval.anchor_ms, "now_ms": now_ms}
        connection.execute("BEGIN")
        try:
            if row is None:
                schema.create_feed(connection, feed)
                more = {"market": feed.market, "trade_type": feed.trade_type, "interval": interval.name}
                connection.execute(self._sql["new_feed"], values | more)
                schema.create_views(connection, schema.feed_names(connection))
            elif row != (interval.anchor_ms, num_candles):
                connection.execute(self._sql["change_feed"], values)
            connection.execute("COMMIT")
        except duckdb.Error:
            roll_back(connection)
            raise
        return replace(feed, interval=interval)

    async def define(
        self, version: Callable[[Sequence[str]], str], make: Callable[[Sequence[str]], Sequence[str]]
    ) -> bool:
        """Create the macros of factors for all feeds of the file, unless they are those already; whether it did.

        Both functions are given the names of the feeds. All macros are created or none: StoreError, and what was there
        stays.
        """
        feeds = await self._do(lambda: schema.feed_names(self._living()))
        wanted = version(feeds)
        if await self._do(lambda: schema.macros_version(self._living())) == wanted:
            return False
        statements = await asyncio.to_thread(make, feeds)

        def work() -> None:
            connection = self._living()
            connection.execute("BEGIN")
            try:
                schema.replace_macros(connection, wanted, statements)
                connection.execute("COMMIT")
            except duckdb.Error:
                roll_back(connection)
                raise

        await self._do(work)
        return True

    async def commit(self, batch: Batch) -> dict[str, pa.Table] | None:
        """Write a batch in one transaction: all of it or nothing.

        Returns the rows that were added or replaced, by table (`FeedWriter.commit`); None where the batch is written
        and the database had to be opened anew, so that this is not known.

        Of candles already there the higher source stands (`store.precedence`); the feed must have been added.
        Raises StoreFull when there is no room: nothing was written, and the same batch may be given again.
        """
        return await self._do(lambda: self._commit(batch))

    def _commit(self, batch: Batch) -> dict[str, pa.Table] | None:
        for attempt in range(_MEMORY_ATTEMPTS):
            try:
                return self._writer(batch.feed).commit(batch)
            except duckdb.OutOfMemoryException:
                # A query that came in has it all for the moment; the commit was rolled back whole.
                if attempt == _MEMORY_ATTEMPTS - 1:
                    raise
                time.sleep(_MEMORY_PAUSE_S)
        return None

    async def retain(self, feed: Feed, *, before_ms: int) -> int:
        """Delete what is older than `before_ms`, save the trading rules; returns how many candles went."""

        def work() -> int:
            connection = self._writer(feed.name).connection
            connection.execute("BEGIN")
            try:
                deleted = delete_before(connection, before_ms)
                connection.execute("COMMIT")
            except duckdb.Error:
                roll_back(connection)
                raise
            return deleted

        return await self._do(work)

    async def checkpoint(self) -> None:
        """Move what the write-ahead log holds into the file, as is best done in a quiet moment."""
        await self._do(lambda: self._living().execute("CHECKPOINT"))

    def wal_bytes(self) -> int:
        """The size of the write-ahead log; 0 right after a checkpoint."""
        try:
            return self.path.with_name(self.path.name + ".wal").stat().st_size
        except FileNotFoundError:
            return 0

    # Asking

    async def latest(self, feed: Feed) -> dict[str, int]:
        """The newest open time of each symbol, in milliseconds."""
        return dict(await self._ask(feed, "latest"))

    async def provisional(self, feed: Feed) -> list[tuple[str, int]]:
        """(symbol, open time) of the bars that nothing has confirmed yet, oldest first."""
        return [(symbol, open_ms) for symbol, open_ms in await self._ask(feed, "provisional")]

    async def trading(self, feed: Feed) -> frozenset[str]:
        """The symbols that traded when exchange info was last written."""
        return frozenset(symbol for (symbol,) in await self._ask(feed, "trading"))

    async def last_funding_times(self, feed: Feed) -> dict[str, int]:
        """The newest settled funding of each symbol, in milliseconds."""
        return dict(await self._ask(feed, "last_funding_times"))

    async def gaps(self, feed: Feed, *, states: Collection[GapState] = (GapState.OPEN,)) -> list[Gap]:
        """The holes in one of the given states, oldest first."""
        found = await self._ask(feed, "gaps", states=[str(state) for state in states])
        return [
            Gap(symbol, start_ms, end_ms, GapState(state), reason, found_ms, closed_ms)
            for symbol, start_ms, end_ms, state, reason, found_ms, closed_ms in found
        ]

    async def unfinished_runs(self, feed: Feed, *, since_ms: int) -> list[tuple[Run, frozenset[str]]]:
        """The periods from `since_ms` on that never got complete, oldest first, each with the items that were ready."""
        found = await self._ask(feed, "unfinished_runs", since_ms=since_ms)
        return [
            (Run(run_time_ms, expected, ready, None, last_item, repaired, tuple(missing)), frozenset(items or ()))
            for run_time_ms, expected, ready, last_item, repaired, missing, items in found
        ]

    async def segments(
        self, feed: Feed, *, start_ms: int, end_ms: int, symbols: Collection[str] | None = None
    ) -> dict[str, tuple[Segment, ...]]:
        """The unbroken runs of bars of each symbol (of `symbols` where given) that open in [start, end), oldest first.

        Bars alone count: what the exchange proved absent is a hole here.
        """
        return await self._do(
            lambda: find_segments(
                self._writer(feed.name).connection, feed.interval, start_ms=start_ms, end_ms=end_ms, symbols=symbols
            )
        )

    async def run(self, work: Callable[[duckdb.DuckDBPyConnection], _T]) -> _T:
        """Do anything else on the writer's thread. What it writes must keep the tables' keys distinct."""

        def guarded() -> _T:
            try:
                return work(self._living())
            finally:
                for writer in self._writers.values():
                    writer.forget()

        return await self._do(guarded)

    async def beside(self, work: Callable[[duckdb.DuckDBPyConnection], _T]) -> _T:
        """Do on the writer's thread what writes to no table of a feed (`run` has commits look anew at those)."""
        return await self._do(lambda: work(self._living()))

    async def _ask(self, feed: Feed, query: str, **values: object) -> list[tuple[Any, ...]]:
        return await self._do(
            lambda: self._writer(feed.name).connection.execute(self._sql[query], values or None).fetchall()
        )

    # The server's part

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection to the same database for the server; dead after a reopening."""
        cursor = self._living().cursor()
        self._cursors.append(cursor)
        return cursor

    def before_reopen(self, callback: Callable[[], None]) -> None:
        """Have `callback` called, in the writer's thread, before a dead instance is closed: nothing of it may be in use
        any more when it returns, for DuckDB would wait for that for ever."""
        self._reopening.append(callback)

    def on_reopen(self, callback: Callable[[], None]) -> None:
        """Have `callback` called, in the writer's thread, after the database was reopened in this process."""
        self._reopened.append(callback)

    # The thread's part

    def _writer(self, feed: str) -> FeedWriter:
        writer = self._writers.get(feed)
        if writer is None:
            writer = self._writers[feed] = FeedWriter(self._living().cursor(), feed)
        return writer

    def _living(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            raise StoreError("the database is not open; open it again to go on.")
        return self._connection

    async def _do(self, work: Callable[[], _T]) -> _T:
        def guarded() -> _T:
            if self._broken:
                self._reopen()
            try:
                return work()
            except duckdb.FatalException as error:
                self._broken = True
                try:
                    self._reopen()
                except StoreError as problem:
                    if not committed_all_the_same(error):
                        raise StoreError(f"{problem} It had to be reopened after: {error}") from error
                if committed_all_the_same(error):
                    return None  # type: ignore[return-value]  # a commit, of which it is not known
                raise writing_error(self.path, error) from error
            except duckdb.Error as error:
                raise writing_error(self.path, error) from error

        return await self._thread.run(guarded)

    def _reopen(self) -> None:
        """The instance is dead: close all that hangs on it, and recover from the write-ahead log."""
        for callback in self._reopening:
            callback()
        self._drop_cursors()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._connection = connect(self.path, self._options)
        self._broken = False
        for callback in self._reopened:
            callback()


def _patiently(work: Callable[[], _T]) -> _T:
    """Try again for a moment while the file is held: a reader has it for the length of a query."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return work()
        except FileHeld:
            if time.monotonic() > until:
                raise
        time.sleep(0.05)
