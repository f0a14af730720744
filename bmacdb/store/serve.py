"""Serving the database while it records: Quack for queries, ZeroMQ for events, a side file to be found by.

All of it is on loopback, and what a client may send is in `guard`. Queries run in threads of Quack's own, which on
Linux get a lower priority than the recorder's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import duckdb
import pyarrow as pa

from bmacdb import __version__
from bmacdb.clock import Clock, ServerClock
from bmacdb.errors import StoreError
from bmacdb.model import Batch, Candle
from bmacdb.store import guard, sidefile
from bmacdb.store.extensions import load_quack
from bmacdb.store.intake import Intake, Offer
from bmacdb.store.rows import candle_rows
from bmacdb.store.writer import Store
from bmacdb.stream.messages import topic_of
from bmacdb.stream.publisher import HEARTBEAT_SECONDS, Publisher

__all__ = ["FIRST_PORT", "SPILL_LIMIT", "Server", "ServingUnavailable"]

_T = TypeVar("_T")

FIRST_PORT = 9720
"""Quack on this port and events on the next; where these are taken, on the next two, and so on."""

SPILL_LIMIT = "4GB"
"""What all queries together may put into temporary files."""

_ANSWER_CHUNKS = 2  # of 2048 rows, in one HTTP answer
_PAIRS = 200
_NICENESS = 10
_HELP = "pip install duckdb-extensions==1.5.5 duckdb-extension-quack==1.5.5 duckdb-extension-httpfs==1.5.5"


class ServingUnavailable(StoreError):
    """The database cannot be served to other processes; recording is not touched by it."""


class Server:
    """The recorder's server; made by `start`."""

    def __init__(
        self, store: Store, publisher: Publisher, *, port: int, clock: Clock, info: Callable[[], dict[str, object]]
    ) -> None:
        self._store, self._publisher, self._clock, self._info = store, publisher, clock, info
        self.live = sidefile.Live(
            port=port,
            events_port=publisher.port,
            token=secrets.token_hex(16),
            pid=os.getpid(),
            pid_started=sidefile.process_start(os.getpid()),
            started_ms=clock.now_ms(),
            version=__version__,
        )
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._thread = ThreadPoolExecutor(1, "serve", initializer=_step_back)
        self._feeds: set[str] = set()
        self._heartbeats: asyncio.Task[None] | None = None
        self._closed = False
        self._intake: Intake | None = None

    def __repr__(self) -> str:
        return f"<Server {self.live.uri} events={self.live.events_port} {'closed' if self._closed else 'open'}>"

    @classmethod
    async def start(
        cls,
        store: Store,
        *,
        clock: Clock,
        info: Callable[[], dict[str, object]],
        take: Callable[[Offer], Awaitable[None]] | None = None,
        first_port: int = FIRST_PORT,
        deadline_ms: int = 40_000,
    ) -> Server:
        """Serve `store`. `info` tells of the recorder and is asked once a second, on the event loop; `take` commits the
        rows that other processes offer (None: they are not taken). A run time is late `deadline_ms` after its boundary.

        Raises ServingUnavailable, which says what to install or to mend.
        """
        port, publisher = _bind(first_port, deadline_ms)
        server = cls(store, publisher, port=port, clock=clock, info=info)
        if take is not None:
            with contextlib.suppress(OSError):  # without it, history waits until the recorder ends
                server._intake = await Intake.start(take, token=server.live.token)
                server.live = replace(server.live, intake_port=server._intake.port)
        try:
            await server._in_thread(server._serve)
        except duckdb.Error as error:
            await server.close()
            raise ServingUnavailable(
                f"the database cannot be served to other processes: {_first_line(error)} The Quack extension "
                f"comes with: {_HELP}."
            ) from error
        except StoreError as error:
            await server.close()
            raise ServingUnavailable(f"the database cannot be served to other processes: {error}") from error
        store.before_reopen(server._stop)
        store.on_reopen(server._serve_again)
        server._heartbeats = asyncio.create_task(server._beat())
        return server

    def _serve(self) -> None:
        self._connection = connection = self._store.cursor()
        load_quack(connection)
        # A query must find nothing but the database: no variables of this program, no extension fetched by a name.
        connection.execute("SET GLOBAL python_enable_replacements = false")
        connection.execute("SET GLOBAL autoload_known_extensions = false")
        connection.execute("SET GLOBAL autoinstall_known_extensions = false")
        # What a query spills must not fill the disk that the record is on.
        connection.execute(f"SET GLOBAL max_temp_directory_size = '{SPILL_LIMIT}'")
        # Quack's threads keep what large answers took, and no setting of an allocator gives it back: so small ones.
        connection.execute(f"SET GLOBAL quack_fetch_batch_chunks = {_ANSWER_CHUNKS}")
        guard.install(connection)
        connection.execute(f"CALL quack_serve('{self.live.uri}', token => '{self.live.token}')")
        sidefile.write(self._store.path, self.live)

    def _serve_again(self) -> None:
        """After a fault the store has opened the database anew: the same port and token serve it."""

        def work() -> None:
            with contextlib.suppress(duckdb.Error, StoreError):  # recording matters more; readers say what they lack
                self._serve()

        if not self._closed:
            self._thread.submit(work)

    def announce(self, batch: Batch, written: Mapping[str, pa.Table] | None = None) -> None:
        """Publish what `batch` brought and the rows that were `written` to each table (None: not known); called after
        its commit, never blocks."""
        if self._closed:
            return
        if batch.feed not in self._feeds:
            self._feeds.add(batch.feed)
            self._thread.submit(self._refresh)
        self._publisher.commit(batch, written)

    def publish_on(self, address: str, secret_key: str | None = None) -> None:
        """Publish on another address too, as `Publisher.publish_on` does. Raises OSError."""
        self._publisher.publish_on(address, secret_key)

    def wants_updates(self, feed: str) -> bool:
        """Whether somebody subscribed to the open candles of a feed."""
        return not self._closed and self._publisher.wanted(topic_of("updates", feed))

    def update(self, feed: str, candles: Sequence[Candle]) -> None:
        """Publish candles that are still open, as they are now; they are not stored."""
        if candles and not self._closed:
            self._publisher.update(feed, candle_rows(candles, self._clock.now_ms()))

    def _refresh(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(duckdb.Error):  # the feed can be read after the next start
                guard.refresh(self._connection)

    async def _beat(self) -> None:
        while True:
            rate = self._clock.rate if isinstance(self._clock, ServerClock) else 1.0
            self._publisher.heartbeat(self._clock.now_ms(), self._info(), rate=rate)
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def close(self) -> None:
        """Stop serving: the side file goes first, queries that run get to their end."""
        if self._closed:
            return
        self._closed = True
        sidefile.remove(self._store.path, self.live)
        if self._intake is not None:
            await self._intake.close()
        if self._heartbeats is not None:
            self._heartbeats.cancel()
            await asyncio.wait({self._heartbeats})
        await self._in_thread(self._stop)
        self._thread.shutdown(wait=False)
        self._publisher.close()

    def _stop(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(duckdb.Error):
                self._connection.execute(f"CALL quack_stop('{self.live.uri}')")
            self._connection.close()
            self._connection = None

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _bind(first_port: int, deadline_ms: int) -> tuple[int, Publisher]:
    """A port that is free for Quack, and the publisher on the one behind it.

    Two Quack servers of one user can bind the same port without an error, and clients reach either. The events' port
    cannot be bound twice, so whoever has it owns the pair.
    """
    for port in range(first_port, first_port + 2 * _PAIRS, 2):
        try:
            publisher = Publisher(port + 1, deadline_ms=deadline_ms)
        except OSError:
            continue
        with socket.socket() as probe:
            if sys.platform != "win32":  # connections of a recorder that has just ended do not count; a listener does
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                publisher.close()
                continue
        return port, publisher
    raise ServingUnavailable(
        f"the database cannot be served: no free port from {first_port} to {first_port + 2 * _PAIRS} on this machine."
    )


def _step_back() -> None:
    """Give the queries of readers less of the processor than recording; threads take after the one that starts them."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
