"""What the commands of `bmacdb history` share: their options, the archive's client, progress bars."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bmacdb.errors import ExchangeError, ReadError, UsageError
from bmacdb.model import Market

if TYPE_CHECKING:
    import aiohttp
    from rich.progress import Progress

    from bmacdb.archive.client import ArchiveClient
    from bmacdb.archive.download import Wanted
    from bmacdb.archive.layout import ArchiveFile
    from bmacdb.archive.mirror import Mirror
    from bmacdb.clock import ServerClock
    from bmacdb.exchange.rest import RestClient
    from bmacdb.model import Feed, SymbolInfo

__all__ = [
    "ArchiveUrl",
    "Asking",
    "Bars",
    "Choice",
    "Database",
    "End",
    "FeedName",
    "Format",
    "MirrorDir",
    "Output",
    "Parallel",
    "Proxy",
    "RestUrl",
    "Start",
    "Symbols",
    "asking",
    "choice",
    "counted",
    "progress",
    "say",
    "say_first",
]

FeedName = Annotated[str, typer.Option("--feed", metavar="NAME", help="As usdt_perp_1m.", show_default=False)]
Symbols = Annotated[
    list[str] | None,
    typer.Option("--symbols", metavar="NAMES", help="Only these, as BTCUSDT,ETHUSDT; may repeat [default: all]."),
]
Start = Annotated[str | None, typer.Option(metavar="TIME", help="From here on: 2024, 2024-01, 2024-01-15 or ISO 8601.")]
End = Annotated[str | None, typer.Option(metavar="TIME", help="Before this: 2024-02 ends with January.")]
Database = Annotated[Path, typer.Option("--db", metavar="FILE", help="The database.")]
MirrorDir = Annotated[
    Path | None,
    typer.Option("--mirror", metavar="DIR", help="The archive's files here [default: archive, beside the database]."),
]
ArchiveUrl = Annotated[
    str | None,
    typer.Option("--archive-url", metavar="URL", envvar="BMACDB_ARCHIVE_URL", help="In place of data.binance.vision."),
]
RestUrl = Annotated[
    str | None,
    typer.Option("--rest-url", metavar="URL", envvar="BMACDB_REST_URL", help="In place of the exchange's addresses."),
]
Proxy = Annotated[
    str | None,
    typer.Option("--proxy", metavar="URL", envvar="BMACDB_PROXY", help="An HTTP proxy [default: HTTPS_PROXY]."),
]
Parallel = Annotated[int, typer.Option(min=1, max=64, metavar="N", help="Downloads at the same time.")]
Format = Annotated[str, typer.Option("--format", metavar="NAME", help="table, csv, json, parquet or arrow.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Into a file.")]

_SHOWN = 20  # problems, one a line; then a count
_DATE = re.compile(r"(\d{4})(?:-(\d{2}))?")


def say(text: str) -> None:
    """A line on stderr."""
    typer.echo(text, err=True)


def say_first(lines: Sequence[str]) -> None:
    """The first lines on stderr, and how many more there are."""
    for line in lines[:_SHOWN]:
        say(line)
    if len(lines) > _SHOWN:
        say(f"… and {len(lines) - _SHOWN} more.")


def counted(number: int, noun: str) -> str:
    """`1 file`, `2 files`"""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _instant(option: str, text: str | None) -> int | None:
    """Milliseconds of a date. Raises UsageError."""
    from datetime import datetime

    from bmacdb.clock import to_ms

    if text is None:
        return None
    if match := _DATE.fullmatch(text):
        text = f"{match[1]}-{match[2] or '01'}-01"
    try:
        return to_ms(datetime.fromisoformat(text))
    except ValueError:
        raise UsageError(f"{option} {text!r} is no date, as 2024-01, 2024-01-15 and 2024-01-15T08:00 are.") from None


@dataclass(frozen=True, slots=True)
class Choice:
    """Which part of which feed a command is about."""

    feed: Feed
    symbols: tuple[str, ...] | None
    start_ms: int
    end_ms: int | None
    db: Path
    mirror: Mirror

    def takes(self, file: ArchiveFile) -> bool:
        """Whether a file is of the chosen symbols and times."""
        return (
            (self.symbols is None or file.symbol in self.symbols)
            and file.end_ms > self.start_ms
            and (self.end_ms is None or file.start_ms < self.end_ms)
        )

    def state(self, wanted: Wanted) -> str:
        """What the mirror has of a file: '', 'old', or what was held of it."""
        kept = self.mirror.kept(wanted.entry.key)
        return "" if kept is None else str(kept.verdict) if kept.is_of(wanted.entry) else "old"

    def members(self, symbols: Collection[str]) -> tuple[str, ...]:
        """Those of `symbols` that are of the feed's trade type, by their names."""
        from bmacdb.archive.members import members

        return members(self.feed.trade_type, symbols)

    def known(self) -> dict[str, SymbolInfo]:
        """What the record tells of the feed's symbols; nothing where there is no record yet."""
        from bmacdb.archive.recorded import known_symbols
        from bmacdb.store.reader import connect

        with connect(self.db) as reader:
            try:
                return known_symbols(reader, self.feed)
            except ReadError:
                return {}


