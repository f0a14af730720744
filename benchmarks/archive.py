"""How fast archive files get into the record, and what a candle takes on the disk.

    python benchmarks/archive.py [--files 24] [--again] [--folder DIR]

Makes months of minute bars as the archive has them (zips of 43 200 rows or so), imports them into a fresh file with
DuckDB on one thread and the process bound to one core, where the system can do that, and prints rows a second (of real
time, and of processor time, which a busy machine does not change), resident memory, and bytes a candle after the
checkpoint. `--again` imports the same files a second time, which compares every bar and writes none.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path

import psutil
import pyarrow as pa

from bmacdb.archive.layout import parse_key
from bmacdb.archive.load import Found, Totals, load
from bmacdb.archive.sink import open_sink
from bmacdb.clock import SystemClock
from bmacdb.exchange.simulated import SimulatedExchange
from bmacdb.symbols import parse_feed

__all__ = ["main"]

FEED = parse_feed("usdt_perp_1m")
MONTHS = ("2026-02", "2026-03", "2026-04", "2026-05", "2026-06", "2026-07")


def make(folder: Path, count: int) -> list[Found]:
    """`count` files, in the archive's layout, in order of time."""
    exchange = SimulatedExchange(symbols=max(count // len(MONTHS), 1) + 1, start_ms=1_795_453_200_000)
    symbols = [one.symbol for one in exchange.universe.trading(FEED.market, exchange.start_ms)]
    found = []
    for month in MONTHS:
        for symbol in symbols:
            key = f"data/futures/um/monthly/klines/{symbol}/1m/{symbol}-1m-{month}.zip"
            file = parse_key(key)
            if file is None or len(found) == count:
                continue
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(exchange.archive.content(key))
            found.append(Found(path, file))
    return found


async def run(database: Path, files: list[Found]) -> tuple[Totals, float, float]:
    """Import, and the seconds it took: of real time and of the processor."""
    clock = SystemClock()
    wall, busy = time.perf_counter(), time.process_time()
    sink = await open_sink(database, FEED, clock=clock)
    try:
        _, totals = await load(files, sink, clock=clock)
    finally:
        await sink.close()
    return totals, time.perf_counter() - wall, time.process_time() - busy


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Import archive files.")
    parser.add_argument("--files", type=int, default=24, help="months of a symbol")
    parser.add_argument("--again", action="store_true", help="import them a second time as well")
    parser.add_argument("--folder", type=Path, help="where to make the files (a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        files = make(folder / "archive", options.files)
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        pa.set_cpu_count(1)
        database = folder / "bmac.duckdb"
        for attempt in range(2 if options.again else 1):
            totals, wall, busy = asyncio.run(run(database, files))
            print(
                f"{'again' if attempt else 'import'}: {totals.rows} rows of {totals.files} files, {totals.added} new: "
                f"{totals.rows / wall:,.0f} rows/s of real time, {totals.rows / busy:,.0f} of processor time; "
                f"resident {psutil.Process().memory_info().rss / 1e6:.0f} MB, "
                f"{database.stat().st_size / max(totals.rows, 1):.1f} bytes a candle",
                flush=True,
            )


if __name__ == "__main__":
    main()
