"""Housekeeping, over a real file."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from bmacdb.clock import ServerClock
from bmacdb.interval import Interval
from bmacdb.recorder.events import Event
from bmacdb.recorder.housekeeping import Housekeeping, between_closes
from tests.store.support import FEED, opened, period

_SYMBOLS = 5_000


@pytest.mark.timeout(120)
async def test_a_recorder_that_is_behind_checkpoints_as_well(tmp_path: Path) -> None:
    """Where something always waits to be written there is no quiet moment; the log is kept within bounds all the same,
    for DuckDB holds what is in it in memory."""
    told: list[Event] = []
    async with opened(tmp_path / "a.duckdb") as store:
        minute = 0
        while store.wal_bytes() < 13 * 1024 * 1024:
            await store.commit(replace(period(minute, symbols=_SYMBOLS), ready=(), runs=()))
            minute += 1
        housekeeping = Housekeeping(
            store, [FEED], keep=None, clock=ServerClock(), idle=lambda: False, report=told.append
        )
        keeping = asyncio.create_task(housekeeping.run())
        while store.wal_bytes():
            assert not keeping.done()
            await asyncio.sleep(0.05)
        keeping.cancel()
    assert not told


@pytest.mark.parametrize(
    ("interval", "second", "rate", "quiet"),
    [
        ("1m", 30.0, 1.0, True),
        ("1m", 0.3, 1.0, False),  # what closes comes in pieces
        ("1m", 58.5, 1.0, False),
        ("1m", 20.0, 12.0, True),
        ("1m", 10.0, 12.0, False),
        ("1m", 40.0, 12.0, False),
        ("1s", 0.5, 1.0, True),  # it is always near
        ("1h", 1800.0, 1.0, True),
    ],
)
def test_no_checkpoint_is_begun_while_a_market_closes(interval: str, second: float, rate: float, quiet: bool) -> None:
    """Neither right before a boundary nor right behind it, on clocks of every rate."""
    start_ms = 1_699_999_200_000  # a full hour
    assert between_closes(Interval.parse(interval), start_ms + int(second * 1000), rate=rate) == quiet
