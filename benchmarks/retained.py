"""What a recorder keeps of its memory after large reads: eight whole reads of 240 thousand rows, each by a new client.

    python -m benchmarks.retained

One line for each size of Quack's answers, its default of 12 chunks and ours: resident MB before, and after each read.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
import psutil

from bmacdb.cli.lean import without_pandas
from bmacdb.clock import SystemClock
from bmacdb.store import serve
from bmacdb.store.serve import Server
from bmacdb.store.writer import Store
from bmacdb.symbols import make_feed

FEED = make_feed("usdt_perp", "1m")
READS = 8
READ = """
import sys
from bmacdb.store.reader import connect
with connect(sys.argv[1]) as reader:
    assert len(reader.sql("FROM usdt_perp_1m.candles")) == 240_000
"""


def fill(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(
        "INSERT INTO usdt_perp_1m.candles SELECT 'S' || s, to_timestamp(1700000040 + 60 * b), random(), 2, 1, 1.5, 10, "
        "100, 5, 4, 40, 'rest', now() FROM range(800) AS bars(b), range(300) AS symbols(s)"
    )
    connection.execute("CHECKPOINT")


async def measure(chunks: int) -> None:
    with tempfile.TemporaryDirectory() as folder, without_pandas():
        store = await Store.open(Path(folder) / "bench.duckdb", clock=SystemClock())
        await store.add_feed(FEED, num_candles=100)
        await store.run(fill)
        server = await Server.start(store, clock=SystemClock(), info=dict)
        await store.run(lambda connection: connection.execute(f"SET GLOBAL quack_fetch_batch_chunks = {chunks}"))
        resident = [psutil.Process().memory_info().rss]
        for _ in range(READS):
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", READ, str(store.path))
            assert await process.wait() == 0
            resident.append(psutil.Process().memory_info().rss)
        print(f"{chunks:>2} chunks: " + " ".join(f"{size / 1e6:.0f}" for size in resident) + " MB", flush=True)
        await server.close()
        await store.close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(measure(int(sys.argv[1])))
    else:
        for number in (12, serve._ANSWER_CHUNKS):  # a process each, for one keeps what the other took
            subprocess.run([sys.executable, "-m", "benchmarks.retained", str(number)], check=True)
