"""A stand-in with an archive, a record beside it, and rows as they are read back."""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import duckdb

from bmacdb.archive.client import ArchiveClient, ArchiveUrls
from bmacdb.archive.download import Fetched, Wanted, download, list_files
from bmacdb.archive.layout import Kind
from bmacdb.archive.mirror import Mirror
from bmacdb.archive.sink import Sink, open_sink
from bmacdb.clock import ManualClock, ServerClock
from bmacdb.exchange.endpoints import Endpoints
from bmacdb.exchange.limit import RequestWindow, WeightBudget
from bmacdb.exchange.rest import RestClient
from bmacdb.interval import DAY_MS, HOUR_MS
from bmacdb.model import Feed
from bmacdb.simulated import SimulatedExchange
from bmacdb.symbols import parse_feed

NOW_MS = 1_739_188_800_000
"""2025-02-10T12:00:00Z: in every machine's past; January is a month of the archive, February comes by the day."""

JANUARY_MS = 1_735_689_600_000
FEBRUARY_MS = 1_738_368_000_000
DELIVERED_MS = JANUARY_MS + 5 * DAY_MS + 9 * HOUR_MS

SPOT = parse_feed("usdt_spot_1h")
PERP = parse_feed("usdt_perp_1h")

HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)


@dataclass
class Scene:
    """A stand-in exchange whose clock stands still at NOW_MS, and clients of it."""

    exchange: SimulatedExchange
    session: aiohttp.ClientSession
    folder: Path
    clock: ManualClock

    @property
    def client(self) -> ArchiveClient:
        urls = ArchiveUrls(self.exchange.archive_url)
        return ArchiveClient(urls, session=self.session, clock=self.clock, attempts=3)

    @property
    def mirror(self) -> Mirror:
        return Mirror(self.folder / "archive")

    @property
    def database(self) -> Path:
        return self.folder / "bmac.duckdb"

    def rest(self, feed: Feed) -> tuple[RestClient, ServerClock]:
        clock = ServerClock()
        client = RestClient(
            feed.market,
            endpoints=Endpoints(self.exchange.rest_url, self.exchange.ws_url),
            session=self.session,
            clock=clock,
            budget=WeightBudget(2400, clock=clock),
            funding_window=RequestWindow(clock=clock),
        )
        return client, clock

    async def listed(self, feed: Feed, *symbols: str, start_ms: int = JANUARY_MS, **options: Any) -> list[Wanted]:
        return await list_files(
            self.client,
            feed.market,
            Kind.KLINES,
            symbols,
            interval=feed.interval.name,
            start_ms=start_ms,
            **options,
        )

    async def fetch(self, feed: Feed, *symbols: str, force: bool = False, **options: Any) -> list[Fetched]:
        files = await self.listed(feed, *symbols, **options)
        return await download(self.client, self.mirror, files, clock=self.clock, force=force)

    async def sink(self, feed: Feed) -> Sink:
        return await open_sink(self.database, feed, clock=self.clock)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query of the file at rest gives."""
        with duckdb.connect(self.database, read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(query).fetchall()

    def change(self, statement: str) -> None:
        """Change the file behind everyone's back."""
        with duckdb.connect(self.database) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(statement)

    def truth(self, feed: Feed, symbol: str, start_ms: int, end_ms: int) -> list[tuple[Any, ...]]:
        """What the record should hold of a symbol."""
        bars = self.exchange.expected(feed.market, symbol, feed.interval.name, start_ms, end_ms)
        return [(bar.open_time_ms, *bar[1:6], *bar[7:]) for bar in bars]

    def recorded(self, feed: Feed, symbol: str) -> list[tuple[Any, ...]]:
        """What it does hold."""
        return self.rows(
            "SELECT epoch_ms(open_time), open, high, low, close, volume, quote_volume, trade_num, "
            f"taker_buy_base_asset_volume, taker_buy_quote_asset_volume FROM {feed.name}.candles "
            f"WHERE symbol = '{symbol}' ORDER BY open_time"
        )


@asynccontextmanager
async def scene(folder: Path, **options: Any) -> AsyncIterator[Scene]:
    """A scene in `folder`."""
    defaults: dict[str, Any] = {"symbols": 4, "start_ms": NOW_MS, "speed": 1e-6, "recent": 0}
    async with SimulatedExchange(**defaults | options) as exchange, aiohttp.ClientSession() as session:
        yield Scene(exchange, session, folder, ManualClock(NOW_MS))


def lines(count: int = 24, *, start_ms: int = JANUARY_MS, step_ms: int = HOUR_MS, unit: int = 1) -> list[str]:
    """Rows of a file without a header; `unit` 1000 counts microseconds."""
    rows = []
    for number in range(count):
        open_ms = start_ms + number * step_ms
        close = (open_ms + step_ms) * unit - 1
        rows.append(f"{open_ms * unit},1.5,2.5,0.5,{number}.25,10,{close},20,{number},5,6,0")
    return rows


def text(rows: list[str]) -> bytes:
    return "".join(f"{row}\n" for row in rows).encode()


def month(*traded: int) -> bytes:
    """The days of January 2025, those from 0 on that are named with trades, and the others flat."""
    rows = []
    for day in range(31):
        open_ms = JANUARY_MS + day * DAY_MS
        volume, trades = ("10", 7) if day in traded else ("0", 0)
        prices = "1.0,2.0,0.5,1.5" if trades else "1.5,1.5,1.5,1.5"
        rows.append(f"{open_ms},{prices},{volume},{open_ms + DAY_MS - 1},{volume},{trades},{volume},{volume},0")
    return text([HEADER, *rows])


def zipped(path: Path, data: bytes) -> Path:
    """A zip with one csv in it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(path.name.replace(".zip", ".csv"), data)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed.getvalue())
    return path


def day_file(folder: Path, symbol: str = "BTCUSDT", day: str = "2025-01-01", interval: str = "1h") -> Path:
    return folder / f"{symbol}-{interval}-{day}.zip"


LAST_DAY_MS = NOW_MS // DAY_MS * DAY_MS
