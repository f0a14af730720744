"""Symbols that come and go while they are recorded. (What else may go wrong is in `tests/trust`.)"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import bmacdb
from bmacdb.cli.status import render
from bmacdb.simulated import SimulatedExchange, parse_fault
from bmacdb.store.status import Status, Watcher

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


def look(path: Path) -> Status:
    with Watcher(path) as watcher:
        return watcher.look()


@pytest.mark.parametrize(
    "faults",
    [
        [f"halt,market=spot,symbol={base}USDT,seconds=9000" for base in ("BTC", "ETH", "币安人生", "JUP")],
        ["unlisted,market=spot"],
        ["rest,market=spot,status=503"],
    ],
)
async def test_a_market_without_anything_to_trade_is_waited_for_and_holds_up_no_other(
    tmp_path: Path, faults: list[str]
) -> None:
    """All its symbols are in a halt, or its list is empty, or it does not answer at all, from before the start on: the
    feed of the other market is recorded, status tells of the halt, and when it is over the feed follows."""
    arguments = ["--feed", "usdt_spot_1m", "--feed", "usdt_perp_1m", "--num-candles", "30"]
    async with SimulatedExchange(symbols=4, speed=SPEED, seed=SEED) as exchange:
        for fault in faults:
            exchange.inject(parse_fault(fault, now_ms=exchange.clock.now_ms()))
        async with Recorder(exchange, tmp_path, arguments) as recorder:
            await recorder.until("run_complete", 2)
            assert {event["feed"] for event in recorder.told("run_complete")} == {"usdt_perp_1m"}
            told = [event for event in recorder.told("notice") if event["topic"] == "halt"]
            assert [(event["feed"], event["severity"]) for event in told] == [("usdt_spot_1m", "error")]
            found = await asyncio.to_thread(look, recorder.database)  # this loop serves the exchange
            assert {feed.feed: feed.halted for feed in found.feeds} == {"usdt_spot_1m": True, "usdt_perp_1m": False}
            assert not any(feed.late for feed in found.feeds if feed.halted)
            assert "usdt_spot_1m  HALTED" in render(found)
            if faults[0].startswith("halt"):  # it lasts; the others are over
                assert await recorder.stop() == 0, recorder.story()
                return
            exchange.heal()
            while not any(event["feed"] == "usdt_spot_1m" for event in recorder.told("run_complete")):
                await recorder.until("run_complete", len(recorder.told("run_complete")) + 1)
            await recorder.until_whole()
            assert await recorder.stop() == 0, recorder.story()
    agrees(exchange, recorder.database, "usdt_spot_1m", num_candles=30)


async def test_symbols_that_are_not_listed_are_wrong_usage(tmp_path: Path) -> None:
    """A typing error is no halt: told at once, with exit status 2."""
    async with (
        SimulatedExchange(symbols=4, speed=SPEED, seed=SEED) as exchange,
        Recorder(exchange, tmp_path, ["--feed", "usdt_perp_1m", "--keep-symbols", "BTCUSTD"]) as recorder,
    ):
        assert await recorder.ended() == 2, recorder.story()
        assert "none of BTCUSTD is listed on usdt_perp" in recorder.story()
    assert not recorder.database.exists()
