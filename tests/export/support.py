"""What the export's tests share: a file with candles, trading rules and funding rates."""

from __future__ import annotations

import random
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path

import duckdb

from bmacdb.clock import ManualClock
from bmacdb.interval import MINUTE_MS
from bmacdb.model import (
    EXGINFO_ITEM,
    FUNDING_ITEM,
    Batch,
    Candle,
    Feed,
    FundingSnapshot,
    Ready,
    Run,
    Source,
    SymbolInfo,
)
from bmacdb.store.writer import Store
from bmacdb.symbols import parse_feed

FEED = parse_feed("usdt_perp_5m")
STEP_MS = 5 * MINUTE_MS
T0 = 1_722_660_300_000
"""A boundary: 2024-08-03 12:45:00+08:00."""
RUN_MS = T0 + 40 * STEP_MS
SYMBOLS = ("BTCUSDT", "ETHUSDT", "币安人生USDT")


def candle(symbol: str, open_ms: int) -> Candle:
    digits = random.Random(f"{symbol} {open_ms}")
    low, first, last, high = sorted(round(digits.uniform(1, 200), 4) for _ in range(4))
    values = [round(digits.uniform(0, 1e6), 3) for _ in range(4)]
    return Candle(
        symbol,
        open_ms,
        first,
        high,
        low,
        last,
        values[0],
        values[1],
        digits.randrange(1000),
        values[2],
        values[3],
        Source.WS,
    )


def info(symbol: str, *, status: str = "TRADING", tick: str = "0.10", lot: str = "0.001") -> SymbolInfo:
    base = symbol.removesuffix("USDT")
    return SymbolInfo(
        symbol, "PERPETUAL", status, base, "USDT", "USDT", Decimal(tick), Decimal(lot), Decimal("5"), 1_600_000_000_000
    )


def period(run_time_ms: int, symbols: Iterable[str] = SYMBOLS, *, feed: Feed = FEED, snapshots: bool = True) -> Batch:
    """A complete run time with everything that belongs to it."""
    names = list(symbols)
    items = [*names, EXGINFO_ITEM, *([FUNDING_ITEM] if snapshots else [])]
    step_ms = feed.interval.length_ms
    return Batch(
        feed.name,
        run_time_ms + 50,
        tuple(candle(symbol, run_time_ms - step_ms) for symbol in names),
        tuple(Ready(run_time_ms, item, run_time_ms + 50, "ws") for item in items),
        (Run(run_time_ms, len(names), len(names), run_time_ms + 50, names[-1], 0, ()),),
        tuple(info(symbol) for symbol in names),
        funding_snapshots=tuple(
            FundingSnapshot(run_time_ms, symbol, None if symbol == "ETHUSDT" else 0.0001 * place, None, 1.0, 1.0)
            for place, symbol in enumerate(names)
            if snapshots
        ),
    )


async def recorded(path: Path, *, runs: int = 40, clock: ManualClock | None = None) -> Store:
    """A Store with `runs` complete run times, the last of them RUN_MS."""
    store = await Store.open(path, clock=clock or ManualClock(RUN_MS + 1234))
    await store.add_feed(FEED, num_candles=30)
    for place in range(40 - runs + 1, 41):
        await store.commit(period(T0 + place * STEP_MS))
    return store


def candles_of(path: Path, symbol: str, feed: str = FEED.name) -> list[tuple[object, ...]]:
    """What the file holds of a symbol, oldest first."""
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(
            f"SELECT epoch_ms(open_time), open, high, low, close, volume, quote_volume, trade_num,"
            f" taker_buy_base_asset_volume, taker_buy_quote_asset_volume FROM {feed}.candles"
            f" WHERE symbol = ? ORDER BY 1",
            [symbol],
        ).fetchall()
