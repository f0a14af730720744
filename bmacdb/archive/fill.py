"""Repair: holes are filled from the archive first, from REST next; what neither has is absent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from bmacdb.archive.client import ArchiveClient
from bmacdb.archive.download import Outcome, Wanted, download, list_files
from bmacdb.archive.gaps import Hole, HoleKind, Record
from bmacdb.archive.holes import clipped, joined, minus, settled
from bmacdb.archive.layout import Kind
from bmacdb.archive.load import Found, read_file
from bmacdb.archive.mirror import Mirror
from bmacdb.archive.sink import Sink
from bmacdb.clock import Clock, ServerClock
from bmacdb.errors import ExchangeError, Malformed, Rejected
from bmacdb.exchange.rest import PAGE_ROWS, RestClient, retrying
from bmacdb.interval import MINUTE_MS, Interval
from bmacdb.model import Candle, Feed, Gap, GapState, Segment, SymbolInfo

__all__ = ["Exchange", "Filled", "fill"]

_PROOF_AGE_MS = 10 * MINUTE_MS  # after its close a bar must be unknown for so long: REST lags
_ATTEMPTS = 5
_ABSENT = "neither the archive nor REST has such bars"


@dataclass(slots=True)
class Filled:
    """What a repair came to, in bars; `notes` tell what could not be asked."""

    missing: int = 0
    from_archive: int = 0
    from_rest: int = 0
    absent: int = 0
    open: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Exchange:
    """REST, and the clock that its client keeps."""

    client: RestClient
    clock: ServerClock


@dataclass(slots=True)
class _Symbol:
    """One symbol's holes, and what has become of them."""

    holes: list[Segment]
    history: list[Segment]
    filled: list[Segment] = field(default_factory=list)
    unasked: list[Segment] = field(default_factory=list)  # the archive has a file of it that could not be had
    answered: list[Segment] = field(default_factory=list)  # REST was asked, or does not know the symbol

    @property
    def left(self) -> list[Segment]:
        return minus(self.holes, self.filled)


async def fill(
    record: Record,
    holes: Iterable[Hole],
    sink: Sink,
    *,
    archive: ArchiveClient | None,
    mirror: Mirror,
    rest: Exchange | None,
    clock: Clock,
    step: Callable[[], None] = lambda: None,
) -> Filled:
    """Repair `holes` (those of kind halt are left alone). `step` is called for each symbol that is through.

    None for `archive` or `rest` leaves it out, and then nothing is proved absent. A second run finds nothing to do.
    """
    feed, report = sink.feed, Filled()
    symbols: dict[str, _Symbol] = {}
    for hole in holes:
        if hole.kind is not HoleKind.HALT:
            one = symbols.setdefault(hole.symbol, _Symbol([], []))
            one.holes.append(Segment(hole.start_ms, hole.end_ms))
            if hole.kind is HoleKind.BEFORE:
                one.history.append(one.holes[-1])
            report.missing += hole.bars
    asked = archive is not None and await _from_archive(symbols, sink, archive, mirror, clock, record.infos, report)
    noted: dict[str, list[Gap]] = {}
    for gap in record.gaps:
        noted.setdefault(gap.symbol, []).append(gap)
    for symbol, one in symbols.items():
        if rest is not None:
            rest = await _from_rest(symbol, one, sink, rest, report)
        now_ms = clock.now_ms()
        proved: list[Segment] = []
        if asked:  # and REST as well, long enough after the close
            aged = clipped(one.left, 0, feed.interval.floor(now_ms - _PROOF_AGE_MS))
            proved = minus(aged, [*one.unasked, *minus(one.left, one.answered)])
        report.absent += _bars(feed.interval, proved)
        report.open += _bars(feed.interval, minus(one.left, proved))
        rows = _rows(feed, symbol, one, proved, noted.get(symbol, []), now_ms)
        if rows:
            await sink.gaps(rows)
        step()
    return report


def _bars(interval: Interval, parts: Iterable[Segment]) -> int:
    return sum(interval.count(part.start_ms, part.end_ms) for part in parts)


# The archive


async def _from_archive(
    symbols: dict[str, _Symbol],
    sink: Sink,
    client: ArchiveClient,
    mirror: Mirror,
    clock: Clock,
    known: Mapping[str, SymbolInfo],
    report: Filled,
) -> bool:
    """Fill what the archive has; whether it could be asked."""
    if not symbols:
        return True
    feed = sink.feed
    try:
        listed = await list_files(
            client,
            feed.market,
            Kind.KLINES,
            symbols,
            interval=feed.interval.name,
            start_ms=min(one.holes[0].start_ms for one in symbols.values()),
            end_ms=max(one.holes[-1].end_ms for one in symbols.values()),
        )
        wanted = [one for one in listed if _within(symbols[one.file.symbol], one)]
        for fetched in await download(client, mirror, wanted, clock=clock):
            await _take_file(
                symbols, fetched.wanted, fetched.outcome, fetched.problem, sink, mirror, clock, known, report
            )
    except ExchangeError as error:
        report.notes.append(f"the archive could not be asked: {error}")
        return False
    return True


