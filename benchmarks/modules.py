"""Ten unmodified pandas modules over the whole market: all symbols at once, symbol by symbol, and from files.

    python -m benchmarks.modules [--symbols 600] [--candles 1500] [--rounds 5] [--folder DIR]

A process serves a database as the recorder does; this one asks it. The two ways of bmacdb and the predecessor's (a
parquet file per symbol, each module called with its frame, in one process) take turns, and give the same values to the
last bit. Printed, in milliseconds: the least and the median of the rounds, wall time and this process's own.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd

from benchmarks import factors
from benchmarks.factors import FEED, OWN, START_MS, STEP_MS
from bmacdb.factors.library import Library
from bmacdb.kit import CandleReader, ways
from bmacdb.kit.engine import compute_plan

__all__ = ["main"]

N = 48
COLUMNS = [f"{name}_{N}" for name in OWN]


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Symbol by symbol, as for modules that cannot be computed at once."""
    least, ways._LEAST = ways._LEAST, sys.maxsize
    try:
        yield
    finally:
        ways._LEAST = least


def from_files(paths: list[Path]) -> pd.DataFrame:
    """The predecessor's way: each symbol's file, and each module called with its frame."""
    modules = {name: importlib.import_module(f"benchmark_own.{name}") for name in OWN}
    rows = {}
    for path in paths:
        frame = pd.read_parquet(path)
        for name, module in modules.items():
            frame = module.signal(frame, N, f"{name}_{N}")
        rows[path.stem] = frame.iloc[-1]
    return pd.DataFrame(rows).T[COLUMNS].astype(float)


def measure(folder: Path, options: argparse.Namespace) -> None:
    path = folder / "bmac.duckdb"
    arguments = ["--serve", str(path), "--symbols", str(options.symbols), "--candles", str(options.candles)]
    process = subprocess.Popen(
        [sys.executable, factors.__file__, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "serving\n"
    (folder / "benchmark_own").mkdir()
    for name, expression in OWN.items():
        text = f"def signal(*args):\n    df, n, name = args[:3]\n    df[name] = {expression}\n    return df\n"
        (folder / "benchmark_own" / f"{name}.py").write_text(text)
    sys.path.insert(0, str(folder))
    last_ms = START_MS + (options.candles - 1) * STEP_MS
    plan = Library("benchmark_own").plan([(name, N) for name in OWN])
    try:
        with CandleReader(path) as reader:
            source = reader.source

            def here() -> pd.DataFrame:
                result = compute_plan(source, plan, last_ms, last_ms)
                assert not result.failures
                return result.frame.set_index("symbol")[COLUMNS]

            def alone() -> pd.DataFrame:
                with apart():
                    return here()

            whole = source.ask(f"FROM {FEED.name}.candles ORDER BY symbol, open_time").to_pandas()
            paths = factors.files(folder, whole)
            sides: dict[str, Callable[[], pd.DataFrame]] = {
                "all symbols at once": here,
                "symbol by symbol, in two processes": alone,
                "the predecessor's way, from files": lambda: from_files(paths),
            }
            take_turns(sides, options.rounds)
    finally:
        process.communicate()


def take_turns(sides: dict[str, Callable[[], pd.DataFrame]], rounds: int) -> None:
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    found = {name: side() for name, side in sides.items()}  # the first one warms up
    first = next(iter(found.values()))
    for name, frame in found.items():
        same = np.array_equal(frame.to_numpy(), first.to_numpy(), equal_nan=True)
        assert same, f"{name}: other values"
    for _ in range(rounds):
        for name, side in sides.items():
            wall, own = time.perf_counter(), time.process_time()
            side()
            spent[name].append((time.perf_counter() - wall, time.process_time() - own))
    print(f"{len(first)} symbols, pandas {pd.__version__}, load {os.getloadavg()[0]:.1f}; milliseconds")
    for name, times in spent.items():
        walls, owns = ([1000 * one for one in column] for column in zip(*times, strict=True))
        line = f"least {min(walls):7.0f}   median {median(walls):7.0f}   own least {min(owns):7.0f}"
        print(f"{name:<40}{line}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Ten unmodified modules over the market, three ways.")
    parser.add_argument("--symbols", type=int, default=600)
    parser.add_argument("--candles", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to make the files (a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        measure(Path(folder), options)


if __name__ == "__main__":
    main()
