"""What the recorder tells, for people and for log collectors: text lines, a progress bar, or JSON lines.

The lines are the predecessor's, because its users know them. Rendering and writing happen on a thread of their
own: a terminal that is paused or a pipe nobody reads must not hold the recorder up.
"""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from bmacdb.clock import format_ms, from_ms
from bmacdb.recorder.events import (
    Event,
    ExchangeInfoUpdated,
    HistoryDone,
    HistoryPlanned,
    HistoryRound,
    ListenGroup,
    Notice,
    Report,
    RunComplete,
    RunLate,
    RunProgress,
    RunStarted,
    Severity,
    Started,
    Stopped,
    SymbolsChanged,
)

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["JsonLines", "TextLines", "reporting"]

_QUEUE_EVENTS = 10_000
_CLOSE_SECONDS = 5.0
_NAMES_SHOWN = 10

_FALLBACK = {"✅": "OK", "●": "*", "⚠": "!", "❌": "ERROR"}


@contextmanager
def reporting(log_format: str, zone: tzinfo | None, *, stream: TextIO | None = None) -> Iterator[Report]:
    """A Report that prints to `stream` (stderr when None): rich on a terminal, plain lines elsewhere, or JSON lines.

    It never blocks and never raises. When the reader of `stream` does not keep up, events beyond 10,000 are dropped
    and counted; when it is gone, printing ends and recording goes on.
    """
    target = sys.stderr if stream is None else stream
    lines: JsonLines | TextLines = JsonLines(target) if log_format == "json" else TextLines(target, zone)
    printer = _Printer(lines)
    try:
        yield printer.put
    finally:
        printer.close()


class _Printer:
    """The thread between the recorder and a stream."""

    def __init__(self, lines: JsonLines | TextLines) -> None:
        self._lines = lines
        self._events: queue.Queue[Event | None] = queue.Queue(_QUEUE_EVENTS)
        self._dropped = 0
        self._thread = threading.Thread(target=self._print, name="console", daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        if not self._thread.is_alive():
            return
        try:
            self._events.put_nowait(event)
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        try:
            self._events.put(None, timeout=_CLOSE_SECONDS)
        except queue.Full:
            return  # nobody reads; the thread is a daemon
        self._thread.join(_CLOSE_SECONDS)

    def _print(self) -> None:
        try:
            while (event := self._events.get()) is not None:
                if self._dropped:
                    dropped, self._dropped = self._dropped, 0
                    text = f"{dropped} lines were not printed: the reader of this log does not keep up."
                    self._lines(Notice(event.at_ms, Severity.WARNING, "console", text))
                self._lines(event)
            self._lines.close()
        except (OSError, ValueError):  # the terminal or pipe is gone (closed file: ValueError); record on without it
            return


class JsonLines:
    """One JSON object an event: `event` is its name, instants are ISO 8601 in UTC."""

    _INSTANTS = frozenset({"at_ms", "run_time_ms", "last_at_ms"})

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, event: Event) -> None:
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
        shown: dict[str, object] = {"event": name}
        for field in dataclasses.fields(event):
            value = getattr(event, field.name)
            if field.name in self._INSTANTS:
                moment = from_ms(value).isoformat(timespec="milliseconds").replace("+00:00", "Z")
                shown[field.name.removesuffix("_ms")] = moment
            elif field.name == "settings":
                shown[field.name] = dict(value)
            else:
                shown[field.name] = str(value) if isinstance(value, Path) else value
        self._stream.write(json.dumps(shown) + "\n")  # escaped to ASCII: no console encoding can break it
        self._stream.flush()

    def close(self) -> None:
        self._stream.flush()


