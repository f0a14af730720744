"""Frames that do not parse: counted always, told at most once a minute."""

from __future__ import annotations

from bmacdb.clock import Clock
from bmacdb.errors import Malformed
from bmacdb.recorder.events import Notice, Report, Severity

__all__ = ["FrameLog"]

_EVERY_S = 60.0


class FrameLog:
    """Takes what could not be parsed, of all listeners of a recorder."""

    def __init__(self, clock: Clock, report: Report) -> None:
        self._clock, self._report = clock, report
        self.total = 0
        self._untold = 0
        self._told = -_EVERY_S

    def __call__(self, error: Malformed) -> None:
        self.total += 1
        self._untold += 1
        if (now := self._clock.monotonic()) - self._told >= _EVERY_S:
            text = f"{self._untold} frames did not parse and were left out ({self.total} so far); the last: {error}"
            self._report(Notice(self._clock.now_ms(), Severity.WARNING, "frames", text))
            self._told, self._untold = now, 0
