"""What the recorder tells: frozen events, rendered by whoever listens (console, JSON lines, alerts).

Every event is plain data with times in milliseconds of the exchange's clock; nothing in the recorder prints.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

__all__ = [
    "Event",
    "ExchangeInfoUpdated",
    "HistoryDone",
    "HistoryPlanned",
    "HistoryRound",
    "ListenGroup",
    "Notice",
    "Report",
    "RunComplete",
    "RunLate",
    "RunProgress",
    "RunStarted",
    "Severity",
    "Started",
    "Stopped",
    "SymbolsChanged",
]


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Started:
    """The recorder starts on `database`; `resumed` tells whether the file was there already."""

    at_ms: int
    version: str
    database: Path
    feeds: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]  # (name, value) as shown to the user, secrets masked
    resumed: bool


@dataclass(frozen=True, slots=True)
class HistoryPlanned:
    """`missing` bars of `symbols` symbols are to be fetched; the rest of the window is in the file already."""

    at_ms: int
    feed: str
    symbols: int
    missing: int


@dataclass(frozen=True, slots=True)
class HistoryRound:
    """One round of history: a page for every symbol that lacks bars."""

    at_ms: int
    feed: str
    round: int
    used_weight: int
    weight_limit: int
    first_symbol: str
    last_symbol: str
    finished: int
    left: int
    fetched_bars: int
    planned_bars: int


@dataclass(frozen=True, slots=True)
class HistoryDone:
    at_ms: int
    feed: str
    used_weight: int
    fetched_bars: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ListenGroup:
    """One websocket connection carries `streams` streams."""

    at_ms: int
    feed: str
    group: int
    streams: int


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The boundary `run_time_ms` has passed; `expected` symbols are waited for."""

    at_ms: int
    feed: str
    run_time_ms: int
    expected: int


@dataclass(frozen=True, slots=True)
class ExchangeInfoUpdated:
    at_ms: int
    feed: str
    run_time_ms: int
    symbols: int


@dataclass(frozen=True, slots=True)
class RunProgress:
    at_ms: int
    feed: str
    run_time_ms: int
    ready: int
    expected: int


@dataclass(frozen=True, slots=True)
class RunComplete:
    """The whole market of `run_time_ms` is committed, at `at_ms`. The last of it, `last_item`, came at `last_at_ms`,
    `late_ms` after the boundary."""

    at_ms: int
    feed: str
    run_time_ms: int
    expected: int
    repaired: int
    last_item: str | None
    last_at_ms: int
    late_ms: int


@dataclass(frozen=True, slots=True)
class RunLate:
    """The deadline of `run_time_ms` passed without `missing`; repair goes on in the background."""

    at_ms: int
    feed: str
    run_time_ms: int
    expected: int
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SymbolsChanged:
    """Symbols that the feed records from now on, and those it no longer expects (their rows stay)."""

    at_ms: int
    feed: str
    listed: tuple[str, ...]
    delisted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Notice:
    """Anything else worth a line: `topic` groups them (stream, silence, rest, limit, frames, store, disk, serve, clock,
    watchdog, halt, settings). Alerts are decided by it: see `bmacdb.alerts.rules`."""

    at_ms: int
    severity: Severity
    topic: str
    text: str
    feed: str | None = None


@dataclass(frozen=True, slots=True)
class Stopped:
    """The recorder ended and the file is clean; `reason` is 'signal', 'periods' or 'error'."""

    at_ms: int
    reason: str
    periods: int
    candles: int


Event = (
    Started
    | HistoryPlanned
    | HistoryRound
    | HistoryDone
    | ListenGroup
    | RunStarted
    | ExchangeInfoUpdated
    | RunProgress
    | RunComplete
    | RunLate
    | SymbolsChanged
    | Notice
    | Stopped
)
Report = Callable[[Event], None]
"""Takes an event at once and never raises; must not block."""
