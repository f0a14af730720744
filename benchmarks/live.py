"""From the commit of a period's last candle to the finished table in another process: as candles come, and at the end.

    python -m benchmarks.live [--symbols 260] [--seconds 4] [--candles 1500] [--rounds 5] [--folder DIR]

A process records as the recorder does: the symbols of a period come in any order within `--seconds`, and are committed
in portions, each as soon as the one before is. This one has a market of `bmacdb.subscribe` and a connection to the
database. In turns, a period each: factors as candles come (`market.factors`), and all of them once
the market is complete, out of the database (`BmacAllMarketCalculator`). Both give the same bits. Printed in
milliseconds: median and worst of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd

from benchmarks import factors
from benchmarks.factors import FEED, OWN, START_MS, STEP_MS, TWENTY, TWO
from bmacdb.clock import SystemClock, from_ms
from bmacdb.factors.library import Library, Plan
from bmacdb.kit import BmacAllMarketCalculator, CandleReader
from bmacdb.kit.engine import compute_plan
from bmacdb.live.events import CandleEvent, CompleteEvent
from bmacdb.live.market import Market, subscribe
from bmacdb.model import Batch, Candle, Ready, Run, Source
from bmacdb.store.serve import Server
from bmacdb.store.writer import Store

__all__ = ["main"]

SEED = 7
FIRST = "SYM0000USDT"


async def record(path: Path, symbols: int, candles: int) -> None:
    """Fills and serves; for each number of seconds on stdin one more period. Tells when the first symbol's candle and
    when the last one was committed, in nanoseconds of the machine's monotonic clock."""
    store = await Store.open(path, clock=SystemClock())
    await store.add_feed(FEED, num_candles=candles)
    await store.run(lambda connection: factors.fill(connection, symbols, candles))
    server = await Server.start(store, clock=SystemClock(), info=lambda: {"version": "benchmark"})
    draw = np.random.default_rng(SEED)
    bar = candles
    try:
        print("serving", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            open_ms = START_MS + bar * STEP_MS
            run_ms = open_ms + STEP_MS
            began = time.monotonic()
            times = np.sort(draw.random(symbols)) * float(line)
            order = draw.permutation(symbols)
            done, first_ns = 0, 0
            while done < symbols:
                arrived = int(np.searchsorted(times, time.monotonic() - began))
                if arrived == done:
                    await asyncio.sleep(max(times[done] - (time.monotonic() - began), 0.0005))
                    continue
                numbers = order[done:arrived].tolist()
                bars = tuple(
                    Candle(f"SYM{n:04d}USDT", open_ms, *(draw.random(6) + 50).tolist(), n + 1, 9.0, 9.0, Source.WS)
                    for n in numbers
                )
                ready = tuple(Ready(run_ms, one.symbol, run_ms, "ws") for one in bars)
                whole = arrived == symbols
                run = Run(
                    run_ms, symbols, arrived, run_ms if whole else None, bars[-1].symbol if whole else None, 0, ()
                )
                batch = Batch(FEED.name, run_ms, bars, ready, (run,))
                written = await store.commit(batch)
                last_ns = time.monotonic_ns()
                server.announce(batch, written)
                first_ns = last_ns if 0 in numbers else first_ns
                done = arrived
            print(first_ns, last_ns, flush=True)
            bar += 1
    finally:
        await server.close()
        await store.close()


def measure(folder: Path, options: argparse.Namespace) -> None:
    path = folder / "bmac.duckdb"
    arguments = ["--serve", str(path), "--symbols", str(options.symbols), "--candles", str(options.candles)]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.live", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "serving\n"
    (folder / "benchmark_own").mkdir()
    for name, expression in OWN.items():
        text = f"def signal(*args):\n    df, n, name = args[:3]\n    df[name] = {expression}\n    return df\n"
        (folder / "benchmark_own" / f"{name}.py").write_text(text)
    sys.path.insert(0, str(folder))
    works = {
        "rows": [],
        "2 SQL factors": TWO,
        "20 SQL factors": TWENTY,
        "10 pandas modules": [(name, 48) for name in OWN],
    }
    run_ms = START_MS + options.candles * STEP_MS

    def period() -> None:
        assert process.stdin is not None
        process.stdin.write(f"{options.seconds}\n")
        process.stdin.flush()

    def ended() -> tuple[int, int]:
        assert process.stdout is not None
        first, last = process.stdout.readline().split()
        return int(first), int(last)

    try:
        with CandleReader(path) as reader, subscribe(path, window=options.candles) as market:
            for name, wanted in works.items():
                plan = Library("benchmark_own").plan(wanted) if wanted else None
                here: list[float] = []
                there: list[float] = []
                own: list[float] = []
                for number in range(-1, options.rounds):  # the first round warms up
                    run_ms += STEP_MS
                    spent = streamed(market, reader, plan, run_ms, period, ended)
                    if number >= 0:
                        here.append(spent[0])
                        own.append(spent[1])
                    if plan is None or options.alone:
                        continue
                    run_ms += STEP_MS
                    took = at_the_end(reader, wanted, run_ms, period, ended)
                    market.complete_blocking(run_ms)
                    if number >= 0:
                        there.append(took)
                tell(name, here, there, own if plan is not None else [])
    finally:
        process.communicate()


def streamed(
    market: Market,
    reader: CandleReader,
    plan: Plan | None,
    run_ms: int,
    period: Callable[[], None],
    ended: Callable[[], tuple[int, int]],
) -> tuple[float, float]:
    """Milliseconds from the last commit to the table, and from that of the first symbol to its own factors."""
    if plan is None:
        period()
        market.complete_blocking(run_ms)
        there_ns = time.monotonic_ns()
        return (there_ns - ended()[1]) / 1e6, 0.0
    own_ns = 0
    with market.factors(plan) as stream:
        period()
        for event in market:
            if isinstance(event, CandleEvent) and FIRST in event.symbols:
                stream.one(run_ms, FIRST)
                own_ns = time.monotonic_ns()
            if isinstance(event, CompleteEvent) and event.complete and event.run_time == from_ms(run_ms):
                break
        found = stream.table(run_ms).frame
        there_ns = time.monotonic_ns()
    first_ns, last_ns = ended()
    check(reader, plan, run_ms, found)
    return (there_ns - last_ns) / 1e6, (own_ns - first_ns) / 1e6


def check(reader: CandleReader, plan: Plan, run_ms: int, found: pd.DataFrame) -> None:
    other = compute_plan(reader.source, plan, run_ms - STEP_MS, run_ms - STEP_MS).frame
    pd.testing.assert_frame_equal(found, other, check_exact=True)


def at_the_end(
    reader: CandleReader,
    wanted: list[tuple[str, int]],
    run_ms: int,
    period: Callable[[], None],
    ended: Callable[[], tuple[int, int]],
) -> float:
    """Milliseconds from the last commit to the table that is read and computed from then on."""
    calculator = BmacAllMarketCalculator(reader, reader, wanted, package="benchmark_own", bmac_expire_sec=1e12)

    async def once() -> int:
        waiting = asyncio.ensure_future(calculator.calc_all_factors(from_ms(run_ms)))
        await asyncio.sleep(0.3)  # until it waits
        period()
        await waiting
        return time.monotonic_ns()

    there_ns = asyncio.run(once())
    return (there_ns - ended()[1]) / 1e6


def tell(name: str, here: list[float], there: list[float], own: list[float]) -> None:
    line = f"{name:<20}as candles come {median(here):8.1f} (worst {max(here):8.1f})"
    if there:
        line += (
            f"   at the end {median(there):8.1f} (worst {max(there):8.1f})   {median(there) / median(here):5.1f} times"
        )
    if own:
        line += f"   one symbol's own {median(own):6.1f}"
    print(line, flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="From the last candle's commit to the table in another process.")
    parser.add_argument("--symbols", type=int, default=260)
    parser.add_argument("--seconds", type=float, default=4.0, help="within which the candles of a period come")
    parser.add_argument("--candles", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alone", action="store_true", help="only as candles come")
    parser.add_argument("--folder", type=Path, help="where to make the files (a temporary one)")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(record(options.serve, options.symbols, options.candles))
        return
    print(f"{options.symbols} symbols within {options.seconds:g} s, load {os.getloadavg()[0]:.1f}; milliseconds")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        measure(Path(folder), options)


if __name__ == "__main__":
    main()
