"""Interval arithmetic: the grid of open times on which an exchange's bars lie.

`1s` to `1d` are multiples of their length since the epoch; `1w` opens on Monday, `1M` on the first of
the month; `3d` lies on a grid of its own, given by any open time of it (`anchor_ms`), which the
recorder reads from the exchange.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bmacdb.clock import from_ms
from bmacdb.errors import UsageError, did_you_mean

__all__ = ["DAY_MS", "HOUR_MS", "INTERVALS", "MINUTE_MS", "Interval"]

SECOND_MS = 1000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
_MONDAY_MS = 4 * DAY_MS  # 1970-01-05

_LENGTH_MS = {
    "1s": SECOND_MS,
    **{f"{n}m": n * MINUTE_MS for n in (1, 3, 5, 15, 30)},
    **{f"{n}h": n * HOUR_MS for n in (1, 2, 4, 6, 8, 12)},
    "1d": DAY_MS,
    "3d": 3 * DAY_MS,
    "1w": 7 * DAY_MS,
}
_UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "M": "month"}

INTERVALS: tuple[str, ...] = (*_LENGTH_MS, "1M")
"""Every interval the exchange has, shortest first."""


def _month_index(ms: int) -> int:
    day = from_ms(ms)
    return day.year * 12 + day.month - 1


def _month_open(index: int) -> int:
    return int(from_ms(0).replace(year=index // 12, month=index % 12 + 1).timestamp()) * 1000


def _nearest(name: str) -> str:
    """The hint for a length that is written like an interval: 1d for 24h, 5m for 7m, 1M for 1mo; else ''."""
    written = re.fullmatch(r"([0-9]{1,6})\s*(M|mo\w*|[smhdw]\w*)", name.strip()) or re.fullmatch(
        r"([0-9]{1,6})\s*(mo\w*|[smhdw]\w*)", name.strip().lower()
    )
    if written is None or not int(written[1]):
        return ""
    month = written[2] == "M" or written[2].startswith("mo")
    length_ms = int(written[1]) * (30 * DAY_MS if month else _LENGTH_MS[f"1{written[2][0]}"])
    known = _LENGTH_MS | {"1M": 30 * DAY_MS}
    ratio = {near: max(known_ms / length_ms, length_ms / known_ms) for near, known_ms in known.items()}
    return f" Did you mean {min(ratio, key=ratio.__getitem__)}?"


@dataclass(frozen=True, slots=True)
class Interval:
    """An official interval; all methods take and return milliseconds of UTC."""

    name: str
    anchor_ms: int = 0

    @classmethod
    def parse(cls, name: str) -> Interval:
        """The interval called `name`. Raises UsageError for any but an official one (`INTERVALS`)."""
        if name not in INTERVALS:
            hint = _nearest(name) or did_you_mean(name, INTERVALS)
            raise UsageError(f"interval {name!r} is not one of {', '.join(INTERVALS)}.{hint}")
        return cls(name, _MONDAY_MS if name == "1w" else 0)

    def anchored(self, open_ms: int) -> Interval:
        """The same interval on the grid that `open_ms` is part of; only `3d` has a grid to choose."""
        return replace(self, anchor_ms=open_ms % self.length_ms) if self.name == "3d" else self

    @property
    def length_ms(self) -> int:
        """The length of a bar; of `1M`, that of the shortest month."""
        return _LENGTH_MS.get(self.name, 28 * DAY_MS)

    @property
    def step(self) -> str:
        """The length as SQL takes it: '5 minute', '1 month'."""
        return f"{self.name[:-1]} {_UNITS[self.name[-1]]}"

    def floor(self, ms: int) -> int:
        """The open time of the bar that `ms` lies in."""
        if self.name == "1M":
            return _month_open(_month_index(ms))
        return ms - (ms - self.anchor_ms) % self.length_ms

    def shift(self, open_ms: int, bars: int) -> int:
        """The open time `bars` bars after (negative: before) the bar that opened at `open_ms`; never before 1970."""
        if self.name == "1M":
            return _month_open(max(_month_index(open_ms) + bars, 1970 * 12))
        return max(open_ms + bars * self.length_ms, self.anchor_ms)

    def next(self, open_ms: int) -> int:
        """When the bar that opened at `open_ms` closes and the next opens: its run time."""
        return self.shift(open_ms, 1)

    def boundary_after(self, ms: int) -> int:
        """The first boundary later than `ms`."""
        return self.next(self.floor(ms))

    def count(self, start_ms: int, end_ms: int) -> int:
        """How many bars open in [start, end), both open times of the grid; 0 when end <= start."""
        if end_ms <= start_ms:
            return 0
        if self.name == "1M":
            return _month_index(end_ms) - _month_index(start_ms)
        return (end_ms - start_ms) // self.length_ms

    def opens(self, start_ms: int, end_ms: int) -> Iterator[int]:
        """The open times of the grid in [start, end); `start` is one of them."""
        if self.name == "1M":
            return map(_month_open, range(_month_index(start_ms), _month_index(end_ms - 1) + 1))
        return iter(range(start_ms, end_ms, self.length_ms))

    def on_grid(self, open_ms: int) -> bool:
        """Whether a bar may open at `open_ms`."""
        return self.floor(open_ms) == open_ms
