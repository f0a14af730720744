"""Symbols that come and go while they are recorded. (What else may go wrong is in `tests/trust`.)"""

from __future__ import annotations

import asyncio
from pathlib import Path

import bmacdb
from bmacdb.exchange.simulated import SimulatedExchange, parse_fault

from .support import Recorder, agrees, query

SPEED = 30.0
SEED = 11
PROVISIONAL = "SELECT count(*) FROM candles WHERE source = 'provisional'"


async def test_listings_and_delistings_are_followed(tmp_path: Path) -> None:
    async with (
        SimulatedExchange(symbols=8, speed=SPEED, seed=SEED) as exchange,
        Recorder(exchange, tmp_path, ["--feed", "usdt_perp_1m", "--num-candles", "60"]) as recorder,
    ):
        await recorder.until("run_complete")
        now_ms = exchange.clock.now_ms()
        for event in (
            "listing,market=usdt_futures,symbol=NEWUSDT,after=20",
            "delisting,market=usdt_futures,symbol=ETHUSDT,after=50",
        ):
            exchange.inject(parse_fault(event, now_ms=now_ms))
        await exchange.clock.sleep(100)
        await recorder.until("run_complete", len(recorder.told("run_complete")) + 3)
        await recorder.until_whole()
        assert await recorder.stop() == 0, recorder.story()
        changes = recorder.told("symbols_changed")
        assert [change["listed"] for change in changes if change["listed"]] == [["NEWUSDT"]]
        assert [change["delisted"] for change in changes if change["delisted"]] == [["ETHUSDT"]]
        assert agrees(exchange, recorder.database, "usdt_perp_1m", num_candles=60) > 8 * 60
        assert query(recorder.database, "SELECT count(*) > 0 FROM candles WHERE symbol = 'NEWUSDT'") == [(True,)]
        ((status,),) = query(
            recorder.database, "SELECT arg_max(status, valid_from) FROM exginfo WHERE symbol = 'ETHUSDT'"
        )
        assert status != "TRADING"


async def test_bars_taken_too_soon_are_confirmed_after_a_kill(tmp_path: Path) -> None:
    """Killed between the first answer of REST and the final one, the recorder knows at its next start which bars may be
    wrong, and asks for them again."""
    arguments = ["--feed", "usdt_perp_1m", "--num-candles", "60", "--candle-close-timeout-sec", "3"]
    async with SimulatedExchange(symbols=8, speed=5.0, seed=SEED) as exchange:
        async with Recorder(exchange, tmp_path, arguments) as recorder:
            await recorder.until("run_started")
            for fault in ("lost", "changing,seconds=10"):
                exchange.inject(parse_fault(fault, now_ms=exchange.clock.now_ms()))
            await recorder.until("run_started", 2)
            with bmacdb.connect(recorder.database) as reader:
                while next(iter(reader.sql(PROVISIONAL))) == (0,):
                    await asyncio.sleep(0.02)
            recorder.process.kill()  # type: ignore[union-attr]
        assert query(recorder.database, PROVISIONAL) != [(0,)]
        exchange.heal()
        async with Recorder(exchange, tmp_path, arguments) as recorder:
            await recorder.until("run_complete", 2)
            await recorder.until_whole()
            assert await recorder.stop() == 0, recorder.story()
    assert query(recorder.database, PROVISIONAL) == [(0,)]
    corrected = "SELECT DISTINCT stands, later.source FROM corrections WHERE recorded.source = 'provisional'"
    assert query(recorder.database, corrected) == [("later", "rest")]
    agrees(exchange, recorder.database, "usdt_perp_1m", num_candles=60)
