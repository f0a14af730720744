"""What the record holds of a feed, asked through the one door of readers: a file at rest or a live recorder."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pyarrow as pa

from bmacdb.clock import from_ms, to_ms
from bmacdb.model import Feed, Gap, GapState, Segment, SymbolInfo
from bmacdb.sql import queries
from bmacdb.store.pieces import patiently, symbol_pieces
from bmacdb.store.reader import Reader

__all__ = [
    "FOR_EVER_MS",
    "disagreements",
    "known_symbols",
    "recorded_candles",
    "recorded_feed",
    "recorded_fundings",
    "recorded_gaps",
    "recorded_segments",
]

FOR_EVER_MS = 253_370_764_800_000
"""The year 9999: later than any bar."""

_PIECE_ROWS = 500_000  # of each row this takes a symbol and a number


def _ask(reader: Reader, name: str, **values: object) -> list[tuple[Any, ...]]:
    return list(patiently(lambda: reader.sql(queries("recorded")[name].sql, values)))


def _names(symbols: Collection[str] | None) -> list[str] | None:
    return None if symbols is None else sorted(symbols)


def known_symbols(reader: Reader, feed: Feed) -> dict[str, SymbolInfo]:
    """The newest trading rules of each symbol. Raises ReadError (no such file, no feed in it)."""
    found = [SymbolInfo(*row) for row in _ask(reader, "symbols", feed=feed.name)]
    return {info.symbol: info for info in found}


def recorded_segments(reader: Reader, feed: Feed, symbols: Collection[str] | None = None) -> dict[str, list[Segment]]:
    """The unbroken runs of bars of each symbol, in order."""
    interval, grid = feed.interval, {}
    if interval.name != "1M":
        grid = {"anchor": 1000 * interval.anchor_ms, "length": 1000 * interval.length_ms}
    found: dict[str, list[Segment]] = {}
    for group, _ in symbol_pieces(reader, feed.name, symbols=symbols, start_ms=0, end_ms=FOR_EVER_MS, rows=_PIECE_ROWS):
        for symbol, first_ms, last_ms in _ask(
            reader, "segments" if grid else "months", feed=feed.name, symbols=group, **grid
        ):
            segments = found.setdefault(symbol, [])
            if segments and segments[-1].end_ms == first_ms:
                first_ms = segments.pop().start_ms
            segments.append(Segment(first_ms, interval.next(last_ms)))
    return found


def recorded_feed(reader: Reader, feed: Feed) -> Feed:
    """The feed on the grid that the file has of it (which matters for `3d`). Raises UsageError where there is none."""
    name = reader.feed_name(feed.name)
    anchor = next(row[4] for row in reader.feeds() if row[0] == name)
    return replace(feed, interval=feed.interval.anchored(to_ms(anchor)))


def recorded_gaps(reader: Reader, feed: Feed, symbols: Collection[str] | None = None) -> list[Gap]:
    """Every hole that was ever noted, by symbol and time."""
    rows = _ask(reader, "gaps", feed=feed.name, symbols=_names(symbols))
    return [
        Gap(symbol, start, end, GapState(state), reason, found, closed)
        for symbol, start, end, state, reason, found, closed in rows
    ]


def disagreements(
    reader: Reader, feed: Feed, symbols: Collection[str] | None = None, *, start_ms: int = 0, end_ms: int | None = None
) -> list[tuple[Any, ...]]:
    """What `corrections` holds, summed up, the most frequent first: recorded source, later source, which one stands,
    bars, symbols, first and last open time, when the last one was noticed."""
    return _ask(
        reader,
        "disagreements",
        feed=feed.name,
        symbols=_names(symbols),
        start=from_ms(start_ms),
        end=from_ms(FOR_EVER_MS if end_ms is None else end_ms),
    )


def recorded_fundings(reader: Reader, feed: Feed, symbol: str, *, start_ms: int, end_ms: int) -> list[int]:
    """When settled fundings of a symbol are recorded, in [start, end], in order."""
    bounds = {"start": from_ms(start_ms), "end": from_ms(end_ms)}
    return [row[0] for row in _ask(reader, "fundings", feed=feed.name, symbol=symbol, **bounds)]


def recorded_candles(reader: Reader, feed: Feed, symbol: str, *, start_ms: int, end_ms: int) -> pa.Table:
    """The bars of a symbol that open in [start, end), in order: open_time, the values, source."""
    values = {"feed": feed.name, "symbol": symbol, "start": from_ms(start_ms), "end": from_ms(end_ms)}
    return reader.sql(queries("recorded")["candles"].sql, values).arrow()
