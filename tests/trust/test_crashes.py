"""Crashes in their short form: ten kills; `just soak crashes` has a hundred and more."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from .crashes import crash

SEED = 5


@pytest.mark.timeout(300)
async def test_kills_at_random_moments_lose_nothing_that_was_told(tmp_path: Path) -> None:
    """Each file opens again with every row that it had, nothing twice and nothing half; a restart repairs the rest, and
    then it equals the exchange's history."""
    async with asyncio.TaskGroup() as tasks:
        lanes = []
        for lane in range(2):
            (directory := tmp_path / str(lane)).mkdir()
            lanes.append(tasks.create_task(crash(directory, seed=SEED + lane, kills=5, num_candles=700)))
    for lane in lanes:
        done = lane.result()
        assert not done.complaints, f"seed {done.seed}: {done.complaints}"
        assert done.kills.total() == 5
        assert done.rows > 10_000
