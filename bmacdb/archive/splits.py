"""Relistings: a ticker that was used again is two assets under one name. Told apart on request; the record stays.

A pause in trading of two days or more, or of one with a move of ten per cent or more, splits a symbol. Its parts are
called `SP0_LUNAUSDT`, `SP1_LUNAUSDT`, …, and the last one has the name itself.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import pyarrow as pa

from bmacdb.archive.recorded import FOR_EVER_MS, recorded_feed, recorded_segments
from bmacdb.clock import from_ms
from bmacdb.errors import UsageError
from bmacdb.interval import DAY_MS
from bmacdb.model import Feed
from bmacdb.sql import queries
from bmacdb.store.reader import Reader

__all__ = ["Part", "Thresholds", "find_parts", "part_candles", "split_candles"]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What splits: a pause of `long_ms`, or one of `short_ms` with a move of `move` (0.1 is ten per cent)."""

    short_ms: int = DAY_MS
    long_ms: int = 2 * DAY_MS
    move: float = 0.1

    def __post_init__(self) -> None:
        if self.short_ms < 0 or self.long_ms < 0 or self.move < 0:
            raise UsageError("the thresholds of a split are lengths of time and a share: none is below zero.")


@dataclass(frozen=True, slots=True)
class Part:
    """One asset that had the name `symbol`: its bars open in [start, end). `pause_ms` and `move` (a share) are of the
    pause before it; None for the first."""

    name: str
    symbol: str
    start_ms: int
    end_ms: int
    pause_ms: int | None = None
    move: float | None = None


def find_parts(
    reader: Reader, feed: Feed, *, symbols: Collection[str] | None = None, thresholds: Thresholds | None = None
) -> list[Part]:
    """The parts of every symbol that has more than one, by symbol and time; with `symbols`, of those in any case."""
    feed, thresholds = recorded_feed(reader, feed), thresholds or Thresholds()
    interval = feed.interval
    values = {
        "feed": feed.name,
        "symbols": None if symbols is None else sorted(symbols),
        "length": interval.length_ms,
        "short": thresholds.short_ms,
        "long": thresholds.long_ms,
        "move": thresholds.move,
    }
    cuts: dict[str, list[tuple[int, int, float]]] = {}
    for symbol, before, after, close, open_ in reader.sql(queries("recorded")["cuts"].sql, values):
        cuts.setdefault(symbol, []).append((before, after, open_ / close - 1))
    parts: list[Part] = []
    for symbol, segments in sorted(recorded_segments(reader, feed, symbols).items()):
        found = cuts.get(symbol, [])
        if not found and symbols is None:
            continue
        names = [f"SP{number}_{symbol}" for number in range(len(found))] + [symbol]
        starts = [(segments[0].start_ms, None, None)] + [
            (after, after - interval.next(before), move) for before, after, move in found
        ]
        ends = [interval.next(before) for before, _, _ in found] + [segments[-1].end_ms]
        parts += [
            Part(name, symbol, start_ms, end_ms, pause_ms, move)
            for name, (start_ms, pause_ms, move), end_ms in zip(names, starts, ends, strict=True)
        ]
    return parts


def part_candles(reader: Reader, feed: Feed, part: Part, *, fill: bool = False) -> pa.Table:
    """The bars of one part under its own name, as the table `candles` has them.

    With `fill`, holes are flat bars: every price the close before, volumes 0, source `fill`. They are made for the
    answer, and not written.
    """
    values = {
        "feed": feed.name,
        "symbol": part.symbol,
        "name": part.name,
        "start": from_ms(part.start_ms),
        "end": from_ms(min(part.end_ms, FOR_EVER_MS)),
        "fill": fill,
        "step": feed.interval.step,
    }
    return reader.sql(queries("recorded")["part"].sql, values).arrow()


def split_candles(
    reader: Reader,
    name: str,
    *,
    feed: Feed,
    fill: bool = False,
    thresholds: Thresholds | None = None,
) -> pa.Table:
    """The bars of a split name: `SP0_LUNAUSDT`, or `LUNAUSDT` for the last of its parts. Raises UsageError."""
    prefix, _, rest = name.partition("_")
    symbol = rest if prefix.startswith("SP") and prefix[2:].isdigit() and rest else name
    parts = find_parts(reader, feed, symbols=[symbol], thresholds=thresholds)
    for part in parts:
        if part.name == name:
            return part_candles(reader, feed, part, fill=fill)
    there = ", ".join(part.name for part in parts) or "none"
    raise UsageError(f"{name!r} is no part of {symbol} in {feed.name}; there are: {there}.")
