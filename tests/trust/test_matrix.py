"""The fault matrix in its short form; `just soak matrix` plays it slower, with more of everything."""

from __future__ import annotations

import logging
import sys

import pytest

from .matrix import run_matrix, table

SEED = 11


@pytest.mark.timeout(900)
async def test_whatever_goes_wrong_the_file_is_whole_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    """After every fault the file equals the exchange's own history row by row, `runs` tells what was late, and the
    weight limit was never passed."""
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # connections that the stand-in broke itself
    lines = await run_matrix(seed=SEED, speed=30.0, together=8)
    with capsys.disabled():
        print(f"\n\n{table(lines)}\n", file=sys.stderr)  # where those of xdist's workers are seen
    # A second that a busy machine takes is half a minute of this clock, longer than what the recorder allows for: what
    # went wrong is tried again by itself and slower, where a fault of the recorder's shows again.
    doubtful = [line.cell.name for line in lines if line.complaints]
    slower = [await run_matrix(seed=SEED, speed=10.0, together=1, only=name) for name in doubtful]
    failed = [line for lines in slower for line in lines if line.complaints]
    again = "python -m tests.trust matrix --speed 10 --only"
    told = "\n".join(
        f"\n{again} {line.cell.name!r} --seed {line.seed}\n  " + "\n  ".join(line.complaints) for line in failed
    )
    assert not failed, told
