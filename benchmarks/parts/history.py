"""Old bars into the record, in rows a second: from zips, and from REST with the share of the weight ceiling."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from benchmarks.archive import make, run
from benchmarks.measured import Row
from benchmarks.parts.limits import json_ms_per_mb, page
from benchmarks.parts.space import COLUMNS
from bmacdb.archive.load import Found

__all__ = ["measure"]


def by_pandas(files: list[Found], folder: Path) -> int:
    """Each zip read by pandas, with names and times, and written as parquet."""
    folder.mkdir(exist_ok=True)
    rows = 0
    for number, found in enumerate(files):
        with zipfile.ZipFile(found.path) as archive:
            text = archive.read(archive.namelist()[0])
        frame = pd.read_csv(io.BytesIO(text), header=0 if text[:1].isalpha() else None, names=COLUMNS)
        frame["open_time"] = pd.to_datetime(frame["open_time"], unit="ms", utc=True)
        frame.to_parquet(folder / f"{number}.pqt")
        rows += len(frame)
    return rows


def from_zips(full: bool, folder: Path) -> Row:
    files = make(folder / "archive", 24 if full else 12)
    ours, theirs = [], []
    for number in range(6 if full else 4):
        totals, seconds, _ = asyncio.run(run(folder / f"{number}.duckdb", files))
        before = time.perf_counter()
        rows = by_pandas(files, folder / "parquet")
        if number:  # the first one warms up
            ours.append(totals.rows / seconds)
            theirs.append(rows / (time.perf_counter() - before))
    others = {"pandas.read_csv and to_parquet": tuple(theirs)}
    return Row("history", "monthly zips of minute bars, checked", "rows/s", tuple(ours), others, True)


def from_rest(full: bool, folder: Path) -> Iterator[Row]:
    symbols, bars = (600, 1500) if full else (100, 1500)
    into = folder / "recorder.json"
    command = [sys.executable, "-m", "benchmarks.recorder", "--symbols", str(symbols), "--candles", str(bars)]
    command += ["--periods", "1", "--json", str(into)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    found = json.loads(into.read_text("utf-8"))
    rate = found["history, bars"] / found["history, s"]
    best = 1e9 / (json_ms_per_mb() * len(page()) / 499)
    work = f"REST, {symbols} × {bars} bars from the stand-in, its clock 12 times faster"
    limit = ("parsing the pages as JSON alone", best)
    note = "the stand-in shares the cores"
    yield Row("history", work, "rows/s", (rate,), more_is_better=True, limit=limit, note=note)
    share = found["weight used of the limit in the fullest minute"] * 100
    yield Row("history", "weight used in the fullest minute", "% of the limit", (share,), more_is_better=True)


def measure(full: bool, folder: Path) -> Iterator[Row]:
    """Zips, then REST."""
    yield from_zips(full, folder)
    yield from from_rest(full, folder)
