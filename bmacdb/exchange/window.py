"""Rate windows as pure values: when a request may be sent, and how much the exchange may have counted by now.

The exchange counts a request when it arrives: somewhere between sending it and its answer. Everything here holds for
the worst such instant. Instants are milliseconds of the exchange's clock, which is known to `margin_ms`: nothing is
sent for so long after a boundary, and what is not answered so long before the next one is counted beyond it as well.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from bmacdb.interval import DAY_MS, MINUTE_MS

__all__ = ["MinuteWindow", "Penalty", "SlidingWindow"]

_STRAGGLER_MS = 2000  # a request that was given up may still arrive so much later


@dataclass(frozen=True, slots=True)
class _Request:
    weight: int
    sent_ms: int


@dataclass(slots=True)
class _Minute:
    """What may have been counted in one clock minute."""

    number: int
    charged: int = 0  # ours, if it may have counted here
    answered: int = 0  # ours that surely counted here, and whose header we have seen
    highest: int = 0  # of those headers: what had been counted in all at the last known instant

    @property
    def used(self) -> int:
        # The highest header is that of the request counted last, so all of ours that were answered are in it; what is
        # left of it may be others'. Ours that are still on their way are in it as well, or will come on top.
        return self.charged + max(self.highest - self.answered, 0)


class MinuteWindow:
    """The weight of clock minutes, at most `limit` in each, counted over everyone who shares the address.

    The share `reserve` of it is for urgent requests alone.
    """

    def __init__(self, limit: int, *, reserve: float) -> None:
        self.limit, self._reserve = limit, reserve
        self._minute = _Minute(0)
        self._carried = 0  # into the next minute, by requests answered too close to it
        self._in_flight: dict[int, _Request] = {}
        self._requests = 0

    def used(self, now_ms: int) -> int:
        """The most that may have been counted in the present minute, as far as answers have told."""
        self._turn(now_ms)
        return self._minute.used

    def ready_ms(self, weight: int, now_ms: int, *, urgent: bool, margin_ms: int) -> int:
        """When a request of `weight` may be sent, as far as is known now; not after `now_ms` where it may at once."""
        self._turn(now_ms)
        opened_ms = self._minute.number * MINUTE_MS + margin_ms
        # One that is heavier than the whole limit goes when nothing else does: it would wait for ever otherwise.
        if self._minute.used == 0 or self._minute.used + weight <= self._room(weight, urgent):
            return opened_ms
        return opened_ms + MINUTE_MS

    def _room(self, weight: int, urgent: bool) -> int:
        common = self.limit - int(self.limit * self._reserve)
        return self.limit if urgent or weight > common else common

    def start(self, weight: int, now_ms: int) -> int:
        """A request of `weight` is sent; returns its number for `finish`."""
        self._turn(now_ms)
        self._requests += 1
        self._in_flight[self._requests] = _Request(weight, now_ms)
        self._minute.charged += weight
        return self._requests

    def finish(self, number: int, now_ms: int, *, used: int | None, margin_ms: int) -> None:
        """Request `number` is over: answered with the weight `used` in the header (0: none), or given up (None)."""
        self._turn(now_ms)
        request, minute = self._in_flight.pop(number), self._minute
        latest_ms = now_ms + margin_ms + (_STRAGGLER_MS if used is None else 0)
        if latest_ms // MINUTE_MS > minute.number:
            self._carried += request.weight
        elif used and request.sent_ms // MINUTE_MS == minute.number:
            minute.answered += request.weight
            minute.highest = max(minute.highest, used)
        # An answer across the boundary may tell the count of either minute, so it tells nothing.

    def observe(self, used: int, now_ms: int) -> None:
        """Someone says that the exchange has counted `used` in the present minute."""
        self._turn(now_ms)
        self._minute.highest = max(self._minute.highest, used)

    def _turn(self, now_ms: int) -> None:
        number = now_ms // MINUTE_MS
        ahead = number - self._minute.number
        if ahead in (0, -1):  # the clock may be set back a little: that opens no minute anew
            return
        charged = self._carried if ahead == 1 else 0
        charged += sum(request.weight for request in self._in_flight.values())
        if ahead < 0:  # set right by much, as when this machine's own clock was wrong: who knows what counted where
            charged = max(charged, self._minute.used + self._carried)
        self._minute, self._carried = _Minute(number, charged), 0


class SlidingWindow:
    """At most `limit` requests within any `length_ms`."""

    def __init__(self, limit: int, length_ms: int) -> None:
        self.limit, self.length_ms = limit, length_ms
        self._in_flight = 0
        self._finished: deque[int] = deque()

    def used(self, now_ms: int) -> int:
        """How many requests may count at present."""
        while self._finished and self._finished[0] + self.length_ms <= now_ms:
            self._finished.popleft()
        return self._in_flight + len(self._finished)

    def ready_ms(self, now_ms: int, *, margin_ms: int, reserve: int = 0) -> int:
        """When a request that leaves `reserve` of the limit free may be sent; not after `now_ms`: at once."""
        too_many = self.used(now_ms - margin_ms) - (self.limit - reserve)
        if too_many < 0:
            return now_ms
        # Requests in flight are not over yet: the first to finish makes this question be asked anew.
        over_ms = self._finished[too_many] if too_many < len(self._finished) else now_ms
        return over_ms + self.length_ms + margin_ms

    def start(self) -> None:
        self._in_flight += 1

    def finish(self, now_ms: int) -> None:
        self._in_flight -= 1
        self._finished.append(max(now_ms, self._finished[-1]) if self._finished else now_ms)


class Penalty:
    """How long the exchange does not want to hear from us: as long as it says, else longer each time it has to."""

    _LONGEST_MS = 3 * DAY_MS  # the longest ban it gives

    def __init__(self) -> None:
        self.until_ms = 0
        self._strikes = 0

    def ready_ms(self, now_ms: int) -> int:
        """When requests may go on; not after `now_ms` where they may at once."""
        if self.until_ms - now_ms > self._LONGEST_MS:
            self.until_ms = 0  # the clock has been set right since: there are no such bans
        return self.until_ms

    def extend(self, until_ms: int) -> None:
        """Nothing may be sent before `until_ms`."""
        self.until_ms = max(self.until_ms, until_ms)

    def strike(self, now_ms: int, *, sent_ms: int, banned: bool, told_ms: int | None) -> int:
        """A request sent at `sent_ms` got 429, or 418 (`banned`); `told_ms` is until when to wait, None: not said.

        Returns the instant from which requests may go on. Requests that were on their way together count once.
        """
        if sent_ms >= self.until_ms or self._strikes == 0:
            self._strikes += 1
        if told_ms is None:
            times = 1 << min(self._strikes - 1, 16)
            next_minute_ms = now_ms // MINUTE_MS * MINUTE_MS + MINUTE_MS
            told_ms = now_ms + times * 2 * MINUTE_MS if banned else next_minute_ms + (times - 1) * MINUTE_MS
        self.extend(min(max(told_ms, now_ms), now_ms + self._LONGEST_MS))
        return self.until_ms

    def forgive(self, sent_ms: int) -> None:
        """A request sent at `sent_ms` was served."""
        if sent_ms >= self.until_ms:
            self._strikes = 0
