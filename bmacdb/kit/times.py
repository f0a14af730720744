"""Run times as the predecessor's code has them: aware datetimes in UTC+8."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from bmacdb.clock import Clock, SystemClock, from_ms, to_ms
from bmacdb.errors import UsageError
from bmacdb.interval import Interval

__all__ = ["convert_interval_to_timedelta", "next_run_time", "now_time", "run_time_ms", "sleep_until_run_time"]

ZONE = timezone(timedelta(hours=8))


def now_time(*, clock: Clock | None = None) -> datetime:
    """The present time of this machine (of `clock` where given), in UTC+8."""
    return from_ms((clock or SystemClock()).now_ms()).astimezone(ZONE)


def next_run_time(time_interval: str, *, clock: Clock | None = None) -> datetime:
    """The next boundary of `time_interval` (`5m`, `1h` …) on the exchange's grid, strictly later than now, in UTC+8.

    Raises UsageError for an interval that the exchange has not.
    """
    interval = Interval.parse(time_interval)
    return from_ms(interval.boundary_after((clock or SystemClock()).now_ms())).astimezone(ZONE)


def convert_interval_to_timedelta(time_interval: str) -> timedelta:
    """The length of `5m`, `4h`, `1d` …; the predecessor's `5T` and `4H` are understood.

    Raises UsageError for an interval that the exchange has not, and for 1M, as months differ in length.
    """
    older = {"T": "m", "H": "h"}
    text = str(time_interval)
    interval = Interval.parse(text[:-1] + older.get(text[-1:], text[-1:]))
    if interval.name == "1M":
        raise UsageError("months differ in length, so that 1M has no timedelta.")
    return timedelta(milliseconds=interval.length_ms)


async def sleep_until_run_time(run_time: datetime, *, clock: Clock | None = None) -> None:
    """Sleep until `run_time`; at once when it is past. Raises UsageError for a time without a zone."""
    await (clock or SystemClock()).sleep_until(_aware_ms(run_time))


def _aware_ms(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise UsageError(
            f"run time {moment} has no time zone: add one, as datetime(…, tzinfo=timezone.utc) or next_run_time() do."
        )
    return to_ms(moment)


def run_time_ms(run_time: datetime, interval: Interval) -> int:
    """The instant of `run_time`. Raises UsageError when it has no zone or is no boundary of `interval`."""
    ms = _aware_ms(run_time)
    if not interval.on_grid(ms):
        before = interval.floor(ms)
        near = [from_ms(one).astimezone(run_time.tzinfo) for one in (before, interval.next(before))]
        raise UsageError(
            f"run time {run_time.isoformat()} is no boundary of {interval.name}: the nearest are "
            f"{near[0].isoformat()} and {near[1].isoformat()}."
        )
    return ms
