"""The predecessor's calculators over a database that is being recorded into."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bmacdb
from bmacdb.clock import ManualClock, SystemClock
from bmacdb.errors import UsageError
from bmacdb.kit import (
    BmacAllMarketCalculator,
    BmacSingleSymbolCalculator,
    CandleReader,
    compute,
    next_run_time,
    now_time,
    sleep_until_run_time,
)
from bmacdb.model import Batch, SymbolInfo
from bmacdb.store.serve import Server
from bmacdb.store.writer import Store
from tests.factor.support import FEED, START_MS, at, batches, candles, create, database, stored

STEP = 300_000
BARS = 120
FACTORS = [("PctChg", 100), ("TrdNumMeanV1", 80)]
RUN_MS = START_MS + BARS * STEP
UTC8 = timedelta(hours=8)


def _market(bars: int = BARS) -> list[pd.DataFrame]:
    return [candles(name, bars, seed=seed) for seed, name in enumerate(("AUSDT", "BUSDT", "CUSDT"))]


def _before_last(frames: list[pd.DataFrame]) -> list[pd.DataFrame]:
    return [frame.iloc[:-1] for frame in frames]


@asynccontextmanager
async def _recording(path: Path, frames: list[pd.DataFrame]) -> AsyncIterator[tuple[Store, Server]]:
    store = await stored(path, frames)
    server = await Server.start(store, clock=SystemClock(), info=lambda: {"version": "test"})
    try:
        yield store, server
    finally:
        await server.close()
        await store.close()


async def _commit(store: Store, server: Server, batch: Batch) -> None:
    await store.commit(batch)
    server.announce(batch)


async def test_one_symbol_comes_with_every_period(tmp_path: Path) -> None:
    """Index candle_end_time in UTC, the candle columns, then a column per factor; the last num_candles rows."""
    frames = _market()
    async with _recording(tmp_path / "bmac.duckdb", frames):
        with CandleReader(tmp_path / "bmac.duckdb") as reader:
            calc = BmacSingleSymbolCalculator("BUSDT", reader, FACTORS)
            run_time = at(RUN_MS).astimezone(next_run_time("5m").tzinfo)
            found = await calc.calc_factors(run_time)
            other = await calc.calc_factors(run_time, symbol="CUSDT")
            read = reader.read_candle("BUSDT")
    assert found.index.name == "candle_end_time"
    assert str(found.index.dtype) == str(found["candle_begin_time"].dtype) == "datetime64[ns, UTC]"
    assert found.index[-1] == pd.Timestamp(at(RUN_MS))
    assert (found.index - found["candle_begin_time"] == pd.Timedelta("5min")).all()
    assert list(found.columns[-2:]) == ["PctChg_100", "TrdNumMeanV1_80"]
    assert list(read.columns) == list(found.columns[:-2])
    assert (found.dtypes.iloc[1:] == "float64").all()
    close = frames[1]["close"].reset_index(drop=True)
    np.testing.assert_allclose(found["close"], close)
    np.testing.assert_allclose(found["PctChg_100"], close / close.shift(100) - 1, rtol=1e-12)
    bars = frames[1].reset_index(drop=True)
    mean = ((bars["high"] - bars["low"]) / bars["open"] / bars["trade_num"]).rolling(80, min_periods=1).mean()
    np.testing.assert_allclose(found["TrdNumMeanV1_80"], mean, rtol=1e-9)
    assert not found["close"].equals(other["close"])


async def test_the_whole_market_comes_as_soon_as_it_is_complete(tmp_path: Path) -> None:
    """calc_all_factors waits for the commit of the last candle; index symbol; the values of the research panel."""
    frames = _market()
    async with _recording(tmp_path / "bmac.duckdb", _before_last(frames)) as (store, server):
        with CandleReader(tmp_path / "bmac.duckdb") as reader:
            calc = BmacAllMarketCalculator(reader, reader, FACTORS, bmac_expire_sec=1e9)
            waiting = asyncio.ensure_future(calc.calc_all_factors(at(RUN_MS)))
            await asyncio.wait({waiting}, timeout=0.3)
            assert not waiting.done(), "the last period is not there yet"
            await _commit(store, server, batches([frame.iloc[-1:] for frame in frames])[0])
            found = await waiting
            panel = compute(reader, FACTORS, None, at(RUN_MS), at(RUN_MS))
    assert found.index.name == "symbol"
    assert found.index.tolist() == ["AUSDT", "BUSDT", "CUSDT"]
    assert calc.late == ()
    pd.testing.assert_frame_equal(found, panel.droplevel("candle_end_time"), check_exact=True)


async def test_past_the_deadline_it_goes_on_and_names_the_late(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """bmac_expire_sec after the run time the market is computed without what is late, which is named."""
    frames = _market()
    infos = tuple(
        SymbolInfo(name, "PERPETUAL", "TRADING", name[:1], "USDT", "USDT", Decimal("0.1"), Decimal("1"), Decimal("5"))
        for name in ("AUSDT", "BUSDT", "CUSDT")
    )
    async with _recording(tmp_path / "bmac.duckdb", _before_last(frames)) as (store, server):
        await _commit(store, server, Batch(FEED, START_MS, exginfo=infos))
        await _commit(store, server, batches([frame.iloc[-1:] for frame in frames[:2]])[0])
        with CandleReader(tmp_path / "bmac.duckdb") as reader, caplog.at_level(logging.WARNING, "bmacdb.kit"):
            calc = BmacAllMarketCalculator(reader, reader, FACTORS, bmac_expire_sec=0)
            found = await calc.calc_all_factors(at(RUN_MS))
            single = BmacSingleSymbolCalculator("CUSDT", reader, FACTORS, bmac_expire_sec=0)
            rows = await single.calc_factors(at(RUN_MS))
            assert reader.read_exginfo()["symbol"].tolist() == ["AUSDT", "BUSDT", "CUSDT"]
    assert found.index.tolist() == ["AUSDT", "BUSDT"]
    assert calc.late == single.late == ("CUSDT",)
    assert rows.index[-1] == pd.Timestamp(at(RUN_MS - STEP)), "what is there"
    assert "CUSDT" in caplog.text


async def test_many_symbols_may_be_asked_for_at_once(tmp_path: Path) -> None:
    """Calculators that share a reader take turns, and none gets another's rows."""
    frames = _market()
    async with _recording(tmp_path / "bmac.duckdb", frames):
        with CandleReader(tmp_path / "bmac.duckdb") as reader:
            calc = BmacSingleSymbolCalculator("AUSDT", reader, FACTORS)
            found = await asyncio.gather(*(calc.calc_factors(at(RUN_MS), f"{name}USDT") for name in "ABCABC"))
    for frame, rows in zip([*frames, *frames], found, strict=True):
        np.testing.assert_allclose(rows["close"], frame["close"])


