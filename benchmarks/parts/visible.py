"""From the boundary of a minute to the market being readable in another process, beside a file per symbol.

Both record the same stand-in exchange, one after the other; this process is the reader. bmacdb's recorder runs as
it is; the other is what its predecessor did, in a few lines: every frame through json.loads, then for a closed bar
read the symbol's parquet file of 1500 bars, concat, write it, and touch a ready file. Times start when the last
closing frame is in: bmacdb tells when that was, and the other's is taken to be as long after the boundary. bmacdb has
read the bars by then; of the other only the ready files are looked for.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median

import aiohttp
import numpy as np
import psutil

from benchmarks.measured import Row
from benchmarks.parts.limits import fsync_ms, loopback_ms
from bmacdb.cli.lean import without_pandas
from bmacdb.config import load_settings
from bmacdb.exchange.endpoints import Endpoints
from bmacdb.exchange.wire import parse_kline_frame
from bmacdb.recorder.events import Event, RunComplete
from bmacdb.recorder.run import record
from bmacdb.store.reader import connect
from bmacdb.symbols import parse_feed

__all__ = ["measure"]

FEED = parse_feed("usdt_perp_1m")
MINUTE_MS = 60_000
BARS = 1500
SPARE = 20  # periods that may pass until the reader has connected
NAMES = ("open", "high", "low", "close", "volume", "quote_volume", "base", "quote")
SPEEDS = {100: 12.0, 300: 4.0, 600: 2.0, 2000: 1.5}
"""How much faster the stand-in's clock runs: a period has to be longer than a file per symbol takes."""


def processor_seconds() -> float:
    times = psutil.Process().cpu_times()
    return times.user + times.system


def tell(run_time_ms: int, **more: float) -> None:
    """A line for the reader: a period is done here, and what it cost so far."""
    figures = {"run_time_ms": run_time_ms, "cpu": processor_seconds(), "rss": psutil.Process().memory_info().rss}
    print(json.dumps(figures | more), flush=True)


def record_here(folder: Path, rest_url: str, speed: float, periods: int) -> None:
    """The recorder, which tells of every complete run."""

    def report(event: Event) -> None:
        if isinstance(event, RunComplete):
            tell(event.run_time_ms, last_after_ms=(event.last_at_ms - event.run_time_ms) / speed)

    given = {"feeds": (FEED.name,), "num_candles": "499", "periods": str(periods), "clock_rate": str(speed)}
    given |= {"rest_url": rest_url, "ws_url": rest_url.replace("http", "ws")}
    with without_pandas():
        asyncio.run(record(load_settings(folder, given), report))


def fill_files(folder: Path, symbols: list[str], now_ms: int) -> None:
    import pandas as pd

    first = now_ms - now_ms % MINUTE_MS - BARS * MINUTE_MS
    opened = pd.to_datetime(first + MINUTE_MS * np.arange(BARS), unit="ms", utc=True)
    draw = np.random.default_rng(1)
    for symbol in symbols:
        columns = {name: draw.random(BARS) for name in NAMES}
        frame = pd.DataFrame({"open_time": opened, **columns, "trade_num": np.arange(BARS)})
        frame.to_parquet(folder / f"{symbol}.pqt")


