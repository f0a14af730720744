"""The predecessor's files, kept up to date while recording: a thread of its own that reads what is committed.

The event loop only notes what became ready. The thread waits until a run time is complete, or for a moment, and then
writes; it reads through a cursor of its own, one piece at a time, so that commits do not wait for it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import duckdb
import pyarrow as pa

from bmacdb.clock import Clock
from bmacdb.errors import StoreError, Unwritable
from bmacdb.export.bmac import BmacExport
from bmacdb.export.names import names_for
from bmacdb.model import EXGINFO_ITEM, FUNDING_ITEM, Batch, Feed, SymbolInfo
from bmacdb.recorder.events import Notice, Report, Severity
from bmacdb.store.writer import Store

__all__ = ["LiveExport"]

_LINGER_S = 0.3  # what comes within this long of the first is written together
_SAY_AGAIN_S = 60.0
_EVERYTHING = "*"  # an item that is no symbol: all files


class LiveExport:
    """Keeps the files of `feeds` under `root` up to date. `told` takes notices on the event loop."""

    def __init__(
        self,
        store: Store,
        feeds: Collection[Feed],
        root: Path,
        *,
        save_type: str,
        num_candles: int,
        clock: Clock,
        report: Report,
        call: Callable[[Callable[[], None]], object],
    ) -> None:
        """`call` has something called on the event loop, from another thread (`loop.call_soon_threadsafe`)."""
        self._store, self._clock, self._report, self._call = store, clock, report, call
        self._cursor: duckdb.DuckDBPyConnection | None = None
        places = names_for(root, feeds, save_type)
        self._exports = {
            name: BmacExport(self._ask, place, num_candles=num_candles, clock=clock) for name, place in places.items()
        }
        self._changed = threading.Condition()
        self._pending: dict[str, dict[str, int]] = {}
        self._rules: dict[str, tuple[SymbolInfo, ...]] = {}
        self._hurry: set[str] = set()
        self._stopping = False
        self._said: dict[str, float] = {}
        self.written = 0
        self._thread = threading.Thread(target=self._run, name="export", daemon=True)

    def __repr__(self) -> str:
        return f"<LiveExport feeds={sorted(self._exports)} written={self.written}>"

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def filled(self, feed: str) -> None:
        """A feed's history is there: write everything as of the newest run time, before the first run comes."""
        run_time_ms = self._exports[feed].names.feed.interval.floor(self._clock.now_ms())
        with self._changed:
            self._pending.setdefault(feed, {}).setdefault(_EVERYTHING, run_time_ms)
            self._hurry.add(feed)
            self._changed.notify()

    def committed(self, batch: Batch) -> None:
        """Note what a committed batch made ready; never blocks for long."""
        if batch.feed not in self._exports:
            return
        with self._changed:
            if batch.exginfo is not None:
                self._rules[batch.feed] = batch.exginfo
            pending = self._pending.setdefault(batch.feed, {})
            for row in batch.ready:
                pending[row.item] = max(row.run_time_ms, pending.get(row.item, 0))
            if any(run.complete_at_ms is not None or run.missing for run in batch.runs):
                self._hurry.add(batch.feed)
            if pending:
                self._changed.notify()

    def stop(self) -> None:
        """Write what is ready, and end; blocks until then."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        # At no lower priority than the rest: it would be put off with the interpreter's lock in its hand.
        while (work := self._next()) is not None:
            for feed, items in work.items():
                self._exports[feed].rules = self._rules.get(feed)
                self._write(self._exports[feed], items)

    def _next(self) -> dict[str, dict[str, int]] | None:
        with self._changed:
            while not any(self._pending.values()):
                if self._stopping:
                    return None
                self._changed.wait()
            if not self._stopping:
                self._changed.wait_for(
                    lambda: (
                        self._stopping or all(feed in self._hurry for feed, items in self._pending.items() if items)
                    ),
                    _LINGER_S,
                )
            work, self._pending = self._pending, {}
            self._hurry.clear()
            return work

    def _write(self, export: BmacExport, items: Mapping[str, int]) -> None:
        """Write the files of `items`; what cannot be written is told, and written at its next run time."""
        symbols: dict[int, list[str]] = {}
        for item, run_time_ms in items.items():
            if item not in (EXGINFO_ITEM, FUNDING_ITEM, _EVERYTHING):
                symbols.setdefault(run_time_ms, []).append(item)
        try:
            if _EVERYTHING in items:
                self.written += export.export(items[_EVERYTHING])
            if EXGINFO_ITEM in items:
                export.exginfo(items[EXGINFO_ITEM])
            if FUNDING_ITEM in items:
                export.funding(items[FUNDING_ITEM])
            for run_time_ms in sorted(symbols):
                for _ in export.candles(symbols[run_time_ms], run_time_ms):
                    self.written += 1
        except (Unwritable, StoreError) as error:
            self._tell(f"{error} The files are written at the next run time.")
        except Exception as error:  # whatever it is, no file is worth the recording: it is told, and the next is tried
            self._tell(f"files cannot be made: {error!r}. This is a bug.")

    def _ask(self, query: str, params: Mapping[str, object]) -> pa.Table:
        try:
            if self._cursor is None:
                self._cursor = self._store.cursor()
                self._cursor.execute("SET TimeZone = 'UTC'")
            return self._cursor.execute(query, dict(params)).to_arrow_table()
        except duckdb.Error as error:
            self._cursor = None  # the database may have been reopened after a fault
            raise StoreError(f"the database could not be read for the export: {error}.") from error

    def _tell(self, text: str) -> None:
        now = self._clock.monotonic()
        if now - self._said.get(text, -_SAY_AGAIN_S) < _SAY_AGAIN_S:
            return
        self._said = {text: now}
        notice = Notice(self._clock.now_ms(), Severity.ERROR, "export", text)
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            self._call(lambda: self._report(notice))
