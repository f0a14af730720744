"""How fast archive files get into the record, and what a candle takes on the disk.

    python benchmarks/archive.py [--files 24] [--rounds 5] [--again] [--folder DIR]

Makes months of minute bars as the archive has them (zips of 43 200 rows or so), imports them into a fresh file with
DuckDB on one thread and the process bound to one core, where the system can do that, and prints rows a second (of real
time, and of processor time, which a busy machine does not change), resident memory, and bytes a candle after the
checkpoint. `--again` imports the same files a second time, which compares every bar and
writes none. `--beside` imports from a process of its own through the intake of a recorder instead, and prints how long
whole periods of 600 symbols take to commit while it does and while it does not, in turns.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path

import psutil
import pyarrow as pa

from bmacdb.archive.layout import parse_key
from bmacdb.archive.load import Found, Totals, load
from bmacdb.archive.sink import RecorderSink, open_sink
from bmacdb.cli.lean import without_pandas
from bmacdb.clock import ManualClock, SystemClock
from bmacdb.interval import MINUTE_MS
from bmacdb.model import Candle, Source
from bmacdb.recorder.decide import FeedState
from bmacdb.recorder.dispatch import Dispatcher, FeedEdges
from bmacdb.recorder.housekeeping import LARGE_WAL
from bmacdb.recorder.messages import CandleClosed, Message, RowsOffered, Stop
from bmacdb.simulated import SimulatedExchange
from bmacdb.store import sidefile
from bmacdb.store.intake import Intake, IntakeClient, Offer
from bmacdb.store.writer import Store
from bmacdb.symbols import parse_feed

__all__ = ["main"]

FEED = parse_feed("usdt_perp_1m")
_LIVE_MS = 1_795_453_200_000
MONTHS = ("2026-02", "2026-03", "2026-04", "2026-05", "2026-06", "2026-07")
DAYS = tuple(f"2026-07-{day:02}" for day in range(1, 29))
_TURN = 5  # periods


def make(folder: Path, count: int, times: Sequence[str] = MONTHS) -> list[Found]:
    """`count` files, in the archive's layout, in order of time: of months or of days."""
    exchange = SimulatedExchange(symbols=max(count // len(times), 1) + 1, start_ms=1_795_453_200_000)
    symbols = [one.symbol for one in exchange.universe.trading(FEED.market, exchange.start_ms)]
    cadence = "monthly" if times is MONTHS else "daily"
    found = []
    for time_ in times:
        for symbol in symbols:
            key = f"data/futures/um/{cadence}/klines/{symbol}/1m/{symbol}-1m-{time_}.zip"
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


class Live:
    """A recorder's dispatcher on a file of its own, into which whole periods of `symbols` closed candles come."""

    def __init__(self, store: Store, symbols: int) -> None:
        self.clock = ManualClock(_LIVE_MS)
        self.queue: asyncio.Queue[Message | Stop] = asyncio.Queue()
        self.names = [f"S{number:04d}USDT" for number in range(symbols)]
        self.state = FeedState(FEED, close_timeout_ms=15_000, page_rows=499, settle_ms=15_000)
        self.state.resume(expected=self.names, latest={}, unfinished=[], gaps=[], now_ms=_LIVE_MS)
        self.state.go_live(_LIVE_MS)
        self.complete = asyncio.Event()

        def ignore(*_: object) -> None:
            pass

        edges = FeedEdges(
            self.state,
            listen=ignore,
            backfill=ignore,
            owed=ignore,
            offer=lambda _: True,
            taken=ignore,
            completed=lambda _: self.complete.set(),
        )
        self.dispatcher = Dispatcher(
            self.queue, {FEED.name: edges}, store=store, clock=self.clock, report=ignore, announce=ignore
        )

    async def period(self, number: int) -> float:
        """Seconds from the close of a whole market until all of it is committed."""
        open_ms = _LIVE_MS + number * MINUTE_MS
        await self.clock.advance((open_ms + MINUTE_MS + 50 - self.clock.now_ms()) / 1000)
        before = time.perf_counter()
        self.complete.clear()
        for name in self.names:
            candle = Candle(name, open_ms, 1.0, 2.0, 0.5, 1.5, 10.0, 20.0, number, 5.0, 6.0, Source.WS)
            self.queue.put_nowait(CandleClosed(FEED.name, candle, open_ms + MINUTE_MS))
        await self.complete.wait()
        return time.perf_counter() - before

    async def take(self, offer: Offer) -> None:
        done = asyncio.Event()
        rows = RowsOffered(offer.feed, offer.candles, offer.funding_rates, offer.gaps, done=done.set)
        await self.queue.put(rows)
        await done.wait()


def feed_days(address: sidefile.Live, database: Path, files: list[Found], go: Event, rows: Synchronized[int]) -> None:
    """A process that gives files of a day to the recorder at `address` whenever it may `go`; counts what was taken."""

    async def feeding() -> None:
        clock = SystemClock()
        sink = RecorderSink(await IntakeClient.connect(address), FEED, clock, database)
        for found in files:
            await asyncio.to_thread(go.wait)
            _, totals = await load([found], sink, clock=clock)
            rows.value += totals.rows
        await sink.close()

    with without_pandas():
        asyncio.run(feeding())


@dataclass
class Beside:
    """Seconds that periods took to commit, alone and beside an import of `rows_per_s`; and what checkpoints took,
    which a recorder makes in the quiet between two periods."""

    alone: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    checkpoints: list[float] = field(default_factory=list)
    rows_per_s: float = 0.0


async def beside(database: Path, files: list[Found], periods: int) -> Beside:
    """Measure, in turns."""
    sys.setswitchinterval(0.0005)  # as the recorder does
    store = await Store.open(database, clock=ManualClock(_LIVE_MS))
    await store.add_feed(FEED, num_candles=1500)
    live = Live(store, 600)
    running = asyncio.create_task(live.dispatcher.run())
    intake = await Intake.start(live.take, token="x")
    address = sidefile.Live(0, 0, "x", os.getpid(), 0.0, 0, "", intake.port)
    processes = get_context("spawn")
    go, rows = processes.Event(), processes.Value("q", 0)
    feeder = processes.Process(target=feed_days, args=(address, database, files, go, rows), daemon=True)
    feeder.start()
    go.set()
    while not rows.value:  # it takes a second to come up
        await asyncio.sleep(0.01)
    found = Beside()
    seconds, count = 0.0, 0
    for number in range(2 * periods):
        fed = number // _TURN % 2 == 1
        if number % _TURN == 0:
            (go.set if fed else go.clear)()
            await asyncio.sleep(0.3)  # what was under way is over
            started, before = time.perf_counter(), rows.value
        (found.beside if fed else found.alone).append(await live.period(number))
        if store.wal_bytes() > LARGE_WAL:
            begun = time.perf_counter()
            await store.checkpoint()
            found.checkpoints.append(time.perf_counter() - begun)
        await asyncio.sleep(0.1)
        if fed and number % _TURN == _TURN - 1:
            seconds, count = seconds + time.perf_counter() - started, count + rows.value - before
    if not feeder.is_alive():
        raise AssertionError("the import ended before the measurement: give it more files")
    feeder.kill()
    await asyncio.to_thread(feeder.join)
    await intake.close()
    await live.dispatcher.end()
    await running
    await store.close()
    found.rows_per_s = count / seconds
    return found


def told(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    late = ordered[int(0.95 * len(ordered))]
    return f"median {1000 * ordered[len(ordered) // 2]:.0f}, p95 {1000 * late:.0f}, worst {1000 * ordered[-1]:.0f} ms"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Import archive files.")
    parser.add_argument("--files", type=int, default=24, help="months of a symbol")
    parser.add_argument("--rounds", type=int, default=5, help="imports, each into a file of its own")
    parser.add_argument("--again", action="store_true", help="import them a second time as well")
    parser.add_argument("--beside", action="store_true", help="how much it holds up the commits of a live recorder")
    parser.add_argument("--periods", type=int, default=100, help="with the import and without, for --beside")
    parser.add_argument("--folder", type=Path, help="where to make the files (a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        if options.beside:
            files = make(folder / "archive", 1400, DAYS)
            found = asyncio.run(beside(folder / "live.duckdb", files, options.periods))
            print(f"a period of 600 candles, alone:            {told(found.alone)}")
            print(f"beside an import of {found.rows_per_s:7,.0f} rows/s:       {told(found.beside)}")
            print(f"checkpoints, in the quiet between periods: {told(found.checkpoints)} ({len(found.checkpoints)})")
            return
        files = make(folder / "archive", options.files)
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        pa.set_cpu_count(1)
        for attempt in range(2 * options.rounds if options.again else options.rounds):
            again = options.again and attempt % 2 == 1
            database = folder / f"{attempt - again}.duckdb"
            with without_pandas():  # as the command does
                totals, wall, busy = asyncio.run(run(database, files))
            print(
                f"{'again' if again else 'import'}: {totals.rows} rows of {totals.files} files, {totals.added} new: "
                f"{totals.rows / wall:,.0f} rows/s of real time, {totals.rows / busy:,.0f} of processor time; "
                f"resident {psutil.Process().memory_info().rss / 1e6:.0f} MB, "
                f"{database.stat().st_size / max(totals.rows, 1):.1f} bytes a candle",
                flush=True,
            )


if __name__ == "__main__":
    main()
