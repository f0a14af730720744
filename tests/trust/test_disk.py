"""No room on the disk: recording pauses, says so, loses nothing and goes on; and a database that dies of it while it
is read is there again for its readers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bmacdb.store.reader import Reader, connect

from .disk import LimitedFiles, fill_up, limit_files, mounted

SEED = 7
ROOT = Path(__file__).resolve().parents[2]

linux = pytest.mark.skipif(sys.platform != "linux", reason="no limits are set on another process here")


def can_be_read(path: Path) -> None:
    """Readers have what is there, full disk or not."""
    with connect(path) as reader:
        ((rows,),) = reader.sql("SELECT count(*) FROM candles").rows()
        assert rows > 20 * 250


@linux
@pytest.mark.timeout(300)
async def test_recording_pauses_while_files_may_not_grow_and_goes_on(tmp_path: Path) -> None:
    complaints = await fill_up(LimitedFiles(tmp_path), seed=SEED, meanwhile=can_be_read)
    assert not complaints, f"seed {SEED}: {complaints}"


@pytest.mark.timeout(300)
async def test_recording_pauses_while_the_disk_is_full_and_goes_on(tmp_path: Path) -> None:
    with mounted(tmp_path) as disk:
        if disk is None:
            pytest.skip("mounting a tmpfs is not permitted here")
        complaints = await fill_up(disk, seed=SEED, meanwhile=can_be_read)
    assert not complaints, f"seed {SEED}: {complaints}"


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A served Store that commits period after period, and tells of each on its standard output."""
    path = tmp_path / "bmac.duckdb"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.trust.victim", str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()
        assert process.stdout is not None
        process.stdout.read()


def told(process: subprocess.Popen[str], word: str) -> str:
    """The next line that begins with `word`."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(word):
            return line
    raise AssertionError(f"the victim ended without saying {word!r}")


@linux
@pytest.mark.timeout(300)
async def test_a_database_that_dies_under_its_readers_is_there_again_for_them(
    tmp_path: Path, victim: subprocess.Popen[str]
) -> None:
    """The checkpoint that DuckDB makes by itself finds no room, and its instance dies while three readers are at work:
    they read on, and so does whoever comes later, and nothing that was committed is missing."""
    path = tmp_path / "bmac.duckdb"
    await asyncio.to_thread(told, victim, "committed")
    ending = asyncio.Event()
    errors: list[str] = []

    async def read(reader: Reader, work: str) -> int:
        count = 0
        while not ending.is_set():
            try:
                await asyncio.to_thread(reader.sql, work)
                count += 1
            except Exception as error:
                errors.append(f"{type(error).__name__}: {error}")
                await asyncio.sleep(0.05)
        return count

    queries = (
        "SELECT count(*) FROM candles",
        "SELECT symbol, max(close) FROM candles GROUP BY ALL ORDER BY ALL",
        "SELECT count(*) FROM candles a JOIN candles b USING (open_time)",
    )
    readers = [connect(path) for _ in queries]
    try:
        async with asyncio.TaskGroup() as tasks:
            reading = [tasks.create_task(read(*pair)) for pair in zip(readers, queries, strict=True)]
            limit_files(victim.pid, 1_000_000)
            await asyncio.to_thread(told, victim, "reopened")
            limit_files(victim.pid, None)
            for _ in range(5):
                committed = int((await asyncio.to_thread(told, victim, "committed")).split()[1])
            ending.set()
        for reader in readers:
            assert reader.live
            ((rows,),) = (await asyncio.to_thread(reader.sql, "SELECT count(*) FROM candles")).rows()
            assert rows >= committed
        with connect(path) as newcomer:
            ((rows,),) = (await asyncio.to_thread(newcomer.sql, "SELECT count(*) FROM candles")).rows()
            assert rows >= committed
        assert all(task.result() for task in reading)
    finally:
        for reader in readers:
            reader.close()
