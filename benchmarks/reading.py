"""Reading while it records: how fast queries are, and what they cost the recorder.

    python -m benchmarks.reading [--rows 6000000] [--folder DIR]

A recorder of its own process serves 600 symbols of 10 000 one-minute bars and commits 600 bars every half second; this
process asks. Prints one line a figure: what was measured, the figure, and what it should be.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import duckdb
import psutil

from bmacdb.clock import SystemClock
from bmacdb.model import Batch, Candle, Ready, Run, Source
from bmacdb.store.reader import connect
from bmacdb.store.serve import Server
from bmacdb.store.writer import Store
from bmacdb.symbols import make_feed

FEED = make_feed("usdt_perp", "1m")
SYMBOLS = [f"S{number:03d}USDT" for number in range(600)]
FIRST_MS = 1_700_000_040_000
MINUTE_MS = 60_000
HEAVY = (
    "SELECT max(m) FROM (SELECT avg(close) OVER (PARTITION BY symbol ORDER BY open_time ROWS 500 PRECEDING) AS m "
    "FROM usdt_perp_1m.candles)"
)


async def record(path: Path, bars: int) -> None:
    """The recorder: fills the file, serves it, and for every line on stdin does what it says."""
    store = await Store.open(path, clock=SystemClock())
    await store.add_feed(FEED, num_candles=10_000)

    def fill(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute(
            f"INSERT INTO {FEED.name}.candles SELECT symbol, to_timestamp(({FIRST_MS} + bar * {MINUTE_MS}) / 1000), "
            "p, p + 1, p - 1, p, 10, 1000, 5, 4, 400, 'rest', now() FROM "
            f"(SELECT bar, symbol, 100 + random() AS p FROM range({bars}) AS b(bar), "
            f"(SELECT unnest($1) AS symbol) ORDER BY bar, symbol)",
            [SYMBOLS],
        )
        connection.execute("CHECKPOINT")

    await store.run(fill)
    server = await Server.start(store, clock=SystemClock(), info=dict)
    process = psutil.Process()
    run_time_ms = FIRST_MS + (bars + 1) * MINUTE_MS
    loop = asyncio.get_running_loop()
    print("ready", flush=True)
    try:
        while line := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
            if line == "cpu":
                times = process.cpu_times()
                print(times.user + times.system, flush=True)
                continue
            took = []
            for _ in range(int(line)):
                batch = whole_market(run_time_ms)
                began = time.perf_counter()
                written = await store.commit(batch)
                took.append(time.perf_counter() - began)
                committed = time.time()
                server.announce(batch, written)
                run_time_ms += MINUTE_MS
                await asyncio.sleep(0.5)
            print(
                json.dumps(
                    {"took": took, "rss": process.memory_info().rss, "at": committed, "run_time_ms": run_time_ms}
                ),
                flush=True,
            )
    finally:
        await server.close()
        await store.close()


def whole_market(run_time_ms: int) -> Batch:
    opened = run_time_ms - MINUTE_MS
    return Batch(
        feed=FEED.name,
        recorded_at_ms=run_time_ms,
        candles=tuple(Candle(s, opened, 100, 101, 99, 100, 10, 1000, 5, 4, 400, Source.WS) for s in SYMBOLS),
        ready=tuple(Ready(run_time_ms, s, run_time_ms, "ws") for s in SYMBOLS),
        runs=(Run(run_time_ms, len(SYMBOLS), len(SYMBOLS), run_time_ms + 40, SYMBOLS[-1], 0, ()),),
    )


def wait(path: Path, run_time_ms: int, clients: int) -> None:
    """Waiting clients, each with a connection of its own: prints when each of them woke."""

    async def one() -> float:
        async with connect(path) as reader:
            assert await reader.wait_ready(run_time_ms, timeout=120)
            return time.time()

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            waits = [tasks.create_task(one()) for _ in range(clients)]
            print("waiting", flush=True)
        print(json.dumps([task.result() for task in waits]), flush=True)

    asyncio.run(main())


def timed(times: int, work: Callable[[], object]) -> list[float]:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        took.append((time.perf_counter() - began) * 1000)
    return took


def tell(what: str, figure: float, unit: str, goal: str = "") -> None:
    print(f"{what:<66} {figure:>9.1f} {unit:<4} {goal}", flush=True)


class Recorder:
    """The recorder's process."""

    def __init__(self, path: Path, bars: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.reading", "--record", str(path), "--bars", str(bars)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()

    def _read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, line: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._read()

    def commits(self, number: int) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.ask(str(number)))
        return found

    def close(self) -> None:
        self.process.communicate("\n")