async def files_here(folder: Path, rest_url: str, symbols: list[str], periods: int) -> None:
    """A file per symbol: all in one process and one event loop, as the predecessor was."""
    import pandas as pd  # here alone, for the recorder of the other side does without

    url = Endpoints(ws_url=rest_url.replace("http", "ws")).stream(FEED.market)
    seen: dict[int, int] = {}
    done = asyncio.Event()

    def take(text: str) -> None:
        event = json.loads(text).get("data")
        if event is None or not event["k"]["x"]:
            return
        bar = parse_kline_frame(text.encode())
        assert bar is not None
        path = folder / f"{bar.candle.symbol}.pqt"
        old = pd.read_parquet(path)
        one = bar.candle
        values = [one.open, one.high, one.low, one.close, one.volume, one.quote_volume]
        values += [one.taker_buy_base_asset_volume, one.taker_buy_quote_asset_volume, one.trade_num]
        opened = pd.Timestamp(one.open_time_ms, unit="ms", tz="UTC")
        new = pd.DataFrame([[opened, *values]], columns=old.columns).astype(old.dtypes)
        pd.concat([old.iloc[1:], new], ignore_index=True).to_parquet(path)
        run_time_ms = one.open_time_ms + MINUTE_MS
        (folder / f"{one.symbol}_{run_time_ms}.ready").touch()
        seen[run_time_ms] = seen.get(run_time_ms, 0) + 1
        if seen[run_time_ms] == len(symbols):
            tell(run_time_ms)
            if sum(count == len(symbols) for count in seen.values()) == periods:
                done.set()

    async def listen(some: list[str]) -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            params = [f"{symbol.lower()}@kline_1m" for symbol in some]
            await socket.send_json({"method": "SUBSCRIBE", "params": params, "id": 1})
            async for message in socket:
                take(message.data)

    async with asyncio.TaskGroup() as tasks:
        listening = [tasks.create_task(listen(symbols[at : at + 200])) for at in range(0, len(symbols), 200)]
        await done.wait()
        for task in listening:
            task.cancel()


class Boundaries:
    """When, by this machine's clock, the exchange's clock showed a time."""

    def __init__(self, rest_url: str, speed: float) -> None:
        self._speed = speed
        found = []
        for _ in range(30):
            before = time.perf_counter()
            server_ms = self.server_ms(rest_url)
            after = time.perf_counter()
            found.append((after - before, (before + after) / 2 - server_ms / 1000 / speed))
        self._zero = min(found)[1]

    @staticmethod
    def server_ms(rest_url: str) -> int:
        with urllib.request.urlopen(f"{Endpoints(rest_url=rest_url).rest(FEED.market)}/time") as answer:
            return int(json.load(answer)["serverTime"])

    def after(self, run_time_ms: int) -> float:
        """Milliseconds since the boundary."""
        return (time.perf_counter() - self._zero - run_time_ms / 1000 / self._speed) * 1000


class Period:
    """What the periods of one way came to."""

    def __init__(self) -> None:
        self.after_ms: list[float] = []
        self.told: list[dict[str, float]] = []

    def cpu(self) -> tuple[float, ...]:
        """Processor seconds from the end of a period to the end of the next."""
        used = [one["cpu"] for one in self.told]
        return tuple(after - before for before, after in pairwise(used))

    def memory(self) -> tuple[float, ...]:
        return (max(one["rss"] for one in self.told) / 1e6,)


