"""Hour bars at all twelve offsets of five-minute bars, beside polars and pandas per symbol."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.measured import Row, alternate
from benchmarks.offsets import FEED, START_MS, STEP_MS, by_pandas, by_polars, fill
from benchmarks.parts.limits import memory_ms_per_mb
from bmacdb.clock import ManualClock
from bmacdb.offset import Resampling
from bmacdb.store import resample
from bmacdb.store.writer import Store

__all__ = ["measure"]


async def resampling_all(full: bool, folder: Path) -> Row:
    symbols, bars = (600, 1500) if full else (150, 1500)
    resampling = Resampling.of(FEED, "1h")
    store = await Store.open(folder / "offsets.duckdb", clock=ManualClock(START_MS), memory_limit="1GB", threads=2)
    await store.add_feed(FEED, num_candles=bars)
    await store.run(lambda connection: fill(connection, symbols, bars))
    cursor = store.cursor()
    cursor.execute("SET TimeZone = 'UTC'")
    every = f"SELECT * EXCLUDE (source, recorded_at) FROM {FEED.name}.candles ORDER BY ALL"
    whole: Any = pl.from_arrow(cursor.execute(every).to_arrow_table())
    in_polars = {str(key[0]): frame for key, frame in whole.group_by("symbol", maintain_order=True)}
    in_pandas = {name: frame.to_pandas().set_index("open_time") for name, frame in in_polars.items()}
    query, params = resample.bars_query(resampling, START_MS, START_MS + bars * STEP_MS, funding=False)
    rows: dict[str, int] = {}

    def ours() -> None:
        rows["bmacdb"] = cursor.execute(query, params).to_arrow_table().num_rows

    def polars() -> None:
        rows["polars"] = by_polars(in_polars, resampling)

    def pandas() -> None:
        rows["pandas"] = by_pandas(in_pandas, resampling)

    ways = {"bmacdb": ours, "polars per symbol": polars, "pandas per symbol": pandas}
    found = alternate(ways, 9 if full else 3, few=("pandas per symbol",))
    if len(set(rows.values())) != 1:
        raise AssertionError(f"the ways made different numbers of bars: {rows}")
    await store.close()
    volume = symbols * bars * (10 + 10) * 8 / 1e6  # read once, written once: every bar is in twelve windows' ends
    limit = ("reading and writing the columns", memory_ms_per_mb() * volume)
    work = f"hour bars at 12 offsets of {symbols} × {bars} five-minute bars"
    return Row("offsets", work, "ms", found.pop("bmacdb"), found, limit=limit)


def measure(full: bool, folder: Path) -> Iterator[Row]:
    """The same job in turns; the others' frames are made beforehand and not counted."""
    yield asyncio.run(resampling_all(full, folder))
