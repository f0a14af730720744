"""`bmacdb history`: the archive's files into a mirror and from there into the record; holes, agreement, relistings."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bmacdb.cli import history_mend
from bmacdb.cli.history_options import (
    ArchiveUrl,
    Database,
    End,
    FeedName,
    Format,
    MirrorDir,
    Output,
    Parallel,
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
    from bmacdb.archive.download import Fetched
    from bmacdb.archive.load import Loaded

__all__ = ["register"]


def list_(
    feed: FeedName,
    symbols: Symbols = None,
    files: Annotated[bool, typer.Option("--files", help="Every file, and whether the mirror has it.")] = False,
    funding: Annotated[bool, typer.Option("--funding", help="Settled funding rates in place of candles.")] = False,
    start: Start = None,
    end: End = None,
    mirror: MirrorDir = None,
    db: Database = Path("bmac.duckdb"),
    archive_url: ArchiveUrl = None,
    rest_url: RestUrl = None,
    proxy: Proxy = None,
    format: Format = "table",
    output: Output = None,
    timezone: Timezone = None,
) -> None:
    """What the archive has of a feed: its symbols, those included that trade no more, or its files."""
    import pyarrow as pa

    from bmacdb.cli.output import check_output, emit
    from bmacdb.clock import from_ms

    check_output(format, output)
    zone = printing_zone(timezone, db.parent)
    wanted = choice(feed, symbols, start, end, db, mirror)

    async def ask() -> pa.Table:
        async with asking(archive_url, rest_url, proxy) as archive:
            names = await archive.symbols(wanted, funding=funding)
            if not files:
                return pa.table({"symbol": pa.array(names, pa.string())})
            with progress() as bars:
                listed = await archive.files(wanted, names, funding=funding, bars=bars)
        rows = [
            {
                "key": one.entry.key,
                "symbol": one.file.symbol,
                "start": from_ms(one.file.start_ms),
                "end": from_ms(one.file.end_ms),
                "bytes": one.entry.size,
                "last_modified": from_ms(one.entry.last_modified_ms),
                "mirror": wanted.state(one),
            }
            for one in listed
        ]
        schema = pa.schema(
            [("key", pa.string()), ("symbol", pa.string())]
            + [(name, pa.timestamp("ms", "UTC")) for name in ("start", "end")]
            + [("bytes", pa.int64()), ("last_modified", pa.timestamp("ms", "UTC")), ("mirror", pa.string())]
        )
        return pa.Table.from_pylist(rows, schema)

    emit(asyncio.run(ask()), format, output, zone=zone)


def download(
    feed: FeedName,
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    funding: Annotated[
        bool | None,
        typer.Option("--funding/--no-funding", help="Settled funding rates as well [default: yes, but on spot]."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Accept files whose published checksum is not theirs.")
    ] = False,
    parallel: Parallel = 8,
    mirror: MirrorDir = None,
    db: Database = Path("bmac.duckdb"),
    archive_url: ArchiveUrl = None,
    rest_url: RestUrl = None,
    proxy: Proxy = None,
) -> None:
    """Fetch the archive's files of a feed into a local mirror: what is not there, and what was replaced at the source.

    Months where there are months, days for the rest. Each is checked against its published SHA-256; one that does not
    have it is put aside and told of. Exit status 1 when a file could not be had or was put aside.
    """
    from bmacdb.archive.download import Outcome
    from bmacdb.archive.download import download as fetch
    from bmacdb.clock import SystemClock
    from bmacdb.model import Market

    wanted = choice(feed, symbols, start, end, db, mirror)
    if funding is None:
        funding = wanted.feed.market is not Market.SPOT

    async def ask() -> list[Fetched]:
        async with asking(archive_url, rest_url, proxy) as archive:
            names = await archive.symbols(wanted)
            with progress() as bars:
                listed = await archive.files(wanted, names, bars=bars)
                if funding:
                    listed += await archive.files(wanted, names, funding=True, bars=bars)
                with bars.task("downloading", len(listed)) as step:
                    return await fetch(
                        archive.client,
                        wanted.mirror,
                        listed,
                        clock=SystemClock(),
                        force=force,
                        parallel=parallel,
                        done=lambda _: step(),
                    )

    fetched = asyncio.run(ask())
    troubled = [one for one in fetched if one.problem]
    say_first([f"{one.outcome}: {one.wanted.entry.key}: {one.problem}" for one in troubled])
    told = ", ".join(
        f"{count} {outcome}" for outcome in Outcome if (count := sum(one.outcome is outcome for one in fetched))
    )
    typer.echo(f"{counted(len(fetched), 'file')} of {wanted.feed.name} in {wanted.mirror.root}: {told or 'nothing'}")
    if any(one.outcome in (Outcome.FAILED, Outcome.QUARANTINED) for one in fetched):
        raise typer.Exit(1)


def import_(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PATH",
            help="Files (zip, csv, csv.gz) or directories of them [default: what the mirror has of the feed].",
            show_default=False,
        ),
    ] = None,
    feed: FeedName = "",
    symbols: Symbols = None,
    start: Start = None,
    end: End = None,
    mirror: MirrorDir = None,
    db: Database = Path("bmac.duckdb"),
) -> None:
    """Write archive files into the record, whether a recorder runs on it or not.

    Every file is checked whole before a row of it is written. Where a bar is recorded already and differs, the
    archive's stands, and both are in `corrections`. Exit status 1 when a file could not be read.
    """
    from bmacdb.archive.load import State, Totals, find_files, in_mirror, load
    from bmacdb.archive.sink import open_sink
    from bmacdb.cli.lean import without_pandas
    from bmacdb.clock import SystemClock
    from bmacdb.errors import UsageError
    from bmacdb.model import Market
    from bmacdb.symbols import check_symbols

    wanted = choice(feed, symbols, start, end, db, mirror)
    known = wanted.known()
    if paths:
        files, others = find_files(paths, wanted.feed, known=known)
        there = {one.file.symbol for one in files if one.file}
        files = [one for one in files if one.file is None or wanted.takes(one.file)]
        if others:
            say(f"{counted(len(others), 'file')} in the directories left out, as {others[0].problem}")
    else:
        files = [
            found
            for funding in (False, *((True,) if wanted.feed.market is not Market.SPOT else ()))
            for found in in_mirror(
                wanted.mirror,
                wanted.feed,
                symbols=wanted.symbols,
                funding=funding,
                start_ms=wanted.start_ms,
                end_ms=wanted.end_ms,
                known=known,
            )
        ]
        there = {file.symbol for file, _ in wanted.mirror.all()}
    where = ", ".join(map(str, paths)) if paths else str(wanted.mirror.root)
    if there:
        check_symbols(wanted.symbols or (), there, where)
    if not files:
        raise UsageError(f"no file of {wanted.feed.name} in {where}: fetch some with bmacdb history download.")

    async def write() -> tuple[list[Loaded], Totals]:
        clock = SystemClock()
        sink = await open_sink(db, wanted.feed, clock=clock)
        try:
            with progress() as bars, bars.task("importing", len(files)) as step:
                return await load(files, sink, clock=clock, done=lambda _: step())
        finally:
            await sink.close()

    with without_pandas():
        loaded, totals = asyncio.run(write())
    say_first(
        [
            f"{one.state}: {'; '.join(one.notes) if one.state is State.FAILED else f'{one.path}: {one.notes[0]}'}"
            for one in loaded
            if one.notes
        ]
    )
    into = f"{counted(totals.rows, 'row')} of {counted(totals.files, 'file')} into {wanted.feed.name}"
    if totals.added is None:
        typer.echo(f"{into}: sent to the recorder")
    else:
        typer.echo(f"{into}: {totals.added} new, {totals.changed} corrected, the rest was there")
    if any(one.state is State.FAILED for one in loaded):
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    history = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The archive, holes, and relistings.")
    history.command("list")(list_)
    history.command("download")(download)
    history.command("import")(import_)
    history_mend.add(history)
    app.add_typer(history, name="history")
