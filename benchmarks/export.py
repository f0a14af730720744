"""How long the predecessor's files of a whole market take, and what commits notice of it.

    python benchmarks/export.py [--symbols 600] [--bars 1500] [--rounds 5] [--folder DIR]

A file of 600 symbols × 1500 bars; each round commits a whole period and then, every 20 ms, one candle more (as those of
another feed come), once with the export at work beside it and once without, alternating. Prints the seconds until all
files are written, and the milliseconds of these commits, with and without: median, 99th percentile, worst.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import duckdb

from bmacdb.clock import ManualClock
from bmacdb.interval import MINUTE_MS
from bmacdb.model import Batch, Candle, Ready, Run, Source
from bmacdb.recorder.export import LiveExport
from bmacdb.store.writer import Store
from bmacdb.symbols import make_feed

__all__ = ["main"]

FEED = make_feed("usdt_perp", "5m")
OTHER = make_feed("usdt_spot", "1m")
STEP_MS = 5 * MINUTE_MS
START_MS = 1_699_999_200_000


def fill(connection: duckdb.DuckDBPyConnection, symbols: int, bars: int) -> None:
    """Bars of every symbol in the order of time."""
    times = f"make_timestamptz(1000 * ({START_MS} + {STEP_MS} * bar))"
    values = ", ".join([*["random()"] * 6, "7", "random()", "random()"])
    connection.execute(
        f"INSERT INTO {FEED.name}.candles SELECT printf('SYM%04dUSDT', number), {times}, {values}, 'ws', {times} "
        f"FROM range({bars}) AS bars(bar), range({symbols}) AS numbers(number) ORDER BY bar, number"
    )
    connection.execute("CHECKPOINT")


def period(run_time_ms: int, symbols: int) -> Batch:
    names = [f"SYM{number:04d}USDT" for number in range(symbols)]
    bars = tuple(bar(name, run_time_ms - STEP_MS) for name in names)
    ready = tuple(Ready(run_time_ms, name, run_time_ms + 50, "ws") for name in names)
    run = Run(run_time_ms, symbols, symbols, run_time_ms + 50, names[-1], 0, ())
    return Batch(FEED.name, run_time_ms + 50, bars, ready, (run,))


def bar(symbol: str, open_ms: int) -> Candle:
    return Candle(symbol, open_ms, 1.0, 2.0, 0.5, 1.5, 10.0, 12.0, 7, 5.0, 6.0, Source.WS)


async def measure(folder: Path, options: argparse.Namespace) -> None:
    """Fill a file, and commit with and without the export."""
    sys.setswitchinterval(0.0005)  # as the recorder does
    store = await Store.open(folder / "export.duckdb", clock=ManualClock(START_MS))
    for feed in (FEED, OTHER):
        await store.add_feed(feed, num_candles=options.bars)
    await store.run(lambda connection: fill(connection, options.symbols, options.bars))
    export = LiveExport(
        store,
        [FEED],
        folder / "files",
        save_type="parquet",
        num_candles=options.bars,
        clock=ManualClock(START_MS),
        report=print,
        call=asyncio.get_running_loop().call_soon_threadsafe,
    )
    export.start()
    seconds: list[float] = []
    commits: dict[bool, list[float]] = {True: [], False: []}
    minute = 0
    for number in range(1, 2 * options.rounds + 3):
        with_export = bool(number % 2)
        batch = period(START_MS + (options.bars + number) * STEP_MS, options.symbols)
        await store.commit(batch)
        before, wanted = time.perf_counter(), export.written + options.symbols
        if with_export:
            export.committed(batch)
        at_least, told = 60, False
        while at_least or (with_export and export.written < wanted):
            at_least = max(0, at_least - 1)
            minute += 1
            candle = bar("BTCUSDT", START_MS + minute * MINUTE_MS)
            ready = Ready(candle.open_time_ms + MINUTE_MS, candle.symbol, candle.open_time_ms, "ws")
            began = time.perf_counter()
            await store.commit(Batch(OTHER.name, candle.open_time_ms, (candle,), (ready,)))
            busy = not with_export or export.written < wanted
            if busy and number > 2:
                commits[with_export].append(time.perf_counter() - began)
            await asyncio.sleep(0.02)
            if with_export and number > 2 and export.written >= wanted and not told:
                seconds.append(time.perf_counter() - before)
                told = True
    await asyncio.to_thread(export.stop)
    print(f"files of {options.symbols} symbols written in {median(seconds):.2f} s (of {len(seconds)} rounds)")
    for with_export, name in ((False, "without"), (True, "beside the export")):
        found = sorted(commits[with_export])
        at = found[min(len(found) - 1, int(0.99 * len(found)))]
        shown = "  ".join(f"{1000 * value:6.2f}" for value in (median(found), at, found[-1]))
        print(f"commits {name:18} {shown} ms  of {len(found)}")
    await store.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The predecessor's files of a whole market, beside commits.")
    parser.add_argument("--symbols", type=int, default=600)
    parser.add_argument("--bars", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None, help="where files are made [default: a temporary one]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        asyncio.run(measure(options.folder or Path(temporary), options))


if __name__ == "__main__":
    main()
