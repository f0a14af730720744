"""What the tests of offsets share: made-up candles in a real file, and bars computed by hand from them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from pathlib import Path

import duckdb

from bmacdb.clock import ManualClock
from bmacdb.interval import MINUTE_MS
from bmacdb.model import Batch, Candle, Ready, Run, Source
from bmacdb.offset import Resampling
from bmacdb.store.writer import Store
from bmacdb.symbols import parse_feed

FEED = parse_feed("usdt_perp_5m")
STEP_MS = 5 * MINUTE_MS
T0 = 1_699_999_200_000
"""A full hour."""
HOURS = Resampling.of(FEED, "1h")

Row = tuple[object, ...]


def candle(symbol: str, open_ms: int, *, version: int = 0, source: Source = Source.WS) -> Candle:
    """A bar that follows from its symbol, time and version; one in eight has no trades."""
    digits = random.Random(f"{symbol} {open_ms} {version}")
    prices = sorted(round(100 + digits.gauss(0, 3), 4) for _ in range(4))
    first, last = digits.sample(prices[1:3], 2)
    volume = 0.0 if digits.random() < 0.125 else round(digits.expovariate(0.01), 3)
    share = digits.random()
    return Candle(
        symbol,
        open_ms,
        first,
        prices[3],
        prices[0],
        last,
        volume,
        round(volume * (first + last) / 2, 4),
        0 if not volume else digits.randrange(1, 500),
        round(volume * share, 3),
        round(volume * share * first, 4),
        source,
    )


def by_hand(
    candles: Iterable[Candle], resampling: Resampling, fundings: Mapping[tuple[str, int], float] | None = None
) -> dict[tuple[str, int], Row]:
    """Every whole bar: (symbol, open time) to offset, the nine values, funding rate, price and time.

    `fundings` are rates by symbol and time in milliseconds.
    """
    step_ms, length_ms = resampling.feed.interval.length_ms, resampling.to.length_ms
    known = {(one.symbol, one.open_time_ms): one for one in candles}
    found: dict[tuple[str, int], Row] = {}
    for symbol, open_ms in known:
        parts = [known.get((symbol, open_ms + place * step_ms)) for place in range(length_ms // step_ms)]
        offset = resampling.offset_of(open_ms)
        whole = [part for part in parts if part is not None]
        if len(whole) < len(parts) or offset is None:
            continue
        funding: Row = (None, None, None)
        settled = sorted(
            (time_ms, rate)
            for (name, time_ms), rate in (fundings or {}).items()
            if name == symbol and open_ms <= time_ms < open_ms + length_ms and abs(rate) > 1e-6
        )
        if settled:
            part = whole[(settled[0][0] - open_ms) // step_ms]
            funding = settled[0][1], part.open, part.open_time_ms
        found[symbol, open_ms] = (
            offset,
            whole[0].open,
            max(part.high for part in whole),
            min(part.low for part in whole),
            whole[-1].close,
            *(
                sum(getattr(part, name) for part in whole)
                for name in (
                    "volume",
                    "quote_volume",
                    "trade_num",
                    "taker_buy_base_asset_volume",
                    "taker_buy_quote_asset_volume",
                )
            ),
            *funding,
        )
    return found


SELECTED = (
    'symbol, epoch_ms(open_time), "offset", open, high, low, close, volume, quote_volume, trade_num, '
    "taker_buy_base_asset_volume, taker_buy_quote_asset_volume, funding_rate, funding_price, epoch_ms(funding_time)"
)


def kept(connection: duckdb.DuckDBPyConnection, place: str) -> dict[tuple[str, int], Row]:
    """The bars of a table or subquery, as `by_hand` gives them. Fails where one is there twice."""
    rows = connection.execute(f"SELECT {SELECTED} FROM {place}").fetchall()
    found = {(row[0], row[1]): row[2:] for row in rows}
    assert len(found) == len(rows), "a bar is there twice"
    return found


def same(mine: Mapping[tuple[str, int], Row], theirs: Mapping[tuple[str, int], Row]) -> None:
    """Hold two sets of bars against each other: equal, save for the last digits of sums."""
    assert mine.keys() == theirs.keys()
    for key, row in mine.items():
        for value, other in zip(row, theirs[key], strict=True):
            if isinstance(value, float) and isinstance(other, float):
                assert abs(value - other) <= 1e-12 * max(abs(value), abs(other)), (key, row, theirs[key])
            else:
                assert value == other, (key, row, theirs[key])


async def open_store(path: Path, clock: ManualClock | None = None) -> Store:
    store = await Store.open(path, clock=clock or ManualClock(T0))
    await store.add_feed(FEED, num_candles=200)
    return store


def period(run_time_ms: int, symbols: Iterable[str], *, late: Iterable[str] = (), version: int = 0) -> Batch:
    """A run time as the Dispatcher commits it: complete, or past its deadline without `late`."""
    names, missing = list(symbols), tuple(late)
    there = [symbol for symbol in names if symbol not in missing]
    bars = tuple(candle(symbol, run_time_ms - STEP_MS, version=version) for symbol in there)
    ready = tuple(Ready(run_time_ms, symbol, run_time_ms + 50, "ws") for symbol in there)
    complete = None if missing else run_time_ms + 60
    run = Run(run_time_ms, len(names), len(there), complete, there[-1] if there else None, 0, missing)
    return Batch(FEED.name, run_time_ms + 60, bars, ready, (run,))