def _within(one: _Symbol, wanted: Wanted) -> list[Segment]:
    """What of a symbol's holes lies in the time of a file."""
    return clipped(one.holes, wanted.file.start_ms, wanted.file.end_ms)


async def _take_file(
    symbols: dict[str, _Symbol],
    wanted: Wanted,
    outcome: Outcome,
    problem: str,
    sink: Sink,
    mirror: Mirror,
    clock: Clock,
    known: Mapping[str, SymbolInfo],
    report: Filled,
) -> None:
    one = symbols[wanted.file.symbol]
    try:
        if outcome in (Outcome.FAILED, Outcome.QUARANTINED):
            raise Malformed(f"{wanted.entry.key}: {problem}")
        parsed = read_file(Found.of(mirror, wanted.file, known), sink.feed, closed_by_ms=clock.now_ms())
    except Malformed as error:
        report.notes.append(str(error))
        one.unasked.append(Segment(wanted.file.start_ms, wanted.file.end_ms))
        return
    for part in _within(one, wanted):
        rows = _opening_in(parsed.table, part)
        if rows.num_rows:
            await sink.archived(rows)
            report.from_archive += rows.num_rows
            times = rows["open_time"].cast(pa.int64()).to_pylist()
            one.filled += _runs(sink.feed.interval, [time // 1000 for time in times])


def _opening_in(candles: pa.Table, part: Segment) -> pa.Table:
    times = candles["open_time"].cast(pa.int64())
    inside = pc.and_(pc.greater_equal(times, 1000 * part.start_ms), pc.less(times, 1000 * part.end_ms))
    return candles.filter(inside)


def _runs(interval: Interval, opens: Iterable[int]) -> list[Segment]:
    return joined(Segment(open_ms, interval.next(open_ms)) for open_ms in opens)


# REST


async def _from_rest(symbol: str, one: _Symbol, sink: Sink, client: Exchange, report: Filled) -> Exchange | None:
    """Fill what REST has; None when it cannot be asked any more."""
    interval = sink.feed.interval
    for part in one.left:
        start_ms = part.start_ms
        while start_ms < part.end_ms:
            end_ms = min(part.end_ms, interval.shift(start_ms, PAGE_ROWS[sink.feed.market]))
            try:
                candles = await _page(client, symbol, interval, start_ms, end_ms)
            except Rejected as error:  # it does not know the symbol (any more)
                report.notes.append(f"{symbol}: {error}")
                one.answered += one.left
                return client
            except ExchangeError as error:
                report.notes.append(f"REST could not be asked: {error}")
                return None
            one.answered.append(Segment(start_ms, end_ms))
            if candles:
                await sink.candles(candles)
                report.from_rest += len(candles)
                one.filled += _runs(interval, [candle.open_time_ms for candle in candles])
            start_ms = end_ms
    return client


async def _page(exchange: Exchange, symbol: str, interval: Interval, start_ms: int, end_ms: int) -> tuple[Candle, ...]:
    client, clock = exchange.client, exchange.clock

    async def ask() -> tuple[Candle, ...]:
        if not clock.synchronized:
            await client.server_time()
        last_ms = interval.shift(end_ms, -1)
        return await client.klines(
            symbol, interval, start_ms=start_ms, end_ms=last_ms, limit=interval.count(start_ms, end_ms)
        )

    return await retrying(ask, clock=clock, attempts=_ATTEMPTS)


# What is noted


def _rows(feed: Feed, symbol: str, one: _Symbol, proved: list[Segment], noted: list[Gap], now_ms: int) -> list[Gap]:
    """The rows of `gaps` that change: those there already, and new ones for what was not noted before."""
    rows: list[Gap] = []
    covered: list[Segment] = []
    for gap in noted:
        if gap.state is GapState.FILLED:
            continue
        covered.append(Segment(gap.gap_start_ms, gap.gap_end_ms))
        pieces = settled(gap, feed.interval, one.filled, now_ms=now_ms, absent=proved, why=_ABSENT)
        rows += [piece for piece in pieces if piece != gap]

    def note(parts: Iterable[Segment], state: GapState, reason: str) -> None:
        closed_ms = None if state is GapState.OPEN else now_ms
        for part in minus(parts, covered):
            rows.append(Gap(symbol, part.start_ms, part.end_ms, state, reason, now_ms, closed_ms))

    in_record = minus(one.holes, one.history)
    for hole in in_record:
        note(clipped(one.filled, hole.start_ms, hole.end_ms), GapState.FILLED, "not in the record")
        left = clipped(minus(one.left, proved), hole.start_ms, hole.end_ms)
        note(left, GapState.OPEN, "not in the record")
    note(proved, GapState.ABSENT, _ABSENT)
    return rows
