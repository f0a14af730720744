"""`bmacdb resample`: bars of a longer interval at every offset."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bmacdb.cli.times import Timezone, printing_zone

if TYPE_CHECKING:
    import pyarrow as pa

    from bmacdb.offset import Resampling
    from bmacdb.store.reader import Reader

__all__ = ["register", "resample"]

_PIECE_PARTS = 250_000  # a transaction


def resample(
    to: Annotated[str, typer.Option("--to", metavar="INTERVAL", help="Of the bars to make, as 1h.")],
    source: Annotated[
        str | None, typer.Option("--from", metavar="INTERVAL", help="Of the bars to make them of, as 5m; or --feed.")
    ] = None,
    feed: Annotated[str | None, typer.Option(metavar="NAME", help="As usdt_perp_5m [default: the only one].")] = None,
    offsets: Annotated[
        str | None, typer.Option(metavar="MINUTES", help="As 0,5,30 [default: every one there is].")
    ] = None,
    symbols: Annotated[str | None, typer.Option(metavar="NAMES", help="As BTCUSDT,ETHUSDT [default: all].")] = None,
    start: Annotated[
        str | None, typer.Option(metavar="TIME", help="Bars that open from here on, as 2024-08-03 or with a time.")
    ] = None,
    end: Annotated[str | None, typer.Option(metavar="TIME", help="Bars that open before.")] = None,
    store: Annotated[
        bool, typer.Option("--store", help="Keep the bars in the database (which no recorder has) and print none.")
    ] = False,
    db: Annotated[Path, typer.Option(metavar="FILE", help="The database.")] = Path("bmac.duckdb"),
    format: Annotated[str, typer.Option(metavar="NAME", help="table, csv, json, parquet or arrow.")] = "table",
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="[default: stdout]")] = None,
    timezone: Timezone = None,
) -> None:
    """Make bars of a longer interval at every offset: only those of which every part is there.

    Reads a live recorder's database as well as one at rest. A recorder keeps such bars itself: bmacdb run --resample.
    """
    from bmacdb.cli.output import check_output, emit
    from bmacdb.store.reader import connect

    check_output(format, output)
    zone = printing_zone(timezone, db.parent)
    names = None if symbols is None else [name.strip().upper() for name in symbols.split(",") if name.strip()]
    with connect(db) as reader:
        resampling = _chosen(reader, to, source, feed, _minutes(offsets))
        if names is not None:
            reader.check_symbols(names, resampling.feed.name)
        span = _span(reader, resampling, start, end)
        if not store:
            emit(_made(reader, resampling, span, names), format, output, zone=zone)
            return
    if store:
        made = _keep(db, resampling, span, names)
        print(
            f"{resampling.name}: {made} bars from {_shown(span[0], zone)} to {_shown(span[1], zone)} kept.",
            file=sys.stderr,
        )


def _minutes(text: str | None) -> list[int] | None:
    from bmacdb.errors import UsageError

    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--offsets {text!r} is not a list of minutes, as 0,5,30 is.") from None


def _chosen(reader: Reader, to: str, source: str | None, feed: str | None, offsets: list[int] | None) -> Resampling:
    """What is asked for. Raises UsageError."""
    from bmacdb.errors import UsageError
    from bmacdb.interval import Interval
    from bmacdb.offset import Resampling
    from bmacdb.symbols import parse_feed

    Interval.parse(to)
    if source is not None and feed is None:
        Interval.parse(source)
        known = [str(row[0]) for row in reader.feeds()]
        fitting = [name for name in known if parse_feed(name).interval.name == source]
        if len(fitting) != 1:
            what = f"{len(fitting)} feeds of {source}" if fitting else f"no feed of {source}"
            raise UsageError(
                f"{reader.path} holds {what} ({', '.join(known) or 'none at all'}): say which with --feed."
            )
        feed = fitting[0]
    name = reader.feed_name(None if feed is None else parse_feed(feed).name)
    if source is not None and parse_feed(name).interval.name != source:
        raise UsageError(f"--feed {name} is not of the interval --from {source}: leave out one of the two.")
    return Resampling.of(parse_feed(name), to, offsets)


def _span(reader: Reader, resampling: Resampling, start: str | None, end: str | None) -> tuple[int, int]:
    """The open times asked for, within those that there can be; milliseconds, the end exclusive."""
    from bmacdb.cli.times import parse_time
    from bmacdb.errors import UsageError

    row = reader.sql(
        f'SELECT epoch_ms(min(open_time)), epoch_ms(max(open_time)) FROM "{resampling.feed.name}".candles'
    ).one()
    if row is None or row[0] is None:
        raise UsageError(f"{resampling.feed.name} holds no candle yet.")
    first_ms = row[0] if start is None else max(row[0], parse_time("--start", start))
    last_ms = row[1] + resampling.feed.interval.length_ms
    end_ms = last_ms if end is None else min(last_ms, parse_time("--end", end))
    if end is not None and start is not None and parse_time("--end", end) <= parse_time("--start", start):
        raise UsageError(f"--end {end} is not after --start {start}.")
    return first_ms, max(end_ms, first_ms)


def _made(
    reader: Reader, resampling: Resampling, span: tuple[int, int], symbols: list[str] | None
) -> Iterator[pa.Table]:
    """The bars by symbol and time, a piece at a time; one table at least."""
    from bmacdb.store.pieces import PIECE_ROWS, patiently, symbol_pieces
    from bmacdb.store.resample import bars_query

    minutes = f"{resampling.feed.trade_type}_1m"
    known = {str(row[0]) for row in reader.feeds()}

    def bars(group: list[str], start_ms: int, end_ms: int) -> pa.Table:
        query, params = bars_query(
            resampling, start_ms, end_ms, symbols=group, minutes=minutes if minutes in known else None
        )
        return patiently(lambda: reader.sql(f"FROM ({query}) ORDER BY symbol, open_time", params).arrow())

    needed = resampling.needed(*span)
    found = False
    for group, rows in symbol_pieces(
        reader, resampling.feed.name, symbols=symbols, start_ms=needed[0], end_ms=needed[1], rows=PIECE_ROWS
    ):
        # Only a group of one symbol has more than a piece; its own bars are cut by time.
        length = max(PIECE_ROWS, resampling.parts) if rows > PIECE_ROWS else 2**40
        for part in reversed(list(resampling.spans(*span, length))):
            yield bars(group, *part)
            found = True
    if not found:
        yield bars([], *span)


def _keep(db: Path, resampling: Resampling, span: tuple[int, int], symbols: list[str] | None) -> int:
    import asyncio

    from bmacdb.clock import SystemClock
    from bmacdb.store.resample import keep_all
    from bmacdb.store.writer import Store

    async def work() -> int:
        clock = SystemClock()
        store = await Store.open(db, clock=clock, memory_limit="1GB", threads=2)
        try:
            return await store.beside(
                lambda connection: keep_all(
                    connection, resampling, *span, symbols=symbols, now_ms=clock.now_ms(), piece=_PIECE_PARTS
                )
            )
        finally:
            await store.close()

    return asyncio.run(work())


def _shown(ms: int, zone: tzinfo | None) -> str:
    from bmacdb.clock import from_ms

    return from_ms(ms).astimezone(zone).isoformat(sep=" ", timespec="minutes")


def register(app: typer.Typer) -> None:
    app.command()(resample)
