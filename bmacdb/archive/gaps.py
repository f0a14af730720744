"""Which bars are missing: every one between a symbol's listing and its delisting that the record does not have."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum

from bmacdb.archive.holes import clipped, joined, minus
from bmacdb.archive.members import NEVER_MS
from bmacdb.archive.recorded import known_symbols, recorded_gaps, recorded_segments
from bmacdb.interval import MINUTE_MS, Interval
from bmacdb.model import Feed, Gap, GapState, Segment, SymbolInfo
from bmacdb.store.reader import Reader

__all__ = ["Hole", "HoleKind", "Record", "find_holes", "look_up"]

_SETTLED_MS = MINUTE_MS  # bars that closed more recently are on their way


class HoleKind(StrEnum):
    """What a stretch of missing bars is."""

    HOLE = "hole"  # in the record: the exchange may have the bars
    HALT = "halt"  # of the exchange: it was asked, and made none
    BEFORE = "before"  # from the listing to the first bar in the record: history that was not fetched


@dataclass(frozen=True, slots=True)
class Hole:
    """Bars of `symbol` that open in [start, end) and are not there: `bars` of them."""

    symbol: str
    start_ms: int
    end_ms: int
    bars: int
    kind: HoleKind
    reason: str


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a feed: its symbols, their unbroken runs of bars, and the holes that were noted."""

    infos: dict[str, SymbolInfo]
    segments: dict[str, list[Segment]]
    gaps: list[Gap]


def look_up(reader: Reader, feed: Feed, symbols: Collection[str] | None = None) -> Record:
    """Ask the record. Raises ReadError."""
    infos = known_symbols(reader, feed)
    if symbols is not None:
        infos = {symbol: info for symbol, info in infos.items() if symbol in symbols}
    return Record(infos, recorded_segments(reader, feed, symbols), recorded_gaps(reader, feed, symbols))


def _lifetime(interval: Interval, info: SymbolInfo | None, bars: list[Segment], now_ms: int) -> Segment | None:
    """The open times that a symbol should have; None when nothing tells of any."""
    first_ms = bars[0].start_ms if bars else None
    last_ms = bars[-1].end_ms if bars else None
    newest_ms = interval.floor(now_ms - _SETTLED_MS)
    begin_ms = interval.floor(info.onboard_ms) if info is not None and info.onboard_ms else None
    starts = [ms for ms in (first_ms, begin_ms) if ms is not None]
    if not starts:
        return None
    end_ms = last_ms
    if info is not None and info.status == "TRADING":
        end_ms = max(newest_ms, last_ms or 0)
    elif info is not None and info.delivery_ms and info.delivery_ms < min(now_ms, NEVER_MS):
        end_ms = max(interval.next(interval.floor(info.delivery_ms - 1)), last_ms or 0)
    return None if end_ms is None or end_ms <= min(starts) else Segment(min(starts), end_ms)


def find_holes(record: Record, feed: Feed, *, now_ms: int, start_ms: int = 0, end_ms: int | None = None) -> list[Hole]:
    """Every stretch of missing bars that opens in [start, end), by symbol and time.

    A symbol should have bars from its listing (where the exchange tells none, from its first bar) until it stopped
    trading, or until now.
    """
    interval = feed.interval
    noted: dict[str, list[Gap]] = {}
    for gap in record.gaps:
        noted.setdefault(gap.symbol, []).append(gap)
    found: list[Hole] = []
    for symbol in sorted({*record.infos, *record.segments}):
        bars = record.segments.get(symbol, [])
        life = _lifetime(interval, record.infos.get(symbol), bars, now_ms)
        if life is None:
            continue
        wanted = clipped([life], start_ms, life.end_ms if end_ms is None else end_ms)
        found += _of_symbol(interval, symbol, minus(wanted, bars), noted.get(symbol, ()), bars)
    return found


def _of_symbol(
    interval: Interval, symbol: str, missing: list[Segment], noted: Iterable[Gap], bars: list[Segment]
) -> list[Hole]:
    first_ms = bars[0].start_ms if bars else None
    noted = list(noted)
    absent = [gap for gap in noted if gap.state is GapState.ABSENT]
    found: list[Hole] = []

    def add(parts: Iterable[Segment], kind: HoleKind, reason: str) -> None:
        found.extend(
            Hole(symbol, part.start_ms, part.end_ms, interval.count(part.start_ms, part.end_ms), kind, reason)
            for part in parts
        )

    for part in missing:
        left = [part]
        for gap in absent:
            halted = clipped(left, gap.gap_start_ms, gap.gap_end_ms)
            add(halted, HoleKind.HALT, gap.reason)
            left = minus(left, halted)
        if first_ms is None or part.start_ms < first_ms:
            add(left, HoleKind.BEFORE, "not fetched")
            continue
        for gap in noted:
            if gap.state is GapState.OPEN:
                known = clipped(left, gap.gap_start_ms, gap.gap_end_ms)
                add(known, HoleKind.HOLE, gap.reason)
                left = minus(left, known)
        add(joined(left), HoleKind.HOLE, "not in the record")
    return sorted(found, key=lambda hole: hole.start_ms)
