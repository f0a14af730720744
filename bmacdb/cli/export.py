"""`bmacdb export`: files for other programs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bmacdb.cli.times import Timezone, printing_zone

if TYPE_CHECKING:
    import pyarrow as pa

    from bmacdb.store.reader import Reader

__all__ = ["export", "register"]


def export(
    output: Annotated[
        Path, typer.Argument(metavar="PATH", help="The file to write; with --layout or --per-symbol a directory.")
    ],
    feed: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="As usdt_perp_5m or usdt_perp_5m_to_1h [default: the only one]."),
    ] = None,
    layout: Annotated[
        str | None, typer.Option(metavar="NAME", help="bmac: the predecessor's directories, names and ready files.")
    ] = None,
    table: Annotated[str, typer.Option(metavar="NAME", help="candles, funding_rates, exginfo, runs …")] = "candles",
    symbols: Annotated[str | None, typer.Option(metavar="NAMES", help="As BTCUSDT,ETHUSDT [default: all].")] = None,
    start: Annotated[str | None, typer.Option(metavar="TIME", help="Rows from here on, as 2024-08-03.")] = None,
    end: Annotated[str | None, typer.Option(metavar="TIME", help="Rows before.")] = None,
    per_symbol: Annotated[bool, typer.Option("--per-symbol", help="A file for each symbol.")] = False,
    format: Annotated[
        str | None, typer.Option(metavar="NAME", help="parquet or csv [default: by PATH]; bmac: parquet or feather.")
    ] = None,
    run_time: Annotated[
        str | None, typer.Option(metavar="TIME", help="bmac: as of this run time [default: the newest complete one].")
    ] = None,
    num_candles: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="bmac: candles in a file [default: the feed's own number].")
    ] = None,
    db: Annotated[Path, typer.Option(metavar="FILE", help="The database.")] = Path("bmac.duckdb"),
    timezone: Timezone = None,
) -> None:
    """Write files that other programs read, of a live recorder's database or of one at rest.

    Each file is there whole or not at all. A recorder keeps the predecessor's files up to date itself: bmacdb run
    --export-dir DIR.
    """
    from bmacdb.errors import UsageError
    from bmacdb.store.reader import connect

    names = None if symbols is None else [name.strip().upper() for name in symbols.split(",") if name.strip()]
    if layout not in (None, "bmac"):
        raise UsageError(f"--layout {layout!r} is not known: bmac is.")
    if layout is None and (run_time is not None or num_candles is not None):
        raise UsageError("--run-time and --num-candles are for --layout bmac; others take --start and --end.")
    zone = printing_zone(timezone, db.parent)
    with connect(db) as reader:
        if layout == "bmac":
            if start is not None or end is not None or per_symbol or table != "candles":
                raise UsageError("--layout bmac takes no --start, --end, --table or --per-symbol.")
            _bmac(reader, output, feed, names, run_time, num_candles, format or "parquet", zone)
            return
        if feed is not None and len(feed) > 1:
            raise UsageError("one feed at a time, or --layout bmac.")
        _flat(reader, output, feed[0] if feed else None, table, names, (start, end), per_symbol, format)


def _ask(reader: Reader, query: str, params: Mapping[str, object]) -> pa.Table:
    from bmacdb.store.pieces import patiently

    return patiently(lambda: reader.sql(query, dict(params) or None).arrow())


def _flat(
    reader: Reader,
    output: Path,
    feed: str | None,
    table: str,
    symbols: list[str] | None,
    span: tuple[str | None, str | None],
    per_symbol: bool,
    format: str | None,
) -> None:
    from bmacdb.cli.times import parse_time
    from bmacdb.errors import ReadError, UsageError
    from bmacdb.export.flat import FORMATS, FlatExport

    if format is None:
        format = "parquet" if per_symbol else output.suffix.removeprefix(".").replace("pqt", "parquet")
    if format not in FORMATS:
        raise UsageError(f"the format is not clear from {output.name}: give --format parquet or csv.")
    if not per_symbol and output.is_dir():
        raise UsageError(f"{output} is a directory: name a file in it, or give --per-symbol.")
    if per_symbol and output.is_file():
        raise UsageError(f"{output} is a file, and --per-symbol wants a directory.")
    start_ms = None if span[0] is None else parse_time("--start", span[0])
    end_ms = None if span[1] is None else parse_time("--end", span[1])
    name = reader.feed_name(feed, derived=True)
    if symbols is not None:
        reader.check_symbols(symbols, name)
    wanted = FlatExport(
        lambda query, params: _ask(reader, query, params),
        name,
        table,
        symbols,
        start_ms,
        end_ms,
    )
    if table == "candles" and not wanted.count():
        raise ReadError(f"{name} has no candle of these symbols and times: nothing was written, {output} is as it was.")
    if per_symbol:
        written = wanted.to_folder(output, format)
        print(f"{len(written)} files, {sum(written.values())} rows in {output}", file=sys.stderr)
    else:
        print(f"{wanted.to_file(output, format)} rows in {output}", file=sys.stderr)


def _bmac(
    reader: Reader,
    root: Path,
    feeds: list[str] | None,
    symbols: list[str] | None,
    run_time: str | None,
    num_candles: int | None,
    save_type: str,
    zone: tzinfo | None,
) -> None:
    from bmacdb.cli.times import parse_time
    from bmacdb.clock import SystemClock, format_ms
    from bmacdb.errors import UsageError
    from bmacdb.export.bmac import BmacExport
    from bmacdb.export.names import EXTENSIONS, names_for
    from bmacdb.symbols import check_symbols, parse_feed

    if save_type not in EXTENSIONS:
        raise UsageError(f"--format {save_type!r} is not one of {', '.join(EXTENSIONS)}, which the predecessor has.")
    if root.is_file():
        raise UsageError(f"{root} is a file, and --layout bmac wants a directory.")
    depth = {str(row[0]): int(row[5]) for row in reader.feeds()}
    wanted: Sequence[str | None] = feeds or ([None] if len(depth) == 1 else sorted(depth))
    # Parsed first: a feed that is asked for as usdt_swap_5m has its directories called so.
    chosen = [parse_feed(name or reader.feed_name(None)) for name in wanted]
    for feed in chosen:
        reader.feed_name(feed.name)
    if symbols is not None:
        known = sorted({symbol for feed in chosen for symbol in reader.symbols(feed.name)})
        check_symbols(symbols, known, ", ".join(feed.name for feed in chosen))
    for name, names in names_for(root, chosen, save_type).items():
        export = BmacExport(
            lambda query, params: _ask(reader, query, params),
            names,
            num_candles=num_candles or depth[name],
            clock=SystemClock(),
        )
        run_time_ms = export.newest_run_time_ms() if run_time is None else parse_time("--run-time", run_time)
        if not names.feed.interval.on_grid(run_time_ms):
            raise UsageError(f"--run-time {run_time} is no boundary of {names.feed.interval.name}.")
        written = export.export(run_time_ms, symbols=symbols)
        print(f"{written} symbols in {names.candle_dir} as of {format_ms(run_time_ms, zone)}", file=sys.stderr)


def register(app: typer.Typer) -> None:
    app.command()(export)
