"""Room on the disk: told before it runs out, and when it is back."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

from bmacdb.clock import Clock
from bmacdb.recorder.events import Notice, Report, Severity

__all__ = ["LOW_BYTES", "DiskWatch", "free_bytes"]

LOW_BYTES = 1_000_000_000
"""Less free space than this is told: days of a large feed, hours with an import beside it."""

_ENOUGH = 1.25  # times LOW_BYTES; it must not be told at every file that comes and goes
_LOOK_EVERY_S = 60.0


def free_bytes(database: Path) -> int:
    """The free space where `database` is or will be. Raises OSError."""
    return shutil.disk_usage(database.absolute().parent).free


class DiskWatch:
    """Looks once a minute, in a thread: a file system over the network may take its time."""

    def __init__(
        self, database: Path, *, clock: Clock, report: Report, free: Callable[[Path], int] = free_bytes
    ) -> None:
        self._database, self._clock, self._report, self._free = database, clock, report, free
        self._low = self._blind = False

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                self.judge(await asyncio.to_thread(self._free, self._database))
            except OSError as error:
                if not self._blind:
                    self._say(Severity.WARNING, f"the free space cannot be told: {error.strerror or error}")
                self._blind = True
            await asyncio.sleep(_LOOK_EVERY_S)

    def judge(self, free: int) -> None:
        """Tell what has changed, now that `free` bytes are left."""
        if free < LOW_BYTES and not self._low:
            self._low = True
            text = f"{free / 1e6:,.0f} MB are left for {self._database}: make room, or bound the file with --keep"
            self._say(Severity.WARNING, text)
        elif self._low and free >= LOW_BYTES * _ENOUGH:
            self._low = False
            self._say(Severity.INFO, f"there is room again: {free / 1e9:,.1f} GB")

    def _say(self, severity: Severity, text: str) -> None:
        self._report(Notice(self._clock.now_ms(), severity, "disk", text))
