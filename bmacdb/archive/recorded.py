"""What the record holds of a feed, asked through the one door of readers: a file at rest or a live recorder."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from bmacdb.clock import from_ms
from bmacdb.interval import DAY_MS
from bmacdb.model import Feed, Gap, GapState, Segment, SymbolInfo
from bmacdb.sql import queries
from bmacdb.store.reader import Reader

__all__ = ["FOR_EVER_MS", "Span", "known_symbols", "recorded_candles", "recorded_gaps", "recorded_segments", "spans"]

FOR_EVER_MS = 253_370_764_800_000
"""The year 9999: later than any bar."""


@dataclass(frozen=True, slots=True)
class Span:
    """The bars of a symbol: the first and the last open time, and how many there are."""

    first_ms: int
    last_ms: int
    bars: int


def _ask(reader: Reader, name: str, **values: object) -> list[tuple[Any, ...]]:
    return list(reader.sql(queries("recorded")[name].sql, values))


def _names(symbols: Collection[str] | None) -> list[str] | None:
    return None if symbols is None else sorted(symbols)


def known_symbols(reader: Reader, feed: Feed) -> dict[str, SymbolInfo]:
    """The newest trading rules of each symbol. Raises ReadError (no such file, no feed in it)."""
    found = [SymbolInfo(*row) for row in _ask(reader, "symbols", feed=feed.name)]
    return {info.symbol: info for info in found}


def spans(reader: Reader, feed: Feed, symbols: Collection[str] | None = None) -> dict[str, Span]:
    """The extent of each symbol's bars."""
    rows = _ask(reader, "spans", feed=feed.name, symbols=_names(symbols))
    return {str(symbol): Span(first, last, bars) for symbol, first, last, bars in rows}


def recorded_segments(
    reader: Reader, feed: Feed, extents: dict[str, Span], *, symbols: Collection[str] | None = None
) -> dict[str, list[Segment]]:
    """The unbroken runs of bars of each symbol in `extents` (as `spans` gave them), in order."""
    interval = feed.interval
    found = {symbol: [Segment(span.first_ms, interval.next(span.last_ms))] for symbol, span in extents.items()}
    step = f"{31 * DAY_MS} milliseconds" if interval.name == "1M" else f"{interval.length_ms} milliseconds"
    rows = _ask(
        reader,
        "jumps",
        feed=feed.name,
        symbols=_names(symbols),
        start=from_ms(0),
        end=from_ms(FOR_EVER_MS),
        step=step,
    )
    for symbol, before, after in rows:
        if (segments := found.get(str(symbol))) is not None:
            last = segments.pop()
            segments += [
                Segment(last.start_ms, interval.next(before)),
                Segment(after, last.end_ms),
            ]
    return found


def recorded_gaps(reader: Reader, feed: Feed, symbols: Collection[str] | None = None) -> list[Gap]:
    """Every hole that was ever noted, by symbol and time."""
    rows = _ask(reader, "gaps", feed=feed.name, symbols=_names(symbols))
    return [
        Gap(symbol, start, end, GapState(state), reason, found, closed)
        for symbol, start, end, state, reason, found, closed in rows
    ]


def recorded_candles(reader: Reader, feed: Feed, symbol: str, *, start_ms: int, end_ms: int) -> pa.Table:
    """The bars of a symbol that open in [start, end), in order: open_time, the values, source."""
    values = {"feed": feed.name, "symbol": symbol, "start": from_ms(start_ms), "end": from_ms(end_ms)}
    return reader.sql(queries("recorded")["candles"].sql, values).arrow()
