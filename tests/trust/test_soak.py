"""The soak in its short form; `just soak soak` records a simulated day of 300 symbols."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(240)
async def test_half_an_hour_under_background_faults_leaves_no_gap_and_leaks_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every row is the exchange's; tasks, threads and open files are as many at the end as in the middle."""
    options = ("--periods", "25", "--symbols", "50", "--speed", "60", "--seed", "11")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.trust.soak", *options),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    with capsys.disabled():
        print(f"\n\n{output.decode()}", file=sys.stderr)  # where those of xdist's workers are seen
    assert process.returncode == 0, f"python -m tests.trust.soak {' '.join(options)}\n{output.decode()}"
