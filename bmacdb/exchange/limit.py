"""Waiting for room in the exchange's rate limits: one budget per address and group of markets.

A `WeightBudget` is shared by everything that asks the same group (spot; or both futures markets together); the windows
themselves are pure and live in `window`.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from bmacdb.clock import Clock, ServerClock
from bmacdb.exchange.window import MinuteWindow, Penalty, SlidingWindow
from bmacdb.interval import MINUTE_MS

__all__ = ["Lease", "RequestWindow", "WeightBudget", "connect_window"]

_LARGEST_MARGIN_MS = 5000  # of exchange time, however badly its clock is known: a minute must stay usable


class Lease:
    """Leave to send one request; a context manager around sending it and reading the answer.

    Without `answered` before its end, the request counts as given up, which the window holds against us for longer.
    """

    __slots__ = ("_end", "_used", "sent_ms")

    def __init__(self, sent_ms: int, end: Callable[[int | None], None]) -> None:
        self.sent_ms, self._end = sent_ms, end
        self._used: int | None = None

    def answered(self, used: int = 0) -> None:
        """The answer is there; `used` is the weight that its header tells (0: it tells none)."""
        self._used = used

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(self._used)


@dataclass(order=True, slots=True)
class _Waiter:
    patient: bool  # False sorts first
    number: int
    woken: asyncio.Event = field(default_factory=asyncio.Event, compare=False)


class _Line:
    """Those who wait for room: urgent ones first, then in order of arrival. The first alone watches the clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: list[_Waiter] = []
        self._number = 0

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self, ready_ms: Callable[[int], int], *, urgent: bool) -> int:
        """Wait for one's turn and for `ready_ms(now)` to have come; returns now. The caller takes its room at once."""
        self._number += 1
        waiter = _Waiter(not urgent, self._number)
        heapq.heappush(self._waiting, waiter)
        try:
            while True:
                due_ms: int | None = None
                if self._waiting[0] is waiter:
                    now_ms = self._clock.now_ms()
                    if (due_ms := ready_ms(now_ms)) <= now_ms:
                        return now_ms
                waiter.woken.clear()
                await self._pause(waiter, due_ms)
        finally:
            self._waiting.remove(waiter)
            heapq.heapify(self._waiting)
            self.wake()

    async def _pause(self, waiter: _Waiter, due_ms: int | None) -> None:
        if due_ms is None:
            await waiter.woken.wait()
            return
        woken = asyncio.ensure_future(waiter.woken.wait())
        due = asyncio.ensure_future(self._clock.sleep_until(due_ms))
        try:
            await asyncio.wait({woken, due}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            due.cancel()

    def wake(self) -> None:
        """Something changed: the first in line looks again."""
        if self._waiting:
            self._waiting[0].woken.set()


def _margin_ms(clock: Clock, least_ms: int) -> int:
    """How well the exchange's clock is known, and never taken for better than `least_ms`."""
    if isinstance(clock, ServerClock) and clock.synchronized:
        return round(min(max(least_ms, clock.uncertainty_ms()), _LARGEST_MARGIN_MS))
    return least_ms


class WeightBudget:
    """The request weight of one address, a clock minute at a time, and the bans that come with passing it.

    `reserve` is the share of the limit kept for urgent requests, so that history never delays a repair; `margin_ms`
    the time after a turn of the minute in which nothing is sent, our clock being a little off.
    """

    def __init__(self, limit: int, *, clock: Clock, reserve: float = 0.03, margin_ms: int = 200) -> None:
        self._clock, self._least_margin_ms = clock, margin_ms
        self._window = MinuteWindow(limit, reserve=reserve)
        self._penalty = Penalty()
        self._line = _Line(clock)
        self._limits: dict[str, int] = {}

    def __repr__(self) -> str:
        banned = f" banned until {self.banned_until_ms}" if self.banned_until_ms > self._clock.now_ms() else ""
        return f"<WeightBudget {self.used}/{self.limit} waiting={len(self._line)}{banned}>"

    @property
    def limit(self) -> int:
        """The weight that the exchange allows a minute."""
        return self._window.limit

    @limit.setter
    def limit(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"a weight limit of {limit} allows nothing")
        self._window.limit = limit
        self._line.wake()

    def tell_limit(self, market: str, limit: int) -> None:
        """`market` names its limit; markets that share a budget share the smallest."""
        self._limits[market] = limit
        self.limit = min(self._limits.values())

    @property
    def used(self) -> int:
        """The most that the exchange may have counted in the present minute."""
        return self._window.used(self._clock.now_ms())

    @property
    def banned_until_ms(self) -> int:
        """From when requests are welcome (0: there was never a ban)."""
        return self._penalty.until_ms

    async def acquire(self, weight: int, *, urgent: bool = False) -> Lease:
        """Wait for room for a request of `weight`. Enter the lease, send the request, tell it the answer's header."""

        def ready_ms(now_ms: int) -> int:
            margin_ms = _margin_ms(self._clock, self._least_margin_ms)
            room_ms = self._window.ready_ms(weight, now_ms, urgent=urgent, margin_ms=margin_ms)
            return max(room_ms, self._penalty.ready_ms(now_ms))

        sent_ms = await self._line.wait(ready_ms, urgent=urgent)
        number = self._window.start(weight, sent_ms)
        return Lease(sent_ms, lambda used: self._finish(number, used))

    def _finish(self, number: int, used: int | None) -> None:
        margin_ms = _margin_ms(self._clock, self._least_margin_ms)
        self._window.finish(number, self._clock.now_ms(), used=used, margin_ms=margin_ms)
        self._line.wake()

    def observe(self, used: int) -> None:
        """The exchange is known to have counted `used` in the present minute. (Leases tell their own answers.)"""
        self._window.observe(used, self._clock.now_ms())

    def ban(self, until_ms: int) -> None:
        """Send nothing before `until_ms`."""
        self._penalty.extend(until_ms)

    def refused(self, lease: Lease, *, banned: bool, told_ms: int | None) -> int:
        """The exchange answered 429, or 418 (`banned`), and said until when to wait, or not (None).

        Nobody sends before the instant returned; without a word from the exchange it is later each time.
        """
        return self._penalty.strike(self._clock.now_ms(), sent_ms=lease.sent_ms, banned=banned, told_ms=told_ms)

    def served(self, lease: Lease) -> None:
        """The exchange served the request: whatever it held against us is over."""
        self._penalty.forgive(lease.sent_ms)


class RequestWindow:
    """So many requests within any five minutes: settled funding and funding info share 500.

    `reserve` of them are kept for urgent ones.
    """

    def __init__(
        self,
        limit: int = 500,
        *,
        clock: Clock,
        reserve: int = 0,
        length_ms: int = 5 * MINUTE_MS,
        margin_ms: int = 200,
    ) -> None:
        self._clock, self._reserve, self._margin_ms = clock, reserve, margin_ms
        self._window = SlidingWindow(limit, length_ms)
        self._line = _Line(clock)

    def __repr__(self) -> str:
        return f"<RequestWindow {self.used}/{self._window.limit} waiting={len(self._line)}>"

    @property
    def used(self) -> int:
        """How many requests may count at present."""
        return self._window.used(self._clock.now_ms())

    async def acquire(self, *, urgent: bool = False) -> Lease:
        """Wait until one more request may be sent; a context manager around sending it."""
        reserve = 0 if urgent else self._reserve
        sent_ms = await self._line.wait(
            lambda now_ms: self._window.ready_ms(now_ms, margin_ms=self._margin_ms, reserve=reserve), urgent=urgent
        )
        self._window.start()
        return Lease(sent_ms, lambda _: self._finish())

    def _finish(self) -> None:
        self._window.finish(self._clock.now_ms())
        self._line.wake()


def connect_window(clock: Clock) -> RequestWindow:
    """Leave to open websockets, for all feeds and markets of a process: the exchange allows an address 300 in five
    minutes, and bans.

    Half of them is kept for first connections and planned renewals (urgent): attempts after a failure, of whatever
    market, never hold those up. Some are left to other programs on this address.
    """
    return RequestWindow(280, reserve=140, clock=clock)
