"""Unbroken runs of bars, found on a feed's grid."""

from __future__ import annotations

from collections.abc import Collection

import duckdb

from bmacdb.interval import Interval
from bmacdb.model import Segment
from bmacdb.sql import queries

__all__ = ["find_segments"]


def find_segments(
    connection: duckdb.DuckDBPyConnection,
    interval: Interval,
    *,
    start_ms: int,
    end_ms: int,
    symbols: Collection[str] | None,
) -> dict[str, tuple[Segment, ...]]:
    """The segments of each symbol of the feed at hand that open in [start, end), oldest first."""
    query = queries("segments")["months" if interval.name == "1M" else "grid"].sql
    values: dict[str, object] = {
        "start": 1000 * start_ms,
        "end": 1000 * end_ms,
        "symbols": None if symbols is None else list(symbols),
    }
    if interval.name != "1M":
        values |= {"anchor": 1000 * interval.anchor_ms, "length": 1000 * interval.length_ms}
    found: dict[str, list[Segment]] = {}
    for symbol, first_ms, last_ms in connection.execute(query, values).fetchall():
        segments = found.setdefault(symbol, [])
        if segments and segments[-1].end_ms == first_ms:
            first_ms = segments.pop().start_ms
        segments.append(Segment(first_ms, interval.next(last_ms)))
    return {symbol: tuple(segments) for symbol, segments in found.items()}
