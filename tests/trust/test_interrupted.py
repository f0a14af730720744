"""Commands that are killed while they write, in their short form; `python -m tests.trust.interrupted` has dozens."""

from __future__ import annotations

from pathlib import Path

import pytest

from .interrupted import interrupt_imports, interrupt_resampling


@pytest.mark.timeout(300)
async def test_an_import_that_is_killed_leaves_whole_files_and_can_be_begun_again(tmp_path: Path) -> None:
    done = await interrupt_imports(tmp_path, seed=7, kills=3, symbols=4)
    assert not done.complaints, done.complaints
    assert done.rows == 4 * 90 * 1440


@pytest.mark.timeout(300)
async def test_resampling_that_is_killed_leaves_whole_pieces_and_can_be_begun_again(tmp_path: Path) -> None:
    done = await interrupt_resampling(tmp_path, seed=7, kills=3)
    assert not done.complaints, done.complaints
    assert done.rows > 200_000
