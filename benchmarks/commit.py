"""How long a period takes to commit, and whether that depends on how much there is already.

    python benchmarks/commit.py [--millions 0.1 1 6] [--periods 100] [--symbols 600] [--folder DIR]

Fills files with candles and readiness, then commits whole periods (a candle and a readiness row a symbol, and the run)
through the Store, alternating with SQLite (primary keys, write-ahead log, synchronous=FULL as DuckDB is), and prints
medians and 99th percentiles in milliseconds, the ratio of the largest file to the smallest, and the resident memory.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import sqlite3
import tempfile
import time
from pathlib import Path
from statistics import median

import duckdb
import msgspec
import psutil

from bmacdb.clock import ManualClock
from bmacdb.model import Batch, Candle, Ready, Run, Source
from bmacdb.store.writer import Store
from bmacdb.symbols import make_feed

__all__ = ["main"]

FEED = make_feed("usdt_perp", "1m")
MINUTE_MS = 60_000
START_MS = 1_700_000_040_000


def period(number: int, symbols: int, digits: random.Random) -> Batch:
    """A whole period, `number` minutes after the start."""
    open_ms = START_MS + number * MINUTE_MS
    run_time_ms = open_ms + MINUTE_MS
    draw = digits.random
    candles = tuple(
        Candle(f"SYM{n:04d}USDT", open_ms, draw(), draw(), draw(), draw(), draw(), draw(), n, draw(), draw(), Source.WS)
        for n in range(symbols)
    )
    ready = tuple(Ready(run_time_ms, candle.symbol, run_time_ms + 100, "ws") for candle in candles)
    run = Run(run_time_ms, symbols, symbols, run_time_ms + 100, candles[-1].symbol, 0, ())
    return Batch(FEED.name, run_time_ms + 150, candles, ready, (run,))


def fill(connection: duckdb.DuckDBPyConnection, periods: int, symbols: int) -> None:
    """`periods` whole periods, in time order, some millions of rows at a time."""
    times = f"make_timestamptz({1000 * START_MS} + {60_000_000} * minute)"
    due = f"{times} + INTERVAL 1 MINUTE"
    name = "printf('SYM%04dUSDT', number)"
    values = ", ".join(["random()"] * 6 + ["number", "random()", "random()"])
    for first in range(0, periods, 4000):
        minutes = f"range({first}, {min(first + 4000, periods)}) AS minutes(minute)"
        rows = f"{minutes}, range({symbols}) AS numbers(number) ORDER BY minute, number"
        connection.execute(f"INSERT INTO {FEED.name}.candles SELECT {name}, {times}, {values}, 'ws', {due} FROM {rows}")
        connection.execute(f"INSERT INTO {FEED.name}.run_status SELECT {due}, {name}, {due}, 'ws' FROM {rows}")
    connection.execute("CHECKPOINT")


class Sqlite:
    """The same rows in SQLite, with the keys that it would have."""

    def __init__(self, path: Path, periods: int, symbols: int) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
            "CREATE TABLE candles (symbol, open_time, o, h, l, c, v, q, n, tb, tq, source, recorded_at,"
            " PRIMARY KEY (open_time, symbol)) WITHOUT ROWID;"
            "CREATE TABLE run_status (run_time, item, ready_at, source, PRIMARY KEY (run_time, item)) WITHOUT ROWID;"
            "CREATE TABLE runs (run_time PRIMARY KEY, expected, ready, complete_at, last_item, repaired, missing);"
        )
        self.fill(periods, symbols)

    def fill(self, periods: int, symbols: int) -> None:
        """So many whole periods at once, in the order in which they would have come."""
        counted = "counted(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM counted WHERE n + 1 < {})"
        numbers = f"(WITH RECURSIVE {counted} SELECT n FROM counted)"
        rows = f"FROM {numbers.format(periods)} AS bars CROSS JOIN {numbers.format(symbols)} AS names"
        name, at = "printf('SYM%04dUSDT', names.n)", f"{START_MS} + {MINUTE_MS} * bars.n"
        draw = "random() / 9.3e18"
        values = ", ".join([draw] * 6 + ["names.n", draw, draw])
        self._db.execute("BEGIN")
        self._db.execute(f"INSERT INTO candles SELECT {name}, {at}, {values}, 'ws', {at} {rows}")
        self._db.execute(f"INSERT INTO run_status SELECT {at} + {MINUTE_MS}, {name}, {at}, 'ws' {rows}")
        self._db.execute("COMMIT")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _write(self, batch: Batch) -> None:
        self._db.executemany(
            f"INSERT OR REPLACE INTO candles VALUES ({', '.join('?' * 13)})",
            [(*msgspec.structs.astuple(candle), batch.recorded_at_ms) for candle in batch.candles],
        )
        self._db.executemany(
            "INSERT OR IGNORE INTO run_status VALUES (?, ?, ?, ?)",
            [(row.run_time_ms, row.item, row.ready_at_ms, row.source) for row in batch.ready],
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (run.run_time_ms, run.expected, run.ready, run.complete_at_ms, run.last_item, run.repaired, "")
                for run in batch.runs
            ],
        )

    def commit(self, batch: Batch) -> None:
        self._db.execute("BEGIN")
        self._write(batch)
        self._db.execute("COMMIT")

    def close(self) -> None:
        self._db.close()


def told(name: str, seconds: list[float]) -> str:
    ordered = sorted(seconds)
    at = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    return f"{name} median {1000 * median(ordered):6.2f}  p99 {1000 * at:7.2f} ms"


async def measure(folder: Path, millions: float, options: argparse.Namespace) -> tuple[float, float]:
    """Median seconds of a commit by (the Store, SQLite) into a file of so many million candles."""
    symbols: int = options.symbols
    periods = round(1e6 * millions / symbols)
    store = await Store.open(folder / f"{millions:g}m.duckdb", clock=ManualClock(START_MS))
    await store.add_feed(FEED, num_candles=1500)
    await store.run(lambda connection: fill(connection, periods, symbols))
    other = Sqlite(folder / f"{millions:g}m.sqlite", periods, symbols)
    digits = random.Random(2)
    await store.commit(period(periods, symbols, digits))  # what is known of the file is read once
    ours: list[float] = []
    theirs: list[float] = []
    gc.collect()
    gc.freeze()
    for number in range(periods + 1, periods + 1 + options.periods):
        batch = period(number, symbols, digits)
        before = time.perf_counter()
        await store.commit(batch)
        between = time.perf_counter()
        other.commit(batch)
        ours.append(between - before)
        theirs.append(time.perf_counter() - between)
    print(
        f"{millions:5g} M candles: {told('Store', ours)}   {told('SQLite', theirs)}"
        f"   log {store.wal_bytes() / 1e6:.1f} MB   resident {psutil.Process().memory_info().rss / 1e6:.0f} MB",
        flush=True,
    )
    other.close()
    await store.close()
    return median(ours), median(theirs)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Commit whole periods into files of growing size.")
    parser.add_argument("--millions", type=float, nargs="+", default=[0.1, 1.0, 6.0], help="candles there already")
    parser.add_argument("--periods", type=int, default=100, help="periods to commit into each file")
    parser.add_argument("--symbols", type=int, default=600, help="symbols a period")
    parser.add_argument("--folder", type=Path, help="where to make the files (a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        medians = [asyncio.run(measure(Path(folder), millions, options)) for millions in options.millions]
    ours, theirs = (last / first for first, last in zip(medians[0], medians[-1], strict=True))
    print(f"largest to smallest: Store {ours:.2f}, SQLite {theirs:.2f}")


if __name__ == "__main__":
    main()
