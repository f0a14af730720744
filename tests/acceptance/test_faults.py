"""Whatever the exchange and the network do for some minutes: afterwards the file equals the exchange's history."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmacdb.exchange.simulated import SimulatedExchange, parse_fault

from .support import Recorder, agrees, query

SPEED = 30.0
SEED = 11

FAULTS = {
    "closing frames lost, late, doubled and out of order": [
        "lost:0.3",
        "late:0.1,seconds=20",
        "doubled:0.3",
        "swapped:0.1",
        "garbage:0.2",
        "garbage:0.2,shape=half",
        "garbage:0.1,shape=binary",
    ],
    "every closing frame lost": ["lost:1"],
    "connections die at the boundary and are refused for a while": ["dies:0.5,refuse_seconds=30"],
    "connections are open, acknowledged and silent": ["silent:0.7"],
    "some streams are silent": ["mute:0.3"],
    "rest answers with errors while frames are lost": [
        "lost:0.3",
        "rest:0.3,status=503",
        "rest:0.1,status=500,html=true",
        "truncated:0.2",
        "stale:1,seconds=10",
        "forming:1",
    ],
    "rest bans for a while and frames are lost": ["lost:0.3", "rest:1,status=418,retry_after=20,times=2"],
}


@pytest.mark.parametrize("what", FAULTS)
async def test_the_file_is_whole_after(what: str, tmp_path: Path) -> None:
    async with (
        SimulatedExchange(symbols=10, speed=SPEED, seed=SEED) as exchange,
        Recorder(exchange, tmp_path, ["--feed", "usdt_perp_1m", "--num-candles", "60"]) as recorder,
    ):
        await recorder.until("run_complete")
        now_ms = exchange.clock.now_ms()
        for fault in FAULTS[what]:
            exchange.inject(parse_fault(f"{fault},for=150", now_ms=now_ms))
        await exchange.clock.sleep(150)
        # Two whole periods after the faults, and everything that was late repaired.
        done = len(recorder.told("run_complete"))
        await recorder.until("run_complete", done + 2)
        await recorder.until_whole()
        assert await recorder.stop() == 0, recorder.story()
        ((repaired,),) = query(recorder.database, "SELECT sum(repaired) FROM runs")
        assert exchange.stats.faults or repaired, "the fault never struck"
        try:
            agrees(exchange, recorder.database, "usdt_perp_1m", num_candles=60)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{recorder.story()}") from error
        # What was late is named, and what is named was late.
        named = {
            (run_time, symbol)
            for run_time, symbols in query(recorder.database, "SELECT run_time, missing FROM runs")
            for symbol in symbols  # type: ignore[attr-defined]
        }
        late_rows = query(
            recorder.database,
            "SELECT run_time, item, source FROM run_status JOIN runs USING (feed, run_time) "
            "WHERE item NOT IN ('exginfo', 'funding') AND epoch(ready_at - run_time) > 42",
        )
        assert {(run_time, item) for run_time, item, _ in late_rows} <= named
        most = exchange.summary()["weight"]["futures"]  # type: ignore[index]
        assert most["most_a_minute"] <= most["limit"]


async def test_listings_and_delistings_and_halts_are_followed(tmp_path: Path) -> None:
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


async def test_a_machine_whose_clock_is_wrong_records_the_same(tmp_path: Path) -> None:
    async with SimulatedExchange(symbols=5, speed=SPEED, seed=SEED) as exchange:
        exchange.inject(parse_fault("skew,seconds=-45", now_ms=exchange.clock.now_ms()))
        async with Recorder(
            exchange, tmp_path, ["--feed", "usdt_perp_1m", "--num-candles", "60", "--periods", "2"]
        ) as recorder:
            assert await recorder.ended() == 0, recorder.story()
        assert not recorder.told("run_late")
        agrees(exchange, recorder.database, "usdt_perp_1m", num_candles=60)
