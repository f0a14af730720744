"""How long factors take, beside the predecessor's way in the same run.

    python benchmarks/factors.py [--symbols 600] [--candles 1500] [--rounds 15] [--folder DIR]

A process serves a database as the recorder does; this one asks it. Printed, in milliseconds (median of the rounds):
two factors of the whole market at the latest run time, 20 SQL factors, 10 pandas factors, from the commit of a period
to the finished table of two factors, and the same two factors from a parquet file per symbol, and by a pandas group-by
over a frame that is in memory already.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import duckdb
import numpy as np
import pandas as pd

from bmacdb.clock import SystemClock, from_ms
from bmacdb.factors.library import Library
from bmacdb.kit import BmacAllMarketCalculator, CandleReader
from bmacdb.kit.engine import compute_plan
from bmacdb.model import Batch, Candle, Ready, Run, Source
from bmacdb.store.serve import Server
from bmacdb.store.writer import Store
from bmacdb.symbols import make_feed

__all__ = ["main"]

FEED = make_feed("usdt_perp", "5m")
STEP_MS = 300_000
START_MS = 1_767_225_600_000

TWO = [("PctChg", 100), ("TrdNumMeanV1", 80)]
NAMES = (
    *("PctChg", "MtmMean", "MtmAtrMean", "Bias", "RsiSum", "Cci", "Atr", "BollWidth", "Volatility", "Skew"),
    *("ILLQMean", "QuoteVolumeMean", "VolumeRatio", "VwapBias", "TakerBuyRatio", "NetTaBuyStd", "MaxDrawdown"),
    *("Amplitude", "TrdNumMeanV1", "Amihud"),
)
TWENTY = [(name, 24) for name in NAMES]
OWN = {
    "Change": "df['close'].pct_change(n)",
    "Mean": "df['close'] / df['close'].rolling(n, min_periods=1).mean() - 1",
    "Deviation": "df['close'].pct_change().rolling(n).std()",
    "Average": "df['close'].ewm(span=n, adjust=False).mean()",
    "Turnover": "df['quote_volume'].rolling(n, min_periods=1).mean()",
    "Range": "df['high'].rolling(n).max() / df['low'].rolling(n).min() - 1",
    "Trades": "((df['high'] - df['low']) / df['open'] / df['trade_num']).rolling(n, min_periods=1).mean()",
    "Takers": "df['taker_buy_quote_asset_volume'].rolling(n).sum() / df['quote_volume'].rolling(n).sum()",
    "Skewness": "df['close'].pct_change().rolling(n).skew()",
    "Relation": "df['close'].rolling(n).corr(df['volume'])",
}
"""Ten factors as users write them; without LOOKBACK each is given all candles."""


def fill(connection: duckdb.DuckDBPyConnection, symbols: int, candles: int) -> None:
    """Whole periods at once, in time order: random walks that are all different."""
    opened = f"make_timestamptz({1000 * START_MS} + {1000 * STEP_MS} * bar)"
    price = "SELECT bar, number, 50 + number + 5 * sin(bar / 97.0 + number) + random() / 10 AS price"
    rows = f"{price} FROM range({candles}) AS bars(bar), range({symbols}) AS numbers(number)"
    prices = "price, price * (1 + random() / 500), price * (1 - random() / 500), price * (1 + random() / 1000)"
    volumes = "random() * 1000, random() * 1e5, 1 + (random() * 400)::BIGINT, random() * 500, random() * 5e4"
    connection.execute(
        f"INSERT INTO {FEED.name}.candles SELECT printf('SYM%04dUSDT', number), {opened}, {prices}, {volumes}, 'ws',"
        f" {opened} FROM ({rows}) ORDER BY bar, number"
    )


async def serve(path: Path, symbols: int, candles: int) -> None:
    """The recorder's part: fills, serves, and commits one more period for each line on stdin, telling when it has."""
    store = await Store.open(path, clock=SystemClock())
    await store.add_feed(FEED, num_candles=candles)
    await store.run(lambda connection: fill(connection, symbols, candles))
    server = await Server.start(store, clock=SystemClock(), info=lambda: {"version": "benchmark"})
    bar = candles
    draw = np.random.default_rng(1)
    try:
        print("serving", flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            open_ms = START_MS + bar * STEP_MS
            run_ms = open_ms + STEP_MS
            bars = tuple(
                Candle(f"SYM{n:04d}USDT", open_ms, *(draw.random(6) + 50).tolist(), n + 1, 9.0, 9.0, Source.WS)
                for n in range(symbols)
            )
            ready = tuple(Ready(run_ms, one.symbol, run_ms, "ws") for one in bars)
            run = Run(run_ms, symbols, symbols, run_ms, bars[-1].symbol, 0, ())
            batch = Batch(FEED.name, run_ms, bars, ready, (run,))
            await store.commit(batch)
            committed = SystemClock().now_ms()
            server.announce(batch)
            print(committed, flush=True)
            bar += 1
    finally:
        await server.close()
        await store.close()


def timed(work: Callable[[], object], rounds: int) -> float:
    """Median of the rounds in milliseconds, the first one left out."""
    work()
    gc.collect()
    spent = []
    for _ in range(rounds):
        before = time.perf_counter()
        work()
        spent.append((time.perf_counter() - before) * 1000)
    return median(spent)


def told(what: str, milliseconds: float, goal: str = "") -> None:
    print(f"{what:<58}{milliseconds:10.1f} ms   {goal}", flush=True)


def one_symbol(frame: pd.DataFrame) -> pd.DataFrame:
    """The predecessor's two factors of one frame."""
    frame = frame.copy()
    frame["PctChg_100"] = frame["close"].pct_change(100)
    each = (frame["high"] - frame["low"]) / frame["open"] / frame["trade_num"]
    frame["TrdNumMeanV1_80"] = each.rolling(80, min_periods=1).mean()
    return frame.iloc[-1:]


def by_group(whole: pd.DataFrame) -> pd.DataFrame:
    """The same over one frame of all symbols, for the whole market at once."""
    groups = whole.groupby("symbol", sort=False)
    each = (whole["high"] - whole["low"]) / whole["open"] / whole["trade_num"]
    mean = each.groupby(whole["symbol"], sort=False).rolling(80, min_periods=1).mean()
    return pd.DataFrame({"PctChg_100": groups["close"].pct_change(100), "TrdNumMeanV1_80": mean.to_numpy()})


def files(folder: Path, whole: pd.DataFrame) -> list[Path]:
    """A parquet file per symbol, as the predecessor keeps them."""
    paths = []
    for symbol, frame in whole.groupby("symbol"):
        paths.append(folder / f"{symbol}.pqt")
        frame.drop(columns=["symbol"]).to_parquet(paths[-1])
    return paths


def commits(process: subprocess.Popen[str], reader: CandleReader, first_ms: int, rounds: int) -> float:
    """Median milliseconds from a commit's end to the finished table of two factors here."""
    calculator = BmacAllMarketCalculator(reader, reader, TWO, bmac_expire_sec=1e9)

    async def one(run_ms: int) -> float:
        waiting = asyncio.ensure_future(calculator.calc_all_factors(from_ms(run_ms)))
        await asyncio.sleep(0.3)  # until it is waiting
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("commit\n")
        process.stdin.flush()
        await waiting
        finished = SystemClock().now_ms()
        return finished - int(await asyncio.to_thread(process.stdout.readline))

    async def all_of_them() -> list[float]:
        return [await one(first_ms + number * STEP_MS) for number in range(rounds + 1)]

    return median(asyncio.run(all_of_them())[1:])


def measure(folder: Path, options: argparse.Namespace) -> None:
    path = folder / "bmac.duckdb"
    arguments = ["--serve", str(path), "--symbols", str(options.symbols), "--candles", str(options.candles)]
    process = subprocess.Popen(
        [sys.executable, __file__, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "serving\n"
    own = folder / "benchmark_own"
    own.mkdir()
    for name, expression in OWN.items():
        (own / f"{name}.py").write_text(
            f"def signal(*args):\n    df, n, name = args[:3]\n    df[name] = {expression}\n    return df\n"
        )
    sys.path.insert(0, str(folder))
    library = Library("benchmark_own")
    last_ms = START_MS + (options.candles - 1) * STEP_MS
    try:
        with CandleReader(path) as reader:
            source = reader.source
            two, twenty = library.plan(TWO), library.plan(TWENTY)
            pandas = library.plan([(name, 48) for name in OWN])
            found = compute_plan(source, pandas, last_ms, last_ms)
            assert not found.failures
            assert len(found.frame) == options.symbols
            here = timed(lambda: compute_plan(source, two, last_ms, last_ms), options.rounds)
            told("two factors, whole market, latest run time", here, "goal 25")
            some = timed(lambda: compute_plan(source, twenty, last_ms, last_ms), options.rounds)
            told("20 SQL factors", some, "goal 120")
            told("10 pandas factors", timed(lambda: compute_plan(source, pandas, last_ms, last_ms), 3), "goal 1500")
            first_run = last_ms + 2 * STEP_MS
            told("commit to finished table", commits(process, reader, first_run, options.rounds), "goal 80")
            whole = source.ask(
                f"SELECT * EXCLUDE (source, recorded_at) FROM {FEED.name}.candles ORDER BY symbol, open_time"
            ).to_pandas()
        paths = files(folder, whole)
        there = timed(lambda: pd.concat([one_symbol(pd.read_parquet(one)) for one in paths]), 3)
        told("the predecessor's way: a file per symbol, pandas", there, f"{there / here:.0f} times, goal 50")
        group = timed(lambda: by_group(whole), 3)
        told("pandas group-by over a frame in memory", group, f"{group / here:.0f} times")
    finally:
        process.communicate()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Factors of the whole market, beside the predecessor's way.")
    parser.add_argument("--symbols", type=int, default=600)
    parser.add_argument("--candles", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", type=Path, help="where to make the files (a temporary one)")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve, options.symbols, options.candles))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        measure(Path(folder), options)


if __name__ == "__main__":
    main()