class TextLines:
    """The predecessor's lines; on a terminal with colour, and a progress bar in place of the rounds of history."""

    def __init__(self, stream: TextIO, zone: tzinfo | None) -> None:
        self._stream, self._zone = stream, zone
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._signs = {sign: self._encodable(sign, other) for sign, other in _FALLBACK.items()}
        self._several = False  # feeds: then lines name theirs
        self._run_time_ms: dict[str, int] = {}
        self._ready: dict[str, tuple[int, int]] = {}
        capable = stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
        self._bar = _Bar(stream, self._time) if capable else None

    def _encodable(self, sign: str, other: str) -> str:
        try:
            sign.encode(self._encoding)
        except (UnicodeEncodeError, LookupError):
            return other
        return sign

    def close(self) -> None:
        if self._bar:
            self._bar.close()
        self._stream.flush()

    def _time(self, ms: int) -> str:
        return format_ms(ms, self._zone)

    def _whole(self, ms: int) -> str:
        """A boundary, which has no fraction: 2024-08-03 12:51:00+08:00."""
        return from_ms(ms).astimezone(self._zone).isoformat(sep=" ", timespec="seconds")

    def _line(self, text: str, *, sign: str = "", style: str = "") -> None:
        line = f"{self._signs[sign]} {text}" if sign else text
        line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
        line = line.encode(self._encoding, "backslashreplace").decode(self._encoding)
        if self._bar:
            self._bar.print(line, style)
        else:
            self._stream.write(line + "\n")
            self._stream.flush()

    def __call__(self, event: Event) -> None:
        at = self._time(event.at_ms)
        match event:
            case Started():
                self._started(event)
            case HistoryPlanned() | HistoryRound() | HistoryDone():
                self._history(event)
            case ListenGroup():
                self._line(f"{self._of(event.feed)}Create WS listen group {event.group}, {event.streams} symbols")
            case RunStarted():
                self._run_time_ms[event.feed] = event.run_time_ms
                trade_type, _, interval = event.feed.rpartition("_")
                title = f"Bmac {'1M' if interval == '1mo' else interval} {trade_type} update"
                self._line(f"===== {title} Runtime={self._whole(event.run_time_ms)} =====", style="bold")
            case ExchangeInfoUpdated():
                self._line(f"{at}, {self._of(event.feed)}Exchange infos updated", sign="✅", style="green")
            case RunProgress():
                if self._ready.get(event.feed) == (event.run_time_ms, event.ready):
                    return
                self._ready[event.feed] = (event.run_time_ms, event.ready)
                self._line(f"{at}, {self._of(event.feed)}{event.ready}/{event.expected} symbols ready")
            case RunComplete():
                self._complete(event)
            case RunLate():
                ready = f"{event.expected - len(event.missing)}/{event.expected} symbols ready at the deadline"
                missing = f"missing {_some(event.missing)}; repair goes on"
                self._line(f"{at}, {self._of(event.feed)}{ready}, {missing}", sign="⚠", style="yellow")
            case SymbolsChanged():
                for what, names in (("Listed", event.listed), ("Delisted", event.delisted)):
                    if names:
                        self._line(f"{at}, {self._of(event.feed)}{what} {_some(names)}", sign="●")
            case Notice():
                sign, style = {
                    Severity.INFO: ("●", ""),
                    Severity.WARNING: ("⚠", "yellow"),
                    Severity.ERROR: ("❌", "bold red"),
                }[event.severity]
                of = f"{event.feed} " if event.feed and self._several else ""
                self._line(f"{at}, {of}{event.topic}: {event.text}", sign=sign, style=style)
            case Stopped():
                done = f"{event.periods} run times, {event.candles} candles recorded"
                why = {"periods": "", "error": " after an error"}.get(event.reason, f" by {event.reason}")
                self._line(f"===== Stopped{why} {at}, {done} =====", style="bold")

    def _of(self, feed: str) -> str:
        return f"{feed} " if self._several else ""

    def _started(self, event: Started) -> None:
        self._several = len(event.feeds) > 1
        self._line(f"===== Start bmacdb {event.version} {self._whole(event.at_ms)} =====", style="bold")
        self._line(", ".join(f"{name}={value}" for name, value in event.settings), sign="●")
        state = "resuming" if event.resumed else "initializing"
        self._line(f"Database {event.database}, {state}", sign="●")

    def _complete(self, event: RunComplete) -> None:
        shown = self._run_time_ms.get(event.feed) == event.run_time_ms
        of_run = "" if shown else f" for Runtime={self._whole(event.run_time_ms)}"
        of = self._of(event.feed)
        self._line(f"{self._time(event.at_ms)}, {of}all symbols ready{of_run}", sign="✅", style="green")
        repaired = f", {event.repaired} by REST" if event.repaired else ""
        late = f"{event.late_ms / 1000:.3f} s after the boundary"
        last = f"Last updated {event.last_item or '-'} {self._time(event.last_at_ms)}"
        self._line(f"{of}{last}, complete {late}{repaired}", sign="●")

    def _history(self, event: HistoryPlanned | HistoryRound | HistoryDone) -> None:
        of = self._of(event.feed)
        match event:
            case HistoryPlanned(missing=0):
                self._line(f"{of}History of {event.symbols} symbols is in the file already", sign="●")
            case HistoryPlanned():
                self._line(f"{of}History: {event.missing} candles of {event.symbols} symbols to fetch", sign="●")
                if self._bar:
                    self._bar.begin(event)
            case HistoryRound() if self._bar:
                self._bar.advance(event)
            case HistoryRound():
                self._line(f"----- {of}Init history round {event.round} {self._whole(event.at_ms)} -----")
                self._line(f"Server time: {self._time(event.at_ms)}, Used weight: {event.used_weight}")
                self._line(f"Symbol range: {event.first_symbol} -- {event.last_symbol}")
                self._line(f"{event.finished} finished, {event.left} left", sign="✅")
            case HistoryDone():
                if self._bar:
                    self._bar.end(event.feed)
                at = f"Server time: {self._time(event.at_ms)}, Used weight: {event.used_weight}"
                self._line(f"{of}History initialized, {at}", sign="✅", style="green")


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


