"""Feeds made of generated candles in a real DuckDB: gaps, zero volumes, new listings, rows out of order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import duckdb
import numpy as np
import pandas as pd

from bmacdb.interval import Interval
from bmacdb.sql import script
from bmacdb.symbols import parse_feed

START_MS = 1_767_225_600_000  # 2026-01-01, a boundary of every interval but 1w
FEED = "usdt_perp_5m"


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