def choice(
    feed: str, symbols: Sequence[str] | None, start: str | None, end: str | None, db: Path, mirror: Path | None
) -> Choice:
    """The options, checked. Raises UsageError."""
    from bmacdb.archive.mirror import Mirror
    from bmacdb.symbols import parse_feed

    if not feed:
        raise UsageError("--feed is missing: say which, as --feed usdt_perp_1m.")
    parsed = parse_feed(feed)
    start_ms, end_ms = _instant("--start", start) or 0, _instant("--end", end)
    if end_ms is not None and end_ms <= start_ms:
        raise UsageError(f"--end {end} is not after --start {start}: nothing lies between.")
    names = tuple(
        dict.fromkeys(name.strip().upper() for part in symbols or () for name in part.split(",") if name.strip())
    )
    if db.is_dir():
        raise UsageError(f"--db {db} is a directory: name the file in it, as {db / 'bmac.duckdb'}.")
    return Choice(parsed, names or None, start_ms, end_ms, db, Mirror(mirror or db.parent / "archive"))


class Bars:
    """Progress on a terminal; nothing elsewhere."""

    def __init__(self, bars: Progress | None) -> None:
        self._bars = bars

    @contextmanager
    def task(self, name: str, total: int) -> Iterator[Callable[[], None]]:
        """A bar of `total` steps; what is yielded makes one."""
        if self._bars is None:
            yield lambda: None
            return
        bars, task = self._bars, self._bars.add_task(name, total=total)
        yield lambda: bars.advance(task)


