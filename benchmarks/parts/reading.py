"""Questions to a recorder that runs, beside a parquet file per symbol read by pandas."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from benchmarks.measured import Row, alternate
from benchmarks.parts.limits import loopback_ms, memory_ms_per_mb
from benchmarks.reading import FEED, SYMBOLS, Recorder
from bmacdb.store.reader import Reader, connect

__all__ = ["measure"]

FILES = "pandas, a file per symbol"


def works(reader: Reader, folder: Path) -> Iterator[tuple[str, Callable[[], int], Callable[[], int], float]]:
    """(what, ours, by files, megabytes of columns that it touches); both ways give the number of rows."""
    table = f"{FEED.name}.candles"
    newest = reader.sql(f"SELECT max(open_time) FROM {table}").rows()[0][0]
    symbol = SYMBOLS[300]
    paths = [folder / f"{name}.pqt" for name in SYMBOLS]

    def point() -> int:
        return len(reader.sql(f"SELECT * FROM {table} WHERE symbol = ? AND open_time = ?", [symbol, newest]).rows())

    def point_files() -> int:
        return len(pd.read_parquet(folder / f"{symbol}.pqt").iloc[-1:])

    def latest() -> int:
        return len(reader.sql(f"SELECT symbol, close FROM {table} WHERE open_time = ?", [newest]).rows())

    def latest_files() -> int:
        return len(
            pd.DataFrame(
                {one.stem: pd.read_parquet(one, columns=["close"])["close"].iloc[-1:] for one in paths}.items()
            )
        )

    yield "one bar of one symbol", point, point_files, 0.001
    yield f"the latest close of {len(SYMBOLS)} symbols", latest, latest_files, 0.01


def measure(full: bool, folder: Path) -> Iterator[Row]:
    """A recorder of its own process serves; this one asks."""
    bars = 10_000 if full else 1500
    path = folder / "reading.duckdb"
    recorder = Recorder(path, bars)
    try:
        with connect(path) as reader, tempfile.TemporaryDirectory(dir=folder) as files:
            every = f"SELECT * EXCLUDE (source, recorded_at) FROM {FEED.name}.candles ORDER BY symbol, open_time"
            frame = reader.sql(every).arrow().to_pandas()
            for symbol, its in frame.groupby("symbol"):
                its.drop(columns="symbol").to_parquet(Path(files) / f"{symbol}.pqt")
            rounds = 50 if full else 15
            trip, memory = loopback_ms(), memory_ms_per_mb()
            for what, ours, theirs, volume in works(reader, Path(files)):
                if ours() != theirs():
                    raise AssertionError(f"{what}: the ways found different numbers of rows")
                found = alternate({"bmacdb": ours, FILES: theirs}, rounds, few=(FILES,))
                limit = ("a round trip and the columns", trip + memory * volume)
                work = f"{what}, {bars} bars each"
                yield Row("reading", work, "ms", found["bmacdb"], {FILES: found[FILES]}, limit=limit)
    finally:
        recorder.close()
