"""`bmacdb history verify`, `gaps`, `fill` and `split`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bmacdb.cli.history_options import (
    ArchiveUrl,
    Database,
    End,
    FeedName,
    Format,
    MirrorDir,
    Output,
    Proxy,
    RestUrl,
    Start,
    Symbols,
    asking,
    choice,
    counted,
    progress,
    say,
    say_first,
)
from bmacdb.cli.times import Timezone, printing_zone

if TYPE_CHECKING:
    import pyarrow as pa

    from bmacdb.archive.download import Wanted
    from bmacdb.archive.fill import Filled
    from bmacdb.archive.verify import Checked
    from bmacdb.cli.history_options import Choice

__all__ = ["add"]


def gaps(
    feed: FeedName,
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    db: Database = Path("bmac.duckdb"),
    format: Format = "table",
    output: Output = None,
    timezone: Timezone = None,
) -> None:
    """Every missing bar between a symbol's listing and its delisting.

    Of kind `hole` are those that the exchange may have, of kind `halt` those that it was asked for and never made, of
    kind `before` the history before the first bar in the record.
    """
    import pyarrow as pa

    from bmacdb.archive.gaps import find_holes, look_up
    from bmacdb.archive.recorded import recorded_feed
    from bmacdb.cli.output import check_output, emit
    from bmacdb.clock import SystemClock, from_ms
    from bmacdb.store.reader import connect

    check_output(format, output)
    zone = printing_zone(timezone, db.parent)
    wanted = choice(feed, symbols, start, end, db, None)
    with connect(db) as reader:
        found = recorded_feed(reader, wanted.feed)
        reader.check_symbols(wanted.symbols or (), found.name)
        record = look_up(reader, found, wanted.symbols)
    holes = find_holes(record, found, now_ms=SystemClock().now_ms(), start_ms=wanted.start_ms, end_ms=wanted.end_ms)
    rows = [
        {
            "symbol": hole.symbol,
            "gap_start": from_ms(hole.start_ms),
            "gap_end": from_ms(hole.end_ms),
            "bars": hole.bars,
            "kind": str(hole.kind),
            "reason": hole.reason,
        }
        for hole in holes
    ]
    schema = pa.schema(
        [("symbol", pa.string())]
        + [(name, pa.timestamp("ms", "UTC")) for name in ("gap_start", "gap_end")]
        + [("bars", pa.int64()), ("kind", pa.string()), ("reason", pa.string())]
    )
    emit(pa.Table.from_pylist(rows, schema), format, output, zone=zone)


def fill(
    feed: FeedName,
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="The history before the first bar in the record as well.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Ask once more for what the exchange was found not to have.")
    ] = False,
    mirror: MirrorDir = None,
    db: Database = Path("bmac.duckdb"),
    archive_url: ArchiveUrl = None,
    rest_url: RestUrl = None,
    proxy: Proxy = None,
) -> None:
    """Repair the holes: from the archive first, from REST next. What neither has is noted as absent.

    A second run finds nothing to do. Exit status 1 when something could not be asked, and holes stay open.
    """
    from dataclasses import replace

    from bmacdb.archive.fill import Exchange
    from bmacdb.archive.fill import fill as repair
    from bmacdb.archive.gaps import HoleKind, find_holes, look_up
    from bmacdb.archive.recorded import recorded_feed
    from bmacdb.archive.sink import open_sink
    from bmacdb.clock import SystemClock
    from bmacdb.store.reader import connect

    wanted, clock = choice(feed, symbols, start, end, db, mirror), SystemClock()
    with connect(db) as reader:
        found = recorded_feed(reader, wanted.feed)
        reader.check_symbols(wanted.symbols or (), found.name)
        record = look_up(reader, found, wanted.symbols)
    holes = find_holes(record, found, now_ms=clock.now_ms(), start_ms=wanted.start_ms, end_ms=wanted.end_ms)
    if again:
        holes = [replace(hole, kind=HoleKind.HOLE) if hole.kind is HoleKind.HALT else hole for hole in holes]
    kinds = (HoleKind.HOLE, HoleKind.BEFORE) if whole else (HoleKind.HOLE,)
    holes = [hole for hole in holes if hole.kind in kinds]
    if not holes:
        typer.echo(f"{found.name}: nothing to fill")
        return

    async def work() -> Filled:
        async with asking(archive_url, rest_url, proxy) as asked:
            sink = await open_sink(db, found, clock=clock)
            try:
                with progress() as bars, bars.task("filling", len({hole.symbol for hole in holes})) as step:
                    return await repair(
                        record,
                        holes,
                        sink,
                        archive=asked.client,
                        mirror=wanted.mirror,
                        rest=Exchange(*asked.rest(found.market)),
                        clock=clock,
                        step=step,
                    )
            finally:
                await sink.close()

    report = asyncio.run(work())
    say_first(report.notes)
    typer.echo(
        f"{found.name}: of {counted(report.missing, 'missing bar')} {report.from_archive} came from the archive, "
        f"{report.from_rest} from REST, {report.absent} do not exist, {report.open} are open"
    )
    if report.open and report.notes:
        raise typer.Exit(1)


def verify(
    feed: FeedName,
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not ask the archive whether it has replaced files.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Show the files that agree as well.")] = False,
    mirror: MirrorDir = None,
    db: Database = Path("bmac.duckdb"),
    archive_url: ArchiveUrl = None,
    rest_url: RestUrl = None,
    proxy: Proxy = None,
    format: Format = "table",
    output: Output = None,
    timezone: Timezone = None,
) -> None:
    """Does the mirror agree with its source, and the record with the mirror? And where did sources disagree before?

    Prints the files that do not agree; a summary, and what `corrections` holds by source, go to stderr. Exit status 1
    when something does not agree.
    """
    from bmacdb.cli.output import check_output, emit

    check_output(format, output)
    zone = printing_zone(timezone, db.parent)
    wanted = choice(feed, symbols, start, end, db, mirror)
    checked = _verified(wanted, offline, archive_url, rest_url, proxy)
    shown = [one for one in checked if everything or not one.agrees]
    emit(_checked_table(shown), format, output, zone=zone)
    bad = sum(not one.agrees for one in checked)
    result = f"{bad} do not agree" if bad else "all agree"
    say(f"{counted(len(checked), 'file')} of {wanted.feed.name} in {wanted.mirror.root} checked, {result}")
    for line in _disagreements(wanted):
        say(line)
    if bad:
        raise typer.Exit(1)


def _verified(
    wanted: Choice, offline: bool, archive_url: str | None, rest_url: str | None, proxy: str | None
) -> list[Checked]:
    from bmacdb.archive.verify import verify as check
    from bmacdb.clock import SystemClock
    from bmacdb.store.reader import connect
    from bmacdb.symbols import check_symbols

    mirrored = [
        file
        for file, _ in wanted.mirror.all()
        if file.market is wanted.feed.market and file.interval in ("", wanted.feed.interval.name)
    ]
    check_symbols(wanted.symbols or (), {file.symbol for file in mirrored}, str(wanted.mirror.root))
    files = [
        file
        for file in mirrored
        if wanted.takes(file) and (wanted.symbols is not None or file.symbol in wanted.members({file.symbol}))
    ]
    listed: dict[str, Wanted] | None = None
    if not offline and files:

        async def ask() -> dict[str, Wanted]:
            async with asking(archive_url, rest_url, proxy) as asked:
                with progress() as bars:
                    return await asked.every({file.symbol for file in files}, wanted, bars=bars)

        listed = asyncio.run(ask())
    with connect(wanted.db) as reader, progress() as bars, bars.task("comparing", len(files)) as step:
        there = reader if wanted.db.exists() else None
        checked = []
        now_ms, known = SystemClock().now_ms(), wanted.known()
        for one in check(wanted.mirror, files, wanted.feed, reader=there, listed=listed, known=known, now_ms=now_ms):
            checked.append(one)
            step()
        return checked


def _checked_table(checked: list[Checked]) -> pa.Table:
    import pyarrow as pa

    rows = [
        {
            "key": one.file.key,
            "condition": str(one.condition),
            **(
                {name: getattr(one.difference, name) for name in ("rows", "missing", "differing", "extra")}
                if one.difference is not None
                else {}
            ),
            "problem": one.problem,
        }
        for one in checked
    ]
    numbers = [(name, pa.int64()) for name in ("rows", "missing", "differing", "extra")]
    schema = pa.schema([("key", pa.string()), ("condition", pa.string()), *numbers, ("problem", pa.string())])
    return pa.Table.from_pylist(rows, schema)


def _disagreements(wanted: Choice) -> list[str]:
    from bmacdb.archive.recorded import disagreements
    from bmacdb.store.reader import connect

    if not wanted.db.exists():
        return []
    with connect(wanted.db) as reader:
        found = disagreements(reader, wanted.feed, wanted.symbols, start_ms=wanted.start_ms, end_ms=wanted.end_ms)
    return [
        f"{counted(bars, 'bar')} of {counted(symbols, 'symbol')} differed between {recorded} and {later}; "
        f"{recorded if stands == 'recorded' else later} stands ({first:%Y-%m-%d} to {last:%Y-%m-%d})"
        for recorded, later, stands, bars, symbols, first, last, _ in found
    ]


def split(
    feed: FeedName,
    symbols: Symbols = None,
    short_days: Annotated[
        float, typer.Option(min=0, metavar="DAYS", help="A pause that splits where the price moved.")
    ] = 1.0,
    long_days: Annotated[float, typer.Option(min=0, metavar="DAYS", help="A pause that always splits.")] = 2.0,
    move: Annotated[float, typer.Option(min=0, metavar="SHARE", help="How far: 0.1 is ten per cent.")] = 0.1,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="The candles of one part, as SP0_LUNAUSDT.")
    ] = None,
    filled: Annotated[bool, typer.Option("--fill", help="With --name: holes as flat bars of source fill.")] = False,
    db: Database = Path("bmac.duckdb"),
    format: Format = "table",
    output: Output = None,
    timezone: Timezone = None,
) -> None:
    """Symbols whose name was used again, and the parts they fall into; or the candles of one part.

    The record stays as it is.
    """
    import pyarrow as pa

    from bmacdb.archive.splits import Thresholds, find_parts, split_candles
    from bmacdb.cli.output import check_output, emit
    from bmacdb.clock import from_ms
    from bmacdb.errors import UsageError
    from bmacdb.interval import DAY_MS
    from bmacdb.store.reader import connect

    check_output(format, output)
    zone = printing_zone(timezone, db.parent)
    if filled and name is None:
        raise UsageError("--fill is for the candles of a part: say which with --name.")
    wanted = choice(feed, symbols, None, None, db, None)
    thresholds = Thresholds(round(short_days * DAY_MS), round(long_days * DAY_MS), move)
    with connect(db) as reader:
        if name is not None:
            candles = split_candles(reader, name, feed=wanted.feed, fill=filled, thresholds=thresholds)
            emit(candles, format, output, zone=zone)
            return
        reader.check_symbols(wanted.symbols or (), wanted.feed.name)
        parts = find_parts(reader, wanted.feed, symbols=wanted.symbols, thresholds=thresholds)
    rows = [
        {
            "name": part.name,
            "symbol": part.symbol,
            "start": from_ms(part.start_ms),
            "end": from_ms(part.end_ms),
            "pause_days": None if part.pause_ms is None else part.pause_ms / DAY_MS,
            "move": part.move,
        }
        for part in parts
    ]
    schema = pa.schema(
        [("name", pa.string()), ("symbol", pa.string())]
        + [(column, pa.timestamp("ms", "UTC")) for column in ("start", "end")]
        + [("pause_days", pa.float64()), ("move", pa.float64())]
    )
    emit(pa.Table.from_pylist(rows, schema), format, output, zone=zone)


def add(history: typer.Typer) -> None:
    """Add the commands."""
    for command in (verify, gaps, fill, split):
        history.command()(command)
