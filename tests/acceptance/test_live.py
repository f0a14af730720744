"""A strategy's market beside the recorder, each a process as users run them, held against the database cell by cell."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

import bmacdb
from bmacdb.clock import from_ms
from bmacdb.interval import MINUTE_MS
from bmacdb.live.events import CandleEvent, CompleteEvent, DelistingEvent, Event, ListingEvent
from bmacdb.simulated import SimulatedExchange, parse_fault
from tests.live.support import same_as_database

from .support import Recorder

FEED = "usdt_perp_1m"
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "trend.py"


async def trend(*arguments: object) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, str(EXAMPLE), *map(str, arguments), stdout=asyncio.subprocess.PIPE
    )


async def test_the_panel_is_the_database_whatever_happens(tmp_path: Path) -> None:
    """The recorder is killed and comes back, a symbol is listed, another delisted, closing frames are wrong (and are
    corrected later), lost and late; a strategy runs beside it, and again over the record."""
    arguments = ["--feed", FEED, "--num-candles", "50"]
    async with SimulatedExchange(symbols=8, speed=20.0) as exchange:
        heard: list[Event] = []

        async def complete(market: bmacdb.Market, times: int) -> None:
            """Take events until so many more run times are complete."""
            async for event in market:
                heard.append(event)
                times -= isinstance(event, CompleteEvent) and event.complete
                if not times:
                    return

        async with Recorder(exchange, tmp_path, arguments) as first:
            await first.until("run_complete")
            async with bmacdb.subscribe(first.database, window=40) as market:
                strategy = await trend(first.database)
                for fault in ("listing,market=usdt_futures,symbol=NEWUSDT", "wrong:0.3", "lost:0.2"):
                    exchange.inject(parse_fault(fault, now_ms=exchange.clock.now_ms()))
                await complete(market, 3)
                assert strategy.stdout is not None
                assert b"USDT" in await strategy.stdout.readline()
                strategy.kill()
                await strategy.communicate()
                assert first.process is not None
                first.process.kill()
                await first.process.wait()
                async with Recorder(exchange, tmp_path, arguments) as second:
                    gone = market.panel.symbols[0]
                    fault = f"delisting,market=usdt_futures,symbol={gone}"
                    exchange.inject(parse_fault(fault, now_ms=exchange.clock.now_ms()))
                    await complete(market, 4)
                    assert await second.stop() == 0, second.story()
                # What was committed last comes by message, or from the file at rest some seconds later.
                cells, tries = 0, 60
                while not cells:
                    with suppress(TimeoutError):
                        while True:
                            heard.append(await asyncio.wait_for(anext(market), 1))
                    tries -= 1
                    with suppress(*([AssertionError] if tries else [])):
                        cells = await asyncio.to_thread(same_as_database, market.panel, second.database)
                assert cells > 300
        times = [event.run_time for event in heard if isinstance(event, CompleteEvent) and event.complete]
        assert times == sorted(set(times))
        assert any("NEWUSDT" in event.symbols for event in heard if isinstance(event, ListingEvent | CandleEvent))
        assert any(gone in event.symbols for event in heard if isinstance(event, DelistingEvent))

        start_ms = round(times[0].timestamp() * 1000) - 10 * MINUTE_MS
        strategy = await trend(second.database, from_ms(start_ms).isoformat())
        told, _ = await strategy.communicate()
        assert strategy.returncode == 0
        lines = told.decode().splitlines()
        assert lines[0].startswith(from_ms(start_ms).isoformat())
        assert len(lines) >= 10 + len(times)
