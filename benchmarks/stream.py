"""The stream: how soon the rows of a commit are in another process, and what publishing costs the recorder.

    python -m benchmarks.stream [--periods 100]

This process commits 600 candles again and again and publishes them. Another one receives them, and then reads the same
rows by a query, which is the other way to get them. Times count from the end of the commit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles

from benchmarks.reading import FEED, FIRST_MS, MINUTE_MS, whole_market
from bmacdb.clock import SystemClock, from_ms
from bmacdb.store import sidefile
from bmacdb.store.reader import connect
from bmacdb.store.serve import Server
from bmacdb.store.writer import Store
from bmacdb.stream.subscription import Subscription

SUBSCRIBERS = 5
PAUSE_S = 0.05


def receive(path: Path, *, query: bool) -> None:
    """A subscriber: prints a line a commit with when its rows were here, and when a query had them."""
    live = sidefile.find(path)
    assert live is not None
    subscription = Subscription(live.events_address, (f"candles/{FEED.name}",))
    with connect(path) as reader:
        reader.sql("SELECT 1")
        print("ready", flush=True)
        while (message := subscription.receive(60)) is not None:
            rows = message.table()
            streamed = time.time()
            if query:
                opened = rows["open_time"][0].as_py()
                found = reader.sql(f"FROM {FEED.name}.candles WHERE open_time = ?", [opened]).arrow()
                assert found.num_rows == rows.num_rows
                print(json.dumps([streamed, time.time()]), flush=True)


async def measure(path: Path, periods: int) -> None:
    store = await Store.open(path, clock=SystemClock())
    await store.add_feed(FEED, num_candles=10_000)
    server = await Server.start(store, clock=SystemClock(), info=dict)
    children: list[subprocess.Popen[str]] = []
    run_time_ms = FIRST_MS

    async def start(*more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "benchmarks.stream", "--receive", str(path), *more]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
        children.append(child)
        assert child.stdout is not None
        await asyncio.to_thread(child.stdout.readline)
        await asyncio.sleep(0.5)  # until the subscription has arrived
        return child

    try:
        child = await start("--query")
        assert child.stdout is not None
        streamed, asked = [], []
        for _ in range(periods):
            batch = whole_market(run_time_ms)
            run_time_ms += MINUTE_MS
            written = await store.commit(batch)
            committed = time.time()
            server.announce(batch, written)
            got, read = json.loads(await asyncio.to_thread(child.stdout.readline))
            streamed.append((got - committed) * 1000)
            asked.append((read - got) * 1000)
            await asyncio.sleep(PAUSE_S)
        print(
            f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {from_ms(run_time_ms):%Y-%m-%d} of made-up time"
        )
        for name, took in (("600 rows by the stream", streamed), ("the same rows by a query", asked)):
            print(f"{name:<32} median {median(took):6.2f} ms   p99 {quantiles(took, n=100)[98]:6.2f} ms")
        child.kill()
        child.communicate()
        children.remove(child)
        for subscribers in (0, SUBSCRIBERS):
            for _ in range(subscribers):
                await start()
            batch = whole_market(run_time_ms)
            run_time_ms += MINUTE_MS
            written = await store.commit(batch)
            took = []
            for _ in range(periods):
                before = time.process_time()
                server.announce(batch, written)
                await asyncio.sleep(PAUSE_S)
                took.append((time.process_time() - before) * 1000)
            print(f"processor a period, {subscribers} subscribers     median {median(took):6.2f} ms")
    finally:
        for child in children:
            child.kill()
            child.communicate()
        await server.close()
        await store.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--periods", type=int, default=100)
    parser.add_argument("--receive", type=Path)
    parser.add_argument("--query", action="store_true")
    given = parser.parse_args()
    if given.receive:
        receive(given.receive, query=given.query)
        return
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder) / "stream.duckdb", given.periods))


if __name__ == "__main__":
    main()
