"""Kills beside a recorder, in their short form; `python -m tests.trust.interrupted` has dozens."""

from __future__ import annotations

from pathlib import Path

import pytest

from .beside import interrupt_live_resampling, interrupt_offers


@pytest.mark.timeout(300)
async def test_neither_an_import_nor_the_recorder_that_takes_it_can_be_killed_to_harm(tmp_path: Path) -> None:
    """Each bar is there once and as the exchange made it; the same import again completes the record."""
    done = await interrupt_offers(tmp_path, seed=7, kills=3)
    assert not done.complaints, done.complaints
    assert done.rows > 40_000  # 7 symbols, 4 days: just after midnight of UTC there is no more


@pytest.mark.timeout(300)
async def test_bars_made_while_recording_outlive_kills(tmp_path: Path) -> None:
    """They are there once, as their parts make them, and ready only where they are; a restart makes what lacks."""
    done = await interrupt_live_resampling(tmp_path, seed=7, kills=3)
    assert not done.complaints, done.complaints
    assert done.rows > 10_000
