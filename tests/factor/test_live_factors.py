"""Factors of a market that is recorded at this moment, without a question to the database for each."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pandas as pd
import pytest

import bmacdb
from bmacdb.clock import ManualClock, SystemClock
from bmacdb.errors import UsageError
from bmacdb.kit import BmacAllMarketCalculator, BmacSingleSymbolCalculator, CandleReader, compute
from bmacdb.live.events import CompleteEvent
from bmacdb.model import Batch
from bmacdb.store.serve import Server
from tests.factor.support import START_MS, Make, at, batches, candles, stored

STEP = 300_000
BARS = 120
RUN_MS = START_MS + BARS * STEP
NAMES = ("AUSDT", "BUSDT", "CUSDT")
MODULE = "def signal(*args):\n    df, n, name = args[:3]\n    df[name] = df['close'].rolling(n).mean()\n    return df\n"


def _frames() -> list[pd.DataFrame]:
    return [candles(name, BARS, seed=seed) for seed, name in enumerate(NAMES)]


def _last(frames: list[pd.DataFrame]) -> Batch:
    return batches([frame.iloc[-1:] for frame in frames])[-1]


def _only(batch: Batch, *symbols: str, complete: bool) -> Batch:
    """Some of the candles of a period, which are not all of it unless `complete`."""
    chosen = tuple(one for one in batch.candles if one.symbol in symbols)
    ready = tuple(one for one in batch.ready if one.item in symbols)
    return Batch(batch.feed, batch.recorded_at_ms, chosen, ready, batch.runs if complete else ())


async def test_calculators_take_a_market(tmp_path: Path, package: Make) -> None:
    """One symbol returns on its own candle, the market on the last; both equal compute over the database."""
    frames = _frames()
    own = package({"Mean.py": MODULE})
    factors = [("PctChg", 20), ("Mean", 10)]
    path = tmp_path / "bmac.duckdb"
    store = await stored(path, [frame.iloc[:-1] for frame in frames])
    server = await Server.start(store, clock=SystemClock(), info=lambda: {"version": "test"})
    try:
        async with bmacdb.subscribe(path, window=BARS) as market:
            one = BmacSingleSymbolCalculator("BUSDT", market, factors, own, clock=ManualClock(RUN_MS))
            every = BmacAllMarketCalculator(market, market, factors, own, clock=ManualClock(RUN_MS))
            batch = _last(frames)
            waiting = asyncio.ensure_future(one.calc_factors(at(RUN_MS)))
            for symbol in ("AUSDT", "BUSDT"):
                part = _only(batch, symbol, complete=False)
                server.announce(part, await store.commit(part))
            found = await asyncio.wait_for(waiting, 20)  # CUSDT is not there yet
            part = _only(batch, "CUSDT", complete=True)
            server.announce(part, await store.commit(part))
            table = await asyncio.wait_for(every.calc_all_factors(at(RUN_MS)), 20)
            other = await every.calc_factors(at(RUN_MS), "CUSDT")
            one.close()
            every.close()
            with CandleReader(path) as reader:
                there = compute(reader, factors, None, at(RUN_MS), at(RUN_MS), package=own)
                before = BmacSingleSymbolCalculator("BUSDT", reader, factors, own)
                expected = await before.calc_factors(at(RUN_MS))
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
        pd.testing.assert_frame_equal(table, there.droplevel("candle_end_time"), check_exact=True)
        assert other.index[-1] == pd.Timestamp(at(RUN_MS))
        assert every.late == one.late == ()
    finally:
        await server.close()
        await store.close()


async def test_past_the_deadline_it_goes_on_without_the_late(tmp_path: Path) -> None:
    """The symbols that are there are computed; the panel misses the one that is late."""
    frames = _frames()
    path = tmp_path / "bmac.duckdb"
    store = await stored(path, [frame.iloc[:-1] for frame in frames])
    server = await Server.start(store, clock=SystemClock(), info=lambda: {"version": "test"})
    try:
        async with bmacdb.subscribe(path, window=BARS) as market:
            every = BmacAllMarketCalculator(market, market, ["PctChg:20"], bmac_expire_sec=1, clock=ManualClock(RUN_MS))
            part = _only(_last(frames), "AUSDT", "BUSDT", complete=False)
            server.announce(part, await store.commit(part))
            table = await asyncio.wait_for(every.calc_all_factors(at(RUN_MS)), 20)
            every.close()
        assert list(table.index) == ["AUSDT", "BUSDT"]
    finally:
        await server.close()
        await store.close()


async def test_a_replay_gives_what_compute_gives(tmp_path: Path, package: Make) -> None:
    """market.factors over a file at rest: each run time, to the last bit."""
    path = tmp_path / "bmac.duckdb"
    store = await stored(path, _frames())
    await store.close()
    own = package({"Mean.py": MODULE})
    wanted = ["PctChg:20", ("Mean", 10), "CsRank:PctChg:20"]
    tables = {}
    with bmacdb.subscribe(path, window=100, start=at(RUN_MS - 10 * STEP)) as market:
        with market.factors(wanted, package=own) as factors:
            for event in market:
                if isinstance(event, CompleteEvent):
                    tables[event.run_time] = factors.at(event.run_time)
        with pytest.raises(UsageError, match="Mena"):
            market.factors(["Mena:3"], package=own)
    with CandleReader(path) as reader:
        there = compute(reader, wanted, None, at(RUN_MS - 10 * STEP), at(RUN_MS), package=own)
    assert len(tables) == 11
    for run_time, table in tables.items():
        then = there.xs(pd.Timestamp(run_time), level="candle_end_time")
        pd.testing.assert_frame_equal(table, then, check_exact=True)