def speed(path: Path) -> None:
    began = time.perf_counter()
    reader = connect(path)
    reader.sql("SELECT 1")
    tell("first connection and query", (time.perf_counter() - began) * 1000, "ms", "< 250")
    took = timed(300, lambda: reader.sql("SELECT 1 AS a"))
    tell("small query, kept connection, median", statistics.median(took), "ms", "< 3")
    tell("small query, kept connection, 99 %", sorted(took)[-3], "ms")
    point = "SELECT close FROM usdt_perp_1m.candles WHERE symbol = ? AND open_time = ?"
    params = ["S300USDT", reader.sql("SELECT max(open_time) FROM usdt_perp_1m.candles").rows()[0][0]]
    tell("one bar of 6 M, median", statistics.median(timed(50, lambda: reader.sql(point, params))), "ms")
    latest = "SELECT symbol, max_by(close, open_time) FROM usdt_perp_1m.candles"
    newest = "(SELECT max(open_time) - INTERVAL {} MINUTE FROM usdt_perp_1m.candles)"
    bars = "SELECT * EXCLUDE (source, recorded_at) FROM usdt_perp_1m.candles"
    for name, goal, query in (
        ("latest row of 600 symbols, bounded by time", "< 50", f"{latest} WHERE open_time >= {newest} GROUP BY 1"),
        ("latest row of 600 symbols, whole table", "", f"{latest} GROUP BY 1"),
        ("view latest_candles", "", "FROM latest_candles"),
        ("750 k rows of 11 columns to Arrow", "< 300", f"{bars} WHERE open_time >= {newest.format(1249)}"),
    ):
        query = query.format(60)
        took = timed(9, lambda query=query: reader.sql(query))  # type: ignore[misc]
        tell(f"{name}, median", statistics.median(took), "ms", goal)
    reader.close()


def waking(path: Path, recorder: Recorder) -> None:
    run_time_ms = str(recorder.commits(1)["run_time_ms"])
    for processes, clients in ((1, 1), (5, 10)):
        command = [sys.executable, "-m", "benchmarks.reading", "--wait", str(path), "--run-time", run_time_ms]
        waiters = [
            subprocess.Popen([*command, "--clients", str(clients)], stdout=subprocess.PIPE, text=True)
            for _ in range(processes)
        ]
        for waiter in waiters:
            assert waiter.stdout is not None
            waiter.stdout.readline()
        time.sleep(15)  # they have started, connected and looked
        cpu = float(recorder.ask("cpu"))
        time.sleep(10)
        cost = (float(recorder.ask("cpu")) - cpu) / 10 * 100
        found = recorder.commits(1)
        woke = [moment for waiter in waiters for moment in json.loads(waiter.communicate()[0].splitlines()[-1])]
        run_time_ms = str(found["run_time_ms"])
        number = processes * clients
        tell(f"recorder while {number} wait, part of one core", cost, "%", "next to nothing")
        for name, moment in (("first", min(woke)), ("median", statistics.median(woke)), ("last", max(woke))):
            after = (moment - float(str(found["at"]))) * 1000
            tell(f"woken after the commit, {number} waiting, {name}", after, "ms", "< 30" if number == 1 else "")


def isolation(path: Path, recorder: Recorder) -> None:
    calm = recorder.commits(20)
    took = [seconds * 1000 for seconds in calm["took"]]  # type: ignore[attr-defined]
    tell("commit of 600 bars, nobody asks, median", statistics.median(took), "ms")
    tell("commit of 600 bars, nobody asks, longest", max(took), "ms")
    ending = threading.Event()
    done = []

    def heavy() -> None:
        with connect(path) as reader:
            while not ending.is_set():
                with suppress(Exception):
                    began = time.perf_counter()
                    reader.sql(HEAVY)
                    done.append(time.perf_counter() - began)

    clients = [threading.Thread(target=heavy) for _ in range(2)]
    for client in clients:
        client.start()
    time.sleep(1)
    busy = recorder.commits(40)
    ending.set()
    for client in clients:
        client.join()
    loud = [seconds * 1000 for seconds in busy["took"]]  # type: ignore[attr-defined]
    tell("commit, two clients with windows over 6 M rows, median", statistics.median(loud), "ms")
    tell("commit, two clients with windows over 6 M rows, longest", max(loud), "ms", f"< {max(took) + 100:.0f}")
    tell("  heavy queries answered", len(done), "")
    if done:
        tell("  a heavy query took, median", statistics.median(done), "s")
    tell("recorder's memory before", int(str(calm["rss"])) / 1e6, "MB")
    tell("recorder's memory after", int(str(busy["rss"])) / 1e6, "MB", "< 600")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bars", type=int, default=10_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--record", type=Path)
    parser.add_argument("--wait", type=Path)
    parser.add_argument("--run-time", type=int, default=0)
    parser.add_argument("--clients", type=int, default=1)
    given = parser.parse_args()
    if given.record:
        asyncio.run(record(given.record, given.bars))
        return
    if given.wait:
        wait(given.wait, given.run_time, given.clients)
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        path = Path(folder) / "bench.duckdb"
        recorder = Recorder(path, given.bars)
        try:
            tell("database", path.stat().st_size / 1e6, "MB")
            speed(path)
            isolation(path, recorder)
            waking(path, recorder)
        finally:
            recorder.close()


if __name__ == "__main__":
    main()
