"""A disk that fills up, and has room again: a small tmpfs where mounting is permitted, a limit on the size of files
elsewhere."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from bmacdb.simulated import SimulatedExchange
from tests.acceptance.support import Recorder, agrees

from .ledger import untruths

__all__ = ["Disk", "LimitedFiles", "Tmpfs", "fill_up", "limit_files", "mounted"]

FEED = "usdt_perp_1m"
SIZE = 24 * 1024 * 1024


class Disk(Protocol):
    """Where a recorder writes."""

    directory: Path

    def fill(self, pid: int) -> None:
        """Leave no room for the recorder `pid`."""

    def make_room(self, pid: int) -> None:
        """Room again."""


def limit_files(pid: int, size: int | None) -> None:
    """Let no file that process `pid` writes grow beyond `size` bytes (None: any size). Linux alone."""
    import resource

    assert sys.platform == "linux"
    soft = resource.RLIM_INFINITY if size is None else size
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))


class LimitedFiles:
    """The write-ahead log may not grow."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def fill(self, pid: int) -> None:
        log = self.directory / "bmac.duckdb.wal"
        limit_files(pid, log.stat().st_size + 100 if log.exists() else 100)

    def make_room(self, pid: int) -> None:
        limit_files(pid, None)


class Tmpfs:
    """A file of ballast takes what room there is."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def fill(self, pid: int) -> None:
        with contextlib.suppress(OSError), (self.directory / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(4096))

    def make_room(self, pid: int) -> None:
        (self.directory / "ballast").unlink()


@contextlib.contextmanager
def mounted(directory: Path) -> Iterator[Tmpfs | None]:
    """A tmpfs of 24 MB at `directory`; None where that is not permitted."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(directory)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        yield None
        return
    if done.returncode:
        yield None
        return
    try:
        yield Tmpfs(directory)
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], capture_output=True, check=False)


async def fill_up(disk: Disk, *, seed: int, meanwhile: Callable[[Path], None] = lambda _: None) -> list[str]:
    """Fill the disk of a recorder for two periods and more, make room again; returns what is wrong afterwards.

    `meanwhile` is called with the database while there is no room.
    """
    complaints = []
    async with (
        SimulatedExchange(symbols=20, speed=30.0, seed=seed) as exchange,
        Recorder(exchange, disk.directory, ["--feed", FEED, "--num-candles", "300"]) as recorder,
    ):
        await recorder.until("run_complete")
        assert recorder.process is not None
        pid = recorder.process.pid
        disk.fill(pid)
        while not _said(recorder, "Recording pauses"):
            await exchange.clock.sleep(1)
            assert recorder.process.returncode is None, recorder.story()
        complete = len(recorder.told("run_complete"))
        await exchange.clock.sleep(150)
        if len(recorder.told("run_complete")) > complete:
            complaints.append("periods were told as complete while there was no room")
        meanwhile(recorder.database)
        disk.make_room(pid)
        while not _said(recorder, "There is room again"):
            await exchange.clock.sleep(1)
            assert recorder.process.returncode is None, recorder.story()
        await recorder.until("run_complete", complete + 4)
        await recorder.until_whole()
        if await recorder.stop() != 0:
            complaints.append(recorder.story())
        if len(_said(recorder, "There is room again")) != 1:
            complaints.append("it said more than once that there is room again")
        try:
            agrees(exchange, recorder.database, FEED, num_candles=300)
        except AssertionError as error:
            complaints.append(str(error).splitlines()[0])
        complaints += untruths(recorder.database, FEED, slack_ms=20_000)
    return complaints


def _said(recorder: Recorder, words: str) -> list[dict[str, object]]:
    return [event for event in recorder.told("notice") if words in str(event["text"])]
