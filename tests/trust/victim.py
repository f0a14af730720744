"""A process whose database is to die: commits period after period and serves them, as a recorder does.

It tells "committed ROWS" and "full" and "reopened" on standard output.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from bmacdb.clock import SystemClock
from bmacdb.errors import StoreFull
from bmacdb.store.serve import Server
from bmacdb.store.writer import Store
from tests.store.support import FEED, period

__all__ = ["main"]

SYMBOLS = 50


async def main(path: Path) -> None:
    """Commit until killed."""
    store = await Store.open(path, clock=SystemClock())
    await store.add_feed(FEED, num_candles=1500)
    await store.run(lambda connection: connection.execute("SET GLOBAL checkpoint_threshold = '300KB'").fetchall())
    server = await Server.start(store, clock=SystemClock(), info=lambda: {"version": "test"})
    store.on_reopen(lambda: print("reopened", flush=True))
    number = 0
    while True:
        batch = period(number, symbols=SYMBOLS)
        try:
            await store.commit(batch)
        except StoreFull:
            print("full", flush=True)
            await asyncio.sleep(0.1)
            continue
        number += 1
        print("committed", number * SYMBOLS, flush=True)
        server.announce(batch)
        await asyncio.sleep(0.005)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
