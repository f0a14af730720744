"""Feeds made of generated candles in a real DuckDB: gaps, zero volumes, new listings, rows out of order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from bmacdb.clock import SystemClock, to_ms
from bmacdb.interval import Interval
from bmacdb.model import Batch, Candle, Ready, Run
from bmacdb.model import Source as Kind
from bmacdb.sql import script
from bmacdb.store.writer import Store
from bmacdb.symbols import parse_feed

START_MS = 1_767_225_600_000  # 2026-01-01, a boundary of every interval but 1w
FEED = "usdt_perp_5m"

Make = Callable[[Mapping[str, str]], str]
"""Makes a package of factors out of files, and returns its name: the fixture `package`."""


def at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def candles(
    symbol: str, bars: int, *, seed: int, interval: str = "5m", missing: Sequence[int] = (), quiet: Sequence[int] = ()
) -> pd.DataFrame:
    """`bars` bars of a random walk from START_MS; `missing` places are left out, `quiet` ones had no trade."""
    grid = Interval.parse(interval)
    rng = np.random.default_rng(seed)
    opens = [grid.shift(START_MS, bar) for bar in range(bars)]
    still = np.isin(np.arange(bars), list(quiet))
    close = 50 * np.exp(np.cumsum(np.where(still, 0.0, rng.normal(0, 0.004, bars))))
    open_ = np.concatenate([[50.0], close[:-1]])
    high = np.where(still, close, np.maximum(open_, close) * (1 + rng.random(bars) * 0.002))
    low = np.where(still, close, np.minimum(open_, close) * (1 - rng.random(bars) * 0.002))
    volume = np.where(still, 0.0, rng.lognormal(5, 1, bars))
    share = rng.random(bars)
    frame = pd.DataFrame(
        {
            "symbol": symbol,
            "open_time": pd.to_datetime(opens, unit="ms", utc=True),
            "open": np.where(still, close, open_),
            "high": high,
            "low": low,
            "close": close,
            "volume": volume,
            "quote_volume": volume * (high + low) / 2,
            "trade_num": np.where(still, 0, rng.integers(1, 400, bars)),
            "taker_buy_base_asset_volume": volume * share,
            "taker_buy_quote_asset_volume": volume * share * (high + low) / 2,
        }
    )
    return frame[~np.isin(np.arange(bars), list(missing))]


def add(connection: duckdb.DuckDBPyConnection, frame: pd.DataFrame, feed: str = FEED) -> None:
    """Put candles into a feed, in the order of the frame."""
    connection.register("fresh", frame)
    connection.execute(f"INSERT INTO \"{feed}\".candles SELECT *, 'ws', now() FROM fresh")
    connection.unregister("fresh")


def database(
    frames: Sequence[pd.DataFrame] = (), *, feed: str = FEED, num_candles: int = 200, path: str = ":memory:"
) -> duckdb.DuckDBPyConnection:
    """A database with one feed. Rows are written in the order of time, as the recorder writes them."""
    connection = duckdb.connect(path)
    connection.execute("SET threads = 2")
    connection.execute(script("schema"))
    create(connection, feed, num_candles)
    if frames:
        add(connection, pd.concat(frames).sort_values(["open_time", "symbol"]), feed)
    return connection


def create(connection: duckdb.DuckDBPyConnection, feed: str, num_candles: int = 200) -> None:
    made = parse_feed(feed)
    connection.execute(f"CREATE SCHEMA \"{feed}\"; SET search_path = '{feed}'")
    connection.execute(script("feed"))
    connection.execute("RESET search_path")
    connection.execute(
        "INSERT INTO main.feeds VALUES (?, ?, ?, ?, make_timestamptz(?), ?, now(), now())",
        [feed, made.market, made.trade_type, made.interval.name, made.interval.anchor_ms * 1000, num_candles],
    )


def rough_market(bars: int = 260) -> list[pd.DataFrame]:
    """Symbols with everything that happens: holes, silence, a late listing, an early end, a flat price."""
    rng = np.random.default_rng(7)
    return [
        candles("AUSDT", bars, seed=1),
        candles("BUSDT", bars, seed=2, missing=[30, 31, 32, 90, bars - 8], quiet=[50, 51, 120, 121, 122]),
        candles("CUSDT", bars, seed=3, missing=rng.choice(bars - 1, 60, replace=False).tolist()),
        candles("NEWUSDT", bars, seed=4, missing=range(bars - 40)),
        candles("ENDUSDT", bars, seed=5, missing=range(bars - 30, bars)),
        candles("FLATUSDT", bars, seed=6, quiet=range(40, 200)),
        candles("币安人生USDT", bars, seed=8, quiet=range(0, bars, 3)),
    ]


def batches(frames: Sequence[pd.DataFrame], *, feed: str = FEED, late: Sequence[str] = ()) -> list[Batch]:
    """The candles as the recorder would commit them, a period at a time; `late` is missing in the last."""
    interval = parse_feed(feed).interval
    whole = pd.concat(frames)
    names = list(whole.columns[2:])
    found = []
    for when, rows in whole.groupby("open_time"):
        open_ms = to_ms(when.to_pydatetime())
        run_ms = interval.next(open_ms)
        bars = tuple(
            Candle(row[0], open_ms, *map(float, row[2:8]), int(row[8]), float(row[9]), float(row[10]), Kind.WS)
            for row in rows[["symbol", "open_time", *names]].itertuples(index=False, name=None)
        )
        done = run_ms + 50
        ready = tuple(Ready(run_ms, bar.symbol, done, "ws") for bar in bars)
        found.append(Batch(feed, done, bars, ready, (Run(run_ms, len(bars), len(bars), done, bars[-1].symbol, 0, ()),)))
    return found


async def stored(path: Path, frames: Sequence[pd.DataFrame], *, feed: str = FEED, num_candles: int = 200) -> Store:
    """An open Store with the candles in it."""
    store = await Store.open(path, clock=SystemClock())
    await store.add_feed(parse_feed(feed), num_candles=num_candles)
    pieces = batches(frames, feed=feed)
    await store.commit(
        Batch(
            feed,
            pieces[-1].recorded_at_ms,
            tuple(bar for piece in pieces for bar in piece.candles),
            pieces[-1].ready,
            pieces[-1].runs,
        )
    )
    return store
