"""Housekeeping, over a real file."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from bmacdb.clock import ServerClock
from bmacdb.recorder.events import Event
from bmacdb.recorder.housekeeping import Housekeeping
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
