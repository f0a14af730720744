"""Bytes a candle: a bmacdb file, parquet, and the exchange's zips.

With the environment variable BMACDB_BENCH_CANDLES naming a folder of the exchange's own kline files (`.zip`, `.csv`,
`.csv.gz`) these are measured; without it months that the stand-in exchange makes.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.archive import make
from benchmarks.measured import Row
from bmacdb.clock import ManualClock
from bmacdb.store.writer import Store
from bmacdb.symbols import make_feed

__all__ = ["measure"]

FEED = make_feed("usdt_perp", "1m")
COLUMNS = ["open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "trade_num"]
COLUMNS += ["taker_base", "taker_quote", "ignore"]
KEPT = [name for name in COLUMNS if name not in ("close_time", "ignore")]


def text_of(path: Path) -> bytes:
    """The kline file's text, out of whatever it is packed in."""
    data = path.read_bytes()
    if path.suffix == ".zip":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.read(archive.namelist()[0])
    return gzip.decompress(data) if path.suffix == ".gz" else data


def zipped(text: bytes, name: str) -> int:
    """Bytes of a zip of it, as the exchange would pack it."""
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    return len(into.getvalue())


def bars(path: Path, text: bytes) -> pd.DataFrame:
    header = 0 if text[:1].isalpha() else None
    frame = pd.read_csv(io.BytesIO(text), header=header, names=COLUMNS)[KEPT]
    late = frame["open_time"] > 10**14  # microseconds since 2025
    frame["open_time"] = pd.to_datetime(
        frame["open_time"].where(~late, frame["open_time"] // 1000), unit="ms", utc=True
    )
    frame.insert(0, "symbol", path.name.split("-")[0])
    return frame


async def in_database(frame: pd.DataFrame, folder: Path) -> int:
    """Bytes of a bmacdb file with these bars, in order of time as they are recorded."""
    path = folder / "space.duckdb"
    store = await Store.open(path, clock=ManualClock(0))
    await store.add_feed(FEED, num_candles=1500)
    table = pa.Table.from_pandas(frame.sort_values(["open_time", "symbol"]), preserve_index=False)
    empty = path.stat().st_size if path.exists() else 0

    def write(connection: object) -> None:
        connection.register("bars", table)  # type: ignore[attr-defined]
        connection.execute(f"INSERT INTO {FEED.name}.candles SELECT *, 'ws', open_time FROM bars")  # type: ignore[attr-defined]
        connection.unregister("bars")  # type: ignore[attr-defined]

    await store.run(write)
    await store.close()
    return path.stat().st_size - empty


def in_parquet(frame: pd.DataFrame, folder: Path, compression: str) -> int:
    """Bytes of one parquet file per symbol."""
    size = 0
    for symbol, bars_of in frame.groupby("symbol"):
        path = folder / f"{symbol}-{compression}.parquet"
        pq.write_table(pa.Table.from_pandas(bars_of, preserve_index=False), path, compression=compression)
        size += path.stat().st_size
    return size


def measure(full: bool, folder: Path) -> Iterator[Row]:
    """Sizes are exact, so there is one sample of each."""
    given = os.environ.get("BMACDB_BENCH_CANDLES")
    if given:
        paths = sorted(one for one in Path(given).iterdir() if one.name.endswith((".zip", ".csv", ".csv.gz")))
        what = "the exchange's files"
    else:
        paths = [one.path for one in make(folder / "archive", 24 if full else 6)]
        what = "generated"
    texts = {path: text_of(path) for path in paths}
    frame = pd.concat([bars(path, text) for path, text in texts.items()], ignore_index=True)
    frame = frame.drop_duplicates(["symbol", "open_time"])
    count = len(frame)
    others = {
        "parquet snappy": (in_parquet(frame, folder, "snappy") / count,),
        "parquet zstd": (in_parquet(frame, folder, "zstd") / count,),
        "zip": (sum(zipped(text, path.name) for path, text in texts.items()) / count,),
    }
    ours = asyncio.run(in_database(frame, folder)) / count
    limit = ("11 columns plain, 88 bytes", 88.0)
    yield Row(
        "space",
        f"a candle of {count:,} ({what}), {frame['symbol'].nunique()} symbols",
        "bytes",
        (ours,),
        others,
        limit=limit,
    )
