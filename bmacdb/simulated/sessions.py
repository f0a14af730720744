"""The body of `tradingSchedule`: when the markets that TradFi perpetuals follow are open. Pure.

Sessions are those of ordinary weeks: the stand-in knows no holidays.
"""

from __future__ import annotations

import json
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from bmacdb.clock import from_ms, to_ms
from bmacdb.interval import DAY_MS

__all__ = ["trading_schedule"]

_CLOSED = "00:00 NO_TRADING"
_US_DAY = "00:00 OVERNIGHT 04:00 PRE_MARKET 09:30 REGULAR 16:00 AFTER_MARKET 20:00 "


def _asian(opens: str, closes: str) -> tuple[str, str, str]:
    working = f"{_CLOSED} {opens} REGULAR {closes} NO_TRADING"
    return working, working, _CLOSED


# Zone; what begins when from Monday to Thursday, on Friday, on Sunday. Saturday is closed.
_MARKETS: dict[str, tuple[str, tuple[str, str, str]]] = {
    "EQUITY": (
        "America/New_York",
        (_US_DAY + "OVERNIGHT", _US_DAY + "NO_TRADING", _CLOSED + " 20:00 OVERNIGHT"),
    ),
    "COMMODITY": (
        "America/New_York",
        ("00:00 REGULAR 17:00 NO_TRADING 18:00 REGULAR", "00:00 REGULAR 17:00 NO_TRADING", _CLOSED + " 18:00 REGULAR"),
    ),
    "KR_EQUITY": ("Asia/Seoul", _asian("09:00", "15:30")),
    "HK_EQUITY": ("Asia/Hong_Kong", _asian("09:30", "16:00")),
    "CN_EQUITY": ("Asia/Shanghai", _asian("09:30", "15:00")),
    "FX": ("America/New_York", ("00:00 REGULAR", "00:00 REGULAR 17:00 NO_TRADING", _CLOSED + " 17:00 REGULAR")),
}


def trading_schedule(now_ms: int) -> bytes:
    """A week back and a week ahead of the day before `now_ms`, as JSON."""
    first = from_ms(now_ms).date() - timedelta(days=8)
    days = [first + timedelta(days=count) for count in range(16)]
    schedules = {name: {"sessions": _sessions(*market, days)} for name, market in _MARKETS.items()}
    return json.dumps({"updateTime": now_ms // DAY_MS * DAY_MS, "marketSchedules": schedules}).encode()


def _sessions(zone: str, week: tuple[str, str, str], days: list[date]) -> list[dict[str, object]]:
    starts: list[tuple[int, str]] = []
    for day in days:
        words = {4: week[1], 5: _CLOSED, 6: week[2]}.get(day.weekday(), week[0]).split()
        for clock, kind in zip(words[::2], words[1::2], strict=True):
            if not starts or starts[-1][1] != kind:
                at = datetime.combine(day, time.fromisoformat(clock), ZoneInfo(zone))
                starts.append((to_ms(at), kind))
    return [{"startTime": start, "endTime": end, "type": kind} for (start, kind), (end, _) in pairwise(starts)]