class _Bar:
    """A terminal: lines, and below them one progress bar a feed while history is fetched."""

    def __init__(self, stream: TextIO, time_of: Callable[[int], str]) -> None:
        from rich.console import Console

        self._console = Console(file=stream, highlight=False)
        self._time = time_of
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def print(self, line: str, style: str) -> None:
        self._console.print(line, style=style or None, markup=False, emoji=False, soft_wrap=True)

    def begin(self, event: HistoryPlanned) -> None:
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        if self._progress is None:
            # On a narrow terminal the last column alone is folded.
            self._progress = Progress(
                TextColumn("{task.description}", table_column=Column(no_wrap=True)),
                BarColumn(16, table_column=Column(no_wrap=True)),
                TextColumn("{task.completed:.0f}/{task.total:.0f}", table_column=Column(no_wrap=True)),
                TextColumn("{task.fields[at]}", table_column=Column()),
                console=self._console,
                auto_refresh=False,
                transient=True,
            )
            self._progress.start()
        if event.feed not in self._tasks:
            self._tasks[event.feed] = self._progress.add_task(event.feed, total=event.missing, at="")
        self._progress.refresh()

    def advance(self, event: HistoryRound) -> None:
        if self._progress is None or event.feed not in self._tasks:
            return
        at = (
            f"round {event.round} · {self._time(event.at_ms)[11:19]} · "
            f"weight {event.used_weight}/{event.weight_limit} · "
            f"{event.first_symbol}--{event.last_symbol} · {event.finished} finished, {event.left} left"
        )
        task = self._tasks[event.feed]
        self._progress.update(task, completed=event.fetched_bars, total=event.planned_bars, at=at, refresh=True)

    def end(self, feed: str) -> None:
        task = self._tasks.pop(feed, None)
        if self._progress is not None and task is not None:
            self._progress.remove_task(task)
            if not self._tasks:
                self.close()

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
            self._tasks.clear()
