"""The archive's layout: which file holds what, by its key. Pure.

    data/spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2020-01.zip
    data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2026-02-28.zip
    data/futures/cm/monthly/fundingRate/BTCUSD_PERP/BTCUSD_PERP-fundingRate-2026-02.zip

Months are spelled `1mo`, and funding rates come by the month alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from bmacdb.clock import from_ms, to_ms
from bmacdb.interval import DAY_MS, INTERVALS, Interval
from bmacdb.model import Market

__all__ = [
    "ArchiveFile",
    "Cadence",
    "Kind",
    "archive_interval",
    "covering",
    "day_of",
    "folder",
    "month_of",
    "next_month",
    "parse_key",
    "parse_name",
]

_ROOTS = {
    Market.SPOT: "data/spot",
    Market.USDT_FUTURES: "data/futures/um",
    Market.COIN_FUTURES: "data/futures/cm",
}
# What a key may hold becomes the name of a file: nothing that any system's paths give a meaning to.
_SYMBOL = r"[^/\\:*?\"<>|.\x00-\x20-][^/\\:*?\"<>|.\x00-\x20]{0,63}"
_NAME = re.compile(
    rf"(?P<symbol>{_SYMBOL}?)-(?P<what>[0-9]{{1,2}}(?:mo|[smhdwM])|fundingRate)"
    r"-(?P<year>20[0-9]{2})-(?P<month>0[1-9]|1[0-2])(?:-(?P<day>0[1-9]|[12][0-9]|3[01]))?(?P<ending>\.zip|\.csv|\.csv\.gz)"
)
_KEY = re.compile(
    r"(?P<root>data/(?:spot|futures/um|futures/cm))/(?P<cadence>daily|monthly)/(?P<kind>klines|fundingRate)"
    rf"/(?P<symbol>{_SYMBOL})/(?:(?P<interval>[0-9]{{1,2}}(?:mo|[smhdwM]))/)?(?P<name>[^/]+\.zip)"
)


class Kind(StrEnum):
    """What a file holds."""

    KLINES = "klines"
    FUNDING = "fundingRate"


class Cadence(StrEnum):
    """How much time a file covers."""

    DAILY = "daily"
    MONTHLY = "monthly"


def archive_interval(interval: Interval) -> str:
    """An interval as the archive spells it."""
    return "1mo" if interval.name == "1M" else interval.name


def _months(ms: int) -> int:
    day = from_ms(ms)
    return 12 * day.year + day.month - 1


def _month(index: int) -> int:
    return to_ms(from_ms(0).replace(year=index // 12, month=index % 12 + 1))


def month_of(ms: int) -> int:
    """The first instant of the month."""
    return _month(_months(ms))


def next_month(ms: int) -> int:
    """The first instant of the month after."""
    return _month(_months(ms) + 1)


def day_of(ms: int) -> int:
    """The first instant of the day."""
    return ms - ms % DAY_MS


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """A file of the archive: the rows of one symbol that open in [start, end). `interval` is empty for funding."""

    market: Market
    kind: Kind
    cadence: Cadence
    symbol: str
    interval: str
    start_ms: int

    @property
    def end_ms(self) -> int:
        return self.start_ms + DAY_MS if self.cadence is Cadence.DAILY else next_month(self.start_ms)

    @property
    def name(self) -> str:
        """`BTCUSDT-1m-2020-01.zip`"""
        shape = "%Y-%m-%d" if self.cadence is Cadence.DAILY else "%Y-%m"
        return f"{self.symbol}-{self._what}-{from_ms(self.start_ms):{shape}}.zip"

    @property
    def _what(self) -> str:
        if self.kind is Kind.FUNDING:
            return str(self.kind)
        return "1mo" if self.interval == "1M" else self.interval

    @property
    def key(self) -> str:
        """The path within the archive, and within a mirror of it."""
        return f"{folder(self.market, self.kind, self.cadence, self.symbol, self.interval)}{self.name}"

    def covers(self, other: ArchiveFile) -> bool:
        """Whether everything in `other` is in this file as well."""
        return (self.market, self.kind, self.symbol, self.interval) == (
            other.market,
            other.kind,
            other.symbol,
            other.interval,
        ) and self.start_ms <= other.start_ms < other.end_ms <= self.end_ms


def folder(market: Market, kind: Kind, cadence: Cadence, symbol: str = "", interval: str = "") -> str:
    """The prefix of keys, with a slash at its end: of all symbols, or of one, or of one at an interval."""
    parts = [_ROOTS[market], cadence, kind, symbol, "1mo" if interval == "1M" else interval]
    return "/".join(part for part in parts if part) + "/"


def _interval_name(text: str) -> str | None:
    name = text.replace("mo", "M")
    return name if name in INTERVALS else None


def parse_key(key: str) -> ArchiveFile | None:
    """The file that a key names; None for anything else that the archive holds (checksums, trades, …)."""
    found = _KEY.fullmatch(key)
    if found is None:
        return None
    market = next(market for market, root in _ROOTS.items() if root == found["root"])
    file = parse_name(found["name"], market)
    return file if file is not None and file.key == key else None


def parse_name(name: str, market: Market) -> ArchiveFile | None:
    """The file of `market` that a bare file name (zip, csv, csv.gz) tells of; None when it is not of that form."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    kind = Kind.FUNDING if found["what"] == Kind.FUNDING else Kind.KLINES
    interval = "" if kind is Kind.FUNDING else _interval_name(found["what"])
    if interval is None:
        return None
    try:
        start = from_ms(0).replace(year=int(found["year"]), month=int(found["month"]), day=int(found["day"] or 1))
    except ValueError:  # February 30
        return None
    cadence = Cadence.DAILY if found["day"] else Cadence.MONTHLY
    return ArchiveFile(market, kind, cadence, found["symbol"], interval, to_ms(start))


def covering(files: Iterable[ArchiveFile], *, start_ms: int = 0, end_ms: int | None = None) -> list[ArchiveFile]:
    """Those of `files` that hold rows in [start, end), in order of time; of a day within a month, the month alone."""
    wanted = [file for file in files if file.end_ms > start_ms and (end_ms is None or file.start_ms < end_ms)]
    months = {
        (file.market, file.kind, file.symbol, file.interval, file.start_ms)
        for file in wanted
        if file.cadence is Cadence.MONTHLY
    }
    return sorted(
        (
            file
            for file in wanted
            if file.cadence is Cadence.MONTHLY
            or (file.market, file.kind, file.symbol, file.interval, month_of(file.start_ms)) not in months
        ),
        key=lambda file: (file.start_ms, file.symbol, file.kind, file.interval),
    )
