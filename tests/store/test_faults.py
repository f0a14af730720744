"""The disk fills up, the process is killed: what was acknowledged stays, nothing is half there."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import subprocess
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import duckdb
import pytest

from tests.store.support import opened, period

ROOT = Path(__file__).resolve().parents[2]

# A server that has everything imported forks the writers in a moment; where there is none they are started anew.
_CONTEXT = multiprocessing.get_context(
    "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
)
_CONTEXT.set_forkserver_preload(["pytest", "pandas", "pyarrow.dataset", "bmacdb.store.writer", "bmacdb.symbols"])


def _commit_numbered(path: Path, start: int, acknowledge: Connection) -> None:
    async def commit() -> None:
        async with opened(path) as store:
            for number in range(start, start + 100_000):
                await store.commit(period(number, symbols=50))
                acknowledge.send(number)

    asyncio.run(commit())


def test_twenty_kills_lose_nothing_and_leave_nothing_half(tmp_path: Path) -> None:
    """A process that commits numbered batches is killed at random moments; every acknowledged batch is there whole."""
    path = tmp_path / "bmac.duckdb"
    moments = random.Random(1)
    acknowledged = -1
    for _ in range(20):
        ours, theirs = _CONTEXT.Pipe(duplex=False)
        writer = _CONTEXT.Process(target=_commit_numbered, args=(path, acknowledged + 1, theirs))
        writer.start()
        theirs.close()
        with ours:
            for _ in range(moments.randint(1, 8)):
                acknowledged = ours.recv()
            writer.kill()
            writer.join()
            with suppress(EOFError, OSError):
                while True:  # what it said before it died
                    acknowledged = ours.recv()
    with duckdb.connect(path) as connection:
        candles = connection.execute(
            "SELECT open_time, count(*), count(DISTINCT symbol) FROM usdt_perp_1m.candles GROUP BY open_time"
        ).fetchall()
        assert {row[1:] for row in candles} == {(50, 50)}
        assert len(candles) in (acknowledged + 1, acknowledged + 2)  # one may have died before it could say so
        for table in ("run_status", "runs"):
            (periods,) = connection.execute(
                f"SELECT count(DISTINCT run_time) FROM usdt_perp_1m.{table}"
            ).fetchone() or (0,)
            assert periods == len(candles)


_FILLING = """
import asyncio, resource, signal, sys
from pathlib import Path
from bmacdb.errors import StoreFull
from tests.store.support import opened, period, stored_candles

async def main(path):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as a full disk: an error, no signal
    reopened = []
    async with opened(Path(path)) as store:
        store.on_reopen(lambda: reopened.append(1))
        if sys.argv[2] == "checkpoint":
            await store.run(lambda c: c.execute("SET GLOBAL checkpoint_threshold = '300KB'").fetchall())
        await store.commit(period(0, symbols=50))
        room = (1_000_000, resource.RLIM_INFINITY)
        resource.setrlimit(resource.RLIMIT_FSIZE, room)
        committed, failed = 1, 0
        for number in range(1, 400):
            try:
                await store.commit(period(number, symbols=50))
                committed += 1
            except StoreFull:
                failed += 1
                if failed == 3:
                    break
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert failed == 3, (committed, failed, reopened)
        held = len(await stored_candles(store))
        assert held == 50 * committed, (held, committed, failed, reopened)
        await store.commit(period(1000, symbols=50))  # room again: it goes on
        assert len(await stored_candles(store)) == 50 * (committed + 1)
    print("ok", committed, failed, len(reopened))

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of file sizes there")
@pytest.mark.parametrize("where", ["log", "checkpoint"])
def test_no_room_is_said_and_the_store_goes_on_when_there_is(tmp_path: Path, where: str) -> None:
    """StoreFull while there is no room for the log, or for a checkpoint; nothing acknowledged is lost, nothing
    refused is there, and the same store goes on in the same process as soon as there is room."""
    done = subprocess.run(
        [sys.executable, "-c", _FILLING, str(tmp_path / "bmac.duckdb"), where],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ok")
