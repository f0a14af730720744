"""Waiting for a period to get ready: events wake, the table is the truth.

A message may be lost and a recorder may be restarted, so a waiter looks into the table when it has subscribed, when
the first heartbeat proves the subscription, when a heartbeat shows a completion it has not seen, and once a minute.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from bmacdb.clock import Clock, from_ms
from bmacdb.errors import FileHeld, NothingToRead
from bmacdb.interval import DAY_MS, Interval
from bmacdb.model import EXGINFO_ITEM, FUNDING_ITEM, RunState
from bmacdb.store import sidefile
from bmacdb.store.result import Result
from bmacdb.stream.messages import HEARTBEAT, topic_of
from bmacdb.stream.subscription import Subscription

__all__ = ["Readiness", "Waiter"]

_SILENCE_S = 3.0  # heartbeats come every second; after this long without one, see where the recorder is
_SLICE_S = 0.5  # how soon a waiter that nobody wants any more lets go of its thread
_JOIN_S = 0.1  # by then a subscription has reached the recorder
_AT_REST_S = 1.0  # how often a file that nobody serves is looked at
_ANYWAY_S = 60.0  # heartbeats tell of what was missed, so this is a last resort, and each look costs a query


@dataclass(frozen=True, slots=True)
class Readiness:
    """How far a run time got; true when `complete`: all that was waited for is committed.

    `ready` and `late` are symbols, sorted. `late` is what is missing of those asked for; for a whole market, of those
    that the recorder found late or had in the period before. `waited` is in seconds.
    """

    feed: str
    run_time_ms: int
    complete: bool
    ready: tuple[str, ...]
    late: tuple[str, ...]
    waited: float

    def __bool__(self) -> bool:
        return self.complete


class Waiter:
    """One wait for `run_time_ms`. `ask` runs a named query of `sql/reader.sql`, `feed` finds the feed's name, `check`
    raises UsageError for symbols that it never had."""

    def __init__(
        self,
        path: Path,
        ask: Callable[..., Result],
        feed: Callable[[], str],
        *,
        run_time_ms: int,
        symbols: frozenset[str] | None,
        check: Callable[[frozenset[str]], None],
        timeout: float,
        clock: Clock,
    ) -> None:
        self._path, self._ask, self._find_feed, self._check = path, ask, feed, check
        self._run_time_ms, self._symbols = run_time_ms, symbols
        self._started = monotonic()
        self._ahead_ms = max(0, run_time_ms - clock.now_ms())
        self._timeout = timeout
        self._deadline = self._started + timeout
        self._given_up = threading.Event()
        self._feed = ""
        self._ready: set[str] = set()
        self._missing: tuple[str, ...] = ()
        self._complete = False
        self._look_at = self._started
        self._live: sidefile.Live | None = None
        self._events: Subscription | None = None
        self._heard = self._started
        self._joined = self._looked = False
        self._told_complete = 0

    async def wait(self) -> Readiness:
        """`run` in a thread of its own: those of the loop's pool are few, and waits are long."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Readiness] = loop.create_future()

        def work() -> None:
            try:
                found = self.run()
            except Exception as error:  # whatever it is, it belongs to the one who awaits
                tell(done.set_exception, error)
            else:
                tell(done.set_result, found)

        def tell(how: Callable[[Any], None], what: object) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(lambda: None if done.done() else how(what))

        threading.Thread(target=work, name="wait-ready", daemon=True).start()
        try:
            return await done
        finally:
            self._given_up.set()

    def run(self) -> Readiness:
        """Wait, blocking this thread. Raises UsageError for unknown symbols, NothingToRead or FileHeld when there is
        nothing to ask at the end."""
        try:
            self._feed = self._find_feed()
            if self._ahead_ms <= _longest_ms(self._feed):
                self._deadline += self._ahead_ms / 1000
            unchecked = self._symbols is not None
            while not self._complete:
                self._subscribe()
                problem = self._look() if monotonic() >= self._look_at else None
                if unchecked and not self._complete and problem is None:
                    self._check((self._symbols or frozenset()) - self._ready)
                    unchecked = False
                if self._complete or self._given_up.is_set():
                    break
                if monotonic() >= self._deadline:
                    if problem is not None:
                        raise problem
                    break
                self._listen()
            return self._told()
        finally:
            self._unsubscribe()

    def _subscribe(self) -> None:
        """Be subscribed to the recorder that is alive, if one is."""
        now = monotonic()
        if self._events is not None and now - self._heard < _SILENCE_S:
            return
        live = sidefile.find(self._path)
        if live is not None and live == self._live:
            return
        self._unsubscribe()
        self._live = live
        if live is not None:
            topic = topic_of("complete" if self._symbols is None else "ready", self._feed)
            self._events = Subscription(live.events_address, (topic, HEARTBEAT))
            self._heard, self._joined, self._looked, self._look_at = now, False, False, now

    def _unsubscribe(self) -> None:
        if self._events is not None:
            self._events.close()
            self._events = None

    def _look(self) -> Exception | None:
        now = monotonic()
        if self._events is None:
            self._look_at = now + _AT_REST_S
        elif not self._looked:
            self._looked, self._look_at = True, now + _JOIN_S
        else:
            self._look_at = now + _ANYWAY_S
        try:
            row = self._ask("look", feed=self._feed, run_time=from_ms(self._run_time_ms)).one()
        except (NothingToRead, FileHeld) as error:  # between two recorders
            self._look_at = now + _AT_REST_S
            return error
        items, complete_at, missing = row if row is not None else ((), None, ())
        self._ready, self._missing = set(items), tuple(missing)
        self._complete = complete_at is not None if self._symbols is None else self._symbols <= self._ready
        return None

    def _listen(self) -> None:
        now = monotonic()
        seconds = max(0.0, min(_SLICE_S, self._look_at - now, self._deadline - now))
        if self._events is None:
            self._given_up.wait(seconds)
            return
        message = self._events.receive(seconds)
        if message is None:
            return
        header = message.header
        self._heard = monotonic()
        if message.kind == HEARTBEAT:
            self._follow(header)
            newest = header["complete"].get(self._feed, 0)
            if not self._joined or newest == self._run_time_ms != self._told_complete:
                self._told_complete = newest
                self._joined, self._look_at = True, self._heard
        elif message.feed == self._feed and header["run_time_ms"] == self._run_time_ms:
            items = header["items"]
            if items is None or header.get("state", RunState.COMPLETE) != RunState.COMPLETE:
                self._look_at = self._heard
            else:  # it is committed: no need to ask, which fifty at once would do
                self._ready.update(items)
                self._complete = self._symbols is None or self._symbols <= self._ready

    def _follow(self, heartbeat: Mapping[str, Any]) -> None:
        """The recorder's clock says when the run time is: that of a stand-in may be shifted, or run faster."""
        ahead_ms = self._run_time_ms - heartbeat["now_ms"]
        if 0 < ahead_ms <= _longest_ms(self._feed):
            self._deadline = self._heard + ahead_ms / 1000 / heartbeat.get("rate", 1.0) + self._timeout

    def _told(self) -> Readiness:
        ready = self._ready - {EXGINFO_ITEM, FUNDING_ITEM}
        late: set[str] = set()
        if not self._complete and not self._given_up.is_set():
            expected = self._symbols
            if expected is None:
                before = self._ask("expected", feed=self._feed, run_time=from_ms(self._run_time_ms))
                expected = frozenset(self._missing) | {str(row[0]) for row in before}
            late = set(expected - ready)
        return Readiness(
            feed=self._feed,
            run_time_ms=self._run_time_ms,
            complete=self._complete,
            ready=tuple(sorted(ready if self._symbols is None else ready & self._symbols)),
            late=tuple(sorted(late)),
            waited=monotonic() - self._started,
        )


def _longest_ms(feed: str) -> int:
    """The longest time until the next run time of a feed; later ones are not waited for beyond the timeout."""
    interval = feed.rpartition("_")[2]
    return 31 * DAY_MS if interval in ("1mo", "1M") else Interval.parse(interval).length_ms
