"""Time, passed in: nothing outside this module reads the machine's clock.

All instants are integer milliseconds of UTC. The exchange's clock is the one that counts: a bar is
closed when *its* clock says so, however wrong this machine's may be.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from typing import Protocol

__all__ = ["Clock", "ManualClock", "ServerClock", "SystemClock", "format_ms", "from_ms", "to_ms"]

_ROUNDING_MS = 2


def from_ms(ms: int) -> datetime:
    """The UTC datetime of an instant in milliseconds."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def to_ms(moment: datetime) -> int:
    """Milliseconds of a datetime; a naive one is taken as UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def format_ms(ms: int, zone: tzinfo | None = None) -> str:
    """`2024-08-03 12:51:04.010+08:00` in `zone` (the machine's when None)."""
    return from_ms(ms).astimezone(zone).isoformat(sep=" ", timespec="milliseconds")


class Clock(Protocol):
    """What the recorder knows of time."""

    def now_ms(self) -> int:
        """The exchange's time in milliseconds of UTC."""

    def monotonic(self) -> float:
        """Seconds of this machine, never stepping: for time-outs of sockets and for measuring."""

    def monotonic_at(self, ms: int) -> float:
        """What `monotonic` shows, showed or will show when the exchange's clock is at `ms`."""

    async def sleep(self, seconds: float) -> None:
        """Sleep `seconds` of the exchange's time."""

    async def sleep_until(self, ms: int) -> None:
        """Sleep until the exchange's clock shows `ms`."""


class SystemClock:
    """This machine's own clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    def monotonic_at(self, ms: int) -> float:
        return self.monotonic() + (ms - self.now_ms()) / 1000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def sleep_until(self, ms: int) -> None:
        while (left := ms - self.now_ms()) > 0:
            await asyncio.sleep(left / 1000)


class ServerClock:
    """The exchange's clock, followed over this machine's monotonic one.

    Follows the monotonic clock and not the wall clock, so that a step of the latter (NTP, suspend,
    a wrong time zone) moves nothing. `rate` is for a stand-in exchange whose clock runs faster.
    """

    # A sample is believed to half its round trip; older beliefs lose this much precision a second (50 ppm drift).
    _DRIFT = 50e-6

    def __init__(self, *, rate: float = 1.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._monotonic = monotonic
        self._anchor = monotonic()
        self._anchor_ms = time.time() * 1000
        self._uncertainty = float("inf")

    def __repr__(self) -> str:
        return f"<ServerClock {format_ms(self.now_ms(), UTC)} ±{self._uncertainty * 1000:.0f} ms rate={self.rate:g}>"

    def observe(self, server_ms: int, *, sent: float, received: float) -> None:
        """Take a server time seen by a request `sent` and `received` (monotonic seconds) into account.

        The best sample wins: one with a longer round trip than the present belief is worth is left out. One that
        contradicts the belief by more than both may be off replaces it: the monotonic clock stood still meanwhile, as
        it does while the machine is suspended.
        """
        uncertainty, middle = (received - sent) / 2, (sent + received) / 2
        known = self._uncertainty + (received - self._anchor) * self._DRIFT
        believed_ms = self._anchor_ms + (middle - self._anchor) * 1000 * self.rate
        stepped = abs(server_ms - believed_ms) > (uncertainty + known) * 1000 * self.rate + _ROUNDING_MS
        if uncertainty <= known or stepped:
            self._anchor, self._anchor_ms, self._uncertainty = middle, float(server_ms), uncertainty

    @property
    def synchronized(self) -> bool:
        return self._uncertainty != float("inf")

    def uncertainty_ms(self) -> float:
        """How far off `now_ms` may be, in the exchange's milliseconds; infinite before a sample."""
        return (self._uncertainty + (self._monotonic() - self._anchor) * self._DRIFT) * 1000 * self.rate

    def skew_ms(self) -> float:
        """How far this machine's wall clock is ahead of the exchange's."""
        return time.time() * 1000 - self._now()

    def _now(self) -> float:
        return self._anchor_ms + (self._monotonic() - self._anchor) * 1000 * self.rate

    def now_ms(self) -> int:
        return int(self._now())

    def monotonic(self) -> float:
        return self._monotonic()

    def monotonic_at(self, ms: int) -> float:
        return self._anchor + (ms - self._anchor_ms) / 1000 / self.rate

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.rate)

    async def sleep_until(self, ms: int) -> None:
        # At most a minute at once: the belief about the server's clock may be corrected meanwhile.
        while (left := ms - self._now()) > 0:
            await asyncio.sleep(min(left / 1000 / self.rate, 60.0))


class ManualClock:
    """A clock that moves when told: for tests and rehearsals."""

    def __init__(self, now_ms: int = 0) -> None:
        self._now_ms = now_ms
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = 0

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic(self) -> float:
        return self._now_ms / 1000

    def monotonic_at(self, ms: int) -> float:
        return ms / 1000

    async def sleep(self, seconds: float) -> None:
        await self.sleep_until(self._now_ms + round(seconds * 1000))

    async def sleep_until(self, ms: int) -> None:
        if ms <= self._now_ms:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._order += 1
        heapq.heappush(self._waiting, (ms, self._order, future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move on by `seconds`, waking sleepers in order and letting them run."""
        target = self._now_ms + round(seconds * 1000)
        while self._waiting and self._waiting[0][0] <= target:
            due, _, future = heapq.heappop(self._waiting)
            self._now_ms = max(self._now_ms, due)
            if not future.done():
                future.set_result(None)
            for _ in range(5):  # the woken task, and what it wakes in turn
                await asyncio.sleep(0)
        self._now_ms = target