async def test_the_file_at_rest_is_read_the_same_way(tmp_path: Path) -> None:
    """Without a recorder the same code computes the same values from the file; the event loop is not blocked."""
    frames = _market()
    store = await stored(tmp_path / "bmac.duckdb", frames)
    await store.close()
    with CandleReader(tmp_path / "bmac.duckdb") as reader:
        calc = BmacAllMarketCalculator(reader, reader, FACTORS)
        found = await calc.calc_all_factors(at(RUN_MS))
        with bmacdb.connect(tmp_path / "bmac.duckdb") as conn:
            panel = compute(conn, FACTORS, None, at(RUN_MS), at(RUN_MS))
    pd.testing.assert_frame_equal(found, panel.droplevel("candle_end_time"), check_exact=True)
    assert threading.active_count() < 50


async def test_every_sql_factor_passes_the_recorders_guard(tmp_path: Path) -> None:
    """The server answers single SELECTs of known functions alone: the whole library gets through."""
    from bmacdb.factors.library import bundled_names

    names = [name for name in sorted(bundled_names()) if not name.startswith(("Alpha", "Cs"))]
    factors: list[object] = [(name, 4) if name != "Macd" else (name, "2,4,2") for name in names]
    frames = _market(60)
    run_time = at(START_MS + 60 * STEP)
    async with _recording(tmp_path / "bmac.duckdb", frames):
        with bmacdb.connect(tmp_path / "bmac.duckdb") as conn:
            assert conn.live
            through = await asyncio.to_thread(
                compute, conn, [*factors, "CsRank:Ma:3", "CsZscore:Ma:3", "CsQuantile:Ma:3,3"], None, run_time, run_time
            )
    beside = compute(
        database(frames), [*factors, "CsRank:Ma:3", "CsZscore:Ma:3", "CsQuantile:Ma:3,3"], None, run_time, run_time
    )
    pd.testing.assert_frame_equal(through, beside, rtol=1e-9, atol=1e-12)


def test_run_times_are_in_utc8_and_on_the_exchanges_grid() -> None:
    """As the predecessor's: aware, UTC+8; strictly later than now; 12h and 1d by the exchange's clock."""
    clock = ManualClock(START_MS + 61_000)
    assert now_time(clock=clock).isoformat() == "2026-01-01T08:01:01+08:00"
    assert next_run_time("5m", clock=clock).isoformat() == "2026-01-01T08:05:00+08:00"
    assert next_run_time("1d", clock=clock).isoformat() == "2026-01-02T08:00:00+08:00"
    assert next_run_time("5m", clock=ManualClock(START_MS)).isoformat() == "2026-01-01T08:05:00+08:00"
    assert next_run_time("5m").utcoffset() == now_time().utcoffset() == UTC8
    with pytest.raises(UsageError, match="Did you mean"):
        next_run_time("5M")


async def test_sleeping_until_a_run_time() -> None:
    """It wakes at the run time, not before, and at once for one that is past."""
    clock = ManualClock(START_MS + 1_000)
    run_time = next_run_time("5m", clock=clock)
    sleeper = asyncio.ensure_future(sleep_until_run_time(run_time, clock=clock))
    await clock.advance(298.9)
    assert not sleeper.done()
    await clock.advance(0.2)
    await sleeper
    await sleep_until_run_time(run_time - timedelta(days=1), clock=clock)


async def test_run_times_that_cannot_be_are_refused() -> None:
    """No zone, or no boundary: with the nearest ones. Several feeds: say which."""
    connection = database(_market(20))
    calc = BmacSingleSymbolCalculator("AUSDT", CandleReader(connection), [("PctChg", 3)])
    with pytest.raises(UsageError, match="no time zone"):
        await calc.calc_factors(datetime(2026, 1, 1, 1, 0))
    with pytest.raises(UsageError, match=r"the nearest are 2026-01-01T01:00:00\+00:00 and 2026-01-01T01:05:00"):
        await calc.calc_factors(datetime(2026, 1, 1, 1, 2, tzinfo=UTC))
    create(connection, "usdt_perp_1h")
    with pytest.raises(UsageError, match="usdt_perp_1h, usdt_perp_5m"):
        _ = CandleReader(connection).source
    assert CandleReader(connection, "usdt_swap_5m").source.schema == FEED
    with pytest.raises(UsageError, match="not in the database"):
        _ = CandleReader(connection, "usdt_perp_4h").source
    with pytest.raises(UsageError, match="not a plain name"):
        _ = CandleReader(connection, 'x"; DROP SCHEMA main; --').source
