"""A small stand-in for the recorder: commits whole periods of made-up bars through the Store and tells the Server.

Run as a program (`python -m tests.reading.feeding DB [SECONDS_BETWEEN_PERIODS]`) it serves until its stdin closes.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from bmacdb.clock import SystemClock
from bmacdb.model import Batch, Candle, Ready, Run, Source
from bmacdb.store.serve import Server
from bmacdb.store.writer import Store
from bmacdb.symbols import make_feed

MINUTE_MS = 60_000
FIRST_MS = 1_700_000_040_000  # a boundary of a minute
FEED = make_feed("usdt_perp", "1m")
SYMBOLS = ("BTCUSDT", "ETHUSDT", "币安人生USDT")


def bar(symbol: str, open_time_ms: int) -> Candle:
    """A bar that follows from its symbol and time."""
    price = 100.0 + len(symbol) + open_time_ms // MINUTE_MS % 1000
    return Candle(symbol, open_time_ms, price, price + 1, price - 1, price, 10.0, 1000.0, 5, 4.0, 400.0, Source.WS)


def period(run_time_ms: int, symbols: tuple[str, ...] = SYMBOLS, *, late: tuple[str, ...] = ()) -> Batch:
    """One period: complete, or without the symbols that are late."""
    there = tuple(symbol for symbol in symbols if symbol not in late)
    at_ms = run_time_ms + 40
    done = None if late else at_ms
    return Batch(
        feed=FEED.name,
        recorded_at_ms=at_ms,
        candles=tuple(bar(symbol, run_time_ms - MINUTE_MS) for symbol in there),
        ready=tuple(Ready(run_time_ms, symbol, at_ms, "ws") for symbol in there),
        runs=(Run(run_time_ms, len(symbols), len(there), done, there[-1] if there else None, 0, late),),
    )


async def _main(path: Path, seconds: float) -> None:
    store = await Store.open(path, clock=SystemClock())
    await store.add_feed(FEED, num_candles=100)
    server = await Server.start(store, clock=SystemClock(), info=lambda: {"pid": 0})
    ending = asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    try:
        print("serving", flush=True)
        run_time_ms = FIRST_MS
        while not ending.done():
            batch = period(run_time_ms)
            server.announce(batch, await store.commit(batch))
            run_time_ms += MINUTE_MS
            await asyncio.wait({ending}, timeout=seconds)
    finally:
        await server.close()
        await store.close()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.05))