@contextmanager
def progress() -> Iterator[Bars]:
    """Bars on stderr, if that is a terminal."""
    if not sys.stderr.isatty():
        yield Bars(None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as bars:
        yield Bars(bars)


class Asking:
    """The archive, and the exchange where it has to be asked what a symbol is."""

    def __init__(self, client: ArchiveClient, session: aiohttp.ClientSession, rest_url: str | None, proxy: str | None):
        self.client, self.session, self.rest_url, self.proxy = client, session, rest_url, proxy

    def rest(self, market: Market) -> tuple[RestClient, ServerClock]:
        """A client of the exchange, and the clock it keeps."""
        from bmacdb.clock import ServerClock
        from bmacdb.exchange.endpoints import Endpoints
        from bmacdb.exchange.limit import RequestWindow, WeightBudget
        from bmacdb.exchange.rest import RestClient

        clock = ServerClock()
        limit = 6000 if market is Market.SPOT else 2400
        client = RestClient(
            market,
            endpoints=Endpoints(self.rest_url, None),
            session=self.session,
            clock=clock,
            budget=WeightBudget(limit, clock=clock),
            funding_window=RequestWindow(clock=clock),
            timeout_s=10.0,
            proxy=self.proxy,
        )
        return client, clock

    async def known(self, wanted: Choice) -> dict[str, SymbolInfo]:
        """What is known of the market's symbols: from the record, and from the exchange, as far as it answers.

        The record knows the symbols of its feed alone, and the archive has those of the other feeds as well.
        """
        from bmacdb.exchange.rest import retrying

        known = wanted.known()
        if wanted.feed.market is not Market.USDT_FUTURES:
            return known  # elsewhere the name tells what a symbol is
        client, clock = self.rest(wanted.feed.market)
        try:
            info = await retrying(client.exchange_info, clock=clock, attempts=2)
        except ExchangeError as error:
            say(f"Stocks and metals cannot be told from coins, and are taken for coins: {error}")
            return known
        return {one.symbol: one for one in info.symbols} | known

    async def symbols(self, wanted: Choice, *, funding: bool = False) -> tuple[str, ...]:
        """The archive's symbols of the feed, or the chosen ones. Raises UsageError when there is none, or one that the
        archive does not have."""
        from bmacdb.archive.download import list_symbols
        from bmacdb.archive.layout import Kind
        from bmacdb.archive.members import members
        from bmacdb.symbols import check_symbols

        feed = wanted.feed
        listed = await list_symbols(self.client, feed.market, Kind.FUNDING if funding else Kind.KLINES)
        if wanted.symbols is not None:
            check_symbols(wanted.symbols, listed, f"the archive of {feed.market}")
            return wanted.symbols
        found = members(feed.trade_type, listed, await self.known(wanted))
        if not found:
            raise UsageError(f"the archive has no symbol of {feed.trade_type}; name some with --symbols.")
        return found

    async def files(self, wanted: Choice, symbols: Sequence[str], *, bars: Bars, funding: bool = False) -> list[Wanted]:
        """The archive's files of the feed."""
        from bmacdb.archive.download import list_files
        from bmacdb.archive.layout import Kind

        with bars.task("listing funding" if funding else "listing", len(symbols)) as step:
            return await list_files(
                self.client,
                wanted.feed.market,
                Kind.FUNDING if funding else Kind.KLINES,
                symbols,
                interval="" if funding else wanted.feed.interval.name,
                start_ms=wanted.start_ms,
                end_ms=wanted.end_ms,
                done=lambda _: step(),
            )

    async def every(self, symbols: Collection[str], wanted: Choice, *, bars: Bars) -> dict[str, Wanted]:
        """Every file that the archive lists of some symbols, by key; days of whole months among them."""
        from bmacdb.archive.download import list_files
        from bmacdb.archive.layout import Cadence, Kind

        found: dict[str, Wanted] = {}
        asked = [(Kind.KLINES, wanted.feed.interval.name, cadence) for cadence in Cadence]
        for kind, interval, cadence in (*asked, (Kind.FUNDING, "", Cadence.MONTHLY)):
            if kind is Kind.FUNDING and wanted.feed.market is Market.SPOT:
                continue
            with bars.task(f"listing {cadence} {kind}", len(symbols)) as step:
                listed = await list_files(
                    self.client,
                    wanted.feed.market,
                    kind,
                    sorted(symbols),
                    interval=interval,
                    cadences=(cadence,),
                    done=lambda _, step=step: step(),  # type: ignore[misc]
                )
            found |= {one.entry.key: one for one in listed}
        return found


@asynccontextmanager
async def asking(archive_url: str | None, rest_url: str | None, proxy: str | None) -> AsyncIterator[Asking]:
    """A client of the archive at `archive_url` (None: the real one)."""
    from bmacdb.archive.client import ArchiveClient, ArchiveUrls
    from bmacdb.clock import SystemClock
    from bmacdb.config import environment_proxy
    from bmacdb.exchange.session import http_proxy, open_session

    urls = ArchiveUrls(archive_url)
    if proxy is None and (given := environment_proxy(os.environ, [urls.listing])):
        proxy = str(given.value)
    told: set[str] = set()

    def tell(error: ExchangeError, seconds: float) -> None:
        if (text := f"{error} Trying again in {seconds:.1f} s.") and type(error).__name__ not in told:
            told.add(type(error).__name__)
            say(text)

    async with open_session(timeout_s=20.0, endpoints=urls.endpoints, proxy=proxy) as session:
        straight = None if urls.loopback else http_proxy(proxy)
        client = ArchiveClient(urls, session=session, clock=SystemClock(), proxy=straight, told=tell)
        yield Asking(client, session, rest_url, proxy)
