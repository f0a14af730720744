"""What a period costs to commit, and that it does not cost more when the file is large.

All the files are open at once and take turns, so that a busy moment is everyone's. One file per symbol is measured on
ten symbols, which hold as many rows as each symbol of the database does, and reckoned for all of them.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import duckdb
import pandas as pd

from benchmarks.commit import FEED, MINUTE_MS, START_MS, Sqlite, fill, period
from benchmarks.measured import Row, millis
from benchmarks.parts.limits import fsync_ms
from bmacdb.clock import ManualClock
from bmacdb.model import Batch
from bmacdb.store.writer import Store

__all__ = ["measure"]

SYMBOLS = 500
FEW = 10
FILES = "parquet per symbol"


class Files:
    """A parquet file per symbol: read, concat, write, and a ready file."""

    def __init__(self, folder: Path, rows: int) -> None:
        folder.mkdir()
        self._folder = folder
        times = f"make_timestamptz({1000 * START_MS} + {1000 * MINUTE_MS} * bar) AS open_time"
        columns = ["open", "high", "low", "close", "volume", "quote_volume"]
        drawn = ", ".join(f"random() AS {name}" for name in columns)
        for number in range(FEW):
            duckdb.execute(
                f"COPY (SELECT {times}, {drawn}, bar AS trade_num, random() AS taker_base, random() AS taker_quote "
                f"FROM range({rows}) AS bars(bar)) TO '{self._path(number)}' (FORMAT parquet)"
            )

    def _path(self, number: int) -> Path:
        return self._folder / f"SYM{number:04d}USDT.pqt"

    def commit(self, batch: Batch) -> float:
        """Seconds for all symbols, reckoned from few."""
        before = time.perf_counter()
        for number in range(FEW):
            bar = batch.candles[number]
            old = pd.read_parquet(self._path(number))
            values = [pd.Timestamp(bar.open_time_ms, unit="ms", tz="UTC"), bar.open, bar.high, bar.low, bar.close]
            values += [bar.volume, bar.quote_volume, bar.trade_num, bar.taker_buy_base_asset_volume]
            new = pd.DataFrame([[*values, bar.taker_buy_quote_asset_volume]], columns=old.columns).astype(old.dtypes)
            pd.concat([old, new], ignore_index=True).to_parquet(self._path(number))
            (self._folder / f"{bar.symbol}_{bar.open_time_ms}.ready").touch()
        return (time.perf_counter() - before) * SYMBOLS / FEW


async def committing(full: bool, folder: Path) -> Iterator[Row]:
    sizes = [0.1, 1.0, 10.0, 50.0] if full else [0.1, 1.0]
    rounds, file_rounds = (200, 3) if full else (60, 3)
    stores: dict[float, Store] = {}
    others: dict[float, Sqlite] = {}
    folders: dict[float, Files] = {}
    for millions in sizes:
        periods = round(1e6 * millions / SYMBOLS)
        store = await Store.open(folder / f"{millions:g}m.duckdb", clock=ManualClock(START_MS))
        await store.add_feed(FEED, num_candles=1500)
        await store.run(partial(fill, periods=periods, symbols=SYMBOLS))
        stores[millions] = store
        others[millions] = Sqlite(folder / f"{millions:g}m.sqlite", periods, SYMBOLS)
        folders[millions] = Files(folder / f"{millions:g}m", periods)
    digits = random.Random(2)
    ours: dict[float, list[float]] = {size: [] for size in sizes}
    sqlite: dict[float, list[float]] = {size: [] for size in sizes}
    files: dict[float, list[float]] = {size: [] for size in sizes}
    gc.collect()
    gc.freeze()
    for number in range(rounds + 1):
        for size in sizes:
            batch = period(round(1e6 * size / SYMBOLS) + number, SYMBOLS, digits)
            before = time.perf_counter()
            await stores[size].commit(batch)
            took = (time.perf_counter() - before) * 1000
            beside = millis(lambda: others[size].commit(batch))  # noqa: B023
            if number:  # what is known of a file is read with the first
                ours[size].append(took)
                sqlite[size].append(beside)
            if number < file_rounds:
                files[size].append(folders[size].commit(batch) * 1000)
    limit = ("fsync of 64 KB", fsync_ms(folder))
    rows = [
        Row(
            "commit",
            f"{SYMBOLS} bars, {SYMBOLS} readiness rows and the run into {size:g} M rows",
            "ms",
            tuple(ours[size]),
            {"SQLite": tuple(sqlite[size]), FILES: tuple(files[size])},
            limit=limit,
        )
        for size in sizes
    ]
    growth = {
        name: tuple(last / first for first, last in zip(took[sizes[0]], took[sizes[-1]], strict=True))
        for name, took in (("ours", ours), ("SQLite", sqlite), (FILES, files))
    }
    work = f"growth from {sizes[0]:g} to {sizes[-1]:g} M rows (1 is none; at most 1.5 is wanted)"
    rows.append(Row("commit", work, "times", growth.pop("ours"), growth))
    for size in sizes:
        await stores[size].close()
        others[size].close()
    return iter(rows)


def measure(full: bool, folder: Path) -> Iterator[Row]:
    """Commits into files of growing size."""
    yield from asyncio.run(committing(full, folder))
