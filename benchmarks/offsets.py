"""How long it takes to make hour bars at all twelve offsets of five-minute bars, beside pandas and polars.

    python benchmarks/offsets.py [--symbols 600] [--bars 1500] [--to 1h] [--rounds 5] [--pandas-rounds 1] [--folder DIR]

The same job alternately in one run: bmacdb from its file to Arrow; polars per symbol, one rolling pass over the frame
of each; pandas per symbol, resampling its frame once for each offset. Their frames, one a symbol and sorted, are made
beforehand and not counted; bmacdb starts from the table of all symbols in the order of time.
Then the bars that end at one run time, as the recorder makes them: the query alone, and with what it writes.
Prints medians, processor time beside the time on the clock (this may be a busy machine), and the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
import pandas as pd
import polars as pl

from bmacdb.clock import ManualClock
from bmacdb.interval import MINUTE_MS
from bmacdb.offset import Resampling
from bmacdb.store import resample
from bmacdb.store.writer import Store
from bmacdb.symbols import make_feed

__all__ = ["main"]

FEED = make_feed("usdt_perp", "5m")
STEP_MS = 5 * MINUTE_MS
START_MS = 1_699_999_200_000

_FIRST, _SUMMED = (
    "open",
    ["volume", "quote_volume", "trade_num", "taker_buy_base_asset_volume", "taker_buy_quote_asset_volume"],
)
_RULES = {"open": "first", "high": "max", "low": "min", "close": "last", **dict.fromkeys(_SUMMED, "sum")}


def fill(connection: duckdb.DuckDBPyConnection, symbols: int, bars: int) -> None:
    """Bars of every symbol in the order of time, as a recorder has written them."""
    values = ", ".join(
        [
            "100 + random()",
            "101 + random()",
            "99 + random()",
            "100 + random()",
            "random()",
            "random()",
            "7",
            "random()",
            "random()",
        ]
    )
    times = f"make_timestamptz(1000 * ({START_MS} + {STEP_MS} * bar))"
    connection.execute(
        f"INSERT INTO {FEED.name}.candles "
        f"SELECT printf('SYM%04dUSDT', number), {times}, {values}, 'ws', {times} FROM range({bars}) AS bars(bar), "
        f"range({symbols}) AS numbers(number) ORDER BY bar, number"
    )
    connection.execute("CHECKPOINT")


def by_pandas(frames: dict[str, pd.DataFrame], resampling: Resampling) -> int:
    """The job in pandas: every symbol, every offset; whole bars alone."""
    rows = 0
    length = pd.Timedelta(milliseconds=resampling.to.length_ms)
    for frame in frames.values():
        for offset in resampling.offsets:
            grouped = frame.resample(length, offset=pd.Timedelta(minutes=offset))
            bars = grouped.agg(_RULES)
            rows += len(bars[grouped["close"].count() == resampling.parts])
    return rows


def by_polars(frames: dict[str, pl.DataFrame], resampling: Resampling) -> int:
    """The job in polars: every symbol, one rolling pass."""
    parts = resampling.parts
    rows = 0
    for frame in frames.values():
        bars = frame.select(
            pl.col("open_time").shift(parts - 1),
            pl.col("open").shift(parts - 1),
            pl.col("high").rolling_max(parts),
            pl.col("low").rolling_min(parts),
            pl.col("close"),
            *(pl.col(name).rolling_sum(parts) for name in _SUMMED),
            (pl.col("open_time") - pl.col("open_time").shift(parts - 1)).alias("span"),
        ).filter(pl.col("span") == pl.duration(milliseconds=resampling.to.length_ms - STEP_MS))
        rows += len(bars)
    return rows


def timed(work: Callable[[], int], into: list[tuple[float, float]]) -> int:
    before, busy = time.perf_counter(), time.process_time()
    rows = work()
    into.append((time.perf_counter() - before, time.process_time() - busy))
    return rows


def told(name: str, seconds: list[tuple[float, float]], rows: int) -> float:
    clock, busy = (1000 * median(values) for values in zip(*seconds, strict=True))
    print(f"{name:38} {clock:10.1f} ms   processor {busy:10.1f} ms   {rows} bars", flush=True)
    return float(clock)


async def measure(folder: Path, options: argparse.Namespace) -> None:
    """Fill a file and measure."""
    resampling = Resampling.of(FEED, options.to)
    store = await Store.open(folder / "offsets.duckdb", clock=ManualClock(START_MS), memory_limit="1GB", threads=2)
    await store.add_feed(FEED, num_candles=options.bars)
    await store.run(lambda connection: fill(connection, options.symbols, options.bars))
    cursor = store.cursor()
    cursor.execute("SET TimeZone = 'UTC'")
    table = cursor.execute(
        f"SELECT * EXCLUDE (source, recorded_at) FROM {FEED.name}.candles ORDER BY ALL"
    ).to_arrow_table()
    whole: Any = pl.from_arrow(table)
    polars_frames = {str(key[0]): frame for key, frame in whole.group_by("symbol", maintain_order=True)}
    pandas_frames = {name: frame.to_pandas().set_index("open_time") for name, frame in polars_frames.items()}
    end_ms = START_MS + options.bars * STEP_MS
    query, params = resample.bars_query(resampling, START_MS, end_ms)
    bare, bare_params = resample.bars_query(resampling, START_MS, end_ms, funding=False)
    jobs: dict[str, tuple[Callable[[], int], int]] = {
        "bmacdb": (lambda: int(cursor.execute(bare, bare_params).to_arrow_table().num_rows), options.rounds),
        "bmacdb with fundings": (lambda: int(cursor.execute(query, params).to_arrow_table().num_rows), options.rounds),
        "polars, per symbol": (lambda: by_polars(polars_frames, resampling), options.rounds),
        "pandas, per symbol": (lambda: by_pandas(pandas_frames, resampling), options.pandas_rounds),
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    rows: dict[str, int] = {}
    for number in range(options.rounds):
        for name, (work, rounds) in jobs.items():
            if number < rounds:
                rows[name] = timed(work, seconds[name])
    clocks = {name: told(name, seconds[name], rows[name]) for name in jobs if seconds[name]}
    assert len(set(rows.values())) == 1, f"the jobs differ: {rows}"
    for name in ("polars, per symbol", "pandas, per symbol"):
        if name in clocks:
            print(f"{name}: {clocks[name] / clocks['bmacdb']:.1f} times bmacdb")

    await store.beside(lambda connection: resample.create(connection, resampling, START_MS))
    alone: list[tuple[float, float]] = []
    written: list[tuple[float, float]] = []
    count = 0
    for place in range(options.bars - 40, options.bars + 1):
        open_ms = resampling.ending_at(START_MS + place * STEP_MS)
        assert open_ms is not None

        def ask(connection: duckdb.DuckDBPyConnection, open_ms: int = open_ms) -> int:
            text, values = resample.ending_query(resampling, open_ms, None)
            return len(connection.execute(text, values).fetchall())

        def make(connection: duckdb.DuckDBPyConnection, open_ms: int = open_ms) -> int:
            made, _ = resample.make(
                connection, resampling, open_ms, complete=True, traded=options.symbols, now_ms=START_MS
            )
            return made.ready

        await store.beside(lambda connection: timed(lambda: ask(connection), alone))
        count = await store.beside(lambda connection: timed(lambda: make(connection), written))
    told("bars that end at one run time", alone, count)
    told("the same, written and noted", written, count)
    await store.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Hour bars at every offset, beside pandas and polars.")
    parser.add_argument("--symbols", type=int, default=600)
    parser.add_argument("--bars", type=int, default=1500, help="five-minute bars of each symbol")
    parser.add_argument("--to", default="1h", help="interval of the bars to make")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pandas-rounds", type=int, default=1, help="of pandas, which takes long (0: leave it out)")
    parser.add_argument("--folder", type=Path, default=None, help="where the file is made [default: a temporary one]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        asyncio.run(measure(options.folder or Path(temporary), options))


if __name__ == "__main__":
    main()