def child(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.parts.visible", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def first_line(process: subprocess.Popen[str]) -> dict[str, float]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("the process that is measured ended early; its message stands above")
    found: dict[str, float] = json.loads(line)
    return found


def told_of(process: subprocess.Popen[str], run_time_ms: int) -> dict[str, float]:
    """What was told of this run; what was told before is passed over."""
    while int((told := first_line(process))["run_time_ms"]) < run_time_ms:
        pass
    return told


def watch_recorder(
    folder: Path, rest_url: str, speed: float, periods: int, when: Boundaries
) -> tuple[Period, list[str]]:
    """The recorder, and this process as its reader; what was complete before it had connected does not count."""
    process = child("--record", folder, rest_url, speed, periods + SPARE)
    found = Period()
    symbols: list[str] = []
    try:
        run_time_ms = int(first_line(process)["run_time_ms"])
        with connect(folder / "bmac.duckdb") as reader:
            bars = f"FROM {FEED.name}.candles WHERE epoch_ms(open_time) = ? AND open_time >= to_timestamp(? / 1000)"
            reader.sql("SELECT 1")  # a reader that has just come is behind by what it takes to connect
            while when.after(run_time_ms + MINUTE_MS) > 0:
                run_time_ms += MINUTE_MS
            found.told.append(told_of(process, run_time_ms))
            for _ in range(periods):
                run_time_ms += MINUTE_MS
                open_ms = run_time_ms - MINUTE_MS
                ready = reader.wait_ready_blocking(run_time_ms, timeout=1e6)
                rows = reader.sql(bars, [open_ms, open_ms]).rows()
                found.after_ms.append(when.after(run_time_ms))
                if not ready:
                    raise RuntimeError(f"{run_time_ms} was not complete: {len(ready.late)} symbols are late")
                symbols = sorted(row[0] for row in rows)
                found.told.append(told_of(process, run_time_ms))
    finally:
        process.kill()
        process.communicate()
    return found, symbols


def watch_files(folder: Path, rest_url: str, symbols: list[str], periods: int, when: Boundaries) -> Period:
    """The files, and this process looking for the ready ones."""
    fill_files(folder, symbols, Boundaries.server_ms(rest_url))
    names = folder / "symbols.json"
    names.write_text(json.dumps(symbols))
    process = child("--files", folder, rest_url, 0, periods + 1)
    found = Period()
    try:
        found.told.append(first_line(process))
        run_time_ms = int(found.told[0]["run_time_ms"])
        for _ in range(periods):
            run_time_ms += MINUTE_MS
            ends = time.monotonic() + 600
            left = set(symbols)
            while left:
                left = {one for one in left if not (folder / f"{one}_{run_time_ms}.ready").exists()}
                if time.monotonic() > ends:
                    raise RuntimeError(f"{len(left)} ready files of {run_time_ms} did not come")
                time.sleep(0.005)
            found.after_ms.append(when.after(run_time_ms))
            found.told.append(first_line(process))
        process.wait(60)
    finally:
        process.kill()
        process.communicate()
    return found


def measure_symbols(folder: Path, count: int, periods: int) -> Iterator[Row]:
    speed = SPEEDS[count]
    command = [sys.executable, "-m", "bmacdb.cli.main", "simulate", "--port", "0", "--format", "json"]
    command += ["--speed", str(speed), "--symbols", str(count), "--market", "usdt_futures", "--die-with-parent"]
    quiet = subprocess.DEVNULL  # it tells what it did when it ends
    exchange = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=quiet, text=True)
    try:
        assert exchange.stdout is not None
        rest_url = json.loads(exchange.stdout.readline())["markets"]["usdt_futures"]["rest_url"]
        when = Boundaries(rest_url, speed)
        for name in ("ours", "files"):
            (folder / f"{count}-{name}").mkdir()
        ours, symbols = watch_recorder(folder / f"{count}-ours", rest_url, speed, periods, when)
        theirs = watch_files(folder / f"{count}-files", rest_url, symbols, periods, when)
    finally:
        exchange.terminate()
        exchange.communicate()
    last = [one["last_after_ms"] for one in ours.told[1:]]
    here = tuple(after - before for after, before in zip(ours.after_ms, last, strict=True))
    there = tuple(after - median(last) for after in theirs.after_ms)
    limit = ("fsync of 64 KB and a round trip", fsync_ms(folder) + loopback_ms())
    way = "a file per symbol"
    what = f"{len(symbols)} symbols"
    work = f"{what}: last closing frame in → market read elsewhere"
    yield Row("visible", work, "ms", here, {way: there}, limit=limit)
    yield Row("visible", f"{what}: processor time a period", "s", ours.cpu(), {way: theirs.cpu()})
    yield Row("visible", f"{what}: most resident memory", "MB", ours.memory(), {way: theirs.memory()})


def measure(full: bool, folder: Path) -> Iterator[Row]:
    """Growing numbers of symbols."""
    for count in (100, 300, 600, 2000) if full else (100, 300):
        yield from measure_symbols(folder, count, (6 if count > 600 else 10) if full else 3)


def main() -> None:
    """The processes that are measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", nargs=4)
    parser.add_argument("--files", nargs=4)
    given = parser.parse_args()
    folder, rest_url, speed, periods = given.record or given.files
    if given.record:
        record_here(Path(folder), rest_url, float(speed), int(periods))
    else:
        symbols = json.loads((Path(folder) / "symbols.json").read_text())
        asyncio.run(files_here(Path(folder), rest_url, symbols, int(periods)))
    os._exit(0)  # nothing of it is wanted any more


if __name__ == "__main__":
    main()
