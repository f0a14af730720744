"""Rows to write, and rows as they are read back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bmacdb.clock import ManualClock
from bmacdb.model import Batch, Candle, Ready, Run, Source
from bmacdb.store.writer import Store
from bmacdb.symbols import make_feed

MINUTE = 60_000
START = 1_700_000_040_000
"""An open time on the minutes' grid."""

FEED = make_feed("usdt_perp", "1m")


def candle(symbol: str = "BTCUSDT", minute: int = 0, price: float = 1.0, source: Source = Source.WS) -> Candle:
    """The bar that opened `minute` minutes after START."""
    open_ms = START + minute * MINUTE
    return Candle(symbol, open_ms, price, price, price, price, 2.0, 3.0, 4, 5.0, 6.0, source)


def period(minute: int, symbols: int = 5) -> Batch:
    """A whole period: a candle and a readiness row a symbol, and the run."""
    candles = tuple(candle(f"S{number}USDT", minute, float(minute)) for number in range(symbols))
    run_time_ms = START + (minute + 1) * MINUTE
    ready = tuple(Ready(run_time_ms, bar.symbol, run_time_ms + 100, bar.source) for bar in candles)
    run = Run(run_time_ms, symbols, symbols, run_time_ms + 100, candles[-1].symbol, 0, ())
    return Batch(FEED.name, run_time_ms + 150, candles, ready, (run,))


@asynccontextmanager
async def opened(path: Path, **options: Any) -> AsyncIterator[Store]:
    """A store with FEED in it, closed at the end."""
    store = await Store.open(path, clock=ManualClock(START), **options)
    try:
        await store.add_feed(FEED, num_candles=1500)
        yield store
    finally:
        await store.close()


async def select(store: Store, query: str) -> list[tuple[Any, ...]]:
    """The rows of a query."""
    return await store.run(lambda connection: connection.execute(query).fetchall())


async def stored_candles(store: Store) -> dict[tuple[str, int], Candle]:
    """What the file holds, by key; fails on a duplicate."""
    rows = await select(
        store,
        "SELECT symbol, epoch_ms(open_time), open, high, low, close, volume, quote_volume, trade_num, "
        f"taker_buy_base_asset_volume, taker_buy_quote_asset_volume, source FROM {FEED.name}.candles",
    )
    found = {(row[0], row[1]): Candle(*row[:-1], Source(row[-1])) for row in rows}
    assert len(found) == len(rows), "a duplicate is in the record"
    return found
