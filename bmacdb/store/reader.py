"""Reading: the same object whether a recorder is alive or the file is at rest.

Where a recorder is alive, queries go to it; else the file is opened read-only for the length of a query. A recorder
that ends or starts in between is no matter: the next query goes the other way.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Self

import pyarrow as pa

from bmacdb.clock import Clock, SystemClock, from_ms, to_ms
from bmacdb.errors import FileHeld, NothingToRead, QueryTooSlow, UsageError, did_you_mean
from bmacdb.sql import queries
from bmacdb.store import sidefile
from bmacdb.store.link import LinkLost, LiveLink, ask_file
from bmacdb.store.literals import bind
from bmacdb.store.result import Result
from bmacdb.store.waiting import Readiness, Waiter
from bmacdb.stream.messages import HEARTBEAT
from bmacdb.stream.subscription import Subscription
from bmacdb.symbols import base_name, check_symbols

__all__ = ["Reader", "Readiness", "Result", "connect", "moment"]

_MOST_CANDLES = 2**31
_HEARTBEAT_S = 2.5  # heartbeats come every second
_TAKEOVER_S = 5.0  # a recorder that starts has the file some moments before it answers


def connect(path: str | Path = "bmac.duckdb", *, clock: Clock | None = None) -> Reader:
    """A reader of the database at `path`. Nothing is opened before the first question.

    `clock` is for rehearsals whose exchange runs on a time of its own.
    """
    return Reader(Path(path), clock=clock or SystemClock())


class Reader:
    """Made by `connect`. May be used from several threads, which take turns; close it, or use it in a `with`."""

    def __init__(self, path: Path, *, clock: Clock, patience: float = _TAKEOVER_S) -> None:
        self.path = path
        self._clock, self._patience = clock, patience
        self._lock = threading.Lock()
        self._link: LiveLink | None = None
        self._known: frozenset[str] = frozenset()  # feeds of the recorder at the other end
        self._only: str | None = None  # ... if it has but one
        self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"live at {self._link.live.uri}" if self._link else "at rest"
        return f"<Reader {self.path} {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Let go of the recorder; nothing happens the second time."""
        with self._lock:
            self._closed = True
            self._drop()

    def _drop(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
            self._known, self._only = frozenset(), None

    @property
    def live(self) -> bool:
        """Whether a recorder is alive now."""
        return sidefile.find(self.path) is not None

    def now_ms(self) -> int:
        """The exchange's time in milliseconds of UTC: that of the live recorder, which tells it once a second;
        without a recorder, that of the reader's own clock."""
        live = sidefile.find(self.path)
        if live is None:
            return self._clock.now_ms()
        events = Subscription(live.events_address, (HEARTBEAT,))
        try:
            event = events.receive(_HEARTBEAT_S)
        finally:
            events.close()
        return self._clock.now_ms() if event is None else int(event.header["now_ms"])

    # Asking

    def sql(
        self,
        query: str,
        params: Sequence[object] | Mapping[str, object] | None = None,
        *,
        timeout: float | None = None,
    ) -> Result:
        """Ask anything in SQL: tables of `main` (`candles WHERE feed = …`) or of a feed (`usdt_perp_5m.candles`).

        `params` are values for `?`, `$1` or `$name`; they get into the query as typed literals, never as text.
        `timeout`: seconds after which waiting ends with QueryTooSlow. A live recorder works on such a query to its end.
        Without one, Ctrl-C in a program (not at a prompt or in a notebook) waits for the recorder's answer.
        Raises QueryRefused (a live recorder answers questions alone), QueryFailed, FileHeld, NothingToRead, UsageError.
        """
        if timeout is not None and timeout <= 0:
            raise UsageError(f"timeout {timeout} is not above 0: give seconds, or None for as long as it takes.")
        return Result(self._ask(bind(query, params), timeout))

    def _ask(self, query: str, timeout: float | None) -> pa.Table:
        until = monotonic() + self._patience
        with self._lock:
            while True:
                if self._closed:
                    raise UsageError(f"this reader of {self.path} is closed: connect again.")
                try:
                    link = self._connected()
                    return ask_file(self.path, query, timeout) if link is None else link.ask(query, timeout)
                except TimeoutError as error:
                    alive = self._link is not None
                    self._drop()
                    raise QueryTooSlow(
                        f"the query took longer than {timeout:g} s: bound it by time and symbol, or wait longer."
                        + (" The recorder still works on it, behind everything else." if alive else "")
                    ) from error
                except KeyboardInterrupt:
                    self._drop()
                    raise
                except LinkLost as error:
                    self._drop()
                    if monotonic() > until:
                        raise NothingToRead(
                            f"the recorder of {self.path} does not answer: {error} Is it still running? (bmacdb status)"
                        ) from error
                except FileHeld:
                    if monotonic() > until:
                        raise
                sleep(0.05)

    def _connected(self) -> LiveLink | None:
        """The link to the recorder that is alive now; None when the file is at rest."""
        if self._link is None and (live := sidefile.find(self.path)) is not None:
            self._link = LiveLink(live)
        return self._link

    def _named(self, name: str, **params: object) -> Result:
        return self.sql(queries("reader")[name].sql, params)

    def feeds(self) -> Result:
        """What is recorded, one row a feed: feed, market, trade_type, interval, anchor, num_candles, created_at."""
        return self._named("feeds")

    def feed_name(self, feed: str | None = None, *, derived: bool = False) -> str:
        """`feed` as it is, checked; where None, the only one there is. Raises UsageError.

        `derived` admits what is made of a feed too, as usdt_perp_5m_to_1h.
        """
        if (feed or self._only) in self._known:  # a recorder takes no feed away, and this one was asked before
            return str(feed or self._only)
        known = [str(row[0]) for row in self.feeds()]
        if self._link is not None:
            self._known, self._only = frozenset(known), known[0] if len(known) == 1 else None
        if feed is not None and derived:
            known += [str(row[0]) for row in self._named("derived", feed=feed)]
        if feed in known:
            return str(feed)
        if feed is not None:
            raise UsageError(f"feed {feed!r} is not one of {', '.join(known) or 'none'}.{did_you_mean(feed, known)}")
        if len(known) != 1:
            raise UsageError(f"{self.path} holds {len(known)} feeds ({', '.join(known)}): say which with feed=….")
        return known[0]

    def symbols(self, feed: str | None = None) -> list[str]:
        """Every symbol that a feed has or had, in order."""
        return [str(row[0]) for row in self._named("symbols", feed=base_name(self.feed_name(feed, derived=True)))]

    def check_symbols(self, symbols: Collection[str], feed: str | None = None) -> None:
        """Raises UsageError for symbols that a feed never had, with the nearest names. A feed that has none yet has no
        say."""
        name = self.feed_name(feed, derived=True)
        listed = {str(row[0]) for row in self._named("listed", feed=base_name(name))}
        if not listed.issuperset(symbols) and (known := self.symbols(feed)):
            check_symbols(symbols, known, name)

    def candles(
        self,
        symbol: str,
        *,
        feed: str | None = None,
        start: datetime | int | str | None = None,
        end: datetime | int | str | None = None,
        limit: int | None = None,
    ) -> Result:
        """The candles of a symbol that open in [start, end), oldest first; the last `limit` of them where given.

        Columns as in the table: symbol, open_time (UTC), open, high, low, close, volume, quote_volume, trade_num,
        taker_buy_base_asset_volume, taker_buy_quote_asset_volume, source, recorded_at. Raises UsageError for a symbol
        that the feed never had. Times are datetimes (naive: UTC), milliseconds, or ISO texts.
        """
        found = self._named(
            "candles",
            feed=self.feed_name(feed),
            symbol=symbol,
            start=from_ms(0) if start is None else moment(start),
            end=datetime(9999, 1, 1, tzinfo=UTC) if end is None else moment(end),
            limit=_MOST_CANDLES if limit is None else limit,
        )
        if not found:
            self.check_symbols([symbol], feed)
        return found

    def run_status(self, run_time: datetime | int | str, *, feed: str | None = None) -> Result:
        """What is ready for a run time, in the order in which it came: item (a symbol, `exginfo`, `funding`), ready_at,
        source."""
        return self._named("run_status", feed=self.feed_name(feed, derived=True), run_time=moment(run_time))

    # Waiting

    async def wait_ready(
        self,
        run_time: datetime | int | str,
        symbols: Collection[str] | None = None,
        timeout: float = 40.0,
        feed: str | None = None,
    ) -> Readiness:
        """Wait until the whole market of `run_time` is committed, or all of `symbols`.

        Gives up `timeout` seconds after the run time, or after the call where that is later, and then says who is late.
        A run time more than an interval ahead is not waited for beyond `timeout` seconds after the call. Raises
        UsageError for a symbol that the feed never had.
        The recorder's events wake it; a lost one, or a recorder that starts anew, delays it by a second or so.
        """
        return await self._waiter(run_time, symbols, timeout, feed).wait()

    def wait_ready_blocking(
        self,
        run_time: datetime | int | str,
        symbols: Collection[str] | None = None,
        timeout: float = 40.0,
        feed: str | None = None,
    ) -> Readiness:
        """`wait_ready` for programs without an event loop."""
        return self._waiter(run_time, symbols, timeout, feed).run()

    def _waiter(
        self, run_time: datetime | int | str, symbols: Collection[str] | None, timeout: float, feed: str | None
    ) -> Waiter:
        if isinstance(symbols, str):
            symbols = (symbols,)
        return Waiter(
            self.path,
            self._named,
            lambda: self.feed_name(feed, derived=True),
            run_time_ms=to_ms(moment(run_time)),
            symbols=None if symbols is None else frozenset(symbols),
            check=lambda names: self.check_symbols(names, feed),
            timeout=timeout,
            clock=self._clock,
        )


def moment(value: datetime | int | str) -> datetime:
    """A point in time as a datetime in UTC. Raises UsageError."""
    if isinstance(value, int):
        return from_ms(value)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise UsageError(f"time {value!r} is not an ISO time, as 2024-08-03T12:50:00Z is.") from error
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
