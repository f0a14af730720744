"""A strategy beside the recorder, each a process as users run them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import bmacdb
from bmacdb.clock import from_ms
from bmacdb.interval import MINUTE_MS
from bmacdb.simulated import SimulatedExchange

from .support import Recorder, agrees

SPEED = 20.0
SYMBOLS = 8


async def test_a_strategy_lives_through_the_death_of_its_recorder(tmp_path: Path) -> None:
    """It waits for run times and reads each whole market, before the recorder is killed and after it is back."""
    arguments = ["--feed", "usdt_perp_1m", "--num-candles", "50"]
    async with SimulatedExchange(symbols=SYMBOLS, speed=SPEED) as exchange:

        async def follow(reader: bmacdb.Reader, times: int) -> None:
            """What a strategy does at each run time."""
            for _ in range(times):
                run_time = from_ms((exchange.clock.now_ms() // MINUTE_MS + 1) * MINUTE_MS)
                readiness = await reader.wait_ready(run_time, timeout=600)
                assert readiness, readiness
                query = "SELECT symbol, close FROM usdt_perp_1m.candles WHERE open_time = $opened"
                market = await asyncio.to_thread(reader.sql, query, {"opened": run_time - timedelta(minutes=1)})
                assert len(market) == SYMBOLS

        async with Recorder(exchange, tmp_path, arguments) as first:
            await first.until("run_complete")
            with bmacdb.connect(first.database, clock=exchange.clock) as reader:
                await follow(reader, 2)
                assert first.process is not None
                first.process.kill()
                await first.process.wait()
                held = (await asyncio.to_thread(reader.sql, "SELECT count(*) FROM candles")).one()
                async with Recorder(exchange, tmp_path, arguments) as second:
                    await second.until("run_complete")
                    await follow(reader, 2)
                    assert reader.live
                    assert (await asyncio.to_thread(reader.sql, "SELECT count(*) FROM candles")).one() > held
                    assert await second.stop() == 0, second.story()
        agrees(exchange, second.database, "usdt_perp_1m", num_candles=50)
